"""Claim: `thorax partition` with merging takes at most twice what it takes with `--no-merge`.

    python -m benchmarks.partition_merging [--turns 9]

Networks of Keras without trained weights, 224 x 224, on HETERO:FPGA,CPU with a bitstream of 2019
that lacks what they have many of, so that they fall into a hundred subgraphs and more. Both take
turns; the figure is the median of the ratios of the turns. The digest is of the merged split,
for comparison with other versions.
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import openvino as ov

from benchmarks.result import median_ratio, table, write
from thorax.devices.partition import Partition, partition
from thorax.fpga.card import program
from thorax.importers import keras as importer
from thorax.importers.formats import read
from thorax.importers.options import ImportOptions
from thorax.ir.shapes import close_shapes

GOAL: Final = 2.0
SIDE: Final = 224
DEVICE: Final = "HETERO:FPGA,CPU"
BITSTREAM: Final = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
NETWORKS: Final = ("MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "DenseNet121")


def network(name: str, folder: Path) -> ov.Model:
    """Return the graph of a network of Keras, saved and read as anybody's."""
    keras = importer._keras()
    more = {"include_preprocessing": False} if "MobileNetV3" in name else {}
    size = {"weights": None, "classes": 14, "input_shape": (SIDE, SIDE, 3)}
    path = folder / f"{name}.keras"
    getattr(keras.applications, name)(**size, **more).save(path)
    options = ImportOptions(side=SIDE)
    imported = read(path, options)
    close_shapes(imported.model, options, imported.layout, name)
    return imported.model


def digest(split: Partition) -> str:
    """Return a digest of every row, subgraph and crossing."""
    facts = (split.rows, split.subgraphs, split.crossings, split.crossings_before)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def measure(model: ov.Model, state: Path, turns: int) -> dict[str, Any]:
    """Return the seconds of both ways, by turns, and what merging changed."""
    times: dict[bool, list[float]] = {True: [], False: []}
    splits: dict[bool, Partition] = {}
    for turn in range(-1, turns):
        for merge in (True, False) if turn % 2 else (False, True):
            start = time.perf_counter()
            splits[merge] = partition(model, DEVICE, merge=merge, state=state)
            if turn >= 0:
                times[merge].append(time.perf_counter() - start)
    return {
        "subgraphs_before": len(splits[False].subgraphs),
        "subgraphs": len(splits[True].subgraphs),
        "crossings_before": splits[True].crossings_before,
        "crossings": len(splits[True].crossings),
        "no_merge_s": times[False],
        "merge_s": times[True],
        "ratio": median_ratio(times[True], times[False]),
        "split_sha256": digest(splits[True]),
    }


def main() -> None:
    """Make the networks, time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=9)
    options = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "fpga.json"
        program("all", BITSTREAM, state=state)
        for name in NETWORKS:
            rows[name] = measure(network(name, Path(folder)), state, options.turns)
    lines = []
    for name, row in rows.items():
        medians = [f"{statistics.median(row[key]):.2f}" for key in ("no_merge_s", "merge_s")]
        parts = f"{row['subgraphs_before']} to {row['subgraphs']}"
        crossing = f"{row['crossings_before']} to {row['crossings']}"
        lines.append((name, parts, crossing, *medians, f"{row['ratio']:.2f}"))
    header = ("network", "subgraphs", "crossings", "--no-merge, s", "merged, s", "ratio")
    table(f"Partition of {DEVICE}, {BITSTREAM}", header, lines)
    document = {"device": DEVICE, "bitstream": BITSTREAM, "goal": GOAL, "networks": rows}
    print(write("partition_merging", document))


if __name__ == "__main__":
    main()
