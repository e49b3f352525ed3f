"""A plot of what falling precision leaves of a network against what it brings."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from thorax.durable import write_bytes
from thorax.measure.plots import COLOURS, STYLE
from thorax.measure.tables import Document

_FRONT, _BEHIND = COLOURS[0], COLOURS[2]
_MARKS: Final = {"block": "o", "ternary": "^", "binary": "s"}
_DARK: Final = "#333333"
_PLACES: Final = ((8, 4), (8, -13), (-8, -13), (-8, 4), (8, 16), (8, -25), (8, 28), (8, -37))
"""Where a name may stand beside its mark, in points to the right and up, the best first."""
_INKED: Final = (
    "axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color", "grid.color",
    "legend.labelcolor",
)  # fmt: skip
_ON_WHITE: Final[dict[Any, Any]] = {
    **STYLE,
    **dict.fromkeys(_INKED, _DARK),
    "figure.facecolor": "white",
}
"""The plots of the report stand on a page of any colour, a picture of its own on white."""


def write_explore_plot(document: Document, folder: Path) -> tuple[Path, Path]:
    """Write `explore.svg` and `explore.png` into a folder that is there, and return them."""
    written = []
    with mpl.rc_context(_ON_WHITE):
        figure = _draw(document)
        for kind in ("svg", "png"):
            path = folder / f"explore.{kind}"
            buffer = io.BytesIO()
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
            write_bytes(path, buffer.getvalue())
            written.append(path)
    return written[0], written[1]


def _draw(document: Document) -> Figure:
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    variants = document["variants"]
    key, unit = _across(variants)
    front = sorted((one for one in variants if one["pareto"]), key=lambda one: one["modelled"][key])
    axes.step(
        [one["modelled"][key] for one in front],
        [one["mean_auroc"]["value"] for one in front],
        where="pre",
        color=_FRONT,
        lw=1.2,
        zorder=1,
    )
    for one in variants:
        _mark(axes, one, key)
    reference = document["reference"]["mean_auroc"]["value"]
    axes.axhline(reference, color=_DARK, lw=0.9, ls="--")
    axes.annotate(
        f"FP32, {reference:.3f}",
        (1, reference),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
    )
    values = [one["mean_auroc"]["value"] for one in variants]
    if min(values) < 0.6:
        axes.axhline(0.5, color=_DARK, lw=0.9, ls=":")
        axes.annotate(
            "chance",
            (1, 0.5),
            xycoords=("axes fraction", "data"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right",
        )
    axes.set_xlabel(f"{unit}, modelled")
    axes.set_ylabel(f"Mean AUROC, {document['images']:,} images, 95% intervals")
    axes.set_title(
        f"{document['model']}, {document['side']} px, on {document['board_full_name']} (simulated)"
    )
    axes.margins(x=0.12, y=0.1)
    axes.set_xlim(left=max(0, axes.get_xlim()[0]))
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.grid()
    axes.set_axisbelow(True)
    _legend(figure, axes)
    _label(figure, axes, variants, key)
    return figure


def _across(variants: Sequence[Document]) -> tuple[str, str]:
    """Return the key and the words of what a variant brings."""
    if all(one["modelled"]["images_per_s_per_w"] for one in variants):
        return "images_per_s_per_w", "Images per second per watt of the board"
    return "images_per_s", "Images per second"


def _mark(axes: Axes, one: Document, key: str) -> None:
    auroc, x = one["mean_auroc"], one["modelled"][key]
    colour = _FRONT if one["pareto"] else _BEHIND
    if auroc["low"] is not None:
        axes.plot([x, x], [auroc["low"], auroc["high"]], color=colour, lw=1.3, zorder=2)
    axes.plot(
        x,
        auroc["value"],
        _MARKS[one["weights"]],
        ms=7,
        color=colour if one["pareto"] else "white",
        markeredgecolor=colour,
        markeredgewidth=1.5,
        zorder=3,
    )


def _label(figure: Figure, axes: Axes, variants: Sequence[Document], key: str) -> None:
    """Name each mark: to its right, and where another mark or name is, above or below that."""
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    spots = [
        axes.transData.transform((one["modelled"][key], one["mean_auroc"]["value"]))
        for one in variants
    ]
    taken = [Bbox.from_extents(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
    for one, (x, _) in zip(variants, spots, strict=True):
        if one["mean_auroc"]["low"] is not None:
            ends = [(0, one["mean_auroc"][end]) for end in ("low", "high")]
            (_, low), (_, high) = axes.transData.transform(ends)
            taken.append(Bbox.from_extents(x - 2, low, x + 2, high))
    for one, (x, y) in zip(variants, spots, strict=True):
        width, height = 5.4 * scale * len(one["name"]), 9 * scale
        for across, up in _PLACES:
            left = x + across * scale - (width if across < 0 else 0)
            low = y + up * scale
            box = Bbox.from_extents(left, low, left + width, low + height)
            if not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)
        axes.annotate(
            one["name"],
            (one["modelled"][key], one["mean_auroc"]["value"]),
            xytext=(across, up),
            textcoords="offset points",
            ha="right" if across < 0 else "left",
        )


def _legend(figure: Figure, axes: Axes) -> None:
    def entry(name: str, **style: Any) -> None:  # noqa: ANN401
        axes.plot([], [], linestyle="none", ms=7, markeredgewidth=1.5, label=name, **style)

    entry("on the Pareto front", marker="o", color=_FRONT)
    entry("beaten in both", marker="o", color="white", markeredgecolor=_BEHIND)
    entry("ternary filters", marker="^", color="white", markeredgecolor=_DARK)
    entry("binary filters", marker="s", color="white", markeredgecolor=_DARK)
    figure.legend(loc="outside upper center", ncols=4)
