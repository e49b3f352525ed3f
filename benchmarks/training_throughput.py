"""Claims: training costs no more than its arithmetic, and decoding in the loop costs double.

    python -m benchmarks.training_throughput --work FOLDER [--turns 7] [--images 512]

By turns on the same phantoms, the same network (ResNet-18 of a quarter of the width), SGD with
Nesterov momentum and the same batch:

1. `thorax.training.fit` against a bare PyTorch loop whose images lie in memory as normalised float
   tensors, channels last, with nothing but forward, backward and update: 0.97 or more.
2. The same against a loop that decodes a 1,024 px PNG for every image of every step, with OpenCV in
   a PyTorch DataLoader of as many workers as processors: 2 or more.
3. Two ranks under `torchrun` against one rank, on as many threads together: 0.9 or more.

`fit` augments (flip) and shuffles; the loop that decodes shuffles, and the bare one does neither.
What the first epoch of `fit` costs, when memory is first touched, is left out of images/s on all
sides. No processor time is told: that of a call is of both epochs, of what is set up for them and
of validation, which the loops do not do. Precision is bf16 where the processor has it, else fp32.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

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
from benchmarks.subjects.short_run import LEARNING_RATE, WIDTH, Shape, recipe
from thorax.config import write_effective
from thorax.data import folder
from thorax.data.files import search
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

PNG_SIDE: Final = 1024
GOALS: Final = {"bare_loop": 0.97, "decoding_loop": 2.0, "two_ranks": 0.9}


def trained(shape: Shape, store: Store, work: Path) -> float:
    """Return images per second of the second epoch of `fit`."""
    out = work / "run"
    shutil.rmtree(out, ignore_errors=True)
    rate = fit(recipe(shape), store, out).history[-1].images_per_s
    assert rate is not None
    return rate


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


def bare(shape: Shape, store: Store, *, bf16: bool) -> float:
    """Return images per second of the bare loop."""
    train = store.select("train")
    raw = torch.from_numpy(store.images[train][:, None])
    wanted = torch.from_numpy(store.labels[train]).to(torch.float32)
    images = normalise(raw, InputSpec(shape.side)).contiguous(memory_format=torch.channels_last)

    def loads() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(train) - shape.batch + 1, shape.batch):
            yield images[start : start + shape.batch], wanted[start : start + shape.batch]

    return _looped(shape, loads, bf16=bf16)


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


def decoding(shape: Shape, store: Store, files: list[Path], *, bf16: bool) -> float:
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

    return _looped(shape, loads, bf16=bf16)


def _looped(
    shape: Shape, loads: Callable[[], Iterator[tuple[Tensor, Tensor]]], *, bf16: bool
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


def drawn(work: Path, shape: Shape) -> Store:
    """Draw and import what is trained on; the validation split is small."""
    out = work / f"{shape.side}-{shape.images}.store"
    if not out.exists():
        images = work / f"{shape.side}px-{shape.images}"
        dataset.write(images, count=shape.images + 128, side=shape.side, seed=5)
        rows = folder.rows(images, labels=images / "labels.csv")
        splits = ["train"] * shape.images + ["val"] * 128
        placed = [replace(row, split=split) for row, split in zip(rows, splits, strict=False)]
        write_store(placed, out, InputSpec(shape.side), NIH14)
    return open_store(out)


def pngs(work: Path, count: int) -> list[Path]:
    """Draw radiographs of the size hospitals send and return their files."""
    images = work / "png"
    if not (images / "labels.csv").is_file():
        dataset.write(images, count=count, side=PNG_SIDE, seed=6)
    return list(search(images).files)


def sides(shape: Shape, store: Store, work: Path, files: list[Path]) -> dict[str, list[Side]]:
    """Return the two sides of each claim, Thorax first."""
    bf16 = _bf16(shape, store)
    precision = "bf16" if bf16 else "fp32"

    def settings(given: str, process: Literal["own", "shared"], **more: int) -> Settings:
        return Settings(
            shape.threads, precision, shape.side, given, batch=shape.batch, process=process,
            more=more,
        )  # fmt: skip

    def side(name: str, chosen: Settings, speed: Callable[[], float]) -> Side:
        return Side(name, chosen, lambda: Turn(shape.images / speed(), None, shape.images))

    stored = settings("a store of uint8, flipped and shuffled", "shared")
    ours = [side(f"fit_{name}", stored, lambda: trained(shape, store, work)) for name in "ab"]
    in_memory = settings("float32 tensors in memory", "shared")
    decoded = settings(f"PNG files of {PNG_SIDE} x {PNG_SIDE}, shuffled", "shared")
    return {
        "bare_loop": [ours[0], side("bare_loop", in_memory, lambda: bare(shape, store, bf16=bf16))],
        "decoding_loop": [
            ours[1],
            side("decoding_loop", decoded, lambda: decoding(shape, store, files, bf16=bf16)),
        ],
        "two_ranks": [
            side(
                f"ranks_{ranks}",
                settings("a store of uint8, flipped and shuffled", "own", ranks=ranks),
                lambda ranks=ranks: launched(shape, store, work, ranks=ranks),  # type: ignore[misc]
            )
            for ranks in (2, 1)
        ],
    }


_MEANINGS: Final = {
    "bare_loop": "Images a second of the second epoch of `thorax.training.fit`, over those of a "
    "bare PyTorch loop on tensors in memory.",
    "decoding_loop": "Images a second of the second epoch of `thorax.training.fit`, over those of "
    "a PyTorch loop that decodes a PNG for every image of every step.",
    "two_ranks": "Images a second of two ranks under torchrun, over those of one rank on as many "
    "threads as both.",
}


def main() -> None:
    """Time all three claims and write what they showed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for images and runs")
    parser.add_argument("--images", type=int, default=512, help="of an epoch")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=128, help="pixels")
    processors = int(hardware()["processors"])
    parser.add_argument("--threads", type=int, default=processors, help="that compute")
    parser.add_argument("--only", choices=tuple(GOALS), action="append", default=[])
    add_options(parser, turns=7, seconds=0)
    options = parse_args(parser)
    bench = SideBySide("training_throughput", read_options(options))
    bench.require_quiet()
    work = options.work / "training"
    work.mkdir(parents=True, exist_ok=True)
    shape = Shape(options.side, options.batch, options.images, options.threads)
    store = drawn(work, shape)
    files = pngs(work, 64)
    pairs = sides(shape, store, work, files)
    comparisons = []
    for name in options.only or GOALS:
        bench.take_turns(pairs[name])
        first, second = (side.name for side in pairs[name])
        comparisons.append(
            Comparison(
                f"{first} over {second}".replace("_", " "),
                first,
                second,
                _MEANINGS[name],
                differs=("input",) if name != "two_ranks" else (),
                goal=GOALS[name],
            )
        )
    document = {
        "network": f"resnet18 of width {WIDTH}",
        "images_an_epoch": shape.images,
        "png_bytes_mean": float(np.mean([file.stat().st_size for file in files])),
    }
    bench.write(comparisons, document, packages=("thorax", "torch", "opencv-python-headless"))


if __name__ == "__main__":
    main()
