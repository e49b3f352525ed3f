"""Sharpness of runs as a table, as plots of the page, and as pictures beside the document."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator

from thorax.errors import UsageError
from thorax.report.figure import ON_WHITE, WIDTH, note, svg, write_figure
from thorax.report.parts import Section
from thorax.report.series import COLOURS, INK, told_apart
from thorax.report.table import Table
from thorax.report.text import interval_text, number_text
from thorax.results.landscape import (
    Keskar,
    LinePoint,
    Plane,
    Quality,
    RunSharpness,
    SharpnessResult,
)

_WHITE: Final = "#fefefe"
"""On a landscape, whose colours are the same in the dark, unlike those of paper."""

_PICTURES: Final = (".png", ".svg")
_LEVELS: Final = 12
"""Contours of a landscape."""

_LOG_FROM: Final = 20.0
"""Highest over lowest loss from which an axis is logarithmic."""

_ROOM: Final = 30.0
"""How far above the curves of estimated statistics the interpolated ones are followed."""


def check_output(out: Path) -> None:
    """Refuse a file whose name the pictures need, or that is a folder.

    Raises:
        UsageError: `sharpness-out` or `output-unwritable`.
    """
    if out.suffix in _PICTURES:
        raise UsageError(
            "sharpness-out",
            f"{str(out)!r} would be overwritten by a picture; name the document *.json",
        )
    if out.is_dir():
        raise UsageError(
            "output-unwritable",
            f"{str(out)!r} is a folder; name the document, e.g. {out / 'sharpness.json'}",
        )


def sharpness_table(results: Sequence[SharpnessResult]) -> Table:
    """Return a row a measure and a column a run, the run compared against beside its own."""
    runs = _runs(results)
    columns = [dict(_figures(run)) for run in runs]
    measures = list(dict.fromkeys(name for column in columns for name in column))
    images = ", ".join(dict.fromkeys(f"{result.images:,}" for result in results))
    norms = ", ".join(dict.fromkeys(result.settings.batch_norm for result in results))
    return Table(
        f"On {images} images of the {results[0].subset.split} split, not augmented; {norms} "
        "batch-norm statistics",
        ("Measure", *_names(runs)),
        tuple((name, *(column.get(name, "–") for column in columns)) for name in measures),
        note=" ".join(dict.fromkeys(result.caveat for result in results)),
    )


def sharpness_plots(results: Sequence[SharpnessResult]) -> list[str]:
    """Return `<svg>` elements: all runs side by side, every line, every landscape."""
    runs = _runs(results)
    plots = []
    if len(runs) > 1:
        spoken = "; ".join(
            f"{name} {_number(run.keskar[0].phi)}"
            for name, run in zip(_names(runs), runs, strict=True)
        )
        plots.append(svg("sharpness", f"Sharpness of each run. Phi {spoken}.", lambda: _bars(runs)))
    for index, result in enumerate(results):
        pair = _names(result.runs)
        if result.path:
            spoken = f"Loss and mean AUROC on the line from {pair[0]} to {pair[1]}."
            plots.append(svg(f"path{index}", spoken, partial(_line, result)))
        if _landscapes(result):
            spoken = f"Training loss in a random plane around {' and '.join(pair)}."
            plots.append(svg(f"plane{index}", spoken, partial(_planes, result)))
    return plots


def write_pictures(result: SharpnessResult, beside: Path) -> list[Path]:
    """Write line and landscape as PNG and SVG under the name of the document.

    Nothing is written, and nothing returned, of a result that has neither.
    """
    drawings = [
        draw for there, draw in ((result.path, _line), (_landscapes(result), _planes)) if there
    ]
    written = []
    for number, draw in enumerate(drawings):
        for suffix in _PICTURES:
            stem = beside.stem if not number else f"{beside.stem}-landscape"
            path = beside.with_name(stem + suffix)
            write_figure(partial(draw, result), path, ON_WHITE)
            written.append(path)
    return written


def _runs(results: Sequence[SharpnessResult]) -> list[RunSharpness]:
    return [run for result in results for run in result.runs]


def _names(runs: Sequence[RunSharpness]) -> list[str]:
    names = []
    for run in runs:
        parts = re.split(r"[\\/]", run.run.rstrip("\\/"))
        epoch = re.fullmatch(r"epoch-0*(\d+)", parts[-1])
        names.append(f"{parts[-2]} epoch {epoch[1]}" if epoch and parts[1:] else parts[-1])
    return told_apart(names)


def _figures(run: RunSharpness) -> Iterator[tuple[str, str]]:
    yield "Training loss, nats", _number(run.loss)
    if run.val_mean_auroc is not None:
        yield "Validation mean AUROC", interval_text(run.val_mean_auroc)
    for box in run.keskar:
        yield _keskar_name(box), _number(box.phi)
    for around in run.adaptive:
        where = "ball (ASAM)" if around.norm == "l2" else "box"
        yield f"Rise in the adaptive {where}, ρ {around.rho:g}, nats", _number(around.rise)
    top = run.lambda_max
    if top is None:
        return
    yield (
        "Largest Hessian eigenvalue λ",
        _number(top.value) + ("" if top.converged else " (not settled)"),
    )
    if top.times_learning_rate is not None:
        yield "λ × peak learning rate", _number(top.times_learning_rate.peak)
        yield "λ × last learning rate", _number(top.times_learning_rate.last)


def _keskar_name(box: Keskar) -> str:
    where = "full space" if box.dimensions is None else f"{box.dimensions} directions"
    return f"Keskar φ, ε {box.epsilon:g}, {where}"


def _number(value: float | None) -> str:
    return number_text(value, ".4g") or "–"


def _bars(runs: Sequence[RunSharpness]) -> Figure:
    panels: list[tuple[str, list[float]]] = []
    for in_manifold in (False, True):
        boxes = [
            [box for box in run.keskar if (box.dimensions is not None) == in_manifold]
            for run in runs
        ]
        if all(boxes):
            panels.append((_keskar_name(boxes[0][0]), [of_run[0].phi for of_run in boxes]))
    panels.append(("ASAM rise, nats", [run.adaptive[0].rise for run in runs]))
    tops = [run.lambda_max.value for run in runs if run.lambda_max is not None]
    if len(tops) == len(runs):
        panels.append(("Hessian λ", tops))
    figure = Figure(figsize=(WIDTH, 0.8 + 0.3 * len(runs)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for here, (title, values) in zip(axes, panels, strict=True):
        _panel(here, title, values)
    axes[0].set_yticks(range(len(runs)), _names(runs))
    return figure


def _panel(axes: Axes, title: str, values: Sequence[float]) -> None:
    axes.barh(range(len(values)), values, height=0.66, color=COLOURS[0])
    for row, value in enumerate(values):
        note(
            axes,
            f"{value:.3g}" if np.isfinite(value) else "–",
            (max(0.0, np.nan_to_num(value)), row),
            (3, 0),
            va="center",
        )
    axes.set_title(title, loc="left")
    top = max([value for value in values if np.isfinite(value)], default=1.0)
    axes.set(ylim=(len(values) - 0.5, -0.5), xlim=(0, max(top, 1e-12) * 1.3))
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def _line(result: SharpnessResult) -> Figure:
    points = result.path or ()
    x = [point.a for point in points]
    estimated, interpolated = "statistics estimated again", "statistics interpolated"
    lines = (
        (f"train, {estimated}", [point.train for point in points]),
        (f"train, {interpolated}", [point.train_interpolated for point in points]),
        (f"validation, {estimated}", [point.val for point in points]),
        (f"validation, {interpolated}", [point.val_interpolated for point in points]),
    )
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    loss, auroc = "Loss, nats", "Mean AUROC"
    for axes, label in zip(panels, (loss, auroc), strict=True):
        for index, (name, qualities) in enumerate(lines):
            again = index % 2 == 0
            axes.plot(
                x,
                np.array(
                    [each.loss if label == loss else each.mean_auroc for each in qualities], float
                ),
                "-" if again else "--",
                color=COLOURS[2 * (index // 2)],
                lw=1.8 if again else 1.2,
                marker="os"[index // 2] if again else None,
                ms=3,
                label=name,
            )
        for at, name in zip((0, 1), _names(result.runs), strict=True):
            axes.axvline(at, color=INK, lw=0.8, ls=":")
            note(
                axes,
                name,
                (at, 1.0),
                (0, 3),
                xycoords=("data", "axes fraction"),
                ha="right" if at == 0 else "left",
            )
        axes.set(xlabel="a, weights = a · second + (1 - a) · first", ylabel=label)
        axes.grid()
    _scale(panels[0], points)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _scale(axes: Axes, points: Sequence[LinePoint]) -> None:
    """Follow what leaps out of sight on a logarithmic axis, and not further than there is room."""
    estimated = _losses(quality for point in points for quality in (point.train, point.val))
    if not len(estimated):
        return
    interpolated = _losses(
        quality
        for point in points
        for quality in (point.train_interpolated, point.val_interpolated)
    )
    every = np.concatenate([estimated, interpolated])
    top = min(every.max(), _ROOM * estimated.max())
    if top > _LOG_FROM * every.min():
        axes.set(yscale="log", ylim=(every.min() * 0.8, top * 1.2))
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()


def _losses(qualities: Iterable[Quality]) -> npt.NDArray[np.float64]:
    values = [quality.loss for quality in qualities]
    return np.array([value for value in values if np.isfinite(value) and value > 0])


def _planes(result: SharpnessResult) -> Figure:
    """Return contours of the loss, a panel a run, on one scale."""
    planes = _landscapes(result)
    losses = [np.array(plane.loss) for _, plane in planes]
    finite = np.concatenate([loss[np.isfinite(loss)] for loss in losses])
    low, high = max(float(finite.min()), 1e-6), float(finite.max())
    levels = np.geomspace(low, max(high, low * 1.01), _LEVELS)
    figure = Figure(figsize=(1.0 + 4.2 * len(planes), 4.2), layout="constrained")
    panels = figure.subplots(1, len(planes), squeeze=False, sharey=True)[0]
    names = _names([run for run, _ in planes])
    for axes, name, (_, plane), loss in zip(panels, names, planes, losses, strict=True):
        at = plane.offsets
        shown = np.clip(np.where(np.isfinite(loss), loss, levels[-1]), levels[0], levels[-1])
        norm = LogNorm(levels[0], levels[-1])
        # Columns are along x: the second direction.
        filled = axes.contourf(at, at, shown, levels=levels, norm=norm, cmap="cividis")
        lines = axes.contour(at, at, shown, levels=levels[1:-1:2], colors=_WHITE, linewidths=0.7)
        for text in axes.clabel(lines, fmt=lambda value: f"{value:.3g}", fontsize=7):
            text.set_path_effects([withStroke(linewidth=1.5, foreground="black")])
        axes.plot(0, 0, "*", color=_WHITE, mec="black", ms=11)
        ticks = (-1, -0.5, 0, 0.5, 1)
        axes.set(xlabel="Second direction, filter lengths", xticks=ticks, yticks=ticks)
        axes.set_aspect("equal")
        axes.set_title(f"{name} (star)", loc="left")
    panels[0].set_ylabel("First direction, filter lengths")
    bar = figure.colorbar(filled, ax=list(panels), label="Training loss, nats", shrink=0.9)
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    bar.ax.yaxis.set_major_formatter("{x:g}")
    bar.ax.minorticks_off()
    return figure


def _landscapes(result: SharpnessResult) -> list[tuple[RunSharpness, Plane]]:
    return [
        (run, run.landscape)
        for run in result.runs
        if run.landscape is not None and np.isfinite(np.array(run.landscape.loss)).any()
    ]


def section(results: Sequence[SharpnessResult]) -> Section:
    """Return loss around solutions, of `sharpness`."""
    plots = tuple(plot for plot in sharpness_plots(results))
    return Section(
        "sharpness",
        "Sharpness",
        tuple(dict.fromkeys(result.caveat for result in results)),
        plots,
        # The page says the caveat first, above the plots.
        (replace(sharpness_table(results), note=""),),
    )
