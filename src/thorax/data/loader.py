"""Batches of a store in an order and with changes that depend on (seed, epoch, image) alone.

Philox4x64-10 (Salmon et al., SC 2011) is a counter-based generator: image i of an epoch owns the
eight 64-bit words at counters 2i and 2i+1 under the key (seed, epoch). The first word is its place
in the shuffle, the others its augmentation, so neither batch size, nor threads, nor which other
images take part change what happens to an image.
"""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from thorax.data.store import Store
from thorax.errors import UsageError

_WORDS: Final = 8
_LIMITS: Final = {"flip": 1.0, "rotation_deg": 45.0, "scale": 0.5, "shift": 0.5, "intensity": 1.0}


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far training images are changed; each range is drawn from evenly, 0 is not at all.

    Attributes:
        flip: probability of exchanging left and right, 0 to 1. The heart changes sides.
        rotation_deg: largest rotation either way, degrees, 0 to 45.
        scale: largest relative change of size either way, 0 to 0.5.
        shift: largest shift along each axis either way, share of the side, 0 to 0.5.
        intensity: largest relative change of contrast about mid-grey, and of brightness as a
            share of half the range, either way, 0 to 1.

    Raises:
        UsageError: `augmentation-range`.
    """

    flip: float = 0.0
    rotation_deg: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    intensity: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, limit = getattr(self, field.name), _LIMITS[field.name]
            if not 0 <= value <= limit:
                raise UsageError(
                    "augmentation-range",
                    f"augmentation {field.name} is {value}; allowed is 0 to {limit:g}",
                )


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a training step takes.

    Attributes:
        images: uint8 [B,1,S,S].
        labels: int8 [B,K], 1 / 0 / -1 (unknown).
        indices: int64 [B], rows of the store.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int8]
    indices: npt.NDArray[np.int64]


def batches(
    store: Store,
    indices: npt.NDArray[np.int64],
    *,
    batch: int,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = False,
    augmentation: Augmentation | None = None,
    workers: int = 2,
    drop_last: bool = False,
) -> Iterator[Batch]:
    """Yield the images of one epoch, two batches being prepared ahead.

    Args:
        store: where the images are.
        indices: int64 rows of the store, for example `store.select("train")`.
        batch: images a batch, B.
        seed: chooses the shuffles and changes of a whole run, 0 to 2**64 - 1.
        epoch: chooses those of one epoch.
        shuffle: in an order of this epoch instead of that of `indices`.
        augmentation: None leaves every image as it is.
        workers: threads that read and change images.
        drop_last: leave out a last batch that is not full.

    Raises:
        UsageError: `batch-size`, `loader-workers`, `loader-seed` or `loader-indices`.
    """
    _check(store, indices, batch, seed, epoch, workers)
    draws = _draws(seed, epoch, len(store)) if shuffle or augmentation else None
    order = np.asarray(indices, np.int64)
    if shuffle and draws is not None:
        order = order[np.argsort(draws[order, 0], kind="stable")]
    count = len(order) // batch if drop_last else math.ceil(len(order) / batch)
    parts = (order[number * batch : (number + 1) * batch] for number in range(count))
    return _prefetched(store, parts, draws, augmentation, workers)


def augment(
    image: npt.NDArray[np.uint8],
    augmentation: Augmentation,
    draw: npt.NDArray[np.uint64],
    out: npt.NDArray[np.uint8],
) -> None:
    """Write a changed image into `out`: one affine warp, then one grey-level table.

    Args:
        image: uint8 [S,S].
        augmentation: how far to go.
        draw: uint64 [8], the image's own random words; the first is not used here.
        out: uint8 [S,S]; what lies outside the image becomes black, as in letterboxing.
    """
    # 53 bits make a double in [0, 1), evenly spaced; the range -1 to 1 is symmetric.
    even = (draw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    swing = 2.0 * even - 1.0
    side = image.shape[0]
    flip = -1.0 if even[1] < augmentation.flip else 1.0
    angle = math.radians(augmentation.rotation_deg) * swing[2]
    scale = 1.0 + augmentation.scale * swing[3]
    # From a point of the result to the point of the image it shows (WARP_INVERSE_MAP).
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    matrix = np.array([[flip * cos, flip * sin, 0.0], [-sin, cos, 0.0]])
    centre = (side - 1) / 2
    moved = centre + augmentation.shift * side * swing[4:6]
    matrix[:, 2] = centre - matrix[:, :2] @ moved
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(image, matrix, (side, side), dst=out, flags=flags)
    if augmentation.intensity:
        contrast = 1.0 + augmentation.intensity * swing[6]
        brightness = 127.5 * (1.0 + augmentation.intensity * swing[7])
        table = (np.arange(256) - 127.5) * contrast + brightness
        cv2.LUT(out, np.clip(np.rint(table), 0, 255).astype(np.uint8), dst=out)


def _check(
    store: Store, indices: npt.NDArray[np.int64], batch: int, seed: int, epoch: int, workers: int
) -> None:
    if batch < 1:
        raise UsageError("batch-size", f"batch size is {batch}; it must be 1 or more")
    if workers < 1:
        raise UsageError("loader-workers", f"loader workers are {workers}; 1 or more are needed")
    if not (0 <= seed < 2**64 and 0 <= epoch < 2**64):
        raise UsageError("loader-seed", f"seed {seed} and epoch {epoch} must be 0 to 2**64 - 1")
    if len(indices) and not (indices.min() >= 0 and indices.max() < len(store)):
        raise UsageError(
            "loader-indices",
            f"indices run from {indices.min()} to {indices.max()}; the store has {len(store)}",
        )


def _draws(seed: int, epoch: int, count: int) -> npt.NDArray[np.uint64]:
    """Return uint64 [N,8], row i the words of image i."""
    words = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(count * _WORDS)
    return np.asarray(words, np.uint64).reshape(count, _WORDS)


def _prefetched(
    store: Store,
    parts: Iterator[npt.NDArray[np.int64]],
    draws: npt.NDArray[np.uint64] | None,
    augmentation: Augmentation | None,
    workers: int,
) -> Iterator[Batch]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")

    def begin(order: npt.NDArray[np.int64]) -> tuple[Batch, list[Future[None]]]:
        images = np.empty((len(order), 1, store.side, store.side), np.uint8)
        pieces = np.array_split(np.arange(len(order)), min(workers, len(order)))
        jobs = [
            pool.submit(_fill, store, order, piece, draws, augmentation, images) for piece in pieces
        ]
        return Batch(images, store.labels[order], order), jobs

    waiting: deque[tuple[Batch, list[Future[None]]]] = deque()
    try:
        for order in parts:
            waiting.append(begin(order))
            if len(waiting) > 2:
                yield _ended(*waiting.popleft())
        while waiting:
            yield _ended(*waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ended(batch: Batch, jobs: list[Future[None]]) -> Batch:
    for job in jobs:
        job.result()
    return batch


def _fill(
    store: Store,
    order: npt.NDArray[np.int64],
    piece: npt.NDArray[np.int64],
    draws: npt.NDArray[np.uint64] | None,
    augmentation: Augmentation | None,
    images: npt.NDArray[np.uint8],
) -> None:
    for place in piece:
        image = store.images[order[place]]
        if augmentation is None or draws is None:
            images[place, 0] = image
        else:
            augment(image, augmentation, draws[order[place]], images[place, 0])
