"""Speed of artifacts: tables of a run, of its comparison with a baseline, of settings tried."""

from collections.abc import Sequence
from typing import Final

from thorax.report.series import EMULATED, precision_text
from thorax.report.table import Table, table_of
from thorax.report.text import number_text, rate_text
from thorax.results.benchmark import BaselineComparison, BenchmarkResult, MetricChange, TuningResult

_FORMS: Final = {"latency_p99_ms": ".1f", "images_per_s_per_w": ".2f"}
"""Of the figures that are no rates."""


def speed_table(results: Sequence[BenchmarkResult]) -> Table:
    """Return speed and power, one row a result of `benchmark`."""
    powered = [result for result in results if result.power_w is not None]
    meters = dict.fromkeys(result.energy_source for result in powered)
    note = f"Power from {', '.join(meters)}." if powered else "No power meter was read."
    if any(result.power and result.power.modelled for result in results):
        note += " * modelled, not measured."
    if any(result.power and result.power.replayed for result in results):
        note += " † replayed, read at another time."
    if any(result.simulated for result in results):
        note += f" {EMULATED}"
    columns = {
        "Precision": precision_text,
        "Device": lambda result: result.device,
        "Scenario": _scenario_text,
        "Streams": lambda result: number_text(result.streams, "d"),
        "Images/s": lambda result: rate_text(result.images_per_s),
        "× FP32": lambda result: _speedup_text(result, results),
        "p50 ms": lambda result: number_text(result.latency_ms.p50, ".1f"),
        "p90 ms": lambda result: number_text(result.latency_ms.p90, ".1f"),
        "p99 ms": lambda result: number_text(result.latency_ms.p99, ".1f"),
        "W": lambda result: _power_texts(result)[0],
        "Img/s/W": lambda result: _power_texts(result)[1],
        "How": lambda result: (
            ("emulated" if result.simulated else "measured")
            + (", INVALID" if result.valid is False else "")
        ),
    }
    return table_of("Speed", results, columns, note=note, simulated=lambda result: result.simulated)


def _scenario_text(result: BenchmarkResult) -> str:
    rate = result.scheduled_images_per_s
    return result.scenario + (f" at {rate_text(rate)}/s" if rate else "")


def _speedup_text(result: BenchmarkResult, results: Sequence[BenchmarkResult]) -> str:
    """Return the speed over that of the fp32 run that differs in its precision alone.

    An emulation has none: what it stores, it computes in the arithmetic of a card.
    """
    references = [
        other
        for other in results
        if other.precision.lower() == "fp32"
        and other.images_per_s
        and (other.device, other.scenario) == (result.device, result.scenario)
        and not other.simulated
    ]
    if result.simulated or len(references) != 1:
        return ""
    return f"{result.images_per_s / references[0].images_per_s:.2f}"


def _power_texts(result: BenchmarkResult) -> tuple[str, str]:
    """Return watts and efficiency, marked where they were computed or are of another time."""
    efficiency = None if result.simulated else result.images_per_s_per_w
    power = result.power
    mark = "*" * bool(power and power.modelled) + "†" * bool(power and power.replayed)
    texts = (number_text(result.power_w, ".1f"), number_text(efficiency, ".3g"))
    watts, per_watt = (text and f"{text}{mark}" for text in texts)
    return watts, per_watt


def comparison_table(comparison: BaselineComparison) -> Table:
    """Return the figures of a run and of its baseline, a row each."""
    turns = comparison.how == "in turns"
    confidence = f"{comparison.confidence:.0%}"
    note = (
        f"In {comparison.rounds} turns. Change: median of the ratios of the turns, in brackets its "
        f"{confidence} interval; it is not the ratio of the two medians beside it, "
        "which hold what the machine did from turn to turn."
        if turns
        else f"In brackets: {confidence} interval of the noise within both windows; "
        "what differed between the days it cannot know."
    )
    if comparison.differences:
        note += f" Not the same: {'; '.join(comparison.differences)}."
    now, then = ("Median now", "Of baseline") if turns else ("Now", "Baseline")
    return table_of(
        f"Against {comparison.baseline}, a loss of {comparison.max_loss:.1%} allowed",
        comparison.metrics,
        {
            "": lambda metric: metric.title,
            now: lambda metric: _figure(metric, metric.value),
            then: lambda metric: _figure(metric, metric.baseline),
            "Change": lambda metric: metric.change,
            "Verdict": lambda metric: _verdict(metric, comparison.advice or "measure longer"),
        },
        note=note,
    )


def _figure(metric: MetricChange, value: float) -> str:
    form = _FORMS.get(metric.name)
    return number_text(value, form) if form else rate_text(value)


def _verdict(metric: MetricChange, advice: str) -> str:
    if not metric.judged:
        return "told, not judged"
    verdicts = {"loss": "sure loss", "held": "held", "undecided": f"undecided: {advice}"}
    return verdicts[metric.verdict]


def tuning_table(result: TuningResult) -> Table:
    """Return every setting that was tried, and which was chosen."""
    limit_ms = (result.tuned or result).latency_limit_ms
    limit = "no limit of latency" if limit_ms is None else f"99 % within {limit_ms:g} ms"
    stored = (
        "The best of each artifact and device is in its card."
        if result.tuned
        else "No setting keeps it, and nothing is stored."
    )
    return table_of(
        "Settings tried in turns",
        result.tried,
        {
            "Model": lambda setting: setting.model,
            "Precision": lambda setting: setting.precision,
            "Device": lambda setting: setting.device,
            "Streams": lambda setting: str(setting.streams),
            "Batch": lambda setting: str(setting.batch),
            "Images/s": lambda setting: rate_text(setting.images_per_s),
            "p50 ms": lambda setting: number_text(setting.p50_ms, ".1f"),
            "p99 ms": lambda setting: number_text(setting.p99_ms, ".1f"),
            "Why": lambda setting: ("chosen: " if setting.chosen else "") + setting.reason,
        },
        note=f"All streams busy, {limit}. {stored}",
        simulated=lambda setting: bool(setting.simulated),
    )
