"""Claim: INT8 costs ResNet-50, DenseNet-121 and VGG-16 at most 0.003 AUROC; sizes and speeds.

    python -m benchmarks.precisions --work FOLDER --data ../shared/data/nih [--turns 5]

Each network three ways: random weights at 224 x 224 from a bare state dict, for sizes and speed;
trained on phantoms of 64 x 64; and trained on from there on the real development radiographs, by
the official split, patient-disjoint. Each becomes fp32, fp16, bf16 and int8 by `thorax optimize`;
AUROC and the paired difference to fp32 are those of `thorax validate --against` on the test split.
Speed is offline, all precisions of a network by turns, as the ratio to fp32. Trained runs in the
folder (ph-NETWORK, nih-NETWORK) and artifacts are not made again. bf16 converts everywhere and is
run only where the processor computes it.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import safetensors.torch

from benchmarks import tasks
from benchmarks.nih_main_job import thorax
from benchmarks.result import median_ratio, table, write
from thorax import artifact
from thorax.artifact import Precision
from thorax.benchmark.scenarios import ScenarioOptions, run_scenario
from thorax.devices.core import supports
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


def speeds(made: Mapping[str, Path], *, turns: int, seconds: float) -> dict[str, list[float]]:
    """Return images per second of each precision that runs here, turn by turn."""
    engines = {
        precision.value: compile_artifact(
            artifact.load(made[precision.value]), "CPU", hint="throughput"
        )
        for precision in PRECISIONS
        if supports("CPU", precision)
    }
    found: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(turns):
        order = list(engines.items())
        for name, engine in order if turn % 2 == 0 else reversed(order):
            measured = run_scenario(engine, ScenarioOptions("offline", seconds))
            found[name].append(measured.images_per_s)
    return found


def main() -> None:
    """Make everything, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--data", type=Path, required=True, help="folder of the NIH images")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each speed")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    found = stores(options.work, options.data)
    rows: list[dict[str, Any]] = []
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
        fast = speeds(sources["random"], turns=options.turns, seconds=options.seconds)
        scores = {name: accuracy(sources[name], found[name]) for name in runs}
        for precision in PRECISIONS:
            name = precision.value
            card = artifact.load(sources["random"][name]).card
            rows.append(
                {
                    "network": network,
                    "precision": name,
                    "size_bytes": card.size_bytes,
                    "images_per_s": fast.get(name),
                    "speed_ratio": median_ratio(fast[name], fast["fp32"]) if name in fast else None,
                    **{what: scores[what].get(name) for what in scores},
                }
            )
    document = {
        "goal": GOAL,
        "sides": {"speed": SIDE, "auroc": 64},
        "training": EPOCHS,
        "rows": rows,
        "reached": all(
            row[what]["drop"]["value"] <= GOAL
            for row in rows
            for what in ("phantoms", "radiographs")
            if row["precision"] == "int8"
        ),
    }
    path = write("precisions", document)
    show(rows)
    print(path)


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table of the documentation."""
    cells = []
    for row in rows:
        line = [f"{row['network']} {row['precision']}", f"{row['size_bytes'] / 1e6:.1f}"]
        fast = row["images_per_s"]
        line.append(f"{statistics.median(fast):.1f}" if fast else "-")
        line.append(f"{row['speed_ratio']:.2f}" if fast else "-")
        for what in ("phantoms", "radiographs"):
            one = row[what]
            line.append(f"{one['auroc']['value']:.4f}" if one else "-")
            drop = one and one["drop"]
            line.append(
                f"{drop['value']:+.4f} [{drop['low']:+.4f}, {drop['high']:+.4f}]" if drop else "-"
            )
        cells.append(line)
    header = ("", "MB", "images/s", "x fp32", "phantoms", "drop", "radiographs", "drop")
    table("224 x 224 for sizes and speed, 64 x 64 for AUROC", header, cells)


if __name__ == "__main__":
    main()
