"""How far simple features go on the findings of a store, beside a network: tables and a section."""

from collections.abc import Sequence
from typing import Final

from thorax.labels import plain_name
from thorax.report.parts import Section
from thorax.report.table import Table, table_of
from thorax.report.text import interval_text, number_text
from thorax.results.accuracy import BaselineResult, ComparedNetwork, ShallowModel

_SHORT: Final = {
    "block_means": "Means",
    "block_deviations": "+ dev.",
    "statistics": "Histogram",
    "border": "Border",
    "order": "Order",
    "facts": "View, age",
}
"""Headings of columns, by the name of the features."""


def baseline_tables(result: BaselineResult) -> list[Table]:
    """Return each kind of features with its mean AUROC, and AUROC by finding."""
    return [_models(result), _findings(result)]


def _models(result: BaselineResult) -> Table:
    network = result.network
    best = list(result.best.values())
    rows: list[ShallowModel | ComparedNetwork] = [*result.models, *([network] if network else [])]
    splits = ", ".join(f"{count:,} {split}" for split, count in result.splits.items())
    return table_of(
        f"What regressions on simple features reach on {result.store}",
        rows,
        {
            "Features": lambda row: row.what if isinstance(row, ShallowModel) else row.name,
            "Count": lambda row: f"{row.features:,}" if isinstance(row, ShallowModel) else "",
            "Mean AUROC": lambda row: interval_text(row.mean_auroc),
            "Best of": lambda row: (
                number_text(best.count(row.name) or None, "d")
                if isinstance(row, ShallowModel)
                else ""
            ),
            "Network minus it": lambda row: (
                interval_text(network.mean_difference[row.name], "+.3f")
                if network and isinstance(row, ShallowModel)
                else ""
            ),
        },
        note=f"Images: {splits}. In brackets: 95% interval, {result.patients:,} patients of the "
        "test split resampled. Best of: so many findings.",
    )


def _findings(result: BaselineResult) -> Table:
    """Return AUROC by finding, one column a kind of features; the best of a row is starred."""
    names = [model.name for model in result.models]
    network = result.network
    rows = []
    for finding, best in result.best.items():
        areas = {model.name: model.auroc[finding] for model in result.models}
        cells = [f"{'*' * (name == best)}{number_text(areas[name].value, '.3f')}" for name in names]
        if network is not None:
            area = network.auroc.get(finding)
            cells.append(number_text(area and area.value, ".3f") or "–")
        rows.append((plain_name(finding), f"{areas[names[0]].positives:,}", *cells))
    means = [number_text(model.mean_auroc.value, ".3f") for model in result.models]
    if network is not None:
        means.append(number_text(network.mean_auroc.value, ".3f"))
    rows.append(("Mean", "", *means))
    headings = [_SHORT.get(name, name) for name in names]
    return Table(
        "AUROC by finding on the test split",
        ("Finding", "Positives", *headings, *(("Network",) if network else ())),
        tuple(rows),
        note="* the best of the simple features. Order: of the files, which no network sees.",
    )


def unscored_lines(result: BaselineResult) -> list[str]:
    """Return which findings are not scored and why, a line each."""
    return [f"not scored: {plain_name(name)}: {why}" for name, why in result.unscored.items()]


def section(results: Sequence[BaselineResult]) -> Section:
    """Return what simple features reach, of `data baseline`."""
    return Section(
        "baselines",
        "How easy the task is",
        tuple(line for result in results for line in result.verdict),
        tables=tuple(table for result in results for table in baseline_tables(result)),
    )
