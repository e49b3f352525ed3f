"""What an overlay would do for a network: documents of `thorax fpga analyze` and their tables.

Every figure here is modelled.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from thorax.fpga.architecture import DEVICES, Architecture, format_architecture
from thorax.fpga.area import area
from thorax.fpga.boards import Board
from thorax.fpga.overlay import Bound, Estimate, LayerEstimate, estimate
from thorax.fpga.power import Draw, draw
from thorax.fpga.workload import Layer
from thorax.report.series import Document
from thorax.report.table import Table, dense
from thorax.report.text import number_text, rate_text

TOP: Final = 12
"""Layers that a table shows unless all are asked for."""

_NAME: Final = 34

SOURCE: Final = "cycle model of thorax, docs/fpga.md"


def analyze(
    name: str,
    layers: Sequence[Layer],
    architecture: Architecture,
    *,
    batch: int = 1,
    board: Board | None = None,
) -> dict[str, Any]:
    """Return the JSON document of `thorax fpga analyze`.

    Args:
        name: of the network, for people.
        layers: of `describe`.
        architecture: what they would run on.
        batch: images that a fully connected layer sees together.
        board: whose power counts, as `draw` has it under this load; None leaves power out.
    """
    found = estimate(layers, architecture, batch=batch)
    macs = sum(layer.macs for layer in layers)
    load = macs * found.images_per_s
    drawn = Draw(None, None) if board is None else draw(board, architecture, load)
    power_w = drawn.power_w
    taken = area(architecture)
    room = architecture.budget or DEVICES[architecture.family]
    return {
        "command": "fpga analyze",
        "simulated": True,
        "origin": "modelled",
        "source": SOURCE,
        "model": name,
        "architecture": architecture.model_dump(mode="json", exclude={"assumed", "calibrated"}),
        "architecture_string": format_architecture(architecture),
        "assumed": list(architecture.assumed),
        "calibrated": list(architecture.calibrated),
        "batch": batch,
        "images_per_s": found.images_per_s if found.cycles else None,
        "latency_s": found.latency_s if found.cycles else None,
        "cycles": found.cycles,
        "utilization": found.utilization,
        "macs": macs,
        "ddr_bytes": found.ddr_bytes,
        "ddr_bytes_per_s": found.ddr_bytes_per_s,
        "area": {"dsp": taken.dsp, "m20k": taken.m20k, "alm": taken.alm},
        "budget": {"dsp": room.dsp, "m20k": room.m20k, "alm": room.alm},
        "fits": taken.fits(room),
        "board": None if board is None else board.name,
        "power_w": power_w,
        "power_source": drawn.source,
        "images_per_s_per_w": found.images_per_s / power_w if power_w and found.cycles else None,
        "bounds": _bounds(found),
        "layers": [_layer(layer, found) for layer in found.layers],
    }


def _bounds(found: Estimate) -> dict[str, float]:
    """Return the share of the cycles that each bound decides, 0-1."""
    return {
        bound.value: sum(layer.cycles for layer in found.layers if layer.bound is bound)
        / found.cycles
        for bound in Bound
        if bound is not Bound.NONE and found.cycles
    }


def _layer(one: LayerEstimate, found: Estimate) -> dict[str, Any]:
    layer = one.layer
    return {
        "name": layer.name,
        "kind": layer.kind.value,
        "type": layer.type,
        "fused": list(layer.fused),
        "input_channels": layer.input_channels,
        "output_channels": layer.output_channels,
        "input_size": list(layer.input_size),
        "output_size": list(layer.output_size),
        "kernel": list(layer.kernel),
        "strides": list(layer.strides),
        "groups": layer.groups,
        "residual": layer.residual,
        "macs": layer.macs,
        "cycles": one.cycles,
        "time_s": one.cycles / found.architecture.clock_hz,
        "compute_cycles": one.compute_cycles,
        "drain_cycles": one.drain_cycles,
        "filter_cycles": one.filter_cycles,
        "feature_cycles": one.feature_cycles,
        "bound": one.bound.value,
        "utilization": one.utilization,
        "ddr_bytes": one.ddr_bytes,
    }


def analyze_tables(document: Document, *, top: int | None = TOP) -> list[Table]:
    """Return what `thorax fpga analyze` found: layers, then the whole, then its area.

    Args:
        document: of `analyze`.
        top: how many layers are shown, those that take longest first; None: all, in order.
    """
    layers: Sequence[Mapping[str, Any]] = document["layers"]
    shown = list(layers)
    if top is not None:
        working = [layer for layer in layers if layer["cycles"]]
        shown = sorted(working, key=lambda layer: -float(layer["cycles"]))[:top]
    return [_layers(shown, document), totals_table(document), area_table(document)]


def _layers(shown: Sequence[Mapping[str, Any]], document: Document) -> Table:
    rows = tuple(
        (
            _short(str(layer["name"])),
            _shape(layer),
            number_text(layer["macs"] / 1e6, ",.1f") if layer["macs"] else "",
            number_text(layer["cycles"] / 1e3, ",.1f"),
            number_text(layer["cycles"] / document["cycles"], ".1%") if layer["cycles"] else "",
            "" if layer["bound"] == Bound.NONE else str(layer["bound"]),
            number_text(layer["utilization"], ".0%") if layer["macs"] and layer["cycles"] else "",
            number_text(layer["ddr_bytes"] / 1e3, ",.0f"),
        )
        for layer in shown
    )
    left = len(document["layers"]) - len(shown)
    more = f" {left} more layers: --all shows them in order." if left else ""
    return Table(
        f"Layers of {document['model']} on {document['architecture']['name']}, modelled",
        ("Layer", "Shape", "MMAC", "kcycles", "Share", "Waits for", "Used", "DDR kB"),
        rows,
        tuple(True for _ in rows),
        "Used: of the products that the array could make meanwhile. A layer without cycles runs "
        f"on another's way, or on the host.{more}",
    )


def _shape(layer: Mapping[str, Any]) -> str:
    """Return "64→256 1x1" with what is not 1: step, groups, sum."""
    text = f"{layer['input_channels']}→{layer['output_channels']}"
    if layer["kind"] in ("convolution", "deconvolution", "pool"):
        text += f" {layer['kernel'][0]}x{layer['kernel'][1]}"
        text += f"/{layer['strides'][0]}" if max(layer["strides"]) > 1 else ""
    else:
        text = f"{layer['kind'].replace('_', ' ')} {text}"
    text += f" g{layer['groups']}" if layer["groups"] > 1 else ""
    return text + (" +" if layer["residual"] else "")


def totals_table(document: Document) -> Table:
    """Return speed, memory and power of a network on an architecture, a row each."""
    architecture = document["architecture"]
    sizes = "x".join(str(architecture[f"{letter}_vector"]) for letter in "pqck")
    bounds = ", ".join(
        f"{share:.0%} {name}" for name, share in document["bounds"].items() if share >= 0.005
    )
    latency_s, power_w = document["latency_s"], document["power_w"]
    batch = document["batch"]
    rows = [
        ("Images/s", rate_text(document["images_per_s"])),
        (
            "Latency, ms" if batch == 1 else f"Latency of {batch} images, ms",
            number_text(None if latency_s is None else latency_s * 1e3, ",.2f"),
        ),
        ("Cycles of an image", number_text(document["cycles"], ",.0f")),
        ("that wait for", bounds),
        ("Products used", number_text(document["utilization"], ".0%")),
        ("DDR, MB an image", number_text(document["ddr_bytes"] / 1e6, ",.1f")),
        ("DDR, MB/s", number_text(document["ddr_bytes_per_s"] / 1e6, ",.0f")),
        ("Power of the board, W", number_text(power_w, ".1f") or "unknown"),
        ("Images/s/W", number_text(document["images_per_s_per_w"], ".2f")),
        ("Vectors, rows x columns x in x out", f"{sizes} {architecture['precision'].upper()}"),
        ("Clock, MHz", number_text(architecture["clock_hz"] / 1e6, "g")),
    ]
    known = [row for row in rows if row[1]]
    notes = [
        f"Calibrated: {', '.join(document['calibrated'])}." if document["calibrated"] else "",
        f"Assumed: {', '.join(document['assumed'])}." if document["assumed"] else "",
        _sentence(document["power_source"]),
        "Host and PCIe are left out.",
    ]
    return Table(
        f"{document['model']} on {architecture['name']}, modelled",
        ("", "Modelled"),
        tuple(known),
        tuple(True for _ in known),
        " ".join(note for note in notes if note),
    )


def area_table(document: Document) -> Table:
    """Return what an architecture takes of its device, or of the part that it may take."""
    architecture = document["architecture"]
    limited = architecture["budget"] is not None
    device = DEVICES[architecture["family"]]
    told = (
        f"Allowed: of {device.dsp:,} DSP blocks, {device.m20k:,} M20K blocks and "
        f"{device.alm:,} ALM that the device has."
    )
    notes = (told if limited else "", "" if document["fits"] else "It does not fit.")
    names = {"dsp": "DSP blocks", "m20k": "M20K blocks", "alm": "ALM"}
    rows = tuple(
        (
            names[key],
            f"{document['area'][key]:,}",
            f"{document['budget'][key]:,}",
            number_text(document["area"][key] / document["budget"][key], ".0%"),
        )
        for key in names
    )
    return dense(
        Table(
            f"Area of {architecture['name']}, modelled",
            ("Resource", "Taken", "Allowed" if limited else "There is", "Share"),
            rows,
            tuple(True for _ in rows),
            " ".join(note for note in notes if note),
        )
    )


def _sentence(source: str | None) -> str:
    if not source:
        return ""
    return f"{source[0].upper()}{source[1:]}."


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"
