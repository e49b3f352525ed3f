"""Claim: computing as the overlay does, in FP11, takes a CPU at most 1.35 times what FP32 takes.

    python -m benchmarks.fpga_emulation_cost --work FOLDER [--turns 7] [--seconds 2]

The product path, an engine on `HETERO:FPGA,CPU`, for one answer (latency, one image at a time) and
for many (offline, all streams busy), ResNet-50 at 224 x 224. It takes turns with the same artifact
on the CPU in plain FP32, and with the product path whose card computes in FP32: the first ratio is
what a user pays, the second what HETERO's splitting costs of it, the third what FP11 costs.
"""

import argparse
import os
import time
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
from benchmarks.subjects import make_artifact
from thorax import artifact
from thorax.artifact import Artifact, Precision
from thorax.devices import timing
from thorax.devices.engine import Engine, Hint
from thorax.devices.engine import compile as compile_artifact
from thorax.devices.placement import Numerics
from thorax.fpga.card import program

GOAL: Final = 1.35
SIDE: Final = 224
WARM_UP_S: Final = 0.5
BITSTREAM: Final = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
WAYS: Final[dict[str, tuple[str, Numerics, str]]] = {
    "fp11_card": ("HETERO:FPGA,CPU", "bitstream", "fp11 in blocks"),
    "fp32_card": ("HETERO:FPGA,CPU", "fp32", "fp32"),
    "cpu": ("CPU", "bitstream", "fp32"),
}
"""Device, numerics of the card, and arithmetic of each way."""
HINTS: Final[dict[str, Hint]] = {"latency": "latency", "offline": "throughput"}


def one_at_a_time(engine: Engine, seconds: float) -> Turn:
    """Return a turn of answers, each asked for when the last is there."""
    image = timing.noise_batch(1, SIDE)
    images, used, begin = 0, time.process_time(), time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds:
        engine.infer(image)
        images += 1
    return _turn(elapsed, used, images)


def all_streams(engine: Engine, seconds: float) -> Turn:
    """Return a turn with all streams busy."""
    used = time.process_time()
    load = timing.keep_busy(engine, [timing.noise_batch(1, SIDE)], seconds)
    return _turn(load.window_s, used, load.inferences)


def _turn(wall_s: float, used_s: float, images: int) -> Turn:
    cpu_s = time.process_time() - used_s
    return Turn(wall_s, cpu_s, images, {"image_s": wall_s / images, "image_s_cpu": cpu_s / images})


MEASURES: Final[dict[str, Callable[[Engine, float], Turn]]] = {
    "latency": one_at_a_time,
    "offline": all_streams,
}


def sides(made: Artifact, kind: str, seconds: float) -> list[Side]:
    """Return all ways of a kind, each compiled anew for each turn."""
    found = []
    for name, (device, numerics, arithmetic) in WAYS.items():
        engine = compile_artifact(made, device, hint=HINTS[kind], numerics=numerics)
        settings = Settings(
            int(result.hardware()["processors"]),
            arithmetic,
            SIDE,
            "uint8 array" if kind == "latency" else "uint8 tensor that stays",
            warm_up_s=WARM_UP_S,
            process="shared",
            more={"device": device, "streams": engine.streams, "compute": engine.compute},
        )

        def measure(device: str = device, numerics: Numerics = numerics) -> Turn:
            # Compiled for each turn: where its memory comes to lie is worth some percent.
            engine = compile_artifact(made, device, hint=HINTS[kind], numerics=numerics)
            MEASURES[kind](engine, WARM_UP_S)
            return MEASURES[kind](engine, seconds)

        found.append(Side(f"{name}_{kind}", settings, measure))
    return found


def comparisons(kind: str) -> list[Comparison]:
    """Return what the product path costs, and of what."""
    told = {
        ("fp11_card", "cpu"): ("HETERO:FPGA,CPU over CPU in fp32", GOAL, ("precision",)),
        ("fp32_card", "cpu"): ("HETERO's splitting alone", None, ()),
        ("fp11_card", "fp32_card"): ("FP11 arithmetic alone", None, ("precision",)),
    }
    return [
        Comparison(
            f"{kind}: {name}",
            f"{first}_{kind}",
            f"{second}_{kind}",
            f"Seconds an image of ResNet-50 at {SIDE} px ({kind}) in the emulation of the card, "
            f"over those without: {name}.",
            quantity="image_s",
            label="time an image",
            differs=differs,
            goal=goal,
        )
        for (first, second), (name, goal, differs) in told.items()
    ]


def main() -> None:
    """Make the artifact, time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    add_options(parser, turns=7, seconds=2)
    chosen = result.parse_args(parser)
    bench = SideBySide("fpga_emulation_cost", read_options(chosen))
    bench.require_quiet()
    (path,) = make_artifact.make(
        chosen.work / f"side-{SIDE}", "resnet50", side=SIDE, count=80, precisions=(Precision.FP32,)
    )
    # Cards of this run's own: those of the user stay as they are.
    os.environ["XDG_STATE_HOME"] = str(chosen.work.resolve() / "state")
    program("all", BITSTREAM)
    made = artifact.load(path)
    for kind in HINTS:
        bench.take_turns(sides(made, kind, bench.options.seconds))
    document = {"bitstream": BITSTREAM, "network": made.card.topology, "side": SIDE}
    bench.write([row for kind in HINTS for row in comparisons(kind)], document)


if __name__ == "__main__":
    main()
