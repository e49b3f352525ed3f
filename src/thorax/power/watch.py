"""Readings as they come in: energy so far, watts now, their mean and range, without keeping all."""

import math
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from thorax.power.energy import few_moves
from thorax.power.meter import Channel, Meter, Reading
from thorax.results.energy import DeviceEnergy, Quantity, WatchResult

_BARS: Final = "▁▂▃▄▅▆▇█"
_HISTORY: Final = 60
"""Readings that are drawn."""
_HELD: Final = 1 << 12
"""Parts of a sum that are kept apart, so that it is exact, before they are added up."""


class Watch:
    """Energy, mean and range of the readings of a meter so far.

    Energy is that of `thorax.power.energy.joules` from the first reading to the last. Watts now
    are those of the last reading; of an energy counter, the mean since the reading before.
    """

    def __init__(self, quantity: Quantity, channels: Sequence[Channel]) -> None:
        self._quantity = quantity
        self._channels = tuple(channels)
        self._first: Reading | None = None
        self._last: Reading | None = None
        self._parts: list[list[float]] = [[] for _ in channels]
        self._moves = [0 for _ in channels]
        self._least_j = [math.inf for _ in channels]
        self.readings = 0
        self.now_w: float | None = None
        self.least_w = math.inf
        self.most_w = -math.inf
        self.devices_w: tuple[float, ...] = ()
        self.history_w: deque[float] = deque(maxlen=_HISTORY)

    def add(self, reading: Reading) -> None:
        """Take in the next reading."""
        last = self._last
        if self._quantity == "power":
            self._show(reading.values)
        if last and reading.at_s > last.at_s:
            step_s = reading.at_s - last.at_s
            pairs = list(zip(last.values, reading.values, strict=True))
            if self._quantity == "energy":
                self._show([(after - before) / step_s for before, after in pairs])
                for index, (before, after) in enumerate(pairs):
                    if after > before:
                        self._moves[index] += 1
                        self._least_j[index] = min(self._least_j[index], after - before)
            else:
                for parts, (before, after) in zip(self._parts, pairs, strict=True):
                    parts.append(step_s * (before + after) / 2)
                    if len(parts) > _HELD:
                        parts[:] = [math.fsum(parts)]
        self._first = self._first or reading
        self._last = reading
        self.readings += 1

    def _show(self, watts: Sequence[float]) -> None:
        self.devices_w = tuple(watts)
        now_w = math.fsum(self._counted(watts))
        self.now_w = now_w
        self.least_w, self.most_w = min(self.least_w, now_w), max(self.most_w, now_w)
        self.history_w.append(now_w)

    def _counted(self, values: Sequence[float]) -> list[float]:
        pairs = zip(values, self._channels, strict=True)
        return [value for value, channel in pairs if channel.counted]

    @property
    def duration_s(self) -> float:
        """From the first reading to the last."""
        return self._last.at_s - self._first.at_s if self._first and self._last else 0.0

    @property
    def device_energies_j(self) -> tuple[float, ...] | None:
        """Of each channel; None before the second reading."""
        if self.readings < 2 or not self._first or not self._last:
            return None
        if self._quantity == "energy":
            pairs = zip(self._first.values, self._last.values, strict=True)
            return tuple(after - before for before, after in pairs)
        return tuple(map(math.fsum, self._parts))

    @property
    def energy_j(self) -> float | None:
        """Sum of the channels that count; None before the second reading."""
        each = self.device_energies_j
        return None if each is None else math.fsum(self._counted(each))

    @property
    def mean_w(self) -> float | None:
        """Energy over duration; None before the second reading."""
        energy = self.energy_j
        return energy / self.duration_s if energy is not None and self.duration_s else None

    def _problem(self) -> str | None:
        """Return why a counter was watched for too short a time to tell its energy."""
        if self._quantity == "power" or self.readings < 2:
            return None
        counters = zip(self._channels, self._moves, self._least_j, strict=True)
        problems = (
            few_moves(channel.name, moves, self.readings - 1, least_j, self.duration_s)
            for channel, moves, least_j in counters
            if channel.counted
        )
        return next(filter(None, problems), None)

    def result(self, meter: Meter, log: Path | None = None) -> WatchResult:
        """Return the result of `thorax power watch` of a meter, written to a log."""
        problem = None if meter.modelled else self._problem()
        energies = None if problem else self.device_energies_j
        shown = bool(self.history_w) and not problem
        result = WatchResult(
            energy_source=meter.source,
            quantity=meter.quantity,
            modelled=meter.modelled,
            replayed=meter.replayed,
            readings=self.readings,
            duration_s=self.duration_s,
            energy_j=None if problem else self.energy_j,
            power_w=None if problem else self.mean_w,
            least_w=self.least_w if shown else None,
            most_w=self.most_w if shown else None,
            devices=device_energies(self._channels, energies, self.duration_s),
            log=None if log is None else str(log),
        )
        return result.stating(energy_error=problem)


def device_energies(
    channels: Sequence[Channel], energies_j: Sequence[float] | None, duration_s: float
) -> dict[str, DeviceEnergy]:
    """Return energy and mean power of each channel by its name; None where nobody knows them."""
    return {
        channel.name: DeviceEnergy(
            energy_j=energy_j,
            power_w=None if energy_j is None else energy_j / duration_s,
            counted=channel.counted,
        )
        for channel, energy_j in zip(channels, energies_j or (None,) * len(channels), strict=True)
    }


def sparkline(watts: Sequence[float]) -> str:
    """Return the course of power in one line, from the least to the most of what is shown."""
    if not watts:
        return ""
    low, high = min(watts), max(watts)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in watts)
