"""Images per second against watts: what every run of the buyer's table gets out of its power."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from thorax.report.accuracy import Accuracy
from thorax.report.buyers import Offer, are_alike, buyers_csv, buyers_table, csv_link, offers
from thorax.report.figure import WIDTH, note, svg
from thorax.report.parts import Section
from thorax.report.series import COLOURS, INK, PRECISIONS
from thorax.report.text import rate_text
from thorax.results.benchmark import BenchmarkResult
from thorax.results.plan import ServerPlan

_ROOM: Final = 1.18
"""Axes reach so far beyond the outermost point."""

_APART: Final = 0.16
"""Sides of a panel that the ends of two lines of equal efficiency lie apart at least."""

_RADII: Final = (9.0, 15.0, 22.0, 30.0)
"""Printer's points between a point and its number: farther where others are in the way."""

_NEARER: Final = 1.2
"""So many times as far as its own is any other point from a number at least."""

_DIGIT: Final = (5.2, 8.0)
"""Width and height of a digit and of what is left free around it, printer's points."""


_MARKS: Final = {"measured": "o", "replayed": "^", "modelled": "D", "planned": "s"}
"""Full what was measured, hollow what was computed or put together from two times."""

_LEGEND: Final = {"planned": "planned, modelled", "replayed": "measured, W replayed"}
"""Where the legend says more than the kind."""


@dataclass(frozen=True, slots=True)
class _Point:
    """A row of the table with watts."""

    number: int
    power_w: float
    row: Offer

    @property
    def modelled(self) -> bool:
        """Whether either of its figures was computed."""
        return self.row.modelled or self.row.power_modelled

    @property
    def kind(self) -> str:
        if self.row.planned:
            return "planned"
        if self.modelled:
            return "modelled"
        return "replayed" if self.row.power_replayed else "measured"


def power_plot(rows: Sequence[Offer]) -> str:
    """Return the plot, a panel for all watts and one for marginal watts; "" where none has any.

    Points bear the numbers of the table's rows. On a dotted line images/s/W is equal. What was
    modelled, speed or watts, is a hollow diamond; what was planned, a hollow square; what has watts
    of another time, a hollow triangle.
    """
    panels = _panels(rows)
    if not panels:
        return ""
    spoken = "; ".join(
        f"{title}: "
        + ", ".join(
            f"row {point.number} {rate_text(point.row.images_per_s)} images/s "
            f"at {point.power_w:.0f} W"
            + (" modelled" if point.modelled else "")
            + (" replayed" if point.row.power_replayed else "")
            for point in points
        )
        for title, points in panels
    )
    return svg("power", f"Images per second against watts. {spoken}.", lambda: power_figure(rows))


def power_figure(rows: Sequence[Offer]) -> Figure:
    """Return what `power_plot` makes an SVG of; some row has watts."""
    panels = _panels(rows)
    inks = _inks([point for _, points in panels for point in points])
    width = WIDTH if len(panels) > 1 else 0.62 * WIDTH
    figure = Figure(figsize=(width, 4.3), layout="constrained")
    for number, (title, points) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), number)
        _panel(axes, points, inks)
        axes.set_title(title, loc="left", pad=16)
    handles = _handles([point for _, points in panels for point in points], inks)
    # A handle and its gap take some 50 points, a letter 5.
    widest = 50 + 5 * max(len(str(handle.get_label())) for handle in handles)
    ncols = max(1, min(len(handles), 5, int(72 * width / widest)))
    figure.legend(handles=handles, loc="outside lower center", ncols=ncols)
    # Where points lie on the paper is known once the rest has its place.
    figure.draw_without_rendering()
    for axes, (_, points) in zip(figure.axes, panels, strict=True):
        _number(axes, points)
    return figure


def _panels(rows: Sequence[Offer]) -> list[tuple[str, list["_Point"]]]:
    whole = (
        "Whole: all that the meter sees, or the server"
        if are_alike(rows)
        else "Whole: meters that do not see the same (note above)"
    )
    return [
        (title, points)
        for title, points in (
            (whole, _points(rows, lambda row: row.power_w)),
            ("Marginal: of the load or the cards alone", _points(rows, lambda row: row.marginal_w)),
        )
        if points
    ]


def _points(rows: Sequence[Offer], power: Callable[[Offer], float | None]) -> list[_Point]:
    return [
        _Point(number, power_w, row)
        for number, row in enumerate(rows, 1)
        if (power_w := power(row)) is not None and power_w > 0 and row.images_per_s > 0
    ]


def _panel(axes: Axes, points: Sequence[_Point], inks: Mapping[str, str]) -> None:
    right = _ROOM * max(point.power_w for point in points)
    top = _ROOM * max(point.row.images_per_s for point in points)
    axes.set(xlim=(0, right), ylim=(0, top), xlabel="Power, W", ylabel="Images per second")
    for ray in _rays([point.row.images_per_s / point.power_w for point in points], top / right):
        end = min(right, top / ray)
        axes.plot([0, end], [0, ray * end], color=INK, lw=0.8, ls=":")
        inside = ray * right > top
        note(
            axes,
            f"{ray:g} img/s/W",
            (end, ray * end),
            (0, 2) if inside else (2, 0),
            ha="center" if inside else "left",
            va="bottom" if inside else "center",
            fontsize=7.5,
            annotation_clip=False,
        )
    for point in points:
        colour = inks[_series(point.row)]
        axes.plot(
            point.power_w,
            point.row.images_per_s,
            _MARKS[point.kind],
            color=colour,
            markerfacecolor=colour if point.kind == "measured" else "none",
            mew=1.6,
            ms=6.5,
        )


def _number(axes: Axes, points: Sequence[_Point]) -> None:
    """Write the number of each point beside it, nearer to it than to any other point."""
    scale = 72 / axes.figure.dpi
    data = [(point.power_w, point.row.images_per_s) for point in points]
    where = [(scale * x, scale * y) for x, y in axes.transData.transform(data).tolist()]
    low, high = axes.transAxes.transform([(0, 0), (1, 1)]).tolist()
    inside = (scale * low[0], scale * low[1], scale * high[0], scale * high[1])
    texts = [str(point.number) for point in points]
    for text, at, offset in zip(texts, data, number_places(where, texts, inside), strict=True):
        far = math.hypot(*offset) > 1.01 * _RADII[0]
        axes.annotate(
            text,
            at,
            xytext=offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "lw": 0.6, "color": INK, "shrinkA": 0, "shrinkB": 3}
            if far
            else None,
        )


def number_places(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    inside: tuple[float, float, float, float],
) -> list[tuple[float, float]]:
    """Return how far from its point each number stands, all in printer's points.

    Of all sides the one that is farthest from other points and numbers, on the nearest circle where
    the number covers nothing and has its own point nearest; the best there is where none does.
    `inside` is left, bottom, right and top that numbers stay within.
    """
    taken: list[tuple[float, float, float]] = []
    offsets = []
    for index, (x, y) in enumerate(points):
        others = [point for other, point in enumerate(points) if other != index]
        half = _DIGIT[0] * len(texts[index]) / 2
        best, offset = (-1, -math.inf), (0.0, _RADII[0])
        for radius in _RADII:
            for step in range(16):
                turn = math.tau * (step + 2) / 16
                dx, dy = radius * math.cos(turn), radius * math.sin(turn)
                at = (x + dx, y + dy)
                apart = min((math.dist(at, point) for point in others), default=math.inf)
                beside = min((math.dist(at, number[:2]) for number in taken), default=math.inf)
                clear = all(
                    abs(at[0] - other) >= half + wide or abs(at[1] - high) >= _DIGIT[1]
                    for other, high, wide in taken
                )
                within = (
                    inside[0] + half <= at[0] <= inside[2] - half
                    and inside[1] + _DIGIT[1] / 2 <= at[1] <= inside[3] - _DIGIT[1] / 2
                )
                own_nearest = apart >= max(_NEARER * radius, half + 5)
                rank = (2 * own_nearest + clear + within, min(apart, beside, 60.0) - radius)
                if rank > best:
                    best, offset = rank, (dx, dy)
            if best[0] == 4:
                break
        taken.append((x + offset[0], y + offset[1], half))
        offsets.append(offset)
    return offsets


def _rays(efficiencies: Sequence[float], diagonal: float) -> list[float]:
    """Return round efficiencies, 1, 2 or 5 of a power of ten, around those of points.

    The line of `diagonal` ends in the corner of the panel.
    """
    low, high = min(efficiencies), max(efficiencies)
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    steps = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    below = max((step for step in steps if step <= low), default=steps[0])
    above = min((step for step in steps if step >= high), default=steps[-1])
    rays: list[float] = []
    last = -math.inf
    for ray in (step for step in steps if below <= step <= above):
        # Where its line leaves the panel, up the right side and then back along the top.
        end = ray / diagonal if ray <= diagonal else 2 - diagonal / ray
        if end - last >= _APART:
            rays.append(ray)
            last = end
    return rays


def _series(row: Offer) -> str:
    """Return what has a colour of its own: a precision, or a planned server by one reading."""
    if not row.planned:
        return row.precision.partition(" ")[0]
    reading = row.device.partition(", ")[2]
    return ", ".join(filter(None, (row.hardware or row.model, reading)))


def _inks(points: Sequence[_Point]) -> dict[str, str]:
    """Return the colour of each series: of a precision its own, of plans what these leave."""
    runs = {_series(point.row) for point in points if not point.row.planned}
    inks = {
        name: COLOURS[
            PRECISIONS.index(name.lower()) if name.lower() in PRECISIONS else len(PRECISIONS)
        ]
        for name in dict.fromkeys(_series(point.row) for point in points)
        if name in runs
    }
    unused = [ink for ink in COLOURS if ink not in inks.values()] or list(COLOURS)
    plans = dict.fromkeys(_series(point.row) for point in points if point.row.planned)
    for index, name in enumerate(plans):
        inks.setdefault(name, unused[index % len(unused)])
    return inks


def _handles(points: Sequence[_Point], inks: Mapping[str, str]) -> list[Line2D]:
    kinds = [kind for kind in _MARKS if any(point.kind == kind for point in points)]
    return [
        *(Line2D([], [], color=ink, lw=3, label=name) for name, ink in inks.items() if name),
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
                label=_LEGEND.get(kind, kind),
            )
            for kind in kinds
        ),
    ]


def section(
    speed: Sequence[BenchmarkResult], accuracy: Sequence[Accuracy], plans: Sequence[ServerPlan]
) -> Section | None:
    """Return all runs side by side: speed, watts and AUROC in one table, to be downloaded too."""
    rows = offers(speed, accuracy, plans)
    table = buyers_table(rows)
    if table is None:
        return None
    plot = power_plot(rows)
    return Section(
        "runs",
        "Side by side",
        plots=(plot,) if plot else (),
        tables=(table,),
        download=csv_link(buyers_csv(rows)),
        leads=True,
    )
