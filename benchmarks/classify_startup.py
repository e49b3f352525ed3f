"""`thorax classify` on one PNG against a bare OpenVINO script, process start to exit.

    python -m benchmarks.classify_startup --work FOLDER [--turns 11]

The script imports openvino, reads the same graph, compiles it to the same precision and infers
once on black. `thorax` also verifies the artifact, decodes, prepares and prints: 1.5 times the
wall-clock time is allowed, and the processor time is told beside it, which is what is left where
processors are few. `thorax --help` is to answer in 0.3 s. One run of each before, which is not
counted, lets Python keep its byte code, as an installed program has it.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.harness import result
from benchmarks.harness.side_by_side import (
    Bound,
    Comparison,
    Settings,
    SideBySide,
    add_options,
    command_side,
    read_options,
)
from benchmarks.subjects import make_artifact
from benchmarks.subjects.images import folder_of
from thorax import artifact
from thorax.artifact import Precision

GOAL: Final = 1.5
HELP_GOAL_S: Final = 0.3
SIDE: Final = 224
MORE: Final = Bound(1.0, "classify does all that the script does, and verifies and decodes")

_BARE: Final = """
import sys
import numpy, openvino
core = openvino.Core()
model = core.read_model(sys.argv[1])
compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": sys.argv[2]})
print(compiled(numpy.zeros(model.inputs[0].shape, numpy.uint8))["probability"])
"""


def main() -> None:
    """Read argv, measure in turns, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument(
        "--images", type=result.filled_folder, help="1024x1024 radiographs; default: phantoms"
    )
    add_options(parser, turns=11, seconds=0)
    chosen = result.parse_args(parser)
    bench = SideBySide("classify_startup", read_options(chosen))
    bench.require_quiet()
    (model,) = make_artifact.make(
        chosen.work / f"side-{SIDE}", "resnet50", side=SIDE, count=80, precisions=(Precision.FP32,)
    )
    card = artifact.load(model).card
    with tempfile.TemporaryDirectory() as scratch:
        image = str(next(folder_of(1, Path(scratch) / "images", chosen.images).iterdir()))
        thorax = [sys.executable, "-m", "thorax"]
        commands = {
            "bare": [
                sys.executable, "-c", _BARE, str(model / artifact.XML), card.precision.compute,
            ],
            "classify": [*thorax, "classify", str(model), image],
            "classify_json": [*thorax, "classify", str(model), image, "--json"],
            "help": [*thorax, "--help"],
        }  # fmt: skip
        inputs = {"bare": "a black array", "help": "none"}
        sides = [
            command_side(
                name,
                Settings(
                    int(result.hardware()["processors"]),
                    card.precision.value,
                    SIDE,
                    inputs.get(name, "a PNG of 1024 x 1024"),
                ),
                lambda command=command: command,  # type: ignore[misc]
            )
            for name, command in commands.items()
        ]
        for side in sides:
            side.measure()
        bench.take_turns(sides)
    comparisons = [
        Comparison(
            f"{words.replace(' ONE', '')} over a bare OpenVINO script",
            name,
            "bare",
            f"Seconds from start to exit of `thorax {words}`, over those of a script that only "
            "compiles the graph and infers once.",
            quantity="seconds",
            differs=("input",),
            bound=MORE,
            goal=GOAL,
        )
        for name, words in (("classify", "classify ONE"), ("classify_json", "classify ONE --json"))
    ]
    help_s = statistics.median(turn["wall_s"] for turn in bench.turns["help"])
    document = {
        "model": card.name,
        "source": "phantoms" if chosen.images is None else chosen.images.name,
        "help_s": help_s,
        "help_goal_s": HELP_GOAL_S,
    }
    bench.write(comparisons, document)


if __name__ == "__main__":
    main()
