"""What judging and confining cost two commands, against a checkout of an earlier commit, by turns.

`thorax optimize` of an ONNX ResNet-50 to FP32, which since reads the file in a child process, and
`thorax classify` of one PNG with the artifact that came of it, which since compares more digests.
"""

import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from benchmarks.harness.two_commits import TwoCommits
from benchmarks.subjects.images import folder_of
from thorax.training.networks import build

GOAL: Final = 1.05
_OPTIONS: Final = (
    "--precision", "fp32", "--labels", ",".join(f"finding {number}" for number in range(14)),
    "--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2",
)  # fmt: skip


def main() -> None:
    """Read argv, measure in turns, print and write."""
    two = TwoCommits.from_argv(__doc__)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "resnet50.onnx"
        _write_onnx(model)
        image = next(folder_of(1, folder / "images", None).iterdir())
        thorax = ("-m", "thorax")

        def optimize(side: str) -> Sequence[str]:
            shutil.rmtree(folder / side, ignore_errors=True)
            return (*thorax, "optimize", str(model), "--out", str(folder / side), *_OPTIONS)

        def classify(side: str) -> Sequence[str]:
            return (*thorax, "classify", str(folder / side), str(image))

        two.compare(
            "child_cost",
            {"optimize": optimize, "classify": classify},
            {},
            {"optimize": GOAL, "classify": GOAL},
        )


def _write_onnx(path: Path) -> None:
    torch.manual_seed(0)
    network = build("resnet50", classes=14, channels=3).eval()
    with warnings.catch_warnings():
        # torch says that another exporter is newer.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(1, 3, 224, 224),), path, dynamo=False, opset_version=17
        )


if __name__ == "__main__":
    main()
