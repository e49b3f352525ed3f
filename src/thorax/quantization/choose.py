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
from thorax.quantization.accuracy_budget import (
    SPLIT,
    AccuracyBudget,
    OnProgress,
    Verdict,
    bounds,
    budget_warning,
)
from thorax.quantization.candidates import Candidate, CandidateBuilder
from thorax.quantization.mixed_precision import Judged, MixedPrecisionSearch
from thorax.quantization.quantize import quantize

TIE: Final = 0.03
"""Share of the fastest's speed that timing on a busy machine does not tell apart."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A candidate as the choice sees it, in figures of its `Trial`."""

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
    return tuple(precision for precision in Precision if takes(device, precision))


def pick(timed: Sequence[Timed], max_drop: float) -> int:
    """Return the index of the fastest that keeps the budget; FP32, which loses nothing, does.

    Of those as fast as it, within `TIE`, the smallest; of those as small, the most exact.
    """
    within = [index for index, candidate in enumerate(timed) if candidate.drop <= max_drop]
    best = max(timed[index].speed for index in within)
    level = [index for index in within if timed[index].speed >= best * (1 - TIE)]
    order = list(Precision)
    return min(
        level, key=lambda index: (timed[index].size_bytes, order.index(timed[index].precision))
    )


def reasons(timed: Sequence[Timed], chosen: int, max_drop: float) -> list[str]:
    """Return in a few words of each why it was chosen or not."""
    best = timed[chosen]
    texts = [_rejected_because(candidate, best, max_drop) for candidate in timed]
    texts[chosen] = "the fastest within the budget"
    if any(other.drop <= max_drop and other.speed > best.speed for other in timed):
        texts[chosen] = "as fast as the fastest within the budget, and smaller or more exact"
    return texts


def _rejected_because(candidate: Timed, chosen: Timed, max_drop: float) -> str:
    if candidate.drop > max_drop:
        return f"loses {candidate.drop:.4f}"
    if _slower(candidate, chosen):
        return f"{1 - candidate.speed / chosen.speed:.0%} slower than {chosen.precision}"
    if candidate.size_bytes > chosen.size_bytes:
        return f"as fast, {candidate.size_bytes / chosen.size_bytes:.1f}x the size"
    return "as fast and as large, less exact"


def _slower(candidate: Timed, chosen: Timed) -> bool:
    return candidate.speed < chosen.speed * (1 - TIE)


def sentence(timed: Sequence[Timed], index: int, max_drop: float) -> str:
    """Return the choice and why, on one line."""
    chosen = timed[index]
    kept = f" with {len(chosen.kept)} layers in floating point" if chosen.kept else ""
    parts = [
        f"{chosen.precision}{kept}: {chosen.speed:.2f}x fp32, "
        f"AUROC drop {chosen.drop:.4f} of {max_drop:g} allowed"
    ]
    for number, other in enumerate(timed):
        if number != index and (chosen.precision, other.precision) != (Precision.INT8,) * 2:
            slower = other.drop <= max_drop and _slower(other, chosen)
            reason = f"{other.speed:.2f}x" if slower else _rejected_because(other, chosen, max_drop)
            parts.append(f"{other.precision} {reason}")
    return "; ".join(parts)


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The candidate that is taken, what it costs, and why.

    Verdict and bounds are None where nothing could judge; `tried` is empty where nothing was to be
    chosen, and `why` None where the user made the choice.
    """

    candidate: Candidate
    verdict: Verdict | None = None
    bounds: Intervals | None = None
    tried: tuple[Trial, ...] = ()
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Chooser:
    """Makes candidates of a source until one is what was asked for.

    The store calibrates INT8, the budget judges, where there is something to judge by; `keep` are
    layers that the user wants in floating point.
    """

    builder: CandidateBuilder
    store: Store | None
    budget: AccuracyBudget | None
    on_progress: OnProgress
    keep: tuple[str, ...] = ()

    def named(self, precision: Precision) -> Choice:
        """Return a candidate of one precision; without a budget's store it is not judged.

        Raises:
            ModelError: `auroc-budget`.
        """
        budget = self.budget
        if budget is None or (
            budget.max_drop is None and precision not in precisions(budget.device)
        ):
            return Choice(self._unjudged(precision))
        search = self._search(budget)
        chosen = self._judged(precision, budget, search)
        if budget.max_drop is None:
            return Choice(chosen.candidate, chosen.verdict, budget.bounds(chosen.verdict))
        if precision is Precision.INT8:
            chosen = search.within(chosen, budget.max_drop)
        if not budget.allows(chosen.verdict):
            raise _broken(chosen, budget)
        trials = [
            _trial(judged, budget, "keeps the budget", chosen=True)
            if judged is chosen
            else _trial(judged, budget)
            for judged in search.judged or [chosen]
        ]
        return self._settled(budget, chosen, trials)

    def fastest(self) -> Choice:
        """Return the fastest candidate of the budget's device that keeps the budget.

        INT8 that breaks it is repaired only where it is faster than what keeps it: layers turned
        back to floating point make nothing faster. With an FPGA card FP16 is not tried, as the card
        makes the weights of FP11 of it.

        Raises:
            ModelError: `auroc-budget` where a card's format breaks it, whatever the artifact.
        """
        budget = self.budget
        assert budget is not None
        max_drop = budget.max_drop
        assert max_drop is not None
        search = self._search(budget)
        wanted = precisions(budget.device)
        if Precision.FP11 in wanted:
            wanted = tuple(each for each in wanted if each is not Precision.FP16)
        tried = [self._judged(precision, budget, search) for precision in wanted]
        best = min(tried, key=lambda judged: judged.verdict.drop)
        if not budget.allows(best.verdict):
            raise _broken(best, budget)
        timed = self._time(tried, budget.device)
        bare = next((each for each in timed if each.precision is Precision.INT8), None)
        if bare is not None and bare.drop > max_drop:
            if bare.speed * (1 - TIE) <= timed[pick(timed, max_drop)].speed:
                self.on_progress.say("int8 breaks the budget and is no faster: not repaired")
            else:
                tried.append(search.within(search.judged[0], max_drop))
                timed = self._time(tried, budget.device)
        index = pick(timed, max_drop)
        explained = zip(tried, timed, reasons(timed, index, max_drop), strict=True)
        trials = [
            _trial(judged, budget, reason, chosen=judged is tried[index], speed=each.speed)
            for judged, each, reason in explained
        ]
        trials += [_trial(judged, budget) for judged in search.judged if judged not in tried]
        why = sentence(timed, index, max_drop)
        self.on_progress.say(why)
        return self._settled(budget, tried[index], trials, why)

    def _search(self, budget: AccuracyBudget) -> MixedPrecisionSearch:
        return MixedPrecisionSearch(self.builder, budget, self.on_progress, keep=self.keep)

    def _unjudged(self, precision: Precision) -> Candidate:
        if precision is Precision.FP32:
            return self.builder.fp32()
        if precision is not Precision.INT8:
            return self.builder.halves(precision)
        assert self.store is not None
        self.on_progress.say("calibrating int8")
        lowered = quantize(self.builder.model, self.store, kept=self.keep)
        return self.builder.write(precision, lowered, self.keep)

    def _judged(
        self, precision: Precision, budget: AccuracyBudget, search: MixedPrecisionSearch
    ) -> Judged:
        if precision is Precision.INT8:
            return search.make()
        if precision is Precision.FP32 and not simulates(budget.device):
            return Judged(self.builder.fp32(), budget.reference)
        candidate = self._unjudged(precision)
        judged = Judged(candidate, budget.judge(candidate.artifact))
        self.on_progress.say(f"{precision}: mean AUROC drop {judged.verdict.drop:.4f}")
        return judged

    def _time(self, tried: Sequence[Judged], device: str) -> list[Timed]:
        """Return the candidates with images per second over those of the first."""
        speeds: Sequence[float] = [1.0] * len(tried)
        if simulates(device):
            self.on_progress.say(f"{device} takes as long whatever an artifact stores: not timed")
        else:
            self.on_progress.say(f"timing {len(tried)} candidates in turns on {device}")
            artifacts = [judged.candidate.artifact for judged in tried]
            engines = [compile_artifact(each, device, hint="throughput") for each in artifacts]
            speeds = timing.relative_rates(engines)
        return [
            Timed(
                judged.candidate.precision,
                judged.candidate.kept,
                judged.verdict.drop,
                speed,
                judged.candidate.artifact.card.size_bytes,
            )
            for judged, speed in zip(tried, speeds, strict=True)
        ]

    def _settled(
        self,
        budget: AccuracyBudget,
        chosen: Judged,
        trials: Sequence[Trial],
        why: str | None = None,
    ) -> Choice:
        intervals = budget.bounds(chosen.verdict)
        kept = chosen.candidate.kept
        if kept:
            self.on_progress.say(f"kept in floating point: {', '.join(kept)}")
        if chosen.candidate.precision is not Precision.FP32 and budget.max_drop is not None:
            warning = budget_warning(intervals.mean, budget.max_drop)
            if warning:
                self.on_progress.say(warning)
        return Choice(chosen.candidate, chosen.verdict, intervals, tuple(trials), why)


def _trial(
    judged: Judged,
    budget: AccuracyBudget,
    reason: str | None = None,
    *,
    chosen: bool = False,
    speed: float | None = None,
) -> Trial:
    """Return a row of the card; without a reason that of a step of the search for layers."""
    drop = judged.verdict.drop
    if reason is None:
        kept = budget.allows(judged.verdict)
        reason = (
            "keeps more layers in floating point than are needed" if kept else f"loses {drop:.4f}"
        )
    return Trial(
        precision=judged.candidate.precision,
        kept=judged.candidate.kept,
        auroc_drop=drop,
        auroc_drop_interval=bounds(budget.bounds(judged.verdict).mean),
        speed=speed,
        size_bytes=judged.candidate.artifact.card.size_bytes,
        chosen=chosen,
        reason=reason,
    )


def _broken(best: Judged, budget: AccuracyBudget) -> ModelError:
    card, drop = best.candidate.artifact.card, best.verdict.drop
    kept = best.candidate.kept
    how = f" with {len(kept)} layers in floating point ({', '.join(kept)})" if kept else ""
    return ModelError(
        "auroc-budget",
        f"{card.precision} loses {drop:.4f} of the mean AUROC on the {SPLIT} split of "
        f"{budget.store.path.name}{how}, the least that was reached; allowed is "
        f"{budget.max_drop:g}: allow more with --max-auroc-drop, or take another --precision, or "
        "auto; nothing was written",
    )
