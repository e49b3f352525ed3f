"""The head of a classifier: what makes its logits, and where its features lie on the image."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops

from thorax.artifact import Activation, HeatmapGrid
from thorax.errors import ModelError
from thorax.ir.layouts import TO_CHANNELS_FIRST, TO_CHANNELS_LAST

_RESHAPES: Final = ("Reshape", "Squeeze", "Unsqueeze", "Convert")
POINTWISE: Final = (
    "Relu", "PRelu", "Clamp", "Add", "Multiply", "Subtract", "Divide", "BatchNormInference",
    "FakeQuantize", "Convert", "Concat", "HSwish", "Swish", "Sigmoid", "HSigmoid", "Elu", "Selu",
    "Gelu", "Mish", "SoftPlus", "Tanh", "Exp", "Power", "Sqrt", "Abs", "Negative", "Maximum",
    "Minimum", "LRN",
)  # fmt: skip

_Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Head:
    """A global-average-pool + linear head: features [N,D,h,w], weight float32 [K,D], bias [K].

    Of `fine` features every second cell is averaged, see `thorax.ir.atrous`.
    """

    features: ov.Output
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    fine: bool = False


def constant(output: ov.Output) -> npt.NDArray[np.float32] | None:
    """Return the values of a constant, seen through a cast; None for what is computed."""
    node = output.get_node()
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return None
    return np.asarray(node.data, np.float32)


def find_logits(model: ov.Model) -> tuple[ov.Output, Activation | None]:
    """Return the value before a final sigmoid or softmax, and which; else the output and None.

    An activation that an exporter wrote out in exponentials is one too, the logarithm of a softmax
    counts as the softmax, and reshapes may follow.

    Raises:
        ModelError: `model-outputs`.
    """
    if len(model.outputs) != 1:
        names = ", ".join(sorted(port.any_name for port in model.outputs))
        raise ModelError(
            "model-outputs", f"the model has {len(model.outputs)} outputs ({names}); one is needed"
        )
    answer = model.outputs[0].get_node().input_value(0)
    value = answer
    while value.get_node().get_type_name() in _RESHAPES or _moves_nothing(value.get_node()):
        value = value.get_node().input_value(0)
    node = value.get_node()
    kind = node.get_type_name()
    if kind == "Log" and node.input_value(0).get_node().get_type_name() == "Softmax":
        node = node.input_value(0).get_node()
        kind = "Softmax"
    if kind == "Sigmoid":
        return node.input_value(0), "sigmoid"
    if kind in ("Softmax", "LogSoftmax") and _over_classes(node):
        return node.input_value(0), "softmax"
    if (inner := sigmoid_input(node)) is not None:
        return inner, "sigmoid"
    if (inner := softmax_input(node)) is not None:
        return inner, "softmax"
    return answer, None


def lengths(value: ov.Output) -> list[int]:
    """Return the lengths of all axes; nothing where one is open."""
    shape = value.get_partial_shape()
    return [axis.get_length() for axis in shape] if shape.is_static else []


def _moves_nothing(node: ov.Node) -> bool:
    """Return whether a Transpose leaves values in their order: all but one axis are 1."""
    if node.get_type_name() != "Transpose":
        return False
    sizes = lengths(node.input_value(0))
    return bool(sizes) and sum(size > 1 for size in sizes) <= 1


def _over_classes(node: ov.Node) -> bool:
    shape = node.get_input_partial_shape(0)
    if shape.rank.is_dynamic:
        return False
    axis = node.get_attributes()["axis"] % len(shape)
    return axis > 0 and all(
        each.is_static and each.get_length() == 1
        for index, each in enumerate(shape)
        if index not in (0, axis)
    )


def _is_all(output: ov.Output, number: float) -> bool:
    values = constant(output)
    return values is not None and bool(np.all(values == number))


def _inverse(node: ov.Node) -> ov.Output | None:
    """Return x of a layer 1 / x."""
    kind = node.get_type_name()
    if kind == "Divide" and _is_all(node.input_value(0), 1):
        return node.input_value(1)
    if kind == "Power" and _is_all(node.input_value(1), -1):
        return node.input_value(0)
    return None


def _either(node: ov.Node, number: float) -> ov.Output | None:
    """Return the other operand of a layer of two, one of them this constant."""
    for data, other in ((0, 1), (1, 0)):
        if _is_all(node.input_value(other), number):
            return node.input_value(data)
    return None


def sigmoid_input(node: ov.Node) -> ov.Output | None:
    """Return x of 1 / (1 + exp(-x))."""
    below = _inverse(node)
    if below is None or below.get_node().get_type_name() != "Add":
        return None
    grown = _either(below.get_node(), 1)
    if grown is None or grown.get_node().get_type_name() != "Exp":
        return None
    minus = grown.get_node().input_value(0).get_node()
    match minus.get_type_name():
        case "Negative":
            return minus.input_value(0)
        case "Multiply":
            return _either(minus, -1)
        case "Subtract" if _is_all(minus.input_value(0), 0):
            return minus.input_value(1)
    return None


def softmax_input(node: ov.Node) -> ov.Output | None:
    """Return x of exp(x) / sum(exp(x)), the largest x taken off before or not."""
    if node.get_type_name() == "Divide":
        grown, total = node.input_value(0), node.input_value(1)
    elif node.get_type_name() == "Multiply":
        grown = node.input_value(0)
        inverse = _inverse(node.input_value(1).get_node())
        if inverse is None:
            return None
        total = inverse
    else:
        return None
    if grown.get_node().get_type_name() != "Exp" or total.get_node().get_type_name() != "ReduceSum":
        return None
    axes, sizes = constant(total.get_node().input_value(1)), lengths(grown)
    if total.get_node().input_value(0) != grown or axes is None or not sizes or axes.size != 1:
        return None
    if sizes[int(axes.ravel()[0])] != np.prod(sizes[1:]):
        return None
    inner = grown.get_node().input_value(0)
    if inner.get_node().get_type_name() == "Subtract":
        left, right = (inner.get_node().input_value(index) for index in (0, 1))
        if right.get_node().get_type_name() == "ReduceMax":
            return left if right.get_node().input_value(0) == left else None
    return inner


def find_head(logits: ov.Output) -> Head | None:
    """Return the global-average-pool + linear head that makes these K logits of an image, or None.

    Linear layers, scales, shifts and reshapes are followed back to the average and composed to one
    matrix (Zhou et al., CVPR 2016, eq. 1-2). A network that averages its last convolution of 1 x 1
    has the head in front of the average, which changes places with it (Lin et al., ICLR 2014,
    section 3.2).
    """
    sizes = lengths(logits)
    if not sizes or (len(sizes) > 1 and sizes[0] != 1):
        return None
    count = int(np.prod(sizes))
    matrix, bias = np.eye(count), np.zeros(count)
    value, linear = logits, False
    while (pooled := _pooled(value)) is None:
        step = _back(value.get_node(), matrix)
        if step is None:
            return None
        value, matrix, shift = step.value, step.matrix, step.shift
        bias = bias + shift
        linear = linear or step.linear
    features, matrix = pooled[0], matrix * pooled[1]
    if not linear:
        features, matrix, shift = _before_kernel(features, matrix)
        bias = bias + shift
    weight = np.ascontiguousarray(matrix, np.float32)
    return Head(features, weight, bias.astype(np.float32))


@dataclass(frozen=True, slots=True)
class _Step:
    """logits = matrix value + shift, one layer nearer to the image than before."""

    value: ov.Output
    matrix: _Matrix
    shift: _Matrix
    linear: bool = False


def _back(node: ov.Node, matrix: _Matrix) -> _Step | None:
    """Return the input of a layer in terms of which the logits are linear too, if they are."""
    kind, none = node.get_type_name(), np.zeros(len(matrix))
    if not lengths(node.output(0)):
        return None
    if kind in _RESHAPES:
        return _Step(node.input_value(0), matrix, none)
    if kind == "Transpose":
        order, sizes = constant(node.input_value(1)), lengths(node.input_value(0))
        if order is None or not sizes:
            return None
        places = np.arange(np.prod(sizes)).reshape(sizes).transpose(order.astype(int)).ravel()
        turned = np.empty_like(matrix)
        turned[:, places] = matrix
        return _Step(node.input_value(0), turned, none)
    if kind in ("Add", "Subtract", "Multiply", "Divide"):
        return _arithmetic(node, matrix)
    if kind == "MatMul":
        return _product(node, matrix)
    if kind == "Convolution" and np.prod(lengths(node.input_value(0))[2:]) == 1:
        kernel = constant(node.input_value(1))
        if kernel is not None and kernel.size == len(kernel) * len(kernel[0]):
            return _Step(node.input_value(0), matrix @ kernel[:, :, 0, 0], none, linear=True)
    return None


def _arithmetic(node: ov.Node, matrix: _Matrix) -> _Step | None:
    kind, sizes = node.get_type_name(), lengths(node.output(0))
    for data, other in ((0, 1), (1, 0)):
        values, value = constant(node.input_value(other)), node.input_value(data)
        if values is None or lengths(value) != sizes:
            continue
        numbers = np.broadcast_to(values, sizes).ravel().astype(np.float64)
        none = np.zeros(len(matrix))
        match kind:
            case "Add":
                return _Step(value, matrix, matrix @ numbers)
            case "Subtract" if data == 0:
                return _Step(value, matrix, -(matrix @ numbers))
            case "Subtract":
                return _Step(value, -matrix, matrix @ numbers)
            case "Multiply":
                return _Step(value, matrix * numbers, none)
            case "Divide" if data == 0:
                return _Step(value, matrix / numbers, none)
    return None


def _product(node: ov.Node, matrix: _Matrix) -> _Step | None:
    attributes = node.get_attributes()
    for data, other in ((0, 1), (1, 0)):
        weight, value = constant(node.input_value(other)), node.input_value(data)
        sizes = lengths(value)
        if weight is None or weight.ndim < 2 or weight.size != np.prod(weight.shape[-2:]):
            continue
        plain: _Matrix = weight.reshape(weight.shape[-2:]).astype(np.float64)
        # [1,D] x [D,K], or [K,D] x [D,1]; transposed where the layer says so.
        if other == 1:
            plain = plain if attributes["transpose_b"] else plain.T
        else:
            plain = plain.T if attributes["transpose_a"] else plain
        if not sizes or np.prod(sizes) != plain.shape[1] or matrix.shape[1] != plain.shape[0]:
            continue
        return _Step(value, matrix @ plain, np.zeros(len(matrix)), linear=True)
    return None


def _axes(node: ov.Node) -> list[int]:
    axes = constant(node.input_value(1))
    rank = len(lengths(node.input_value(0)))
    return [] if axes is None or not rank else sorted(int(axis) % rank for axis in axes.ravel())


def _pooled(value: ov.Output) -> tuple[ov.Output, float] | None:
    """Return the features [N,C,H,W] of which a value is the mean over H and W, times a factor."""
    node = value.get_node()
    kind = node.get_type_name()
    if kind not in ("ReduceMean", "ReduceSum", "AvgPool", "AdaptiveAvgPool"):
        return None
    given, sizes = node.input_value(0), lengths(node.input_value(0))
    if kind in ("AvgPool", "AdaptiveAvgPool"):
        if len(sizes) != 4 or lengths(node.output(0))[2:] != [1, 1]:
            return None
        if kind == "AvgPool":
            attributes = node.get_attributes()
            pads = [*attributes["pads_begin"], *attributes["pads_end"]]
            if list(attributes["kernel"]) != sizes[2:] or any(pads):
                return None
        return given, 1.0
    axes, before = _axes(node), given.get_node()
    factor = float(np.prod([sizes[axis] for axis in axes])) if kind == "ReduceSum" else 1.0
    if len(sizes) == 4 and axes == [2, 3]:
        return given, factor
    if len(sizes) == 4 and axes == [1, 2]:
        return _channels_first(given), factor
    # Width first, then height; or both as one axis.
    if axes == [2] and before.get_type_name() == kind and _axes(before) == [3]:
        inner = before.input_value(0)
        return inner, factor * (lengths(inner)[3] if kind == "ReduceSum" else 1)
    if len(sizes) == 3 and axes == [2] and before.get_type_name() == "Reshape":
        inner = before.input_value(0)
        if len(lengths(inner)) == 4 and lengths(inner)[:2] == sizes[:2]:
            return inner, factor
    return None


def _channels_first(value: ov.Output) -> ov.Output:
    node = value.get_node()
    if node.get_type_name() == "Transpose":
        order = constant(node.input_value(1))
        if order is not None and tuple(int(axis) for axis in order) == TO_CHANNELS_LAST:
            return node.input_value(0)
    turned = ops.transpose(value, ops.constant(np.array(TO_CHANNELS_FIRST)))
    return turned.output(0)


def _before_kernel(features: ov.Output, matrix: _Matrix) -> tuple[ov.Output, _Matrix, _Matrix]:
    """Take a last convolution of 1 x 1, and its bias, into the matrix."""
    node, shift = features.get_node(), np.zeros(len(matrix))
    if node.get_type_name() == "Add":
        for data, other in ((0, 1), (1, 0)):
            values = constant(node.input_value(other))
            if values is not None and values.size in (1, matrix.shape[1]):
                shift = matrix @ np.broadcast_to(values.ravel(), matrix.shape[1])
                node = node.input_value(data).get_node()
                break
    if node.get_type_name() == "Convolution":
        kernel, attributes = constant(node.input_value(1)), node.get_attributes()
        pads = [*attributes["pads_begin"], *attributes["pads_end"]]
        plain = list(attributes["strides"]) == [1, 1] and not any(pads)
        if kernel is not None and kernel.size == len(kernel) * len(kernel[0]) and plain:
            return node.input_value(0), matrix @ kernel[:, :, 0, 0], shift
    return features, matrix, np.zeros(len(matrix))


@dataclass(frozen=True, slots=True)
class _Field:
    """The receptive field of the first cell, in input pixels: from `low` to `high`, both in it."""

    low: float
    high: float
    step: float
    height: int
    """Axis that counts rows; columns follow it."""

    def seen_by(self, *, reach: int, stride: int, pad: int) -> "_Field":
        """Return the field after a kernel that spans `reach` + 1 cells."""
        first = self.low - pad * self.step
        return _Field(first, self.high + (reach - pad) * self.step, self.step * stride, self.height)


def heatmap_grid(features: ov.Output) -> HeatmapGrid | None:
    """Return where the receptive fields of a feature map's cells are centred on the input.

    Each layer of kernel k, stride s and left padding p moves the first cell's field by -p input
    steps, widens it by k - 1 and the step by s (Araujo et al., Distill 2019, eq. 3-4); where paths
    meet it is the union of theirs. Rows stand for columns, whose geometry is the same. None where
    the graph has a layer whose geometry is not of this kind.
    """
    by_name: dict[str, _Field | None] = {}
    needed = ancestors(features.get_node())
    for node in reversed(needed):
        by_name[node.get_friendly_name()] = _field(node, by_name)
    last = by_name[features.get_node().get_friendly_name()]
    if last is None or last.height != 2:
        return None
    return HeatmapGrid(stride=last.step, offset=(last.low + last.high) / 2)


def ancestors(last: ov.Node) -> list[ov.Node]:
    """Return a node and all that it is computed of but constants, each before its inputs."""
    order: list[ov.Node] = []
    done: set[str] = set()
    stack = [(last, False)]
    while stack:
        node, ready = stack.pop()
        name = node.get_friendly_name()
        if ready:
            order.append(node)
        elif name not in done:
            done.add(name)
            stack.append((node, True))
            stack.extend((value.get_node(), False) for value in _sources(node))
    return order[::-1]


def _sources(node: ov.Node) -> list[ov.Output]:
    values = [port.get_source_output() for port in node.inputs()]
    return [value for value in values if constant(value) is None]


def _field(node: ov.Node, by_name: dict[str, _Field | None]) -> _Field | None:
    kind = node.get_type_name()
    if kind == "Parameter":
        shape = node.get_output_partial_shape(0)
        return _Field(0, 0, 1, 2) if len(shape) == 4 else None
    sources = _sources(node)
    if kind in POINTWISE:
        # A gate of one number a channel weighs cells, it does not place them.
        gates = [value for value in sources if lengths(value)[2:] == [1, 1]]
        sources = [value for value in sources if value not in gates] or sources
    fields = [by_name[value.get_node().get_friendly_name()] for value in sources]
    if not fields or any(field is None for field in fields):
        return None
    paths = [field for field in fields if field is not None]
    first = paths[0]
    if kind in POINTWISE:
        if any((each.step, each.height) != (first.step, first.height) for each in paths):
            return None
        low, high = min(each.low for each in paths), max(each.high for each in paths)
        return replace(first, low=low, high=high)
    if kind in ("Convolution", "GroupConvolution", "MaxPool", "AvgPool"):
        return _windowed(node, first)
    if kind == "Pad":
        begin = constant(node.input_value(1))
        if begin is None:
            return None
        return first.seen_by(reach=0, stride=1, pad=int(begin[first.height]))
    if kind == "Transpose":
        values = constant(node.input_value(1))
        if values is None:
            return None
        order = [int(axis) for axis in values]
        height, width = order.index(first.height), order.index(first.height + 1)
        return replace(first, height=height) if width == height + 1 else None
    return _sliced(node, first) if kind in ("StridedSlice", "Slice") else None


def _windowed(node: ov.Node, field: _Field) -> _Field | None:
    if field.height != 2:
        return None
    attributes = node.get_attributes()
    if "kernel" in attributes:
        kernel = int(attributes["kernel"][0])
    else:
        kernel = int(node.input_value(1).get_partial_shape()[-2].get_length())
    dilation = int(attributes["dilations"][0]) if "dilations" in attributes else 1
    return field.seen_by(
        reach=(kernel - 1) * dilation,
        stride=int(attributes["strides"][0]),
        pad=int(attributes["pads_begin"][0]),
    )


def _sliced(node: ov.Node, field: _Field) -> _Field | None:
    """Return the field after every s-th row from row b on was taken."""
    bounds = [constant(node.input_value(index)) for index in range(1, len(node.inputs()))]
    if len(bounds) < 3 or any(each is None for each in bounds):
        return None
    # The end is not looked at: "to the last" is a number that floats round beyond integers.
    begin, step = (np.asarray(bounds[index]).ravel().astype(int) for index in (0, 2))
    axes = list(range(len(begin)))
    if node.get_type_name() == "Slice" and len(bounds) > 3:
        axes = [int(axis) % 4 for axis in np.asarray(bounds[3]).ravel()]
    if len(node.get_output_partial_shape(0)) != 4:
        return None
    mask = node.get_attributes().get("begin_mask", [0] * len(begin))
    if any(node.get_attributes().get("ellipsis_mask", [])):
        return None
    for index, axis in enumerate(axes):
        if axis == field.height:
            start = 0 if index < len(mask) and mask[index] else int(begin[index])
            if start < 0 or step[index] < 1:
                return None
            return field.seen_by(reach=0, stride=int(step[index]), pad=-start)
    return field
