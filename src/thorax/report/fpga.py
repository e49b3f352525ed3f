"""Tables of simulated cards, their bitstreams, overlays and falling precision."""

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Final, TypeAlias

from thorax.report.partition import partition_tables
from thorax.report.parts import Section
from thorax.report.series import images_text
from thorax.report.table import Table, table_of
from thorax.report.text import (
    interval_text,
    name_text,
    number_text,
    rate_text,
    scaled_text,
    sentence,
)
from thorax.results.fpga import (
    DEVICES,
    BitstreamFeatures,
    CardStatus,
    OverlayEstimate,
    OverlayLayer,
    OverlayResult,
    PrecisionLadder,
    Vectors,
)
from thorax.results.partition import PartitionResult
from thorax.results.shared import Interval

FpgaResult: TypeAlias = PartitionResult | OverlayResult | PrecisionLadder
"""What has tables in the section of a page."""

TOP: Final = 12
"""Layers that a table shows unless all are asked for."""


_ACTIVATIONS: Final = {"PRelu": "PReLU", "Clamp": "Clamp", "Elu": "ELU"}


def section(results: Sequence[FpgaResult]) -> Section:
    """Return splits, overlays and falling precision."""
    splits = (result for result in results if isinstance(result, PartitionResult))
    text = (
        f"{split.model} on {split.device}, "
        + ("cards simulated: their times are modelled." if split.simulated else "no card in it.")
        for split in splits
    )
    return Section("fpga", "FPGA", tuple(text), tables=tuple(fpga_tables(results)))


def fpga_tables(results: Sequence[FpgaResult]) -> list[Table]:
    """Return tables of splits, overlays, falling precision; what is modelled is marked as such."""
    splits = [
        replace(table, title=f"{result.model} on {result.device}: {table.title}")
        for result in results
        if isinstance(result, PartitionResult)
        for table in partition_tables(result)
        if table is not None
    ]
    overlays = [
        table
        for result in results
        if isinstance(result, OverlayResult)
        for table in overlay_tables(result)
    ]
    ladders = [explore_table(result) for result in results if isinstance(result, PrecisionLadder)]
    return [*splits, *overlays, *ladders]


def cards_table(cards: Sequence[CardStatus]) -> Table:
    """Return the cards of `thorax fpga list`, a row each."""
    return table_of(
        "FPGA cards",
        cards,
        {
            "Card": lambda card: card.name,
            "Board": lambda card: card.board,
            "Bitstream": lambda card: card.bitstream or "not programmed",
            "Published load, W": lambda card: (
                "unknown" if card.power_w is None else f"{card.power_w:g}"
            ),
        },
        note="Simulated: arithmetic is real, time and power are modelled. Published load: of the "
        "board whatever its bitstream; `--json` names the source, and `thorax partition` and "
        "`thorax fpga analyze` model what it draws for a network.",
    )


def bitstreams_table(bitstreams: Sequence[BitstreamFeatures]) -> Table:
    """Return the registry of bitstreams, a row each, in order of release."""
    return table_of(
        "Bitstreams",
        bitstreams,
        {
            "Name": lambda bitstream: bitstream.name,
            "Board": lambda bitstream: bitstream.board,
            "Has": _features,
            "Vectors": lambda bitstream: _vectors(bitstream.vectors),
        },
        note="A name says release, board (RC, A10DK, PL1, PL2), precision and networks. Has: "
        "beside the ReLU. Vectors: rows x columns x input x output channels a cycle, assumed. "
        "`--json` has the ranges of layers, and what else is assumed.",
    )


def _features(bitstream: BitstreamFeatures) -> str:
    names = ["LRN"] if bitstream.normalisation else []
    names += [name for kind, name in _ACTIVATIONS.items() if kind in bitstream.activations]
    return "+".join(names) or "-"


def _vectors(sizes: Vectors) -> str:
    return "x".join(map(str, sizes))


def overlay_tables(result: OverlayResult, *, top: int | None = TOP) -> list[Table]:
    """Return the layers of an overlay, if it was not searched for, the whole, and its area.

    Shown are the `top` layers that take longest, or all of them in order.
    """
    tables = [totals_table(result), area_table(result)]
    if not isinstance(result, OverlayEstimate):
        return tables
    layers = list(result.layers)
    if top is not None:
        working = [layer for layer in layers if layer.cycles]
        layers = sorted(working, key=lambda layer: -layer.cycles)[:top]
    return [_layer_table(layers, result), *tables]


def _layer_table(layers: Sequence[OverlayLayer], result: OverlayEstimate) -> Table:
    remaining = len(result.layers) - len(layers)
    more = f" {remaining} more layers: --all shows them in order." if remaining else ""
    return table_of(
        f"Layers of {result.model} on {result.overlay_name}, modelled",
        layers,
        {
            "Layer": lambda layer: name_text(layer.name, 34),
            "Shape": _shape,
            "MMAC": lambda layer: number_text(layer.macs / 1e6, ",.1f") if layer.macs else "",
            "kcycles": lambda layer: number_text(layer.cycles / 1e3, ",.1f"),
            "Share": lambda layer: f"{layer.cycles / result.cycles:.1%}" if layer.cycles else "",
            "Waits for": lambda layer: "" if layer.bound == "none" else layer.bound,
            "Used": lambda layer: (
                number_text(layer.utilization, ".0%") if layer.macs and layer.cycles else ""
            ),
            "DDR kB": lambda layer: number_text(layer.ddr_bytes / 1e3, ",.0f"),
        },
        note="Used: of the products that the array could make meanwhile. A layer without cycles "
        f"runs on another's way, or on the host.{more}",
        modelled=True,
    )


def _shape(layer: OverlayLayer) -> str:
    """Return "64→256 1x1" with what is not 1: step, groups, sum."""
    text = f"{layer.input_channels}→{layer.output_channels}"
    if layer.kind in ("convolution", "deconvolution", "pool"):
        text += f" {layer.kernel[0]}x{layer.kernel[1]}"
        text += f"/{layer.strides[0]}" if max(layer.strides) > 1 else ""
    else:
        text = f"{layer.kind.replace('_', ' ')} {text}"
    text += f" g{layer.groups}" if layer.groups > 1 else ""
    return text + (" +" if layer.residual else "")


def totals_table(result: OverlayResult) -> Table:
    """Return speed, memory and power of a network on an overlay, a row each."""
    design = result.design
    sizes = _vectors((design.p_vector, design.q_vector, design.c_vector, design.k_vector))
    bounds = ", ".join(
        f"{share:.0%} {name}" for name, share in result.bounds.items() if share >= 0.005
    )
    of_batch = "" if result.batch == 1 else f" of {result.batch} images"
    rows = [
        ("Images/s", rate_text(result.images_per_s)),
        (f"Latency{of_batch}, ms", scaled_text(result.latency_s, 1e-3, ",.2f")),
        ("Cycles of an image", number_text(result.cycles, ",.0f")),
        ("that wait for", bounds),
        ("Products used", number_text(result.utilization, ".0%")),
        ("DDR, MB an image", number_text(result.ddr_bytes / 1e6, ",.1f")),
        ("DDR, MB/s", number_text(result.ddr_bytes_per_s / 1e6, ",.0f")),
        ("Power of the board, W", number_text(result.power_w, ".1f") or "unknown"),
        ("Images/s/W", number_text(result.images_per_s_per_w, ".2f")),
        ("Vectors, rows x columns x in x out", f"{sizes} {design.precision.upper()}"),
        ("Clock, MHz", number_text(design.clock_hz / 1e6, "g")),
    ]
    filled = tuple(row for row in rows if row[1])
    source = result.power_source
    notes = [
        sentence(f"architecture: {design.source}") if design.source else "",
        f"Calibrated: {', '.join(result.calibrated)}." if result.calibrated else "",
        f"Assumed: {', '.join(result.assumed)}." if result.assumed else "",
        f"Counted, though out of its range: {'; '.join(result.out_of_range)}."
        if result.out_of_range
        else "",
        f"{source[0].upper()}{source[1:]}." if source else "",
        "Host and PCIe are left out.",
    ]
    return Table(
        f"{result.model} on {result.overlay_name}, modelled",
        ("", "Modelled"),
        filled,
        (True,) * len(filled),
        " ".join(filter(None, notes)),
        modelled=True,
    )


def area_table(result: OverlayResult) -> Table:
    """Return what an overlay takes of its device, or of the part that it may take."""
    design = result.design
    device = DEVICES[design.family]
    allowance = (
        f"Allowed: of {device.dsp:,} DSP blocks, {device.m20k:,} M20K blocks and "
        f"{device.alm:,} ALM that the device has."
    )
    notes = (allowance if design.budget else "", "" if result.fits else "It does not fit.")
    area, budget = result.area, result.budget
    return table_of(
        f"Area of {result.overlay_name}, modelled",
        (
            ("DSP blocks", area.dsp, budget.dsp),
            ("M20K blocks", area.m20k, budget.m20k),
            ("ALM", area.alm, budget.alm),
        ),
        {
            "Resource": lambda row: row[0],
            "Taken": lambda row: f"{row[1]:,}",
            "Allowed" if design.budget else "There is": lambda row: f"{row[2]:,}",
            "Share": lambda row: number_text(row[1] / row[2], ".0%"),
        },
        note=" ".join(filter(None, notes)),
        modelled=True,
    )


def explore_table(result: PrecisionLadder) -> Table:
    """Return what each precision leaves and brings, a row a variant, FP32 first."""
    has_watts = any(variant.modelled.power_w for variant in result.variants)
    rows = [
        ("FP32, CPU", number_text(result.reference.mean_auroc.value, ".3f"))
        + ("",) * (8 if has_watts else 6)
    ]
    for variant in result.variants:
        overlay = variant.modelled
        watts = (
            number_text(overlay.power_w, ".1f"),
            number_text(overlay.images_per_s_per_w, ".2f"),
        )
        rows.append(
            (
                variant.name + (" *" if variant.pareto else ""),
                number_text(variant.mean_auroc.value, ".3f"),
                interval_text(variant.mean_difference.negated(), "+.3f"),
                _vectors(overlay.vectors),
                f"{overlay.area.dsp:,}",
                f"{overlay.area.m20k:,}",
                f"{overlay.area.alm / 1e3:.0f}",
                f"{overlay.images_per_s:,.0f}",
                *(watts if has_watts else ()),
            )
        )
    power = ("W", "Img/s/W") if has_watts else ()
    return Table(
        f"{result.model}, {sides_text(result)}, falling precision on {result.board_full_name}",
        ("", "AUROC", "drop [95%]", "Vectors", "DSP", "M20K", "kALM", "Img/s", *power),
        tuple(rows),
        (False, *(True for _ in result.variants)),
        _explore_note(result, has_watts=has_watts),
    )


def sides_text(result: PrecisionLadder) -> str:
    """Return what sides of images an exploration is about."""
    if result.modelled_side == result.side:
        return f"{result.side} px"
    return f"{result.side} px, speed at {result.modelled_side} px"


def _explore_note(result: PrecisionLadder, *, has_watts: bool) -> str:
    judged = () if result.doubt else result.variants
    lost = [variant.name for variant in judged if _spread(variant.mean_auroc)[0] <= 0.5]
    worse = [
        variant.name
        for variant in judged
        if variant.name not in lost and _spread(variant.mean_difference)[1] < 0
    ]
    rest = "its area, and the board's power" if has_watts else "and its area; no power is published"
    subject = images_text(result.images, result.patients, result.split)
    sentences = [
        f"Mean AUROC of {subject}, and its drop, FP32 minus the variant, computed with the "
        "overlay's arithmetic, nothing trained after rounding. All else is modelled: the fastest "
        "overlay of rows x columns x input x output channels a cycle that the device has room "
        f"for, {rest}. * none is better in both."
    ]
    if result.doubt:
        sentences.append(f"No verdict on the differences: {result.doubt}.")
    if lost:
        sentences.append(f"{_and(lost)}: destroyed, no better than chance.")
    if worse:
        sentences.append(f"{_and(worse)}: worse than FP32 beyond chance.")
    sentences.append(
        "No vendor has FP9, FP8 or filters of two and three values, nor the AGX formats but for "
        "Agilex: their overlays go on from the model."
    )
    return " ".join(sentences)


def _spread(interval: Interval) -> tuple[float, float]:
    """Return the bounds, not a number where resampling found one value over and over, or none."""
    low, high = interval.low, interval.high
    return (low, high) if low is not None and high is not None and low < high else (nan, nan)


def _and(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
