"""Claim: what block means hardly tell, a ResNet-18 of full width learns at 128 x 128 pixels.

    python -m benchmarks.phantom_network --work FOLDER

It is trained from scratch on the phantoms that precisions and batches are compared on
(`benchmarks.subjects.tasks`: 6,144 to train on) and judged on the test split, beside what needs no
network on the same store. A run in the folder is gone on with.
"""

import argparse
from pathlib import Path
from typing import Final

from benchmarks.harness.command import thorax
from benchmarks.harness.result import parse_args, table, write
from benchmarks.subjects import runs, tasks
from thorax.artifact import Precision

RECIPE: Final = Path(__file__).resolve().parents[1] / "recipes/phantom_small.toml"
SIDE: Final = 128
CHANGES: Final = {
    "network.width": 1,
    "network.output_stride": 32,
    "training.epochs": 12,
    "schedule.peak": 1e-3,
}
GOAL: Final = 0.93
BLOCKS_GOAL: Final = 0.75
STATISTICS_GOAL: Final = 0.60


def main() -> None:
    """Train, judge, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    chosen = parse_args(parser)
    work: Path = chosen.work
    store = tasks.phantoms(work, SIDE).path
    run = runs.trained(work / "resnet18", RECIPE, store, CHANGES)
    made = runs.optimized(run, Precision.FP32, store)
    found = thorax("validate", made, store, "--no-speed")
    easy = thorax("data", "baseline", store)
    blocks = {
        row["name"]: row
        for row in easy["models"]
        if row["name"] in ("block_means", "block_deviations", "statistics", "border", "order")
    }
    rows = [
        (
            finding,
            f"{found['auroc'][finding]['value']:.3f}",
            *(f"{row['auroc'][finding]['value']:.3f}" for row in blocks.values()),
        )
        for finding in found["auroc"]
    ]
    table("Test split", ("", "ResNet-18", *(row["what"] for row in blocks.values())), rows)
    document = {
        "side": SIDE,
        "changes": {key: str(value) for key, value in CHANGES.items()},
        "images": tasks.DRAWN,
        "mean_auroc": found["mean_auroc_interval"],
        "auroc": found["auroc"],
        "models": list(blocks.values()),
        "goals": {
            "mean_auroc": GOAL, "block_deviations": BLOCKS_GOAL, "statistics": STATISTICS_GOAL,
        },
    }  # fmt: skip
    print("written:", write("phantom_network", document, rehearsal=chosen.rehearsal))


if __name__ == "__main__":
    main()
