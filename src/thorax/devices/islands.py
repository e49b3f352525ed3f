"""Small islands of a split network, given to the device around them where that saves crossings.

What a move saves is known when the network is cut again. All of it need not be: where a single
tensor joins what is before it and what follows, no subgraph that left a segment between two such
tensors comes back to it from another. So each segment is cut by itself, as
`thorax.devices.hetero` cuts, and once for each assignment of its nodes to devices. That is exact
but where HETERO takes a single layer out of a cycle, which it looks for in the whole network:
there what a move saves is an estimate.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from thorax.devices.hetero import Step, components

CROSSING_MACS: Final = 1_000_000
"""Multiply-accumulates that a CPU does in the time of one crossing. *Assumed*: 55 us, the smallest
transfer among the published counters of GoogLeNet on a card of 2018, at 20 G/s, one core's
float32."""

_ELSEWHERE: Final = "elsewhere"
"""Device of what stands for the network before a segment; no other has this name."""


@dataclass(frozen=True, slots=True)
class Move:
    """An island to move: its layers in order, where to, and how many crossings that saves."""

    layers: tuple[str, ...]
    device: str
    saved: int


@dataclass(frozen=True, slots=True)
class _Pieces:
    """A segment that was cut: its subgraphs, how much crosses between them, how its end is reached.

    `ids` has the subgraph of each node, that of the start first where there is one. `whole` is
    whether the subgraph at the end has taken nothing of another.
    """

    ids: tuple[int, ...]
    crossings: int
    whole: bool


@dataclass(slots=True)
class _Segment:
    """Nodes between two that all data passes through, as places in the graph.

    `start` is the first of the two and no member, None where the network begins; `end` is the
    other, and a member.
    """

    start: int | None
    nodes: list[int] = field(default_factory=list)
    end: int = -1
    pieces: dict[tuple[bool, tuple[str, ...]], _Pieces] = field(default_factory=dict)
    """Already cut, by `whole` of the segment before and the devices of start and nodes."""


class Islands:
    """A graph with a device for every layer, and the moves that save crossings.

    Args:
        graph: nodes in order, as `thorax.devices.hetero.steps` returns them.
        chosen: the device of each layer by its name.
        followed: for each node the place of the layer whose device it shares; its own for layers.
        macs: multiply-accumulates of layers by name; others have none.
    """

    def __init__(
        self,
        graph: Sequence[Step],
        chosen: Mapping[str, str],
        followed: Sequence[int],
        macs: Mapping[str, int],
    ) -> None:
        self._graph, self._macs, self._followed = graph, macs, followed
        self._layers = [step.name in chosen for step in graph]
        self._places = {step.name: index for index, step in enumerate(graph) if step.name in chosen}
        self._devices = {index: chosen[name] for name, index in self._places.items()}
        self._first = next(iter(self._devices.values()))
        self._segments = _segments(graph)
        self._touched: dict[int, list[int]] = {}  # by layer: segments that it or what follows is in
        for number, segment in enumerate(self._segments):
            nodes = segment.nodes if segment.start is None else [segment.start, *segment.nodes]
            for index in nodes:
                touched = self._touched.setdefault(followed[index], [])
                if number not in touched[-1:]:
                    touched.append(number)
        self._pieces: list[_Pieces] = list(self._cut({}, range(len(self._segments))).values())

    def best_move(self, runs: Callable[[str, str], bool], devices: Sequence[str]) -> Move | None:
        """Return the move that saves most and costs less than it saves; the first of several.

        `runs` is whether a layer runs on a device, by names. What multiplies most on a device
        stays there.
        """
        islands = self._islands()
        work = {
            island: sum(self._macs.get(self._graph[index].name, 0) for index in places)
            for island, places in islands.items()
        }
        most = {
            max(
                (
                    island
                    for island, places in islands.items()
                    if self._devices[places[0]] == device
                ),
                key=work.__getitem__,
            )
            for device in set(self._devices.values())
        }
        best: Move | None = None
        for island, places in islands.items():
            if island in most:
                continue
            names = tuple(self._graph[index].name for index in places)
            numbers = sorted({number for index in places for number in self._touched[index]})
            least = max(work[island] / CROSSING_MACS, best.saved if best else 0)
            if sum(self._pieces[number].crossings for number in numbers) < least:
                continue
            for device in devices:
                if device == self._devices[places[0]] or not all(runs(n, device) for n in names):
                    continue
                trial = self._cut(dict.fromkeys(places, device), numbers)
                saved = sum(
                    self._pieces[number].crossings - pieces.crossings
                    for number, pieces in trial.items()
                )
                worth = saved > 0 and work[island] <= saved * CROSSING_MACS
                if worth and (best is None or saved > best.saved):
                    best = Move(names, device, saved)
        return best

    def move(self, move: Move) -> None:
        """Give the layers of an island to another device."""
        moved = {self._places[name]: move.device for name in move.layers}
        numbers = sorted({number for index in moved for number in self._touched[index]})
        changed = self._cut(moved, numbers)
        self._devices |= moved
        for number, pieces in changed.items():
            self._pieces[number] = pieces

    def crossings(self) -> int:
        """Return how many tensors cross between subgraphs."""
        return sum(pieces.crossings for pieces in self._pieces)

    def _cut(self, moved: Mapping[int, str], numbers: Sequence[int]) -> dict[int, _Pieces]:
        """Return segments with layers on other devices, and those after them that this changes."""
        cut: dict[int, _Pieces] = {}
        waiting = list(numbers)
        while waiting:
            number = waiting.pop(0)
            before = cut.get(number - 1)
            if before is None and number:
                before = self._pieces[number - 1]
            segment = self._segments[number]
            whole = before is None or before.whole
            cut[number] = pieces = self._cut_one(segment, moved, whole=whole)
            follower = number + 1
            changes = follower < len(self._segments) and (not waiting or waiting[0] != follower)
            if moved and changes and pieces.whole != self._pieces[number].whole:
                waiting.insert(0, follower)
        return cut

    def _cut_one(self, segment: _Segment, moved: Mapping[int, str], *, whole: bool) -> _Pieces:
        own, followed = self._devices, self._followed
        nodes = segment.nodes if segment.start is None else [segment.start, *segment.nodes]
        places = [followed[index] for index in nodes]
        devices = tuple([moved.get(place) or own.get(place, self._first) for place in places])
        if (whole, devices) not in segment.pieces:
            segment.pieces[whole, devices] = self._pieces_of(segment, nodes, devices, whole=whole)
        return segment.pieces[whole, devices]

    def _pieces_of(
        self, segment: _Segment, nodes: Sequence[int], devices: Sequence[str], *, whole: bool
    ) -> _Pieces:
        steps: list[Step] = []
        start = segment.start
        if start is not None and not self._graph[start].is_leaf:
            # What it takes: images and weights alone, or of another subgraph too.
            steps.append(Step("", "Parameter", devices[0] if whole else _ELSEWHERE, ()))
            if not whole:
                steps.append(Step("", "Convert", _ELSEWHERE, ((0, 0),)))
        first = len(steps)
        places = {index: first + position for position, index in enumerate(nodes)}
        for index, device in zip(nodes, devices, strict=True):
            step = self._graph[index]
            if index == start:
                sources: tuple[tuple[int, int], ...] = ((first - 1, 0),) if first else ()
            else:
                sources = tuple([(places[source], port) for source, port in step.sources])
            steps.append(Step(step.name, step.type, device, sources))
        cut = components(steps)
        crossing = {
            (source, cut.ids[taker])
            for taker in range(first + (start is not None), len(steps))
            for source in steps[taker].sources
            if cut.ids[source[0]] != cut.ids[taker]
        }
        return _Pieces(cut.ids[first:], len(crossing), cut.whole[places[segment.end]])

    def _islands(self) -> dict[int, list[int]]:
        """Return the layers of each subgraph of the whole, as places in order."""
        labels: dict[int, int] = {}
        count = 0
        for segment, pieces in zip(self._segments, self._pieces, strict=True):
            known: dict[int, int] = {}
            if segment.start is not None:
                known[pieces.ids[0]] = labels[segment.start]
            ids = pieces.ids[segment.start is not None :]
            for index, piece in zip(segment.nodes, ids, strict=True):
                if piece not in known:
                    known[piece], count = count, count + 1
                labels[index] = known[piece]
        islands: dict[int, list[int]] = {}
        for index, is_layer in enumerate(self._layers):
            if is_layer:
                islands.setdefault(labels[index], []).append(index)
        return islands


def _segments(graph: Sequence[Step]) -> list[_Segment]:
    """Return a graph's segments; weights go with what takes them, outputs with what they are of."""
    homes = _homes(graph)
    reach = list(range(len(graph)))  # by home: the last that takes of it
    for index, step in enumerate(graph):
        for source, _ in step.sources:
            reach[homes[source]] = max(reach[homes[source]], homes[index])
    members: dict[int, list[int]] = {}
    for index, home in enumerate(homes):
        members.setdefault(home, []).append(index)
    segments = [_Segment(None)]
    furthest = -1  # what is taken of nodes before this one
    homed = sorted(members)
    for home in homed:
        segments[-1].nodes.extend(members[home])
        segments[-1].end = home
        if furthest <= home != homed[-1]:
            segments.append(_Segment(home))
        furthest = max(furthest, reach[home])
    for segment in segments:
        segment.nodes.sort()
    return segments


def _homes(graph: Sequence[Step]) -> list[int]:
    """Return for each node the place that it is counted at: its own, if an image reaches it."""
    live = [False] * len(graph)
    first: dict[int, int] = {}
    for index, step in enumerate(graph):
        live[index] = step.type == "Parameter" or any(live[source] for source, _ in step.sources)
        for source, _ in step.sources:
            first.setdefault(source, index)
    homes = list(range(len(graph)))
    for index in reversed(range(len(graph))):
        if not live[index] and index in first:
            homes[index] = homes[first[index]]
    for index, step in enumerate(graph):
        if step.type == "Result":
            homes[index] = homes[step.sources[0][0]]
    return homes
