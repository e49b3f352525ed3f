"""`thorax classify` on one PNG against a bare OpenVINO script, process start to exit.

The script imports openvino, reads the same graph, compiles it to the same precision and infers
once on black. `thorax` also verifies the artifact, decodes, prepares and prints: 1.5 times the time
is allowed. `thorax --help` is to answer in 0.3 s. One run of each before, which is not counted,
lets Python keep its byte code, as an installed program has it.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import result
from benchmarks.images import folder_of
from thorax import artifact

GOAL = 1.5
HELP_GOAL_S = 0.3

_BARE = """
import sys
import numpy, openvino
core = openvino.Core()
model = core.read_model(sys.argv[1])
compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": sys.argv[2]})
print(compiled(numpy.zeros(model.inputs[0].shape, numpy.uint8))["probability"])
"""


def main() -> None:
    """Read argv, measure in turns, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="artifact; see benchmarks.make_artifact")
    parser.add_argument("--images", type=Path, help="1024x1024 radiographs; default: phantoms")
    parser.add_argument("--turns", type=int, default=11)
    chosen = parser.parse_args()
    card = artifact.load(chosen.model).card
    with tempfile.TemporaryDirectory() as scratch:
        image = str(next(folder_of(1, Path(scratch) / "images", chosen.images).iterdir()))
        thorax = [sys.executable, "-m", "thorax"]
        graph = str(chosen.model / artifact.XML)
        commands = {
            "bare": [sys.executable, "-c", _BARE, graph, card.precision.compute],
            "classify": [*thorax, "classify", str(chosen.model), image],
            "classify_json": [*thorax, "classify", str(chosen.model), image, "--json"],
            "help": [*thorax, "--help"],
        }
        for command in commands.values():
            result.timed(command)
        turns = [
            {name: result.timed(command) for name, command in commands.items()}
            for _ in range(chosen.turns)
        ]
    wall = {name: [turn[name][0] for turn in turns] for name in commands}
    cpu = {name: [turn[name][1] for turn in turns] for name in commands}
    wall_ratio = {name: result.median_ratio(wall[name], wall["bare"]) for name in commands}
    cpu_ratio = {name: result.median_ratio(cpu[name], cpu["bare"]) for name in commands}
    titles = {
        "bare": "bare script",
        "classify": "thorax classify one.png",
        "classify_json": "thorax classify one.png --json",
        "help": "thorax --help",
    }
    result.table(
        f"{card.name}, start to exit, {chosen.turns} turns (medians)",
        ("Process", "s", "ratio", "processor s", "ratio"),
        [
            (
                title,
                f"{statistics.median(wall[name]):.2f}",
                f"{wall_ratio[name]:.2f}",
                f"{statistics.median(cpu[name]):.2f}",
                f"{cpu_ratio[name]:.2f}",
            )
            for name, title in titles.items()
        ],
    )
    print(f"goals: classify {GOAL} times the bare script or less, --help {HELP_GOAL_S} s or less")
    document = {
        "model": card.name,
        "precision": card.precision.value,
        "source": "phantoms" if chosen.images is None else chosen.images.name,
        "goal": GOAL,
        "help_goal_s": HELP_GOAL_S,
        "median_ratio": wall_ratio,
        "median_ratio_of_cpu": cpu_ratio,
        "wall_s": wall,
        "cpu_s": cpu,
    }
    print(f"written: benchmarks/results/{result.write('classify_startup', document).name}")


if __name__ == "__main__":
    main()
