"""How far simple features go on the findings of a store, beside a network: words and tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from thorax.labels import plain_name
from thorax.report.parts import Section
from thorax.report.table import Table, table_of
from thorax.report.text import interval_text, number_text
from thorax.results.accuracy import BaselineResult, ComparedNetwork, ShallowModel
from thorax.results.shared import Interval

_SHORT: Final = {
    "block_means": "Means",
    "block_deviations": "+ dev.",
    "statistics": "Histogram",
    "border": "Border",
    "order": "Order",
    "facts": "View, age",
}
"""Headings of columns, by the name of the features."""


_SUSPECTS: Final = {
    "border": "the outer edge of the image alone, without the lungs: look for markers, "
    "collimation, cropping or file sizes that differ by class",
    "order": "the order of the files: classes were collected apart, so look for what else "
    "differs between their sources",
    "facts": "view, age and sex without an image: compare networks within them",
}
"""What tells a finding and should not, and what to do, by the name of the features."""

_LISTED: Final = 4
"""Findings that a sentence names with their figures; of more it says the range."""


def verdict(result: BaselineResult) -> list[str]:
    """Return what all of it means for a network's AUROC, a sentence each."""
    lines = [*_reach(result), *_suspicions(result), *_beside_network(result), *_too_few(result)]
    if result.leaks:
        lines.append(
            f"{_count(result.leaks, 'patient is', 'patients are')} in more than one split, which "
            "flatters all of it."
        )
    return lines


def _reach(result: BaselineResult) -> list[str]:
    """Return how far features of the whole image go, on the mean and by finding."""
    by_name = {model.name: model for model in result.models}
    best = by_name[result.verdict.whole]
    lines = []
    if len(result.best) > 1:
        value = best.mean_auroc.value or 0.0
        lines.append(
            f"A regression reaches a mean AUROC of {value:.3f}, where chance has 0.5, with "
            f"{best.what}."
        )
    reached = {
        name: by_name[features].auroc[name].value or 0.0
        for name, features in result.verdict.bar.items()
        if name not in result.verdict.too_few
    }
    easy = {name: reached.pop(name) for name in result.verdict.easy}
    if easy:
        lines.append(f"A network's AUROC says little where regressions need none: {_listed(easy)}.")
    # What ranks worse than chance on the test split is no bar.
    bars = {name: max(0.5, value) for name, value in reached.items()}
    if bars:
        lines.append(
            "A network is to be judged by what it has above the best of them on the whole image: "
            f"{_listed(bars)}."
        )
    return lines


def _listed(values: Mapping[str, float], form: str = ".3f") -> str:
    """Return findings with their figures, or of many the least and the most."""
    ranked = sorted(values.items(), key=lambda item: -item[1])
    told = [f"{plain_name(name)} {format(value, form)}" for name, value in ranked]
    return ", ".join(told) if len(told) <= _LISTED else f"{told[0]} to {told[-1]}"


def _named(names: Iterable[str]) -> str:
    return ", ".join(map(plain_name, names))


def _count(count: int, single: str, several: str) -> str:
    return f"{count:,} {single if count == 1 else several}"


def _suspicions(result: BaselineResult) -> list[str]:
    """Return a sentence for each kind of features that should not tell a finding and does."""
    lines = []
    for features, words in _SUSPECTS.items():
        told = [each for each in result.verdict.suspicions if each.features == features]
        told.sort(key=lambda each: -(each.auroc.value or 0.0))
        if told:
            others = f"; so are, less, {_named(o.finding for o in told[1:])}" if told[1:] else ""
            tried = _count(result.verdict.tried, "try", "tries together")
            lines.append(
                f"{plain_name(told[0].finding)} is told with {interval_text(told[0].auroc)} (95% "
                f"for {tried}) by {words}{others}."
            )
    return lines


def _beside_network(result: BaselineResult) -> list[str]:
    """Return whether a network is ahead of features of the whole image, or behind them."""
    network = result.network
    if network is None:
        return []
    (best,) = (model for model in result.models if model.name == result.verdict.whole)
    mean = network.mean_difference[best.name]
    lines = [
        f"{network.name} minus {best.what}: {interval_text(mean, '+.3f')} of mean AUROC"
        f"{_meaning(mean)}."
    ]
    if len(network.difference) < 2:
        return lines
    sure = {name: bounds for name, bounds in network.difference.items() if _is_sure(bounds)}
    unsure = [name for name, bounds in network.difference.items() if _is_level(bounds)]
    behind = [name for name in sure if (sure[name].value or 0.0) < 0]
    if sure or unsure:
        parts = [f"ahead on {len(sure) - len(behind)} of {len(network.difference)} findings"]
        parts += [f"not told apart on {_named(unsure)}"] if unsure else []
        parts += [f"worse on {_named(behind)}"] if behind else []
        lines.append(f"Against the best of them by finding it is {'; '.join(parts)}.")
    below = {
        name: bounds.value
        for name, bounds in network.difference.items()
        if bounds.low is None and bounds.value is not None and bounds.value < 0
    }
    if below:
        lines.append(f"It is below the best of them, without an interval: {_named(below)}.")
    return lines


def _is_sure(bounds: Interval) -> bool:
    return bounds.low is not None and bounds.high is not None and not _is_level(bounds)


def _is_level(bounds: Interval) -> bool:
    """Return whether an interval holds 0."""
    return bounds.low is not None and bounds.high is not None and bounds.low <= 0 <= bounds.high


def _meaning(difference: Interval) -> str:
    if _is_level(difference):
        return ", which these images do not tell from none"
    worse = (difference.value or 0.0) < 0
    if not _is_sure(difference):
        return f", without an interval{', and below what needs no network' if worse else ''}"
    return ": it is worse than what needs no network" if worse else ""


def _too_few(result: BaselineResult) -> list[str]:
    """Return which findings have neither interval nor verdict, and what they lack."""
    fewest = result.verdict.fewest
    parts = []
    for name, counts in result.verdict.too_few.items():
        lacking = [
            f"{_count(count, 'patient', 'patients')} {words}"
            for count, words in ((counts.positive, "with it"), (counts.negative, "without it"))
            if count < fewest
        ]
        parts.append(f"{plain_name(name)} ({' and '.join(lacking)})")
    if not parts:
        return []
    mean = ", and the mean has no interval" if len(result.best) > 1 else ""
    return [
        f"Below {fewest} patients with a finding, or without it, in the test split there is "
        f"neither interval nor verdict{mean}: {', '.join(parts)}."
    ]


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
        "test split resampled. Best of: findings that it tells best.",
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
    if len(rows) > 1:
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
        tuple(line for result in results for line in verdict(result)),
        tables=tuple(table for result in results for table in baseline_tables(result)),
    )
