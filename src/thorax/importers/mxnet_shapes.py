"""MXNet's operators that move, cut, join and repeat, as OpenVINO operations."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.importers import layers
from thorax.importers.mxnet_layer import Build, Layer, named

_ELEMENTS_LIMIT: Final = 1 << 28

"""Of an array that a network makes out of nothing."""


def _passed(layer: Layer) -> ov.Output:
    return layer.data()


def _concat(layer: Layer) -> ov.Output:
    axis = layer.axis(layer.attributes.integer("dim", 1))
    layer.data()
    return named(ops.concat(list(layer.inputs), axis), layer)


def _stack(layer: Layer) -> ov.Output:
    axis = layer.axis(layer.attributes.integer("axis", 0), layer.rank() + 1)
    wide = [ops.unsqueeze(value, layers.integers(axis)).output(0) for value in layer.inputs]
    return named(ops.concat(wide, axis), layer)


def _flatten(layer: Layer) -> ov.Output:
    return named(ops.reshape(layer.data(), layers.integers(0, -1), True), layer)


def _reshape(layer: Layer) -> ov.Output:
    attributes = layer.attributes
    codes = attributes.integers("shape")
    if not codes:
        raise attributes.unsupported("has no shape of the kind that MXNet writes since 0.9")
    if attributes.flag("reverse", False):
        shape = layer.shape()
        target = _coded(layer, codes[::-1], shape[::-1])[::-1]
        return named(ops.reshape(layer.data(), layers.integers(*target), False), layer)
    if min(codes) >= -1:
        target = list(codes)
    else:
        shape = layer.shape()
        target = _coded(layer, codes, shape)
        # An axis that stays where it was follows the batch.
        target = [0 if n < len(shape) and codes[: n + 1] == (0,) * (n + 1) else size
                  for n, size in enumerate(target)]  # fmt: skip
    return named(ops.reshape(layer.data(), layers.integers(*target), True), layer)


def _coded(layer: Layer, codes: Sequence[int], shape: Sequence[int]) -> list[int]:
    """Return the sizes that MXNet's codes stand for.

    0 is one as it is, -2 all that are left, -3 the product of two, -4 one parted in the two that
    follow; -1 stays.
    """
    target: list[int] = []
    left, coming = list(shape), list(codes)
    try:
        while coming:
            code = coming.pop(0)
            if code == -2:
                target += left
                left = []
            elif code == -3:
                target.append(left.pop(0) * left.pop(0))
            elif code == -4:
                size, parts = left.pop(0), [coming.pop(0), coming.pop(0)]
                if -1 in parts and parts[1 - parts.index(-1)] > 0:
                    known = parts[1 - parts.index(-1)]
                    parts[parts.index(-1)] = size // known
                target += parts
            elif code < -4:
                raise layer.damaged(f"has a shape of {tuple(codes)}")
            else:
                size = left.pop(0) if left else 0
                target.append(size if code == 0 else code)
    except IndexError as error:
        raise layer.damaged(f"has a shape of {tuple(codes)} for {tuple(shape)}") from error
    return target


def _transpose(layer: Layer) -> ov.Output:
    order = layer.attributes.integers("axes") or tuple(reversed(range(layer.rank())))
    turned = [layer.axis(axis) for axis in order]
    return named(ops.transpose(layer.data(), layers.integers(*turned)), layer)


def _swap_axes(layer: Layer) -> ov.Output:
    order = list(range(layer.rank()))
    one = layer.axis(layer.attributes.integer("dim1", 0))
    other = layer.axis(layer.attributes.integer("dim2", 0))
    order[one], order[other] = order[other], order[one]
    return named(ops.transpose(layer.data(), layers.integers(*order)), layer)


def _expand_dims(layer: Layer) -> ov.Output:
    axis = layer.axis(layer.attributes.integer("axis"), layer.rank() + 1)
    return named(ops.unsqueeze(layer.data(), layers.integers(axis)), layer)


def _squeeze(layer: Layer) -> ov.Output:
    axes = [layer.axis(axis) for axis in layer.attributes.integers("axis")]
    if not axes:
        axes = [axis for axis, size in enumerate(layer.shape()) if size == 1]
    return named(ops.squeeze(layer.data(), layers.integers(*axes)), layer)


def _pad(layer: Layer) -> ov.Output:
    attributes = layer.attributes
    mode = attributes.word("mode", "", ("constant", "edge", "reflect"))
    width = attributes.integers("pad_width", least=0)
    if len(width) != 2 * layer.rank():
        raise layer.damaged(f"has pad_width {width} for {layer.rank()} axes")
    fill = layers.constant(attributes.number("constant_value", 0.0))
    begin, end = layers.integers(*width[::2]), layers.integers(*width[1::2])
    return named(ops.pad(layer.data(), begin, end, mode, fill), layer)


def _cut(
    layer: Layer,
    begin: Sequence[int | None],
    end: Sequence[int | None],
    step: Sequence[int | None] = (),
) -> ov.Node:
    """Return part of the first axes, as NumPy's slices of these numbers take it."""
    rank = layer.rank()
    if not len(begin) == len(end) <= rank or len(step) > len(begin) or 0 in step:
        raise layer.damaged(f"cuts from {begin} to {end} by {step} of {rank} axes")
    steps = [1 if size is None else size for size in (*step, *[1] * (len(begin) - len(step)))]
    far = np.iinfo(np.int32).max
    starts = [
        (0 if size > 0 else far) if at is None else at
        for at, size in zip(begin, steps, strict=True)
    ]
    stops = [
        (far if size > 0 else -far) if at is None else at
        for at, size in zip(end, steps, strict=True)
    ]
    lists = (starts, stops, steps, range(len(begin)))
    return ops.slice(layer.data(), *(layers.integers(*values) for values in lists))


def _slice(layer: Layer) -> ov.Output:
    parts = (layer.attributes.optional(key) for key in ("begin", "end", "step"))
    return named(_cut(layer, *parts), layer)


def _along(layer: Layer, axis: int, begin: int | None, end: int | None) -> ov.Node:
    return _cut(layer, (*[None] * axis, begin), (*[None] * axis, end))


def _slice_axis(layer: Layer) -> ov.Output:
    axis = layer.axis(layer.attributes.integer("axis"))
    begin = layer.attributes.integer("begin", 0)
    end = layer.attributes.integer("end") if "end" in layer.attributes else None
    return named(_along(layer, axis, begin, end), layer)


def _slice_like(layer: Layer) -> ov.Output:
    shape, like = layer.shape(), layer.shape(1)
    asked = layer.attributes.integers("axes")
    axes = [layer.axis(axis) for axis in asked] or list(range(min(len(shape), len(like))))
    end = [like[axis] if axis in axes else None for axis in range(max(axes) + 1)]
    return named(_cut(layer, [None] * len(end), end), layer)


def _crop(layer: Layer) -> ov.Output:
    attributes, shape = layer.attributes, layer.shape()
    if len(layer.inputs) > 1:
        height, width = layer.shape(1)[2:]
    else:
        height, width = attributes.integers("h_w", (0, 0), least=1)
    if attributes.flag("center_crop", False):
        top, left = (shape[2] - height) // 2, (shape[3] - width) // 2
    else:
        top, left = attributes.integers("offset", (0, 0), least=0)
    if top < 0 or left < 0 or top + height > shape[2] or left + width > shape[3]:
        raise layer.damaged(f"crops {height} x {width} from ({top}, {left}) of {shape}")
    none = (None, None)
    return named(_cut(layer, (*none, top, left), (*none, top + height, left + width)), layer)


def _split(layer: Layer) -> list[ov.Output]:
    attributes = layer.attributes
    axis = layer.axis(attributes.integer("axis", 1))
    count = attributes.integer("num_outputs", least=1)
    node = ops.split(layer.data(), layers.constant(axis, np.int64), count)
    return _parts(layer, node, axis)


def _split_by(layer: Layer) -> list[ov.Output]:
    attributes = layer.attributes
    axis = layer.axis(attributes.integer("axis", 0))
    sections = attributes.integer("sections", 0, least=0)
    if sections:
        return _parts(
            layer, ops.split(layer.data(), layers.constant(axis, np.int64), sections), axis
        )
    cuts = attributes.integers("indices", (0,), least=0)
    sizes = np.diff([*cuts, layer.shape()[axis]])
    if cuts[0] != 0 or min(sizes) < 1:
        raise layer.damaged(f"is split at {cuts}")
    node = ops.variadic_split(
        layer.data(), layers.constant(axis, np.int64), layers.integers(*sizes)
    )
    return _parts(layer, node, axis)


def _parts(layer: Layer, node: ov.Node, axis: int) -> list[ov.Output]:
    node.set_friendly_name(layer.name)
    if not layer.attributes.flag("squeeze_axis", False):
        return list(node.outputs())
    axes = layers.integers(axis)
    return [ops.squeeze(part, axes).output(0) for part in node.outputs()]


def _tile(layer: Layer) -> ov.Output:
    counts = layer.attributes.integers("reps", least=1)
    if np.prod([float(count) for count in counts]) > _ELEMENTS_LIMIT:
        raise layer.damaged(f"repeats its data {counts} times")
    return named(ops.tile(layer.data(), layers.integers(*counts)), layer)


def _filled(value: float | None) -> Build:
    def build(layer: Layer) -> ov.Output:
        shape = layer.attributes.integers("shape", least=1)
        if not shape or np.prod([float(size) for size in shape]) > _ELEMENTS_LIMIT:
            raise layer.damaged(f"makes an array of shape {shape}")
        fill = layer.attributes.number("value") if value is None else value
        return named(ops.broadcast(layers.constant(fill), layers.integers(*shape)), layer)

    return build


def _like(value: float) -> Build:
    def build(layer: Layer) -> ov.Output:
        shape = ops.shape_of(layer.data())
        return named(ops.broadcast(layers.constant(value), shape), layer)

    return build


def _broadcast_to(layer: Layer) -> ov.Output:
    shape = layer.attributes.integers("shape", least=0)
    # 0 keeps a size; to be broadcast both ways keeps it where the other has 1.
    target = layers.integers(*[size or 1 for size in shape])
    return named(ops.broadcast(layer.data(), target, broadcast_spec="BIDIRECTIONAL"), layer)


def _broadcast_like(layer: Layer) -> ov.Output:
    if "lhs_axes" in layer.attributes or "rhs_axes" in layer.attributes:
        raise layer.attributes.unsupported("names the axes to broadcast")
    return named(ops.broadcast(layer.data(), ops.shape_of(layer.data(1))), layer)


def _broadcast_axes(layer: Layer) -> ov.Output:
    axes, sizes = layer.attributes.integers("axis"), layer.attributes.integers("size", least=1)
    if len(axes) != len(sizes):
        raise layer.damaged(f"broadcasts axes {axes} to {sizes}")
    target = [1] * layer.rank()
    for axis, size in zip(axes, sizes, strict=True):
        target[layer.axis(axis)] = size
    wanted = layers.integers(*target)
    return named(ops.broadcast(layer.data(), wanted, broadcast_spec="BIDIRECTIONAL"), layer)


def _reshape_like(layer: Layer) -> ov.Output:
    if any(
        f"{side}_{end}" in layer.attributes for side in ("lhs", "rhs") for end in ("begin", "end")
    ):
        raise layer.attributes.unsupported("names the axes to reshape")
    return named(ops.reshape(layer.data(), ops.shape_of(layer.data(1)), False), layer)


def _depth_to_space(layer: Layer) -> ov.Output:
    size = layer.attributes.integer("block_size", least=1)
    return named(ops.depth_to_space(layer.data(), "blocks_first", size), layer)


def _space_to_depth(layer: Layer) -> ov.Output:
    size = layer.attributes.integer("block_size", least=1)
    return named(ops.space_to_depth(layer.data(), "blocks_first", size), layer)


def _reverse(layer: Layer) -> ov.Output:
    axes = [layer.axis(axis) for axis in layer.attributes.integers("axis")]
    value = layer.data()
    axis_list = layers.integers(*axes)
    ends = (layers.integers(*[far] * len(axes)) for far in (-1, np.iinfo(np.int32).min))
    return named(ops.slice(value, *ends, layers.integers(*[-1] * len(axes)), axis_list), layer)


SHAPES: Final[dict[str, Build]] = {
    "identity": _passed,
    "BlockGrad": _passed,
    "Dropout": _passed,
    "LinearRegressionOutput": _passed,
    "MAERegressionOutput": _passed,
    "MakeLoss": _passed,
    "Concat": _concat,
    "stack": _stack,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "reshape_like": _reshape_like,
    "transpose": _transpose,
    "SwapAxis": _swap_axes,
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "Pad": _pad,
    "slice": _slice,
    "slice_axis": _slice_axis,
    "slice_like": _slice_like,
    "Crop": _crop,
    "SliceChannel": _split,
    "_split_v2": _split_by,
    "tile": _tile,
    "_zeros": _filled(0.0),
    "_ones": _filled(1.0),
    "_full": _filled(None),
    "zeros_like": _like(0.0),
    "ones_like": _like(1.0),
    "broadcast_to": _broadcast_to,
    "broadcast_like": _broadcast_like,
    "broadcast_axis": _broadcast_axes,
    "depth_to_space": _depth_to_space,
    "space_to_depth": _space_to_depth,
    "reverse": _reverse,
}
