"""Whether a network became slower: a run against an earlier one, or two artifacts in turns.

Only what was measured is compared, and only with what was measured on the same hardware. A loss
counts when it is sure: when all of its interval lies beyond the limit.
"""

import codecs
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import ValidationError

from thorax.artifact import Artifact, load
from thorax.benchmark.confidence import (
    ANSWERS,
    CONFIDENCE,
    FEWEST,
    FEWEST_TURNS,
    median_of_turns,
    ratio_of_runs,
)
from thorax.devices import timing
from thorax.devices.describe import describe, environment
from thorax.devices.engine import Engine
from thorax.errors import DataError, ModelError, UsageError
from thorax.metrics import Interval
from thorax.results.benchmark import (
    Baseline,
    BaselineComparison,
    BenchmarkResult,
    MetricChange,
    Scenario,
    Verdict,
    read_undamaged,
)
from thorax.results.schema import first_problem

MAX_LOSS: Final = 0.05
ROUNDS: Final = 15
"""Turns of each artifact: the interval of their median lies between the 4th and the 12th."""

_IN_TURNS: Final = ("offline", "single-stream")
"""Scenarios that two artifacts can take turns in."""

_SAME: Final = {
    "topology": "network",
    "precision": "precision",
    "compute": "arithmetic",
    "device": "device",
    "scenario": "scenario",
    "samples_per_query": "images of a query",
    "latency_limit_ms": "latency limit",
}
"""What must be the same in both results, or their ratio says nothing of a loss."""

_MAY_DIFFER: Final = {
    "digest": "artifact",
    "streams": "streams",
    "batch": "batch",
    "rate": "rate of arrivals",
}
"""What may differ, and is reported: weights, and what a version chooses for itself."""


def require_limits(max_loss: float, rounds: int) -> None:
    """Refuse a limit or a number of turns that says nothing.

    Raises:
        UsageError: `baseline-limit` or `baseline-rounds`.
    """
    if not 0 <= max_loss < 1:
        raise UsageError(
            "baseline-limit", f"--max-loss is {max_loss}; it takes a fraction from 0 to below 1"
        )
    if rounds < FEWEST_TURNS:
        raise UsageError(
            "baseline-rounds",
            f"--rounds is {rounds}; fewer than {FEWEST_TURNS} turns have no interval of "
            f"{CONFIDENCE:.0%}",
        )


def read_baseline(path: Path) -> BenchmarkResult:
    """Return the result of an earlier `thorax benchmark --json`.

    Raises:
        DataError: as `read_undamaged`, `baseline-not-a-benchmark` for another document or one
            whose figures are none, or `baseline-no-slices` for one that tells no spread: whatever
            were lost against it, no loss would be sure.
    """
    content = read_undamaged(path).removeprefix(codecs.BOM_UTF8)
    try:
        baseline = Baseline.model_validate_json(content, strict=True, extra="ignore")
    except ValidationError as error:
        raise DataError(
            "baseline-not-a-benchmark",
            f"{path} is no document of `thorax benchmark` ({first_problem(error)}); give what it "
            "printed with --json, or an artifact",
        ) from error
    if baseline.slices is None or len(baseline.slices.images_per_s) < FEWEST:
        raise DataError(
            "baseline-no-slices",
            f"{path} has fewer than {FEWEST} slices of its window, so that no loss against it is "
            "ever sure; measure it anew, with a longer --duration where answers were few, or give "
            "its artifact",
        )
    return baseline


def require_comparable(run: BenchmarkResult, baseline: BenchmarkResult, *, name: str) -> None:
    """Refuse a baseline of other hardware, another network or another way of measuring.

    The run of now may lack what only measuring tells.

    Raises:
        UsageError: `baseline-simulated`, `baseline-hardware` or `baseline-other`.
    """
    for result, whose in ((run, "this run"), (baseline, name)):
        _refuse_emulation(whose, simulated=result.simulated)
    here, there = run.hardware, baseline.hardware
    if here != there:
        raise UsageError(
            "baseline-hardware",
            f"{name} was measured on {there or 'hardware that it does not name'}, and this is "
            f"{here or 'unnamed'}: speeds of different machines say nothing of a loss; measure the "
            "baseline here, or give its artifact",
        )
    other = [f"{what} {then} and not {now}" for what, now, then in _unlike(run, baseline, _SAME)]
    if other:
        raise UsageError(
            "baseline-other",
            f"{name} has {', '.join(other)}; give a baseline that was measured the same way, or an "
            "artifact to measure in turns with this one",
        )


def _unlike(
    run: BenchmarkResult, baseline: BenchmarkResult, fields: Mapping[str, str]
) -> list[tuple[str, object, object]]:
    """Return name, value now and value then of the fields that both results give and differ in."""
    both = run.model_fields_set & baseline.model_fields_set
    values = [
        (what, getattr(run, field), getattr(baseline, field))
        for field, what in fields.items()
        if field in both
    ]
    return [(what, now, then) for what, now, then in values if now != then]


def _refuse_emulation(whose: str, *, simulated: bool) -> None:
    if simulated:
        raise UsageError(
            "baseline-simulated",
            f"{whose} has a simulated card in it, whose time is that of its emulation; compare "
            "what was measured",
        )


Compare = Callable[[BenchmarkResult], BaselineComparison]
"""Takes the result of a run, and compares."""


def open_baseline(
    path: Path,
    engine: Engine,
    scenario: Scenario,
    *,
    prepare: Callable[[Artifact], Engine],
    duration_s: float,
    rounds: int = ROUNDS,
    max_loss: float = MAX_LOSS,
) -> Compare:
    """Return what compares a run with a baseline; what cannot be is refused before it is measured.

    The baseline is what `thorax benchmark --json` printed, or the folder of an artifact, which
    `prepare` compiles as `engine` was: both are then measured in so many turns of each, for
    `duration_s` in all. `max_loss` is the fraction of speed that may be lost.

    Raises:
        UsageError: `baseline-scenario` for turns in another scenario than offline and
            single-stream; as `require_limits` and `require_comparable`.
        DataError: as `read_baseline`.
        ModelError: as `thorax.artifact.load`.
    """
    require_limits(max_loss, rounds)
    if not path.is_dir():
        earlier = read_baseline(path)
        # What is known before anything is measured.
        expected = BenchmarkResult(
            **dict(describe(engine)), scenario=scenario, images_per_s=0, environment=environment()
        )
        require_comparable(expected, earlier, name=path.name)

        def compare(result: BenchmarkResult) -> BaselineComparison:
            require_comparable(result, earlier, name=path.name)
            return compare_runs(result, earlier, name=path.name, max_loss=max_loss)

        return compare
    if scenario not in _IN_TURNS:
        raise UsageError(
            "baseline-scenario",
            f"scenario is {scenario}; artifacts take turns in {' and '.join(_IN_TURNS)}: give the "
            "document of an earlier run",
        )
    rival = prepare(load(path))
    for compared, name in ((engine, "this run"), (rival, path.name)):
        _refuse_emulation(name, simulated=compared.simulated)
    return lambda _: compare_in_turns(
        (engine, rival),
        scenario,
        name=path.name,
        duration_s=duration_s,
        rounds=rounds,
        max_loss=max_loss,
    )


def compare_runs(
    run: BenchmarkResult, baseline: BenchmarkResult, *, name: str, max_loss: float = MAX_LOSS
) -> BaselineComparison:
    """Compare a run with an earlier one that is comparable, as `require_comparable` has it.

    Images per second are judged; in the server scenario, where images come at a given rate, the
    99th percentile of latency, if the rate is the same. An interval tells the noise within both
    windows; what differs from one day to another it cannot know.
    """
    pair = _Pair(run, baseline, max_loss)
    server = run.scenario == "server"
    tail = pair.tail(judged=server)
    metrics = [pair.rate(judged=not (server and tail)), tail, pair.efficiency()]
    judged_first = sorted(filter(None, metrics), key=lambda metric: not metric.judged)
    verdict = judged_first[0].verdict
    return BaselineComparison(
        baseline=name,
        how="earlier run",
        max_loss=max_loss,
        metrics=tuple(judged_first),
        differences=tuple(pair.differences()),
        rounds=None,
        advice=pair.advice() if verdict == "undecided" else "",
        confidence=CONFIDENCE,
        verdict=verdict,
    )


def compare_in_turns(
    engines: Sequence[Engine],
    scenario: str,
    *,
    name: str,
    duration_s: float,
    rounds: int = ROUNDS,
    max_loss: float = MAX_LOSS,
) -> BaselineComparison:
    """Compare two artifacts in one run, turn by turn, so that both meet the same machine.

    What else it does reaches both, and need not slow both alike: under load the ratio is that of a
    busy machine.

    This one and the baseline are compiled alike, and each is measured for `duration_s` in all. The
    scenario is offline, which compares images/s, or single-stream, answers/s one at a time;
    `max_loss`, 0 to below 1, is the fraction of it that may be lost.
    """
    rate = timing.images_per_s if scenario == "offline" else timing.answers_per_s
    rates = timing.in_turns(engines, rate, rounds=rounds, window_s=duration_s / rounds)
    now, other = (float(value) for value in np.median(rates, axis=0))
    interval = median_of_turns((rates[:, 0] / rates[:, 1]).tolist())
    assert interval is not None
    key = "images_per_s" if scenario == "offline" else "answers_per_s"
    metric = _metric(key, now, other, interval, max_loss, judged=True)
    cards = [engine.artifact.card for engine in engines]
    facts: dict[str, list[object]] = {
        "artifact": [card.name for card in cards],
        "network": [card.topology for card in cards],
        "precision": [engine.precision.value for engine in engines],
        "arithmetic": [engine.compute for engine in engines],
        "streams": [engine.streams for engine in engines],
        "batch": [engine.batch for engine in engines],
    }
    return BaselineComparison(
        baseline=name,
        how="in turns",
        max_loss=max_loss,
        metrics=(metric,),
        differences=tuple(
            f"{what}: {there} there, {here} here"
            for what, (here, there) in facts.items()
            if here != there
        ),
        rounds=rounds,
        advice="measure longer, or more --rounds" if metric.verdict == "undecided" else "",
        confidence=CONFIDENCE,
        verdict=metric.verdict,
    )


def require_held(comparison: BaselineComparison) -> None:
    """Fail for a loss that is sure.

    Raises:
        ModelError: `speed-loss` when all of the interval lies beyond the limit.
    """
    judged = comparison.judged
    if judged.verdict == "loss":
        raise ModelError(
            "speed-loss",
            f"{judged.title}: {judged.change} against {comparison.baseline}; "
            f"allowed is a loss of {comparison.max_loss:.1%}; allow more with --max-loss, or see "
            "what changed",
        )


_NOT_OF_RUN: Final = ("modelled", "replayed")
"""Watts that no meter read during the run."""


@dataclass(frozen=True, slots=True)
class _Pair:
    run: BenchmarkResult
    baseline: BenchmarkResult
    max_loss: float

    @property
    def both(self) -> tuple[BenchmarkResult, BenchmarkResult]:
        return self.run, self.baseline

    def rate(self, *, judged: bool) -> MetricChange:
        now, then = self.run.images_per_s, self.baseline.images_per_s
        # Where images come at a given rate, their spread is that of the arrivals.
        slices = [] if self.run.scenario == "server" else [r.slices for r in self.both if r.slices]
        interval = _interval(now / then, [parts.images_per_s for parts in slices])
        return _metric("images_per_s", now, then, interval, self.max_loss, judged=judged)

    def tail(self, *, judged: bool) -> MetricChange | None:
        """Return how the 99th percentile of latency changed; None where it is not comparable."""
        now, then = self.run.latency_ms.p99, self.baseline.latency_ms.p99
        # Offline a latency is that of a batch beside others; under arrivals it follows their rate.
        fields = {"offline": ("batch", "streams"), "server": ("rate",)}.get(self.run.scenario, ())
        alike = all(getattr(self.run, key) == getattr(self.baseline, key) for key in fields)
        if not now or not then or not alike:
            return None
        slices = [result.slices.latency_p99_ms for result in self.both if result.slices]
        interval = _interval(now / then, slices)
        return _metric(
            "latency_p99_ms", now, then, interval, self.max_loss, judged=judged, lower=True
        )

    def efficiency(self) -> MetricChange | None:
        """Return how images per second and watt changed; None without one meter of both."""
        now, then = self.run.images_per_s_per_w, self.baseline.images_per_s_per_w
        unsure = any(map(self._watts_are, _NOT_OF_RUN))
        one_meter = self.run.energy_source == self.baseline.energy_source
        if not now or not then or unsure or not one_meter:
            return None
        return _metric("images_per_s_per_w", now, then, None, self.max_loss, judged=False)

    def _watts_are(self, kind: str) -> bool:
        return any(getattr(result.power, kind, False) for result in self.both)

    def advice(self) -> str:
        """Return what to do where an interval is missing or too wide."""
        run, then = self.run, self.baseline.rate
        if run.scenario == "server" and then != run.rate:
            return f"arrivals differ: give --rate {then}" if then else "the baseline names no rate"
        if run.slices and len(run.slices.images_per_s) >= FEWEST:
            return "measure longer"
        answers = (run.images or 0) / (run.batch or 1)
        if not answers or not run.window_s:
            return "this run had too few answers: measure longer"
        needed_s = run.window_s * FEWEST * ANSWERS / answers
        return f"this run had too few answers: give --duration {_longer(needed_s):g}"

    def differences(self) -> Iterator[str]:
        """Yield what is not the same in both and may be the reason of a change."""
        run, baseline = self.run, self.baseline
        for what, now, then in _unlike(run, baseline, _MAY_DIFFER):
            yield f"{what}: {_shortened(then)} then, {_shortened(now)} now"
        for field, what in {"openvino": "OpenVINO", "thorax": "Thorax"}.items():
            now, then = (getattr(result.environment, field, None) for result in self.both)
            if now != then:
                yield f"{what}: {then} then, {now} now"
        if run.energy_source != baseline.energy_source:
            yield (
                f"meter: {baseline.energy_source} then, {run.energy_source} now, so that watts are "
                "not compared"
            )
        for kind in filter(self._watts_are, _NOT_OF_RUN):
            yield f"watts are {kind} in one of them, and are not compared"
        for result, whose in ((run, "this run"), (baseline, "the baseline")):
            if result.valid is False:
                reasons = "; ".join(result.invalid_because) or "no reason told"
                yield f"{whose} was not valid: {reasons}"
        if not all(result.slices and result.slices.images_per_s for result in self.both):
            yield "one of them has too few slices, so that no interval is known"


def _longer(duration_s: float) -> float:
    """Return a round duration, a fifth longer at least, for a rate is never the same twice."""
    step = 10.0 ** math.floor(math.log10(1.2 * duration_s))
    return float(math.ceil(1.2 * duration_s / step) * step)


def _interval(ratio: float, slices: Sequence[Sequence[float]]) -> Interval | None:
    """Return the interval of a ratio; None unless both runs have slices."""
    if len(slices) < 2 or not all(slices):
        return None
    return ratio_of_runs(ratio, *slices)


def _metric(
    name: str,
    value: float,
    baseline: float,
    interval: Interval | None,
    max_loss: float,
    *,
    judged: bool,
    lower: bool = False,
) -> MetricChange:
    verdict: Verdict = "undecided"
    if interval:
        limit = 1 + max_loss if lower else 1 - max_loss
        worst, best = (interval.high, interval.low) if lower else (interval.low, interval.high)
        beyond, within = (best > limit, worst <= limit) if lower else (best < limit, worst >= limit)
        verdict = "loss" if beyond else "held" if within else "undecided"
    return MetricChange(
        name=name,
        value=value,
        baseline=baseline,
        ratio=interval.value if interval else value / baseline,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        better="lower" if lower else "higher",
        judged=judged,
        verdict=verdict,
    )


def _shortened(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"
