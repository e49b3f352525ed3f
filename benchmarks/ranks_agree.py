"""Claim: ranks give the weights of one process to the rounding of float32 sums.

    python -m benchmarks.ranks_agree

The largest relative difference of a weight between one process and two or three ranks, of which
each starts anew: after one update of a ResNet-18, and after four of the small network of
`tests/training/ranks.py` with each of its optimizers. Nothing is timed; sums are of float32 in an
order that the processor's kernels choose, so the figures differ a little between processors.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import safetensors.torch
from torch import Tensor

from benchmarks.harness.result import parse_args, table, write
from thorax.training.card import WEIGHTS, resolve

SCRIPT: Final = Path(__file__).parents[1] / "tests" / "training" / "ranks.py"
SMALL: Final = ("plain", "sam", "averaged", "lars")
COUNTS: Final = (2, 3)


def furthest(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """Return the largest difference of a weight, relative to the largest of its tensor.

    A tensor that holds rounding alone, as a bias before batch normalisation does, counts by 1e-3.
    """
    return max(
        float((one[name] - two[name]).abs().max() / one[name].abs().max().clamp(min=1e-3))
        for name in one
    )


def weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a run that are numbers with a fraction."""
    state = safetensors.torch.load_file(resolve(folder) / WEIGHTS)
    return {name: value for name, value in state.items() if value.is_floating_point()}


def train(task: str, folder: Path, count: int) -> None:
    """Run a task of the script by so many ranks."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words += [f"--nproc-per-node={count}", str(SCRIPT), task, str(folder)]
    subprocess.run(words, capture_output=True, check=True, timeout=600)


def measure() -> dict[str, dict[str, float]]:
    """Return the differences by what was trained, then by the number of ranks."""
    found: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as made:
        folder = Path(made)
        for task, names in (("one_update", ("resnet18",)), ("four_updates", SMALL)):
            for count in (1, *COUNTS):
                train(task, folder, count)
            for name in names:
                alone = weights(folder / f"{name}-1")
                found[name] = {
                    str(count): furthest(alone, weights(folder / f"{name}-{count}"))
                    for count in COUNTS
                }
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    rehearsal = parse_args(parser).rehearsal
    found = measure()
    table(
        "Largest relative difference of a weight from one process",
        ("trained", *(f"{count} ranks" for count in COUNTS)),
        [(name, *(f"{value:.1e}" for value in row.values())) for name, row in found.items()],
    )
    worst = {
        "one_update": max(found["resnet18"].values()),
        "four_updates": max(value for name in SMALL for value in found[name].values()),
    }
    print(json.dumps(worst))
    document = {"differences": found, "worst": worst}
    print("written:", write("ranks_agree", document, rehearsal=rehearsal))


if __name__ == "__main__":
    main()
