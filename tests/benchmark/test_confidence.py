"""How sure a rate is: intervals hold what they promise, for noise with a memory too."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from thorax.benchmark.confidence import (
    FEWEST,
    FEWEST_TURNS,
    SLICES,
    cut,
    effective_count,
    median_of_turns,
    ratio_of_runs,
    student_t,
)
from thorax.metrics import Interval


def _series(
    random: np.random.Generator, count: int, correlation: float, noise: float = 0.05
) -> npt.NDArray[np.float64]:
    """Return rates around 100 whose noise remembers that of the slice before."""
    found = np.empty(count)
    found[0] = random.normal()
    for place in range(1, count):
        fresh = random.normal() * math.sqrt(1 - correlation**2)
        found[place] = correlation * found[place - 1] + fresh
    return 100 * np.exp(noise * found)


def _coverage(correlation: float, tries: int = 1500, count: int = SLICES) -> tuple[float, float]:
    """Return how often the interval holds the truth, and how often one without memory does."""
    random = np.random.Generator(np.random.Philox(key=7))
    held = naive = 0
    for _ in range(tries):
        a, b = _series(random, count, correlation), _series(random, count, correlation)
        value = math.exp(np.log(a).mean() - np.log(b).mean())
        found = ratio_of_runs(value, a.tolist(), b.tolist())
        assert found is not None
        held += found.low <= 1 <= found.high
        plain = stats.ttest_ind(np.log(a), np.log(b), equal_var=False).confidence_interval(0.95)
        naive += plain.low <= 0 <= plain.high
    return held / tries, naive / tries


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6])
def test_an_interval_holds_the_truth_as_often_as_it_says(correlation: float) -> None:
    held, naive = _coverage(correlation)
    assert held >= 0.92
    if correlation == 0.6:
        assert naive < 0.75


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6, 0.8])
def test_of_the_fewest_slices_it_holds_too(correlation: float) -> None:
    assert _coverage(correlation, 800, FEWEST)[0] >= 0.91


def test_without_memory_it_is_the_interval_of_welch() -> None:
    # Alternating noise has no positive correlation: all slices count.
    a = 100 * np.exp(0.02 * np.resize([1.0, -1.0, 0.9, -1.1], 20))
    b = 90 * np.exp(0.03 * np.resize([1.0, -1.2, 1.1, -0.9], 20))
    assert effective_count(np.log(a)) == 20
    value = math.exp(np.log(a).mean() - np.log(b).mean())
    found = ratio_of_runs(value, a.tolist(), b.tolist())
    assert found is not None
    peer = stats.ttest_ind(np.log(a), np.log(b), equal_var=False).confidence_interval(0.95)
    assert found.low == pytest.approx(math.exp(peer.low), rel=1e-5)
    assert found.high == pytest.approx(math.exp(peer.high), rel=1e-5)


@pytest.mark.parametrize("freedom", [1, 1.4, 2, 3, 4.5, 8, 19, 38, 1000])
def test_quantiles_of_t_are_those_of_scipy(freedom: float) -> None:
    assert student_t(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


@pytest.mark.parametrize("count", [6, 7, 9, 15, 30])
def test_the_median_of_turns_lies_between_the_ranks_of_the_sign_test(count: int) -> None:
    ratios = [float(place) for place in range(count)]
    found = median_of_turns(ratios[::-1])
    assert found is not None
    assert found.value == (count - 1) / 2
    rank = int(found.low)
    assert found.high == count - 1 - rank
    assert 2 * stats.binom.cdf(rank, count, 0.5) <= 0.05
    assert 2 * stats.binom.cdf(rank + 1, count, 0.5) > 0.05


def test_too_little_says_nothing() -> None:
    few = [1.0] * (FEWEST - 1)
    assert median_of_turns([1.0] * (FEWEST_TURNS - 1)) is None
    assert ratio_of_runs(1.0, few, [1.0] * 20) is None
    assert ratio_of_runs(1.0, [0.0] * 20, [1.0] * 20) is None
    even = ratio_of_runs(1.0, [1.0] * 20, [1.0] * 20)
    assert even == Interval(1.0, 1.0, 1.0)


def test_slices_are_cut_at_answers_and_hold_all_images() -> None:
    done = 50.0 + np.arange(1, 201) / 40
    shuffled = np.random.Generator(np.random.Philox(key=1)).permutation(200)
    images = np.full(200, 4)
    found = cut(50.0, done[shuffled], images, np.full(200, 0.025))
    assert len(found.images_per_s) == 20
    assert found.images_per_s == pytest.approx([160.0] * 20)
    assert found.latency_p99_ms == pytest.approx([25.0] * 20)


def test_a_stall_shows_in_its_own_slice_alone() -> None:
    gaps = np.full(200, 0.01)
    gaps[55] = 1.0
    found = cut(0.0, np.cumsum(gaps), np.ones(200, np.int64), gaps)
    slow = [place for place, rate in enumerate(found.images_per_s) if rate < 50]
    assert slow == [5]
    assert found.latency_p99_ms[5] > 900
    assert sum(10 / rate for rate in found.images_per_s) == pytest.approx(gaps.sum())


def test_a_handful_of_answers_is_not_cut() -> None:
    assert cut(0.0, np.arange(1.0, 50.0), np.ones(49, np.int64), np.ones(49)).images_per_s == ()
    at_once = np.ones(200)
    assert cut(1.0, at_once, np.ones(200, np.int64), at_once).images_per_s == ()
