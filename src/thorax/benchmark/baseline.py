"""Whether a network became slower: a run against an earlier one, or two artifacts in turns.

Only what was measured is compared, and only with what was measured on the same hardware. A loss
counts when it is sure: when all of its interval lies beyond the limit.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from thorax.artifact import Artifact, load
from thorax.benchmark.baseline_file import read_baseline
from thorax.benchmark.confidence import (
    ANSWERS,
    CONFIDENCE,
    FEWEST,
    FEWEST_TURNS,
    Interval,
    median_of_turns,
    ratio_of_runs,
)
from thorax.benchmark.run import describe, environment
from thorax.devices import timing
from thorax.devices.engine import Engine
from thorax.errors import ModelError, UsageError

Document = Mapping[str, Any]

MAX_LOSS: Final = 0.05
ROUNDS: Final = 15
"""Turns of each artifact: the interval of their median lies between the 4th and the 12th."""

Verdict = Literal["loss", "held", "undecided"]

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
"""What must be the same in both documents, or their ratio says nothing of a loss."""

_TOLD: Final = {
    "digest": "artifact",
    "streams": "streams",
    "batch": "batch",
    "rate": "rate of arrivals",
}
"""What may differ, and is told: weights, and what a version chooses for itself."""

_SOFTWARE: Final = {"openvino": "OpenVINO", "thorax": "Thorax"}


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of both.

    Attributes:
        name: key of the figure in a document, such as `images_per_s`.
        value: now.
        baseline: then, or of the other artifact.
        ratio: value / baseline.
        low: its interval; None where the spread of either is not known.
        high: of the interval.
        better: which way is an improvement.
        judged: whether a sure loss of it fails the run; the others are told.
        verdict: of this figure; "undecided" without an interval.
    """

    name: str
    value: float
    baseline: float
    ratio: float
    low: float | None
    high: float | None
    better: Literal["higher", "lower"]
    judged: bool
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing.

    Attributes:
        baseline: name of what was compared with.
        how: "earlier run" or "in turns".
        max_loss: fraction that may be lost.
        metrics: the judged one first.
        differences: what is not the same in both and may be the reason, a line each.
        rounds: turns of each artifact; None of an earlier run.
        advice: what would decide it; "" where it is decided.
    """

    baseline: str
    how: Literal["earlier run", "in turns"]
    max_loss: float
    metrics: tuple[Metric, ...]
    differences: tuple[str, ...] = ()
    rounds: int | None = None
    advice: str = ""

    @property
    def verdict(self) -> Verdict:
        """Of the figure that is judged."""
        return next(one.verdict for one in self.metrics if one.judged)

    def document(self) -> dict[str, Any]:
        """Return what the document of `thorax benchmark` holds under `baseline`."""
        told = asdict(self)
        return {
            **told,
            "metrics": list(told["metrics"]),
            "differences": list(self.differences),
            "confidence": CONFIDENCE,
            "verdict": self.verdict,
        }


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


def require_comparable(mine: Document, baseline: Document, *, name: str) -> None:
    """Refuse a baseline of other hardware, another network or another way of measuring.

    Args:
        mine: of this run; it may lack what only measuring tells.
        baseline: earlier document.
        name: of the baseline, for the message.

    Raises:
        UsageError: `baseline-simulated`, `baseline-hardware` or `baseline-other`.
    """
    for document, whose in ((mine, "this run"), (baseline, name)):
        _refuse_emulation(whose, simulated=bool(document.get("simulated")))
    here, there = hardware(mine), hardware(baseline)
    if here != there:
        raise UsageError(
            "baseline-hardware",
            f"{name} was measured on {there or 'hardware that it does not name'}, and this is "
            f"{here or 'unnamed'}: speeds of different machines say nothing of a loss; measure the "
            "baseline here, or give its artifact",
        )
    other = [
        f"{told} {baseline.get(key)} and not {mine[key]}"
        for key, told in _SAME.items()
        if key in mine and key in baseline and baseline[key] != mine[key]
    ]
    if other:
        raise UsageError(
            "baseline-other",
            f"{name} has {', '.join(other)}; give a baseline that was measured the same way, or an "
            "artifact to measure in turns with this one",
        )


def _refuse_emulation(whose: str, *, simulated: bool) -> None:
    if simulated:
        raise UsageError(
            "baseline-simulated",
            f"{whose} has a simulated card in it, whose time is that of its emulation; compare "
            "what was measured",
        )


def hardware(document: Document) -> str:
    """Return the names of the devices that a document was measured on, and its processors."""
    environment = document.get("environment") or {}
    names = environment.get("devices") or {}
    used = document.get("devices") or [document.get("device")]
    told = [str(names[one]) for one in used if one in names]
    count = environment.get("processors")
    return ", ".join([*told, *([f"{count} processors"] if count else [])])


Compare = Callable[[Document], Comparison]
"""Takes the document of a run that was measured, and compares."""


def open_baseline(
    path: Path,
    engine: Engine,
    scenario: str,
    *,
    prepare: Callable[[Artifact], Engine],
    duration_s: float,
    rounds: int = ROUNDS,
    max_loss: float = MAX_LOSS,
) -> Compare:
    """Return what compares a run with a baseline; what cannot be is refused before it is measured.

    Args:
        path: what `thorax benchmark --json` printed, or the folder of an artifact, which is then
            measured in turns with this one.
        engine: of this run.
        scenario: that it is measured in.
        prepare: compiles an artifact as `engine` was.
        duration_s: that each artifact is measured for in all its turns.
        rounds: turns of each artifact.
        max_loss: fraction of speed that may be lost.

    Raises:
        UsageError: `baseline-scenario` for turns in another scenario than offline and
            single-stream; as `require_limits` and `require_comparable`.
        DataError: as `read_baseline`.
        ModelError: as `thorax.artifact.load`.
    """
    require_limits(max_loss, rounds)
    mine = {**describe(engine), "scenario": scenario, "environment": environment()}
    if not path.is_dir():
        earlier = read_baseline(path)
        require_comparable(mine, earlier, name=path.name)

        def compare(document: Document) -> Comparison:
            require_comparable(document, earlier, name=path.name)
            return compare_runs(document, earlier, name=path.name, max_loss=max_loss)

        return compare
    if scenario not in _IN_TURNS:
        raise UsageError(
            "baseline-scenario",
            f"scenario is {scenario}; artifacts take turns in {' and '.join(_IN_TURNS)}: give the "
            "document of an earlier run",
        )
    rival = prepare(load(path))
    for one, name in ((engine, "this run"), (rival, path.name)):
        _refuse_emulation(name, simulated=one.simulated)
    return lambda _: compare_in_turns(
        (engine, rival),
        scenario,
        name=path.name,
        duration_s=duration_s,
        rounds=rounds,
        max_loss=max_loss,
    )


def compare_runs(
    document: Document, baseline: Document, *, name: str, max_loss: float = MAX_LOSS
) -> Comparison:
    """Compare a run with an earlier one.

    Images per second are judged; in the server scenario, where images come at a given rate, the
    99th percentile of latency, if the rate is the same. An interval tells the noise within both
    windows; what differs from one day to another it cannot know.

    Args:
        document: of this run.
        baseline: comparable, as `require_comparable` has it.
        name: of the baseline.
        max_loss: fraction of speed that may be lost.
    """
    server = document.get("scenario") == "server"
    tail = _tail(document, baseline, max_loss, judged=server)
    metrics = [
        _rate(document, baseline, max_loss, judged=not (server and tail)),
        tail,
        _efficiency(document, baseline, max_loss),
    ]
    found = sorted((one for one in metrics if one), key=lambda one: not one.judged)
    differences = tuple(_differences(document, baseline))
    made = Comparison(name, "earlier run", max_loss, tuple(found), differences)
    if made.verdict != "undecided":
        return made
    return replace(made, advice=_advice(document, baseline))


def _advice(document: Document, baseline: Document) -> str:
    """Return what to do where an interval is missing or too wide."""
    then, now = baseline.get("rate"), document.get("rate")
    if document.get("scenario") == "server" and then != now:
        return f"arrivals differ: give --rate {then}" if then else "the baseline names no rate"
    if len((document.get("slices") or {}).get("images_per_s") or ()) >= FEWEST:
        return "measure longer"
    answers = document.get("images", 0) / (document.get("batch") or 1)
    if not answers or not document.get("window_s"):
        return "this run had too few answers: measure longer"
    needed_s = document["window_s"] * FEWEST * ANSWERS / answers
    return f"this run had too few answers: give --duration {_longer(needed_s):g}"


def _longer(duration_s: float) -> float:
    """Return a round duration, a fifth longer at least, for a rate is never the same twice."""
    step = 10.0 ** math.floor(math.log10(1.2 * duration_s))
    return float(math.ceil(1.2 * duration_s / step) * step)


def compare_in_turns(
    engines: Sequence[Engine],
    scenario: str,
    *,
    name: str,
    duration_s: float,
    rounds: int = ROUNDS,
    max_loss: float = MAX_LOSS,
) -> Comparison:
    """Compare two artifacts in one run, turn by turn: what else the machine does slows both alike.

    Args:
        engines: this one and the baseline, compiled alike.
        scenario: "offline" or "single-stream".
        name: of the baseline.
        duration_s: that each of them is measured for in all.
        rounds: turns of each.
        max_loss: fraction of speed that may be lost.
    """
    rate = timing.images_per_s if scenario == "offline" else timing.answers_per_s
    rates = timing.in_turns(engines, rate, rounds=rounds, window_s=duration_s / rounds)
    mine, other = (float(value) for value in np.median(rates, axis=0))
    found = median_of_turns((rates[:, 0] / rates[:, 1]).tolist())
    assert found is not None
    key = "images_per_s" if scenario == "offline" else "answers_per_s"
    metric = _metric(key, mine, other, found, max_loss, judged=True)
    cards = [one.artifact.card for one in engines]
    told: dict[str, list[object]] = {
        "artifact": [card.name for card in cards],
        "network": [card.topology for card in cards],
        "precision": [one.precision.value for one in engines],
        "arithmetic": [one.compute for one in engines],
        "streams": [one.streams for one in engines],
        "batch": [one.batch for one in engines],
    }
    differences = tuple(f"{what}: {b} there, {a} here" for what, (a, b) in told.items() if a != b)
    advice = "measure longer, or more --rounds" if metric.verdict == "undecided" else ""
    return Comparison(name, "in turns", max_loss, (metric,), differences, rounds, advice)


def require_held(comparison: Comparison) -> None:
    """Fail for a loss that is sure.

    Raises:
        ModelError: `speed-loss` when all of the interval lies beyond the limit.
    """
    judged = next(one for one in comparison.metrics if one.judged)
    if judged.verdict == "loss":
        raise ModelError(
            "speed-loss",
            f"{NAMES[judged.name][0]}: {change_text(judged)} against {comparison.baseline}; "
            f"allowed is a loss of {comparison.max_loss:.1%}; allow more with --max-loss, or see "
            "what changed",
        )


def change_text(metric: Metric) -> str:
    """Return "-7.1% [-8.0%, -6.2%]"; without brackets where the spread is not known."""
    parts = [f"{value - 1:+.1%}" for value in (metric.ratio, metric.low, metric.high) if value]
    return parts[0] if len(parts) == 1 else f"{parts[0]} [{parts[1]}, {parts[2]}]"


NAMES: Final = {
    "images_per_s": ("Images/s", ""),
    "answers_per_s": ("Answers/s, one at a time", ""),
    "latency_p99_ms": ("p99 latency, ms", ".1f"),
    "images_per_s_per_w": ("Images/s/W, whole", ".2f"),
}
"""Of each figure its name, and its form where it is no rate."""


def _rate(
    document: Document, baseline: Document, max_loss: float, *, judged: bool
) -> Metric | None:
    value, other = document["images_per_s"], baseline["images_per_s"]
    # Where images come at a given rate, their spread is that of the arrivals.
    given = document.get("scenario") == "server"
    mine, theirs = (
        () if given else (one.get("slices") or {}).get("images_per_s") or ()
        for one in (document, baseline)
    )
    found = ratio_of_runs(value / other, mine, theirs) if mine and theirs else None
    return _metric("images_per_s", value, other, found, max_loss, judged=judged)


def _tail(
    document: Document, baseline: Document, max_loss: float, *, judged: bool
) -> Metric | None:
    value, other = ((one.get("latency_ms") or {}).get("p99") for one in (document, baseline))
    # Offline a latency is that of a batch beside others; under arrivals it follows their rate.
    keys = {"offline": ("batch", "streams"), "server": ("rate",)}.get(str(document["scenario"]), ())
    alike = all(document.get(key) == baseline.get(key) for key in keys)
    if not value or not other or not alike:
        return None
    mine, theirs = (
        (one.get("slices") or {}).get("latency_p99_ms") or () for one in (document, baseline)
    )
    found = ratio_of_runs(value / other, mine, theirs) if mine and theirs else None
    return _metric("latency_p99_ms", value, other, found, max_loss, judged=judged, lower=True)


_NOT_OF_RUN: Final = ("modelled", "replayed")
"""Watts that no meter read during the run."""


def _power_is(document: Document, kind: str) -> bool:
    return bool((document.get("power") or {}).get(kind))


def _efficiency(document: Document, baseline: Document, max_loss: float) -> Metric | None:
    value, other = (one.get("images_per_s_per_w") for one in (document, baseline))
    unsure = any(_power_is(one, kind) for one in (document, baseline) for kind in _NOT_OF_RUN)
    source = document.get("energy_source") == baseline.get("energy_source")
    if not value or not other or unsure or not source:
        return None
    return _metric("images_per_s_per_w", value, other, None, max_loss, judged=False)


def _metric(
    name: str,
    value: float,
    baseline: float,
    found: Interval | None,
    max_loss: float,
    *,
    judged: bool,
    lower: bool = False,
) -> Metric:
    ratio = found.value if found else value / baseline
    verdict: Verdict = "undecided"
    if found:
        limit = 1 + max_loss if lower else 1 - max_loss
        worst, best = (found.high, found.low) if lower else (found.low, found.high)
        beyond, within = (best > limit, worst <= limit) if lower else (best < limit, worst >= limit)
        verdict = "loss" if beyond else "held" if within else "undecided"
    return Metric(
        name,
        value,
        baseline,
        ratio,
        found.low if found else None,
        found.high if found else None,
        "lower" if lower else "higher",
        judged,
        verdict,
    )


def _differences(document: Document, baseline: Document) -> list[str]:
    told = [
        f"{what}: {_short(baseline[key])} then, {_short(document[key])} now"
        for key, what in _TOLD.items()
        if key in document and key in baseline and document[key] != baseline[key]
    ]
    now, then = (one.get("environment") or {} for one in (document, baseline))
    told += [
        f"{what}: {then.get(key)} then, {now.get(key)} now"
        for key, what in _SOFTWARE.items()
        if now.get(key) != then.get(key)
    ]
    if document.get("energy_source") != baseline.get("energy_source"):
        told.append(
            f"meter: {baseline.get('energy_source')} then, {document.get('energy_source')} now, so "
            "that watts are not compared"
        )
    told += [
        f"watts are {kind} in one of them, and are not compared"
        for kind in _NOT_OF_RUN
        if any(_power_is(one, kind) for one in (document, baseline))
    ]
    told += [
        f"{whose} was not valid: {'; '.join(one.get('invalid_because') or ['no reason told'])}"
        for one, whose in ((document, "this run"), (baseline, "the baseline"))
        if one.get("valid") is False
    ]
    if not all((one.get("slices") or {}).get("images_per_s") for one in (document, baseline)):
        told.append("one of them has too few slices, so that no interval is known")
    return told


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"
