"""Heat maps beside points that need no network."""

from dataclasses import replace

import numpy as np
import pytest

from thorax.artifact import HeatmapGrid
from thorax.data.samples import Box
from thorax.data.store import Store
from thorax.evaluate.pointing import best_point, covered, mean_of, point
from thorax.metrics import pointing_game


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
    game = point(maps, grid, store, indices, ["Mass"])["Mass"]
    assert (game.hits, game.total, game.rate) == (len(indices), len(indices), 1)
    assert game.random_rate == pytest.approx(0.5)
    assert game.fixed_point is not None
    x, y = game.fixed_point
    assert x <= 6
    # In the middle of what covers the others: of the judged ones a hit or none by its row alone.
    assert game.fixed_rate == float(y >= side / 2)
    mean = mean_of({"Mass": game, "Edema": game.model_copy(update={"fixed_rate": None})})
    assert mean is not None
    assert (mean.findings, mean.rate, mean.fixed_rate) == (2, 1, None)
    assert mean_of({}) is None
    assert point(maps, grid, store, indices, ["Hernia"]) == {}
