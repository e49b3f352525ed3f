"""The fastest precision of a device that keeps an AUROC budget: tried, judged and timed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from thorax.artifact import Precision
from thorax.devices import timing
from thorax.devices.core import physical_devices, supports
from thorax.devices.engine import compile as compile_artifact
from thorax.ir.candidate import Candidate, Workshop
from thorax.ir.guard import Guard, Watcher
from thorax.ir.keep import Int8, Judged

TIE: Final = 0.03
"""Share of the fastest's speed that timing on a busy machine does not tell apart."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A candidate as the choice sees it.

    Attributes:
        precision: how it stores its weights.
        kept: layers left in floating point.
        drop: of the mean AUROC from FP32.
        speed: images per second over those of FP32.
        size_bytes: of its weights.
    """

    precision: Precision
    kept: tuple[str, ...]
    drop: float
    speed: float
    size_bytes: int


def precisions(device: str) -> tuple[Precision, ...]:
    """Return what every physical device behind a device string computes, FP32 first.

    FP16 is among them on a CPU, where it is a way to store weights that are computed in FP32.

    Raises:
        DeviceError: `device-unknown`.
    """
    parts = physical_devices(device)
    return tuple(one for one in Precision if all(supports(part, one) for part in parts))


def pick(timed: Sequence[Timed], budget: float) -> int:
    """Return the place of the fastest that keeps the budget.

    Of those as fast as it, within `TIE`, the smallest; of those as small, the most exact.

    Args:
        timed: FP32, which loses nothing, is among them.
        budget: largest drop allowed.
    """
    within = [place for place, one in enumerate(timed) if one.drop <= budget]
    best = max(timed[place].speed for place in within)
    level = [place for place in within if timed[place].speed >= best * (1 - TIE)]
    order = list(Precision)
    return min(
        level, key=lambda place: (timed[place].size_bytes, order.index(timed[place].precision))
    )


def reasons(timed: Sequence[Timed], chosen: int, budget: float) -> list[str]:
    """Return in a few words of each why it was chosen or not."""
    return [
        _chosen_because(timed, chosen, budget)
        if place == chosen
        else _left_because(one, timed[chosen], budget)
        for place, one in enumerate(timed)
    ]


def _chosen_because(timed: Sequence[Timed], chosen: int, budget: float) -> str:
    one = timed[chosen]
    others = [other for place, other in enumerate(timed) if place != chosen]
    if any(other.drop <= budget and other.speed > one.speed for other in others):
        return "as fast as the fastest within the budget, and smaller or more exact"
    return "the fastest within the budget"


def _left_because(one: Timed, chosen: Timed, budget: float) -> str:
    if one.drop > budget:
        return f"loses {one.drop:.4f}"
    if one.speed < chosen.speed * (1 - TIE):
        return f"{one.speed:.2f}x"
    if one.size_bytes > chosen.size_bytes:
        return f"as fast, {one.size_bytes / chosen.size_bytes:.1f}x the size"
    return "as fast and as large, less exact"


def sentence(timed: Sequence[Timed], chosen: int, budget: float) -> str:
    """Return the choice and why, on one line."""
    one = timed[chosen]
    kept = f" with {len(one.kept)} layers in floating point" if one.kept else ""
    words = [
        f"{one.precision}{kept}: {one.speed:.2f}x fp32, "
        f"AUROC drop {one.drop:.4f} of {budget:g} allowed"
    ]
    for place, other in enumerate(timed):
        if place != chosen and (one.precision, other.precision) != (Precision.INT8,) * 2:
            words.append(f"{other.precision} {_left_because(other, one, budget)}")
    return "; ".join(words)


class Trials:
    """Candidates of all precisions, as many as it takes to choose."""

    def __init__(
        self, workshop: Workshop, guard: Guard, watcher: Watcher, *, asked: tuple[str, ...]
    ) -> None:
        """Remember what to try with; arguments as `Int8` takes them."""
        self._workshop, self._guard, self._watcher = workshop, guard, watcher
        self._int8 = Int8(workshop, guard, watcher, asked=asked)

    def choose(self, budget: float) -> tuple[list[Judged], list[Timed], int]:
        """Try every precision of the device; return all tried, timed, and the place of the best.

        INT8 that breaks the budget is only repaired when it is faster than what keeps it: layers
        turned back make nothing faster.
        """
        tried = [self._judged(one) for one in precisions(self._guard.device)]
        timed = self._time(tried)
        for judged, one in list(zip(tried, timed, strict=True)):
            best = timed[pick(timed, budget)]
            if one.precision is Precision.INT8 and one.drop > budget:
                if one.speed * (1 - TIE) <= best.speed:
                    self._watcher.say("int8 breaks the budget and is no faster: left as it is")
                else:
                    tried.append(self._int8.within(judged, budget))
                    timed = self._time(tried)
        return tried, timed, pick(timed, budget)

    def _judged(self, precision: Precision) -> Judged:
        if precision is Precision.INT8:
            return self._int8.make()
        if precision is Precision.FP32:
            return Judged(self._workshop.fp32(), self._guard.reference)
        candidate = self._workshop.halves(precision)
        found = Judged(candidate, self._guard.judge(candidate.artifact))
        self._watcher.say(f"{precision}: mean AUROC drop {found.verdict.drop:.4f}")
        return found

    def _time(self, tried: Sequence[Judged]) -> list[Timed]:
        self._watcher.say(f"timing {len(tried)} candidates in turns on {self._guard.device}")
        engines = [
            compile_artifact(one.candidate.artifact, self._guard.device, hint="throughput")
            for one in tried
        ]
        return [
            _timed(one.candidate, one.verdict.drop, speed)
            for one, speed in zip(tried, timing.relative_rates(engines), strict=True)
        ]


def _timed(candidate: Candidate, drop: float, speed: float) -> Timed:
    size_bytes = candidate.artifact.card.size_bytes
    return Timed(candidate.precision, candidate.kept, drop, speed, size_bytes)
