"""Split of a network between devices: each layer's device, the reason, and what crosses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import openvino as ov
import openvino.opset13 as ops

from thorax.devices.core import list_parts, openvino_name, simulates, thorax_name
from thorax.devices.hetero import Step, cut, steps
from thorax.devices.islands import Islands
from thorax.devices.process_core import open_core
from thorax.errors import DeviceError, ModelError
from thorax.fpga.card import find_card
from thorax.fpga.emulation import AFFINITY
from thorax.fpga.names import distinct_names
from thorax.fpga.support import Support, loaded_bitstream, query, require_layers
from thorax.fpga.workload import describe
from thorax.results.partition import CrossingTensor, PlacedLayer

_SHOWN: Final = 5
_PORTS: Final = ("Parameter", "Constant", "Result")


@dataclass(frozen=True, slots=True)
class Subgraph:
    """Layers that a device runs in one go, by name and in order.

    Other fields as of `thorax.results.partition.SubgraphSummary`.
    """

    number: int
    device: str
    layers: tuple[str, ...]
    input_bytes: int
    output_bytes: int


@dataclass(frozen=True, slots=True)
class Partition:
    """A network split between devices.

    Rows are layers in order of execution, inputs and outputs among them, constants not, and nothing
    is modelled of them yet; subgraphs and crossings are in that order too. `crossings_before` is
    how many there were before small islands went to their neighbours.
    """

    device: str
    rows: tuple[PlacedLayer, ...]
    subgraphs: tuple[Subgraph, ...]
    crossings: tuple[CrossingTensor, ...]
    crossings_before: int


def partition(
    model: ov.Model, device: str, *, merge: bool = True, state: Path | None = None
) -> Partition:
    """Give each layer to the first device of a list that runs it.

    A simulated card runs what its bitstream has (`thorax.fpga.support`), another device what
    OpenVINO says of it. Then islands that multiply next to nothing go to the device around them
    where that takes crossings away; what multiplies most on a device stays. The model, of static
    shapes, is not changed; devices are "FPGA", "FPGA.2", "HETERO:FPGA,CPU",
    "HETERO:FPGA.0,FPGA.1,CPU", ...; `merge` is whether islands are moved, `state` the file of the
    cards' state.

    Raises:
        DeviceError: `device-unknown`, `fpga-unprogrammed`, or `fpga-layer` when no device of the
            list runs a layer.
        ModelError: `fpga-shape` where a shape is open, `partition-empty` where nothing stands
            between inputs and outputs.
    """
    model = model.clone()
    set_apart(model)
    parts = list_parts(device)
    support = {part: _ask(model, part, state, alone=len(parts) == 1) for part in parts}
    layers = live_layers(model)
    if not layers:
        raise ModelError(
            "partition-empty",
            f"{model.get_friendly_name()} has no layer between its inputs and outputs, so there is "
            f"nothing for {device} to split; give a network that computes its outputs",
        )
    chosen: dict[str, str] = {}
    reasons: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in layers:
        part = next((part for part in parts if support[part][name].supported), None)
        reason = support[parts[0]][name].reason
        if part is None:
            missing[name] = reason
        else:
            chosen[name], reasons[name] = part, reason
    if missing:
        _refuse(model, device, parts, support, missing, state)
    before = len(_Cut.of(model, chosen).crossings())
    # Without a card OpenVINO itself splits the graph, and moves nothing.
    if merge and simulates(device):
        moved, why = _moved_islands(model, chosen, reasons, support)
        merged = _describe(_Cut.of(model, moved), device, why, before)
        if len(merged.crossings) <= before:
            return merged
    return _describe(_Cut.of(model, chosen), device, reasons, before)


def assign(model: ov.Model, split: Partition) -> None:
    """Name on every node of a graph the device that runs it, for OpenVINO's HETERO.

    Layers go where the partition says, constants and inputs with the first layer that takes them,
    outputs with the layer they come from; a layer that was put in since carries its device. What
    layers share of constants is copied, as parts of a graph share nothing, and no two nodes keep
    one name. The model, changed in place, is that of which `partition` made the split, or what
    became of it.
    """
    set_apart(model)
    devices = {row.name: row.device for row in split.rows if row.type not in _PORTS}
    devices = {**_tags(model), **devices}
    for node, device in zip(model.get_ordered_ops(), _fill(steps(model), devices), strict=True):
        node.get_rt_info()[AFFINITY] = openvino_name(device)


def read_split(model: ov.Model, split: Partition) -> Partition:
    """Return a partition as it is in a graph that `assign` went through.

    Layers that were put in since may join what nothing else joins.
    """
    reasons = {row.name: row.reason for row in split.rows if row.type not in _PORTS}
    graph_cut = _Cut.of(model, _tags(model))
    return _describe(graph_cut, split.device, reasons, split.crossings_before)


def set_apart(model: ov.Model) -> None:
    """Give each layer constants of its own and each node a name of its own, in place."""
    # Backwards, so that what widens a constant is copied before the constant is.
    for node in reversed(model.get_ordered_ops()):
        for port, value in enumerate(node.inputs()):
            source = value.get_source_output()
            if len(source.get_target_inputs()) > 1 and _is_weight(source.get_node()):
                copy = _copied(source.get_node())
                name = f"{source.get_node().get_friendly_name()}/{node.get_friendly_name()}/{port}"
                copy.set_friendly_name(name)
                value.replace_source_output(copy.output(0))
    names = distinct_names(model)
    for node in model.get_ordered_ops():
        node.set_friendly_name(names[node.get_name()])


def _is_weight(node: ov.Node) -> bool:
    """Return whether a node is a constant, or one that is stored in other bits and widened."""
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def _copied(node: ov.Node) -> ov.Node:
    if node.get_type_name() == "Constant":
        return ov.op.Constant(node.get_tensor_view())
    copy = ops.convert(node.input_value(0), node.get_output_element_type(0))
    for key, tag in node.get_rt_info().items():
        copy.get_rt_info()[key] = tag
    return copy


def live_layers(model: ov.Model) -> tuple[str, ...]:
    """Return the layers that an image reaches, in order; inputs and outputs are none."""
    reached: set[str] = set()
    names = []
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "Parameter" or any(
            value.get_node().get_name() in reached for value in node.input_values()
        ):
            reached.add(node.get_name())
            if kind not in _PORTS:
                names.append(node.get_friendly_name())
    return tuple(names)


def _ask(model: ov.Model, part: str, state: Path | None, *, alone: bool) -> Mapping[str, Support]:
    if simulates(part):
        return query(model, loaded_bitstream(find_card(part, state), model, alone=alone))
    taken = open_core().query_model(model, part)
    return {
        node.get_friendly_name(): Support(True, f"{part} has it")
        if node.get_friendly_name() in taken
        else Support(False, f"{part} has no {node.get_type_name()} of this kind")
        for node in model.get_ordered_ops()
    }


def _refuse(
    model: ov.Model,
    device: str,
    parts: Sequence[str],
    support: Mapping[str, Mapping[str, Support]],
    missing: Mapping[str, str],
    state: Path | None,
) -> None:
    if len(parts) == 1 and simulates(parts[0]):
        require_layers(model, find_card(parts[0], state), support[parts[0]])
    shown = [f"{name} ({reason})" for name, reason in list(missing.items())[:_SHOWN]]
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    raise DeviceError(
        "fpga-layer",
        f"no device of {device} runs {', '.join(shown)}{more}; add one that does, as "
        f"HETERO:{','.join(parts)},CPU",
    )


_Port = tuple[int, int]
"""Place of a node, and which of its outputs."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """A graph with a device on every node, where HETERO cuts it, and the bytes of each output."""

    graph: tuple[Step, ...]
    numbers: tuple[int, ...]
    sizes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, model: ov.Model, chosen: Mapping[str, str]) -> "_Cut":
        plain = steps(model)
        graph = tuple(
            replace(step, device=device)
            for step, device in zip(plain, _fill(plain, chosen), strict=True)
        )
        inputs = [node.get_friendly_name() for node in model.get_parameters()]
        sizes = tuple(
            tuple(
                value.get_tensor().size if value.get_partial_shape().is_static else 0
                for value in node.outputs()
            )
            for node in model.get_ordered_ops()
        )
        return cls(graph, tuple(cut(graph, inputs)), sizes)

    def size_bytes(self, source: _Port) -> int:
        """Return the bytes of an output of a node."""
        return self.sizes[source[0]][source[1]]

    def crossings(self) -> list[CrossingTensor]:
        """Return each tensor that a subgraph takes of another, once."""
        tensors: dict[tuple[_Port, int], CrossingTensor] = {}
        for step, taker in zip(self.graph, self.numbers, strict=True):
            for source in step.sources:
                maker = self.numbers[source[0]]
                if maker != taker and (source, taker) not in tensors:
                    tensors[source, taker] = CrossingTensor(
                        layer=self.graph[source[0]].name,
                        source=maker,
                        target=taker,
                        size_bytes=self.size_bytes(source),
                    )
        return list(tensors.values())


def _tags(model: ov.Model) -> dict[str, str]:
    """Return the device that each node names, in this program's words."""
    return {
        node.get_friendly_name(): thorax_name(node.get_rt_info()[AFFINITY].astype(str))
        for node in model.get_ordered_ops()
        if AFFINITY in node.get_rt_info()
    }


def _fill(graph: Sequence[Step], named: Mapping[str, str]) -> list[str]:
    """Return a device for every node: what is not told follows what takes it, or what it gives."""
    devices = [
        named.get(graph[place].name, "") if graph[place].type not in _PORTS else ""
        for place in _followed(graph, named)
    ]
    first = next((device for device in devices if device), "")
    return [device or first for device in devices]


def _followed(graph: Sequence[Step], named: Mapping[str, str]) -> list[int]:
    """Return for every node the place of the node whose device it has, its own for named layers."""
    users: dict[int, int] = {}
    for index, step in enumerate(graph):
        for source, _ in step.sources:
            users.setdefault(source, index)
    followed = list(range(len(graph)))
    for index in reversed(range(len(graph))):
        step = graph[index]
        if (step.type in _PORTS or not named.get(step.name)) and index in users:
            followed[index] = followed[users[index]]
    for index, step in enumerate(graph):
        if step.type == "Result":
            followed[index] = followed[step.sources[0][0]]
    return followed


def _describe(
    graph_cut: _Cut, device: str, reasons: Mapping[str, str], crossings_before: int
) -> Partition:
    crossings = graph_cut.crossings()
    placed = list(zip(graph_cut.graph, graph_cut.numbers, strict=True))
    rows = []
    taken = _taken_from_outside(graph_cut, reasons)
    entered: set[tuple[_Port, int]] = set()
    for (step, number), sources in zip(placed, taken, strict=True):
        if step.name not in reasons and step.type not in ("Parameter", "Result"):
            continue
        new = [source for source in sources if (source, number) not in entered]
        entered.update((source, number) for source in new)
        follows = "follows what takes it" if step.type == "Parameter" else "follows what it gives"
        rows.append(
            PlacedLayer(
                name=step.name,
                type=step.type,
                device=step.device,
                reason=follows if step.type in _PORTS else reasons[step.name],
                subgraph=number,
                input_bytes=sum(map(graph_cut.size_bytes, new)),
                runs_with=None,
                modelled_s=None,
            )
        )
    leaving = {
        source
        for step, number in placed
        for source in step.sources
        if graph_cut.numbers[source[0]] != number
    }
    subgraphs = []
    for number in range(max(graph_cut.numbers) + 1):
        inside = [(at, step) for at, (step, its) in enumerate(placed) if its == number]
        inputs = [(at, 0) for at, step in inside if step.type == "Parameter"]
        given = [source for source in leaving if graph_cut.numbers[source[0]] == number]
        given += [step.sources[0] for _, step in inside if step.type == "Result"]
        subgraphs.append(
            Subgraph(
                number,
                inside[0][1].device,
                tuple(r.name for r in rows if r.subgraph == number and r.type not in _PORTS),
                sum(crossing.size_bytes for crossing in crossings if crossing.target == number)
                + sum(map(graph_cut.size_bytes, inputs)),
                sum(map(graph_cut.size_bytes, given)),
            )
        )
    return Partition(device, tuple(rows), tuple(subgraphs), tuple(crossings), crossings_before)


def _taken_from_outside(graph_cut: _Cut, rows: Mapping[str, str]) -> list[dict[_Port, None]]:
    """Return what each node takes of other subgraphs, itself or through what was put before it."""
    taken: list[dict[_Port, None]] = []
    for step, number in zip(graph_cut.graph, graph_cut.numbers, strict=True):
        outside: dict[_Port, None] = {}
        for source in step.sources:
            if graph_cut.numbers[source[0]] != number:
                outside[source] = None
            elif graph_cut.graph[source[0]].name not in rows:
                outside.update(taken[source[0]])
        taken.append(outside)
    return taken


def _moved_islands(
    model: ov.Model,
    chosen: Mapping[str, str],
    reasons: Mapping[str, str],
    support: Mapping[str, Mapping[str, Support]],
) -> tuple[dict[str, str], dict[str, str]]:
    """Return devices and reasons with islands moved, while crossings cost more than an island."""
    devices, why = dict(chosen), dict(reasons)
    graph = steps(model)
    macs = {layer.name: layer.macs for layer in describe(model)}
    islands = Islands(graph, devices, _followed(graph, devices), macs)
    while move := islands.best_move(lambda n, part: support[part][n].supported, tuple(support)):
        islands.move(move)
        for name in move.layers:
            why[name] = (
                f"beside its neighbours on {move.device}: an island of {len(move.layers)} on "
                f"{devices[name]} would cost {move.saved} crossings"
            )
            devices[name] = move.device
    return devices, why
