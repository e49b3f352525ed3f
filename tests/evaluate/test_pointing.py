"""Heat maps beside points that need no network."""

from dataclasses import replace

import numpy as np
import pytest

from thorax.artifact import HeatmapGrid
from thorax.data.samples import Box
from thorax.data.store import Store
from thorax.evaluate.pointing import Games, best_point, covered, mean_of, point
from thorax.metrics import Interval, pointing_game, wilson
from thorax.results import shared as results


def test_covered_pixels_are_those_that_the_game_counts() -> None:
    boxes = [(2.5, 3.0, 4.0, 2.2), (-3.0, 10.0, 5.5, 9.0)]
    hit = covered(boxes, 16)
    for y in range(16):
        for x in range(16):
            game = pointing_game([(x, y)], [boxes])
            assert hit[y, x] == bool(game.hits)


def test_the_best_point_is_in_the_most_boxes_and_in_the_middle_of_those() -> None:
    images = [[(0.0, 0.0, 8.0, 8.0)], [(4.0, 4.0, 8.0, 8.0)], [(12.0, 12.0, 2.0, 2.0)]]
    assert best_point(images, 16) == (6, 6)
    assert best_point([], 16) is None


def test_a_map_is_judged_beside_chance_and_a_point_of_other_images(tiny_store: Store) -> None:
    side = tiny_store.side
    test = set(tiny_store.select("test").tolist())
    # On the judged images the lesion is in the lower half, on the others at the left.
    lesions = [
        (Box("Mass", 0, side / 2, side, side / 2),)
        if index in test
        else (Box("Mass", 0, 0, 6, side),)
        for index in range(len(tiny_store))
    ]
    store = replace(tiny_store, boxes=tuple(lesions))
    indices = store.select("test")
    maps = np.zeros((len(indices), 1, 4, 4), np.float32)
    maps[:, 0, 3, 3] = 1
    grid = HeatmapGrid(stride=side / 4, offset=side / 8)
    games = point(maps, grid, store, indices, ["Mass"])
    game = games.by_finding["Mass"]
    assert (game.hits, game.total, game.rate) == (len(indices), len(indices), 1)
    assert game.random_rate == pytest.approx(0.5)
    assert game.fixed_point is not None
    x, y = game.fixed_point
    assert x <= 6
    # In the middle of what covers the others: of the judged ones a hit or none by its row alone.
    assert game.fixed_rate == float(y >= side / 2)
    both = {"Mass": game, "Edema": game.model_copy(update={"fixed_rate": None})}
    mean = mean_of(both, Interval(1.0, 1.0, 1.0))
    assert (mean.findings, mean.rate, mean.fixed_rate) == (2, 1, None)
    assert point(maps, grid, store, indices, ["Hernia"]) == Games({}, None)


def test_rates_are_bounded_by_patients_and_not_by_images(tiny_store: Store) -> None:
    indices = tiny_store.select("train")
    side = tiny_store.side
    # Of every second image the lesion is in the upper half, where no map points.
    lesions: list[tuple[Box, ...]] = [()] * len(tiny_store)
    for row, index in enumerate(indices):
        lesions[index] = (Box("Mass", 0, side / 2 * (row % 2), side, side / 2 - 1),)
    maps = np.zeros((len(indices), 1, 4, 4), np.float32)
    maps[:, 0, 3, 3] = 1
    grid = HeatmapGrid(stride=side / 4, offset=side / 8)
    apart = tuple(f"p{index}" for index in range(len(tiny_store)))
    pairs = tuple(f"p{index // 4}" for index in range(len(tiny_store)))
    widths = []
    for patients in (apart, pairs):
        store = replace(tiny_store, boxes=tuple(lesions), patients=patients)
        games = point(maps, grid, store, indices, ["Mass"], samples=300)
        game, mean = games.by_finding["Mass"], games.mean
        assert mean is not None
        assert game.rate == mean.rate == len(indices) // 2 / len(indices)
        bounds = game.rate_interval
        trials = len({patients[index] for index in indices})
        assert bounds == results.Interval.of(wilson(game.rate, trials))
        assert mean.rate_interval is not None
        assert mean.rate_interval.low is not None
        assert mean.rate_interval.high is not None
        assert mean.rate_interval.low <= mean.rate <= mean.rate_interval.high
        assert bounds.low is not None
        assert bounds.high is not None
        widths.append(bounds.high - bounds.low)
    assert widths[1] > 1.5 * widths[0]


@pytest.mark.parametrize(("patients", "bounded"), [(9, False), (10, True)])
def test_the_mean_has_no_interval_where_a_finding_has_boxes_on_few_patients(
    tiny_store: Store, patients: int, bounded: bool
) -> None:
    indices = tiny_store.select("train")
    side = tiny_store.side
    lesions: list[tuple[Box, ...]] = [()] * len(tiny_store)
    for row, index in enumerate(indices):
        boxes = [Box("Mass", 0, side / 2 * (row % 2), side, side / 2 - 1)]
        boxes += [Box("Edema", 0, 0, side, side)] if row < patients else []
        lesions[index] = tuple(boxes)
    apart = tuple(f"p{index}" for index in range(len(tiny_store)))
    store = replace(tiny_store, boxes=tuple(lesions), patients=apart)
    maps = np.zeros((len(indices), 2, 4, 4), np.float32)
    maps[:, :, 3, 3] = 1
    grid = HeatmapGrid(stride=side / 4, offset=side / 8)
    games = point(maps, grid, store, indices, ["Mass", "Edema"], samples=300)
    assert games.by_finding["Edema"].total == patients
    assert games.mean is not None
    interval = games.mean.rate_interval
    assert interval is not None
    assert interval.value == games.mean.rate
    assert [interval.low is not None, interval.high is not None] == [bounded] * 2
