"""Signal to noise between two graphs of one network after every layer, and whose noise it is.

Layers are those of `layers`, matched by name and compared where they end.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops

from thorax.analysis.layers import Layer, group_layers, live_names
from thorax.devices.graph import compile_graph
from thorax.errors import ModelError
from thorax.results.optimize import LayerNoise, OutputNoise

InputArrays = tuple[npt.NDArray[Any], ...]
"""One array for each input of a graph, in order."""

MEMORY_BYTES: Final = 256 * 2**20
"""Values of layers that are held at a time; a larger network is compared part by part."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a graph runs, and in which arithmetic its floating-point layers do."""

    device: str = "CPU"
    compute: str = "f32"


@dataclass(frozen=True, slots=True)
class GraphComparison:
    """Two graphs of one network, layer by layer in the order of execution; see `CompareResult`."""

    layers: list[LayerNoise]
    outputs: list[OutputNoise]
    unmatched: tuple[str, ...]
    extra: tuple[str, ...]


@dataclass(slots=True)
class _Sums:
    signal: float = 0.0
    noise: float = 0.0
    worst: float = 0.0

    def add(self, wanted: npt.NDArray[Any], got: npt.NDArray[Any]) -> None:
        a, b = wanted.astype(np.float64), got.astype(np.float64)
        off = a - b
        self.signal += float(np.vdot(a, a))
        self.noise += float(np.vdot(off, off))
        self.worst = float(np.maximum(self.worst, np.abs(off).max(initial=0.0)))

    @property
    def sqnr_db(self) -> float | None:
        if self.noise == 0:
            return None
        # Of a signal of nothing it is -400: below what float32 can differ by.
        return max(-400.0, 10 * math.log10(self.signal / self.noise)) if self.signal else -400.0


def compare_layers(
    model_a: ov.Model,
    model_b: ov.Model,
    images: npt.NDArray[Any] | Sequence[InputArrays],
    *,
    a: Place | None = None,
    b: Place | None = None,
    on_progress: Callable[[int], None] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> GraphComparison:
    """Return how far each layer and output of one graph strays from the same of another.

    Where no layer has one name in both, the outputs alone are compared. Images are [N,...], each
    as both inputs take it, e.g. uint8 [N,1,S,S]; of graphs of several inputs `InputArrays` for each
    run. `on_progress` is told how many more were run through a part of the network, `memory_bytes`
    bounds the values of layers that are held at a time.

    Raises:
        ModelError: `compare-shape`, `compare-layers` or `compare-not-finite`.
        DeviceError: as `compile_graph`.
    """
    fed = [(image[None],) for image in images] if isinstance(images, np.ndarray) else list(images)
    _require_alike(model_a, model_b, fed)
    a, b = a or Place(), b or Place()
    tell = on_progress or (lambda _: None)
    first, second = model_a.clone(), model_b.clone()
    layers = _layers(first)
    nodes_a, nodes_b = _by_name(first), _by_name(second)
    matched = [layer for layer in layers if _same(nodes_a, nodes_b, layer.end)]
    pairs = _paired(first, second)
    if not matched and not pairs:
        raise ModelError(
            "compare-layers",
            "the two graphs share no layer and no output of one name and shape; compare graphs "
            "that were made of one network",
        )
    cut = _Cut.of(second.clone(), matched)
    errors = []
    for part in cut.parts(memory_bytes):
        totals, own = _run(part, fed, (first, a), (second, b), cut, tell)
        errors += [
            LayerNoise(
                name=layer.name,
                type=layer.type,
                sqnr_db=totals[layer.end].sqnr_db,
                max_error=totals[layer.end].worst,
                own_sqnr_db=own[layer.end].sqnr_db,
            )
            for layer in part
        ]
    names_matched = {layer.name for layer in matched}
    names_of_first = {layer.name for layer in layers}
    return GraphComparison(
        errors,
        _outputs(pairs, (first, a), (second, b), fed),
        tuple(layer.name for layer in layers if layer.name not in names_matched),
        tuple(layer.name for layer in _layers(second) if layer.name not in names_of_first),
    )


def _require_alike(model_a: ov.Model, model_b: ov.Model, fed: Sequence[InputArrays]) -> None:
    for model in (model_a, model_b):
        if any(port.get_partial_shape().is_dynamic for port in model.inputs):
            raise ModelError(
                "compare-shape",
                f"{model.get_friendly_name()} takes {', '.join(map(str, model.inputs))}; inputs "
                "of a fixed shape can be compared",
            )
    shapes = [[list(port.get_shape()) for port in model.inputs] for model in (model_a, model_b)]
    given = [[list(value.shape) for value in arrays] for arrays in fed[:1]]
    if shapes[0] != shapes[1] or any(each != shapes[0] for each in given):
        raise ModelError(
            "compare-shape",
            f"the graphs take {shape_text(shapes[0])} and {shape_text(shapes[1])}, they are fed "
            f"{', '.join(map(shape_text, given)) or 'nothing'}; all must agree",
        )


def shape_text(shapes: Iterable[Sequence[int]]) -> str:
    """Return shapes for people."""
    return ", ".join(map(str, shapes))


def _by_name(model: ov.Model) -> dict[str, ov.Node]:
    """Return the operations by friendly name; of several of one name the first."""
    nodes: dict[str, ov.Node] = {}
    for node in model.get_ordered_ops():
        nodes.setdefault(node.get_friendly_name(), node)
    return nodes


def _same(nodes_a: dict[str, ov.Node], nodes_b: dict[str, ov.Node], name: str) -> bool:
    other = nodes_b.get(name)
    return (
        other is not None
        and len(other.outputs()) == 1
        and other.output(0).get_element_type().is_real()
        and other.output(0).get_partial_shape() == nodes_a[name].output(0).get_partial_shape()
    )


def _layers(model: ov.Model) -> list[Layer]:
    """Return the layers whose noise is told: those that compute, and answer one value.

    Operations that hand values on have no noise of their own: an 8-bit value is rounded wherever
    a quantizer stands between two layers, before or behind them.
    """
    layers = group_layers(model, live_names(model))
    return [layer for layer in layers if len(layer.nodes[-1].outputs()) == 1]


@dataclass(slots=True)
class _Cut:
    """The second graph, parted behind each layer so that any value can be fed to the next."""

    nodes: dict[str, ov.Node]
    """The operations at which layers end, by name."""
    fed: dict[str, ov.Node]
    """What now stands for the value of each."""
    inputs: Sequence[ov.Node]
    layers: Sequence[Layer]
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @staticmethod
    def of(model: ov.Model, layers: Sequence[Layer]) -> "_Cut":
        by_name = _by_name(model)
        nodes = {layer.end: by_name[layer.end] for layer in layers}
        fed = {}
        for name, node in nodes.items():
            port = node.output(0)
            users = list(port.get_target_inputs())
            fed[name] = ops.parameter(port.get_partial_shape(), port.get_element_type())
            for user in users:
                user.replace_source_output(fed[name].output(0))
        cut = _Cut(nodes, fed, model.get_parameters(), layers)
        stands_for = {value.get_name(): name for name, value in fed.items()}
        for layer in layers:
            cut.reads[layer.end] = tuple(_sources(nodes[layer.end], stands_for))
        return cut

    def parts(self, memory_bytes: int) -> Iterator[list[Layer]]:
        """Yield the layers in runs whose values fit in memory side by side."""
        part: list[Layer] = []
        held: set[str] = set()
        for layer in self.layers:
            values = {layer.end, *self.reads[layer.end]}
            if part and sum(map(self._bytes, held | values)) > memory_bytes:
                yield part
                part, held = [], set()
            part.append(layer)
            held |= values
        if part:
            yield part

    def _bytes(self, name: str) -> int:
        # The first graph's value, the second's, and that of the layer on its own.
        return 3 * 4 * int(np.prod(self.nodes[name].get_output_shape(0)))


def _sources(node: ov.Node, stands_for: dict[str, str]) -> Iterator[str]:
    """Yield the names of the values that a piece of the cut graph is fed, each once."""
    seen: set[str] = set()
    pending = [node]
    while pending:
        inner = pending.pop()
        if inner.get_name() in seen:
            continue
        seen.add(inner.get_name())
        if inner.get_name() in stands_for:
            yield stands_for[inner.get_name()]
        pending += [source.get_node() for source in inner.input_values()]


def _run(
    part: Sequence[Layer],
    fed: Sequence[InputArrays],
    first: tuple[ov.Model, Place],
    second: tuple[ov.Model, Place],
    cut: _Cut,
    tell: Callable[[int], None],
) -> tuple[dict[str, _Sums], dict[str, _Sums]]:
    """Return for each layer's end how the second graph strays, as it runs and on its own."""
    ends = [layer.end for layer in part]
    reads = list(dict.fromkeys(name for end in ends for name in cut.reads[end]))
    probes = list(dict.fromkeys([*ends, *reads]))
    run_a = _probed(*first, probes)
    run_b = _probed(*second, ends)
    pieces = ov.Model(
        [ops.result(cut.nodes[end].output(0)) for end in ends],
        [*cut.inputs, *(cut.fed[name] for name in reads)],
    )
    alone = compile_graph(pieces, second[1].device, compute=second[1].compute)
    totals = {end: _Sums() for end in ends}
    own = {end: _Sums() for end in ends}
    for inputs in fed:
        values_a = _values(run_a, inputs, probes, "first")
        values_b = _values(run_b, inputs, ends, "second")
        fed_alike = _values(alone, [*inputs, *(values_a[name] for name in reads)], ends)
        for end, value in fed_alike.items():
            totals[end].add(values_a[end], values_b[end])
            own[end].add(values_a[end], value)
        tell(1)
    return totals, own


def _probed(model: ov.Model, place: Place, names: Sequence[str]) -> ov.CompiledModel:
    """Return a graph compiled with the values of these operations as its outputs, in order."""
    nodes = _by_name(model)
    results = [ops.result(nodes[name].output(0)) for name in names]
    probed = ov.Model(results, model.get_parameters())
    return compile_graph(probed, place.device, compute=place.compute)


def _values(
    compiled: ov.CompiledModel,
    inputs: Sequence[npt.NDArray[Any]],
    names: Sequence[str],
    which: str = "",
) -> dict[str, npt.NDArray[Any]]:
    """Return the outputs under names; finite ones, where it is said which model it is."""
    # One graph may take bytes where the other takes floats.
    kinds = [port.get_element_type().to_dtype() for port in compiled.inputs]
    fed = [np.asarray(value, kind) for value, kind in zip(inputs, kinds, strict=True)]
    values = dict(zip(names, compiled(fed).to_tuple(), strict=True))
    for name, value in values.items():
        if which and not np.isfinite(value).all():
            raise ModelError(
                "compare-not-finite",
                f"layer {name} of the {which} model answers what is not a finite number; a graph "
                "that overflows cannot be compared",
            )
    return values


def _outputs(
    pairs: Sequence[tuple[str, ov.Output, ov.Output]],
    first: tuple[ov.Model, Place],
    second: tuple[ov.Model, Place],
    fed: Sequence[InputArrays],
) -> list[OutputNoise]:
    """Return how far the outputs that both have differ; nothing else is probed meanwhile."""
    if not pairs:
        return []
    runs = [
        compile_graph(
            ov.Model([ops.result(ports[side]) for _, *ports in pairs], model.get_parameters()),
            place.device,
            compute=place.compute,
        )
        for side, (model, place) in enumerate((first, second))
    ]
    sums = {name: _Sums() for name, *_ in pairs}
    for inputs in fed:
        values_a, values_b = (
            _values(run, inputs, list(sums), which)
            for run, which in zip(runs, ("first", "second"), strict=True)
        )
        for name, total in sums.items():
            total.add(values_a[name], values_b[name])
    return [
        OutputNoise(name=name, type="Result", sqnr_db=total.sqnr_db, max_error=total.worst)
        for name, total in sums.items()
    ]


def _paired(model_a: ov.Model, model_b: ov.Model) -> list[tuple[str, ov.Output, ov.Output]]:
    """Return the outputs that both have and what they are called; and logits."""
    pairs = []
    for index_a, index_b in _output_pairs(model_a, model_b):
        name = min(model_a.outputs[index_a].get_names(), default=f"output {index_a}")
        ports = [
            model.outputs[index].get_node().input_value(0)
            for model, index in ((model_a, index_a), (model_b, index_b))
        ]
        if len({str(port.get_partial_shape()) for port in ports}) != 1:
            continue
        pairs.append((name, *ports))
        ends = [port.get_node() for port in ports]
        if all(end.get_type_name() in ("Sigmoid", "Softmax", "SoftMax") for end in ends):
            pairs.append((f"logit of {name}", *(end.input_value(0) for end in ends)))
    return pairs


def _output_pairs(model_a: ov.Model, model_b: ov.Model) -> list[tuple[int, int]]:
    """Return the indices of outputs that are the same: by name, else by shape, else by order."""
    models = (model_a, model_b)
    names_a, names_b = (
        [min(port.get_names(), default="") for port in model.outputs] for model in models
    )
    named = [(index, names_b.index(name)) for index, name in enumerate(names_a) if name in names_b]
    if named or len(names_a) != len(names_b):
        return named
    shapes_a, shapes_b = (
        [str(port.get_partial_shape()) for port in model.outputs] for model in models
    )
    if len(set(shapes_a)) == len(shapes_a) and sorted(shapes_a) == sorted(shapes_b):
        return [(index, shapes_b.index(shape)) for index, shape in enumerate(shapes_a)]
    return [(index, index) for index in range(len(names_a))]
