"""What judging and confining cost two commands, against a checkout of an earlier commit, by turns.

`thorax optimize` of an ONNX ResNet-50 to FP32, which since reads the file in a child process, and
`thorax classify` of one PNG with the artifact that came of it, which since compares more digests.
Both sides are whole processes of the same Python, from start to exit; their order is drawn at
random in each turn. One run of each before, which is not counted, lets Python keep its byte code.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from benchmarks import result
from benchmarks.images import folder_of
from thorax.benchmark.confidence import FEWEST_TURNS, median_of_turns
from thorax.training.networks import build

GOAL: Final = 1.05
_SIDES: Final = ("before", "after")
_OPTIONS: Final = (
    "--precision", "fp32", "--labels", ",".join(f"finding {number}" for number in range(14)),
    "--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2",
)  # fmt: skip


def main() -> None:
    """Read argv, measure in turns, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="checkout of the earlier commit")
    parser.add_argument("--turns", type=int, default=11)
    parser.add_argument("--seed", type=int, default=0, help="of the order within the turns")
    chosen = parser.parse_args()
    trees = {"before": chosen.before.resolve(), "after": Path(__file__).resolve().parents[1]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_onnx(folder / "resnet50.onnx")
        image = next(folder_of(1, folder / "images", None).iterdir())
        order = random.Random(chosen.seed)
        turns: list[dict[tuple[str, str], tuple[float, float]]] = []
        for number in range(chosen.turns + 1):
            turn = {}
            for side in order.sample(_SIDES, 2):
                out = folder / side
                shutil.rmtree(out, ignore_errors=True)
                model = folder / "resnet50.onnx"
                turn["optimize", side] = _run(
                    trees[side], ["optimize", str(model), "--out", str(out), *_OPTIONS]
                )
                turn["classify", side] = _run(trees[side], ["classify", str(out), str(image)])
            if number:
                turns.append(turn)
    document, rows = {}, []
    for command in ("optimize", "classify"):
        for kind, clock in enumerate(("wall", "cpu")):
            seconds = {side: [turn[command, side][kind] for turn in turns] for side in _SIDES}
            ratios = [a / b for a, b in zip(seconds["after"], seconds["before"], strict=True)]
            interval = median_of_turns(ratios)
            assert interval is not None, f"at least {FEWEST_TURNS} turns make an interval"
            document[f"{command}_{clock}"] = {
                "before_s": seconds["before"],
                "after_s": seconds["after"],
                "median_ratio": interval.value,
                "interval": [interval.low, interval.high],
            }
            rows.append(
                (
                    f"{command}, {clock}",
                    *(f"{statistics.median(seconds[side]):.2f}" for side in _SIDES),
                    f"{interval.value:.3f}",
                    f"{interval.low:.3f} to {interval.high:.3f}",
                )
            )
    result.table(
        f"{len(turns)} turns (medians)",
        ("Command, clock", "before, s", "after, s", "ratio", "95 %"),
        rows,
    )
    commits = {side: _commit(tree) for side, tree in trees.items()}
    written = result.write(
        "child_cost", {"goal": GOAL, "commits": commits, "seed": chosen.seed, **document}
    )
    print(f"written: benchmarks/results/{written.name}")


def _write_onnx(path: Path) -> None:
    torch.manual_seed(0)
    network = build("resnet50", classes=14, channels=3).eval()
    with warnings.catch_warnings():
        # torch says that another exporter is newer.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(1, 3, 224, 224),), path, dynamo=False, opset_version=17
        )


def _run(tree: Path, words: Sequence[str]) -> tuple[float, float]:
    """Return wall-clock and processor time, s, of a command of a tree and of its children."""
    command = [sys.executable, "-m", "thorax", *words]
    return result.timed(command, {"PYTHONPATH": str(tree / "src")})


def _commit(tree: Path) -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=tree, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


if __name__ == "__main__":
    main()
