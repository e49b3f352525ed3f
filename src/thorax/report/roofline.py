"""Documents of `thorax analyze` as tables, and their roofline as a plot."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from thorax.errors import UsageError
from thorax.files.atomic import write_bytes, write_text
from thorax.report.figure import COLOURS, INK, STYLE, WIDTH, svg
from thorax.report.series import Document
from thorax.report.table import Table, dense
from thorax.report.text import rate_text

TOP: Final = 12
"""Layers that a table shows unless all are asked for."""

_NAME: Final = 30
_FUSED: Final = 66
_MARKS: Final = "osD^vP"
_LARGEST: Final = 260.0
"""Area of the mark of the layer that takes longest, points squared."""

_SHADES: Final = (
    "<style>:root{color:#444;background:transparent}"
    "@media (prefers-color-scheme:dark){:root{color:#ccc}}</style>"
)


def analyze_tables(document: Document, *, top: int | None = TOP) -> list[Table]:
    """Return what `thorax analyze` found: layers, types, what runs as one, what precisions save.

    Args:
        document: of `thorax analyze`.
        top: how many layers are shown, those that take longest first; None: all, in order.
    """
    layers: Sequence[Mapping[str, Any]] = document["layers"]
    shown = list(layers)
    if top is not None:
        shown = sorted(layers, key=_weight, reverse=True)[:top]
    left = len(layers) - len(shown)
    return [
        _layers(shown, left, document),
        _types(document),
        _fused(shown),
        _precisions(document),
        _totals(document),
    ]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _weight(layer: Mapping[str, Any]) -> tuple[float, int, int]:
    return layer["bound_s"] or 0.0, layer["macs"], layer["moved_bytes"]


def _layers(shown: Sequence[Mapping[str, Any]], left: int, document: Document) -> Table:
    rows = tuple(
        (
            _short(layer["name"], _NAME),
            str(layer["type"]),
            _scaled(layer["macs"], 1e6),
            _scaled(layer["weight_bytes"], 1e3),
            _scaled(layer["input_bytes"] + layer["output_bytes"], 1e3),
            f"{layer['intensity']:.1f}" if layer["macs"] else "",
            _scaled(layer["bound_s"], 1e-6),
            _scaled(layer.get("measured_s"), 1e-6),
            _share(layer.get("attained")),
            str(layer["bound_by"] or ""),
        )
        for layer in shown
    )
    columns = (
        *("Layer", "Type", "MACs\n10⁶", "Weights\nkB", "In+out\nkB", "Ops/B"),
        *("Bound\nµs", "Measured\nµs", "Of\nroof", "Bound by"),
    )
    note = "Ops/B: 2 MACs / bytes of weights, inputs and outputs."
    if document.get("measured_s"):
        note += (
            f" Bound: the least time, modelled. Measured: median of {document['measured_runs']:,} "
            "runs, one at a time. Of roof: bound / measured; above 100% where a cache holds what "
            "the bound reads from memory."
        )
    if left:
        note = f"{left:,} more layers, each with a lower bound: --all. {note}"
    name = f"Layers of {document['model']} ({str(document['precision']).upper()})"
    return dense(Table(name, columns, rows, note=note))


def _types(document: Document) -> Table:
    rows = tuple(
        (
            str(row["type"]),
            f"{row['layers']:,}",
            _scaled(row["macs"], 1e6),
            _scaled(row["operations"], 1e6),
            _scaled(row["parameters"], 1e3),
            _scaled(row["moved_bytes"], 1e3),
            _scaled(row["bound_s"], 1e-6),
            _scaled(row.get("measured_s"), 1e-6),
            _share(_ratio(row["bound_s"], row.get("measured_s"))),
        )
        for row in document["types"]
    )
    columns = (
        *("Type", "Layers", "MACs\n10⁶", "Other ops\n10⁶", "Parameters\n10³"),
        *("Moved\nkB", "Bound\nµs", "Measured\nµs", "Of\nroof"),
    )
    other_s = document.get("measured_other_s")
    note = (
        ""
        if other_s is None
        else (f"What is of no layer, such as changes of layout, took {_scaled(other_s, 1e-6)} µs.")
    )
    return dense(Table("By type", columns, rows, note=note))


def _fused(shown: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        (
            _cut(" + ".join([layer["name"], *layer["fused"]]), _FUSED),
            str(layer["implementation"] or layer["kernel"] or "folded away"),
        )
        for layer in shown
        if layer["fused"] or layer["kernel"] is None
    )
    return Table("What runs as one", ("Layers of the graph", "Kernel"), rows)


def _precisions(document: Document) -> Table:
    rows = tuple(
        (
            str(row["precision"]).upper(),
            str(row["arithmetic"]),
            _scaled(row["weight_bytes"], 1e6),
            _scaled(row["moved_bytes"], 1e6),
            _scaled(row["bound_s"], 1e-3),
            rate_text(row["images_per_s_bound"]),
        )
        for row in document["precisions"]
    )
    columns = ("Precision", "Computed in", "Weights MB", "Moved MB", "Least ms", "Images/s at most")
    return Table(f"What each precision of {document['device']} would cost", columns, rows)


def _totals(document: Document) -> Table:
    peaks = document.get("peaks") or {}
    roofs = [f"{element} {rate:,.0f} GOPS" for element, rate in (peaks.get("gops") or {}).items()]
    if peaks.get("bandwidth_gb_s"):
        roofs.append(f"memory {peaks['bandwidth_gb_s']:,.1f} GB/s")
    told = ""
    if roofs:
        how = "measured" if peaks.get("measured") else "as given"
        told = f"Peaks of {document['device']}, {how}: {', '.join(roofs)}."
    rows: tuple[tuple[str, str], ...] = (
        ("Multiply-accumulates, 10⁹", f"{document['macs'] / 1e9:,.4g}"),
        ("Parameters, 10⁶", f"{document['parameters'] / 1e6:,.4g}"),
        ("Weights", f"{document['weight_bytes'] / 1e6:,.4g} MB"),
        ("Values held at once", f"{document['peak_activation_bytes'] / 1e6:,.4g} MB"),
        ("Moved", f"{document['moved_bytes'] / 1e6:,.4g} MB"),
        ("Operations a byte", f"{document['intensity']:,.4g}"),
    )
    if document.get("bound_s"):
        rows += (
            ("Least time of one inference, bound", f"{document['bound_s'] * 1e3:,.4g} ms"),
            ("Images per second at most, bound", rate_text(document["images_per_s_bound"])),
        )
    if document.get("measured_s"):
        rows += (
            ("Time of one inference, measured", f"{document['measured_s'] * 1e3:,.4g} ms"),
            ("Images per second, measured", rate_text(document["images_per_s_measured"])),
        )
    if document.get("attained"):
        rows += (("Of the bound attained", _share(document["attained"])),)
    return Table("In all", ("What", "One inference"), rows, note=told)


def roofline_plot(document: Document, *, number: int = 0) -> str:
    """Return the roofline as `<svg>`: roofs of the device, and a mark for each layer under them.

    Measured layers stand where they were measured, with a ring on the bound above.

    A layer without multiply-accumulates has no place on it and is left out. `number` tells
    several on one page apart.

    Raises:
        UsageError: `roofline-peaks` for a document without the device's peaks.
    """
    spoken = (
        f"Roofline of {document['model']} on {document['device']}: giga-operations a second "
        "against operations a byte, of each layer and of the roofs above it."
    )
    return svg(f"roofline{number}", spoken, lambda: _figure(document))


def write_plot(document: Document, path: Path) -> None:
    """Write the roofline to a .svg, which follows light and dark, or a .png on no background.

    Raises:
        UsageError: `plot-format` for another ending, `roofline-peaks` as `roofline_plot`.
    """
    kind = path.suffix.lower()
    require_plot_format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == ".svg":
        drawn = roofline_plot(document)
        begin = drawn.index(">") + 1
        write_text(path, drawn[:begin] + _SHADES + drawn[begin:] + "\n")
        return
    data = io.BytesIO()
    with mpl.rc_context(STYLE):
        _figure(document).savefig(data, format="png", dpi=160, metadata={"Software": None})
    write_bytes(path, data.getvalue())


def require_plot_format(path: Path) -> None:
    """Refuse a plot of another format before anything is measured for it.

    Raises:
        UsageError: `plot-format`.
    """
    if path.suffix.lower() not in (".svg", ".png"):
        raise UsageError("plot-format", f"--plot is {path.name}; allowed endings: .svg, .png")


def has_roofs(document: Document) -> bool:
    """Return whether a document has what its roofline is drawn from."""
    peaks = document.get("peaks") or {}
    return bool(peaks.get("bandwidth_gb_s") and peaks.get("gops"))


def _figure(document: Document) -> Figure:
    if not has_roofs(document):
        raise UsageError(
            "roofline-peaks",
            "a roofline needs the device's peaks; measure them or give --peak-gops and "
            "--bandwidth-gb-s",
        )
    bandwidth = float(document["peaks"]["bandwidth_gb_s"])
    roofs: dict[str, float] = document["peaks"]["gops"]
    layers = [
        layer
        for layer in document["layers"]
        if layer["macs"] and layer["attainable_gops"] is not None
    ]
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = figure.add_subplot()
    knees = [rate / bandwidth for rate in roofs.values()]
    reach = [layer["intensity"] for layer in layers]
    left = min([*reach, *knees]) / 2
    right = max([*reach, *knees]) * 3
    _roofs(axes, roofs, bandwidth, left, right)
    _marks(axes, layers)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(left, right),
        xlabel="Arithmetic intensity (operations per byte)",
        ylabel="Performance (10⁹ operations per second)",
    )
    top = max(roofs.values())
    reached = [layer.get("measured_gops") or layer["attainable_gops"] for layer in layers]
    low = min([left * bandwidth, *reached, *(layer["attainable_gops"] for layer in layers)])
    axes.set_ylim(low / 1.5, max([top, *reached]) * 2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(which="major")
    named = figure.legend(loc="outside upper center", ncols=4)
    # Marks are as large as their layers take long, which a legend is not.
    for handle in named.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([40.0 if len(handle.get_facecolor()) else 20.0])
    return figure


def _roofs(
    axes: Axes, roofs: Mapping[str, float], bandwidth: float, left: float, right: float
) -> None:
    top = max(roofs.values())
    axes.plot([left, top / bandwidth], [left * bandwidth, top], color=INK, lw=1.4, zorder=1)
    axes.annotate(
        f"memory {bandwidth:,.1f} GB/s",
        (left, left * bandwidth),
        xytext=(14, 2),
        textcoords="offset points",
        rotation=0,
        va="center",
    )
    for place, (element, rate) in enumerate(roofs.items()):
        line = ("-", "--", ":")[place % 3]
        axes.plot([rate / bandwidth, right], [rate, rate], line, color=INK, lw=1.4, zorder=1)
        axes.annotate(
            f"{element} {rate:,.0f} GOPS",
            (right, rate),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
        )


def _marks(axes: Axes, layers: Sequence[Mapping[str, Any]]) -> None:
    """Draw each layer: filled where it was measured, and a small ring on its bound."""
    kinds = list(dict.fromkeys(layer["type"] for layer in layers))
    measured = [layer for layer in layers if layer.get("measured_gops")]
    key = "measured_s" if measured else "bound_s"
    longest = max((layer[key] or 0.0 for layer in layers), default=1.0)
    if measured:
        axes.vlines(
            [layer["intensity"] for layer in measured],
            [layer["measured_gops"] for layer in measured],
            [layer["attainable_gops"] for layer in measured],
            color=INK,
            lw=0.6,
            alpha=0.5,
            zorder=1.5,
        )
        axes.scatter(
            [layer["intensity"] for layer in layers],
            [layer["attainable_gops"] for layer in layers],
            s=14.0,
            facecolors="none",
            edgecolors=INK,
            linewidths=0.9,
            label="bound (modelled)",
            zorder=2,
        )
    for place, kind in enumerate(kinds):
        group = [layer for layer in measured or layers if layer["type"] == kind]
        if not group:
            continue
        axes.scatter(
            [layer["intensity"] for layer in group],
            [layer["measured_gops" if measured else "attainable_gops"] for layer in group],
            s=[max(14.0, _LARGEST * layer[key] / longest) for layer in group],
            marker=_MARKS[place % len(_MARKS)],
            color=COLOURS[(0, 2, 3, 1, 4, 5)[place % len(COLOURS)]],
            alpha=0.75,
            linewidths=0,
            label=f"{kind} ({len(group)}), {'measured' if measured else 'bound'}",
            zorder=3,
        )


def _short(name: str, width: int) -> str:
    """Return a name that fits, without its beginning where it is too long: ends differ."""
    return name if len(name) <= width else f"…{name[1 - width :]}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _scaled(value: float | None, unit: float) -> str:
    """Return a number in a unit, with three figures or all before the point."""
    if value is None:
        return ""
    scaled = value / unit
    if scaled == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(scaled))))
    return f"{scaled:,.{min(digits, 3)}f}"
