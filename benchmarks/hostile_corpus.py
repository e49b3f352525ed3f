"""Every file of a folder of malformed files through `thorax.images.radiograph.read`.

Each must be answered, with a radiograph or an error code, in two seconds, and the process with its
children must stay under 2 GB, libraries included.

An answer says little of decoding where it is given before: most files of the corpus are computed
tomography, which is refused by the header. So each is read a second time with its class and
modality those of computed radiography, and how far it got is told: refused by the header, a data
set that cannot be read, pixels that are refused, or pixels decoded.
"""

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.harness import load, result
from benchmarks.harness.memory import Sampler
from thorax.errors import ImageError
from thorax.images.radiograph import read

DEFAULT = "../shared/data/dicom/hostile"
GOAL_S = 2.0
GOAL_BYTES = 2_000_000_000

_STAGES: Final[Mapping[str, str]] = {
    "read": "pixels decoded",
    "image-format": "refused by the header",
    "dicom-modality": "refused by the header",
    "dicom-not-an-image": "refused by the header",
    "dicom-transfer-syntax": "refused by the header",
    "dicom-truncated": "data set cannot be read",
    "dicom-corrupt": "data set or pixels cannot be read",
}
"""How far a file got by its answer; all other codes are of its pixels."""
_REFUSED: Final = "pixels refused"

_CT, _CR = (f"1.2.840.10008.5.1.4.1.1.{kind}\0".encode() for kind in ("2", "1"))
_CT_MODALITY, _CR_MODALITY = b"CS\x02\0CT", b"CS\x02\0CR"


def as_radiography(data: bytes) -> bytes:
    """Return a file whose class and modality are those of computed radiography, all else as is."""
    return data.replace(_CT, _CR).replace(_CT_MODALITY, _CR_MODALITY)


def stage(code: str) -> str:
    """Return how far a file got that was answered so."""
    return _STAGES.get(code, _REFUSED)


def answers(
    files: list[Path], change: Callable[[bytes], bytes] | None = None
) -> tuple[Counter[str], dict[str, float]]:
    """Return how often each answer was given, and the seconds of each file, by its name."""
    codes: Counter[str] = Counter()
    took_s: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        for number, file in enumerate(files):
            path = file
            if change is not None:
                path = Path(folder) / "changed.dcm"
                path.write_bytes(change(file.read_bytes()))
            begin = time.perf_counter()
            try:
                read(path)
                code = "read"
            except ImageError as error:
                code = error.code
            took_s[f"{number}: {file.name}"] = time.perf_counter() - begin
            codes[code] += 1
    return codes, took_s


def _described(codes: Counter[str], took_s: dict[str, float]) -> dict[str, Any]:
    slowest = sorted(took_s, key=lambda name: took_s[name], reverse=True)[:5]
    stages = Counter(dict.fromkeys((*_STAGES.values(), _REFUSED), 0))
    for code, count in codes.items():
        stages[stage(code)] += count
    return {
        "answers": dict(codes.most_common()),
        "stages": dict(stages.most_common()),
        "slowest_s": {name: took_s[name] for name in slowest},
        "median_s": statistics.median(took_s.values()),
    }


def main() -> None:
    """Read argv, read every file twice, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=result.filled_folder, default=DEFAULT)
    chosen = result.parse_args(parser)
    files = sorted(path for path in chosen.folder.rglob("*") if path.is_file())
    if not files:
        raise SystemExit(f"no file in {chosen.folder}; give a folder of hostile files")
    watched = load.Watch("hostile_corpus", chosen.rehearsal)
    with Sampler() as memory:
        passes = {
            "as they are": _described(*answers(files)),
            "as radiography": _described(*answers(files, as_radiography)),
        }
    for name, told in passes.items():
        result.table(
            f"{len(files)} files of {chosen.folder.name}, {name}: all answered, "
            f"{told['stages'].get('pixels decoded', 0)} decoded",
            ("Answer", "how far", "files"),
            [(code, stage(code), str(count)) for code, count in told["answers"].items()],
        )
        print(
            f"slowest (goal: {GOAL_S} s or less): {max(told['slowest_s'].values()):.2f} s; median "
            f"{told['median_s'] * 1e3:.1f} ms\n"
        )
    peak = memory.peak_bytes
    together = peak["process"] + peak["children"]
    print(
        f"peak memory: process {peak['process'] / 1e6:.0f} MB, children "
        f"{peak['children'] / 1e6:.0f} MB (goal: together {GOAL_BYTES / 1e9:.0f} GB or less)"
    )
    document = {
        "folder": chosen.folder.name,
        "files": len(files),
        **passes["as they are"],
        "as_radiography": passes["as radiography"],
        "goal_s": GOAL_S,
        "goal_bytes": GOAL_BYTES,
        "peak_bytes": {**peak, "together": together},
        "load": watched.facts(),
    }
    print("written:", result.write("hostile_corpus", document, rehearsal=chosen.rehearsal))


if __name__ == "__main__":
    main()
