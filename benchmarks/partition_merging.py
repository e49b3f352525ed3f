"""Claim: `thorax partition` with merging takes at most twice what it takes with `--no-merge`.

    python -m benchmarks.partition_merging --work FOLDER [--turns 9]

Networks of Keras without trained weights, 224 x 224, on HETERO:FPGA,CPU with a bitstream of 2019
that lacks what they have many of, so that they fall into a hundred subgraphs and more. Both take
turns. The digest is of the merged split, for comparison with other versions.
"""

import argparse
import hashlib
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import openvino as ov

from benchmarks.harness.result import parse_args
from benchmarks.harness.side_by_side import (
    Comparison,
    Settings,
    Side,
    SideBySide,
    Turn,
    add_options,
    read_options,
)
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
    keras = importer.import_keras()
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


def sides(model: ov.Model, name: str, state: Path) -> tuple[list[Side], dict[bool, Partition]]:
    """Return both ways of splitting a network, and where their splits will be."""
    splits: dict[bool, Partition] = {}

    def split(merge: bool) -> Turn:
        begin, used = time.perf_counter(), time.process_time()
        splits[merge] = partition(model, DEVICE, merge=merge, state=state)
        return Turn(time.perf_counter() - begin, time.process_time() - used)

    settings = Settings(1, "fp32", SIDE, "a graph in memory", process="shared")
    found = [
        Side(f"{name}_merged", settings, lambda: split(True)),
        Side(f"{name}_no_merge", settings, lambda: split(False)),
    ]
    for side in found:
        side.measure()
    return found, splits


def facts(splits: dict[bool, Partition]) -> dict[str, Any]:
    """Return what merging changed."""
    return {
        "subgraphs_before": len(splits[False].subgraphs),
        "subgraphs": len(splits[True].subgraphs),
        "crossings_before": splits[True].crossings_before,
        "crossings": len(splits[True].crossings),
        "split_sha256": digest(splits[True]),
    }


def main() -> None:
    """Make the networks, time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="of Keras")
    add_options(parser, turns=9, seconds=0)
    chosen = parse_args(parser)
    bench = SideBySide("partition_merging", read_options(chosen))
    bench.require_quiet()
    rows: dict[str, dict[str, Any]] = {}
    comparisons = []
    with tempfile.TemporaryDirectory(dir=_made(chosen.work)) as folder:
        state = Path(folder) / "fpga.json"
        program("all", BITSTREAM, state=state)
        for name in chosen.networks:
            both, splits = sides(network(name, Path(folder)), name, state)
            bench.take_turns(both)
            rows[name] = facts(splits)
            comparisons.append(
                Comparison(
                    f"{name}, merged over --no-merge",
                    f"{name}_merged",
                    f"{name}_no_merge",
                    f"Seconds of splitting {name} for {DEVICE} with small subgraphs merged, over "
                    "those without.",
                    quantity="seconds",
                    goal=GOAL,
                )
            )
    document = {"device": DEVICE, "bitstream": BITSTREAM, "networks": rows}
    bench.write(comparisons, document, packages=("thorax", "openvino", "keras", "numpy"))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
