"""The energy that readings of a meter tell of a window; what they leave open is no figure."""

import itertools
import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.power.meter import Channel, Meter, Reading
from thorax.results.energy import Quantity

_LEAST: Final = 3
"""Readings that a window must hold: fewer say nothing of what lay between."""

_GAP: Final = 5.0
"""Intervals that may lie between two readings of a power meter before the rest is a guess."""

_SMOOTH_S: Final = 1.0
"""A gap that is always allowed: meters of watts tell the mean of about so long (*assumed*)."""

MOVES: Final = 10
"""Times that a coarse counter must go on: each edge is known to a step, so to a tenth (*assumed*).
"""

_SIGMAS: Final = 3.0
"""Standard errors beyond which a difference is one."""

_WHOLE: Final = 1e-6
"""How far a decimal fraction in a float is from a whole number of its last place."""

_STILL: Final = 0.25
"""Part of a window that a counter may stand still: longer, and it no longer counts (*assumed*)."""


def joules(
    readings: Sequence[Reading], quantity: Quantity, begin_s: float, end_s: float
) -> npt.NDArray[np.float64]:
    """Return the energy of each channel over exactly a window, float64 [channels].

    Power is taken to be linear between two readings (trapezoids), and so is the count of an energy
    counter. At the edges both are interpolated, never extrapolated: readings, in the order of time,
    reach beyond both.
    """
    times = np.array([reading.at_s for reading in readings])
    values = np.array([reading.values for reading in readings], np.float64)
    assert times[0] <= begin_s < end_s <= times[-1]
    edges = np.array([[np.interp(at, times, row) for row in values.T] for at in (begin_s, end_s)])
    if quantity == "energy":
        counted: npt.NDArray[np.float64] = edges[1] - edges[0]
        return counted
    inside = (times > begin_s) & (times < end_s)
    at = np.concatenate(([begin_s], times[inside], [end_s]))
    power = np.concatenate((edges[:1], values[inside], edges[1:]))
    steps = np.diff(at)[:, None] * (power[1:] + power[:-1]) / 2
    return np.array([math.fsum(column) for column in steps.T])


def problem(
    meter: Meter, readings: Sequence[Reading], begin_s: float, end_s: float, interval_s: float
) -> str | None:
    """Return why readings do not give the energy of a window; None where they do.

    They must reach beyond both edges, be three within it, and leave no long gap by the interval
    that the meter was asked in: anywhere of watts, at the edges of an energy counter. No machine
    that runs draws 0 W. A counter must go on; one that two readings found standing still is coarse,
    and must go on ten times. What a model says is not doubted.
    """
    times = [reading.at_s for reading in readings]
    if not times or times[0] > begin_s:
        return "the meter was first read after the window had begun"
    if times[-1] < end_s:
        return f"the meter was last read {end_s - times[-1]:.2f} s before the window ended"
    window_s = end_s - begin_s
    inside, around = span(readings, begin_s, end_s)
    if len(inside) < _LEAST:
        return (
            f"the meter was read {len(inside)} times within {window_s:.2f} s, and {_LEAST} are "
            "needed: measure longer, or read it more often"
        )
    counts = meter.quantity == "energy"
    if counts:
        gap = max(inside[0].at_s - around[0].at_s, around[-1].at_s - inside[-1].at_s)
    else:
        edges = [begin_s, *(reading.at_s for reading in inside), end_s]
        gap = max(b - a for a, b in itertools.pairwise(edges))
    allowed = max(_GAP * interval_s, _SMOOTH_S)
    if gap > allowed:
        return (
            f"the meter was silent for {gap:.2f} s of the window, and {allowed:g} s is allowed "
            f"when it is read every {interval_s:g} s: measure again, or read it less often"
        )
    if meter.modelled:
        return None
    return implausible(meter.quantity, meter.channels, around if counts else inside, window_s)


def span(
    readings: Sequence[Reading], begin_s: float, end_s: float
) -> tuple[Sequence[Reading], Sequence[Reading]]:
    """Return readings within a window, and these with the next on both sides, where edges lie."""
    times = [reading.at_s for reading in readings]
    inside = readings[bisect_left(times, begin_s) : bisect_right(times, end_s)]
    return inside, readings[bisect_right(times, begin_s) - 1 : bisect_left(times, end_s) + 1]


def implausible(
    quantity: Quantity, channels: Sequence[Channel], readings: Sequence[Reading], window_s: float
) -> str | None:
    """Return why what was read in and around a window cannot be what a machine drew; else None."""
    counted = [index for index, channel in enumerate(channels) if channel.counted]
    if quantity == "power":
        if any(sum(reading.values[index] for index in counted) <= 0 for reading in readings):
            return "the meter told 0 W, which nothing that runs draws: has it a sensor?"
        return None
    problems = (
        counter_problem(
            channels[index].name,
            [reading.at_s for reading in readings],
            [reading.values[index] for reading in readings],
            window_s,
        )
        for index in counted
    )
    return next(filter(None, problems), None)


def resolution_w(meter: Meter, windows: Sequence[Sequence[Reading]]) -> float:
    """Return how far the means of two windows may lie apart though nothing drew more.

    That is three standard errors of their difference, or the step in which the meter tells watts,
    where that is more.
    """
    counted = [index for index, channel in enumerate(meter.channels) if channel.counted]
    variance = 0.0
    step_w = 0.0
    for readings in windows:
        sums = [math.fsum(reading.values[index] for index in counted) for reading in readings]
        if meter.quantity == "energy":
            times = [reading.at_s for reading in readings]
            watts = [
                (b - a) / (after - before)
                for (a, b), (before, after) in zip(
                    itertools.pairwise(sums), itertools.pairwise(times), strict=True
                )
                if after > before
            ]
        else:
            watts = sums
            step_w = max(step_w, _step(sums))
        if len(watts) > 1:
            variance += statistics.variance(watts) / len(watts)
    return max(_SIGMAS * math.sqrt(variance), step_w)


def _step(values: Sequence[float]) -> float:
    """Return the largest power of ten up to 1 that all values are whole numbers of; 0 of none."""
    for step in (1.0, 0.1, 0.01, 0.001):
        if all(abs(value / step - round(value / step)) < _WHOLE for value in values):
            return step
    return 0.0


def counter_problem(
    name: str, times: Sequence[float], joules: Sequence[float], window_s: float
) -> str | None:
    """Return why a counter does not tell its energy: it went back, stands still or is coarse.

    Times, in seconds, and joules are of its readings around the window.
    """
    steps = [b - a for a, b in itertools.pairwise(joules)]
    if any(step < 0 for step in steps):
        return f"the energy counter of {name} went back: it was reset, so measure again"
    moves = sum(step > 0 for step in steps)
    least_j = min((step for step in steps if step), default=0.0)
    if few := few_moves(name, moves, len(steps), least_j, window_s):
        return few
    since, still_s = times[0], 0.0
    for at_s, step in zip(times[1:], steps, strict=True):
        if step:
            since = at_s
        still_s = max(still_s, at_s - since)
    if still_s > _STILL * window_s:
        return (
            f"the energy counter of {name} stood still for {still_s:.2f} s of {window_s:.2f} s: "
            "measure longer, or take another meter"
        )
    return None


def few_moves(name: str, moves: int, steps: int, least_j: float, window_s: float) -> str | None:
    """Return why a counter that moved so often does not tell its energy; None where it does.

    It was read `steps` times after the first, and `least_j` is the smallest step that was seen.
    """
    if not moves:
        return (
            f"the energy counter of {name} did not move within {window_s:.2f} s: measure longer, "
            "or take another meter"
        )
    if moves == steps or moves >= MOVES:
        return None
    return (
        f"the energy counter of {name} moved {moves} times within {window_s:.2f} s, by "
        f"{least_j:,.4g} J and more, and {MOVES} times are needed: measure longer, or take another "
        "meter"
    )
