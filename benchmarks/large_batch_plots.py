"""Plots of the large-batch experiment as SVG files: the mean of the seeds, and every seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

_COLOURS: Final = (
    "#000000",
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#7f7f7f",
)
"""Okabe and Ito's colour-blind-safe palette (jfly.uni-koeln.de/color, 2008), its yellow, too pale
on white, left out, and grey."""
_MARKS: Final = "os^Dv<>Ph*X"
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "thorax",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.0,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}

Row = Mapping[str, Any]
"""One arm at one batch: `arm`, `title`, `batch` and, by name, the values of the seeds."""


def against_batch(path: Path, rows: Sequence[Row], panels: Sequence[tuple[str, str, bool]]) -> None:
    """Draw values against the batch, one panel a value, a line an arm.

    Args:
        path: SVG file to write.
        rows: what to draw.
        panels: for each the key in the rows, the label of its axis, and whether it is logarithmic.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.6 * len(panels) if len(panels) > 1 else 6.4, 4.6))
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        arms = list(dict.fromkeys(row["arm"] for row in rows))
        for panel, (key, label, logarithmic) in zip(axes, panels, strict=True):
            for place, arm in enumerate(arms):
                _line(panel, [row for row in rows if row["arm"] == arm], key, place, len(arms))
            _batches(panel, sorted({row["batch"] for row in rows}))
            panel.set(ylabel=label, yscale="log" if logarithmic else "linear")
        _legend(figure, axes[0])
        _save(figure, path)


def against_each_other(
    path: Path, rows: Sequence[Row], across: tuple[str, str], up: tuple[str, str]
) -> None:
    """Draw one value against another, a mark a run, the larger the batch the larger the mark."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 4.6))
        axes = figure.subplots()
        arms = list(dict.fromkeys(row["arm"] for row in rows))
        batches = sorted({row["batch"] for row in rows})
        for place, arm in enumerate(arms):
            mine = [row for row in rows if row["arm"] == arm and row.get(across[0])]
            for row in mine:
                axes.plot(
                    row[across[0]],
                    row[up[0]],
                    linestyle="none",
                    marker=_MARKS[place % len(_MARKS)],
                    color=_COLOURS[place % len(_COLOURS)],
                    markersize=4 + 2 * batches.index(row["batch"]),
                    alpha=0.75,
                    label=row["title"] if row is mine[0] else "_",
                )
        axes.set(xlabel=across[1], ylabel=up[1], xscale="log")
        _legend(figure, axes)
        _save(figure, path)


def _line(axes: Axes, rows: Sequence[Row], key: str, place: int, arms: int) -> None:
    found = sorted((row for row in rows if row.get(key)), key=lambda row: row["batch"])
    if not found:
        return
    colour, mark = _COLOURS[place % len(_COLOURS)], _MARKS[place % len(_MARKS)]
    # Arms that share a batch stand side by side, a little apart on the logarithmic axis.
    shift = 2 ** (0.09 * (place - (arms - 1) / 2))
    at = [row["batch"] * shift for row in found]
    means = [sum(row[key]) / len(row[key]) for row in found]
    axes.plot(
        at,
        means,
        color=colour,
        marker=mark,
        markersize=6,
        linewidth=1.3,
        linestyle=("-", "--", ":", "-.")[place % 4],
        label=found[0]["title"],
    )
    for x, row in zip(at, found, strict=True):
        axes.plot(
            [x] * len(row[key]),
            row[key],
            linestyle="none",
            marker=mark,
            markersize=3,
            markerfacecolor="white",
            markeredgecolor=colour,
            markeredgewidth=0.8,
        )


def _batches(axes: Axes, batches: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlabel("Batch, images an update")
    axes.xaxis.set_major_locator(FixedLocator(batches))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)


def _save(figure: Figure, path: Path) -> None:
    figure.set_layout_engine("constrained")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None}, facecolor="white")
