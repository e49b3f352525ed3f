"""Subgraphs that OpenVINO's HETERO makes of a graph whose every node names its device.

HETERO joins neighbours on one device, cuts what would make a subgraph wait for itself, and runs
the parts in turns. What it makes is not told before a graph is compiled; here it is worked out, and
`thorax.devices.placement` holds it against what HETERO really made.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import openvino as ov


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a graph, as far as cutting goes.

    Sources are for each input the node it comes from, as a place among the steps before, and which
    of its outputs.
    """

    name: str
    type: str
    device: str
    sources: tuple[tuple[int, int], ...]

    @property
    def is_leaf(self) -> bool:
        """Whether it takes nothing: an image or a constant."""
        return self.type in ("Parameter", "Constant")


def steps(model: ov.Model) -> list[Step]:
    """Return the nodes of a graph in OpenVINO's order, on no device yet."""
    places: dict[str, int] = {}
    nodes = []
    for index, node in enumerate(model.get_ordered_ops()):
        sources = tuple(
            (places[value.get_node().get_name()], value.get_index())
            for value in node.input_values()
        )
        places[node.get_name()] = index
        nodes.append(Step(node.get_friendly_name(), node.get_type_name(), "", sources))
    return nodes


def cut(graph: Sequence[Step], inputs: Sequence[str] = ()) -> list[int]:
    """Return for each node which subgraph it is part of; subgraphs are numbered as they run.

    Equals what OpenVINO 2026.4 does on Linux: subgraphs whose inputs are there run before others;
    where several are ready at once, the order is that of OpenVINO's own table of them. The graph is
    as `steps` returns it, `inputs` the names of its inputs in its own order, where there are
    several.
    """
    cutter = _Cutter(graph, inputs)
    cutter.split_cycles()
    return cutter.in_order()


@dataclass(frozen=True, slots=True)
class Components:
    """Subgraphs of a graph, not in the order in which they run: an id for each node."""

    ids: tuple[int, ...]
    whole: tuple[bool, ...]
    """Whether what a node's subgraph took, as far as it lies before it, are leaves alone."""


def components(graph: Sequence[Step]) -> Components:
    """Return which nodes of a graph HETERO runs in one go."""
    cutter = _Cutter(graph, ())
    cutter.split_cycles()
    return cutter.components()


@dataclass(slots=True)
class _Cutter:
    graph: Sequence[Step]
    inputs: Sequence[str]
    borders: dict[tuple[int, int], None] = field(default_factory=dict)
    """Inputs (node, which) at which a subgraph begins; a leaf begins at itself."""

    def __post_init__(self) -> None:
        for index, step in enumerate(self.graph):
            if step.is_leaf:
                self.borders[index, 0] = None
            elif step.type != "Result":
                for port, (source, _) in enumerate(step.sources):
                    if step.device != self.graph[source].device:
                        self.borders[index, port] = None

    def subgraphs(self) -> list[int]:
        """Return an id for each node: neighbours with no border between share one."""
        parents = list(range(len(self.graph)))
        ids = [-1] * len(self.graph)

        def root(index: int) -> int:
            while parents[index] != index:
                parents[index] = parents[parents[index]]
                index = parents[index]
            return index

        count = 0
        for index, step in enumerate(self.graph):
            joined = [
                source
                for port, (source, _) in enumerate(step.sources)
                if (index, port) not in self.borders
            ]
            if not joined:
                ids[index], count = count, count + 1
                continue
            first = root(joined[0])
            for other in (index, *joined[1:]):
                parents[root(other)] = first
        return [ids[root(index)] for index in range(len(self.graph))]

    def split_cycles(self) -> None:
        """Add borders until no subgraph waits for one that waits for it."""
        before = -1
        while before != len(self.borders):
            before = len(self.borders)
            self._split_once()
        while waiting := self._waiting_for_each_other(ids := self.subgraphs()):
            self._isolate_one(ids, waiting)

    def _split_once(self) -> None:
        graph, ids = self.graph, self.subgraphs()
        bits = {border: 1 << number for number, border in enumerate(self.borders)}
        enters: dict[int, int] = {}  # by subgraph: borders of it
        leaves: dict[int, int] = {}  # by subgraph: borders whose data it makes
        owner: list[tuple[int, int, bool]] = []  # by border: node, maker, re-entry
        for (index, port), bit in bits.items():
            enters[ids[index]] = enters.get(ids[index], 0) | bit
            if graph[index].is_leaf:
                owner.append((index, index, False))
                continue
            maker = graph[index].sources[port][0]
            leaves[ids[maker]] = leaves.get(ids[maker], 0) | bit
            owner.append((index, maker, ids[index] != ids[maker]))
        behind = self._borders_behind(bits)
        entered = [behind[index] & enters.get(ids[index], 0) for index in range(len(graph))]
        back = [behind[index] & leaves.get(ids[index], 0) for index in range(len(graph))]
        uses = Counter(source for step in graph for source in step.sources)
        for index, step in enumerate(graph):
            if not back[index]:
                continue
            reached = 0
            for number in _ones(back[index]):
                reached |= entered[owner[number][1]]
            for number in _ones(entered[index]):
                if owner[number][2]:
                    reached |= entered[owner[number][0]]
            for port, (source, output) in enumerate(step.sources):
                if back[index] & back[source] or not reached & entered[source]:
                    continue
                lone = (
                    uses[source, output] == 1
                    and not graph[source].is_leaf
                    and not back[source]
                    and all(
                        graph[owner[number][0]].is_leaf or graph[owner[number][1]].is_leaf
                        for number in _ones(entered[source])
                    )
                )
                if not lone:
                    self.borders[index, port] = None

    def _waiting_for_each_other(self, ids: list[int]) -> set[int]:
        """Return the subgraphs that wait, through others, for themselves."""
        waits: dict[int, set[int]] = {subgraph: set() for subgraph in ids}
        for index, step in enumerate(self.graph):
            waits[ids[index]].update(ids[source] for source, _ in step.sources)
        for subgraph, needed in waits.items():
            needed.discard(subgraph)
        for between in waits:
            for needed in waits.values():
                if between in needed:
                    needed |= waits[between]
        return {subgraph for subgraph, needed in waits.items() if subgraph in needed}

    def _isolate_one(self, ids: list[int], waiting: set[int]) -> None:
        """Cut one layer off what is before it in its subgraph; at best where a cycle enters."""
        takers = [0] * len(self.graph)
        for step in self.graph:
            for source, _ in step.sources:
                takers[source] += step.type != "Result"
        ranked = []
        for index, step in enumerate(self.graph):
            inside = [
                source
                for port, (source, _) in enumerate(step.sources)
                if (index, port) not in self.borders
            ]
            if ids[index] not in waiting or not inside:
                continue
            entered = any(
                ids[maker] != ids[index] and ids[maker] in waiting for maker, _ in step.sources
            )
            lone = any(
                takers[maker] == 1
                and not self.graph[maker].is_leaf
                and all(self.graph[other].is_leaf for other, _ in self.graph[maker].sources)
                for maker in inside
            )
            shared = any(takers[maker] > 1 for maker in inside)
            in_line = len(inside) == 1 and takers[index] <= 1
            ranked.append((not entered, not shared, lone, in_line, len(inside), index))
        index = min(ranked)[-1]
        for port in range(len(self.graph[index].sources)):
            self.borders[index, port] = None

    def _borders_behind(self, bits: dict[tuple[int, int], int]) -> list[int]:
        """Return for each node the borders that data passed on its way to it, as bits."""
        behind: list[int] = []
        for index, step in enumerate(self.graph):
            passed = bits.get((index, 0), 0) if step.is_leaf else 0
            for port, (source, _) in enumerate(step.sources):
                passed |= behind[source] | bits.get((index, port), 0)
            behind.append(passed)
        return behind

    def components(self) -> Components:
        """Return the subgraphs of nodes whose cycles were split."""
        ids = self.subgraphs()
        taking: list[set[int]] = []  # by node: subgraphs that took, before it, what is no leaf
        for index, step in enumerate(self.graph):
            taken: set[int] = set()
            for port, (source, _) in enumerate(step.sources):
                taken |= taking[source]
                if (index, port) in self.borders and not self.graph[source].is_leaf:
                    taken.add(ids[index])
            taking.append(taken)
        whole = tuple(subgraph not in taken for subgraph, taken in zip(ids, taking, strict=True))
        return Components(tuple(self._with_constants(ids)), whole)

    def _with_constants(self, ids: list[int]) -> list[int]:
        """Return ids where a constant that was cut off all the same goes where it is used."""
        for index, step in reversed(list(enumerate(self.graph))):
            for source, _ in step.sources:
                if self.graph[source].type == "Constant":
                    ids[source] = ids[index]
        return ids

    def in_order(self) -> list[int]:
        """Return the subgraphs' numbers in the order in which they run."""
        ids = self._with_constants(self.subgraphs())
        needs: dict[int, set[int]] = {
            subgraph: set() for subgraph in _as_in_a_hash_table(self._listed(ids))
        }
        for index, step in enumerate(self.graph):
            needs[ids[index]].update(ids[source] for source, _ in step.sources)
        numbers: dict[int, int] = {}
        while len(numbers) < len(needs):
            ready = [
                subgraph
                for subgraph, needed in needs.items()
                if subgraph not in numbers and not needed - {subgraph} - numbers.keys()
            ]
            assert ready, "subgraphs wait for each other"
            for subgraph in ready:
                numbers[subgraph] = len(numbers)
        return [numbers[subgraph] for subgraph in ids]

    def _listed(self, ids: list[int]) -> list[int]:
        """Return the subgraphs in the order in which OpenVINO lists their inputs and outputs."""
        images = {step.name: i for i, step in enumerate(self.graph) if step.type == "Parameter"}
        listed = [ids[images[name]] for name in dict.fromkeys([*self.inputs, *images])]
        taken: dict[tuple[int, int], set[int]] = {}
        for index, step in enumerate(self.graph):
            for source in step.sources:
                if ids[index] != ids[source[0]]:
                    taken.setdefault(source, set()).add(ids[index])
        for index, step in enumerate(self.graph):
            for port, source in enumerate(step.sources):
                if (index, port) in self.borders and self.graph[source[0]].type != "Constant":
                    listed.extend(sorted(taken.pop(source, ())))
        return list(dict.fromkeys([*listed, *ids]))


def _ones(bits: int) -> list[int]:
    positions = []
    while bits:
        lowest = bits & -bits
        positions.append(lowest.bit_length() - 1)
        bits ^= lowest
    return positions


_BUCKETS = (13, 29, 59, 127, 257, 541, 1109, 2357, 5087)
"""Sizes that a table of the GNU C++ library (std::unordered_map) grows through."""


def _as_in_a_hash_table(keys: Sequence[int]) -> list[int]:
    """Return whole numbers as std::unordered_map of the GNU C++ library orders them.

    A key goes behind the head of its bucket, or before everything where the bucket is empty; when
    the table grows, all keys are put anew, in order.
    """
    size, order = 1, list[int]()
    for count, key in enumerate(keys, 1):
        if count > size:
            size = next(buckets for buckets in _BUCKETS if buckets >= count)
            again, order = order, []
            for old in again:
                _put(order, old, size)
        _put(order, key, size)
    return order


def _put(order: list[int], key: int, size: int) -> None:
    index = next((at for at, other in enumerate(order) if other % size == key % size), 0)
    order.insert(index, key)
