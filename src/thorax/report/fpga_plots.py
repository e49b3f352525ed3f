"""A plot of what falling precision leaves of a network against what it brings."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from thorax.report.figure import ON_WHITE, note, write_figure
from thorax.report.fpga import sides_text
from thorax.report.picture import DARK, PAPER
from thorax.report.series import COLOURS
from thorax.results.fpga import PrecisionLadder, VariantOverlay, VariantResult
from thorax.results.shared import Interval

_FRONT, _BEHIND = COLOURS[0], COLOURS[2]
_MARKS: Final = {"block": "o", "ternary": "^", "binary": "s"}


def write_explore_plot(result: PrecisionLadder, folder: Path) -> tuple[Path, Path]:
    """Write `explore.svg` and `explore.png` into a folder that is there, and return them."""
    pictures = folder / "explore.svg", folder / "explore.png"
    for path in pictures:
        write_figure(lambda: _draw(result), path, ON_WHITE)
    return pictures


def _draw(result: PrecisionLadder) -> Figure:
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    brings, unit = _across(result.variants)
    front = sorted(
        (variant for variant in result.variants if variant.pareto),
        key=lambda variant: brings(variant.modelled),
    )
    axes.step(
        [brings(variant.modelled) for variant in front],
        [_auroc(variant.mean_auroc) for variant in front],
        where="pre",
        color=_FRONT,
        lw=1.0,
        alpha=0.5,
        zorder=1,
    )
    for variant in result.variants:
        _mark(axes, variant, brings(variant.modelled))
    reference = _auroc(result.reference.mean_auroc)
    axes.axhline(reference, color=DARK, lw=0.9, ls="--")
    note(
        axes,
        f"FP32, {reference:.3f}",
        (1, reference),
        (0, 4),
        xycoords=("axes fraction", "data"),
        ha="right",
    )
    if min(_auroc(variant.mean_auroc) for variant in result.variants) < 0.6:
        axes.axhline(0.5, color=DARK, lw=0.9, ls=":")
        note(axes, "chance", (1, 0.5), (0, 4), xycoords=("axes fraction", "data"), ha="right")
    axes.set_xlabel(f"{unit}, modelled, logarithmic")
    axes.set_ylabel(f"Mean AUROC, {result.images:,} images, 95% intervals")
    axes.set_title(f"{result.model}, {sides_text(result)}, on {result.board_full_name} (simulated)")
    axes.set_xscale("log")
    axes.margins(x=0.1, y=0.12)
    low, high = axes.get_ylim()
    # Room for the slanted names of the best.
    axes.set_ylim(low, high + 0.1 * (high - low))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.grid()
    axes.set_axisbelow(True)
    _legend(figure, axes)
    return figure


def _across(variants: Sequence[VariantResult]) -> tuple[Callable[[VariantOverlay], float], str]:
    """Return what a variant brings, and what that is in words."""
    if all(variant.modelled.images_per_s_per_w for variant in variants):
        return (
            lambda overlay: overlay.images_per_s_per_w or 0.0,
            "Images per second per watt of the board",
        )
    return lambda overlay: overlay.images_per_s, "Images per second"


def _auroc(interval: Interval) -> float:
    return math.nan if interval.value is None else interval.value


def _mark(axes: Axes, variant: VariantResult, x: float) -> None:
    auroc = variant.mean_auroc
    colour = _FRONT if variant.pareto else _BEHIND
    if auroc.low is not None and auroc.high is not None:
        axes.plot([x, x], [auroc.low, auroc.high], color=colour, lw=1.3, zorder=2)
    axes.plot(
        x,
        _auroc(auroc),
        _MARKS[variant.weights],
        ms=7,
        color=colour if variant.pareto else PAPER,
        markeredgecolor=colour,
        markeredgewidth=1.5,
        zorder=3,
    )
    # Slanted, as neighbours may stand closer together than a name is long.
    note(axes, variant.name, (x, _auroc(auroc)), (5, 6), rotation=45, rotation_mode="anchor")


def _legend(figure: Figure, axes: Axes) -> None:
    def entry(name: str, **style: Any) -> None:  # noqa: ANN401
        axes.plot([], [], linestyle="none", ms=7, markeredgewidth=1.5, label=name, **style)

    entry("on the Pareto front", marker="o", color=_FRONT)
    entry("beaten in both", marker="o", color=PAPER, markeredgecolor=_BEHIND)
    entry("ternary filters", marker="^", color=PAPER, markeredgecolor=DARK)
    entry("binary filters", marker="s", color=PAPER, markeredgecolor=DARK)
    figure.legend(loc="outside upper center", ncols=4)
