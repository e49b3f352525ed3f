"""Pictures of cluster plans: time and cost against workers; "modelled" stands on each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from thorax.report.figure import WIDTH, svg
from thorax.report.parts import COMPUTED, Section
from thorax.report.plan_cluster import cluster_plan_tables
from thorax.report.series import COLOURS, INK
from thorax.report.text import duration_text
from thorax.results.plan import ClusterPlan, ClusterRow, Comparison, PublishedPoint, Scaling

FAMILY: Final = ("resnet50", "densenet121", "vgg16")
"""Topologies that are drawn beside each other."""

_NAMES: Final = {"resnet50": "ResNet-50", "densenet121": "DenseNet-121", "vgg16": "VGG-16"}
_WAYS: Final[dict[Scaling, tuple[str, str, str]]] = {
    "batch grows": (COLOURS[0], "-", "batch grows with the workers"),
    "batch shared": (COLOURS[2], "--", "workers share a batch"),
}
_HOW: Final[dict[Comparison, str]] = {
    "calibrated": "the model fitted to it",
    "chosen": "the model chosen with it known",
    "known": "known, not fitted",
    "identity": "follows from another",
}
_TIMES: Final = {
    1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h", 36_000: "10 h",
    360_000: "100 h", 3_600_000: "1,000 h", 36_000_000: "10,000 h",
}  # fmt: skip


_Figure: TypeAlias = Callable[[ClusterRow | PublishedPoint], float | None]

_COSTS: Final[Mapping[str, _Figure]] = {
    "Energy, kWh": lambda run: run.energy_kwh,
    "Cost, currency of the price": lambda run: run.cost if isinstance(run, ClusterRow) else None,
}
"""Figures of a run, where they are known, by the names of their axes."""


def cluster_plot(plans: Sequence[ClusterPlan], *, number: int = 0) -> str:
    """Return time, energy and cost, as known, against workers, a column a plan."""
    first = plans[0]
    known = [name for name, figure in _COSTS.items() if figure(first.rows[0]) is not None]

    def draw() -> Figure:
        count = len(plans)
        kinds = 1 + len(known)
        # One network alone has its pictures beside each other, several have them in columns.
        shape = (kinds, count) if count > 1 else (1, kinds)
        figure = Figure(
            figsize=(WIDTH, 3.0 + 2.2 * kinds if count > 1 else 4.4), layout="constrained"
        )
        panels = figure.subplots(
            *shape,
            sharex=True,
            sharey="row" if count > 1 else False,
            squeeze=False,
            height_ratios=(1.5, 1.0, 1.0)[: shape[0]],
        )
        for index, plan in enumerate(plans):
            times, *costs = (panels[:, index] if count > 1 else panels[0])[:kinds]
            _time(times, plan)
            times.set_title(_NAMES.get(plan.topology, plan.topology))
            if index == 0:
                times.set_ylabel("Time to train")
            for axes, name in zip(costs, known, strict=True):
                _draw(axes, plan, _COSTS[name])
                if index == 0:
                    axes.set_ylabel(name)
        for axes in panels[-1]:
            axes.set_xlabel("Workers")
        _legend(figure, plans)
        figure.suptitle(f"{first.title}: modelled", fontsize=10)
        return figure

    spoken = "; ".join(
        f"{plan.topology} {row.workers} workers {duration_text(row.time_to_train_s)}"
        for plan in plans
        for row in plan.rows
    )
    return svg(f"plan-cluster{number}", f"Modelled, {first.title}: {spoken}.", draw)


def _time(axes: Axes, plan: ClusterPlan) -> None:
    _draw(axes, plan, lambda run: run.time_to_train_s)
    for _, rows in _ways(plan):
        start = rows[0]
        workers = [row.workers for row in rows]
        ideal = [
            start.time_to_train_s / start.efficiency * start.workers / count for count in workers
        ]
        axes.plot(workers, ideal, ":", color=INK, lw=1.1, zorder=1)
    axes.yaxis.set_major_locator(FixedLocator(list(_TIMES)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _TIMES[round(value)]))


def _draw(axes: Axes, plan: ClusterPlan, figure: _Figure) -> None:
    stops = {stop.scaling: stop.workers for stop in plan.stops_paying}
    for way, rows in _ways(plan):
        colour, line, _ = _WAYS[way]
        values = [figure(row) for row in rows]
        known = np.array(values, float)
        axes.plot([row.workers for row in rows], known, line, color=colour, lw=1.7, zorder=3)
        for row, value in zip(rows, values, strict=True):
            if row.workers == stops[way] and value is not None:
                axes.plot(
                    row.workers, value, "X", ms=8, color=colour, markeredgecolor=INK,
                    markeredgewidth=0.6, zorder=4,
                )  # fmt: skip
    for point in plan.published:
        value = figure(point)
        if value is not None:
            axes.plot(point.workers, value, zorder=5, **_marker(point.how))
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=8))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:,g}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    # Room for the label of the last number of workers.
    axes.margins(x=0.09)
    axes.grid()


def _marker(how: Comparison) -> dict[str, Any]:
    """Return how a published figure is drawn: hollow where the model was fitted to it."""
    return {
        "marker": "D" if how == "identity" else "o",
        "linestyle": "none",
        "ms": 5.5,
        "color": COLOURS[3],
        "markeredgewidth": 1.3,
        "markerfacecolor": "none" if how in ("calibrated", "identity") else COLOURS[3],
    }


def _ways(plan: ClusterPlan) -> list[tuple[Scaling, list[ClusterRow]]]:
    return [
        (way, rows) for way in _WAYS if (rows := [row for row in plan.rows if row.scaling == way])
    ]


def _legend(figure: Figure, plans: Sequence[ClusterPlan]) -> None:
    axes = figure.axes[0]

    def entry(name: str, line: str, colour: str, **style: Any) -> None:  # noqa: ANN401
        axes.plot([], [], line, color=colour, label=name, **style)

    for way, rows in _ways(plans[0]):
        colour, line, name = _WAYS[way]
        each = rows[0].global_batch / rows[0].workers
        batch = each if way == "batch grows" else rows[0].global_batch
        entry(f"{name} ({batch:,.0f}{' each' if way == 'batch grows' else ''})", line, colour)
    entry("ideal", ":", INK, lw=1.1)
    entry("doubling stops paying", "X", INK, ms=7)
    points = [point for plan in plans for point in plan.published]
    rates = any(point.computed for point in points)
    name = "published as a rate" if rates else "published"
    for how, words in _HOW.items():
        if any(point.how == how for point in points):
            axes.plot([], [], label=f"{name}, {words}", **_marker(how))
    figure.legend(loc="outside lower center", ncols=3)


def section(plans: Sequence[ClusterPlan]) -> Section:
    """Return how long training would take; networks on one cluster stand beside each other."""
    alike: dict[tuple[object, ...], list[ClusterPlan]] = {}
    for plan in plans:
        known = (figure(plan.rows[0]) is None for figure in _COSTS.values())
        alike.setdefault((plan.title, *known), []).append(plan)
    plots = (cluster_plot(group, number=index) for index, group in enumerate(alike.values()))
    # How well a model meets what was published is the same for each of its networks.
    tables = dict.fromkeys(table for plan in plans for table in cluster_plan_tables(plan))
    return Section("cluster-plans", "Training clusters", (COMPUTED,), tuple(plots), tuple(tables))
