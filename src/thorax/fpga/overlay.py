"""Clock cycles of an overlay for each layer of a network: modelled, never measured.

The array of processing elements makes P_vec x Q_vec x C_vec x K_vec products a cycle (Abdelfattah
et al., arXiv 1807.06434; Aydonat et al., arXiv 1701.03534). A layer takes the longest of what its
products, the narrower kernels behind the array, its filters and its feature maps take, for all of
these overlap, and an overhead. The formulas are our own; docs/fpga.md tells what they are derived
from and how far they lie from what has been published.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from thorax.fpga.architecture import Architecture
from thorax.fpga.stream_buffer import Traced, place, trace
from thorax.fpga.workload import LayerKind, WorkloadLayer

FEATURE_BYTES: Final = 2
"""Of one number of a feature map in external memory: FP16 (handbook 863373)."""


class Bound(StrEnum):
    """Part of an overlay that a layer waits for."""

    COMPUTE = "compute"
    """The PE array."""
    DRAIN = "drain"
    """The kernels behind it, which take fewer channels a cycle."""
    FILTER = "filter"
    """Filters from external memory."""
    FEATURE = "feature"
    """Feature maps from and to external memory."""
    NONE = "none"
    """Nothing: it runs on the way of another layer, or not on the card."""


@dataclass(frozen=True, slots=True)
class LayerEstimate:
    """Cycles of one layer, those of a batch divided by its images.

    Fields as of `thorax.results.fpga.OverlayLayer`.
    """

    layer: WorkloadLayer
    cycles: float
    compute_cycles: float
    drain_cycles: float
    filter_cycles: float
    feature_cycles: float
    bound: Bound
    ddr_bytes: float
    utilization: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """Modelled speed of a network on an architecture, host and transfers over PCIe left out.

    Fields as of `thorax.results.fpga.OverlayResult`.
    """

    architecture: Architecture
    batch: int
    layers: tuple[LayerEstimate, ...]
    cycles: float
    images_per_s: float
    latency_s: float
    ddr_bytes: float
    ddr_bytes_per_s: float
    utilization: float


def estimate(
    layers: Sequence[WorkloadLayer], architecture: Architecture, *, batch: int = 1
) -> Estimate:
    """Return the modelled speed of a network.

    Layers that the card does not compute (normalisation of the image, a softmax without its kernel,
    what is unknown) cost no cycle. Layers are of `describe`, or those of them that the card
    computes; the rows of a fully connected layer of `batch` images are computed together.

    Example:
        >>> estimate(describe(model), find_architecture("8x48-fp11")).images_per_s
    """
    flow = _trace(tuple(layers))
    placed = place(flow, architecture)
    estimates = tuple(
        _estimate(traced, architecture, batch, placed.slices[at], placed.values[at] * FEATURE_BYTES)
        for at, traced in enumerate(flow)
    )  # fmt: skip
    cycles = sum(layer.cycles for layer in estimates)
    images_per_s = architecture.clock_hz / cycles if cycles else math.inf
    ddr_bytes = sum(layer.ddr_bytes for layer in estimates)
    macs = sum(layer.macs for layer in layers)
    return Estimate(
        architecture=architecture,
        batch=batch,
        layers=estimates,
        cycles=cycles,
        images_per_s=images_per_s,
        latency_s=batch / images_per_s,
        ddr_bytes=ddr_bytes,
        ddr_bytes_per_s=ddr_bytes * images_per_s if cycles else 0.0,
        utilization=macs / (cycles * architecture.macs_per_cycle) if cycles else 0.0,
    )


# The search asks for one network on thousands of architectures.
_trace = lru_cache(maxsize=8)(trace)


def _estimate(
    traced: Traced,
    architecture: Architecture,
    batch: int,
    slices: int,
    feature_bytes: float,
) -> LayerEstimate:
    layer = traced.layer
    compute, drain, filters = work(traced, architecture, batch)
    compute *= _overlap(layer, slices)
    memory = architecture.memory
    bank = memory.bank_bytes_per_s * memory.efficiency
    filter_bytes = _filter_bytes(layer, architecture, batch)
    if not (compute or drain):
        # A host's layer reads what others wrote; the traffic of those is theirs.
        feature_bytes = filter_bytes = 0.0
    feature = feature_bytes / (bank * memory.feature_banks) * architecture.clock_hz
    sides = {
        Bound.COMPUTE: compute,
        Bound.DRAIN: drain,
        Bound.FILTER: filters,
        Bound.FEATURE: feature,
    }
    longest = max(sides, key=lambda bound: sides[bound])
    cycles = sides[longest]
    if memory.shared and filters + feature > max(compute, drain):
        cycles = filters + feature
        longest = Bound.FILTER if filters >= feature else Bound.FEATURE
    if cycles:
        # A batch goes through a fully connected layer at once, through others one by one.
        together = batch if layer.kind is LayerKind.FULLY_CONNECTED else 1
        cycles += architecture.overhead_cycles / together
    able = cycles * architecture.macs_per_cycle
    return LayerEstimate(
        layer=layer,
        cycles=cycles,
        compute_cycles=compute,
        drain_cycles=drain,
        filter_cycles=filters,
        feature_cycles=feature,
        bound=longest if cycles else Bound.NONE,
        ddr_bytes=filter_bytes + feature_bytes,
        utilization=layer.macs / able if able else 0.0,
    )


def work(traced: Traced, architecture: Architecture, batch: int) -> tuple[float, float, float]:
    """Return the cycles of the PE array, of the kernels behind it and of the filters' arrival.

    All are 0 of a layer that runs on another's way, or not on the card; fully connected, it sees
    `batch` images together. Behind the array, the output writer takes what is left after a pool.
    """
    if traced.inline:
        return 0.0, 0.0, 0.0
    compute, drain, filters = _work(traced.layer, architecture, batch, traced.width(architecture))
    if not (compute or drain):
        return compute, drain, filters
    writer = architecture.auxiliary.output_writer_k * architecture.p_vector * architecture.q_vector
    return compute, max(drain, traced.answers / writer), filters


def _work(
    layer: WorkloadLayer, architecture: Architecture, batch: int, width: int
) -> tuple[float, float, float]:
    """Return the same but for the output writer.

    `width` is the channels a cycle of the narrowest kernel that its output passes; 0 where the card
    lacks one.
    """
    kind = layer.kind
    lanes = architecture.p_vector * architecture.q_vector
    memory = architecture.memory
    banks = memory.feature_banks if memory.shared else memory.filter_banks
    cycles_a_byte = architecture.clock_hz / (banks * memory.bank_bytes_per_s * memory.efficiency)
    filters = _filter_bytes(layer, architecture, batch) * cycles_a_byte
    if kind is LayerKind.FULLY_CONNECTED:
        rows = layer.output_size[1]
        pixels = _filled(math.ceil(rows * batch / lanes), architecture.interleave) / batch
        compute = _blocks(layer, architecture) * pixels
        return compute, layer.output_values / (width * lanes), filters
    if kind in (LayerKind.CONVOLUTION, LayerKind.DECONVOLUTION):
        if layer.depthwise and architecture.auxiliary.depthwise_k:
            # One window of every channel in each cycle (derived from the published MobileNet).
            width = min(width, architecture.auxiliary.depthwise_k)
            return 0.0, layer.output_values / (width * lanes), filters
        compute = float(_convolution(layer, architecture))
        # A residual operand, and what earlier passes have summed, go through the array (assumed).
        added = _passes(layer, architecture) - 1 + layer.residual
        compute += added * _taps(layer.output_channels, layer.output_size, architecture)
        return compute, layer.output_values / (width * lanes), filters
    if kind is LayerKind.POOL and width:
        values, channels, size = layer.input_values, layer.input_channels, layer.input_size
    elif kind is LayerKind.ELTWISE or (
        kind in (LayerKind.SCALE, LayerKind.ACTIVATION, LayerKind.NORM) and width
    ):
        values, channels, size = layer.output_values, layer.output_channels, layer.output_size
    elif kind is LayerKind.SOFTMAX and architecture.auxiliary.softmax:
        # One value after the other (assumed).
        return 0.0, float(layer.output_values), 0.0
    else:
        return 0.0, 0.0, 0.0
    operands = 2 if kind is LayerKind.ELTWISE else 1
    return float(operands * _taps(channels, size, architecture)), values / (width * lanes), 0.0


def _passes(layer: WorkloadLayer, architecture: Architecture) -> int:
    """Return in how many parts of its input channels a convolution's filters fit their cache.

    A filter takes ceil(C/G/Cv) R S words. Those of a fully connected layer, used once, stream by.
    """
    channels = math.ceil(layer.input_channels / layer.groups / architecture.c_vector)
    return math.ceil(channels * math.prod(layer.kernel) / architecture.filter_cache_depth)


def _blocks(layer: WorkloadLayer, architecture: Architecture, channels: int | None = None) -> int:
    """Return how often the array's K_vec x C_vec products cover one tap of all channels."""
    groups = layer.groups
    inputs = layer.input_channels if channels is None else channels
    per_group = math.ceil(layer.output_channels / groups / architecture.k_vector)
    return groups * per_group * math.ceil(inputs / groups / architecture.c_vector)


def _convolution(layer: WorkloadLayer, architecture: Architecture) -> int:
    """Return G ceil(K/G/Kv) ceil(C/G/Cv) R S ceil(P/Pv) ceil(Q/Qv)."""
    (height, width), (down, right) = layer.kernel, layer.strides
    if layer.kind is LayerKind.DECONVOLUTION:
        # Each of the stride^2 phases of the output sees its own share of the taps.
        size = (math.ceil(layer.output_size[0] / down), math.ceil(layer.output_size[1] / right))
        return _blocks(layer, architecture) * height * width * _pixels(size, architecture)
    plain = _blocks(layer, architecture) * _steps(
        layer, (height, width), (down, right), architecture
    )
    if not layer.stem or down * right == 1:
        return plain
    # The first layer's stride becomes channels: 7x7/2 of 3 channels is 4x4/1 of 12.
    kernel = (math.ceil(height / down), math.ceil(width / right))
    blocks = _blocks(layer, architecture, layer.input_channels * down * right)
    return min(plain, blocks * _steps(layer, kernel, (1, 1), architecture))


def _steps(
    layer: WorkloadLayer,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    architecture: Architecture,
) -> int:
    """Return R S ceil(P/Pv) ceil(Q/Qv), or R ceil(S/3) ceil(P/Pv) ceil(Q/(Qv-2)) by Winograd."""
    plain = kernel[0] * kernel[1] * _pixels(layer.output_size, architecture)
    if not architecture.winograd or strides[1] > 1 or kernel[1] == 1:
        return plain
    rows, columns = layer.output_size
    tiles = math.ceil(rows / architecture.p_vector) * math.ceil(
        columns / (architecture.q_vector - 2)
    )
    return min(plain, kernel[0] * math.ceil(kernel[1] / 3) * tiles)


def _taps(channels: int, size: tuple[int, int], architecture: Architecture) -> int:
    """Return the cycles of a pass through the array that changes nothing (bypass filters).

    Each of K_vec outputs sees its own channel alone, so ceil(K_vec / C_vec) blocks do.
    """
    blocks = math.ceil(channels / architecture.k_vector)
    each = math.ceil(architecture.k_vector / architecture.c_vector)
    return blocks * each * _pixels(size, architecture)


def _pixels(size: tuple[int, int], architecture: Architecture) -> int:
    rows, columns = size
    steps = math.ceil(rows / architecture.p_vector) * math.ceil(columns / architecture.q_vector)
    return _filled(steps, architecture.interleave)


def _filled(steps: int, interleave: int) -> int:
    return math.ceil(steps / interleave) * interleave


def _filter_bytes(layer: WorkloadLayer, architecture: Architecture, batch: int) -> float:
    shared_by = batch if layer.kind is LayerKind.FULLY_CONNECTED else 1
    return layer.weights * architecture.weight_bytes / shared_by


def _overlap(layer: WorkloadLayer, slices: int) -> float:
    """Return how much longer a layer takes in slices, whose edges are computed twice (assumed)."""
    rows = layer.output_size[0]
    twice = max(0, math.ceil(layer.kernel[0] / layer.strides[0]) - 1)
    return 1 + min(slices - 1, rows) * twice / rows
