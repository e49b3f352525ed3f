"""Plots as inline SVG that follow the colours of the page they are in.

Drawn with `matplotlib.figure.Figure`, so no global figure state is touched. Axes and text become
`currentColor`, series become CSS variables `--s0` to `--s5` (Okabe and Ito's colour-blind-safe
palette, jfly.uni-koeln.de/color, 2008), so one SVG is legible in light and in dark.
"""

import html
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from thorax.labels import plain_name
from thorax.report.modelled import has_model
from thorax.report.tables import (
    PRECISIONS,
    Document,
    mean_interval,
    rate_text,
    series_names,
)

WIDTH: Final = 9.4
"""Inches of a plot as wide as the page."""

_Where: TypeAlias = Literal["outside upper center", "upper center"]
INK: Final = "#767676"
COLOURS: Final = ("#0072b2", "#cc79a7", "#d55e00", "#009e73", "#e69f00", "#56b4e9")
_LINES: Final = ("-", "--", ":", "-.")
STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "thorax",
    "text.parse_math": False,
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "hatch.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
}


@dataclass(frozen=True, slots=True)
class Series:
    """One document's share of a plot; precision gives the colour, `simulated` the hatching."""

    name: str
    precision: str
    simulated: bool
    document: Mapping[str, Any]


def name_series(documents: Sequence[Document]) -> list[Series]:
    """Return the share of each document in a plot, under a name that tells it from the others."""
    return [
        Series(name, str(d.get("precision", "")), bool(d.get("simulated")), d)
        for name, d in zip(series_names(documents), documents, strict=True)
    ]


def speed_bars(documents: Sequence[Document]) -> list[Series]:
    """Return what devices at work measured, and after it what simulated cards would do.

    How long an emulation takes is no speed of anything: it is left to the table.
    """
    named = name_series(documents)
    measured = [one for one in named if one.document.get("images_per_s") and not one.simulated]
    modelled = [
        replace(one, simulated=True, document=one.document["modelled"])
        for one in named
        if has_model(one.document)
    ]
    return measured + modelled


def auroc_plot(series: Sequence[Series]) -> str:
    """Return AUROC with interval per finding, a row a finding and a mark a series."""
    findings = list(dict.fromkeys(f for one in series for f in one.document["auroc"]))
    rows = [*findings, "mean"]

    def draw() -> Figure:
        figure, axes = _figure(0.8 + len(rows) * max(0.27, 0.13 * len(series)))
        for place, (one, colour, _) in enumerate(_dressed(series)):
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
        _legend(figure, axes, series)
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
            for one, colour, line in _dressed(series):
                if points := one.document["roc"].get(finding):
                    x, y = zip(*points, strict=True)
                    axes.plot(x, y, line, color=colour, lw=_width(one, series), label=one.name)
            axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xticks=(0, 0.5, 1))
            axes.set_yticks((0, 0.5, 1))
            axes.set_title(plain_name(finding))
            axes.grid()
            if place + across >= len(findings):
                axes.tick_params(labelbottom=True)
        figure.supxlabel("False positive rate (1 - specificity)", fontsize=9, y=0.08 / height)
        figure.supylabel("True positive rate (sensitivity)", fontsize=9, x=0.05 / width)
        _legend(figure, panels.flat[0], series, "upper center")
        return figure

    names = ", ".join(plain_name(name) for name in findings)
    return svg("roc", f"ROC curves, one panel a finding: {names}.", draw)


def reliability_plot(series: Sequence[Series]) -> str:
    """Return promised against true frequency, and below it how many entries each bin holds."""

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH * 0.6, 5.4), layout="constrained")
        axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":")
        for place, (one, colour, line) in enumerate(_dressed(series)):
            bins = one.document["reliability"]
            x = [row["mean_probability"] for row in bins]
            mark = "os^Dv"[place % 5]
            y = [row["fraction_positive"] for row in bins]
            ece = one.document.get("ece")
            name = one.name if ece is None else f"{one.name} (ECE {ece:.3f})"
            axes.plot(x, y, line + mark, color=colour, lw=_width(one, series), ms=4.5, label=name)
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


def speed_plot(series: Sequence[Series]) -> str:
    """Return images per second, a bar a series; hatched bars are modelled."""
    rates = [float(one.document["images_per_s"]) for one in series]

    def draw() -> Figure:
        figure, axes = _figure(0.7 + 0.36 * len(series))
        for row, (one, colour, _) in enumerate(_dressed(series)):
            axes.barh(
                row,
                rates[row],
                height=0.66,
                color="none" if one.simulated else colour,
                edgecolor=colour,
                hatch="////" if one.simulated else None,
            )
            tail = " (modelled)" if one.simulated else ""
            axes.annotate(
                rate_text(rates[row]) + tail,
                (rates[row], row),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set(xlabel="Images per second", xlim=(0, max(rates) * 1.18), ylim=(len(rates), -1))
        axes.set_yticks(range(len(series)), [one.name for one in series])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        return figure

    spoken = "; ".join(
        f"{one.name} {rate_text(rate)}{' modelled' if one.simulated else ''}"
        for one, rate in zip(series, rates, strict=True)
    )
    return svg("speed", f"Images per second: {spoken}.", draw)


def training_plot(
    history: Sequence[Mapping[str, Any]],
    curve: Sequence[Mapping[str, Any]] = (),
    *,
    number: int = 0,
) -> str:
    """Return loss, validation AUROC, learning rate and speed over epochs, those that there are.

    A dot is an epoch of `history`, a line runs through the stretches of `curve` or, without any,
    through the dots. `number` tells several on one page apart.
    """
    wanted = (
        ("loss", "Training loss"),
        ("val_mean_auroc", "Validation mean AUROC"),
        ("learning_rate", "Learning rate"),
        ("images_per_s", "Images per second"),
    )
    panels: list[tuple[str, str, list[tuple[Any, Any]], list[tuple[Any, Any]]]] = []
    for key, label in wanted:
        along, dots = (
            [(entry["epoch"], entry[key]) for entry in source if entry.get(key) is not None]
            for source in (curve, history)
        )
        if along or dots:
            panels.append((key, label, along, dots))
    across = min(2, len(panels) or 1)
    down = math.ceil(len(panels) / across)

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH / 2 * across, 2.7 * down), layout="constrained")
        for place, (key, label, along, dots) in enumerate(panels):
            axes = figure.add_subplot(down, across, place + 1)
            colour = COLOURS[(0, 2, 3, 1)[place]]
            if along:
                x, y = zip(*along, strict=True)
                axes.plot(x, y, color=colour, lw=1.2, alpha=0.6)
            # The rate of an epoch is that of its last update, which the line has already.
            if dots and not (along and key == "learning_rate"):
                x, y = zip(*dots, strict=True)
                axes.plot(x, y, "o" if along else "o-", color=colour, lw=1.5, ms=3.5)
            axes.set(xlabel="Epoch", ylabel=label)
            if key in {"learning_rate", "images_per_s"}:
                axes.set_ylim(0, 1.08 * max(value for _, value in [*along, *dots]) or None)
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid()
        return figure

    names = ", ".join(label for _, label, _, _ in panels)
    return svg(f"training{number}", f"Over epochs: {names}.", draw)


def _dressed(series: Sequence[Series]) -> list[tuple[Series, str, str]]:
    """Return each series with its colour and line: colour by precision, line by repetition."""
    used: dict[int, int] = {}
    dressed = []
    for one in series:
        known = one.precision.lower() in PRECISIONS
        place = PRECISIONS.index(one.precision.lower()) if known else len(PRECISIONS)
        line = _LINES[used.get(place, 0) % len(_LINES)]
        used[place] = used.get(place, 0) + 1
        dressed.append((one, COLOURS[place], line))
    return dressed


def _width(one: Series, series: Sequence[Series]) -> float:
    """Return a line width, thinner for each later series, so that equal curves all show."""
    return 1.2 + 1.1 * (len(series) - 1 - series.index(one))


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _legend(
    figure: Figure, axes: Axes, series: Sequence[Series], where: _Where = "outside upper center"
) -> None:
    if len(series) > 1:
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc=where, ncols=min(4, len(series)))


def _spoken(value: object) -> str:
    number = value.get("value") if isinstance(value, Mapping) else value
    return "undefined" if number is None else f"{number:.3f}"


def svg(name: str, spoken: str, draw: Callable[[], Figure]) -> str:
    """Draw and return an `<svg>` element; the same input gives the same text."""
    text = io.StringIO()
    with mpl.rc_context(STYLE):
        draw().savefig(text, format="svg", metadata={"Date": None})
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>", "", drawn, flags=re.DOTALL)
    # Several plots share a page, where an id must be unique.
    drawn = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", drawn)
    drawn = drawn.replace(INK, "currentColor")
    for place, colour in enumerate(COLOURS):
        drawn = drawn.replace(colour, f"var(--s{place}, {colour})")
    label = html.escape(spoken, quote=True)
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).strip()
