"""Batches of a store in an order and with changes that depend on (seed, epoch, image) alone.

Philox4x64-10 (Salmon et al., SC 2011) is a counter-based generator: image i of an epoch owns the
eight 64-bit words at counters 2i and 2i+1 under the key (seed, epoch). The first word is its place
in the shuffle, the others its augmentation, so neither batch size, nor threads, nor ranks, nor
which other images take part change what happens to an image. To resume within an epoch takes the
number of batches done and nothing else.
"""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Self

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from thorax.config import Settings
from thorax.data.store import Store
from thorax.errors import UsageError
from thorax.labels import UNKNOWN

_WORDS: Final = 8


class Augmentation(Settings):
    """Largest random changes of a training image, each drawn from evenly; 0 = none.

    A flip moves the heart to the other side. Contrast changes about mid-grey, brightness by a share
    of half the range. A crop is a square window, anywhere inside the image, whose area is drawn
    evenly from 1 - crop to 1, enlarged to the whole; its sides stay equal, unlike those of the
    usual random resized crop, because the width of a heart against that of its chest is a finding.
    It stands in place of scale and shift, whose random words it takes.
    """

    flip: float = Field(default=0.0, ge=0, le=1)
    """Probability of exchanging left and right."""
    rotation_deg: float = Field(default=0.0, ge=0, le=45)
    """Rotation either way, degrees."""
    scale: float = Field(default=0.0, ge=0, le=0.5)
    """Relative change of size either way."""
    shift: float = Field(default=0.0, ge=0, le=0.5)
    """Shift along each axis either way, share of the side."""
    intensity: float = Field(default=0.0, ge=0, le=1)
    """Relative change of contrast and brightness either way."""
    crop: float = Field(default=0.0, ge=0, le=0.95)
    """Share of the area that a square window may leave out before it is enlarged to the whole; not
    together with scale or shift."""

    @model_validator(mode="after")
    def _crop_alone(self) -> Self:
        if self.crop and (self.scale or self.shift):
            raise ValueError("crop, or scale and shift, but not both")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a training step takes: the rank's block of a global batch, b of its B images.

    Attributes:
        images: uint8 [b,1,S,S].
        labels: int8 [b,K], 1 / 0 / -1 (unknown).
        indices: int64 [b], rows of the store.
        known: labels 1 or 0 in the whole global batch, over which the ranks' losses are averaged.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int8]
    indices: npt.NDArray[np.int64]
    known: int


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """Which image of an epoch is in which batch, and which of them a rank takes.

    Which image is where in a global batch does not depend on the number of ranks: rank r of R
    takes places r B / R up to (r + 1) B / R of every global batch.

    Attributes:
        batch: images a global batch, B, those of all ranks together.
        seed: chooses the shuffles and changes of a whole run, 0 to 2**64 - 1.
        epoch: chooses those of one epoch.
        shuffle: in an order of this epoch instead of that of the indices.
        drop_last: leave out a last batch that is not full; several ranks need it.
        rank: which of them this is, 0 to ranks - 1.
        ranks: how many share a global batch; B must be a multiple.
        skip: global batches left out at the start, unread: those done before an interruption.

    Raises:
        UsageError: `batch-size`, `batch-ranks` or `loader-seed`.
    """

    batch: int
    seed: int = 0
    epoch: int = 0
    shuffle: bool = False
    drop_last: bool = False
    rank: int = 0
    ranks: int = 1
    skip: int = 0

    def __post_init__(self) -> None:
        batch, rank, ranks = self.batch, self.rank, self.ranks
        if batch < 1:
            raise UsageError("batch-size", f"batch size is {batch}; it must be 1 or more")
        if not (0 <= self.seed < 2**64 and 0 <= self.epoch < 2**64):
            raise UsageError(
                "loader-seed",
                f"seed {self.seed} and epoch {self.epoch} must be 0 to 2**64 - 1",
            )
        if not 0 <= rank < ranks:
            raise UsageError("batch-ranks", f"rank is {rank} of {ranks}; ranks count from 0")
        if ranks > 1 and (batch % ranks or not self.drop_last):
            raise UsageError(
                "batch-ranks",
                f"a global batch of {batch} images, the last "
                f"{'left out' if self.drop_last else 'kept'}, cannot be shared by {ranks} ranks; "
                "it must be a multiple of them, and a last batch that is not full be left out",
            )

    def share(self, whole: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the part of a global batch that this rank takes."""
        size = len(whole) // self.ranks
        return whole[self.rank * size : (self.rank + 1) * size]


def batches(
    store: Store,
    indices: npt.NDArray[np.int64],
    order: BatchOrder,
    *,
    augmentation: Augmentation | None = None,
    workers: int = 2,
    side: int | None = None,
) -> Iterator[Batch]:
    """Yield the images of one epoch, two batches being prepared ahead.

    Indices are int64 rows of the store, for example `store.select("train")`. No augmentation, and
    one of zeros, leaves every image as it is; after it images are resized to so many pixels a side,
    by area when they shrink and bilinearly when they grow; None = the store's. Workers are threads.

    Raises:
        UsageError: `loader-workers`, `loader-skip`, `loader-side` or `loader-indices`.
    """
    batch = order.batch
    count = len(indices) // batch if order.drop_last else math.ceil(len(indices) / batch)
    if workers < 1:
        raise UsageError("loader-workers", f"loader workers are {workers}; 1 or more are needed")
    if len(indices) and not (indices.min() >= 0 and indices.max() < len(store)):
        raise UsageError(
            "loader-indices",
            f"indices run from {indices.min()} to {indices.max()}; the store has {len(store)}",
        )
    if not 0 <= order.skip <= count:
        raise UsageError("loader-skip", f"skip is {order.skip}; an epoch has {count} batches")
    if side is not None and side < 1:
        raise UsageError("loader-side", f"side is {side} pixels; 1 or more are needed")
    changes = None if augmentation == Augmentation() else augmentation
    draws = _draws(order.seed, order.epoch, len(store)) if order.shuffle or changes else None
    rows = np.asarray(indices, np.int64)
    if order.shuffle and draws is not None:
        rows = rows[np.argsort(draws[rows, 0], kind="stable")]
    work = _Work(store, draws if changes else None, changes, side or store.side)
    parts = (rows[number * batch : (number + 1) * batch] for number in range(order.skip, count))
    return _prefetched(work, parts, order, workers)


def augment(
    image: npt.NDArray[np.uint8],
    augmentation: Augmentation,
    draw: npt.NDArray[np.uint64],
    out: npt.NDArray[np.uint8],
) -> None:
    """Write a changed image into `out`: one affine warp, then one grey-level table.

    The image is uint8 [S,S], its own random words `draw` are uint64 [8], of which the first is not
    used here. What lies outside the image becomes black in `out`, uint8 [S,S], as in letterboxing.
    """
    # 53 bits make a double in [0, 1), evenly spaced; the range -1 to 1 is symmetric.
    even = (draw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    swing = 2.0 * even - 1.0
    side = image.shape[0]
    flip = -1.0 if even[1] < augmentation.flip else 1.0
    angle = math.radians(augmentation.rotation_deg) * swing[2]
    centre = (side - 1) / 2
    shown, moved = np.full(2, centre), np.full(2, centre)
    if augmentation.crop:
        window = math.sqrt(1.0 - augmentation.crop * even[3])
        scale = 1.0 / window
        shown = centre + (1.0 - window) * side / 2 * swing[4:6]
    else:
        scale = 1.0 + augmentation.scale * swing[3]
        moved = centre + augmentation.shift * side * swing[4:6]
    # From a point of the result to the point of the image it shows (WARP_INVERSE_MAP): `shown`
    # is shown at `moved`.
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    matrix = np.array([[flip * cos, flip * sin, 0.0], [-sin, cos, 0.0]])
    matrix[:, 2] = shown - matrix[:, :2] @ moved
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(image, matrix, (side, side), dst=out, flags=flags)
    if augmentation.intensity:
        contrast = 1.0 + augmentation.intensity * swing[6]
        brightness = 127.5 * (1.0 + augmentation.intensity * swing[7])
        table = (np.arange(256) - 127.5) * contrast + brightness
        cv2.LUT(out, np.clip(np.rint(table), 0, 255).astype(np.uint8), dst=out)


def _draws(seed: int, epoch: int, count: int) -> npt.NDArray[np.uint64]:
    """Return uint64 [N,8], row i the words of image i."""
    words = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(count * _WORDS)
    return np.asarray(words, np.uint64).reshape(count, _WORDS)


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """What is done to every image; `draws` is uint64 [N,8], None when nothing changes."""

    store: Store
    draws: npt.NDArray[np.uint64] | None
    augmentation: Augmentation | None
    side: int


def _prefetched(
    work: _Work, parts: Iterator[npt.NDArray[np.int64]], order: BatchOrder, workers: int
) -> Iterator[Batch]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")

    def begin(whole: npt.NDArray[np.int64]) -> tuple[Batch, list[Future[None]]]:
        rows = order.share(whole)
        images = np.empty((len(rows), 1, work.side, work.side), np.uint8)
        pieces = np.array_split(np.arange(len(rows)), min(workers, len(rows)))
        jobs = [pool.submit(_fill, work, rows, piece, images) for piece in pieces]
        known = int(np.count_nonzero(work.store.labels[whole] != UNKNOWN))
        return Batch(images, work.store.labels[rows], rows, known), jobs

    waiting: deque[tuple[Batch, list[Future[None]]]] = deque()
    try:
        for whole in parts:
            waiting.append(begin(whole))
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
    work: _Work,
    rows: npt.NDArray[np.int64],
    piece: npt.NDArray[np.int64],
    images: npt.NDArray[np.uint8],
) -> None:
    resized = work.side != work.store.side
    between = np.empty((work.store.side, work.store.side), np.uint8)
    how = cv2.INTER_AREA if work.side < work.store.side else cv2.INTER_LINEAR
    for index in piece:
        image, out = work.store.images[rows[index]], images[index, 0]
        if work.augmentation is not None and work.draws is not None:
            changed = between if resized else out
            augment(image, work.augmentation, work.draws[rows[index]], changed)
            image = changed
        if resized:
            cv2.resize(image, (work.side, work.side), dst=out, interpolation=how)
        elif image is not out:
            out[:] = image
