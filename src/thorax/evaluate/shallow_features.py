"""What little of a radiograph a plain regression can be given: brightness, borders, order, view."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from thorax.data.store import Store

Features: TypeAlias = npt.NDArray[np.float32]

BLOCKS: Final = 16
"""Blocks across and down the image."""

BORDER: Final = 0.05
"""Share of the side that counts as border, on each of the four edges."""

_ALONG: Final = 32
"""Blocks along each edge."""
_BINS: Final = 32
"""Of the histogram of the whole image."""
_PERCENTILES: Final = (1, 5, 25, 50, 75, 95, 99)
_NEIGHBOURS: Final = (1, 5)
"""Images of the train split before, and as many behind, whose labels are averaged."""


@dataclass(frozen=True, slots=True, eq=False)
class Shallow:
    """Simple features of the N images of a store.

    `values` are float32 [N,D], `what` says in words what they are, `pixels` whether they are made
    of the image, and not of what is known beside it.
    """

    name: str
    what: str
    pixels: bool
    values: Features = field(repr=False)


def of_pixels(store: Store, advance: Callable[[int], None] = lambda count: None) -> list[Shallow]:
    """Return the features that are made of the pixels, each image being read once.

    Block means and deviations are of areas, so that a side that 16 does not divide has blocks of
    fractions of pixels; deviations are within a block.

    Raises:
        DataError: `store-damaged`.
    """
    tables: list[list[Features]] = [[], [], [], []]
    for image in store.images:
        means, deviations = _blocks(image, BLOCKS, BLOCKS)
        for table, row in zip(
            tables, (means, deviations, _statistics(image), _border(image)), strict=True
        ):
            table.append(row)
        advance(1)
    means, deviations, statistics, border = (np.stack(table) for table in tables)
    grid = f"{BLOCKS} x {BLOCKS}"
    both = np.concatenate([means, deviations], axis=1)
    return [
        Shallow("block_means", f"means of {grid} blocks", True, means),
        Shallow("block_deviations", f"means and deviations of {grid} blocks", True, both),
        Shallow("statistics", "brightness of the whole image, its histogram", True, statistics),
        Shallow("border", f"the outer {BORDER:.0%} of the image alone", True, border),
    ]


def _blocks(image: npt.NDArray[np.uint8], down: int, across: int) -> tuple[Features, Features]:
    """Return float32 [down * across] means and standard deviations of the areas of an image."""
    grey = image.astype(np.float32) / 255
    size = (across, down)
    means = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    squares = cv2.resize(grey * grey, size, interpolation=cv2.INTER_AREA)
    deviations = np.sqrt(np.maximum(squares - means * means, 0))
    return np.asarray(means, np.float32).ravel(), np.asarray(deviations, np.float32).ravel()


def _statistics(image: npt.NDArray[np.uint8]) -> Features:
    counts = np.bincount(image.ravel(), minlength=256)
    shares = counts / image.size
    levels = np.arange(256)
    mean = shares @ levels
    deviation = math.sqrt(float(shares @ (levels - mean) ** 2))
    present = np.flatnonzero(counts)
    ranks = np.searchsorted(np.cumsum(shares), np.array(_PERCENTILES) / 100 - 1e-12)
    brightness = np.array([mean, deviation, present[0], present[-1], *ranks]) / 255
    histogram = shares.reshape(_BINS, -1).sum(axis=1)
    return np.concatenate([brightness, histogram]).astype(np.float32)


def _border(image: npt.NDArray[np.uint8]) -> Features:
    """Return means and deviations of blocks along the four edges."""
    width = max(1, round(BORDER * len(image)))
    along = min(_ALONG, len(image))
    edges = (image[:width], image[-width:], image[:, :width].T, image[:, -width:].T)
    return np.concatenate([part for edge in edges for part in _blocks(edge, 1, along)])


def of_order(store: Store) -> Shallow:
    """Return where an image stands in its table and by its name, and the labels of its neighbours.

    Neighbours are the nearest images of the train split before and behind in the table, never the
    image itself or another of its patient; a label is 0.5 where it is unknown.
    """
    count = len(store)
    place = np.arange(count) / max(1, count - 1)
    by_name = np.empty(count)
    by_name[np.argsort(np.array(store.names), kind="stable")] = place
    columns = [place, place**2, by_name, by_name**2]
    values = np.where(store.labels < 0, 0.5, store.labels).astype(np.float64)
    owners = np.unique(np.array(store.patients), return_inverse=True)[1]
    neighbours = neighbour_labels(values, owners, store.select("train"))
    table = np.column_stack([*columns, *neighbours]).astype(np.float32)
    return Shallow("order", "order of the files, labels of neighbours", False, table)


def neighbour_labels(
    values: npt.NDArray[np.float64],
    owners: npt.NDArray[np.intp],
    train: npt.NDArray[np.int64],
) -> list[npt.NDArray[np.float64]]:
    """Return mean labels float64 [N,K] of the nearest train images, for each of `_NEIGHBOURS`."""
    most = max(_NEIGHBOURS)
    tables = [np.full(values.shape, 0.5) for _ in _NEIGHBOURS]
    for row, owner in enumerate(owners):
        split = int(np.searchsorted(train, row))
        # A patient may have many images in a row.
        before = _others(train[:split][::-1], owners, owner, most)
        behind = _others(train[split:], owners, owner, most)
        for table, reach in zip(tables, _NEIGHBOURS, strict=True):
            near = [*before[:reach], *behind[:reach]]
            if near:
                table[row] = values[near].mean(axis=0)
    return tables


def _others(
    ordered: npt.NDArray[np.int64], owners: npt.NDArray[np.intp], owner: int, most: int
) -> list[int]:
    """Return the first images of an order that are of other patients, `most` at most."""
    found: list[int] = []
    for index in ordered:
        if owners[index] != owner:
            found.append(int(index))
            if len(found) == most:
                break
    return found


def of_facts(store: Store) -> Shallow | None:
    """Return what is known of view, age and sex, one column a value; None where nothing is."""
    columns = []
    for known in (store.views, store.sexes):
        values = sorted({value for value in known if value is not None})
        columns += [[float(value == each) for each in known] for value in values]
    if any(age is not None for age in store.ages):
        known_ages = [age for age in store.ages if age is not None]
        middle = float(np.median(known_ages))
        ages = np.array([middle if age is None else age for age in store.ages])
        missing = [float(age is None) for age in store.ages]
        columns += [ages.tolist(), (ages**2).tolist(), missing]
    if not columns:
        return None
    table = np.array(columns, np.float32).T
    return Shallow("facts", "view, age and sex, no image", False, table)
