"""What every power meter has: channels, readings of them, and the energy between two times.

All times are of the monotonic clock (`time.perf_counter`): the wall clock may step in mid-run.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from thorax.results.energy import Quantity


@dataclass(frozen=True, slots=True)
class Channel:
    """One thing whose power a meter tells.

    Attributes:
        name: as people know it, such as `package-0` or `gpu0`.
        counted: whether it belongs to the sum; False where another channel holds it already.
    """

    name: str
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter said at one time.

    Attributes:
        at_s: `time.perf_counter` in the middle of the question; of a replayed log, its own time
            since the log was opened.
        values: of each channel, watts (power) or joules since the meter was opened (energy).
    """

    at_s: float
    values: tuple[float, ...]


class Meter(Protocol):
    """What every meter keeps to.

    Attributes:
        source: what a document says of where its figures come from.
        quantity: what `values` are.
        modelled: whether its figures were computed and not measured.
        replayed: whether its figures were read at another time than now.
        channels: what `values` are of, in their order.
        interval_s: between two readings where nobody says otherwise.
    """

    @property
    def source(self) -> str: ...  # noqa: D102 - the attributes above
    @property
    def quantity(self) -> Quantity: ...  # noqa: D102
    @property
    def modelled(self) -> bool: ...  # noqa: D102
    @property
    def replayed(self) -> bool: ...  # noqa: D102
    @property
    def channels(self) -> tuple[Channel, ...]: ...  # noqa: D102
    @property
    def interval_s(self) -> float: ...  # noqa: D102

    def read(self) -> Sequence[Reading]:
        """Return what is new since the last call, oldest first; one reading of a live meter.

        A log that is replayed may answer with none or several.

        Raises:
            DeviceError: `meter-absent` or `meter-permission`.
            PeerError: `meter-unreachable`, `meter-refused`, `meter-answer`, `meter-ended`,
                `rapl-wrap`, or `rapl-reset`.
        """

    def close(self) -> None:
        """Give back what was opened; never fails, and may be called twice."""


def joules(
    readings: Sequence[Reading], quantity: Quantity, begin_s: float, end_s: float
) -> npt.NDArray[np.float64]:
    """Return the energy of each channel over exactly a window, float64 [channels].

    Power is taken to be linear between two readings (trapezoids), and so is the count of an
    energy counter. At the edges both are interpolated, never extrapolated.

    Args:
        readings: in the order of time, the first not after `begin_s`, the last not before `end_s`.
        quantity: what their values are.
        begin_s: of the window.
        end_s: after it.
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
