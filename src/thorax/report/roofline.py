"""Tables of `thorax analyze`, and the roofline as a plot."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from thorax.errors import UsageError
from thorax.report.figure import STYLE, WIDTH, note, svg, write_figure
from thorax.report.parts import Section
from thorax.report.picture import write_picture
from thorax.report.series import COLOURS, INK
from thorax.report.table import Table, table_of
from thorax.report.text import name_text, rate_text, three_figures
from thorax.results.analysis import AnalyzeResult, LayerRoofline

TOP: Final = 12
"""Layers that a table shows unless all are asked for."""

_FUSED: Final = 66
_MARKS: Final = "osD^vP"
_LARGEST: Final = 260.0
"""Area of the mark of the layer that takes longest, points squared."""


def analyze_tables(result: AnalyzeResult, *, top: int | None = TOP) -> list[Table]:
    """Return what `thorax analyze` found: layers, types, what runs as one, what precisions save.

    Shown are the `top` layers that take longest first, or all in order.
    """
    shown: Sequence[LayerRoofline] = result.layers
    if top is not None:
        shown = sorted(
            shown, key=lambda layer: (-(layer.bound_s or 0.0), -layer.macs, -layer.moved_bytes)
        )[:top]
    return [
        _layers(shown, result),
        _types(result),
        _fused(shown),
        _precisions(result),
        _totals(result),
    ]


def _share(value: float | None) -> str:
    """Return a share of a roof; a roof that was given, and passed, is none to have a share of."""
    if value is None:
        return ""
    return "passed" if value > 1 else f"{value:.0%}"


def _layers(shown: Sequence[LayerRoofline], result: AnalyzeResult) -> Table:
    note = "Ops/B: 2 MACs / bytes of weights, inputs and outputs."
    if result.measured_s:
        note += (
            f" Bound: time at the roofs, modelled. Measured: median of {result.measured_runs:,} "
            "runs, one at a time. Of roof: bound / measured. Bound by cache: faster than memory, "
            "so that the roof is of arithmetic alone."
        )
    if remaining := len(result.layers) - len(shown):
        note = f"{remaining:,} more layers, each with a lower bound: --all. {note}"
    title = f"Layers of {result.model} ({result.precision.upper()})"
    columns: dict[str, Callable[[LayerRoofline], str]] = {
        "Layer": lambda layer: name_text(layer.name, 30),
        "Type": lambda layer: layer.type,
        "MACs\n10⁶": lambda layer: three_figures(layer.macs, 1e6),
        "Weights\nkB": lambda layer: three_figures(layer.weight_bytes, 1e3),
        "In+out\nkB": lambda layer: three_figures(layer.input_bytes + layer.output_bytes, 1e3),
        "Ops/B": lambda layer: f"{layer.intensity:.1f}" if layer.macs else "",
        "Bound\nµs": lambda layer: three_figures(layer.bound_s, 1e-6),
        "Measured\nµs": lambda layer: three_figures(layer.measured_s, 1e-6),
        "Of\nroof": lambda layer: _share(layer.attained),
        "Bound by": lambda layer: layer.bound_by or "",
    }
    return table_of(title, shown, columns, note=note)


def _types(result: AnalyzeResult) -> Table:
    other = three_figures(result.measured_other_s, 1e-6)
    return table_of(
        "By type",
        result.types,
        {
            "Type": lambda row: row.type,
            "Layers": lambda row: f"{row.layers:,}",
            "MACs\n10⁶": lambda row: three_figures(row.macs, 1e6),
            "Other ops\n10⁶": lambda row: three_figures(row.operations, 1e6),
            "Parameters\n10³": lambda row: three_figures(row.parameters, 1e3),
            "Moved\nkB": lambda row: three_figures(row.moved_bytes, 1e3),
            "Bound\nµs": lambda row: three_figures(row.bound_s, 1e-6),
            "Measured\nµs": lambda row: three_figures(row.measured_s, 1e-6),
            "Of\nroof": lambda row: _share(
                row.bound_s / row.measured_s if row.bound_s and row.measured_s else None
            ),
        },
        note=f"What is of no layer, such as changes of layout, took {other} µs." if other else "",
    )


def _fused(shown: Sequence[LayerRoofline]) -> Table:
    rows = []
    for layer in shown:
        if layer.fused or layer.kernel is None:
            names = " + ".join([layer.name, *layer.fused])
            names = names if len(names) <= _FUSED else f"{names[: _FUSED - 1]}…"
            rows.append((names, layer.implementation or layer.kernel or "folded away"))
    return Table("What runs as one", ("Layers of the graph", "Kernel"), tuple(rows))


def _precisions(result: AnalyzeResult) -> Table:
    return table_of(
        f"What each precision of {result.device} would cost",
        result.precisions,
        {
            "Precision": lambda row: row.precision.upper(),
            "Computed in": lambda row: row.arithmetic,
            "Weights MB": lambda row: three_figures(row.weight_bytes, 1e6),
            "Moved MB": lambda row: three_figures(row.moved_bytes, 1e6),
            "Roofline ms": lambda row: three_figures(row.bound_s, 1e-3),
            "Images/s by it": lambda row: rate_text(row.images_per_s_bound),
        },
    )


def _totals(result: AnalyzeResult) -> Table:
    rows: tuple[tuple[str, str], ...] = (
        ("Multiply-accumulates, 10⁹", f"{result.macs / 1e9:,.4g}"),
        ("Parameters, 10⁶", f"{result.parameters / 1e6:,.4g}"),
        ("Weights", f"{result.weight_bytes / 1e6:,.4g} MB"),
        ("Values held at once", f"{result.peak_activation_bytes / 1e6:,.4g} MB"),
        ("Moved", f"{result.moved_bytes / 1e6:,.4g} MB"),
        ("Operations a byte", f"{result.intensity:,.4g}"),
    )
    if result.bound_s:
        rows += (
            ("Time of one inference at the roofs, bound", f"{result.bound_s * 1e3:,.4g} ms"),
            ("Images per second, bound", rate_text(result.images_per_s_bound)),
        )
    if result.measured_s:
        rows += (
            ("Time of one inference, measured", f"{result.measured_s * 1e3:,.4g} ms"),
            ("Images per second, measured", rate_text(result.images_per_s_measured)),
        )
    if result.attained:
        rows += (("Of the bound attained", _share(result.attained)),)
    return Table("In all", ("What", "One inference"), rows, note=_peaks(result))


def _peaks(result: AnalyzeResult) -> str:
    """Return the roofs of the device in a sentence, "" where none is known."""
    peaks = result.peaks
    if peaks is None:
        return ""
    roofs = [f"{element} {rate:,.0f} GOPS" for element, rate in peaks.gops.items()]
    if peaks.bandwidth_gb_s:
        roofs.append(f"memory {peaks.bandwidth_gb_s:,.1f} GB/s")
    if not roofs:
        return ""
    how = {
        "given": ", as given",
        "fastest seen of OpenVINO": ", the fastest that OpenVINO was seen to run and no peak of "
        "the hardware",
    }.get(peaks.arithmetic, "")
    return f"Roofs of {result.device}{how}: {', '.join(roofs)}."


def roofline_plot(result: AnalyzeResult, *, number: int = 0) -> str:
    """Return the roofline as `<svg>`: roofs of the device, and a mark for each layer under them.

    Measured layers stand where they were measured, with a ring on the bound above.

    A layer without multiply-accumulates has no place on it and is left out. `number` tells
    several on one page apart.

    Raises:
        UsageError: `roofline-peaks` for a result without the device's roofs.
    """
    spoken = (
        f"Roofline of {result.model} on {result.device}: giga-operations a second "
        "against operations a byte, of each layer and of the roofs above it."
    )
    return svg(f"roofline{number}", spoken, lambda: _figure(result))


def section(results: Sequence[AnalyzeResult]) -> Section:
    """Return layers under the roof of a device, of `analyze`."""
    plots = [
        Markup(roofline_plot(result, number=number))
        for number, result in enumerate(results)
        if result.has_roofs
    ]
    text = (
        "The roof is the fastest that the device was seen to compute, or is said to, or what"
        " memory feeds it, at a layer's operations a byte; marks are layers, larger the longer they"
        " must take.",
    )
    tables = [table for result in results for table in analyze_tables(result)]
    return Section(
        "roofline", "Work and memory", text if plots else (), tuple(plots), tuple(tables)
    )


def write_plot(result: AnalyzeResult, path: Path) -> None:
    """Write the roofline to a .svg, which follows light and dark, or a .png on no background.

    Raises:
        UsageError: `plot-format` for another ending, `roofline-peaks` as `roofline_plot`.
    """
    kind = path.suffix.lower()
    require_plot_format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == ".svg":
        write_picture(roofline_plot(result), path)
        return
    write_figure(lambda: _figure(result), path, STYLE)


def require_plot_format(path: Path) -> None:
    """Refuse a plot of another format before anything is measured for it.

    Raises:
        UsageError: `plot-format`.
    """
    if path.suffix.lower() not in (".svg", ".png"):
        raise UsageError("plot-format", f"--plot is {path.name}; allowed endings: .svg, .png")


def _figure(result: AnalyzeResult) -> Figure:
    peaks = result.peaks
    if peaks is None or not peaks.gops or not peaks.bandwidth_gb_s:
        raise UsageError(
            "roofline-peaks",
            "a roofline needs the device's roofs; measure them or give --peak-gops and "
            "--bandwidth-gb-s",
        )
    roofs, bandwidth = peaks.gops, peaks.bandwidth_gb_s
    layers = [layer for layer in result.layers if layer.macs and layer.attainable_gops is not None]
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = figure.add_subplot()
    knees = [rate / bandwidth for rate in roofs.values()]
    reach = [layer.intensity for layer in layers]
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
    reached = [layer.measured_gops or _attainable(layer) for layer in layers]
    low = min([left * bandwidth, *reached, *map(_attainable, layers)])
    axes.set_ylim(low / 1.5, max([top, *reached]) * 2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:,g}")
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
    note(
        axes,
        f"memory {bandwidth:,.1f} GB/s",
        (left, left * bandwidth),
        (14, 2),
        rotation=0,
        va="center",
    )
    for index, (element, rate) in enumerate(roofs.items()):
        line = ("-", "--", ":")[index % 3]
        axes.plot([rate / bandwidth, right], [rate, rate], line, color=INK, lw=1.4, zorder=1)
        note(axes, f"{element} {rate:,.0f} GOPS", (right, rate), (-2, 3), ha="right")


def _attainable(layer: LayerRoofline) -> float:
    return layer.attainable_gops or 0.0


def _marks(axes: Axes, layers: Sequence[LayerRoofline]) -> None:
    """Draw each layer: filled where it was measured, and a small ring on its bound."""
    kinds = list(dict.fromkeys(layer.type for layer in layers))
    measured = [layer for layer in layers if layer.measured_gops]
    if measured:
        _bounds(axes, layers, measured)

    def time_s(layer: LayerRoofline) -> float:
        return (layer.measured_s if measured else layer.bound_s) or 0.0

    longest = max(map(time_s, layers), default=1.0)
    for index, kind in enumerate(kinds):
        group = [layer for layer in measured or layers if layer.type == kind]
        if not group:
            continue
        axes.scatter(
            [layer.intensity for layer in group],
            [layer.measured_gops or _attainable(layer) for layer in group],
            s=[max(14.0, _LARGEST * time_s(layer) / longest) for layer in group],
            marker=_MARKS[index % len(_MARKS)],
            color=COLOURS[(0, 2, 3, 1, 4, 5)[index % len(COLOURS)]],
            alpha=0.75,
            linewidths=0,
            label=f"{kind} ({len(group)}), {'measured' if measured else 'bound'}",
            zorder=3,
        )


def _bounds(axes: Axes, layers: Sequence[LayerRoofline], measured: Sequence[LayerRoofline]) -> None:
    """Draw a ring on each layer's bound, and a line down to where it was measured."""
    axes.vlines(
        [layer.intensity for layer in measured],
        [layer.measured_gops or 0.0 for layer in measured],
        [_attainable(layer) for layer in measured],
        color=INK,
        lw=0.6,
        alpha=0.5,
        zorder=1.5,
    )
    axes.scatter(
        [layer.intensity for layer in layers],
        [_attainable(layer) for layer in layers],
        s=14.0,
        facecolors="none",
        edgecolors=INK,
        linewidths=0.9,
        label="bound (modelled)",
        zorder=2,
    )
