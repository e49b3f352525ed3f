"""Claim: reading a store with each image checked against its digest costs 3 % of training or less.

    python -m benchmarks.store_verification --work FOLDER [--turns 5] [--images 768]

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
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.result import median_ratio, table, write
from benchmarks.training_throughput import Shape, recipe
from thorax.data.loader import Augmentation, batches
from thorax.data.samples import Images, Row
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
WAYS: Final = ("memory map", "pread", "pread, checked")


class Unchecked(StoredPixels):
    """The images of a store as they lie there."""

    def _read(self, row: int, out: npt.NDArray[np.uint8]) -> None:
        assert read_pixels(self._descriptor, row, out)


@dataclass(frozen=True, slots=True)
class Rates:
    """Images per second of each way, one entry a turn."""

    read: dict[str, list[float]]
    loaded: dict[str, list[float]]
    trained: dict[str, list[float]]
    trained_cpu_s: dict[str, list[float]]


def _by_way() -> dict[str, list[float]]:
    return {name: [] for name in WAYS}


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
        rows.append(Row(path.name, path, f"p{number}", labels, split=split))
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


def timed(images: int, work: Callable[[], object]) -> tuple[float, float]:
    """Return images per second and the processor time of one image, s."""
    begin, cpu = time.perf_counter(), time.process_time()
    work()
    elapsed, spent = time.perf_counter() - begin, time.process_time() - cpu
    return images / elapsed, spent / images


def read_all(store: Store) -> int:
    """Touch every byte of a store, its images in a random order."""
    order = np.random.default_rng(0).permutation(len(store))
    return sum(int(store.images[row].max()) for row in order)


def load_all(store: Store) -> None:
    """Make every batch of an epoch."""
    train = store.select("train")
    changes = Augmentation(flip=0.5)
    for _ in batches(store, train, batch=BATCH, shuffle=True, augmentation=changes, workers=1):
        pass


def measure(ways: dict[str, Store], work: Path, turns: int) -> Rates:
    """Read, load and train by every way in every turn, in an order that changes."""
    rates = Rates(_by_way(), _by_way(), _by_way(), _by_way())
    count, train = len(ways[WAYS[0]]), len(ways[WAYS[0]].select("train"))
    for store in ways.values():
        read_all(store)
    for turn in range(turns):
        order = WAYS[turn % 3 :] + WAYS[: turn % 3]
        for name in order:
            rates.read[name].append(timed(count, partial(read_all, ways[name]))[0])
        for name in order:
            rates.loaded[name].append(timed(train, partial(load_all, ways[name]))[0])
        for name in order:
            out = work / "run"
            shutil.rmtree(out, ignore_errors=True)
            chosen = recipe(Shape(SIDE, BATCH, train, 2))
            cpu = time.process_time()
            history = fit(chosen, ways[name], out).history
            rates.trained_cpu_s[name].append((time.process_time() - cpu) / (2 * train))
            rates.trained[name].append(history[-1].images_per_s)
    return rates


def check_cpu_s(ways: dict[str, Store], turns: int) -> float:
    """Return the processor time that the check of one image takes, s."""
    costs: dict[str, list[float]] = {name: [] for name in WAYS[1:]}
    for _ in range(turns):
        for name, found in costs.items():
            found.append(timed(len(ways[name]), partial(read_all, ways[name]))[1])
    plain, checked = costs.values()
    return statistics.median(b - a for a, b in zip(plain, checked, strict=True))


def main() -> None:
    """Read argv, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--images", type=int, default=768)
    chosen = parser.parse_args()
    ways = open_ways(make_store(chosen.work, chosen.images))
    rates = measure(ways, chosen.work, chosen.turns)
    mapped, plain, checked = WAYS
    cost_s = check_cpu_s(ways, max(chosen.turns, 5))
    epoch_s = statistics.median(rates.trained_cpu_s[plain])
    share = cost_s / epoch_s
    parts = (("read", rates.read), ("loaded", rates.loaded), ("trained", rates.trained))
    table(
        f"images/s of {chosen.images} images of {SIDE} pixels, medians of {chosen.turns} turns",
        ("", *WAYS, "checked / pread", "checked / map"),
        [
            (
                name,
                *(f"{statistics.median(part[way]):,.0f}" for way in WAYS),
                f"{median_ratio(part[checked], part[plain]):.3f}",
                f"{median_ratio(part[checked], part[mapped]):.3f}",
            )
            for name, part in parts
        ],
    )
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
        "median_ratio_checked_to_pread": {
            name: median_ratio(part[checked], part[plain]) for name, part in parts
        },
        "median_ratio_checked_to_memory_map": {
            name: median_ratio(part[checked], part[mapped]) for name, part in parts
        },
        "images_per_s": dict(parts),
        "training_cpu_s": rates.trained_cpu_s,
    }
    print(f"written: benchmarks/results/{write('store_verification', document).name}")


if __name__ == "__main__":
    main()
