"""What came of comparing a benchmark with a baseline, as a table."""

from collections.abc import Mapping
from typing import Any

from thorax.benchmark.baseline import NAMES, Metric, change_text
from thorax.report.table import Table
from thorax.report.text import number_text, rate_text


def comparison_table(told: Mapping[str, Any]) -> Table:
    """Return what `baseline` of a document says, a row a figure."""
    rows = []
    for one in told["metrics"]:
        name, form = NAMES[one["name"]]
        metric = Metric(**one)
        verdict = _verdict(metric, told.get("advice") or "measure longer")
        figures = [
            number_text(value, form) if form else rate_text(value)
            for value in (metric.value, metric.baseline)
        ]
        rows.append((name, *figures, change_text(metric), verdict))
    turns = told["how"] == "in turns"
    how = (
        f"In {told['rounds']} turns. Change: median of the ratios of the turns, in brackets its "
        f"{told['confidence']:.0%} interval; it is not the ratio of the two medians beside it, "
        "which hold what the machine did from turn to turn."
        if turns
        else f"In brackets: {told['confidence']:.0%} interval of the noise within both windows; "
        "what differed between the days it cannot know."
    )
    differs = f" Not the same: {'; '.join(told['differences'])}." if told["differences"] else ""
    return Table(
        f"Against {told['baseline']}, a loss of {told['max_loss']:.1%} allowed",
        (
            "",
            *(("Median now", "Of baseline") if turns else ("Now", "Baseline")),
            "Change",
            "Verdict",
        ),
        tuple(rows),
        note=how + differs,
    )


def _verdict(metric: Metric, advice: str) -> str:
    if not metric.judged:
        return "told, not judged"
    return {"loss": "sure loss", "held": "held", "undecided": f"undecided: {advice}"}[
        metric.verdict
    ]
