"""Where the cells of a feature map lie on the image."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import openvino as ov

from thorax.artifact import HeatmapGrid
from thorax.ir.heads import constant

_POINTWISE: Final = (
    "Relu", "PRelu", "Clamp", "Add", "Multiply", "Subtract", "Divide", "BatchNormInference",
    "FakeQuantize", "Convert", "Concat", "HSwish", "Swish", "Sigmoid", "HSigmoid", "Elu", "Selu",
    "Gelu", "Mish", "SoftPlus", "Tanh", "Exp", "Power", "Sqrt", "Abs", "Negative", "Maximum",
    "Minimum", "LRN",
)  # fmt: skip


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
    known: dict[str, _Field | None] = {}
    needed = _ancestors(features.get_node())
    for node in reversed(needed):
        known[node.get_friendly_name()] = _field(node, known)
    last = known[features.get_node().get_friendly_name()]
    if last is None or last.height != 2:
        return None
    return HeatmapGrid(stride=last.step, offset=(last.low + last.high) / 2)


def _ancestors(last: ov.Node) -> list[ov.Node]:
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


def _field(node: ov.Node, known: dict[str, _Field | None]) -> _Field | None:
    kind = node.get_type_name()
    if kind == "Parameter":
        shape = node.get_output_partial_shape(0)
        return _Field(0, 0, 1, 2) if len(shape) == 4 else None
    sources = _sources(node)
    if kind in _POINTWISE:
        # A gate of one number a channel weighs cells, it does not place them.
        gates = [value for value in sources if _is_one_cell(value)]
        sources = [value for value in sources if value not in gates] or sources
    fields = [known[value.get_node().get_friendly_name()] for value in sources]
    if not fields or any(field is None for field in fields):
        return None
    paths = [field for field in fields if field is not None]
    first = paths[0]
    if kind in _POINTWISE:
        if any((one.step, one.height) != (first.step, first.height) for one in paths):
            return None
        low, high = min(one.low for one in paths), max(one.high for one in paths)
        return _Field(low, high, first.step, first.height)
    if kind in ("Convolution", "GroupConvolution", "MaxPool", "AvgPool"):
        return _windowed(node, first)
    if kind == "Pad":
        begin = constant(node.input_value(1))
        if begin is None:
            return None
        return first.seen_by(reach=0, stride=1, pad=int(begin[first.height]))
    if kind == "Transpose":
        order = constant(node.input_value(1))
        return None if order is None else _turned(first, [int(axis) for axis in order])
    return _sliced(node, first) if kind in ("StridedSlice", "Slice") else None


def _is_one_cell(value: ov.Output) -> bool:
    shape = value.get_partial_shape()
    return bool(shape.is_static and len(shape) == 4 and np.prod(list(value.get_shape())[2:]) == 1)


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


def _turned(field: _Field, order: list[int]) -> _Field | None:
    height, width = order.index(field.height), order.index(field.height + 1)
    return _Field(field.low, field.high, field.step, height) if width == height + 1 else None


def _sliced(node: ov.Node, field: _Field) -> _Field | None:
    """Return the field after every s-th row from row b on was taken."""
    bounds = [constant(node.input_value(place)) for place in range(1, len(node.inputs()))]
    if len(bounds) < 3 or any(one is None for one in bounds):
        return None
    # The end is not looked at: "to the last" is a number that floats round beyond integers.
    begin, step = (np.asarray(bounds[place]).ravel().astype(int) for place in (0, 2))
    axes = list(range(len(begin)))
    if node.get_type_name() == "Slice" and len(bounds) > 3:
        axes = [int(axis) % 4 for axis in np.asarray(bounds[3]).ravel()]
    if len(node.get_output_partial_shape(0)) != 4:
        return None
    mask = node.get_attributes().get("begin_mask", [0] * len(begin))
    if any(node.get_attributes().get("ellipsis_mask", [])):
        return None
    for place, axis in enumerate(axes):
        if axis == field.height:
            start = 0 if place < len(mask) and mask[place] else int(begin[place])
            if start < 0 or step[place] < 1:
                return None
            return field.seen_by(reach=0, stride=int(step[place]), pad=-start)
    return field
