"""Watts over a window as joules."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from thorax.power.meter import Reading
from thorax.results.energy import Quantity


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
