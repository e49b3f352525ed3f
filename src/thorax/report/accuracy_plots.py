"""How good networks are: AUROC with intervals, ROC curves, reliability diagrams."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from thorax.labels import plain_name
from thorax.report.figure import INK, WIDTH, draw_legend, dressed, line_width, svg, wide_figure
from thorax.report.series import Series, mean_interval


def auroc_plot(series: Sequence[Series]) -> str:
    """Return AUROC with interval per finding, a row a finding and a mark a series."""
    findings = list(dict.fromkeys(f for one in series for f in one.document["auroc"]))
    rows = [*findings, "mean"]

    def draw() -> Figure:
        figure, axes = wide_figure(0.8 + len(rows) * max(0.27, 0.13 * len(series)))
        for place, (one, colour, _) in enumerate(dressed(series)):
            shift = (place - (len(series) - 1) / 2) * min(0.22, 0.7 / len(series))
            entries = [one.document["auroc"].get(name) for name in findings]
            for row, entry in enumerate([*entries, mean_interval(one.document)]):
                parts = entry if isinstance(entry, Mapping) else {"value": entry}
                if parts.get("value") is None:
                    continue
                if parts.get("low") is not None and parts.get("high") is not None:
                    axes.plot(
                        [parts["low"], parts["high"]], [row + shift] * 2, color=colour, lw=1.6
                    )
                axes.plot(
                    parts["value"],
                    row + shift,
                    "os^Dv"[place % 5],
                    color=colour,
                    ms=4.5,
                    label=one.name if row == len(rows) - 1 else "_",
                )
        axes.axvline(0.5, color=INK, lw=0.8, ls=":")
        axes.axhline(len(findings) - 0.5, color=INK, lw=0.6)
        axes.set(xlabel="AUROC (0.5 = chance)", ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), [plain_name(name) for name in [*findings, "Mean"]])
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        draw_legend(figure, axes, series)
        return figure

    spoken = "; ".join(f"{one.name} mean {_spoken(mean_interval(one.document))}" for one in series)
    return svg("auroc", f"AUROC per finding with intervals. {spoken}.", draw)


def roc_plot(series: Sequence[Series]) -> str:
    """Return ROC curves, a small panel a finding."""
    findings = list(dict.fromkeys(f for one in series for f in one.document["roc"]))
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
        for place, axes in enumerate(panels.flat):
            if place >= len(findings):
                axes.set_visible(False)
                continue
            finding = findings[place]
            axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":")
            for one, colour, line in dressed(series):
                if points := one.document["roc"].get(finding):
                    x, y = zip(*points, strict=True)
                    axes.plot(x, y, line, color=colour, lw=line_width(one, series), label=one.name)
            axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xticks=(0, 0.5, 1))
            axes.set_yticks((0, 0.5, 1))
            axes.set_title(plain_name(finding))
            axes.grid()
            if place + across >= len(findings):
                axes.tick_params(labelbottom=True)
        figure.supxlabel("False positive rate (1 - specificity)", fontsize=9, y=0.08 / height)
        figure.supylabel("True positive rate (sensitivity)", fontsize=9, x=0.05 / width)
        draw_legend(figure, panels.flat[0], series, "upper center")
        return figure

    names = ", ".join(plain_name(name) for name in findings)
    return svg("roc", f"ROC curves, one panel a finding: {names}.", draw)


def reliability_plot(series: Sequence[Series]) -> str:
    """Return promised against true frequency, and below it how many entries each bin holds."""

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH * 0.6, 5.4), layout="constrained")
        axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":")
        for place, (one, colour, line) in enumerate(dressed(series)):
            bins = one.document["reliability"]
            x = [row["mean_probability"] for row in bins]
            mark = "os^Dv"[place % 5]
            y = [row["fraction_positive"] for row in bins]
            ece = one.document.get("ece")
            name = one.name if ece is None else f"{one.name} (ECE {ece:.3f})"
            axes.plot(
                x, y, line + mark, color=colour, lw=line_width(one, series), ms=4.5, label=name
            )
            counts.plot(
                [(row["low"] + row["high"]) / 2 for row in bins],
                [row["count"] for row in bins],
                line + mark,
                color=colour,
                lw=1.0,
                ms=3,
            )
        axes.set(ylabel="Fraction positive", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.grid()
        counts.set(xlabel="Predicted probability", ylabel="Entries", yscale="log")
        counts.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        counts.grid()
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=min(3, len(series)))
        return figure

    spoken = "; ".join(
        f"{one.name} ECE {one.document['ece']:.3f}"
        for one in series
        if one.document.get("ece") is not None
    )
    return svg("reliability", f"Reliability diagram over all findings. {spoken}.", draw)


def _spoken(value: object) -> str:
    number = value.get("value") if isinstance(value, Mapping) else value
    return "undefined" if number is None else f"{number:.3f}"
