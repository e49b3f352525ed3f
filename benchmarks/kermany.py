"""A real task from folder to card: children's radiographs, and what of it needs no network.

    python -m benchmarks.kermany --data ../shared/data/kermany --work FOLDER

Imports the radiographs of Kermany, Zhang and Goldbaum with two labels, pneumonia, and bacterial
against viral, which is unknown without pneumonia; splits are drawn by patient. `data baseline` says
what regressions on simple features reach. ResNet-18, ResNet-50 and DenseNet-121 are trained from
scratch by recipes/kermany_resnet18_128.toml, made fp32, bf16 and int8, validated against each other
on the test split, and fp32 in the arithmetic of FP11 on a simulated card: AUROC with intervals,
drops, findings that flip at operating points. What is in the folder is not made again. Sides and
epochs are chosen so that all of it takes less than 40 minutes on two cores.
"""

import argparse
import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.nih_main_job import thorax
from benchmarks.result import table, write
from thorax.artifact import Precision
from thorax.devices.core import supports

RECIPE: Final = Path(__file__).resolve().parents[1] / "recipes/kermany_resnet18_128.toml"
NETWORKS: Final = {"resnet18": 8, "resnet50": 8, "densenet121": 8}
"""Epochs of each network."""
BITSTREAM: Final = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
DEVICE: Final = "HETERO:FPGA,CPU"


def masked_table(data: Path, out: Path, every: int) -> Path:
    """Write a label table in which bacterial is blank without pneumonia, of every n-th image."""
    with (data / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::every]
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "patient", "pneumonia", "bacterial"))
        for row in rows:
            bacterial = row["bacterial"] if row["pneumonia"] == "1" else ""
            writer.writerow((row["image"], row["patient"], row["pneumonia"], bacterial))
    return out


def imported(options: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """Return the store, made where it is absent, and what `data check` says of it."""
    store = options.work / "store"
    if not store.exists():
        labels = masked_table(options.data, options.work / "labels.csv", options.every)
        words = ("--labels", labels, "--size", options.side, "--out", store)
        thorax("data", "import", "folder", options.data, *words)
    # Copies across splits are told and end nothing: they are the publication's.
    checked = thorax("data", "check", store, allowed=(0, 3))
    facts = {key: checked[key] for key in ("clean", "images", "patients", "splits", "labels")}
    copies = {key: len(checked[key]) for key in ("leaks", "duplicates", "near_duplicates")}
    return store, {**facts, **copies}


def trained(options: argparse.Namespace, network: str, store: Path) -> Path:
    """Return the run of a network, trained from scratch where it is absent."""
    run = Path(options.work / f"run-{network}")
    if not (run / "train.json").exists():
        changes = {
            "network.topology": network,
            "network.output_stride": 16 if network == "resnet18" else 32,
            "training.epochs": options.epochs or NETWORKS[network],
        }
        words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
        thorax("train", RECIPE, "--data", store, "--out", run, *words)
    return run


def compared(store: Path, made: Mapping[str, Path]) -> dict[str, Any]:
    """Return AUROC of fp32, and of every other precision what it costs and what it flips."""
    others = [path for name, path in made.items() if name != "fp32"]
    against = [word for path in others for word in ("--against", path)]
    found = thorax("validate", made["fp32"], store, "--no-speed", *against)
    rows = {"fp32": scored(found)}
    for other in found["against"]:
        rows[other["precision"]] = {
            **scored(other),
            "drop": negated(other["mean_difference"]),
            "flips": other.get("flips"),
        }
    card = thorax("validate", made["fp32"], store, "--no-speed", "-d", DEVICE)
    # On a card the document is of FP11 and what it is compared with is FP32 on the CPU.
    (plain,) = card["against"]
    rows["fp11"] = {
        **scored(card),
        "compute": card["compute"],
        "drop": plain["mean_difference"],
        "flips": plain.get("flips"),
    }
    return rows


def scored(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return mean AUROC and that of each finding."""
    return {"mean_auroc": document["mean_auroc_interval"], "auroc": document["auroc"]}


def negated(interval: Mapping[str, Any]) -> dict[str, Any]:
    """Return an interval with the other sign."""
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    turned = {"value": -value, "low": high, "high": low}
    return {k: v if k == "value" or v is None else -v for k, v in turned.items()}


def measured(options: argparse.Namespace, network: str, store: Path) -> dict[str, Any]:
    """Train, convert and validate a network, and set it beside the baselines."""
    run = trained(options, network, store)
    made = {}
    for precision in (Precision.FP32, Precision.BF16, Precision.INT8):
        if supports("CPU", precision):
            made[precision.value] = options.work / f"{network}-{precision}"
            words = ("--out", made[precision.value], "--precision", precision, "--data", store)
            if not made[precision.value].exists():
                thorax("optimize", run, *words)
    predictions = options.work / f"{network}.csv"
    thorax("classify", made["fp32"], store, "--csv", predictions)
    beside = thorax("data", "baseline", store, "--against", predictions)
    return {
        "network": network,
        "epochs": options.epochs or NETWORKS[network],
        "precisions": compared(store, made),
        "minus_baseline": beside["network"]["mean_difference"],
        "baselines": {key: beside[key] for key in ("models", "best", "verdict")},
    }


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print AUROC, drops and flips."""
    cells = []
    for row in rows:
        for precision, one in row["precisions"].items():
            mean, drop, flips = one["mean_auroc"], one.get("drop"), one.get("flips")
            own = flips["own_points"] if flips else None
            cells.append(
                (
                    f"{row['network']} {precision}",
                    f"{mean['value']:.4f} [{mean['low']:.4f}, {mean['high']:.4f}]",
                    *(f"{one['auroc'][name]['value']:.4f}" for name in one["auroc"]),
                    f"{drop['value']:+.4f}" if drop else "",
                    f"{flips['same_points']['images']:.1%}" if flips else "",
                    f"{own['images']:.1%}" if own else "",
                )
            )
    names = list(rows[0]["precisions"]["fp32"]["auroc"])
    header = ("", "mean AUROC", *names, "drop", "images that flip", "own points")
    table("Test split", header, cells)


def main() -> None:
    """Make what is absent, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with labels.csv")
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--side", type=int, default=96, help="pixels")
    parser.add_argument("--epochs", type=int, help="of each network, in place of its own")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--every", type=int, default=1, help="take every n-th image")
    parser.add_argument("--dry", action="store_true", help="write no result")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_STATE_HOME"] = str(options.work / "cards")
    thorax("fpga", "program", "FPGA.0", BITSTREAM)
    store, facts = imported(options)
    rows = [measured(options, network, store) for network in options.networks]
    baselines = rows[0]["baselines"]
    networks = [{k: v for k, v in row.items() if k != "baselines"} for row in rows]
    show(networks)
    print(*baselines["verdict"], sep="\n")
    document = {"side": options.side, "store": facts, "bitstream": BITSTREAM}
    if not options.dry:
        print(write("kermany", {**document, "baselines": baselines, "networks": networks}))


if __name__ == "__main__":
    main()
