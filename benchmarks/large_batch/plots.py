"""Plots of the large-batch experiment as SVG files: the mean of the seeds, and every seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from thorax.report.figure import ON_WHITE, WIDTH, write_figure
from thorax.report.picture import DARK, PAPER
from thorax.report.series import COLOURS, INK

_COLOURS: Final = (DARK, *(COLOURS[n] for n in (0, 2, 3, 1, 4, 5)), INK)
_LINES: Final = ("-", "--", ":", "-.")
_MARKS: Final = "os^Dv<>Ph*X"
_STYLE: Final[dict[Any, Any]] = {**ON_WHITE, "axes.grid": True}
_ROW: Final = 2
"""Panels beside each other at most: more would not be legible at the width of a page."""

Row = Mapping[str, Any]
"""One arm at one batch: `arm`, `title`, `batch` and, by name, the values of the seeds."""


def against_batch(path: Path, rows: Sequence[Row], panels: Sequence[tuple[str, str, bool]]) -> None:
    """Draw values against the batch, one panel a value, a line an arm.

    Args:
        path: SVG file to write.
        rows: what to draw.
        panels: for each the key in the rows, the label of its axis, and whether it is logarithmic.
    """
    write_figure(lambda: _panels(rows, panels), path, _STYLE)


def against_each_other(
    path: Path, rows: Sequence[Row], across: tuple[str, str], up: tuple[str, str]
) -> None:
    """Draw one value against another, a mark a run, the larger the batch the larger the mark."""
    write_figure(lambda: _marks(rows, across, up), path, _STYLE)


def _panels(rows: Sequence[Row], panels: Sequence[tuple[str, str, bool]]) -> Figure:
    down, across = -(-len(panels) // _ROW), min(_ROW, len(panels))
    size = (WIDTH, 1.2 + 3.3 * down) if across > 1 else (6.4, 4.9)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    for panel, (key, label, logarithmic) in zip(axes, panels, strict=False):
        for place, arm in enumerate(arms):
            _line(panel, [row for row in rows if row["arm"] == arm], key, place, len(arms))
        _batches(panel, sorted({row["batch"] for row in rows}))
        panel.set_ylabel(f"{label}, logarithmic" if logarithmic else label)
        if logarithmic:
            panel.set_yscale("log")
            _plain(panel.yaxis)
    handles, names = axes[0].get_legend_handles_labels()
    spare = axes[len(panels) :]
    if len(spare):
        # A panel that is left over has room for the legend.
        spare[0].axis("off")
        spare[0].legend(handles, names, loc="center", fontsize="small")
    else:
        figure.legend(handles, names, loc="outside lower center", ncols=2)
    return figure


def _marks(rows: Sequence[Row], across: tuple[str, str], up: tuple[str, str]) -> Figure:
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
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
    axes.set(xlabel=f"{across[1]}, logarithmic", ylabel=up[1], xscale="log")
    _plain(axes.xaxis)
    figure.legend(
        loc="outside lower center",
        ncols=2,
        title=f"Small to large marks: batches of {', '.join(f'{batch:,}' for batch in batches)}",
    )
    return figure


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
        linestyle=_LINES[place % len(_LINES)],
        label=found[0]["title"],
    )
    for x, row in zip(at, found, strict=True):
        axes.plot(
            [x] * len(row[key]),
            row[key],
            linestyle="none",
            marker=mark,
            markersize=3,
            markerfacecolor=PAPER,
            markeredgecolor=colour,
            markeredgewidth=0.8,
        )


def _plain(axis: Axis) -> None:
    """Write a logarithmic axis without powers, where it spans less than a decade, too."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _batches(axes: Axes, batches: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlabel("Batch, images an update")
    axes.xaxis.set_major_locator(FixedLocator(batches))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
