"""Peak memory of `thorax classify` over ever more 1024x1024 radiographs, and of an import.

At most 600 MB at 1,000 files, libraries included (VmHWM), and the same at any number; with `--json`
every answer is kept until the end. A store import stays under 1 GB. The slope is that of the
anonymous memory, which the kernel cannot drop, over the number of files (least squares).
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import result
from benchmarks.harness.memory import Sampler
from benchmarks.subjects.images import folder_of
from thorax import artifact

GOAL_BYTES = 600_000_000
IMPORT_GOAL_BYTES = 1_000_000_000
_GOAL_IMAGES = 1000


def _peak(words: Sequence[str]) -> dict[str, int]:
    """Return the peak memory of one run of `thorax`, bytes."""
    command = [sys.executable, "-m", "thorax", *words]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        with Sampler(process.pid) as memory:
            _, said = process.communicate()
        if process.returncode:
            raise SystemExit(f"thorax {words[0]} ended with {process.returncode}: {said[-500:]}")
    return memory.peak_bytes


def _classify(
    model: Path, counts: Sequence[int], images: Path | None, scratch: Path
) -> dict[str, list[dict[str, int]]]:
    modes = {"csv": ["--csv", str(scratch / "findings.csv")], "json": ["--json"]}
    peaks: dict[str, list[dict[str, int]]] = {mode: [] for mode in modes}
    for count in counts:
        folder = folder_of(count, scratch / f"images-{count}", images)
        for mode, options in modes.items():
            peak = _peak(["classify", str(model), str(folder), *options])
            peaks[mode].append({"images": count, **peak})
            print(f"{count} files, --{mode}: {peak['process'] / 1e6:.0f} MB", flush=True)
    return peaks


def _import(count: int, images: Path | None, scratch: Path) -> dict[str, int]:
    folder = folder_of(count, scratch / "to-import", images)
    labels = scratch / "labels.csv"
    with labels.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "patient", "findings"])
        table.writerows([path.name, path.stem, "No Finding"] for path in sorted(folder.iterdir()))
    words = ["data", "import", "folder", str(folder), "--labels", str(labels)]
    return _peak([*words, "--out", str(scratch / "store")])


def _slope(rows: Sequence[dict[str, int]]) -> float:
    """Return bytes an image."""
    if len(rows) < 2:
        return 0.0
    images = [row["images"] for row in rows]
    return float(np.polyfit(images, [row["anonymous"] for row in rows], 1)[0])


def main() -> None:
    """Read argv, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "model", type=result.filled_folder, help="artifact; see benchmarks.subjects.make_artifact"
    )
    parser.add_argument(
        "--images", type=result.filled_folder, help="1024x1024 radiographs; default: phantoms"
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[200, 500, 1000, 2000])
    parser.add_argument("--imported", type=int, default=3000, help="files of the import; 0: none")
    chosen = result.parse_args(parser)
    card = artifact.load(chosen.model).card
    with tempfile.TemporaryDirectory() as scratch:
        peaks = _classify(chosen.model, sorted(chosen.counts), chosen.images, Path(scratch))
        imported = _import(chosen.imported, chosen.images, Path(scratch)) if chosen.imported else {}
    rows = [
        (f"classify --{mode}, {row['images']} files", row)
        for mode, found in peaks.items()
        for row in found
    ]
    if imported:
        rows.append((f"data import, {chosen.imported} files", imported))
    result.table(
        f"{card.name}, peak memory, MB",
        ("Run", "resident", "anonymous", "file"),
        [
            (name, *(f"{row[key] / 1e6:.0f}" for key in ("process", "anonymous", "file")))
            for name, row in rows
        ],
    )
    slopes = {mode: _slope(found) for mode, found in peaks.items()}
    growth = ", ".join(f"--{mode} {slope / 1e3:.1f} kB" for mode, slope in slopes.items())
    print(f"growth a file: {growth}")
    print(
        f"goals: {GOAL_BYTES / 1e6:.0f} MB or less at {_GOAL_IMAGES} files and no growth; "
        f"import below {IMPORT_GOAL_BYTES / 1e6:.0f} MB"
    )
    document = {
        "model": card.name,
        "source": "phantoms" if chosen.images is None else chosen.images.name,
        "goal_bytes": GOAL_BYTES,
        "import_goal_bytes": IMPORT_GOAL_BYTES,
        "peak_bytes": peaks,
        "growth_bytes_an_image": slopes,
        "import_images": chosen.imported,
        "import_peak_bytes": imported,
    }
    print("written:", result.write("classify_memory", document, rehearsal=chosen.rehearsal))


if __name__ == "__main__":
    main()
