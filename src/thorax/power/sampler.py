"""Watts and joules: what a meter answers, sampled on a thread of its own, over exact windows.

All times are of the monotonic clock (`time.perf_counter`): the wall clock may step in mid-run.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

from thorax.errors import ThoraxError, UsageError
from thorax.power.energy import joules, resolution_w, span
from thorax.power.energy import problem as problem_of
from thorax.power.meter import Meter, Reading
from thorax.results.energy import EMULATED_RATE, DevicePower, PowerResult

SETTLE_S: Final = 1.0
"""Let pass before the idle window: what came before, such as compiling, has cooled off (*assumed*).
"""

_FINAL: Final = frozenset({"meter-refused", "meter-ended", "rapl-wrap", "rapl-reset"})
"""Mistakes that asking again does not mend; a refused password asked thrice may lock an account."""

_TRIES: Final = 3
"""Failures in a row after which a meter is given up."""

_RESOLVED: Final = 0.005
"""Part of the load that a meter tells from none at best: those of servers are true to 1 to 5 %, and
repeat themselves the better (*assumed*)."""

_POLL_S: Final = 0.02
"""Between two looks for a reading that is awaited."""


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy over one window; what `PowerResult` names too is the same here.

    Attributes:
        source: of the meter; "none" without one.
        window_s: length of the window, seconds.
        energy_j: sum over it; None without a meter or where `error` says why; never 0 for either.
        error: why there is no figure, a line for a person; None where there is one or no meter.
        resolution_w: difference of load and idle that the readings do not tell from none.
    """

    source: str
    modelled: bool
    window_s: float
    energy_j: float | None
    idle_w: float | None = None
    devices: dict[str, DevicePower] = field(default_factory=dict)
    samples: int = 0
    interval_s: float | None = None
    error: str | None = None
    idle_error: str | None = None
    replayed: bool = False
    resolution_w: float = 0.0

    @property
    def load_w(self) -> float | None:
        """Mean power of the window: energy / window."""
        return None if self.energy_j is None else self.energy_j / self.window_s

    @property
    def marginal_w(self) -> float | None:
        """Load less idle: what the work itself drew."""
        return None if self.load_w is None or self.idle_w is None else self.load_w - self.idle_w

    @property
    def marginal_error(self) -> str | None:
        """Why what the load added to idle is no figure to divide by; None where it is one."""
        if self.marginal_w is None or self.load_w is None:
            return None
        least_w = 0.0 if self.modelled else max(self.resolution_w, _RESOLVED * self.load_w)
        if self.marginal_w > least_w:
            return None
        return (
            f"the load drew {self.load_w:,.2f} W and idle {self.idle_w:,.2f} W: a difference up to "
            f"{least_w:,.2f} W cannot be told from none by this meter"
        )

    def power_result(self, images_per_s: float, *, emulated: bool = False) -> PowerResult | None:
        """Return what a result says of energy beside joules and their source; None without a meter.

        The marginal efficiency, which leaves out what the machine draws when idle, is None where
        the load drew no more than idle did, or no more that the meter could tell.

        Images that were `emulated` in the place of a card would have taken another time there: the
        watts are not of it, and neither efficiency is a figure.
        """
        if self.source == "none":
            return None
        marginal_w = None if self.marginal_error else self.marginal_w
        result = PowerResult(
            modelled=self.modelled,
            replayed=self.replayed,
            load_w=self.load_w,
            idle_w=self.idle_w,
            marginal_w=self.marginal_w,
            images_per_s_per_w=None if emulated else efficiency(images_per_s, self.load_w),
            marginal_images_per_s_per_w=None if emulated else efficiency(images_per_s, marginal_w),
            samples=self.samples,
            interval_s=self.interval_s,
            devices=self.devices,
        )
        return result.stating(
            idle_error=self.idle_error,
            efficiency_error=EMULATED_RATE if emulated else None,
            marginal_error=self.marginal_error,
        )


def efficiency(images_per_s: float, power_w: float | None) -> float | None:
    """Return images per second and watt; None where there are no watts."""
    return images_per_s / power_w if power_w is not None and power_w > 0 else None


class Sampler:
    """Asks a meter again and again, on a thread of its own, while something else is measured.

    The first reading is made on entering, so that a meter that cannot be read is known before
    anything is measured; the last on leaving, so that the end of a window lies between two. A
    failure is tried again; the third in a row, or one that trying does not mend, ends the sampling
    and not the measurement: `energy` then says why it has no figure. What is no such failure but a
    bug is raised on leaving.

    Args:
        meter: closed by whoever opened it.
        interval_s: between two readings; None means what the meter is good for.
        on_reading: told each reading, on the thread that made it.
        keep: False leaves the readings to `on_reading`, and `energy` without any.

    Attributes:
        readings: all so far, in the order of time.
        failure: why the meter was given up; None as long as it answers.

    Raises:
        UsageError: `power-interval` when it is not above 0 or without end.

    Example:
        >>> with open_meter("rapl") as meter, Sampler(meter) as sampler:
        ...     sampler.rest(5.0)
        ...     begin_s = time.perf_counter()
        ...     work()
        ...     end_s = time.perf_counter()
        >>> sampler.energy(begin_s, end_s).energy_j
    """

    def __init__(
        self,
        meter: Meter,
        interval_s: float | None = None,
        *,
        on_reading: Callable[[Reading], None] | None = None,
        keep: bool = True,
    ) -> None:
        self.meter = meter
        self.interval_s = meter.interval_s if interval_s is None else interval_s
        if not 0 < self.interval_s < math.inf:
            raise UsageError(
                "power-interval", f"interval is {self.interval_s} s; it must be above 0 and end"
            )
        self._on_reading = on_reading
        self._kept = keep
        self.readings: list[Reading] = []
        self.failure: ThoraxError | None = None
        self._bug: Exception | None = None
        self._idle: tuple[float, float] | None = None
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="power", daemon=True)

    def __enter__(self) -> Self:
        if self.meter.channels:
            self._keep(self.meter.read())
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Whoever was interrupted waits for no last reading of a slow meter.
        self._abandoned = kind is not None
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._bug and not kind:
            raise self._bug

    def wait(self, timeout_s: float) -> bool:
        """Return whether the meter was given up within so long a time."""
        return self._ended.wait(timeout_s)

    def rest(self, idle_s: float, *, settle_s: float | None = None) -> None:
        """Keep still for a while: what the meter says meanwhile is idle power.

        An `idle_s` of 0 keeps no window. Before it pass `settle_s`; None means `SETTLE_S`.

        Raises:
            UsageError: `power-idle` when it is below 0 or without end.
        """
        if not 0 <= idle_s < math.inf:
            raise UsageError("power-idle", f"idle time is {idle_s} s; it must be 0 or above")
        if not idle_s or not self.meter.channels:
            return
        if self.wait(SETTLE_S if settle_s is None else settle_s):
            return
        begin_s = time.perf_counter()
        end_s = begin_s + idle_s
        given_up = self.wait(idle_s)
        # A reading under load would raise the last edge of the window, so that one comes first.
        while not given_up and self.readings[-1].at_s < end_s:
            given_up = self.wait(_POLL_S)
        self._idle = (begin_s, end_s)

    def energy(self, begin_s: float, end_s: float) -> Energy:
        """Return the energy over exactly a window, after the sampler was left.

        Its edges are of `time.perf_counter`, between entering and leaving the sampler.
        """
        meter = self.meter
        energy = Energy(meter.source, meter.modelled, end_s - begin_s, None)
        if not meter.channels:
            return energy
        energy = replace(
            energy,
            samples=len(span(self.readings, begin_s, end_s)[0]),
            interval_s=self.interval_s,
            replayed=meter.replayed,
        )
        if problem := self._problem(begin_s, end_s):
            why = f"; {self.failure.message}" if self.failure else ""
            return replace(energy, error=problem + why)
        load_w = self._mean_w(begin_s, end_s)
        idle_problem = self._problem(*self._idle) if self._idle else None
        idle_w = self._mean_w(*self._idle) if self._idle and not idle_problem else None
        devices = {
            channel.name: DevicePower(
                load_w=load,
                idle_w=idle,
                marginal_w=None if idle is None else load - idle,
                counted=channel.counted,
                **({"source": channel.source} if channel.source else {}),
            )
            for channel, load, idle in zip(
                meter.channels, load_w, idle_w or (None,) * len(load_w), strict=True
            )
        }
        counted = [index for index, channel in enumerate(meter.channels) if channel.counted]
        energies_j = joules(self.readings, meter.quantity, begin_s, end_s)
        return replace(
            energy,
            energy_j=math.fsum(energies_j[index] for index in counted),
            idle_w=math.fsum(idle_w[index] for index in counted) if idle_w else None,
            devices=devices,
            idle_error=idle_problem,
            resolution_w=self._resolution_w((begin_s, end_s)),
        )

    def _resolution_w(self, load: tuple[float, float]) -> float:
        if self.meter.modelled or not self._idle:
            return 0.0
        windows = [span(self.readings, *edges)[0] for edges in (self._idle, load)]
        return resolution_w(self.meter, windows)

    def _mean_w(self, begin_s: float, end_s: float) -> list[float]:
        energies_j = joules(self.readings, self.meter.quantity, begin_s, end_s)
        return [float(energy_j) / (end_s - begin_s) for energy_j in energies_j]

    def _problem(self, begin_s: float, end_s: float) -> str | None:
        return problem_of(self.meter, self.readings, begin_s, end_s, self.interval_s)

    def _keep(self, readings: Sequence[Reading]) -> None:
        for reading in readings:
            if self._kept:
                self.readings.append(reading)
            if self._on_reading:
                self._on_reading(reading)

    def _run(self) -> None:
        try:
            failures = 0
            begin_s = time.perf_counter()
            while True:
                # Readings keep their beat: the time that one takes does not delay the next.
                beat = self.interval_s
                stopped = self._stop.wait(beat - (time.perf_counter() - begin_s) % beat)
                if stopped and self._abandoned:
                    return
                try:
                    self._keep(self.meter.read())
                    failures = 0
                except ThoraxError as error:
                    failures += 1
                    if failures >= _TRIES or error.code in _FINAL:
                        self.failure = error
                        return
                    continue
                if stopped:
                    return
        except Exception as error:
            # Raised on the thread of who measures.
            self._bug = error
        finally:
            self._ended.set()
