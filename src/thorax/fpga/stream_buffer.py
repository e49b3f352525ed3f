"""Feature maps of a running network: which lie in the stream buffer, which in external memory."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from thorax.fpga.architecture import Architecture
from thorax.fpga.workload import LayerKind, WorkloadLayer

_ARRAY = (LayerKind.CONVOLUTION, LayerKind.DECONVOLUTION, LayerKind.FULLY_CONNECTED)
_BEHIND = (LayerKind.POOL, LayerKind.NORM)
_HOST = (LayerKind.NORMALISE, LayerKind.OTHER)


@dataclass(frozen=True, slots=True)
class Flow:
    """Data flow between layers, those that run on another's way taken in.

    Attributes:
        layers: in the order of execution.
        inline: whether a layer runs on the way of those before it (a pool behind a convolution)
            or only names what is there (a concatenation).
        pooled: whether a pool runs on the layer's way out.
        normed: whether local response normalisation does.
        reads: places of the layers whose maps it reads; a map twice if it is two operands.
        given: values that it reads from the host.
        answers: values that it writes, after a pool on its way.
        last: place of the last layer that reads it, its own where only the host does.
        left: whether the host reads it.
    """

    layers: tuple[WorkloadLayer, ...]
    inline: tuple[bool, ...]
    pooled: tuple[bool, ...]
    normed: tuple[bool, ...]
    reads: tuple[tuple[int, ...], ...]
    given: tuple[int, ...]
    answers: tuple[int, ...]
    last: tuple[int, ...]
    left: tuple[bool, ...]

    def width(self, at: int, architecture: Architecture) -> int:
        """Return the channels a cycle of the narrowest kernel that a layer's output passes.

        0 for a pool or normalisation of its own whose kernel is absent; one on another's way is
        left to the host where its kernel is.
        """
        auxiliary, kind = architecture.auxiliary, self.layers[at].kind
        if kind is LayerKind.POOL:
            return auxiliary.pool_k
        if kind is LayerKind.NORM:
            return auxiliary.norm_k
        widths = [
            auxiliary.activation_k,
            auxiliary.pool_k if self.pooled[at] else 0,
            auxiliary.norm_k if self.normed[at] else 0,
        ]
        return min((width for width in widths if width), default=architecture.k_vector)


@dataclass(frozen=True, slots=True)
class Placed:
    """Slices and external traffic of each layer, by the size of the stream buffer.

    Attributes:
        values: numbers of feature maps that the layer moves from and to external memory.
        slices: parts that it is computed in.
    """

    values: tuple[int, ...]
    slices: tuple[int, ...]


def trace(layers: Sequence[WorkloadLayer]) -> Flow:
    """Return what flows between the layers of a network.

    A pool or normalisation that alone reads a layer runs on its way out, and one that alone
    reads a concatenation on the way out of each of its parts.
    """
    at = {layer.name: index for index, layer in enumerate(layers)}
    count = len(layers)
    readers = Counter(source for layer in layers for source in layer.sources if source in at)
    inline, pooled, normed = [False] * count, [False] * count, [False] * count
    answers = [layer.output_values for layer in layers]
    makers: list[tuple[int, ...]] = []
    for index, layer in enumerate(layers):
        sources = tuple(
            maker
            for source in layer.sources if source in at
            for maker in makers[at[source]]
        )  # fmt: skip
        if layer.kind is LayerKind.CONCAT:
            inline[index] = True
            makers.append(sources)
            continue
        if layer.kind in _BEHIND and _alone(layer, layers, at, readers, inline):
            inline[index] = True
            whole = sum(answers[source] for source in sources)
            for source in sources:
                answers[source] = math.ceil(answers[source] * layer.output_values / whole)
                pooled[source] = pooled[source] or layer.kind is LayerKind.POOL
                normed[source] = normed[source] or layer.kind is LayerKind.NORM
            makers.append(sources)
            continue
        makers.append((index,))
    return _flow(tuple(layers), at, makers, inline, pooled, normed, answers)


def _alone(
    layer: WorkloadLayer,
    layers: Sequence[WorkloadLayer],
    at: dict[str, int],
    readers: Counter[str],
    inline: Sequence[bool],
) -> bool:
    """Return whether a layer is the one reader of what others on the card make."""
    source = layers[at[layer.sources[0]]] if layer.sources[0] in at else None
    if source is None or readers[source.name] != 1:
        return False
    if source.kind is LayerKind.CONCAT:
        parts = [layers[at[name]] for name in source.sources if name in at]
        return len(parts) == len(source.sources) and all(
            part.kind in _ARRAY and readers[part.name] == 1 for part in parts
        )
    return source.kind in _ARRAY or (source.kind in _BEHIND and inline[at[source.name]])


def _flow(
    layers: tuple[WorkloadLayer, ...],
    at: dict[str, int],
    makers: Sequence[tuple[int, ...]],
    inline: Sequence[bool],
    pooled: Sequence[bool],
    normed: Sequence[bool],
    answers: Sequence[int],
) -> Flow:
    reads: list[tuple[int, ...]] = []
    given = []
    last = list(range(len(layers)))
    read_by_host = [True] * len(layers)
    for index, layer in enumerate(layers):
        mine: list[int] = []
        outside = 0
        for order, source in enumerate(layer.sources):
            sources = makers[at[source]] if source in at else ()
            card = [maker for maker in sources if layers[maker].kind not in _HOST]
            if not card:
                outside += layer.input_values if order == 0 else layer.output_values
            mine += card
        reads.append(() if inline[index] else tuple(mine))
        given.append(0 if inline[index] or layer.kind in _HOST else outside)
        for maker in mine:
            if not inline[index]:
                last[maker] = max(last[maker], index)
                read_by_host[maker] = layer.kind in _HOST
    return Flow(
        layers, tuple(inline), tuple(pooled), tuple(normed), tuple(reads), tuple(given),
        tuple(answers), tuple(last), tuple(read_by_host),
    )  # fmt: skip


def capacity(architecture: Architecture) -> int:
    """Return how many numbers the stream buffer holds: depth x C_vec x P_vec x Q_vec."""
    lanes = architecture.p_vector * architecture.q_vector
    return architecture.stream_buffer_depth * architecture.c_vector * lanes


def largest(flow: Flow) -> int:
    """Return how many numbers lie in a stream buffer that has room for everything, at most."""
    held: dict[int, int] = {}
    most = 1
    for at, layer in enumerate(flow.layers):
        if flow.inline[at] or layer.kind in _HOST:
            continue
        held[at] = flow.answers[at]
        most = max(most, sum(held.values()))
        held = {maker: size for maker, size in held.items() if flow.last[maker] > at}
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
    for at, layer in enumerate(flow.layers):
        if flow.inline[at] or layer.kind in _HOST:
            values.append(0)
            slices.append(1)
            continue
        moved = flow.given[at] + sum(
            flow.answers[source] for source in flow.reads[at] if source in outside
        )
        needed = sum(held.values()) + flow.answers[at]
        parts = 1
        if needed <= room:
            held[at] = flow.answers[at]
        elif architecture.group_slicing:
            held[at] = flow.answers[at]
            parts = math.ceil(needed / room)
        else:
            outside.add(at)
            moved += flow.answers[at]
        if flow.left[at] and at not in outside:
            moved += flow.answers[at]
        values.append(moved)
        slices.append(parts)
        held = {maker: size for maker, size in held.items() if flow.last[maker] > at}
    return Placed(tuple(values), tuple(slices))
