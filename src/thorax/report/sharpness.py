"""Sharpness documents as a table, as plots of the page, and as pictures beside the document."""

import io
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, StrMethodFormatter

from thorax.errors import UsageError
from thorax.files.atomic import write_bytes
from thorax.report.figure import COLOURS, INK, STYLE, WIDTH, svg
from thorax.report.series import Document
from thorax.report.table import Table
from thorax.report.text import interval_text

_PICTURES: Final = (".png", ".svg")
_DPI: Final = 160
_LEVELS: Final = 12
"""Contours of a landscape."""

_LOG_FROM: Final = 20.0
"""Highest over lowest loss from which an axis is logarithmic."""

_ROOM: Final = 30.0
"""How far above the curves of estimated statistics the interpolated ones are followed."""

_DARK: Final = "#333333"
_ON_PAPER: Final = {
    **STYLE,
    "figure.facecolor": "white",
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "legend.labelcolor"), _DARK
    ),
}


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


def sharpness_table(documents: Sequence[Document]) -> Table:
    """Return a row a measure and a column a run, the run compared against beside its own."""
    runs = _runs(documents)
    columns = [dict(_figures(run)) for run in runs]
    measures = list(dict.fromkeys(name for column in columns for name in column))
    images = ", ".join(dict.fromkeys(f"{one['images']:,}" for one in documents))
    norms = ", ".join(dict.fromkeys(one["settings"]["batch_norm"] for one in documents))
    first = documents[0]
    return Table(
        f"On {images} images of the {first['subset']['split']} split, not augmented; {norms} "
        "batch-norm statistics",
        ("Measure", *_names(runs)),
        tuple((name, *(column.get(name, "–") for column in columns)) for name in measures),
        note=" ".join(dict.fromkeys(str(one["caveat"]) for one in documents)),
    )


def sharpness_plots(documents: Sequence[Document]) -> list[str]:
    """Return `<svg>` elements: all runs side by side, every line, every landscape."""
    runs = _runs(documents)
    plots = []
    if len(runs) > 1:
        spoken = "; ".join(
            f"{name} {_number(run['keskar'][0]['phi'])}"
            for name, run in zip(_names(runs), runs, strict=True)
        )
        plots.append(svg("sharpness", f"Sharpness of each run. Phi {spoken}.", lambda: _bars(runs)))
    for place, document in enumerate(documents):
        pair = _names(_runs([document]))
        if document.get("path"):
            spoken = f"Loss and mean AUROC on the line from {pair[0]} to {pair[1]}."
            plots.append(svg(f"path{place}", spoken, partial(_line, document)))
        if _landscapes(document):
            spoken = f"Training loss in a random plane around {' and '.join(pair)}."
            plots.append(svg(f"plane{place}", spoken, partial(_planes, document)))
    return plots


def write_pictures(document: Document, beside: Path) -> list[Path]:
    """Write line and landscape as PNG and SVG under the name of the document.

    Nothing is written, and nothing returned, of a document that has neither.
    """
    drawings = [
        draw
        for there, draw in ((document.get("path"), _line), (_landscapes(document), _planes))
        if there
    ]
    written = []
    for number, draw in enumerate(drawings):
        for suffix in _PICTURES:
            stem = beside.stem if not number else f"{beside.stem}-landscape"
            path = beside.with_name(stem + suffix)
            content = io.BytesIO()
            with mpl.rc_context(_ON_PAPER):
                draw(document).savefig(
                    content,
                    format=suffix[1:],
                    dpi=_DPI,
                    metadata={"Date": None} if suffix == ".svg" else {"Software": None},
                )
            write_bytes(path, content.getvalue())
            written.append(path)
    return written


def _runs(documents: Sequence[Document]) -> list[Document]:
    return [run for one in documents for run in (one, one.get("against")) if run is not None]


def _names(runs: Sequence[Document]) -> list[str]:
    names = []
    for run in runs:
        parts = re.split(r"[\\/]", str(run["run"]).rstrip("\\/"))
        epoch = re.fullmatch(r"epoch-0*(\d+)", parts[-1])
        names.append(f"{parts[-2]} epoch {epoch[1]}" if epoch and parts[1:] else parts[-1])
    return [
        name if names.count(name) == 1 else f"{name} #{names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def _figures(run: Document) -> Iterator[tuple[str, str]]:
    yield "Training loss, nats", _number(run["loss"])
    if run.get("val_mean_auroc") is not None:
        yield "Validation mean AUROC", interval_text(run["val_mean_auroc"])
    for one in run["keskar"]:
        yield _keskar_name(one), _number(one["phi"])
    for one in run["adaptive"]:
        where = "ball (ASAM)" if one["norm"] == "l2" else "box"
        yield f"Rise in the adaptive {where}, ρ {one['rho']:g}, nats", _number(one["rise"])
    top = run.get("lambda_max")
    if top is None:
        return
    mark = "" if top["converged"] else " (not settled)"
    yield "Largest Hessian eigenvalue λ", _number(top["value"]) + mark
    for name, value in (top.get("times_learning_rate") or {}).items():
        yield f"λ × {name} learning rate", _number(value)


def _keskar_name(one: Document) -> str:
    where = "full space" if one["dimensions"] is None else f"{one['dimensions']} directions"
    return f"Keskar φ, ε {one['epsilon']:g}, {where}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _bars(runs: Sequence[Document]) -> Figure:
    """Return a panel a measure and a bar a run."""
    panels: list[tuple[str, list[float]]] = []
    for dimensions in (False, True):
        found = [
            [one for one in run["keskar"] if (one["dimensions"] is not None) == dimensions]
            for run in runs
        ]
        if all(found):
            panels.append((_keskar_name(found[0][0]), [_value(one[0]["phi"]) for one in found]))
    panels.append(("ASAM rise, nats", [_value(run["adaptive"][0]["rise"]) for run in runs]))
    if all(run.get("lambda_max") for run in runs):
        panels.append(("Hessian λ", [_value(run["lambda_max"]["value"]) for run in runs]))
    figure = Figure(figsize=(WIDTH, 0.8 + 0.3 * len(runs)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for place, (here, (title, values)) in enumerate(zip(axes, panels, strict=True)):
        here.barh(range(len(runs)), values, height=0.66, color=COLOURS[0])
        for row, value in enumerate(values):
            here.annotate(
                f"{value:.3g}" if np.isfinite(value) else "–",
                (max(0.0, np.nan_to_num(value)), row),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
            )
        here.set_title(title, loc="left")
        top = max([one for one in values if np.isfinite(one)], default=1.0)
        here.set(ylim=(len(runs) - 0.5, -0.5), xlim=(0, max(top, 1e-12) * 1.3))
        here.xaxis.set_major_locator(MaxNLocator(3))
        here.tick_params(axis="y", length=0)
        here.grid(axis="x")
        here.set_axisbelow(True)
        if not place:
            here.set_yticks(range(len(runs)), _names(runs))
    return figure


def _line(document: Document) -> Figure:
    """Return loss and AUROC along the line, both kinds of statistics."""
    points = document["path"]
    names = _names(_runs([document]))
    x = [point["a"] for point in points]
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    wanted = (("loss", "Loss, nats"), ("mean_auroc", "Mean AUROC"))
    for axes, (key, label) in zip(panels, wanted, strict=True):
        for place, (split, said) in enumerate((("train", "train"), ("val", "validation"))):
            for tail, line, kind in (
                ("", "-", "statistics estimated again"),
                ("_interpolated", "--", "statistics interpolated"),
            ):
                axes.plot(
                    x,
                    [_value(point[split + tail][key]) for point in points],
                    line,
                    color=COLOURS[2 * place],
                    lw=1.8 if line == "-" else 1.2,
                    marker="os"[place] if line == "-" else None,
                    ms=3,
                    label=f"{said}, {kind}",
                )
        for at, name in zip((0, 1), names, strict=True):
            axes.axvline(at, color=INK, lw=0.8, ls=":")
            axes.annotate(
                name,
                (at, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="right" if at == 0 else "left",
            )
        axes.set(xlabel="a, weights = a · second + (1 - a) · first", ylabel=label)
        axes.grid()
    _scale(panels[0], points)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _scale(axes: Axes, points: Sequence[Document]) -> None:
    """Follow what leaps out of sight on a logarithmic axis, and not further than there is room."""
    kept = _losses(points, ("train", "val"))
    every = _losses(points, ("train", "val", "train_interpolated", "val_interpolated"))
    if not len(kept):
        return
    top = min(every.max(), _ROOM * kept.max())
    if top > _LOG_FROM * every.min():
        axes.set(yscale="log", ylim=(every.min() * 0.8, top * 1.2))
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.minorticks_off()


def _losses(points: Sequence[Document], keys: Sequence[str]) -> npt.NDArray[np.float64]:
    values = [_value(point[key]["loss"]) for point in points for key in keys]
    return np.array([value for value in values if np.isfinite(value) and value > 0])


def _planes(document: Document) -> Figure:
    """Return contours of the loss, a panel a run, on one scale."""
    runs = _landscapes(document)
    losses = [_grid(run["landscape"]["loss"]) for run in runs]
    finite = np.concatenate([loss[np.isfinite(loss)] for loss in losses])
    low, high = max(float(finite.min()), 1e-6), float(finite.max())
    levels = np.geomspace(low, max(high, low * 1.01), _LEVELS)
    figure = Figure(figsize=(1.0 + 4.2 * len(runs), 4.2), layout="constrained")
    panels = figure.subplots(1, len(runs), squeeze=False, sharey=True)[0]
    for axes, name, run, loss in zip(panels, _names(runs), runs, losses, strict=True):
        at = run["landscape"]["offsets"]
        shown = np.clip(np.where(np.isfinite(loss), loss, levels[-1]), levels[0], levels[-1])
        norm = LogNorm(levels[0], levels[-1])
        # Columns are along x: the second direction.
        filled = axes.contourf(at, at, shown, levels=levels, norm=norm, cmap="cividis")
        lines = axes.contour(at, at, shown, levels=levels[1:-1:2], colors="white", linewidths=0.7)
        for text in axes.clabel(lines, fmt=lambda value: f"{value:.3g}", fontsize=7):
            text.set_path_effects([withStroke(linewidth=1.5, foreground="black")])
        axes.plot(0, 0, "*", color="white", mec="black", ms=11)
        ticks = (-1, -0.5, 0, 0.5, 1)
        axes.set(xlabel="second direction, filter lengths", xticks=ticks, yticks=ticks)
        axes.set_aspect("equal")
        axes.set_title(f"{name} (star)", loc="left")
    panels[0].set_ylabel("first direction, filter lengths")
    bar = figure.colorbar(filled, ax=list(panels), label="Training loss, nats", shrink=0.9)
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    bar.ax.minorticks_off()
    return figure


def _landscapes(document: Document) -> list[Document]:
    """Return the runs with a landscape of which something can be drawn."""
    runs = _runs([document]) if document.get("landscape") else []
    return [run for run in runs if np.isfinite(_grid(run["landscape"]["loss"])).any()]


def _grid(rows: Sequence[Sequence[float | None]]) -> npt.NDArray[np.float64]:
    return np.array([[_value(one) for one in row] for row in rows])


def _value(number: float | None) -> float:
    return float("nan") if number is None else float(number)
