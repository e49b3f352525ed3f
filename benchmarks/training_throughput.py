"""Claims: training costs no more than its arithmetic, and decoding in the loop costs double.

    python -m benchmarks.training_throughput --work FOLDER [--turns 7] [--images 1024]

By turns on the same phantoms, the same network (ResNet-18 of a quarter of the width), SGD with
Nesterov momentum and the same batch:

1. `thorax.training.fit` against a bare PyTorch loop whose images lie in memory as normalised float
   tensors, channels last, with nothing but forward, backward and update: 0.97 or more.
2. The same against a loop that decodes a 1,024 px PNG for every image of every step, with OpenCV in
   a PyTorch DataLoader of as many workers as processors: 2 or more.
3. Two ranks of one thread under `torchrun` against one rank of two threads: 0.9 or more.

`fit` augments (flip) and shuffles, the loops do not. What its first epoch, when memory is first
touched, costs is left out on all sides. Precision is bf16 where the processor has it, else fp32.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.result import median_ratio, table, write
from thorax.config import write_effective
from thorax.data import folder
from thorax.data.store import Store, open_store
from thorax.data.store import write as write_store
from thorax.images.preprocess import InputSpec
from thorax.labels import NIH14
from thorax.phantoms import dataset
from thorax.training import networks
from thorax.training.fit import fit
from thorax.training.networks import normalise
from thorax.training.parallel import Ranks
from thorax.training.prepare import prepare
from thorax.training.recipe import Recipe

PNG_SIDE: Final = 1024
WIDTH: Final = 0.25
LEARNING_RATE: Final = 0.05
GOALS: Final = {"bare_loop": 0.97, "decoding_loop": 2.0, "two_ranks": 0.9}


@dataclass(frozen=True, slots=True)
class Shape:
    """How large everything is.

    Attributes:
        side: pixels of a training image.
        batch: images an update.
        images: of the training split, an epoch.
        threads: that compute.
    """

    side: int
    batch: int
    images: int
    threads: int


def recipe(shape: Shape, **training: int) -> Recipe:
    """Return two epochs of SGD, of which the second is timed."""
    document = {
        "network": {"topology": "resnet18", "width": WIDTH},
        "training": {
            "epochs": 2,
            "batch": shape.batch,
            "precision": "auto",
            "keep": "last",
            "threads": shape.threads,
            "workers": 1,
            **training,
        },
        "optimizer": {"kind": "sgd"},
        "schedule": {"kind": "cosine", "peak": LEARNING_RATE},
        "augmentation": {"flip": 0.5},
    }
    return Recipe.model_validate_json(json.dumps(document))


def trained(shape: Shape, store: Store, work: Path) -> float:
    """Return images per second of the second epoch of `fit`."""
    out = work / "run"
    shutil.rmtree(out, ignore_errors=True)
    return fit(recipe(shape), store, out).history[-1].images_per_s


def launched(shape: Shape, store: Store, work: Path, *, ranks: int) -> float:
    """Return images per second of the second epoch under `torchrun`, of all ranks together."""
    out = work / "launched"
    shutil.rmtree(out, ignore_errors=True)
    file = work / "recipe.toml"
    write_effective(recipe(shape, threads=shape.threads // ranks), file)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    words += ["-m", "thorax", "train", str(file), "--data", str(store.path), "--out", str(out)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    found = json.loads((out / "train.json").read_text("utf-8"))
    return float(found["history"][-1]["images_per_s"])


def bare(shape: Shape, store: Store) -> float:
    """Return images per second of the bare loop."""
    train = store.select("train")
    raw = torch.from_numpy(store.images[train][:, None])
    wanted = torch.from_numpy(store.labels[train]).to(torch.float32)
    images = normalise(raw, InputSpec(shape.side)).contiguous(memory_format=torch.channels_last)

    def loads() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(train) - shape.batch + 1, shape.batch):
            yield images[start : start + shape.batch], wanted[start : start + shape.batch]

    return _looped(shape, loads, _bf16(shape, store))


class _Files(Dataset[tuple[Tensor, Tensor]]):
    """Radiographs as files, decoded and shrunk whenever one is asked for."""

    def __init__(self, files: list[Path], labels: Tensor, side: int) -> None:
        self.files, self.labels, self.side = files, labels, side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        image = cv2.imread(str(self.files[place]), cv2.IMREAD_GRAYSCALE)
        assert image is not None, self.files[place]
        small = cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(small[None]), self.labels[place]


def decoding(shape: Shape, store: Store, files: list[Path]) -> float:
    """Return images per second of the loop that decodes."""
    labels = torch.from_numpy(store.labels[store.select("train")]).to(torch.float32)
    chosen = [files[place % len(files)] for place in range(shape.images)]
    spec = InputSpec(shape.side)
    loader = DataLoader(
        _Files(chosen, labels, shape.side),
        batch_size=shape.batch,
        shuffle=True,
        drop_last=True,
        num_workers=shape.threads,
        persistent_workers=True,
    )

    def loads() -> Iterator[tuple[Tensor, Tensor]]:
        for raw, wanted in loader:
            images = normalise(raw, spec)
            yield images.contiguous(memory_format=torch.channels_last), wanted

    return _looped(shape, loads, _bf16(shape, store))


def _looped(
    shape: Shape, loads: Callable[[], Iterator[tuple[Tensor, Tensor]]], bf16: bool
) -> float:
    """Go through the images twice and return the speed of the second time."""
    network = networks.build("resnet18", classes=len(NIH14), width=WIDTH)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    optimizer = torch.optim.SGD(
        network.parameters(), lr=LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    torch.set_num_threads(shape.threads)
    speed = 0.0
    for _ in range(2):
        done, begin = 0, time.perf_counter()
        for images, wanted in loads():
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                logits = network(images)
            loss = functional.binary_cross_entropy_with_logits(logits.float(), wanted)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done += len(images)
        speed = done / (time.perf_counter() - begin)
    return speed


def _bf16(shape: Shape, store: Store) -> bool:
    return prepare(recipe(shape), store, Ranks()).bf16


def by_turns(
    turns: int, first: Callable[[], float], second: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Return both speeds of every turn; every other turn begins with the second."""
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(turns):
        for mine in (True, False) if turn % 2 == 0 else (False, True):
            (ours if mine else theirs).append(first() if mine else second())
    return ours, theirs


def drawn(work: Path, shape: Shape) -> Store:
    """Draw and import what is trained on; the validation split is small."""
    out = work / f"{shape.side}.store"
    if not out.exists():
        images = work / f"{shape.side}px"
        dataset.write(images, count=shape.images + 128, side=shape.side, seed=5)
        rows = folder.rows(images, labels=images / "labels.csv")
        splits = ["train"] * shape.images + ["val"] * 128
        write_store(rows[: len(splits)], out, InputSpec(shape.side), NIH14, splits=splits)
    return open_store(out)


def pngs(work: Path, count: int) -> list[Path]:
    """Draw radiographs of the size hospitals send and return their files."""
    images = work / "png"
    if not (images / "labels.csv").is_file():
        dataset.write(images, count=count, side=PNG_SIDE, seed=6)
    return list(folder.search(images).files)


def main() -> None:
    """Time all three claims and write what they showed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for images and runs")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--images", type=int, default=1024, help="of an epoch")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=128, help="pixels")
    parser.add_argument("--threads", type=int, default=2, help="that compute")
    parser.add_argument("--only", choices=tuple(GOALS), action="append", default=[])
    options = parser.parse_args()
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    shape = Shape(options.side, options.batch, options.images, options.threads)
    store = drawn(work, shape)
    files = pngs(work, 64)
    pairs: Mapping[str, tuple[Callable[[], float], Callable[[], float]]] = {
        "bare_loop": (lambda: trained(shape, store, work), lambda: bare(shape, store)),
        "decoding_loop": (
            lambda: trained(shape, store, work),
            lambda: decoding(shape, store, files),
        ),
        "two_ranks": (
            lambda: launched(shape, store, work, ranks=2),
            lambda: launched(shape, store, work, ranks=1),
        ),
    }
    found: dict[str, Any] = {}
    for name in options.only or GOALS:
        ours, theirs = by_turns(options.turns, *pairs[name])
        found[name] = {
            "goal": GOALS[name],
            "ratio": median_ratio(ours, theirs),
            "images_per_s": ours,
            "against_images_per_s": theirs,
        }
    table(
        f"Images per second, {shape.side} px, batch {shape.batch}, {shape.threads} threads",
        ("Against", "Thorax", "Other", "Ratio", "Goal"),
        [
            (
                name.replace("_", " "),
                f"{statistics.median(one['images_per_s']):,.0f}",
                f"{statistics.median(one['against_images_per_s']):,.0f}",
                f"{one['ratio']:.3f}",
                f"{one['goal']:g}",
            )
            for name, one in found.items()
        ],
    )
    document = {
        "network": f"resnet18 of width {WIDTH}",
        "precision": "bf16" if _bf16(shape, store) else "fp32",
        "side": shape.side,
        "batch": shape.batch,
        "images_an_epoch": shape.images,
        "threads": shape.threads,
        "png_bytes_mean": float(np.mean([file.stat().st_size for file in files])),
        "torch": torch.__version__,
        **found,
    }
    print(write("training_throughput", document))


if __name__ == "__main__":
    main()
