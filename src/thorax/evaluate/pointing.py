"""The pointing game of heat maps, beside a point that is drawn and one that is always the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from thorax import metrics
from thorax.artifact import HeatmapGrid
from thorax.data.store import Store
from thorax.evaluate.verdict import FEWEST
from thorax.inference.heatmap_picture import peak
from thorax.metrics import bootstrap_mean_rate, in_a_box, pointing_game, wilson
from thorax.results.accuracy import MeanPointing, Pointing
from thorax.results.shared import Interval

Boxes: TypeAlias = list[tuple[float, float, float, float]]
"""(x, y, width, height) of the lesions of one image, pixels of the prepared square."""


@dataclass(frozen=True, slots=True)
class Games:
    """The pointing game by finding, and its mean; None where no finding has boxes."""

    by_finding: dict[str, Pointing]
    mean: MeanPointing | None


def point(
    maps: npt.NDArray[np.float32],
    grid: HeatmapGrid,
    store: Store,
    indices: npt.NDArray[np.int64],
    findings: Sequence[str],
    *,
    samples: int = 1000,
) -> Games:
    """Return by finding how often the peak of its map lies in a box of it, and what chance reaches.

    A peak is worth what it has above a point that needs no network: one drawn evenly over the
    image, whose expected rate is the mean share of the image that boxes cover, and the fixed point
    that hits most on the images of train and val that are not judged.

    Images of one patient resemble each other: a finding is bounded as if each patient were one
    trial, the mean by `samples` resamples of patients. Where a finding has boxes on too few
    patients, fewer than `FEWEST`, the mean has no interval.

    Args:
        maps: float32 [N,K,h,w], logits a cell, of the images `indices` and the K findings.
        grid: where the cells lie.
        store: with the boxes.
        indices: int64 [N].
        findings: K names, as the boxes bear them.
        samples: resamples of patients.
    """
    patients = [store.patients[index] for index in indices]
    hits = np.full((len(indices), len(findings)), np.nan)
    for column, name in enumerate(findings):
        for row, index in enumerate(indices):
            if boxes := boxes_of(store, int(index), name):
                hits[row, column] = in_a_box(peak(maps[row, column], grid), boxes)
    judged = [column for column in range(len(findings)) if not np.isnan(hits[:, column]).all()]
    games = {
        findings[column]: _game(hits[:, column], store, indices, findings[column])
        for column in judged
    }
    if not games:
        return Games({}, None)
    bounds = bootstrap_mean_rate(hits[:, judged], patients, samples=samples)
    owners = np.array(patients)
    fewest = min(len(np.unique(owners[~np.isnan(hits[:, column])])) for column in judged)
    if fewest < FEWEST:
        bounds = metrics.Interval(bounds.value, np.nan, np.nan)
    return Games(games, mean_of(games, bounds))


def _game(
    hits: npt.NDArray[np.float64], store: Store, indices: npt.NDArray[np.int64], finding: str
) -> Pointing:
    """Return the game of one finding; hits float64 [N] are NaN of images without a box of it."""
    asked = [int(index) for index in indices[~np.isnan(hits)]]
    boxes = [boxes_of(store, index, finding) for index in asked]
    rate = float(np.nanmean(hits))
    patients = len({store.patients[index] for index in asked})
    fixed = best_point(_elsewhere(store, indices, finding), store.side)
    return Pointing(
        hits=int(np.nansum(hits)),
        total=len(asked),
        rate=rate,
        rate_interval=Interval.of(wilson(rate, patients)),
        random_rate=float(np.mean([covered(lesions, store.side).mean() for lesions in boxes])),
        fixed_rate=None if fixed is None else pointing_game([fixed] * len(boxes), boxes).rate,
        fixed_point=fixed,
    )


def _elsewhere(store: Store, indices: npt.NDArray[np.int64], finding: str) -> list[Boxes]:
    """Return the boxes of a finding on each image of train and val that is not judged."""
    judged = set(indices.tolist())
    return [
        boxes
        for split in ("train", "val")
        for index in store.select(split)
        if index not in judged and (boxes := boxes_of(store, int(index), finding))
    ]


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


def mean_of(games: Mapping[str, Pointing], bounds: metrics.Interval) -> MeanPointing:
    """Return the means over findings; of the fixed point where all have one."""
    fixed = [game.fixed_rate for game in games.values() if game.fixed_rate is not None]
    return MeanPointing(
        findings=len(games),
        rate=float(np.mean([game.rate for game in games.values()])),
        rate_interval=Interval.of(bounds),
        random_rate=float(np.mean([game.random_rate for game in games.values()])),
        fixed_rate=float(np.mean(fixed)) if len(fixed) == len(games) else None,
    )
