"""Workload of an overlay: the layers of a graph, each with its sizes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
import openvino as ov

from thorax.errors import ModelError
from thorax.fpga.names import distinct_names


class LayerKind(StrEnum):
    """Part of an overlay that a layer occupies."""

    CONVOLUTION = "convolution"
    """Plain, grouped and depthwise: `groups` tells them apart."""
    DECONVOLUTION = "deconvolution"
    FULLY_CONNECTED = "fully_connected"
    """A product with constant weights, of each row of its input."""
    POOL = "pool"
    ELTWISE = "eltwise"
    """A sum or product of computed maps that no convolution before it closes."""
    SCALE = "scale"
    """Multiplication and addition of constants that follow no other layer."""
    ACTIVATION = "activation"
    NORM = "norm"
    """Local response normalisation."""
    SOFTMAX = "softmax"
    CONCAT = "concat"
    NORMALISE = "normalise"
    """What is done to the pixels of the image before any layer: a matter of the host."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class WorkloadLayer:
    """One layer for one image: an operation, and those that run with it on its way out.

    Pairs are (height, width). What has no height and width, as a fully connected layer, has 1 x 1.

    Attributes:
        name: friendly name of the operation that gives the layer its kind, numbered where an
            operation before it has the same.
        kind: which part of an overlay it occupies.
        type: of that operation.
        fused: such names of the operations that run with it: bias, scale, activation, the sum
            that closes a residual branch.
        sources: names of the layers that it reads, the operand of a residual sum last; an input
            of the graph has its own name.
        input_channels: C, of all groups.
        output_channels: K, of all groups.
        input_size: height and width of what it reads.
        output_size: height and width of what it answers (P, Q).
        kernel: height and width of filter or window (R, S); 1 x 1 where there is none.
        strides: steps of the window.
        dilations: distance of its taps.
        groups: G; equal to both numbers of channels where it is depthwise.
        residual: whether it ends by adding another map of the size of its output.
        stem: whether it is a convolution that sees the image.
        weights: numbers it multiplies with, shared by all images.
        input_values: that it reads for one image, the operand of a residual sum not among them.
        output_values: that it answers for one image.
    """

    name: str
    kind: LayerKind
    type: str
    fused: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    input_channels: int = 1
    output_channels: int = 1
    input_size: tuple[int, int] = (1, 1)
    output_size: tuple[int, int] = (1, 1)
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1
    residual: bool = False
    stem: bool = False
    weights: int = 0
    input_values: int = 0
    output_values: int = 0

    @property
    def depthwise(self) -> bool:
        """Whether each output channel sees one input channel, its own."""
        return 1 < self.groups == self.input_channels == self.output_channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        if self.kind is LayerKind.DECONVOLUTION:
            return self.weights * self.input_size[0] * self.input_size[1]
        return self.weights * self.output_size[0] * self.output_size[1]


_WITH_KERNEL: Final = {
    "Convolution": LayerKind.CONVOLUTION,
    "GroupConvolution": LayerKind.CONVOLUTION,
    "ConvolutionBackpropData": LayerKind.DECONVOLUTION,
    "GroupConvolutionBackpropData": LayerKind.DECONVOLUTION,
}

_POOLS: Final = (
    "MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool", "ReduceMean", "ReduceMax",
)  # fmt: skip

_ACTIVATIONS: Final = (
    "Relu", "PRelu", "Clamp", "Elu", "Sigmoid", "Tanh", "HSwish", "HSigmoid", "HardSigmoid",
    "Swish", "Mish", "Gelu", "SoftPlus", "Abs",
)  # fmt: skip

_ARITHMETIC: Final = ("Add", "Subtract", "Multiply", "Divide", "BatchNormInference")
"""With constants they are scale and shift; of two maps element-wise."""

_VIEWS: Final = (
    "Convert", "ConvertLike", "FakeQuantize", "FakeConvert", "Reshape", "Squeeze", "Unsqueeze",
    "Identity", "Pad", "Flatten",
)  # fmt: skip
"""What leaves values where they are; a border is added as they are read."""

_CLOSES: Final = (LayerKind.CONVOLUTION, LayerKind.DECONVOLUTION)
"""Layers on whose way out a second map can be added."""


@dataclass(slots=True)
class _Building:
    """A layer whose followers are still to be found."""

    name: str
    node: ov.Node
    kind: LayerKind
    end: ov.Node
    last: int
    sources: list[str]
    stem: bool
    fused: list[str] = field(default_factory=list)
    residual: bool = False


def describe(model: ov.Model, among: Collection[str] | None = None) -> tuple[WorkloadLayer, ...]:
    """Return the layers of a graph in the order of execution.

    A layer takes in what follows it and nothing else reads: bias, scale and activation; and of the
    two convolutions that a residual sum adds, the later closes it. The model has static shapes; the
    batch it was made for does not matter. Operations `among` these friendly names count, None takes
    all; what the others answer is read as if it were an input.

    Raises:
        ModelError: `fpga-shape` where a shape is open.

    Example:
        >>> [layer.kind.value for layer in describe(ov.Core().read_model("model.xml"))]
    """
    built: list[_Building] = []
    made_by: dict[str, _Building] = {}
    before: dict[str, str] = {}
    image: set[str] = set()
    names = distinct_names(model)
    for index, node in enumerate(model.get_ordered_ops()):
        key, type_name = node.get_name(), node.get_type_name()
        live = [value for value in node.input_values() if value.get_node().get_name() in before]
        if type_name == "Parameter":
            before[key] = names[key]
            image.add(key)
        # Of static shapes everything that follows from a shape is a constant.
        if not live or type_name in ("Result", "ShapeOf"):
            continue
        _require_static(node)
        source = live[0].get_node().get_name()
        if among is not None and node.get_friendly_name() not in among:
            before[key] = names[key]
            continue
        if type_name in _VIEWS:
            before[key] = before[source]
            if source in image:
                image.add(key)
            if source in made_by:
                maker = made_by[key] = made_by[source]
                if maker.end.get_name() == source and _readers(live[0]) == 1:
                    maker.end = node
            continue
        into = _takes(node, live, made_by)
        if into is None:
            kind = _kind(node, len(live), in_image=source in image)
            into = _Building(
                names[key], node, kind, node, index, _names(live, before), source in image
            )
            built.append(into)
        else:
            into.fused.append(names[key])
            into.residual = into.residual or len(live) > 1
            into.sources += [name for name in _names(live, before) if name != into.name]
        if into.kind is LayerKind.NORMALISE:
            image.add(key)
        into.end, into.last = node, index
        before[key], made_by[key] = into.name, into
    built.sort(key=lambda layer: layer.last)
    return tuple(map(_measure, built))


def _readers(value: ov.Output) -> int:
    """Return how many operations read the numbers of a value, not its shape."""
    return sum(user.get_node().get_type_name() != "ShapeOf" for user in value.get_target_inputs())


def _names(live: Sequence[ov.Output], before: dict[str, str]) -> list[str]:
    return list(dict.fromkeys(before[value.get_node().get_name()] for value in live))


def _require_static(node: ov.Node) -> None:
    for port in node.outputs():
        if port.get_partial_shape().is_dynamic:
            raise ModelError(
                "fpga-shape",
                f"{node.get_friendly_name()} answers {port.get_partial_shape()}; an overlay takes "
                "one size of image: close the shape first with --side or `thorax optimize`",
            )


def _takes(
    node: ov.Node, live: Sequence[ov.Output], made_by: dict[str, _Building]
) -> _Building | None:
    """Return the layer that an operation runs with, or None where it begins its own."""
    type_name = node.get_type_name()
    if type_name not in (*_ACTIVATIONS, *_ARITHMETIC):
        return None
    open_layers = [
        made_by[value.get_node().get_name()]
        for value in live
        if value.get_node().get_name() in made_by
        and made_by[value.get_node().get_name()].end.get_name() == value.get_node().get_name()
        and _readers(value) == 1
    ]
    if len(live) == 1:
        able = [
            layer for layer in open_layers
            if layer.kind not in (LayerKind.CONCAT, LayerKind.OTHER)
            and not (layer.kind is LayerKind.NORMALISE and type_name in _ACTIVATIONS)
        ]  # fmt: skip
        return able[0] if able else None
    if type_name != "Add" or len({tuple(value.get_shape()) for value in live}) > 1:
        return None
    closing = [layer for layer in open_layers if layer.kind in _CLOSES and not layer.residual]
    return max(closing, key=lambda layer: layer.last, default=None)


def _kind(node: ov.Node, live: int, *, in_image: bool) -> LayerKind:
    type_name = node.get_type_name()
    rank = len(node.get_output_shape(0))
    if type_name in _WITH_KERNEL:
        return _WITH_KERNEL[type_name] if rank in (3, 4) and live == 1 else LayerKind.OTHER
    if type_name == "MatMul":
        return LayerKind.FULLY_CONNECTED if live == 1 else LayerKind.OTHER
    if type_name in _POOLS:
        return LayerKind.POOL if len(node.get_input_shape(0)) in (3, 4) else LayerKind.OTHER
    if type_name in _ARITHMETIC:
        if live > 1:
            return LayerKind.ELTWISE
        return LayerKind.NORMALISE if in_image else LayerKind.SCALE
    if type_name in _ACTIVATIONS:
        return LayerKind.ACTIVATION
    others = {
        "LRN": LayerKind.NORM, "Concat": LayerKind.CONCAT,
        "Softmax": LayerKind.SOFTMAX, "SoftMax": LayerKind.SOFTMAX,
    }  # fmt: skip
    return others.get(type_name, LayerKind.OTHER)


def _measure(building: _Building) -> WorkloadLayer:
    """Return a layer with its sizes, read off the shapes of its operation."""
    node, kind = building.node, building.kind
    inputs, outputs = _sizes(node.get_input_shape(0)), _sizes(node.get_output_shape(0))
    kernel, groups, weights = (1, 1), 1, 0
    attributes = node.get_attributes()
    if kind in _CLOSES:
        filters = [int(d) for d in node.get_input_shape(1)]
        grouped = node.get_type_name().startswith("Group")
        groups = filters[0] if grouped else 1
        kernel = _pair(filters[3 if grouped else 2 :])
        weights = int(np.prod(filters))
    elif kind is LayerKind.FULLY_CONNECTED:
        inputs, outputs = _rows(node)
        weights = inputs[0] * outputs[0]
    elif kind is LayerKind.POOL:
        window = attributes.get("kernel")
        # Of a pool that says none each output sees its share of the input.
        shares = [max(1, inputs[axis] // outputs[axis]) for axis in (1, 2)]
        kernel = _pair(window or shares)
    elif kind is LayerKind.CONCAT:
        inputs = outputs
    steps = attributes.get("strides") if kind in (*_CLOSES, LayerKind.POOL) else None
    strides = _pair(steps) if steps else (kernel if kind is LayerKind.POOL else (1, 1))
    spread = attributes.get("dilations") if kind in _CLOSES else None
    return WorkloadLayer(
        name=building.name,
        kind=kind,
        type=str(node.get_type_name()),
        fused=tuple(building.fused),
        sources=tuple(building.sources),
        input_channels=inputs[0],
        output_channels=outputs[0],
        input_size=inputs[1:],
        output_size=outputs[1:],
        kernel=kernel,
        strides=strides,
        dilations=_pair(spread) if spread else (1, 1),
        groups=groups,
        residual=building.residual,
        stem=building.stem and kind in _CLOSES,
        weights=weights,
        input_values=int(np.prod(inputs))
        * (max(1, len(building.sources)) if kind is LayerKind.ELTWISE else 1),
        output_values=int(np.prod(outputs)),
    )


def _sizes(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return channels, height and width of [N,C,..]: what there is more of counts as width."""
    axes = [int(d) for d in shape][1:] or [1]
    if len(axes) <= 2:
        return axes[0], 1, axes[1] if len(axes) == 2 else 1
    return axes[0], axes[1], int(np.prod(axes[2:]))


def _rows(node: ov.Node) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return both sizes of a product with weights: its rows beyond the batch are its pixels."""
    shape = [int(d) for d in node.get_input_shape(0)]
    answer = [int(d) for d in node.get_output_shape(0)]
    pixels = int(np.prod(answer[1:-1])) if len(answer) > 2 else 1
    given = shape[-2 if node.get_attributes()["transpose_a"] and len(shape) > 1 else -1]
    return (given, 1, pixels), (answer[-1], 1, pixels)


def _pair(values: Sequence[int]) -> tuple[int, int]:
    sizes = [int(value) for value in values]
    return (sizes[0], sizes[1]) if len(sizes) > 1 else (1, sizes[0])
