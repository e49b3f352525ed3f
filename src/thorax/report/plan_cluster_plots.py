"""Pictures of cluster plans: time and cost against workers; "modelled" stands on each."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from thorax.report.figure import COLOURS, INK, WIDTH, svg
from thorax.report.plan_cluster import duration_text
from thorax.report.series import Document

FAMILY: Final = ("resnet50", "densenet121", "vgg16")
"""Topologies that are drawn beside each other."""

_NAMES: Final = {"resnet50": "ResNet-50", "densenet121": "DenseNet-121", "vgg16": "VGG-16"}
_WAYS: Final = {
    "batch grows": (COLOURS[0], "-", "batch grows with the workers"),
    "batch shared": (COLOURS[2], "--", "workers share a batch"),
}
_HOW: Final = {
    "calibrated": "the model fitted to it",
    "predicted": "predicted",
    "identity": "follows from another",
}
_TIMES: Final = (
    1, 10, 60, 600, 3600, 36_000, 360_000, 3_600_000, 36_000_000,
)  # fmt: skip
_SPOKEN: Final = {
    1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h", 36_000: "10 h",
    360_000: "100 h", 3_600_000: "1,000 h", 36_000_000: "10,000 h",
}  # fmt: skip


def cluster_plot(documents: Sequence[Document], *, number: int = 0) -> str:
    """Return time, energy and cost, as known, against workers, a column a document."""
    first = documents[0]
    known = _costs(first)

    def draw() -> Figure:
        count = len(documents)
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
        for place, document in enumerate(documents):
            times, *costs = (panels[:, place] if count > 1 else panels[0])[:kinds]
            _time(times, document)
            times.set_title(_NAMES.get(document["topology"], document["topology"]))
            if place == 0 or count == 1:
                times.set_ylabel("Time to train")
            for axes, (key, name) in zip(costs, known, strict=True):
                _curves(axes, document, key)
                if place == 0:
                    axes.set_ylabel(name)
        for axes in panels[-1]:
            axes.set_xlabel("Workers")
        _legend(figure, documents)
        figure.suptitle(f"{first['title']}: modelled", fontsize=10)
        return figure

    spoken = "; ".join(
        f"{document['topology']} {row['workers']} workers {duration_text(row['time_to_train_s'])}"
        for document in documents
        for row in document["rows"]
    )
    return svg(f"plan-cluster{number}", f"Modelled, {first['title']}: {spoken}.", draw)


def _costs(document: Document) -> list[tuple[str, str]]:
    """Return the keys and the words of what is known of the cost of a run."""
    row = document["rows"][0]
    kinds = (("energy_kwh", "Energy, kWh"), ("cost", "Cost"))
    return [(key, name) for key, name in kinds if row[key] is not None]


def _time(axes: Axes, document: Document) -> None:
    _curves(axes, document, "time_to_train_s")
    for _, rows in _ways(document):
        start = rows[0]
        workers = [row["workers"] for row in rows]
        ideal = [
            start["time_to_train_s"] / start["efficiency"] * start["workers"] / count
            for count in workers
        ]
        axes.plot(workers, ideal, ":", color=INK, lw=1.1, zorder=1)
    axes.yaxis.set_major_locator(FixedLocator(_TIMES))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _SPOKEN[round(value)]))


def _curves(axes: Axes, document: Document, key: str) -> None:
    stops = {stop["scaling"]: stop["workers"] for stop in document["stops_paying"]}
    for way, rows in _ways(document):
        colour, line, _ = _WAYS[way]
        axes.plot(
            [row["workers"] for row in rows],
            [row[key] for row in rows],
            line,
            color=colour,
            lw=1.7,
            zorder=3,
        )
        for row in rows:
            if row["workers"] == stops[way]:
                axes.plot(
                    row["workers"], row[key], "X", ms=8, color=colour, markeredgecolor=INK,
                    markeredgewidth=0.6, zorder=4,
                )  # fmt: skip
    for point in document["published"]:
        if point.get(key) is not None:
            axes.plot(point["workers"], point[key], zorder=5, **_marker(point["how"]))
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    # Room for the label of the last number of workers.
    axes.margins(x=0.09)
    axes.grid()


def _marker(how: str) -> dict[str, Any]:
    """Return how a published figure is drawn that the model was fitted to, predicts, or implies."""
    return {
        "marker": "D" if how == "identity" else "o",
        "linestyle": "none",
        "ms": 5.5,
        "color": COLOURS[3],
        "markeredgewidth": 1.3,
        "markerfacecolor": COLOURS[3] if how == "predicted" else "none",
    }


def _ways(document: Document) -> list[tuple[str, list[Mapping[str, Any]]]]:
    return [
        (way, rows)
        for way in _WAYS
        if (rows := [row for row in document["rows"] if row["scaling"] == way])
    ]


def _legend(figure: Figure, documents: Sequence[Document]) -> None:
    axes = figure.axes[0]
    document = documents[0]

    def entry(name: str, line: str, colour: str, **style: Any) -> None:  # noqa: ANN401
        axes.plot([], [], line, color=colour, label=name, **style)

    for way, rows in _ways(document):
        colour, line, name = _WAYS[way]
        each = rows[0]["global_batch"] / rows[0]["workers"]
        batch = each if way == "batch grows" else rows[0]["global_batch"]
        entry(f"{name} ({batch:,.0f}{' each' if way == 'batch grows' else ''})", line, colour)
    entry("ideal", ":", INK, lw=1.1)
    entry("doubling stops paying", "X", INK, ms=7)
    points = [point for one in documents for point in one["published"]]
    rates = any(point["computed"] for point in points)
    name = "published as a rate" if rates else "published"
    for how, words in _HOW.items():
        if any(point["how"] == how for point in points):
            axes.plot([], [], label=f"{name}, {words}", **_marker(how))
    figure.legend(loc="outside lower center", ncols=3)
