"""Claim: sizes and speeds of ResNet-50, DenseNet-121 and VGG-16 in every precision.

    python -m benchmarks.precisions --work FOLDER [--turns 7]

Random weights at 224 x 224 from a bare state dict become fp32, fp16, bf16 and int8 by `thorax
optimize`; what precision costs in AUROC is measured by `benchmarks.precision_cost`. Speed is
offline, all precisions of a network by turns, over fp32. Artifacts in the folder are not made
again. bf16 converts everywhere and is run only where the processor computes it.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import safetensors.torch

from benchmarks.harness.command import thorax
from benchmarks.harness.result import hardware, parse_args, table
from benchmarks.harness.side_by_side import (
    Comparison,
    Settings,
    Side,
    SideBySide,
    Turn,
    add_options,
    read_options,
)
from thorax import artifact
from thorax.artifact import Artifact, Precision
from thorax.devices import timing
from thorax.devices.core import supports
from thorax.devices.engine import compile as compile_artifact
from thorax.training import networks

NETWORKS: Final = ("resnet50", "densenet121", "vgg16_bn")
PRECISIONS: Final = tuple(one for one in Precision if one is not Precision.FP11)
SIDE: Final = 224
WARM_UP_S: Final = 0.5
CALIBRATION: Final = 64
"""Drawings of that side; the scales of random weights decide nothing."""


def drawn(work: Path) -> Path:
    """Return the store that INT8 is calibrated on, made where it is absent."""
    store, images = work / f"ph{SIDE}", work / f"drawings-{SIDE}"
    if not store.exists():
        thorax("phantom", images, "--count", CALIBRATION, "--size", SIDE)
        thorax("data", "import", "phantom", images, "--size", SIDE, "--out", store)
    return store


def random_weights(work: Path, network: str) -> Path:
    """Return a state dict that nobody trained."""
    path = work / f"random-{network}.safetensors"
    if not path.exists():
        made = networks.build(network, classes=14, seed=7)
        safetensors.torch.save_file(made.state_dict(), path)
    return path


def optimized(work: Path, network: str) -> dict[str, Path]:
    """Return an artifact of each precision, made where it is absent."""
    source, made = random_weights(work, network), {}
    described = ("--topology", network, "--labels", "nih14", "--mean", "0.5", "--std", "0.25")
    for precision in PRECISIONS:
        out = made[precision.value] = work / f"{source.stem}-{precision}"
        if not out.exists():
            data = ("--data", drawn(work)) if precision is Precision.INT8 else ()
            words = ("--precision", precision, "--side", SIDE, *described, *data)
            thorax("optimize", source, "--out", out, *words)
    return made


def sides(network: str, made: Mapping[str, Path], *, seconds: float) -> list[Side]:
    """Return each precision of a network that runs here."""
    found = []
    for precision in PRECISIONS:
        if not supports("CPU", precision):
            continue
        loaded = artifact.load(made[precision.value])
        engine = compile_artifact(loaded, "CPU", hint="throughput")

        def measure(loaded: Artifact = loaded) -> Turn:
            # Compiled for each turn: where its memory comes to lie is worth some percent.
            engine = compile_artifact(loaded, "CPU", hint="throughput")
            timing.keep_busy(engine, [timing.noise_batch(1, SIDE)], WARM_UP_S)
            used = time.process_time()
            load = timing.keep_busy(engine, [timing.noise_batch(1, SIDE)], seconds)
            return Turn(load.window_s, time.process_time() - used, load.inferences)

        settings = Settings(
            int(hardware()["processors"]),
            precision.value,
            SIDE,
            "uint8 tensor that stays",
            warm_up_s=WARM_UP_S,
            process="shared",
            more={"streams": engine.streams, "compute": engine.arithmetic},
        )
        found.append(Side(f"{network}_{precision.value}", settings, measure))
    return found


def over_fp32(network: str, precision: str) -> Comparison:
    """Return the speed of a precision over that of fp32."""
    return Comparison(
        f"{network}, {precision} over fp32",
        f"{network}_{precision}",
        f"{network}_fp32",
        f"Images a second of {network} at {SIDE} px in {precision} over those in fp32, all streams "
        "busy.",
        differs=("precision",),
    )


def main() -> None:
    """Make everything, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    add_options(parser, turns=7, seconds=3)
    options = parse_args(parser)
    bench = SideBySide("precisions", read_options(options))
    bench.require_quiet()
    options.work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    comparisons: list[Comparison] = []
    for network in NETWORKS:
        made = optimized(options.work, network)
        taking_turns = sides(network, made, seconds=options.seconds)
        bench.take_turns(taking_turns)
        fast = [side.settings.precision for side in taking_turns]
        comparisons += [over_fp32(network, name) for name in fast if name != "fp32"]
        rows += [
            {
                "network": network,
                "precision": name,
                "size_bytes": artifact.load(path).card.size_bytes,
                "speed_over_fp32": _speed(bench, network, name) if name in fast else None,
            }
            for name, path in made.items()
        ]
    show(rows)
    bench.write(
        comparisons,
        {"pixels": SIDE, "rows": rows},
        packages=("thorax", "openvino", "nncf", "torch"),
    )


def _speed(bench: SideBySide, network: str, precision: str) -> float:
    if precision == "fp32":
        return 1.0
    ratio = bench.ratio(over_fp32(network, precision))
    assert ratio is not None
    return ratio.value


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table of the documentation."""
    cells = [
        (
            f"{row['network']} {row['precision']}",
            f"{row['size_bytes'] / 1e6:.1f}",
            f"{row['speed_over_fp32']:.2f}" if row["speed_over_fp32"] else "-",
        )
        for row in rows
    ]
    table(f"{SIDE} x {SIDE}", ("", "MB", "x fp32"), cells)


if __name__ == "__main__":
    main()
