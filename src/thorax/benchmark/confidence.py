"""How sure a rate is: windows cut into slices, and intervals of ratios that follow from them."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.metrics import Interval
from thorax.results.benchmark import Slices

SLICES: Final = 20
"""Slices that a window is cut into at most."""

FEWEST: Final = 10
"""Slices below which nothing is said of the spread: of fewer their likeness cannot be told."""

FEWEST_TURNS: Final = 6
"""Turns below which no two of their ratios have the median between them with `CONFIDENCE`."""

CONFIDENCE: Final = 0.95

ANSWERS: Final = 5
"""Answers in a slice at least: what ends within one is no matter of chance alone."""


UNCUT: Final = Slices(images_per_s=(), latency_p99_ms=())
"""Of a window that was not cut."""


def cut(
    begin_s: float,
    done_s: npt.NDArray[np.float64],
    images: npt.NDArray[np.int64],
    latencies_s: npt.NDArray[np.float64],
) -> Slices:
    """Return a window in slices; none at all where its answers are too few for `FEWEST` of them.

    A slice ends with an answer: cut at even times, a slice of twenty answers would jump by a
    twentieth of its rate. Of each of M answers are given when it was there, float64 seconds, its
    images, int64, and its latency, float64 seconds.
    """
    count = min(SLICES, len(done_s) // ANSWERS)
    if count < FEWEST:
        return UNCUT
    order = np.argsort(done_s, kind="stable")
    parts = np.array_split(order, count)
    ends = np.array([begin_s, *(done_s[part[-1]] for part in parts)])
    took = np.diff(ends)
    if not (took > 0).all():
        return UNCUT
    return Slices(
        images_per_s=tuple(
            float(images[part].sum() / time) for part, time in zip(parts, took, strict=True)
        ),
        latency_p99_ms=tuple(float(np.quantile(latencies_s[part], 0.99)) * 1e3 for part in parts),
    )


def ratio_of_runs(value: float, first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """Return a ratio of two runs with its interval from their slices; None with too few of them.

    Welch's interval (Biometrika 34, 1947) of the difference of two means of logarithms. Slices that
    follow each other are alike, so n of them count as n (1 - r) / (1 + r), r their correlation with
    the next (Bayley and Hammersley, J. R. Stat. Soc. Suppl. 8, 1946), freed of its bias in short
    series as by Orcutt and Winokur (Econometrica 37, 1969) and not below 0. The ratio is of the
    rates over whole windows.
    """
    if min(len(first), len(second)) < FEWEST or min(*first, *second) <= 0:
        return None
    variances, degrees = [], []
    for series in (np.log(first), np.log(second)):
        independent = effective_count(series)
        variances.append(float(series.var(ddof=1)) / independent)
        degrees.append(independent - 1)
    total = sum(variances)
    if total == 0:
        return Interval(value, value, value)
    freedom = total**2 / sum(part**2 / nu for part, nu in zip(variances, degrees, strict=True))
    reach = student_t(0.5 + CONFIDENCE / 2, freedom) * math.sqrt(total)
    return Interval(value, value * math.exp(-reach), value * math.exp(reach))


def effective_count(series: npt.NDArray[np.float64]) -> float:
    """Return how many independent values a series is worth, 2 to its length."""
    count = len(series)
    apart = series - series.mean()
    square = float(apart @ apart)
    if square == 0:
        return float(count)
    following = float(apart[:-1] @ apart[1:]) / square
    correlation = min(max((count * following + 1) / (count - 3), 0.0), 0.95)
    return max(2.0, count * (1 - correlation) / (1 + correlation))


def student_t(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t, 0.5 or above, of one degree of freedom or more.

    With t = sqrt(nu) tan(a) the density becomes that of the angle, cos(a) ^ (nu - 1), which is
    integrated (Abramowitz and Stegun, 26.7.3 and 26.7.4, for any nu) and solved by halving.
    """
    nu = max(freedom, 1.0)
    scale = math.exp(math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2)) / math.sqrt(math.pi)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        steps = angle / 2 * (_NODES + 1)
        area = angle / 2 * float(_WEIGHTS @ np.cos(steps) ** (nu - 1))
        low, high = (angle, high) if scale * area < probability - 0.5 else (low, angle)
    return math.sqrt(nu) * math.tan(low)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def median_of_turns(ratios: Sequence[float]) -> Interval | None:
    """Return the median of ratios, one a turn, and its interval; None of fewer than `FEWEST_TURNS`.

    The interval lies between two of the ratios, the k-th from either end, with the largest k that
    the binomial distribution allows: it asks for no distribution, only for turns of which each is
    as likely above the median as below (David and Nagaraja, Order Statistics, 2003, s. 7.1).
    """
    count = len(ratios)
    if count < FEWEST_TURNS:
        return None
    ordered = sorted(ratios)
    below, rank = 0.5**count, 0
    while 2 * (tail := below + math.comb(count, rank + 1) * 0.5**count) <= 1 - CONFIDENCE:
        below, rank = tail, rank + 1
    return Interval(float(np.median(ordered)), ordered[rank], ordered[-1 - rank])
