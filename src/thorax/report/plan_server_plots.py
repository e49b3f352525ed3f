"""Pictures of server plans, legible in light and in dark; "modelled" stands on each."""

from collections.abc import Callable, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from thorax.report.figure import WIDTH, note, svg
from thorax.report.modelled import MODELLED
from thorax.report.parts import COMPUTED, Section
from thorax.report.plan_server import QUANTILES, server_tables, within_text
from thorax.report.series import COLOURS, INK
from thorax.report.text import rate_text
from thorax.results.plan import CpuRole, CurvePoint, ServerPlan, ServerRow

_NAMES: Final = {
    CpuRole.ADDITIVE: "additive: CPU computes too",
    CpuRole.OFFLOAD: "off-load: CPU only feeds cards",
}
_COLOUR: Final = {CpuRole.ADDITIVE: COLOURS[0], CpuRole.OFFLOAD: COLOURS[2]}
_MARK: Final = {CpuRole.ADDITIVE: "o", CpuRole.OFFLOAD: "s"}
_PALE: Final = 0.35


def server_plot(plan: ServerPlan, *, number: int = 0) -> str:
    """Return throughput, watts and both efficiencies against the number of cards."""

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.5), layout="constrained")
        panels: Sequence[Axes] = figure.subplots(1, 3)
        draw_throughput(panels[0], plan)
        draw_watts(panels[1], plan)
        _efficiency(panels[2], plan)
        add_title_and_legend(figure, plan, (*role_handles(plan), part_handle(), *_metric_handles()))
        return figure

    return svg(f"plan-server{number}", spoken(plan), draw)


def latency_plot(plan: ServerPlan) -> str:
    """Return latency against load of a plan with a curve, a panel a role of the CPU."""
    roles = list(dict.fromkeys(point.reading for point in plan.curve))

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
        panels = figure.subplots(1, len(roles), squeeze=False, sharey=True)[0]
        for axes, role in zip(panels, roles, strict=True):
            _latency(axes, plan, [point for point in plan.curve if point.reading == role])
        panels[0].set_ylabel("Latency, ms, logarithmic")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
        figure.suptitle(_title(plan), fontsize=10)
        return figure

    words = "; ".join(
        f"{point.reading} {point.images_per_s:.0f} images/s p99 {point.latency_ms.p99:.1f} ms"
        for point in plan.curve
        if point.latency_ms
    )
    return svg("plan-latency0", f"Modelled latency against load: {words}.", draw)


def _latency(axes: Axes, plan: ServerPlan, curve: Sequence[CurvePoint]) -> None:
    points = [
        (point.images_per_s, point.latency_ms, point.latency_ms_range)
        for point in curve
        if point.latency_ms and point.latency_ms_range
    ]
    for name, colour in (("p99", COLOURS[2]), ("p90", COLOURS[1]), ("p50", COLOURS[0])):
        mean_of, ends_of = QUANTILES[name]
        rates = [rate for rate, _, _ in points]
        lows, highs = zip(*(ends_of(ends) for _, _, ends in points), strict=True)
        axes.fill_between(rates, lows, highs, color=colour, alpha=_PALE, lw=0)
        values = [mean_of(middle) for _, middle, _ in points]
        axes.plot(rates, values, "o-", color=colour, lw=1.5, ms=3.5, label=name)
    role, cards = curve[0].reading, curve[0].cards
    row = next(row for row in plan.rows if (row.reading, row.cards) == (role, cards))
    _mark_capacity(axes, row)
    if plan.latency_limit_ms is not None:
        _mark_limit(axes, row, plan.latency_limit_ms)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_minor_formatter(
        FuncFormatter(lambda v, _: f"{v:,g}" if f"{v:e}"[0] in "25" else "")
    )
    axes.set(xlabel="Images that arrive a second", xlim=(0, row.capacity_images_per_s * 1.03))
    axes.set_title(f"{_NAMES[role]}, {cards} card{'' if cards == 1 else 's'}")
    axes.grid(which="both")
    axes.tick_params(which="both", labelleft=True)


def _mark_capacity(axes: Axes, row: ServerRow) -> None:
    axes.axvline(row.capacity_images_per_s, color=INK, lw=1.0, ls="--")
    note(
        axes,
        f"can do {rate_text(row.capacity_images_per_s)}",
        (row.capacity_images_per_s, 0),
        (-4, 3),
        xycoords=("data", "axes fraction"),
        ha="right",
        va="bottom",
    )


def _mark_limit(axes: Axes, row: ServerRow, limit_ms: float) -> None:
    axes.axhline(limit_ms, color=INK, lw=0.8, ls=":")
    within = row.images_per_s_within_limit
    if within is not None:
        axes.plot(row.images_per_s_within_limit_range or (within,) * 2, [limit_ms] * 2, "-",
                  color=INK, lw=3)  # fmt: skip
        axes.plot([within], [limit_ms], "D", color=INK, ms=6)
        note(
            axes,
            f"{within_text(row)} with p99 within {limit_ms:g} ms",
            (within, limit_ms),
            (-6, 6),
            ha="right",
        )


def draw_throughput(axes: Axes, plan: ServerPlan) -> None:
    """Draw images/s as bars; at a given load nothing says which part of a bar is the CPU's."""
    of_cpu = plan.offered_images_per_s is None
    draw_bars(
        axes,
        plan,
        lambda row: row.images_per_s,
        lambda row: row.cpu_images_per_s if of_cpu else 0.0,
        ",.0f",
    )
    axes.set_ylabel("Images per second")


def draw_watts(axes: Axes, plan: ServerPlan) -> None:
    """Draw the watts of the whole server as bars."""
    draw_bars(
        axes,
        plan,
        lambda row: row.power_w,
        lambda row: (row.power_w or 0.0) - row.cards_power_w,
        ",.0f",
    )
    axes.set_ylabel("Watts of the whole server")


def draw_bars(
    axes: Axes,
    plan: ServerPlan,
    value: Callable[[ServerRow], float | None],
    pale: Callable[[ServerRow], float],
    form: str,
) -> None:
    """Draw a bar with its number a count of cards and a role of the CPU, where it has a value.

    Its lower part is paler, as high as `pale` says.
    """
    roles = _roles(plan)
    width = 0.84 / len(roles)
    counts = sorted({row.cards for row in plan.rows})
    panels = len(axes.figure.axes)
    size = 8.5 - 1.0 * (panels > 2) - 1.0 * (len(counts) * len(roles) > 6)
    for index, role in enumerate(roles):
        shift = (index - (len(roles) - 1) / 2) * width
        for row in plan.rows:
            height = value(row)
            if row.reading != role or height is None:
                continue
            x = counts.index(row.cards) + shift
            base = pale(row)
            colour = _COLOUR[role]
            axes.bar(x, base, width * 0.92, color=colour, alpha=_PALE)
            axes.bar(x, height - base, width * 0.92, bottom=base, color=colour)
            note(axes, f"{height:{form}}", (x, height), (0, 2), ha="center", fontsize=size)
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_xlabel("Cards")
    axes.set_xlim(-0.6, len(counts) - 0.4)
    axes.margins(y=0.1)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)


def _efficiency(axes: Axes, plan: ServerPlan) -> None:
    for role in _roles(plan):
        rows = [row for row in plan.rows if row.reading == role]
        for points, line, fill in (
            ([(row.cards, row.images_per_s_per_w) for row in rows], "-", _COLOUR[role]),
            ([(row.cards, row.marginal_images_per_s_per_w) for row in rows], ":", "none"),
        ):
            known = [(cards, rate) for cards, rate in points if rate is not None]
            axes.plot(
                [cards for cards, _ in known],
                [rate for _, rate in known],
                _MARK[role] + line,
                color=_COLOUR[role],
                markerfacecolor=fill,
                lw=1.5,
                ms=5 if role is CpuRole.ADDITIVE else 8,
            )
    axes.set(xlabel="Cards", ylabel="Images per second per watt")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid()


def _roles(plan: ServerPlan) -> list[CpuRole]:
    return list(dict.fromkeys(row.reading for row in plan.rows))


def role_handles(plan: ServerPlan) -> list[Patch]:
    """Return what a legend says of colours."""
    return [Patch(color=_COLOUR[role], label=_NAMES[role]) for role in _roles(plan)]


def part_handle() -> Patch:
    """Return what a legend says of pale bars."""
    return Patch(color=INK, alpha=_PALE, label="pale: CPU and host, full: cards")


def _metric_handles() -> list[Line2D]:
    return [
        Line2D([], [], color=INK, marker="o", label="whole server"),
        Line2D([], [], color=INK, marker="o", ls=":", markerfacecolor="none",
               label="marginal: what cards add"),
    ]  # fmt: skip


def add_title_and_legend(
    figure: Figure, plan: ServerPlan, handles: Sequence[Patch | Line2D]
) -> None:
    """Name the server of a figure, and what is drawn of it."""
    figure.suptitle(_title(plan), fontsize=10)
    figure.legend(handles=list(handles), loc="outside lower center", ncols=min(3, len(handles)))


def _title(plan: ServerPlan) -> str:
    return f"{plan.full_name}, {plan.network}: {MODELLED}"


def spoken(plan: ServerPlan) -> str:
    """Return what bars of a plan show, in words."""
    words = "; ".join(
        f"{row.cards} cards {row.reading} {row.images_per_s:.0f} images/s"
        + (f" {row.power_w:.0f} W" if row.power_w is not None else "")
        for row in plan.rows
    )
    return f"Modelled, {plan.full_name}: {words}."


def section(plans: Sequence[ServerPlan]) -> Section:
    """Return what servers would do."""
    plots = (server_plot(plan, number=index) for index, plan in enumerate(plans))
    tables = [table for plan in plans for table in server_tables(plan)]
    return Section("plans", "Servers", (COMPUTED,), tuple(plots), tuple(tables))
