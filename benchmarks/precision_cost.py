"""Claim: what BF16, INT8 and the FP11 of a card cost three networks, on two tasks.

    python -m benchmarks.precision_cost --work FOLDER --task phantoms
    python -m benchmarks.precision_cost --work FOLDER --task kermany --data KERMANY

ResNet-50, DenseNet-121 and VGG-16 are trained from scratch on drawn chests (14 findings) and on
radiographs of children (pneumonia; bacterial against viral), patients in one split each. `thorax
optimize` makes each precision, `thorax validate --against` judges it on the test split beside
FP32, and `-d HETERO:FPGA,CPU` in the arithmetic of a simulated Intel PAC, to the bit: AUROC with
intervals, the paired difference with patients resampled, and the findings that flip at the
operating points of FP32 and at those chosen for each precision. `thorax data baseline` says what
needs no network. What was drawn, imported and trained in the folder is not made again.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.command import thorax
from benchmarks.harness.result import filled_folder, parse_args, table, write
from benchmarks.subjects import runs, tasks
from thorax import artifact
from thorax.artifact import Precision
from thorax.devices.core import supports
from thorax.devices.engine import compile as compile_artifact

RECIPE: Final = Path(__file__).resolve().parents[1] / "recipes/phantom_small.toml"
NETWORKS: Final = ("resnet50", "densenet121", "vgg16_bn")
EPOCHS: Final = {
    "phantoms": {"resnet50": 6, "densenet121": 6, "vgg16_bn": 3},
    "kermany": {"resnet50": 12, "densenet121": 12, "vgg16_bn": 4},
}
"""By task and network; an image of VGG-16 takes the arithmetic of three or more of the others."""
PEAK: Final = {"resnet50": 1e-3, "densenet121": 1e-3, "vgg16_bn": 5e-4}
SIDE: Final = 64
BITSTREAM: Final = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
DEVICE: Final = "HETERO:FPGA,CPU"
GOAL: Final = 0.003
_ARRAY: Final = ("Convolution", "GroupConvolution", "MatMul")

Row = Mapping[str, Any]


def trained(work: Path, task: str, network: str, store: Path) -> Path:
    """Return the run of a network, trained from scratch where it is absent."""
    changes = {
        "network.topology": network,
        "network.width": 1,
        "network.output_stride": 32,
        "training.epochs": EPOCHS[task][network],
        "training.precision": "auto",
        "schedule.peak": PEAK[network],
    }
    return runs.trained(work / f"{task}-{network}", RECIPE, store, changes)


def optimized(run: Path, store: Path) -> dict[str, Path]:
    """Return an artifact of each precision that runs here."""
    return {
        precision.value: runs.optimized(run, precision, store)
        for precision in (Precision.FP32, Precision.BF16, Precision.INT8)
        if supports("CPU", precision)
    }


def judged(made: Mapping[str, Path], store: Path) -> list[dict[str, Any]]:
    """Return what each precision reaches, costs and flips on the test split."""
    against = [w for name, path in made.items() if name != "fp32" for w in ("--against", path)]
    found = thorax("validate", made["fp32"], store, "--no-speed", *against)
    rows = [{"precision": "fp32", **_scored(found)}]
    for other in found["against"]:
        rows.append({"precision": other["precision"], **_scored(other), **_drops(other)})
    card = thorax("validate", made["fp32"], store, "--no-speed", "-d", DEVICE)
    # On a card the document is of FP11, and what it is compared with is FP32 on the CPU.
    (plain,) = card["against"]
    rows.append(
        {"precision": "fp11", **_scored(card), **_drops(plain), "flips": plain["flips"]}
        | _on_card(made["fp32"])
    )
    return rows


def _drops(compared: Row) -> dict[str, Any]:
    """Return what FP32 has above the other of a comparison, as `validate` tells it."""
    return {"drop": compared["auroc_drop"], "drop_by_finding": compared["auroc_drop_by_finding"]}


def _scored(document: Row) -> dict[str, Any]:
    return {
        "compute": document["compute"],
        "mean_auroc": document["mean_auroc_interval"],
        "auroc": document["auroc"],
        "flips": document.get("flips"),
    }


def _on_card(made: Path) -> dict[str, Any]:
    """Return how many of the layers with weights the card runs."""
    placement = compile_artifact(artifact.load(made), DEVICE).placement
    assert placement is not None
    array = [row for row in placement.partition.rows if row.type in _ARRAY]
    return {
        "layers_with_weights": len(array),
        "on_card": sum(row.device == "FPGA.0" for row in array),
    }


def measured(options: argparse.Namespace, task: str) -> dict[str, Any]:
    """Return the baselines of a task, and a row a network and precision."""
    work: Path = options.work
    store = (
        tasks.phantoms(work, SIDE)
        if task == "phantoms"
        else tasks.kermany(work, options.data, SIDE)
    ).path
    rows: list[dict[str, Any]] = []
    for network in options.network or NETWORKS:
        made = optimized(trained(work, task, network, store), store)
        rows += [{"network": network, **row} for row in judged(made, store)]
        show(task, rows)
    easy = thorax("data", "baseline", store)
    return {
        "task": task,
        "images": {name: easy["splits"][name] for name in easy["splits"]},
        "epochs": EPOCHS[task],
        "baselines": {key: easy[key] for key in ("models", "best", "verdict")},
        "rows": rows,
    }


def show(task: str, rows: Sequence[Row]) -> None:
    """Print AUROC, drops and flips."""
    cells = []
    for row in rows:
        mean, drop, flips = row["mean_auroc"], row.get("drop"), row.get("flips")
        own = flips and flips["own_points"]
        cells.append(
            (
                f"{row['network']} {row['precision']}",
                f"{mean['value']:.4f} [{mean['low']:.4f}, {mean['high']:.4f}]",
                "{value:+.4f} [{low:+.4f}, {high:+.4f}]".format(**drop) if drop else "",
                f"{flips['same_points']['images']:.1%}" if flips else "",
                f"{own['images']:.1%}" if own else "",
                f"{flips['largest_change']:.3f}" if flips else "",
            )
        )
    header = ("", "mean AUROC", "drop", "images that flip", "own points", "largest change")
    table(f"{task}, {SIDE} x {SIDE}, test split", header, cells)


def main() -> None:
    """Make what is absent, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--task", choices=list(EPOCHS), required=True)
    parser.add_argument("--data", type=filled_folder, help="folder of the Kermany radiographs")
    parser.add_argument("--network", action="append", choices=NETWORKS, help="this alone")
    options = parse_args(parser)
    if options.task == "kermany" and options.data is None:
        parser.error("--task kermany needs --data FOLDER, the radiographs with their labels.csv")
    os.environ["XDG_STATE_HOME"] = str(options.work / "cards")
    thorax("fpga", "program", "FPGA.0", BITSTREAM)
    document = {"side": SIDE, "goal": GOAL, "bitstream": BITSTREAM}
    found = measured(options, options.task)
    claim = f"precision_cost_{options.task}"
    print("written:", write(claim, document | found, rehearsal=options.rehearsal))


if __name__ == "__main__":
    main()
