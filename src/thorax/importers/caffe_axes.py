"""Caffe's layers that move, part, join and reduce axes."""

import itertools
import math
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.importers.caffe_inputs import said_shapes
from thorax.importers.caffe_layer import Build, Layer, inner_shape
from thorax.importers.layers import constant, integers, named
from thorax.importers.prototxt import Block

_MOST: Final = 1 << 10
"""Blobs that a layer may take."""
_MOST_FILLED: Final = 1 << 26
"""Values of one level that a layer may make out of nothing."""


def _rank(data: ov.Output) -> int:
    return len(data.get_partial_shape())


def _same(layer: Layer, data: list[ov.Output]) -> list[ov.Output]:
    """Return the blob itself, once for each top."""
    return data * max(1, len(layer.block.texts("top")))


def _joined_axis(layer: Layer, param: Block, old: str, data: ov.Output) -> int:
    """Return the axis of a layer that called it otherwise once."""
    return layer.axis(param.integer("axis", param.integer(old, 1)), _rank(data))


def _concat(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param = layer.param("concat_param")
    axis = _joined_axis(layer, param, "concat_dim", data[0])
    return named(ops.concat(data, axis), layer.name)


def _slice(layer: Layer, data: list[ov.Output]) -> list[ov.Output]:
    param = layer.param("slice_param")
    axis = _joined_axis(layer, param, "slice_dim", data[0])
    side = inner_shape(layer, data[0], axis, axis + 1)[0]
    points, parts = param.integers("slice_point"), len(layer.block.texts("top"))
    if not points:
        if parts < 1 or side % parts:
            raise layer.refuse(f"parts {side} values into {parts} equal blobs")
        points = [side // parts * index for index in range(1, parts)]
    ends = [0, *points, side]
    sizes = [end - begin for begin, end in itertools.pairwise(ends)]
    if len(sizes) != parts or min(sizes) < 1:
        raise layer.refuse(f"parts {side} values at {points} into {parts} blobs")
    node = ops.variadic_split(data[0], integers(axis), integers(*sizes))
    node.set_friendly_name(layer.name)
    return list(node.outputs())


def _crop(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param = layer.param("crop_param")
    axis = layer.axis(param.integer("axis", 2), _rank(data[0]))
    size, room = inner_shape(layer, data[1], axis), inner_shape(layer, data[0], axis)
    begin = param.integers("offset") or [0]
    begin = begin * len(size) if len(begin) == 1 else begin
    if not len(begin) == len(size) == len(room):
        raise layer.refuse(f"crops {len(room)} axes to {len(size)} from {len(begin)} offsets")
    ends = [start + side for start, side in zip(begin, size, strict=True)]
    if min(begin) < 0 or any(end > most for end, most in zip(ends, room, strict=True)):
        raise layer.refuse(f"crops {room} to {size} from {begin}")
    axes = range(axis, axis + len(size))
    ones = [1] * len(size)
    return named(
        ops.slice(data[0], integers(*begin), integers(*ends), integers(*ones), integers(*axes)),
        layer.name,
    )


def _permute(layer: Layer, data: list[ov.Output]) -> ov.Output:
    order, rank = layer.param("permute_param").integers("order"), _rank(data[0])
    order += [axis for axis in range(rank) if axis not in order]
    if sorted(order) != list(range(rank)):
        raise layer.refuse(f"has order {order}; its input has {rank} axes")
    return named(ops.transpose(data[0], integers(*order)), layer.name)


def _flatten(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param, rank = layer.param("flatten_param"), _rank(data[0])
    begin = layer.axis(param.integer("axis", 1), rank)
    end = layer.axis(param.integer("end_axis", -1), rank)
    if end < begin:
        raise layer.refuse(f"flattens from axis {begin} to {end}")
    behind = inner_shape(layer, data[0], end + 1)
    return named(ops.reshape(data[0], integers(*[0] * begin, -1, *behind), True), layer.name)


def _reshape(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param, rank = layer.param("reshape_param"), _rank(data[0])
    wanted = param.block("shape").integers("dim")
    begin = param.integer("axis", 0)
    # Counted from behind, an axis is one before which new ones go in.
    begin = layer.axis(begin + (rank + 1 if begin < 0 else 0), rank, beyond=True)
    count = param.integer("num_axes", -1)
    end = rank if count == -1 else begin + count
    if not begin <= end <= rank or wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise layer.refuse(f"reshapes axes {begin} to {end} of {rank} to {wanted}")
    if any(size == 0 and begin + index >= rank for index, size in enumerate(wanted)):
        raise layer.refuse(f"copies an axis with {wanted} that its input has not")
    behind = inner_shape(layer, data[0], end)
    pattern = integers(*[0] * begin, *wanted, *behind)
    return named(ops.reshape(data[0], pattern, True), layer.name)


def _reduction(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param, rank = layer.param("reduction_param"), _rank(data[0])
    kind = layer.choice(param, "operation", ("SUM", "ASUM", "SUMSQ", "MEAN"))
    begin = layer.axis(param.integer("axis", 0), rank)
    reduce = {
        "SUM": ops.reduce_sum,
        "ASUM": ops.reduce_l1,
        "MEAN": ops.reduce_mean,
        "SUMSQ": ops.reduce_sum,
    }[kind]
    value = ops.multiply(data[0], data[0]).output(0) if kind == "SUMSQ" else data[0]
    node = reduce(value, integers(*range(begin, rank)), False)
    factor = param.number("coeff", 1)
    if factor == 1:
        return named(node, layer.name)
    node.set_friendly_name(f"{layer.name}/reduce")
    return named(ops.multiply(node, constant(factor)), layer.name)


def _argmax(layer: Layer, data: list[ov.Output]) -> ov.Output:
    """Return positions of the largest values as numbers, or the values (argmax_layer.cpp)."""
    param, rank = layer.param("argmax_param"), _rank(data[0])
    count = layer.positive(param.integer("top_k", 1), "top_k")
    with_values = param.flag("out_max_val", False)
    value, axis = data[0], param.integer("axis", 1)
    if "axis" in param:
        axis = layer.axis(axis, rank)
    else:
        value = ops.reshape(value, integers(0, 1, -1), True).output(0)
        axis = 2
    node = ops.topk(value, constant(count, np.int64), axis, "max", "value")
    node.set_friendly_name(f"{layer.name}/top")
    found = ops.convert(node.output(1), np.float32)
    if "axis" in param:
        return named(node if with_values else found, layer.name)
    if with_values:
        found.set_friendly_name(f"{layer.name}/positions")
        found = ops.concat([found.output(0), node.output(0)], 1)
    flat = named(found, f"{layer.name}/found")
    behind = [1] * max(0, rank - 3)
    return named(ops.reshape(flat, integers(0, 0, 0, *behind), True), layer.name)


def _tile(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param, rank = layer.param("tile_param"), _rank(data[0])
    axis = layer.axis(param.integer("axis", 1), rank)
    repeats = [1] * rank
    repeats[axis] = layer.positive(param.integer("tiles", 0), "tiles")
    return named(ops.tile(data[0], integers(*repeats)), layer.name)


def _softmax(layer: Layer, data: list[ov.Output]) -> ov.Output:
    axis = layer.param("softmax_param").integer("axis", 1)
    return named(ops.softmax(data[0], layer.axis(axis, _rank(data[0]))), layer.name)


def _dummy(layer: Layer, _: list[ov.Output]) -> list[ov.Output]:
    tops = layer.block.texts("top")
    levels = [
        filler.number("value", 0)
        for filler in layer.block.block("dummy_data_param").blocks("data_filler")
    ] or [0.0]
    values = []
    for index, shape in enumerate(said_shapes(layer, len(tops))):
        if shape is None or min(shape, default=1) < 1:
            raise layer.refuse("says no shape of what it makes")
        if math.prod(shape) > _MOST_FILLED:
            raise layer.refuse(f"fills {list(shape)}; {_MOST_FILLED} values are the most")
        level = levels[index] if index < len(levels) else levels[0]
        filled = ops.broadcast(constant(level), integers(*shape))
        values.append(named(filled, layer.name))
    return values


BUILD: Final[dict[str, Build]] = {
    "DROPOUT": _same,
    "SPLIT": _same,
    "CONCAT": _concat,
    "SLICE": _slice,
    "CROP": _crop,
    "PERMUTE": _permute,
    "FLATTEN": _flatten,
    "RESHAPE": _reshape,
    "REDUCTION": _reduction,
    "ARGMAX": _argmax,
    "TILE": _tile,
    "SOFTMAX": _softmax,
    "DUMMYDATA": _dummy,
}
"""By type in capitals."""

BOTTOMS: Final = {"CONCAT": (1, _MOST), "CROP": (2, 2), "DUMMYDATA": (0, 0)}
"""How many blobs a layer may take, where it is not one."""
