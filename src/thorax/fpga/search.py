"""The fastest architecture for one network that a device has room for."""

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from thorax.errors import UsageError
from thorax.fpga.architecture import (
    Architecture,
    Auxiliary,
    Budget,
    Family,
    Memory,
    OverlayPrecision,
    Ranges,
    Weights,
)
from thorax.fpga.area import area, fits, stream_buffer_m20k
from thorax.fpga.overlay import estimate, work
from thorax.fpga.stream_buffer import Flow, largest, trace
from thorax.fpga.workload import LayerKind, WorkloadLayer
from thorax.results.fpga import DEVICES

FAMILIES: Final[Mapping[Family, Mapping[str, Any]]] = {
    "arria10": {
        "clock_hz": 265e6,
        "accumulator": "fixed",
        "interleave": 1,
        "group_slicing": True,
        "memory": Memory(),
    },
    "agilex7": {
        "clock_hz": 400e6,
        "accumulator": "fp32",
        "interleave": 5,
        "group_slicing": False,
        "memory": Memory(shared=True, bank_bytes_per_s=19.2e9),
    },
}
"""What is not searched: the clock that the vendor's compiler assumes (Compiler Reference Manual
768972, s. 3.2), and the style of the overlays of 2018 to 2020 and of the FPGA AI Suite."""

FILL: Final = {"dsp": 1.0, "m20k": 0.85, "alm": 0.85}
"""Assumed: shares of a device that a design can take and still be routed beside a board's shell."""

C_VECTORS: Final = (4, 8, 16, 32, 64)
K_MOST: Final = 128
"""Legal values of the IP Reference Manual (768974, s. 2.5.2.1)."""

LANES: Final[Mapping[Family, tuple[tuple[int, int], ...]]] = {
    "arria10": tuple((p, q) for p in (1, 2, 4) for q in (1, 2, 4)),
    "agilex7": ((1, 1), (2, 1), (4, 1)),
}
"""P_vec and Q_vec: up to those of the bitstreams of 2020; `num_lanes` of the manual."""


def budget_of(family: Family) -> Budget:
    """Return what a design may take of the device that stands for a family."""
    return Budget(**{name: int(most * FILL[name]) for name, most in DEVICES[family]})


def search(
    layers: Sequence[WorkloadLayer],
    family: Family,
    *,
    precision: OverlayPrecision | None = None,
    weights: Weights = "block",
    batch: int = 1,
    budget: Budget | None = None,
) -> Architecture:
    """Return the architecture that the model finds fastest among those that fit.

    Every legal combination of vector sizes is looked at; kernels behind the array are as wide, and
    filter caches as deep, as in the vendor's examples, and the stream buffer is as deep as the
    network can use. Of equally fast ones the one with the fewest DSP blocks is taken, then the
    fewest products a cycle. Layers are of `describe`; of the family, `arria10` (GX 1150) or
    `agilex7` (F 014), resources and clock count. The precision is that of the products, None FP11,
    the lowest that the vendor has, `weights` the format of the filters; a fully connected layer
    sees `batch` images together. `budget` is what the design may take, None `budget_of` the family.

    Raises:
        UsageError: `fpga-family`, or `fpga-search` where nothing fits.

    Example:
        >>> search(describe(model), "arria10").macs_per_cycle
    """
    if family not in FAMILIES:
        raise UsageError("fpga-family", f"family is {family!r}; searched are {', '.join(FAMILIES)}")
    room = budget or budget_of(family)
    flow = trace(layers)
    shapes = _shapes(flow)
    designs = tuple(candidates(flow, family, precision or "fp11", weights, room))
    bounded = sorted(
        (_least(flow, shapes, design, batch), area(design).dsp, design.macs_per_cycle, at)
        for at, design in enumerate(designs)
    )
    best: tuple[tuple[float, int, int, int], Architecture] | None = None
    for least, dsp, products, at in bounded:
        if best is not None and least > best[0][0]:
            break
        rank = (estimate(layers, designs[at], batch=batch).cycles, dsp, products, at)
        if best is None or rank < best[0]:
            best = rank, designs[at]
    if best is None:
        raise UsageError(
            "fpga-search",
            f"no architecture of {precision or 'fp11'} fits {room.dsp} DSP blocks, {room.m20k} "
            f"M20K and {room.alm} ALM; allow more",
        )
    return best[1]


def candidates(
    flow: Flow, family: Family, precision: OverlayPrecision, weights: Weights, room: Budget
) -> Iterator[Architecture]:
    """Yield an architecture that fits for each legal combination of vector sizes."""
    layers = [traced.layer for traced in flow]
    ranges = _ranges(layers)
    values = largest(flow)
    depthwise = any(layer.depthwise for layer in layers)
    for p_vector, q_vector in LANES[family]:
        for c_vector in C_VECTORS:
            for k_vector in range(c_vector, K_MOST + 1, c_vector):
                candidate = Architecture(
                    name=f"{p_vector}x{q_vector}x{c_vector}x{k_vector}-{precision}-{family}",
                    family=family,
                    precision=precision,
                    weights=weights,
                    p_vector=p_vector,
                    q_vector=q_vector,
                    c_vector=c_vector,
                    k_vector=k_vector,
                    stream_buffer_depth=1,
                    filter_cache_depth=filter_cache(layers, c_vector),
                    auxiliary=auxiliary_of(
                        family, k_vector, depthwise=depthwise and c_vector == k_vector
                    ),
                    ranges=ranges,
                    budget=room,
                    source="found by thorax fpga search",
                    assumed=("auxiliary", "filter_cache_depth", "interleave", "accumulator"),
                    **FAMILIES[family],
                )
                fitted = _fit(candidate, values, room)
                if fitted is not None:
                    yield fitted


def _fit(architecture: Architecture, values: int, room: Budget) -> Architecture | None:
    """Return it with the deepest stream buffer that is of use and fits, or None."""
    if architecture.weights == "block":
        whole = area(architecture)
        multipliers = area(architecture.model_copy(update={"dsp_limit": 1})).dsp - 1
        if whole.dsp > room.dsp > multipliers:
            # What the blocks do not make is made in logic, as in the bitstreams of 2020.
            limit = room.dsp - multipliers
            architecture = architecture.model_copy(update={"dsp_limit": limit})
    word = architecture.p_vector * architecture.q_vector * architecture.c_vector
    row = stream_buffer_m20k(architecture)
    free = (room.m20k - area(architecture).m20k + row) // row
    rows = min(math.ceil(values / word / 512), free)
    if rows < 1:
        return None
    deepened = architecture.model_copy(update={"stream_buffer_depth": 512 * rows})
    return deepened if fits(area(deepened), room) else None


def filter_cache(layers: Sequence[WorkloadLayer], c_vector: int) -> int:
    """Return a depth that holds two sets of filters of every convolution, a power of two."""
    needed = max(
        (
            math.ceil(layer.input_channels / layer.groups / c_vector) * math.prod(layer.kernel)
            for layer in layers
            if layer.kind in (LayerKind.CONVOLUTION, LayerKind.DECONVOLUTION)
        ),
        default=1,
    )
    return max(512, int(2 ** math.ceil(math.log2(2 * needed))))


def auxiliary_of(family: Family, k_vector: int, *, depthwise: bool) -> Auxiliary:
    """Return kernels as wide as in the vendor's examples.

    4x2x16x64 has 8 channels for 64 filters; AGX7_Generic activates 16 and pools 4 for 32.
    """
    alike = family == "arria10"
    width = max(4, k_vector // (8 if alike else 2))
    return Auxiliary(
        activation_k=width, pool_k=width if alike else 4, norm_k=1, output_writer_k=width,
        depthwise_k=k_vector if depthwise else 0,
    )  # fmt: skip


def _ranges(layers: Sequence[WorkloadLayer]) -> Ranges:
    standard = Ranges()
    sides = [size for layer in layers for size in (layer.input_size, layer.output_size)]
    channels = [
        count for layer in layers for count in (layer.input_channels, layer.output_channels)
    ]
    return Ranges(
        max_height=max([standard.max_height, *(size[0] for size in sides)]),
        max_width=max([standard.max_width, *(size[1] for size in sides)]),
        max_channels=max([standard.max_channels, *channels]),
    )


def _least(flow: Flow, shapes: Mapping[int, int], architecture: Architecture, batch: int) -> float:
    """Return cycles that no stream buffer can lower: those without traffic of feature maps."""
    total = 0.0
    for at, count in shapes.items():
        layer = flow[at].layer
        longest = max(work(flow[at], architecture, batch))
        together = batch if layer.kind is LayerKind.FULLY_CONNECTED else 1
        if longest:
            total += count * (longest + architecture.overhead_cycles / together)
    return total


def _shapes(flow: Flow) -> dict[int, int]:
    """Return the place of one layer of each shape, and how many layers share it."""
    first: dict[Hashable, int] = {}
    counts: Counter[int] = Counter()
    for at, traced in enumerate(flow):
        if not traced.inline:
            shape = replace(traced.layer, name="", fused=(), sources=())
            key = shape, traced.answers, traced.pooled, traced.normed
            counts[first.setdefault(key, at)] += 1
    return dict(counts)
