"""Feature maps of a running network: which lie in the stream buffer, which in external memory."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from thorax.fpga.architecture import Architecture
from thorax.fpga.workload import LayerKind, WorkloadLayer

_ARRAY = (LayerKind.CONVOLUTION, LayerKind.DECONVOLUTION, LayerKind.FULLY_CONNECTED)
_BEHIND = (LayerKind.POOL, LayerKind.NORM)
_HOST = (LayerKind.NORMALISE, LayerKind.OTHER)


@dataclass(slots=True)
class Traced:
    """A layer, and what flows to and from it, layers that run on another's way taken in.

    `answers` are values that it writes, after a pool on its way; `last` is the place of the last
    layer that reads it, its own where only the host does. It is `inline` where it runs on the way
    of those before it (a pool behind a convolution) or only names what is there (a concatenation);
    `pooled` and `normed` are whether a pool and local response normalisation run on its way out.
    `reads` are places of the layers whose maps it reads, a map twice if it is two operands; `given`
    are values that it reads from the host, and `left` is whether the host reads it.
    """

    layer: WorkloadLayer
    answers: int
    last: int
    inline: bool = False
    pooled: bool = False
    normed: bool = False
    reads: tuple[int, ...] = ()
    given: int = 0
    left: bool = True

    def width(self, architecture: Architecture) -> int:
        """Return the channels a cycle of the narrowest kernel that its output passes.

        0 for a pool or normalisation of its own whose kernel is absent; one on another's way is
        left to the host where its kernel is.
        """
        auxiliary, kind = architecture.auxiliary, self.layer.kind
        if kind is LayerKind.POOL:
            return auxiliary.pool_k
        if kind is LayerKind.NORM:
            return auxiliary.norm_k
        widths = [
            auxiliary.activation_k,
            auxiliary.pool_k if self.pooled else 0,
            auxiliary.norm_k if self.normed else 0,
        ]
        return min((width for width in widths if width), default=architecture.k_vector)


Flow: TypeAlias = tuple[Traced, ...]
"""Layers in the order of execution."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Slices and external traffic of each layer, by the size of the stream buffer.

    `values` are numbers of feature maps that the layer moves from and to external memory, `slices`
    the parts that it is computed in.
    """

    values: tuple[int, ...]
    slices: tuple[int, ...]


def trace(layers: Sequence[WorkloadLayer]) -> Flow:
    """Return what flows between the layers of a network.

    A pool or normalisation that alone reads a layer runs on its way out, and one that alone
    reads a concatenation on the way out of each of its parts.
    """
    at = {layer.name: index for index, layer in enumerate(layers)}
    flow = tuple(Traced(layer, layer.output_values, index) for index, layer in enumerate(layers))
    readers = Counter(source for layer in layers for source in layer.sources if source in at)
    makers: list[tuple[int, ...]] = []
    for index, layer in enumerate(layers):
        sources = tuple(
            maker
            for source in layer.sources if source in at
            for maker in makers[at[source]]
        )  # fmt: skip
        behind = layer.kind in _BEHIND and _alone(layer, flow, at, readers)
        flow[index].inline = behind or layer.kind is LayerKind.CONCAT
        makers.append(sources if flow[index].inline else (index,))
        whole = sum(flow[source].answers for source in sources)
        for maker in (flow[source] for source in sources if behind):
            maker.answers = math.ceil(maker.answers * layer.output_values / whole)
            maker.pooled = maker.pooled or layer.kind is LayerKind.POOL
            maker.normed = maker.normed or layer.kind is LayerKind.NORM
    for index, traced in enumerate(flow):
        if not traced.inline:
            _find_sources(index, flow, at, makers)
    return flow


def _alone(layer: WorkloadLayer, flow: Flow, at: Mapping[str, int], readers: Counter[str]) -> bool:
    """Return whether a layer is the one reader of what others on the card make."""
    if layer.sources[0] not in at or readers[layer.sources[0]] != 1:
        return False
    source = flow[at[layer.sources[0]]]
    if source.layer.kind is LayerKind.CONCAT:
        parts = [flow[at[name]].layer for name in source.layer.sources if name in at]
        return len(parts) == len(source.layer.sources) and all(
            part.kind in _ARRAY and readers[part.name] == 1 for part in parts
        )
    return source.layer.kind in _ARRAY or (source.layer.kind in _BEHIND and source.inline)


def _find_sources(
    index: int, flow: Flow, at: Mapping[str, int], makers: Sequence[tuple[int, ...]]
) -> None:
    traced, layer = flow[index], flow[index].layer
    on_host = layer.kind in _HOST
    for order, source in enumerate(layer.sources):
        sources = makers[at[source]] if source in at else ()
        card = [maker for maker in sources if flow[maker].layer.kind not in _HOST]
        if not card and not on_host:
            traced.given += layer.input_values if order == 0 else layer.output_values
        traced.reads += tuple(card)
    for maker in traced.reads:
        flow[maker].last = max(flow[maker].last, index)
        flow[maker].left = on_host


def capacity(architecture: Architecture) -> int:
    """Return how many numbers the stream buffer holds: depth x C_vec x P_vec x Q_vec."""
    lanes = architecture.p_vector * architecture.q_vector
    return architecture.stream_buffer_depth * architecture.c_vector * lanes


def largest(flow: Flow) -> int:
    """Return how many numbers lie in a stream buffer that has room for everything, at most."""
    held: dict[int, int] = {}
    most = 1
    for at, traced in enumerate(flow):
        if traced.inline or traced.layer.kind in _HOST:
            continue
        held[at] = traced.answers
        most = max(most, sum(held.values()))
        held = {maker: size for maker, size in held.items() if flow[maker].last > at}
    return most


def place(flow: Flow, architecture: Architecture) -> Placed:
    """Follow the maps through the layers: one stays in the buffer until its last reader is done.

    What the buffer has no room for is computed in slices, or goes through external memory where
    the architecture cannot slice a group of layers. The image comes from there and what the host
    reads goes there in any case.
    """
    room = capacity(architecture)
    held: dict[int, int] = {}
    outside: set[int] = set()
    values, slices = [], []
    for at, traced in enumerate(flow):
        if traced.inline or traced.layer.kind in _HOST:
            values.append(0)
            slices.append(1)
            continue
        moved = traced.given + sum(
            flow[source].answers for source in traced.reads if source in outside
        )
        needed = sum(held.values()) + traced.answers
        parts = 1
        if needed <= room:
            held[at] = traced.answers
        elif architecture.group_slicing:
            held[at] = traced.answers
            parts = math.ceil(needed / room)
        else:
            outside.add(at)
            moved += traced.answers
        if traced.left and at not in outside:
            moved += traced.answers
        values.append(moved)
        slices.append(parts)
        held = {maker: size for maker, size in held.items() if flow[maker].last > at}
    return Placed(tuple(values), tuple(slices))
