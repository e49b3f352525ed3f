"""Claim: FP11 on a card costs ResNet-50, DenseNet-121 and VGG-16 at most 0.003 AUROC.

    python -m benchmarks.fpga_auroc --work FOLDER --data ../shared/data/nih

The networks are those of `benchmarks.precisions`, trained on phantoms of 64 x 64 and trained on
from there on the real development radiographs, patient-disjoint; what is in the folder is not made
again. `thorax optimize --precision fp11` folds the weights of each, and `thorax validate -d
HETERO:FPGA,CPU --against` runs it on a simulated Intel PAC, its arithmetic to the bit, and its FP32
twin in FP32 on the same images of the test split: AUROC with intervals, and the paired difference
with patients resampled.
"""

import argparse
import os
from pathlib import Path
from typing import Any, Final

from benchmarks.nih_main_job import thorax
from benchmarks.precisions import GOAL, NETWORKS, optimized, stores, trained
from benchmarks.result import table, write
from thorax import artifact
from thorax.artifact import Precision
from thorax.devices.engine import compile as compile_artifact

BITSTREAM: Final = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
DEVICE: Final = "HETERO:FPGA,CPU"
_ARRAY: Final = ("Convolution", "GroupConvolution", "MatMul")


def folded(work: Path, source: Path) -> Path:
    """Return the FP11 artifact of a run, made anew: which block it has is the card's."""
    out = work / f"{source.stem}-fp11"
    thorax("optimize", source, "--out", out, "--precision", "fp11", "-d", DEVICE)
    return out


def on_card(made: Path) -> dict[str, Any]:
    """Return how many layers with weights, and how many subgraphs, the card runs."""
    engine = compile_artifact(artifact.load(made), DEVICE)
    assert engine.placement is not None
    split = engine.placement.partition
    array = [row for row in split.rows if row.type in _ARRAY]
    return {
        "compute": engine.compute,
        "layers_with_weights": len(array),
        "on_card": sum(row.device == "FPGA.0" for row in array),
        "subgraphs": len(split.subgraphs),
    }


def row(work: Path, network: str, what: str, source: Path, store: Path) -> dict[str, Any]:
    """Return AUROC of both on the test split, and what FP11 lost."""
    plain = optimized(work, source, store, precisions=(Precision.FP32,))["fp32"]
    made = folded(work, source)
    found = thorax("validate", made, store, "-d", DEVICE, "--no-speed", "--against", plain)
    other = found["against"][0]
    return {
        "network": network,
        "trained_on": what,
        "images": found["images"],
        "fp11": found["mean_auroc_interval"],
        "fp32": other["mean_auroc_interval"],
        "computed": [found["compute"], other["compute"]],
        "drop": other["mean_difference"],
        **on_card(made),
    }


def main() -> None:
    """Make what is absent, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--data", type=Path, required=True, help="folder of the NIH images")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_STATE_HOME"] = str(options.work / "cards")
    thorax("fpga", "program", "FPGA.0", BITSTREAM)
    found = stores(options.work, options.data)
    rows = []
    for network in NETWORKS:
        for what, source in trained(options.work, network, found).items():
            rows.append(row(options.work, network, what, source, found[what]))
            print(rows[-1], flush=True)
    reached = all(one["drop"]["value"] <= GOAL for one in rows)
    document = {"bitstream": BITSTREAM, "goal": GOAL, "side": 64, "rows": rows, "reached": reached}
    path = write("fpga_auroc", document)
    cells = [
        (
            f"{one['network']}, {one['trained_on']}",
            str(one["images"]),
            f"{one['fp32']['value']:.4f}",
            f"{one['fp11']['value']:.4f}",
            f"{one['drop']['value']:+.4f} [{one['drop']['low']:+.4f}, {one['drop']['high']:+.4f}]",
            f"{one['on_card']} of {one['layers_with_weights']}",
        )
        for one in rows
    ]
    header = ("", "images", "FP32", "FP11", "FP32 - FP11", "layers on the card")
    table("Mean AUROC on the test split", header, cells)
    print(path)


if __name__ == "__main__":
    main()
