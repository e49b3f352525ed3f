"""What came of comparing a benchmark with a baseline, as a table."""

from collections.abc import Mapping
from typing import Any, Final

from thorax.measure.baseline import NAMES, Metric, change_text
from thorax.measure.tables import Table, number_text, rate_text


def comparison_table(told: Mapping[str, Any]) -> Table:
    """Return what `baseline` of a document says, a row a figure."""
    rows = []
    for one in told["metrics"]:
        name, form = NAMES[one["name"]]
        metric = Metric(**one)
        verdict = _VERDICTS[metric.verdict] if metric.judged else "told, not judged"
        figures = [
            number_text(value, form) if form else rate_text(value)
            for value in (metric.value, metric.baseline)
        ]
        rows.append((name, *figures, change_text(metric), verdict))
    how = (
        f"In {told['rounds']} turns: median of the ratios of the turns, in brackets its "
        f"{told['confidence']:.0%} interval."
        if told["how"] == "in turns"
        else f"In brackets: {told['confidence']:.0%} interval of the noise within both windows; "
        "what differed between the days it cannot know."
    )
    differs = f" Not the same: {'; '.join(told['differences'])}." if told["differences"] else ""
    return Table(
        f"Against {told['baseline']}, a loss of {told['max_loss']:.1%} allowed",
        ("", "Now", "Baseline", "Change", "Verdict"),
        tuple(rows),
        note=how + differs,
    )


_VERDICTS: Final = {
    "loss": "sure loss",
    "held": "held",
    "undecided": "undecided: measure longer",
}
