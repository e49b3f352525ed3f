"""Cycles, area and power of a network on an overlay in one result, all modelled."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from thorax.fpga.architecture import Architecture, format_architecture
from thorax.fpga.area import area, fits
from thorax.fpga.bitstreams import Bitstream
from thorax.fpga.boards import Board, Draw, draw
from thorax.fpga.overlay import Bound, LayerEstimate, estimate
from thorax.fpga.workload import WorkloadLayer
from thorax.results.fpga import DEVICES, OverlayEstimate, OverlayLayer, Resources

SOURCE: Final = "cycle model of thorax, docs/fpga.md"


def analyze(
    name: str,
    layers: Sequence[WorkloadLayer],
    architecture: Architecture,
    *,
    batch: int = 1,
    board: Board | None = None,
    bitstream: Bitstream | None = None,
    out_of_range: Sequence[str] = (),
) -> OverlayEstimate:
    """Return the modelled speed, memory traffic, area and power of a network on an overlay.

    The network's name is for people, layers are of `describe`, and a fully connected layer sees
    `batch` images together. The board's power counts, as `draw` has it under this load; None leaves
    power out. Of a `bitstream` the architecture is what it is taken to hold. Layers that are
    `out_of_range` of the overlay count all the same, and are told.
    """
    speed = estimate(layers, architecture, batch=batch)
    macs = sum(layer.macs for layer in layers)
    load = macs * speed.images_per_s
    power = Draw(None, None) if board is None else draw(board, architecture, load)
    power_w = power.power_w
    taken = area(architecture)
    budget = architecture.budget or DEVICES[architecture.family]
    source, assumed = _origin(architecture, bitstream)
    return OverlayEstimate(
        simulated=True,
        origin="modelled",
        source=source,
        model=name,
        bitstream=None if bitstream is None else bitstream.name,
        architecture=architecture.model_dump(mode="json", exclude={"assumed", "calibrated"}),
        architecture_string=format_architecture(architecture),
        assumed=assumed,
        calibrated=architecture.calibrated,
        batch=batch,
        images_per_s=speed.images_per_s if speed.cycles else None,
        latency_s=speed.latency_s if speed.cycles else None,
        cycles=speed.cycles,
        utilization=speed.utilization,
        macs=macs,
        ddr_bytes=speed.ddr_bytes,
        ddr_bytes_per_s=speed.ddr_bytes_per_s,
        area=taken,
        budget=Resources(**dict(budget)),
        fits=fits(taken, budget),
        board=None if board is None else board.name,
        power_w=power_w,
        power_source=power.source,
        images_per_s_per_w=speed.images_per_s / power_w if power_w and speed.cycles else None,
        out_of_range=tuple(out_of_range),
        bounds={
            bound.value: sum(row.cycles for row in speed.layers if row.bound is bound)
            / speed.cycles
            for bound in Bound
            if bound is not Bound.NONE and speed.cycles
        },
        layers=tuple(_layer(row, architecture.clock_hz) for row in speed.layers),
    )


def _origin(architecture: Architecture, bitstream: Bitstream | None) -> tuple[str, tuple[str, ...]]:
    """Return the source of the figures and what is assumed, with the bitstream if one is meant."""
    if bitstream is None:
        return SOURCE, architecture.assumptions
    return (
        f"{SOURCE}; of bitstream {bitstream.name}, taken to hold {architecture.name}",
        (f"architecture of bitstream {bitstream.name}", *architecture.assumptions),
    )


def _layer(row: LayerEstimate, clock_hz: float) -> OverlayLayer:
    facts = {**asdict(row.layer), **asdict(row)}
    return OverlayLayer.read({**facts, "macs": row.layer.macs, "time_s": row.cycles / clock_hz})
