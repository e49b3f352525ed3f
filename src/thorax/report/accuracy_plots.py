"""How good networks are: AUROC with intervals, ROC curves, reliability diagrams."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from matplotlib.figure import Figure

from thorax.labels import plain_name
from thorax.report.accuracy import (
    Accuracy,
    auroc_table,
    cost_table,
    difference_table,
    flips_table,
    judged_text,
    pointed_artifacts,
    pointing_table,
    validated_artifacts,
)
from thorax.report.figure import WIDTH, draw_legend, dressed, line_width, svg, wide_figure
from thorax.report.modelled import modelled_tables
from thorax.report.parts import Section
from thorax.report.series import INK, name_series, series_names
from thorax.report.table import Table
from thorax.report.text import number_text
from thorax.results.accuracy import ValidationResult

_MARKS: Final = "os^Dv"


def auroc_plot(results: Sequence[Accuracy]) -> str:
    """Return AUROC with interval per finding, a row a finding and a mark a result."""
    series = name_series(results)
    findings = list(dict.fromkeys(name for result in results for name in result.auroc))
    rows = [*findings, "mean"]

    def draw() -> Figure:
        figure, axes = wide_figure(0.8 + len(rows) * max(0.27, 0.13 * len(series)))
        for number, (result, (share, colour, _)) in enumerate(
            zip(results, dressed(series), strict=True)
        ):
            shift = (number - (len(series) - 1) / 2) * min(0.22, 0.7 / len(series))
            areas = [*(result.auroc.get(name) for name in findings), result.mean]
            for row, area in enumerate(areas):
                if area is None or area.value is None:
                    continue
                if area.low is not None and area.high is not None:
                    axes.plot([area.low, area.high], [row + shift] * 2, color=colour, lw=1.6)
                axes.plot(
                    area.value,
                    row + shift,
                    _MARKS[number % len(_MARKS)],
                    color=colour,
                    ms=4.5,
                    label=share.name if row == len(rows) - 1 else "_",
                )
        axes.axvline(0.5, color=INK, lw=0.8, ls=":")
        axes.axhline(len(findings) - 0.5, color=INK, lw=0.6)
        axes.set(xlabel="AUROC (0.5 = chance)", ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), [plain_name(name) for name in [*findings, "Mean"]])
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        draw_legend(figure, axes, series)
        return figure

    spoken = "; ".join(
        f"{share.name} mean {number_text(result.mean.value, '.3f') or 'undefined'}"
        for share, result in zip(series, results, strict=True)
    )
    return svg("auroc", f"AUROC per finding with intervals. {spoken}.", draw)


def roc_plot(results: Sequence[Accuracy]) -> str:
    """Return ROC curves, a small panel a finding."""
    series = name_series(results)
    findings = list(dict.fromkeys(name for result in results for name in result.roc))
    across = min(5, len(findings))
    down = math.ceil(len(findings) / across)

    def draw() -> Figure:
        # Margins by hand, in inches: a constrained layout of many panels takes seconds.
        width, height = WIDTH / 5 * across + 0.6, 2.05 * down + 0.9
        figure = Figure(figsize=(width, height))
        panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        figure.subplots_adjust(
            0.6 / width, 0.55 / height, 1 - 0.1 / width, 1 - 0.6 / height, 0.15, 0.3
        )
        for number, axes in enumerate(panels.flat):
            if number >= len(findings):
                axes.set_visible(False)
                continue
            finding = findings[number]
            axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":")
            for result, (share, colour, line) in zip(results, dressed(series), strict=True):
                if points := result.roc.get(finding):
                    x, y = zip(*points, strict=True)
                    axes.plot(
                        x, y, line, color=colour, lw=line_width(share, series), label=share.name
                    )
            axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xticks=(0, 0.5, 1))
            axes.set_yticks((0, 0.5, 1))
            axes.set_title(plain_name(finding))
            axes.grid()
            if number + across >= len(findings):
                axes.tick_params(labelbottom=True)
        figure.supxlabel("False positive rate (1 - specificity)", fontsize=9, y=0.08 / height)
        figure.supylabel("True positive rate (sensitivity)", fontsize=9, x=0.05 / width)
        draw_legend(figure, panels.flat[0], series, "upper center")
        return figure

    names = ", ".join(plain_name(name) for name in findings)
    return svg("roc", f"ROC curves, one panel a finding: {names}.", draw)


def reliability_plot(results: Sequence[Accuracy]) -> str:
    """Return promised against true frequency, and below it how many entries each bin holds."""
    series = name_series(results)

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH * 0.6, 5.4), layout="constrained")
        axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":")
        for number, (result, (share, colour, line)) in enumerate(
            zip(results, dressed(series), strict=True)
        ):
            bins = result.reliability
            style = line + _MARKS[number % len(_MARKS)]
            axes.plot(
                [row.mean_probability for row in bins],
                [row.fraction_positive for row in bins],
                style,
                color=colour,
                lw=line_width(share, series),
                ms=4.5,
                label=share.name if result.ece is None else f"{share.name} (ECE {result.ece:.3f})",
            )
            counts.plot(
                [(row.low + row.high) / 2 for row in bins],
                [row.count for row in bins],
                style,
                color=colour,
                lw=1.0,
                ms=3,
            )
        axes.set(ylabel="Fraction positive", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.grid()
        counts.set(xlabel="Predicted probability", ylabel="Entries", yscale="log")
        counts.yaxis.set_major_formatter("{x:,.0f}")
        counts.grid()
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=min(3, len(series)))
        return figure

    spoken = "; ".join(
        f"{share.name} ECE {result.ece:.3f}"
        for share, result in zip(series, results, strict=True)
        if result.ece is not None
    )
    return svg("reliability", f"Reliability diagram over all findings. {spoken}.", draw)


def section(results: Sequence[Accuracy]) -> Section:
    """Return AUROC and what each artifact costs, of `validate` and `score`."""
    validations = [result for result in results if isinstance(result, ValidationResult)]
    tables = [
        *map(cost_table, validations),
        *map(flips_table, validations),
        auroc_table(results),
        *_differences(validations),
        *modelled_tables(validated_artifacts(results)),
    ]
    on: dict[str, list[str]] = {}
    for name, result in zip(series_names(results), results, strict=True):
        if result.images:
            on.setdefault(judged_text(result), []).append(name)
    return Section(
        "accuracy",
        "Accuracy",
        tuple(f"{', '.join(names)}: {images}." for images, names in on.items()),
        (auroc_plot(results),),
        tuple(table for table in tables if table is not None),
    )


def _differences(validations: Sequence[ValidationResult]) -> list[Table]:
    """Return what was compared on the same images, by the name of the network where several are."""
    tables = [
        (result.model, table)
        for result in validations
        if (table := difference_table(result)) is not None
    ]
    several = len({name for name, _ in tables}) > 1
    return [
        replace(table, title=f"{name}: {table.title}") if several else table
        for name, table in tables
    ]


def roc_section(results: Sequence[Accuracy]) -> Section | None:
    """Return ROC curves of results that have them."""
    curved = [result for result in results if result.roc]
    return Section("roc", "ROC", (), (roc_plot(curved),)) if curved else None


def reliability_section(results: Sequence[Accuracy]) -> Section | None:
    """Return promised against true frequency, of results that have it."""
    binned = [result for result in results if result.reliability]
    if not binned:
        return None
    text = (
        "On the dotted line a probability means what it says. All findings are pooled; ECE is the"
        " expected calibration error. It holds for images with the prevalence of these only.",
    )
    return Section("reliability", "Reliability", text, (reliability_plot(binned),))


def pointing_section(results: Sequence[Accuracy]) -> Section | None:
    """Return how often heat maps point into lesion boxes, of results that say so."""
    if not pointed_artifacts(results):
        return None
    return Section("pointing", "Where it looks", tables=(pointing_table(results),))
