"""The fastest precision of a device that keeps an AUROC budget: tried, judged and timed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from thorax.artifact import Precision, Trial
from thorax.data.store import Store
from thorax.devices import timing
from thorax.devices.core import simulates, takes
from thorax.devices.engine import compile as compile_artifact
from thorax.errors import ModelError
from thorax.metrics import Intervals
from thorax.quantization.accuracy_budget import SPLIT, Guard, Verdict, Watcher, doubt
from thorax.quantization.candidates import Candidate, Workshop
from thorax.quantization.card_accuracy import bounds
from thorax.quantization.mixed_precision import Int8, Judged
from thorax.quantization.quantize import quantize

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
    """Return what artifacts a device string runs as they are meant, FP32 first.

    FP16 is among them on a CPU, where it is a way to store weights that are computed in FP32, and
    FP32 and FP16 on an FPGA card, which computes both in the format of its bitstream.

    Raises:
        DeviceError: `device-unknown`.
    """
    return tuple(one for one in Precision if takes(device, one))


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
    if _slower(one, chosen):
        return f"{1 - one.speed / chosen.speed:.0%} slower than {chosen.precision}"
    if one.size_bytes > chosen.size_bytes:
        return f"as fast, {one.size_bytes / chosen.size_bytes:.1f}x the size"
    return "as fast and as large, less exact"


def _slower(one: Timed, chosen: Timed) -> bool:
    return one.speed < chosen.speed * (1 - TIE)


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
            slower = other.drop <= budget and _slower(other, one)
            told = f"{other.speed:.2f}x" if slower else _left_because(other, one, budget)
            words.append(f"{other.precision} {told}")
    return "; ".join(words)


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The candidate that is taken.

    Attributes:
        candidate: its files.
        verdict: what it costs; None where nothing could judge.
        bounds: that cost with intervals; None likewise.
        tried: all that were judged, for the card; empty where nothing was to be chosen.
        why: the choice on one line; None where the user made it.
    """

    candidate: Candidate
    verdict: Verdict | None = None
    bounds: Intervals | None = None
    tried: tuple[Trial, ...] = ()
    why: str | None = None


class Chooser:
    """Makes candidates of a source until one is what was asked for."""

    def __init__(
        self,
        workshop: Workshop,
        store: Store | None,
        guard: Guard | None,
        watcher: Watcher,
        *,
        asked: tuple[str, ...] = (),
    ) -> None:
        """Remember what to choose by.

        Args:
            workshop: makes candidates.
            store: calibrates INT8.
            guard: judges, where there is something to judge by.
            watcher: is told.
            asked: layers that the user wants in floating point.
        """
        self._workshop, self._store, self._guard = workshop, store, guard
        self._watcher, self._asked = watcher, asked

    def named(self, precision: Precision, budget: float | None) -> Choice:
        """Return a candidate of one precision; without a guard it is not judged.

        Raises:
            ModelError: `auroc-budget`.
        """
        guard = self._guard
        if guard is None or (budget is None and precision not in precisions(guard.device)):
            return Choice(self._unjudged(precision))
        search = Int8(self._workshop, guard, self._watcher, asked=self._asked)
        found = self._judged(precision, guard, search)
        if budget is None:
            return Choice(found.candidate, found.verdict, guard.bounds(found.verdict))
        if precision is Precision.INT8:
            found = search.within(found, budget)
        if found.verdict.drop > budget:
            raise _broken(found, budget, guard)
        judged = search.judged or [found]
        words = ["keeps the budget" if one is found else _aside(one, budget) for one in judged]
        trials = [
            _trial(one, guard, chosen=one is found, reason=reason)
            for one, reason in zip(judged, words, strict=True)
        ]
        return self._settled(guard, found, budget, trials)

    def fastest(self, budget: float) -> Choice:
        """Return the fastest candidate of the guard's device that keeps the budget.

        INT8 that breaks it is repaired only where it is faster than what keeps it: layers turned
        back to floating point make nothing faster. With an FPGA card FP16 is not tried, as the card
        makes the weights of FP11 of it.

        Raises:
            ModelError: `auroc-budget` where a card's format breaks it, whatever the artifact.
        """
        guard = self._guard
        assert guard is not None
        search = Int8(self._workshop, guard, self._watcher, asked=self._asked)
        wanted = precisions(guard.device)
        if Precision.FP11 in wanted:
            wanted = tuple(one for one in wanted if one is not Precision.FP16)
        tried = [self._judged(one, guard, search) for one in wanted]
        best = min(tried, key=lambda one: one.verdict.drop)
        if best.verdict.drop > budget:
            raise _broken(best, budget, guard)
        timed = self._time(tried, guard.device)
        bare = next((one for one in timed if one.precision is Precision.INT8), None)
        if bare is not None and bare.drop > budget:
            if bare.speed * (1 - TIE) <= timed[pick(timed, budget)].speed:
                self._watcher.say("int8 breaks the budget and is no faster: not repaired")
            else:
                tried.append(search.within(search.judged[0], budget))
                timed = self._time(tried, guard.device)
        place = pick(timed, budget)
        trials = [
            _trial(judged, guard, chosen=number == place, reason=reason, speed=one.speed)
            for number, (judged, one, reason) in enumerate(
                zip(tried, timed, reasons(timed, place, budget), strict=True)
            )
        ]
        trials += [
            _trial(one, guard, chosen=False, reason=_aside(one, budget))
            for one in search.judged
            if one not in tried
        ]
        why = sentence(timed, place, budget)
        self._watcher.say(why)
        return self._settled(guard, tried[place], budget, trials, why)

    def _unjudged(self, precision: Precision) -> Candidate:
        if precision is Precision.FP32:
            return self._workshop.fp32()
        if precision is not Precision.INT8:
            return self._workshop.halves(precision)
        assert self._store is not None
        self._watcher.say("calibrating int8")
        lowered = quantize(self._workshop.model, self._store, kept=self._asked)
        return self._workshop.write(precision, lowered, self._asked)

    def _judged(self, precision: Precision, guard: Guard, search: Int8) -> Judged:
        if precision is Precision.INT8:
            return search.make()
        if precision is Precision.FP32 and not simulates(guard.device):
            return Judged(self._workshop.fp32(), guard.reference)
        candidate = self._unjudged(precision)
        found = Judged(candidate, guard.judge(candidate.artifact))
        self._watcher.say(f"{precision}: mean AUROC drop {found.verdict.drop:.4f}")
        return found

    def _time(self, tried: Sequence[Judged], device: str) -> list[Timed]:
        return [
            Timed(
                one.candidate.precision,
                one.candidate.kept,
                one.verdict.drop,
                speed,
                one.candidate.artifact.card.size_bytes,
            )
            for one, speed in zip(tried, self._speeds(tried, device), strict=True)
        ]

    def _speeds(self, tried: Sequence[Judged], device: str) -> Sequence[float]:
        """Return images per second over those of the first."""
        if simulates(device):
            self._watcher.say(f"{device} takes as long whatever an artifact stores: not timed")
            return [1.0] * len(tried)
        self._watcher.say(f"timing {len(tried)} candidates in turns on {device}")
        engines = [
            compile_artifact(one.candidate.artifact, device, hint="throughput") for one in tried
        ]
        return timing.relative_rates(engines)

    def _settled(
        self,
        guard: Guard,
        found: Judged,
        budget: float,
        trials: Sequence[Trial],
        why: str | None = None,
    ) -> Choice:
        intervals = guard.bounds(found.verdict)
        kept = found.candidate.kept
        if kept:
            self._watcher.say(f"kept in floating point: {', '.join(kept)}")
        if found.candidate.precision is not Precision.FP32 and (
            uncertain := doubt(intervals.mean, budget)
        ):
            self._watcher.say(uncertain)
        return Choice(found.candidate, found.verdict, intervals, tuple(trials), why)


def _trial(
    one: Judged, guard: Guard, *, chosen: bool, reason: str, speed: float | None = None
) -> Trial:
    return Trial(
        precision=one.candidate.precision,
        kept=one.candidate.kept,
        auroc_drop=one.verdict.drop,
        auroc_drop_interval=bounds(guard.bounds(one.verdict).mean),
        speed=speed,
        size_bytes=one.candidate.artifact.card.size_bytes,
        chosen=chosen,
        reason=reason,
    )


def _aside(one: Judged, budget: float) -> str:
    """Return why a step of the search for layers was not the last."""
    if one.verdict.drop > budget:
        return f"loses {one.verdict.drop:.4f}"
    return "keeps more layers in floating point than are needed"


def _broken(best: Judged, budget: float, guard: Guard) -> ModelError:
    card, drop = best.candidate.artifact.card, best.verdict.drop
    kept = best.candidate.kept
    how = f" with {len(kept)} layers in floating point ({', '.join(kept)})" if kept else ""
    return ModelError(
        "auroc-budget",
        f"{card.precision} loses {drop:.4f} of the mean AUROC on the {SPLIT} split of "
        f"{guard.store.path.name}{how}, the least that was reached; allowed is {budget:g}: allow "
        "more with --max-auroc-drop, or take another --precision, or auto; nothing was written",
    )
