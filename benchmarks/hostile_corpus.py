"""Every file of a folder of malformed files through `thorax.images.radiograph.read`.

Each must be answered, with a radiograph or an error code, in two seconds, and the process with its
children must stay under 2 GB, libraries included.
"""

import argparse
import statistics
import time
from collections import Counter
from pathlib import Path

from benchmarks import result
from benchmarks.memory import Sampler
from thorax.errors import ImageError
from thorax.images.radiograph import read

DEFAULT = Path("../shared/data/dicom/hostile")
GOAL_S = 2.0
GOAL_BYTES = 2_000_000_000


def main() -> None:
    """Read argv, read every file, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT)
    chosen = parser.parse_args()
    files = sorted(path for path in chosen.folder.rglob("*") if path.is_file())
    if not files:
        raise SystemExit(f"no file in {chosen.folder}; give a folder of hostile files")
    codes: Counter[str] = Counter()
    took_s: dict[str, float] = {}
    with Sampler() as memory:
        for file in files:
            begin = time.perf_counter()
            try:
                read(file)
                code = "read"
            except ImageError as error:
                code = error.code
            took_s[file.relative_to(chosen.folder).as_posix()] = time.perf_counter() - begin
            codes[code] += 1
    slowest = sorted(took_s, key=lambda name: took_s[name], reverse=True)[:5]
    result.table(
        f"{len(files)} files of {chosen.folder.name}, all answered",
        ("Answer", "files"),
        [(code, str(count)) for code, count in codes.most_common()],
    )
    result.table(
        f"\nslowest files (goal: {GOAL_S} s or less; median "
        f"{statistics.median(took_s.values()) * 1e3:.1f} ms)",
        ("File", "s"),
        [(name[-80:], f"{took_s[name]:.2f}") for name in slowest],
    )
    peak = memory.peak_bytes
    together = peak["process"] + peak["children"]
    print(
        f"\npeak memory: process {peak['process'] / 1e6:.0f} MB, children "
        f"{peak['children'] / 1e6:.0f} MB (goal: together {GOAL_BYTES / 1e9:.0f} GB or less)"
    )
    document = {
        "folder": chosen.folder.name,
        "files": len(files),
        "answers": dict(codes.most_common()),
        "goal_s": GOAL_S,
        "slowest_s": {name: took_s[name] for name in slowest},
        "median_s": statistics.median(took_s.values()),
        "goal_bytes": GOAL_BYTES,
        "peak_bytes": {**peak, "together": together},
    }
    print(f"written: benchmarks/results/{result.write('hostile_corpus', document).name}")


if __name__ == "__main__":
    main()
