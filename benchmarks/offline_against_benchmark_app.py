"""Claim: `thorax benchmark` offline runs at 0.97 or more of OpenVINO's own benchmark_app.

    python -m benchmarks.offline_against_benchmark_app --work FOLDER [--turns 7] [--seconds 3]

Both read the same model.xml, in processes of their own from start to exit, with the same device,
precision and hint, each by its own clock. ResNet-50 at 224 x 224 in every precision that is here.
No bound holds the ratio: benchmark_app asks from a loop in Python, and counts from the first
request to the last answer, while Thorax counts a window in which all streams are busy.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.harness import result
from benchmarks.harness.side_by_side import (
    Comparison,
    Settings,
    Side,
    SideBySide,
    Turn,
    add_options,
    read_options,
)
from benchmarks.subjects import make_artifact, peers
from thorax import artifact
from thorax.artifact import Artifact, Precision
from thorax.devices.core import takes

GOAL: Final = 0.97
SIDE: Final = 224
PRECISIONS: Final = (Precision.FP32, Precision.BF16, Precision.INT8)


def thorax(made: Artifact, device: str, seconds: float) -> Turn:
    """Time `thorax benchmark`."""
    words = ["-m", "thorax", "benchmark", str(made.path), "-d", device, "--scenario", "offline"]
    ran = subprocess.run(
        [sys.executable, *words, "--duration", str(seconds), "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(ran.stdout)
    requests = float(found["streams"])
    return Turn(found["window_s"], None, int(found["images"]), {"requests": requests})


def sides(path: Path, device: str, seconds: float) -> tuple[list[Side], Comparison]:
    """Return both programs on an artifact, and how they compare."""
    made = artifact.load(path)
    precision, compute = made.card.precision.value, made.card.precision.compute
    threads = int(result.hardware()["processors"])

    def side(name: str, given: str, measure: Callable[[], Turn]) -> Side:
        settings = Settings(threads, precision, made.card.input.side, given)
        return Side(f"{name}_{precision}", settings, measure)

    return [
        side("thorax", "noise, 8 images in turn", lambda: thorax(made, device, seconds)),
        side(
            "benchmark_app",
            "filled by the program",
            lambda: peers.benchmark_app(made.xml, compute, seconds, device),
        ),
    ], Comparison(
        f"thorax benchmark over benchmark_app, {precision}",
        f"thorax_{precision}",
        f"benchmark_app_{precision}",
        f"Images a second that `thorax benchmark` tells of ResNet-50 at {SIDE} px in {precision}, "
        "over what benchmark_app tells of the same graph.",
        differs=("input",),
        goal=GOAL,
    )


def main() -> None:
    """Read argv, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument("-d", "--device", default="CPU")
    parser.add_argument("--precisions", type=Precision, nargs="+", default=list(PRECISIONS))
    add_options(parser, turns=7, seconds=3)
    chosen = result.parse_args(parser)
    bench = SideBySide("offline_against_benchmark_app", read_options(chosen))
    bench.require_quiet()
    made = make_artifact.make(
        chosen.work / f"side-{SIDE}", "resnet50", side=SIDE, count=80, precisions=PRECISIONS
    )
    comparisons = []
    for path, precision in zip(made, PRECISIONS, strict=True):
        here = precision is not Precision.BF16 or takes(chosen.device, precision)
        if precision not in chosen.precisions or not here:
            continue
        both, comparison = sides(path, chosen.device, bench.options.seconds)
        bench.take_turns(both)
        comparisons.append(comparison)
    bench.write(comparisons, {"device": chosen.device}, packages=("thorax", "openvino", "numpy"))


if __name__ == "__main__":
    main()
