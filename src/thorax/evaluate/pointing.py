"""The pointing game of heat maps, beside a point that is drawn and one that is always the same."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from thorax.artifact import HeatmapGrid
from thorax.data.store import Store
from thorax.inference.heatmap_picture import peak
from thorax.metrics import pointing_game
from thorax.results.accuracy import MeanPointing, Pointing

Boxes: TypeAlias = list[tuple[float, float, float, float]]
"""(x, y, width, height) of the lesions of one image, pixels of the prepared square."""


def point(
    maps: npt.NDArray[np.float32],
    grid: HeatmapGrid,
    store: Store,
    indices: npt.NDArray[np.int64],
    findings: Sequence[str],
) -> dict[str, Pointing]:
    """Return by finding how often the peak of its map lies in a box of it, and what chance reaches.

    A peak is worth what it has above a point that needs no network: one drawn evenly over the
    image, whose expected rate is the mean share of the image that boxes cover, and the fixed point
    that hits most on the images of train and val that are not judged.

    Args:
        maps: float32 [N,K,h,w], logits a cell, of the images `indices` and the K findings.
        grid: where the cells lie.
        store: with the boxes.
        indices: int64 [N].
        findings: K names, as the boxes bear them.
    """
    judged = set(indices.tolist())
    learned = [
        index for split in ("train", "val") for index in store.select(split) if index not in judged
    ]
    games = {}
    for column, name in enumerate(findings):
        rows = [row for row, index in enumerate(indices) if boxes_of(store, int(index), name)]
        if not rows:
            continue
        boxes = [boxes_of(store, int(indices[row]), name) for row in rows]
        game = pointing_game([peak(maps[row, column], grid) for row in rows], boxes)
        others = [found for index in learned if (found := boxes_of(store, int(index), name))]
        fixed = best_point(others, store.side)
        rate = None if fixed is None else pointing_game([fixed] * len(boxes), boxes).rate
        chance = float(np.mean([covered(lesions, store.side).mean() for lesions in boxes]))
        games[name] = game.model_copy(
            update={"random_rate": chance, "fixed_rate": rate, "fixed_point": fixed}
        )
    return games


def boxes_of(store: Store, index: int, finding: str) -> Boxes:
    """Return the boxes of a finding on an image."""
    return [
        (box.x, box.y, box.width, box.height)
        for box in store.boxes[index]
        if box.finding == finding
    ]


def covered(boxes: Boxes, side: int) -> npt.NDArray[np.bool_]:
    """Return bool [S,S], the pixels that hit a box as `metrics.pointing_game` counts it."""
    hit = np.zeros((side, side), np.bool_)
    for x, y, width, height in boxes:
        rows, columns = (
            slice(max(0, int(np.ceil(low))), max(0, int(np.floor(low + size)) + 1))
            for low, size in ((y, height), (x, width))
        )
        hit[rows, columns] = True
    return hit


def best_point(images: Sequence[Boxes], side: int) -> tuple[float, float] | None:
    """Return (x, y) of the pixel that hits the boxes of most images; None without any.

    Of equals the one nearest to their common centre, so that a plateau is not decided by its
    corner.
    """
    if not images:
        return None
    hits = np.zeros((side, side), np.int64)
    for boxes in images:
        hits += covered(boxes, side)
    rows, columns = np.nonzero(hits == hits.max())
    away = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    nearest = int(np.argmin(away))
    return float(columns[nearest]), float(rows[nearest])


def mean_of(games: dict[str, Pointing]) -> MeanPointing | None:
    """Return the means over findings, None without games; of the fixed point where all have one."""
    if not games:
        return None
    fixed = [game.fixed_rate for game in games.values() if game.fixed_rate is not None]
    return MeanPointing(
        findings=len(games),
        rate=float(np.mean([game.rate for game in games.values()])),
        random_rate=float(np.mean([game.random_rate for game in games.values()])),
        fixed_rate=float(np.mean(fixed)) if len(fixed) == len(games) else None,
    )
