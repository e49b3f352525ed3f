"""Plots as inline SVG that follow the colours of the page they are in.

Drawn with `matplotlib.figure.Figure`, so no global figure state is touched. Axes and text become
`currentColor`, series become CSS variables `--s0` to `--s5`, so one SVG is legible in light and in
dark.
"""

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thorax.files.atomic import write_bytes
from thorax.report.picture import DARK, PAPER, picture
from thorax.report.series import COLOURS, INK, PRECISIONS, Series

WIDTH: Final = 9.4
"""Inches of a plot as wide as the page."""

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


ON_WHITE: Final[dict[Any, Any]] = {
    **STYLE,
    **{key: DARK for key, colour in STYLE.items() if colour == INK and key != "hatch.color"},
    "figure.facecolor": PAPER,
}
"""The plots of the page stand on any colour, a picture of its own on white."""


def dressed(series: Sequence[Series]) -> list[tuple[Series, str, str]]:
    """Return each series with its colour and line: colour by precision, line by repetition."""
    used: dict[int, int] = {}
    dressed = []
    for curve in series:
        precision = curve.precision.lower()
        number = PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)
        line = _LINES[used.get(number, 0) % len(_LINES)]
        used[number] = used.get(number, 0) + 1
        dressed.append((curve, COLOURS[number], line))
    return dressed


def line_width(curve: Series, series: Sequence[Series]) -> float:
    """Return a line width, thinner for each later series, so that equal curves all show."""
    return 1.2 + 1.1 * (len(series) - 1 - series.index(curve))


def wide_figure(height: float) -> tuple[Figure, Axes]:
    """Return a figure as wide as the page, with axes; its height in inches."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def draw_legend(
    figure: Figure,
    axes: Axes,
    series: Sequence[Series],
    where: Literal["outside upper center", "upper center"] = "outside upper center",
) -> None:
    """Name the series of axes, where there are several."""
    if len(series) > 1:
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc=where, ncols=min(4, len(series)))


def note(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    offset: tuple[float, float],
    **style: Any,  # noqa: ANN401 - of matplotlib
) -> None:
    """Write text so many printer's points from a place."""
    axes.annotate(text, at, xytext=offset, textcoords="offset points", **style)


def write_figure(draw: Callable[[], Figure], path: Path, style: Mapping[Any, Any]) -> None:
    """Write a figure as .png or as .svg that follows the reader's light and dark.

    The same figure gives the same bytes.
    """
    kind = path.suffix[1:].lower()
    content = io.BytesIO()
    with mpl.rc_context(dict(style)):
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        draw().savefig(content, format=kind, dpi=160, metadata=metadata)
    data = content.getvalue()
    write_bytes(path, picture(_bare(data.decode())).encode() if kind == "svg" else data)


def svg(name: str, spoken: str, draw: Callable[[], Figure]) -> str:
    """Draw and return an `<svg>` element; the same input gives the same text."""
    text = io.StringIO()
    with mpl.rc_context(STYLE):
        draw().savefig(text, format="svg", metadata={"Date": None})
    drawn = _bare(text.getvalue())
    # Several plots share a page, where an id must be unique.
    drawn = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", drawn)
    drawn = drawn.replace(INK, "currentColor")
    for number, colour in enumerate(COLOURS):
        drawn = drawn.replace(colour, f"var(--s{number}, {colour})")
    label = html.escape(spoken, quote=True)
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).strip()


def _bare(drawn: str) -> str:
    """Return the `<svg>` element of a file of matplotlib without what tells of its making."""
    element = drawn[drawn.index("<svg") :]
    return re.sub(r"<metadata>.*?</metadata>|<style .*?</style>", "", element, flags=re.DOTALL)
