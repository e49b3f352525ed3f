"""Claim: INT8 costs ResNet-50, DenseNet-121 and VGG-16 at most 0.003 AUROC; sizes and speeds.

    python -m benchmarks.precisions --work FOLDER --data ../shared/data/nih [--turns 7]

Each network three ways: random weights at 224 x 224 from a bare state dict, for sizes and speed;
trained on phantoms of 64 x 64; and trained on from there on the real development radiographs, by
the official split, patient-disjoint. Each becomes fp32, fp16, bf16 and int8 by `thorax optimize`;
AUROC and the paired difference to fp32 are those of `thorax validate --against` on the test split.
Speed is offline, all precisions of a network by turns, over fp32. Trained runs in the
folder (ph-NETWORK, nih-NETWORK) and artifacts are not made again. bf16 converts everywhere and is
run only where the processor computes it.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import safetensors.torch

from benchmarks import tasks
from benchmarks.nih_main_job import thorax
from benchmarks.result import hardware, table
from benchmarks.side_by_side import (
    Comparison,
    Settings,
    Side,
    SideBySide,
    Turn,
    add_options,
    read_options,
)
from thorax import artifact
from thorax.artifact import Precision
from thorax.devices import timing
from thorax.devices.core import supports
from thorax.devices.engine import Engine
from thorax.devices.engine import compile as compile_artifact
from thorax.training import networks

RECIPE: Final = Path(__file__).resolve().parents[1] / "recipes/phantom_small.toml"
NETWORKS: Final = ("resnet50", "densenet121", "vgg16_bn")
PRECISIONS: Final = tuple(one for one in Precision if one is not Precision.FP11)
CHANGES: Final = {
    "network.width": 1,
    "network.output_stride": 32,
    "training.workers": 1,
    "training.threads": 1,
}
PHANTOMS: Final = {"count": 4000, "seed": 5}
EPOCHS: Final = {
    "resnet50": (6, 1e-3, 4),
    "densenet121": (6, 1e-3, 4),
    "vgg16_bn": (3, 5e-4, 2),
}
"""Of a network: epochs on phantoms, their peak rate, epochs on radiographs (at 3e-4)."""
SIDE: Final = 224
CALIBRATION: Final = 64
"""Drawings of that side; the scales of random weights decide nothing."""
GOAL: Final = 0.003


def stores(work: Path, data: Path) -> dict[str, Path]:
    """Return the stores by name, made where they are absent."""
    made = {"random": work / "ph224", "phantoms": work / "ph64"}
    for name, side, count in (
        ("random", SIDE, CALIBRATION),
        ("phantoms", 64, PHANTOMS["count"]),
    ):
        images = work / f"drawings-{side}"
        if not made[name].exists():
            words = ("--count", count, "--size", side, "--seed", PHANTOMS["seed"])
            thorax("phantom", images, *words)
            thorax("data", "import", "phantom", images, "--size", side, "--out", made[name])
    return {**made, "radiographs": tasks.radiographs(work, data).path}


def trained(work: Path, network: str, found: Mapping[str, Path]) -> dict[str, Path]:
    """Return the runs of a network by what they saw last, trained where they are absent."""
    epochs, peak, more = EPOCHS[network]
    short = network.removesuffix("_bn")
    runs = {"phantoms": work / f"ph-{short}", "radiographs": work / f"nih-{short}"}
    plans = {
        "phantoms": ({"training.epochs": epochs, "schedule.peak": peak}, ()),
        "radiographs": (
            {"training.epochs": more, "schedule.peak": 3e-4},
            ("--init", runs["phantoms"]),
        ),
    }
    for name, (own, rest) in plans.items():
        if not (runs[name] / "train.json").exists():
            changes = {**CHANGES, **own, "network.topology": network}
            words = [w for key, value in changes.items() for w in ("--set", f"{key}={value}")]
            thorax("train", RECIPE, "--data", found[name], "--out", runs[name], *words, *rest)
    return runs


def random_weights(work: Path, network: str) -> Path:
    """Return a state dict that nobody trained."""
    path = work / f"random-{network}.safetensors"
    if not path.exists():
        made = networks.build(network, classes=14, seed=7)
        safetensors.torch.save_file(made.state_dict(), path)
    return path


def optimized(
    work: Path,
    source: Path,
    store: Path,
    *described: object,
    precisions: Sequence[Precision] = PRECISIONS,
) -> dict[str, Path]:
    """Return an artifact of each precision, made where it is absent."""
    made = {}
    for precision in precisions:
        out = made[precision.value] = work / f"{source.stem}-{precision}"
        if not out.exists():
            data = ("--data", store) if not described or precision is Precision.INT8 else ()
            thorax("optimize", source, "--out", out, "--precision", precision, *data, *described)
    return made


def accuracy(made: Mapping[str, Path], store: Path) -> dict[str, Any]:
    """Return AUROC on the test split, and of each other precision the difference to fp32."""
    others = [made[p] for p in PRECISIONS if p is not Precision.FP32 and supports("CPU", p)]
    against = [word for path in others for word in ("--against", path)]
    found = thorax("validate", made["fp32"], store, "--no-speed", *against)
    rows = {"fp32": {"auroc": found["mean_auroc_interval"], "drop": None}}
    for one in found["against"]:
        change = one["mean_difference"]
        rows[one["precision"]] = {
            "auroc": one["mean_auroc_interval"],
            "drop": {
                "value": -change["value"],
                "low": -change["high"],
                "high": -change["low"],
            },
        }
    return rows


def sides(network: str, made: Mapping[str, Path], *, seconds: float) -> list[Side]:
    """Return each precision of a network that runs here."""
    found = []
    for precision in PRECISIONS:
        if not supports("CPU", precision):
            continue
        engine = compile_artifact(artifact.load(made[precision.value]), "CPU", hint="throughput")

        def measure(engine: Engine = engine) -> Turn:
            used = time.process_time()
            load = timing.keep_busy(engine, [timing.noise_batch(1, SIDE)], seconds)
            return Turn(load.window_s, time.process_time() - used, load.inferences)

        settings = Settings(
            int(hardware()["processors"]),
            precision.value,
            SIDE,
            "uint8 tensor that stays",
            process="shared",
            more={"streams": engine.streams, "compute": engine.compute},
        )
        measure()
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
    parser.add_argument("--data", type=Path, required=True, help="folder of the NIH images")
    add_options(parser, turns=7, seconds=3)
    options = parser.parse_args()
    bench = SideBySide("precisions", read_options(options))
    bench.require_quiet()
    options.work.mkdir(parents=True, exist_ok=True)
    found = stores(options.work, options.data)
    rows: list[dict[str, Any]] = []
    comparisons: list[Comparison] = []
    for network in NETWORKS:
        runs = trained(options.work, network, found)
        described = ("--topology", network, "--labels", "nih14", "--mean", "0.5", "--std", "0.25")
        sources = {
            "random": optimized(
                options.work,
                random_weights(options.work, network),
                found["random"],
                *(*described, "--side", SIDE),
            ),
            **{name: optimized(options.work, path, found[name]) for name, path in runs.items()},
        }
        taking_turns = sides(network, sources["random"], seconds=options.seconds)
        bench.take_turns(taking_turns)
        fast = [side.settings.precision for side in taking_turns]
        comparisons += [over_fp32(network, name) for name in fast if name != "fp32"]
        scores = {name: accuracy(sources[name], found[name]) for name in runs}
        for precision in PRECISIONS:
            name = precision.value
            card = artifact.load(sources["random"][name]).card
            rows.append(
                {
                    "network": network,
                    "precision": name,
                    "size_bytes": card.size_bytes,
                    "speed_over_fp32": _speed(bench, network, name) if name in fast else None,
                    **{what: scores[what].get(name) for what in scores},
                }
            )
    document = {
        "goal": GOAL,
        "pixels": {"speed": SIDE, "auroc": 64},
        "training": EPOCHS,
        "rows": rows,
        "reached": all(
            row[what]["drop"]["value"] <= GOAL
            for row in rows
            for what in ("phantoms", "radiographs")
            if row["precision"] == "int8"
        ),
    }
    show(rows)
    bench.write(comparisons, document, packages=("thorax", "openvino", "nncf", "torch"))


def _speed(bench: SideBySide, network: str, precision: str) -> float:
    if precision == "fp32":
        return 1.0
    ratio = bench.ratio(over_fp32(network, precision))
    assert ratio is not None
    return ratio.value


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table of the documentation."""
    cells = []
    for row in rows:
        line = [f"{row['network']} {row['precision']}", f"{row['size_bytes'] / 1e6:.1f}"]
        speed = row["speed_over_fp32"]
        line.append(f"{speed:.2f}" if speed else "-")
        for what in ("phantoms", "radiographs"):
            one = row[what]
            line.append(f"{one['auroc']['value']:.4f}" if one else "-")
            drop = one and one["drop"]
            line.append(
                f"{drop['value']:+.4f} [{drop['low']:+.4f}, {drop['high']:+.4f}]" if drop else "-"
            )
        cells.append(line)
    header = ("", "MB", "x fp32", "phantoms", "drop", "radiographs", "drop")
    table("224 x 224 for sizes and speed, 64 x 64 for AUROC", header, cells)


if __name__ == "__main__":
    main()
