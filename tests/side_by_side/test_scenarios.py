"""The runs under LoadGen: what they ask for, and the search for the highest rate that is valid."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from benchmarks.harness.side_by_side import Options, Settings, SideBySide
from benchmarks.scenarios_against_async_queue import (
    GRID,
    PERCENTS,
    WAYS,
    Drive,
    Model,
    Scenarios,
    no_ratio,
    run_highest,
)

from thorax.benchmark import loadgen
from thorax.benchmark.measurement import Traffic
from thorax.benchmark.scenarios import SERVER_QUERIES

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
    assert len(tried) <= math.ceil(math.log2(len(GRID) + 1))
    assert turn.images is None


def test_where_nothing_is_valid_the_part_is_none() -> None:
    assert run_highest(valid_up_to(10.0, []), TRAFFIC).more == {"highest_part": 0.0}


def test_the_grid_goes_far_beyond_the_offline_rate() -> None:
    assert GRID[-1] >= 1.6


def test_a_search_that_ends_at_its_border_gives_no_ratio() -> None:
    assert no_ratio([GRID[0], 0.98, GRID[-2]]) is None
    assert "highest tried" in str(no_ratio([0.98, GRID[-1], 0.98]))
    assert "was valid" in str(no_ratio([0.98, 0.0]))


def test_every_server_run_asks_for_the_queries_of_a_verdict(tmp_path: Path) -> None:
    asked: list[Traffic] = []

    def drive(traffic: Traffic) -> Mapping[str, Any]:
        asked.append(traffic)
        latencies = {f"result_{percent}.00_percentile_latency_ns": 1e6 for percent in PERCENTS}
        valid = traffic.images_per_s < 410
        return latencies | {
            "result_samples_per_second": 400.0,
            "result_query_count": traffic.fewest_queries,
            "result_validity": "VALID" if valid else "INVALID",
        }

    settings = Settings(threads=2, precision="fp32", side=64, input="tensors that stay")
    model = Model("fp32_64", {way: lambda: drive for way in WAYS}, settings, 2, 0.01)
    bench = SideBySide("claim", Options(6, 0.1, 0, rehearsal=tmp_path))
    assert len(Scenarios(bench, model).run()) == 1 + len(PERCENTS) + 1
    served = [traffic for traffic in asked if traffic.scenario == "server"]
    assert len(served) > 6 * len(WAYS)
    assert len({traffic.images_per_s for traffic in served}) > 2, "the search too"
    for traffic in served:
        assert loadgen.settings(traffic).min_query_count >= SERVER_QUERIES
