"""The search for the highest rate that LoadGen calls valid, on runs whose verdict is known."""

from collections.abc import Mapping
from typing import Any

import pytest
from benchmarks.scenarios_against_async_queue import GRID, Drive, no_ratio, run_highest

from thorax.benchmark.measurement import Traffic

TRAFFIC = Traffic("server", 0.1, 200.0)


def valid_up_to(rate: float, tried: list[float]) -> Drive:
    """Return runs that are valid up to a rate."""

    def drive(traffic: Traffic) -> Mapping[str, Any]:
        tried.append(traffic.images_per_s)
        return {"result_validity": "VALID" if traffic.images_per_s <= rate else "INVALID"}

    return drive


@pytest.mark.parametrize("part", [GRID[0], GRID[1], 0.98, 1.01, GRID[-2], GRID[-1]])
def test_the_highest_valid_part_is_found_in_few_runs(part: float) -> None:
    tried: list[float] = []
    turn = run_highest(valid_up_to(200.0 * part + 0.1, tried), TRAFFIC)
    assert turn.more == {"highest_part": part}
    assert len(tried) <= 6
    assert turn.images is None


def test_where_nothing_is_valid_the_part_is_none() -> None:
    assert run_highest(valid_up_to(10.0, []), TRAFFIC).more == {"highest_part": 0.0}


def test_the_grid_goes_far_beyond_the_offline_rate() -> None:
    assert GRID[-1] >= 1.6


def test_a_search_that_ends_at_its_border_gives_no_ratio() -> None:
    assert no_ratio([GRID[0], 0.98, GRID[-2]]) is None
    assert "highest tried" in str(no_ratio([0.98, GRID[-1], 0.98]))
    assert "was valid" in str(no_ratio([0.98, 0.0]))
