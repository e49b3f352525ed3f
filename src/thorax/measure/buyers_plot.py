"""Images per second against watts: what every run of the buyer's table gets out of its power."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from thorax.measure.buyers_table import Offer
from thorax.measure.plots import COLOURS, INK, WIDTH, svg
from thorax.measure.tables import PRECISIONS, rate_text

_ROOM: Final = 1.18
"""Axes reach so far beyond the outermost point."""

_APART: Final = 0.16
"""Sides of a panel that the ends of two lines of equal efficiency lie apart at least."""

_SIDES: Final = (((5, 4), "left"), ((-5, 4), "right"), ((5, -10), "left"), ((-5, -10), "right"))
"""Where the numbers of neighbouring points stand, in turn, so that they do not cover each other."""


_MARKS: Final = {"measured": "o", "modelled": "D", "planned": "s"}
"""Full what was measured, hollow what was computed."""


@dataclass(frozen=True, slots=True)
class _Point:
    """A row of the table with watts."""

    number: int
    power_w: float
    images_per_s: float
    row: Offer

    @property
    def modelled(self) -> bool:
        """Whether either of its figures was computed."""
        return self.row.modelled or self.row.power_modelled

    @property
    def kind(self) -> str:
        """What the legend says of its mark."""
        return "planned" if self.row.planned else "modelled" if self.modelled else "measured"


def power_plot(rows: Sequence[Offer]) -> str:
    """Return the plot, a panel for all watts and one for marginal watts; "" where none has any.

    Points bear the numbers of the table's rows. On a dotted line images/s/W is equal. What was
    modelled, speed or watts, is a hollow diamond; what was planned, a hollow square.

    Args:
        rows: as `buyers_table` takes them.
    """
    panels = [
        (title, points)
        for title, points in (
            ("Whole: all that the meter sees, or the server", _points(rows, "power_w")),
            ("Marginal: of the load or the cards alone", _points(rows, "marginal_w")),
        )
        if points
    ]
    if not panels:
        return ""

    def draw() -> Figure:
        width = WIDTH if len(panels) > 1 else 0.62 * WIDTH
        figure = Figure(figsize=(width, 4.1), layout="constrained")
        for place, (title, points) in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), place + 1)
            _panel(axes, points)
            axes.set_title(title, loc="left", pad=16)
        handles = _handles([point for _, points in panels for point in points])
        figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))
        return figure

    spoken = "; ".join(
        f"{title}: "
        + ", ".join(
            f"row {one.number} {rate_text(one.images_per_s)} images/s at {one.power_w:.0f} W"
            + (" modelled" if one.modelled else "")
            for one in points
        )
        for title, points in panels
    )
    return svg("power", f"Images per second against watts. {spoken}.", draw)


def _points(rows: Sequence[Offer], key: str) -> list[_Point]:
    return [
        _Point(number, power_w, row.images_per_s, row)
        for number, row in enumerate(rows, 1)
        if (power_w := getattr(row, key)) is not None and power_w > 0
    ]


def _panel(axes: Axes, points: Sequence[_Point]) -> None:
    right = _ROOM * max(one.power_w for one in points)
    top = _ROOM * max(one.images_per_s for one in points)
    axes.set(xlim=(0, right), ylim=(0, top), xlabel="Power, W", ylabel="Images per second")
    for ray in _rays([one.images_per_s / one.power_w for one in points], top / right):
        end = min(right, top / ray)
        axes.plot([0, end], [0, ray * end], color=INK, lw=0.8, ls=":")
        inside = ray * right > top
        axes.annotate(
            f"{ray:g} img/s/W",
            (end, ray * end),
            xytext=(0, 2) if inside else (2, 0),
            textcoords="offset points",
            ha="center" if inside else "left",
            va="bottom" if inside else "center",
            fontsize=7.5,
            annotation_clip=False,
        )
    for place, one in enumerate(points):
        colour = _colour(one.row)
        axes.plot(
            one.power_w,
            one.images_per_s,
            _MARKS[one.kind],
            color=colour,
            markerfacecolor="none" if one.modelled else colour,
            mew=1.6,
            ms=6.5,
        )
        offset, side = _SIDES[place % len(_SIDES)]
        axes.annotate(
            str(one.number),
            (one.power_w, one.images_per_s),
            xytext=offset,
            textcoords="offset points",
            ha=side,
            fontsize=8,
        )


def _rays(found: Sequence[float], diagonal: float) -> list[float]:
    """Return round efficiencies, 1, 2 or 5 of a power of ten, around those that were found.

    Args:
        found: of the points.
        diagonal: the one whose line ends in the corner of the panel.
    """
    low, high = min(found), max(found)
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    steps = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    below = max((one for one in steps if one <= low), default=steps[0])
    above = min((one for one in steps if one >= high), default=steps[-1])
    kept: list[float] = []
    last = -math.inf
    for ray in (one for one in steps if below <= one <= above):
        # Where its line leaves the panel, up the right side and then back along the top.
        end = ray / diagonal if ray <= diagonal else 2 - diagonal / ray
        if end - last >= _APART:
            kept.append(ray)
            last = end
    return kept


def _colour(row: Offer) -> str:
    stored = row.precision.lower().partition(" ")[0]
    return COLOURS[PRECISIONS.index(stored) if stored in PRECISIONS else len(PRECISIONS)]


def _handles(points: Sequence[_Point]) -> list[Line2D]:
    inks = {
        one.row.precision.partition(" ")[0]: _colour(one.row) for one in points if one.row.precision
    }
    kinds = [kind for kind in _MARKS if any(one.kind == kind for one in points)]
    return [
        *(Line2D([], [], color=ink, lw=3, label=name) for name, ink in inks.items()),
        *(
            Line2D(
                [],
                [],
                color=INK,
                ls="",
                marker=_MARKS[kind],
                mew=1.6,
                ms=6.5,
                mfc=INK if kind == "measured" else "none",
                label=f"{kind}, modelled" if kind == "planned" else kind,
            )
            for kind in kinds
        ),
    ]
