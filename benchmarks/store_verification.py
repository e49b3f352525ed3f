"""Claim: reading a store with each image checked against its digest costs 3 % of training or less.

    python -m benchmarks.store_verification --work FOLDER [--turns 6] [--images 768]

By turns on the same store of noise, 256 pixels: a memory map as stores were read before, `pread`
without a check, and what `open_store` gives, `pread` and a SHA-256 of each image each time it is
read. Read in a random order; by the loader with a flip, in one thread; and by `fit`, which trains a
ResNet-18 of a quarter of the width, the network that computes least of those that are trained: what
reading costs weighs most there. Beside the turns stands the share that follows from processor time
alone, which other work on the machine disturbs least.
"""

import argparse
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.harness.result import hardware, parse_args
from benchmarks.harness.side_by_side import (
    Comparison,
    Settings,
    Side,
    SideBySide,
    Turn,
    add_options,
    read_options,
)
from benchmarks.subjects.short_run import Shape, recipe
from thorax.data.loader import Augmentation, BatchOrder, batches
from thorax.data.samples import Images, Sample
from thorax.data.store import Store, open_store
from thorax.data.store import write as write_store
from thorax.data.store_facts import PIXELS, read_facts, read_part
from thorax.data.store_pixels import StoredPixels, open_pixels, read_pixels
from thorax.images.preprocess import InputSpec
from thorax.labels import NIH14
from thorax.training.fit import fit

SIDE: Final = 256
BATCH: Final = 32
GOAL: Final = 0.03
TURN_S: Final = 1.0
"""Of reading and of loading: clocks of the kernel go on by hundredths."""
WAYS: Final = ("memory_map", "pread", "checked")
"""The last is `pread` with the check."""


class Unchecked(StoredPixels):
    """The images of a store as they lie there."""

    def _read(self, row: int, out: npt.NDArray[np.uint8]) -> None:
        assert read_pixels(self._descriptor, row, out)


def make_store(work: Path, count: int) -> Path:
    """Import `count` images of noise, which no disk or file system can shorten."""
    out = work / f"noise-{count}"
    if out.exists():
        return out
    folder = work / "noise"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        path = folder / f"{number:05d}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE), np.uint8)
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])
        labels = np.zeros(len(NIH14), np.int8)
        labels[number % len(NIH14)] = 1
        split = "val" if number % 16 == 15 else "train"
        rows.append(Sample(path.name, path, f"p{number}", labels, split=split))
    write_store(rows, out, InputSpec(SIDE), NIH14, source="noise")
    shutil.rmtree(folder)
    return out


def open_ways(path: Path) -> dict[str, Store]:
    """Return the store by each way of reading it."""
    store, facts = open_store(path), read_facts(path)
    checked = open_pixels(path, facts, read_part(path, facts, "index.csv"))
    mapped = np.memmap(path / PIXELS, np.uint8, "r", shape=checked.shape)
    unchecked = Unchecked(path, store.names, SIDE, np.empty((len(store), 32), np.uint8))
    images: tuple[Images, ...] = (mapped, unchecked, checked)
    return {name: replace(store, images=way) for name, way in zip(WAYS, images, strict=True)}


def timed(images: int, work: Callable[[], object]) -> Turn:
    """Return one turn of work on so many images, again and again for `TURN_S`."""
    calls, begin, cpu = 0, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - begin) < TURN_S:
        work()
        calls += 1
    return Turn(elapsed, time.process_time() - cpu, calls * images)


def read_all(store: Store) -> int:
    """Touch every byte of a store, its images in a random order."""
    order = np.random.default_rng(0).permutation(len(store))
    return sum(int(store.images[row].max()) for row in order)


def load_all(store: Store) -> None:
    """Make every batch of an epoch."""
    train = store.select("train")
    changes = Augmentation(flip=0.5)
    for _ in batches(
        store, train, BatchOrder(batch=BATCH, shuffle=True), augmentation=changes, workers=1
    ):
        pass


def train(store: Store, work: Path) -> Turn:
    """Fit, and return the second epoch, with half of the processor time of both.

    That holds what is set up for them and validation, which all ways of reading have in common.
    """
    out, count = work / "run", len(store.select("train"))
    shutil.rmtree(out, ignore_errors=True)
    cpu = time.process_time()
    history = fit(recipe(Shape(SIDE, BATCH, count, _processors())), store, out).history
    cpu_s = (time.process_time() - cpu) / 2
    rate = history[-1].images_per_s
    assert rate is not None
    return Turn(count / rate, cpu_s, count)


def _processors() -> int:
    return int(hardware()["processors"])


def sides(ways: dict[str, Store], work: Path) -> dict[str, list[Side]]:
    """Return every way of reading, for each thing that is done with a store."""
    settings = Settings(
        _processors(), "uint8", SIDE, "a store of noise", batch=BATCH, process="shared"
    )

    def measures(store: Store) -> dict[str, Callable[[], Turn]]:
        return {
            "read": lambda: timed(len(store), partial(read_all, store)),
            "loaded": lambda: timed(len(store.select("train")), partial(load_all, store)),
            "trained": lambda: train(store, work),
        }

    found: dict[str, list[Side]] = {}
    for way, store in ways.items():
        for done, measure in measures(store).items():
            found.setdefault(done, []).append(Side(f"{way}_{done}", settings, measure))
    return found


def check_cpu_s(bench: SideBySide) -> float:
    """Return the processor time that the check of one image takes, s."""
    plain, checked = (
        [turn["cpu_s"] / turn["images"] for turn in bench.turns[f"{way}_read"]] for way in WAYS[1:]
    )
    return float(statistics.median(b - a for a, b in zip(plain, checked, strict=True)))


def main() -> None:
    """Read argv, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=768)
    add_options(parser, turns=6, seconds=0)
    chosen = parse_args(parser)
    bench = SideBySide("store_verification", read_options(chosen))
    bench.require_quiet()
    work = chosen.work / "verification"
    ways = open_ways(make_store(work, chosen.images))
    for store in ways.values():
        read_all(store)
    groups = sides(ways, work)
    for group in groups.values():
        bench.take_turns(group)
    cost_s = check_cpu_s(bench)
    epoch_s = statistics.median(
        turn["cpu_s"] / turn["images"] for turn in bench.turns["pread_trained"]
    )
    share = cost_s / epoch_s
    print(
        f"a check takes {cost_s * 1e6:.0f} us of processor time, training an image "
        f"{epoch_s * 1e6:,.0f} us: {share:.2%}; goal: {GOAL:.0%} or less"
    )
    document: dict[str, Any] = {
        "side": SIDE,
        "images": chosen.images,
        "batch": BATCH,
        "goal_share_of_training": GOAL,
        "check_cpu_s_per_image": cost_s,
        "training_cpu_s_per_image": epoch_s,
        "share_of_training": share,
    }
    comparisons = [
        Comparison(
            f"{done}, checked over {way.replace('_', ' ')}",
            f"checked_{done}",
            f"{way}_{done}",
            f"Images a second {done} from a store with each image checked against its digest, over "
            f"those by {way.replace('_', ' ')} without.",
        )
        for done in groups
        for way in WAYS[:2]
    ]
    bench.write(comparisons, document, packages=("thorax", "torch", "numpy"))


if __name__ == "__main__":
    main()
