"""The simulator against what is known in closed form, and against itself."""

import math
import statistics

import numpy as np
import pytest
from benchmarks import plan_closed_forms
from benchmarks.record.evidence import Evidence
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax.plan.simulation import Lane, Network, Run, Visit, arrive, saturate, simulate


def single(time_s: float = 1.0, servers: int = 1, *, exponential: bool = False) -> Network:
    return Network((servers,), (Lane((Visit(0, time_s, exponential=exponential),)),))


def mean_wait_s(run: Run, time_s: float = 1.0) -> float:
    return float(run.latencies_s.mean() - time_s)


@pytest.mark.parametrize("load", [0.3, 0.5])
def test_the_mean_wait_of_an_m_d_1_queue_is_pollaczek_and_khinchine_s(load: float) -> None:
    run = simulate(single(), arrive("poisson", load, 300_000, seed=3))
    assert mean_wait_s(run) == pytest.approx(load / (2 * (1 - load)), rel=0.01)


def test_the_mean_wait_of_an_m_m_1_queue_is_that_of_the_books() -> None:
    run = simulate(single(exponential=True), arrive("poisson", 0.5, 300_000, seed=5), seed=6)
    assert mean_wait_s(run) == pytest.approx(1.0, rel=0.02)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
    st.floats(0.1, 2.5),
)
def test_a_single_station_is_lindley_s_recursion(gaps_s: list[float], time_s: float) -> None:
    arrivals_s = np.cumsum(gaps_s)
    run = simulate(single(time_s), arrivals_s)
    free_s = 0.0
    for arrival_s, departure_s in zip(arrivals_s, run.departures_s, strict=True):
        free_s = max(free_s, arrival_s) + time_s
        assert departure_s == pytest.approx(free_s, rel=1e-12)


def chain(times_s: list[float], batch: int, requests: int, delay_s: float = 0.0) -> Network:
    """Return two devices alike, each with stations of its own."""
    count = len(times_s)
    lanes = tuple(
        Lane(
            tuple(Visit(place + device * count, time_s) for place, time_s in enumerate(times_s)),
            1 / max(times_s),
            batch,
            delay_s,
            requests,
        )
        for device in range(2)
    )
    return Network((1,) * (2 * count), lanes)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(0, 2), min_size=1, max_size=60),
    st.lists(st.floats(0.1, 2), min_size=1, max_size=4),
    st.integers(1, 4),
    st.integers(1, 5),
    st.floats(0, 3),
)
def test_work_is_conserved_and_every_image_leaves_once(
    gaps_s: list[float], times_s: list[float], batch: int, requests: int, delay_s: float
) -> None:
    arrivals_s = np.cumsum(gaps_s)
    run = simulate(chain(times_s, batch, requests, delay_s), arrivals_s)
    assert len(run.departures_s) == len(arrivals_s)
    assert (run.latencies_s >= sum(times_s) * (1 - 1e-12)).all()
    # Each station gave exactly the service that the images that came through it asked for.
    for device in range(2):
        images = int((run.lanes == device).sum())
        for place, time_s in enumerate(times_s):
            given_s = run.busy_s[place + device * len(times_s)]
            assert given_s == pytest.approx(images * time_s, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.floats(0.1, 0.95), st.integers(1, 4))
def test_little_s_law_holds(seed: int, load: float, batch: int) -> None:
    run = simulate(chain([0.3, 1.0], batch, 3), arrive("poisson", 2 * load, 500, seed))
    # The integral over time of how many are inside, from arrivals and departures alone.
    times_s = np.concatenate([run.arrivals_s, run.departures_s])
    change = np.concatenate([np.ones(len(run.arrivals_s)), -np.ones(len(run.departures_s))])
    order = np.argsort(times_s, kind="stable")
    inside = np.cumsum(change[order])[:-1]
    area = float((inside * np.diff(times_s[order])).sum())
    assert area / run.window_s == pytest.approx(
        len(run.arrivals_s) / run.window_s * run.latencies_s.mean()
    )


@pytest.mark.parametrize("slowest", [0, 1, 2])
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("requests", [1, 2, 6])
def test_a_saturated_pipeline_is_as_fast_as_its_slowest_stage_or_its_requests(
    slowest: int, batch: int, requests: int
) -> None:
    times_s = [0.5, 0.7, 0.6]
    times_s[slowest] = 1.0
    run = saturate(chain(times_s, batch, requests), 20_000)
    # Two devices; times are of an image, so a batch takes `batch` of them.
    wanted = 2 * min(1 / max(times_s), requests / sum(times_s))
    assert run.images_per_s() == pytest.approx(wanted, rel=0.005)


def test_a_batch_leaves_when_it_is_full_or_its_oldest_waited_long_enough() -> None:
    lane = Lane((Visit(0, 0.0, 1.0),), batch=3, max_delay_s=5.0)
    run = simulate(Network((1,), (lane,)), np.array([0.0, 1.0, 2.0, 10.0, 11.0]))
    assert run.batches == 2
    assert run.departures_s.tolist() == [3.0, 3.0, 3.0, 16.0, 16.0]


def test_images_go_where_they_are_answered_first_and_then_where_fewest_are() -> None:
    fast, slow = Lane((Visit(0, 1.0),)), Lane((Visit(1, 3.5),), 1 / 3.5)
    run = simulate(Network((1, 1), (fast, slow)), np.zeros(5))
    assert run.lanes.tolist() == [0, 0, 0, 1, 0]
    alike = simulate(chain([1.0], 1, 4), np.zeros(4))
    assert alike.lanes.tolist() == [0, 1, 0, 1]


def test_the_same_seed_gives_the_same_run_and_another_another() -> None:
    def latencies(seed: int) -> bytes:
        arrivals_s = arrive("poisson", 0.8, 2000, seed)
        return simulate(single(exponential=True), arrivals_s, seed=seed).latencies_s.tobytes()

    assert latencies(1) == latencies(1)
    assert latencies(1) != latencies(2)


def test_arrivals_of_two_rates_are_those_of_one_seed_stretched() -> None:
    slow, fast = (arrive("poisson", rate, 100, seed=4) for rate in (1.0, 4.0))
    assert np.allclose(slow, 4 * fast)
    assert np.diff(arrive("constant", 4.0, 5)).tolist() == [0.25] * 4


def test_the_page_tells_what_closed_forms_and_the_simulator_gave_and_all_of_it_is_met() -> None:
    document = Evidence().newest("plan_closed_forms").document
    goal = document["goal"]
    assert goal == 0.01
    # Not what the document says of itself, but what its runs are.
    for one in document["mean_wait_in_service_times"]:
        mean, count = statistics.mean(one["runs"]), len(one["runs"])
        half = plan_closed_forms.T95[count] * statistics.stdev(one["runs"]) / math.sqrt(count)
        assert mean == pytest.approx(one["simulated"], rel=1e-12)
        assert half == pytest.approx(one["half_interval"], rel=1e-3)
        assert abs(mean / one["closed_form"] - 1) <= goal
        assert half / one["closed_form"] <= goal
    for one in (*document["saturated"], *document["additive"]):
        assert abs(one["simulated"] / one["closed_form"] - 1) <= goal
    assert document["met"] is True
    assert plan_closed_forms.waits_text(document) in plan_closed_forms.PAGE.read_text("utf-8")
    for one in document["mean_wait_in_service_times"]:
        load, servers = one["load"], int(one["queue"].split("/")[2])
        wanted = (
            plan_closed_forms.pollaczek_khinchine(load)
            if "/D/" in one["queue"]
            else plan_closed_forms.erlang_c(load, servers)
        )
        assert one["closed_form"] == wanted
    # The first run of the shortest queue, simulated again.
    first = document["mean_wait_in_service_times"][0]
    again = plan_closed_forms.wait(
        first["load"], 1, exponential=False, images=first["images"] // len(first["runs"]), seed=0
    )
    assert first["load"] == 0.3
    assert again == pytest.approx(first["runs"][0], rel=1e-9)
    # Erlang C of one server is the M/M/1 queue of the books.
    assert plan_closed_forms.erlang_c(0.7, 1) == pytest.approx(0.7 / 0.3)
