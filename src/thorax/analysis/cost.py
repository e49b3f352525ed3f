"""Static analysis of a graph: what each layer multiplies, holds and moves."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import openvino as ov

from thorax.analysis.layers import PASSING, VIEWS, group_layers, live_names
from thorax.devices.engine import HEATMAP
from thorax.importers.layers import CONVOLUTIONS
from thorax.ir.heatmap import CELLS
from thorax.ir.rewrite import NORMALISE
from thorax.ir.stem import BORDER
from thorax.results.analysis import KernelTime

_RECURRENT: Final = {
    "LSTMCell": (3, 4), "GRUCell": (2, 3), "RNNCell": (2, 3),
    "LSTMSequence": (4, 5), "GRUSequence": (3, 4), "RNNSequence": (3, 4),
}  # fmt: skip
"""Inputs that hold the weights of a step: [directions, gates x H, I] and [.., gates x H, H]."""

_TRAINED: Final = (*CONVOLUTIONS, "MatMul", "Add", "Multiply", "PRelu", *_RECURRENT)


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one layer takes for one inference; what is not said here `LayerRoofline` says.

    `multiplied` are how many of its values are weights that are multiplied with, the rest of its
    `constants` being biases and scales. `inputs` are values that it reads from other layers,
    `outputs` those that it answers to them, in `input_bytes` and `output_bytes` each 1 byte where
    a quantizer stands before every reader. `quantized` is whether what it reads was written with 8
    bits, `kernel` what the device runs it with; None where the device folded it away.
    """

    name: str
    type: str
    fused: tuple[str, ...]
    macs: int
    operations: int
    parameters: int
    weight_bytes: int
    multiplied: int
    constants: int
    inputs: int
    outputs: int
    input_bytes: int
    output_bytes: int
    quantized: bool
    kernel: KernelTime | None


@dataclass(frozen=True, slots=True)
class GraphCost:
    """What a graph takes for one inference: its layers in order, and the most that is held at once.

    That peak is the largest sum of values that are still to be read, over the steps of the
    schedule; each value has its own place until its last reader is done.
    """

    layers: tuple[LayerCost, ...]
    peak_activation_bytes: int


def node_macs(node: ov.Node) -> int:
    """Return the multiply-accumulates of one operation; 0 for those that are no such sums."""
    kind = node.get_type_name()
    if kind in CONVOLUTIONS:
        # [O,I,..] or [G,O/G,I/G,..]: inputs seen by one output = all but outputs; transposed
        # convolutions [I,O,..] or [G,I/G,O/G,..]: outputs reached by one input = all but inputs.
        kernel = list(node.get_input_shape(1))[2 if kind.startswith("Group") else 1 :]
        backwards = kind.endswith("BackpropData")
        shape = node.get_input_shape(0) if backwards else node.get_output_shape(0)
        return int(np.prod(shape) * np.prod(kernel))
    if kind == "MatMul":
        left = node.get_input_shape(0)
        turned = node.get_attributes()["transpose_a"] and len(left) > 1
        return int(np.prod(node.get_output_shape(0))) * int(left[-2 if turned else -1])
    if kind in _RECURRENT:
        steps = int(np.prod(node.get_input_shape(0)[:-1]))
        return steps * sum(int(np.prod(node.get_input_shape(at))) for at in _RECURRENT[kind])
    return 0


def count_macs(model: ov.Model) -> int:
    """Return the multiply-accumulates of one inference: convolutions, matrix products, cells."""
    return sum(node_macs(node) for node in model.get_ordered_ops())


def count_parameters(model: ov.Model) -> int:
    """Return how many weights and biases the graph holds that were trained.

    The head counts once, though the heat map applies it to each cell again; normalisation of the
    input is not trained. Of weights that are stored quantised the scales do not count.
    """
    live = live_names(model)
    trained: dict[str, int] = {}
    for node in model.get_ordered_ops():
        if node.get_name() not in live:
            continue
        for port, source in enumerate(node.input_values()):
            # A product of whole numbers has whole weights.
            counts = source.get_element_type().is_real() or node_macs(node)
            if counts and _trained(node, port) and source.get_node().get_name() not in live:
                largest = _largest_constant(source.get_node())
                trained[largest.get_name()] = int(np.prod(largest.get_output_shape(0)))
    return sum(trained.values())


def _trained(user: ov.Node, port: int) -> bool:
    """Return whether the constants of a layer come from training, and only from there."""
    kind, name = user.get_type_name(), user.get_friendly_name()
    if name in (CELLS, HEATMAP) or name.startswith(f"{NORMALISE}/") or name.endswith(f"/{BORDER}"):
        return False
    # Of scale, shift, mean and variance the first two.
    return kind in _TRAINED or (kind == "BatchNormInference" and port in (1, 2))


@dataclass(slots=True)
class _Value:
    """An array in memory that layers hand on; the steps that write (-1 the caller) and read it."""

    step: int
    elements: int
    given_bytes: int = 0
    """Size of one element of an input, 0 for what is computed."""
    readers: set[int] = field(default_factory=set)
    kept: bool = False
    """Whether it is an output."""
    wide: bool = False
    """Whether anything reads it before a quantizer."""

    @property
    def crosses(self) -> bool:
        return self.kept or bool(self.readers - {self.step})

    def bytes(self, compute_bytes: int) -> int:
        return self.elements * (self.given_bytes or (compute_bytes if self.wide else 1))


@dataclass(slots=True)
class _Step:
    nodes: list[ov.Node]
    kernel: KernelTime | None
    last: int = 0
    quantized: bool = True
    reads: dict[str, _Value] = field(default_factory=dict)
    writes: list[_Value] = field(default_factory=list)


def cost_graph(
    model: ov.Model, kernels: Sequence[KernelTime] = (), *, compute_bytes: int = 4
) -> GraphCost:
    """Return what each layer of a graph of static shapes takes.

    Kernels are what a device made of it: layers that one kernel runs are one. A value that is not
    quantized has `compute_bytes`: 4 for f32, 2 for bf16.
    """
    live = live_names(model)
    steps = _steps(model, live, kernels)
    values = _trace(model, live, steps)
    claimed: set[str] = set()
    order = sorted(steps, key=lambda step: step.last)
    layers = tuple(_cost(step, live, compute_bytes, claimed) for step in order)
    when = {id(step): position for position, step in enumerate(order)}
    held = [0] * (len(order) + 1)
    for value in values:
        if not value.crosses:
            continue
        begin = 0 if value.step < 0 else when[id(steps[value.step])]
        readers = [when[id(steps[reader])] for reader in value.readers]
        end = len(order) - 1 if value.kept else max(readers)
        held[begin] += value.bytes(compute_bytes)
        held[end + 1] -= value.bytes(compute_bytes)
    return GraphCost(layers, int(max(np.cumsum(held), default=0)))


def _steps(model: ov.Model, live: set[str], kernels: Sequence[KernelTime]) -> list[_Step]:
    """Return the layers, those that one kernel runs made one."""
    runs = {name: kernel for kernel in kernels for name in kernel.layers}
    by_kernel: dict[str, _Step] = {}
    steps = []
    for layer in group_layers(model, live, apart=VIEWS):
        names = [node.get_friendly_name() for node in layer.nodes]
        names += [
            user.get_node().get_friendly_name()
            for port in layer.nodes[-1].outputs()
            for user in port.get_target_inputs()
            if user.get_node().get_type_name() == "FakeQuantize"
        ]
        kernel = next((runs[name] for name in names if name in runs), None)
        if kernel is not None and kernel.name in by_kernel:
            by_kernel[kernel.name].nodes += layer.nodes
            continue
        steps.append(_Step(list(layer.nodes), kernel))
        if kernel is not None:
            by_kernel[kernel.name] = steps[-1]
    return steps


def _trace(model: ov.Model, live: set[str], steps: Sequence[_Step]) -> list[_Value]:
    """Fill in what each step reads and writes; return every value."""
    step_of = {node.get_name(): at for at, step in enumerate(steps) for node in step.nodes}
    at_port: dict[tuple[str, int], tuple[_Value, bool]] = {}
    """By operation and output: the value, and whether it has passed a quantizer."""
    values = []
    for position, node in enumerate(model.get_ordered_ops()):
        name, kind = node.get_name(), node.get_type_name()
        sources = [(port.get_node().get_name(), port.get_index()) for port in node.input_values()]
        given = [at_port[source] for source in sources if source in at_port]
        if kind == "Result":
            for value, narrow in given:
                value.kept, value.wide = True, value.wide or not narrow
        elif name in step_of:
            step = steps[step_of[name]]
            step.last = position
            for value, narrow in given:
                value.readers.add(step_of[name])
                value.wide = value.wide or not narrow
                if value.step != step_of[name]:
                    step.reads[str(id(value))] = value
                    step.quantized = step.quantized and narrow
            # What only moves 8-bit values moves bytes.
            narrow = kind in PASSING and all(narrow for _, narrow in given)
            for port in node.outputs():
                value = _Value(step_of[name], _elements(port))
                step.writes.append(value)
                values.append(value)
                at_port[name, port.get_index()] = (value, narrow)
        elif kind == "Parameter":
            port = node.output(0)
            value = _Value(-1, _elements(port), port.get_element_type().size)
            values.append(value)
            at_port[name, 0] = (value, False)
        elif name in live and given and kind != "ShapeOf":
            # A view, or what computes on whole numbers.
            value, narrow = given[0]
            for port in node.outputs():
                at_port[name, port.get_index()] = (value, narrow or kind == "FakeQuantize")
    return values


def _elements(port: ov.Output) -> int:
    shape = port.get_partial_shape()
    return int(np.prod(shape.to_shape())) if shape.is_static else 0


def _cost(step: _Step, live: set[str], compute_bytes: int, claimed: set[str]) -> LayerCost:
    main = max(step.nodes, key=node_macs)
    parameters = weight_bytes = multiplied = constants = 0
    for node in step.nodes:
        for port, source in enumerate(node.input_values()):
            if source.get_node().get_name() in live or not source.get_element_type().is_real():
                continue
            parts = _constants(source.get_node())
            weight_bytes += sum(each.get_byte_size() for each in parts)
            largest = _largest_constant(source.get_node())
            count = int(np.prod(largest.get_output_shape(0)))
            constants += count
            multiplied += count if node_macs(node) else 0
            if _trained(node, port) and largest.get_name() not in claimed:
                claimed.add(largest.get_name())
                parameters += count
    writes = [value for value in step.writes if value.crosses]
    reads = list(step.reads.values())
    return LayerCost(
        name=main.get_friendly_name(),
        type=main.get_type_name(),
        fused=tuple(node.get_friendly_name() for node in step.nodes if node is not main),
        macs=sum(map(node_macs, step.nodes)),
        operations=sum(map(_operations, step.nodes)),
        parameters=parameters,
        weight_bytes=weight_bytes,
        multiplied=multiplied,
        constants=constants,
        inputs=sum(value.elements for value in reads),
        outputs=sum(value.elements for value in writes),
        input_bytes=sum(value.bytes(compute_bytes) for value in reads),
        output_bytes=sum(value.bytes(compute_bytes) for value in writes),
        quantized=step.quantized and bool(reads),
        kernel=step.kernel,
    )


def _constants(node: ov.Node) -> list[ov.Node]:
    """Return the constants that a constant value is made of: weights and their scales."""
    if node.get_type_name() == "Constant":
        return [node]
    return [each for source in node.input_values() for each in _constants(source.get_node())]


def _largest_constant(node: ov.Node) -> ov.Node:
    return max(_constants(node), key=lambda each: int(np.prod(each.get_output_shape(0))))


def _operations(node: ov.Node) -> int:
    """Return the values that are read to make the answers of what is no multiply-accumulate."""
    kind = node.get_type_name()
    if node_macs(node) or (kind in PASSING and kind != "MaxPool"):
        return 0
    if kind in ("MaxPool", "AvgPool"):
        reach = int(np.prod(node.get_attributes()["kernel"]))
        return reach * _elements(node.output(0))
    if kind.startswith("Reduce") or kind.startswith("Adaptive"):
        return _elements(node.input_value(0))
    return _elements(node.output(0))
