"""What came of comparing a benchmark with a baseline, as a table."""

from typing import Final

from thorax.report.table import Table
from thorax.report.text import number_text, rate_text
from thorax.results.benchmark import BaselineComparison, MetricChange

_FORMS: Final = {"latency_p99_ms": ".1f", "images_per_s_per_w": ".2f"}
"""Of the figures that are no rates."""


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
    figures = ("Median now", "Of baseline") if turns else ("Now", "Baseline")
    return Table(
        f"Against {comparison.baseline}, a loss of {comparison.max_loss:.1%} allowed",
        ("", *figures, "Change", "Verdict"),
        tuple(
            (
                metric.title,
                _figure(metric, metric.value),
                _figure(metric, metric.baseline),
                metric.change,
                _verdict(metric, comparison.advice or "measure longer"),
            )
            for metric in comparison.metrics
        ),
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
