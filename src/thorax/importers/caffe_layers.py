"""Caffe's layers as OpenVINO operations (BVLC Caffe 1.0, `*_layer.cpp`, and its forks)."""

import difflib
import functools
import itertools
import math
from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.importers import layers
from thorax.importers.caffe_layer import Build, CaffeLayer, channels, inner_shape
from thorax.importers.layers import Array, batch_norm, constant, integers, named, scale_shift
from thorax.importers.prototxt import Block

Made: TypeAlias = "ov.Node | ov.Output"
Shape = tuple[int, ...]
_INPUTS: Final = {
    "INPUT", "DATA", "IMAGEDATA", "HDF5DATA", "MEMORYDATA", "WINDOWDATA", "ANNOTATEDDATA",
}  # fmt: skip
_MOST_BLOBS: Final = 1 << 10
"""Blobs that a layer may take."""
_MOST_FILLED: Final = 1 << 26
"""Values of one level that a layer may make out of nothing."""
_PAD: Final = ("pad_h", "pad_w")
_KERNEL: Final = ("kernel_h", "kernel_w")
_STRIDE: Final = ("stride_h", "stride_w")
_MOST_PRIORS: Final = 1 << 22
_SAME: Final = 1e-6
"""Aspect ratios that differ by less are one (prior_box_layer.cpp)."""


def is_input(layer: CaffeLayer) -> bool:
    """Return whether a layer is fed from outside; dummies that are random are, constants not."""
    if layer.key == "DUMMYDATA":
        fillers = layer.block.block("dummy_data_param").blocks("data_filler")
        return any(filler.text("type", "constant") != "constant" for filler in fillers)
    return layer.key in _INPUTS


def inputs_of(layer: CaffeLayer) -> dict[str, Shape | None]:
    """Return the inputs that a layer stands for, with their shapes; None where none is said.

    The first blob of a layer that reads files is the images, the others are labels.
    """
    tops = layer.block.texts("top")
    if layer.key in ("INPUT", "DUMMYDATA"):
        return dict(zip(tops, described_shapes(layer, len(tops)), strict=True))
    shape = None
    if layer.key == "MEMORYDATA":
        param = layer.block.block("memory_data_param")
        sides = ("batch_size", "channels", "height", "width")
        shape = tuple(param.integer(side, -1) for side in sides)
    return dict.fromkeys(tops[:1], shape)


def described_shapes(layer: CaffeLayer, count: int) -> list[Shape | None]:
    """Return a shape for each top; one that stands alone is that of all."""
    name = "input_param" if layer.key == "INPUT" else "dummy_data_param"
    param = layer.block.block(name)
    shapes: list[Shape | None] = [tuple(shape.integers("dim")) for shape in param.blocks("shape")]
    if not shapes and "num" in param:
        sides = [param.integers(side) for side in ("num", "channels", "height", "width")]
        shapes = list(zip(*sides, strict=False))
    if len(shapes) == 1:
        return shapes * count
    return (shapes + [None] * count)[:count]


def _rank(data: ov.Output) -> int:
    return len(data.get_partial_shape())


def _axis(
    layer: CaffeLayer, param: Block, data: ov.Output, default: int = 1, key: str = "axis"
) -> int:
    return layer.axis(param.integer(key, default), _rank(data))


def _same(layer: CaffeLayer, data: list[ov.Output]) -> list[ov.Output]:
    return data * max(1, len(layer.block.texts("top")))


def _concat(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param = layer.param("concat_param")
    return ops.concat(data, _axis(layer, param, data[0], param.integer("concat_dim", 1)))


def _slice(layer: CaffeLayer, data: list[ov.Output]) -> list[ov.Output]:
    param = layer.param("slice_param")
    axis = _axis(layer, param, data[0], param.integer("slice_dim", 1))
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


def _crop(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param = layer.param("crop_param")
    axis = _axis(layer, param, data[0], 2)
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
    return ops.slice(data[0], integers(*begin), integers(*ends), integers(*ones), integers(*axes))


def _permute(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    order, rank = layer.param("permute_param").integers("order"), _rank(data[0])
    order += [axis for axis in range(rank) if axis not in order]
    if sorted(order) != list(range(rank)):
        raise layer.refuse(f"has order {order}; its input has {rank} axes")
    return ops.transpose(data[0], integers(*order))


def _flatten(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param = layer.param("flatten_param")
    begin = _axis(layer, param, data[0])
    end = _axis(layer, param, data[0], -1, "end_axis")
    if end < begin:
        raise layer.refuse(f"flattens from axis {begin} to {end}")
    behind = inner_shape(layer, data[0], end + 1)
    return ops.reshape(data[0], integers(*[0] * begin, -1, *behind), True)


def _reshape(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param, rank = layer.param("reshape_param"), _rank(data[0])
    target = param.block("shape").integers("dim")
    begin = param.integer("axis", 0)
    # Counted from behind, an axis is one before which new ones go in.
    begin = layer.axis(begin + (rank + 1 if begin < 0 else 0), rank, beyond=True)
    count = param.integer("num_axes", -1)
    end = rank if count == -1 else begin + count
    if not begin <= end <= rank or target.count(-1) > 1 or min(target, default=0) < -1:
        raise layer.refuse(f"reshapes axes {begin} to {end} of {rank} to {target}")
    if any(size == 0 and begin + index >= rank for index, size in enumerate(target)):
        raise layer.refuse(f"copies an axis with {target} that its input has not")
    behind = inner_shape(layer, data[0], end)
    pattern = integers(*[0] * begin, *target, *behind)
    return ops.reshape(data[0], pattern, True)


def _reduction(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param, rank = layer.param("reduction_param"), _rank(data[0])
    kinds = {
        "SUM": ops.reduce_sum,
        "ASUM": ops.reduce_l1,
        "SUMSQ": ops.reduce_sum,
        "MEAN": ops.reduce_mean,
    }
    kind = layer.choice(param, "operation", tuple(kinds))
    begin = _axis(layer, param, data[0], 0)
    value = ops.multiply(data[0], data[0]).output(0) if kind == "SUMSQ" else data[0]
    node = kinds[kind](value, integers(*range(begin, rank)), False)
    factor = param.number("coeff", 1)
    if factor == 1:
        return node
    node.set_friendly_name(f"{layer.name}/reduce")
    return ops.multiply(node, constant(factor))


def _argmax(layer: CaffeLayer, data: list[ov.Output]) -> Made:
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
    positions = ops.convert(node.output(1), np.float32)
    if "axis" in param:
        return node if with_values else positions
    if with_values:
        positions.set_friendly_name(f"{layer.name}/positions")
        positions = ops.concat([positions.output(0), node.output(0)], 1)
    flat = named(positions, f"{layer.name}/found")
    behind = [1] * max(0, rank - 3)
    return ops.reshape(flat, integers(0, 0, 0, *behind), True)


def _tile(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param, rank = layer.param("tile_param"), _rank(data[0])
    axis = _axis(layer, param, data[0])
    repeats = [1] * rank
    repeats[axis] = layer.positive(param.integer("tiles", 0), "tiles")
    return ops.tile(data[0], integers(*repeats))


def _dummy(layer: CaffeLayer, _: list[ov.Output]) -> list[ov.Output]:
    tops = layer.block.texts("top")
    levels = [
        filler.number("value", 0)
        for filler in layer.block.block("dummy_data_param").blocks("data_filler")
    ] or [0.0]
    values = []
    for index, shape in enumerate(described_shapes(layer, len(tops))):
        if shape is None or min(shape, default=1) < 1:
            raise layer.refuse("says no shape of what it makes")
        if math.prod(shape) > _MOST_FILLED:
            raise layer.refuse(f"fills {list(shape)}; {_MOST_FILLED} values are the most")
        level = levels[index] if index < len(levels) else levels[0]
        filled = ops.broadcast(constant(level), integers(*shape))
        values.append(named(filled, layer.name))
    return values


def _plain(activation: Callable[[ov.Output], ov.Node], settings: str = "") -> Build:
    """Return what makes a layer of one operation, which has no settings but the engine's."""

    def build(layer: CaffeLayer, data: list[ov.Output]) -> Made:
        if settings:
            layer.param(settings)
        return activation(data[0])

    return build


def _relu(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    slope = layer.param("relu_param").number("negative_slope", 0)
    if slope == 0:
        return ops.relu(data[0])
    return ops.prelu(data[0], constant([slope]))


def _prelu(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    shared = layer.param("prelu_param").flag("channel_shared", False)
    slope = layer.learned(0, [1 if shared else channels(layer, data[0])])
    around = [1] * (_rank(data[0]) - 2)
    return ops.prelu(data[0], constant(slope.reshape(1, -1, *around)))


def _clip(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param = layer.param("clip_param")
    low, high = param.number("min", 0), param.number("max", 0)
    if not {"min", "max"} <= set(param.fields) or not low <= high:
        raise layer.refuse("wants clip_param.min and a max that is no less")
    return ops.clamp(data[0], low, high)


def _threshold(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    level = layer.param("threshold_param").number("threshold", 0)
    above = ops.greater(data[0], constant(level))
    return ops.convert(above, np.float32)


def _scaled(data: ov.Output, scale: float, shift: float, name: str) -> ov.Output:
    if scale != 1:
        data = named(ops.multiply(data, constant(scale)), f"{name}/scale")
    if shift != 0:
        data = named(ops.add(data, constant(shift)), f"{name}/shift")
    return data


def _power(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param = layer.param("power_param")
    scale, shift = param.number("scale", 1), param.number("shift", 0)
    power = param.number("power", 1)
    value = _scaled(data[0], scale, shift, layer.name)
    if power != 1:
        return ops.power(value, constant(power))
    if scale == 1 and shift == 0:
        return value
    return value.get_node()


def _base(layer: CaffeLayer, base: float) -> float:
    """Return the natural logarithm of a base; -1 stands for e."""
    if base == -1:
        return 1.0
    if not 0 < base < math.inf or base == 1:
        raise layer.refuse(f"has base {base}; it takes one above 0 other than 1, or -1 for e")
    return math.log(base)


def _exp(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param = layer.param("exp_param")
    rate = _base(layer, param.number("base", -1))
    scale, shift = param.number("scale", 1), param.number("shift", 0)
    return ops.exp(_scaled(data[0], rate * scale, rate * shift, layer.name))


def _log(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param = layer.param("log_param")
    rate = _base(layer, param.number("base", -1))
    value = _scaled(data[0], param.number("scale", 1), param.number("shift", 0), layer.name)
    logarithm = ops.log(value)
    if rate == 1:
        return logarithm
    logarithm.set_friendly_name(f"{layer.name}/log")
    return ops.multiply(logarithm, constant(1 / rate))


def _spread(layer: CaffeLayer, data: list[ov.Output], axis: int) -> ov.Output:
    """Return the second blob with ones behind, so that it begins at an axis of the first."""
    rank, axes = map(_rank, data)
    if axis + axes > rank:
        raise layer.refuse(f"spreads {axes} axes from axis {axis} over a blob of {rank}")
    if axis + axes == rank:
        return data[1]
    return ops.reshape(data[1], integers(*[0] * axes, *[1] * (rank - axis - axes)), True).output(0)


def _vector(layer: CaffeLayer, data: ov.Output, axis: int, axes: int) -> list[int]:
    """Return the shape of what a layer learned for `axes` axes from `axis` on, -1 all."""
    rank = _rank(data)
    end = rank if axes == -1 else axis + axes
    if not axis <= end <= rank:
        raise layer.refuse(f"has num_axes {axes} from axis {axis}; its input has {rank} axes")
    return inner_shape(layer, data, axis, end)


def _scale(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param = layer.param("scale_param")
    axis = _axis(layer, param, data[0])
    axes, biased = param.integer("num_axes", 1), param.flag("bias_term", False)
    if len(data) == 1:
        shape = _vector(layer, data[0], axis, axes)
        scale = layer.learned(0, shape)
        shift = layer.learned(1, shape) if biased else None
        return scale_shift(data[0], scale, shift, axis=axis, name=layer.name)
    scaled = ops.multiply(data[0], _spread(layer, data, axis))
    if not biased:
        return scaled
    offset = layer.learned(0, inner_shape(layer, data[0], axis, axis + _rank(data[1])))
    value = named(scaled, f"{layer.name}/scale")
    return scale_shift(value, None, offset, axis=axis, name=layer.name)


def _bias(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param = layer.param("bias_param")
    axis = _axis(layer, param, data[0])
    axes = param.integer("num_axes", 1)
    if len(data) == 2:
        return ops.add(data[0], _spread(layer, data, axis))
    shift = layer.learned(0, _vector(layer, data[0], axis, axes))
    return scale_shift(data[0], None, shift, axis=axis, name=layer.name)


def _axpy(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    """Return a * x + y, a of one value a channel (SENet's axpy_layer.cpp)."""
    scaled = ops.multiply(data[1], _spread(layer, [data[1], data[0]], 0))
    return ops.add(named(scaled, f"{layer.name}/scale"), data[2])


def _eltwise(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param = layer.param("eltwise_param")
    # Caffe's numbers are PROD 0, SUM 1, MAX 2, and SUM is meant where nothing is said.
    kinds = {"PROD": ops.multiply, "SUM": ops.add, "MAX": ops.maximum}
    kind = layer.choice(param, "operation", tuple(kinds)) if "operation" in param else "SUM"
    factors = param.numbers("coeff")
    param.flag("stable_prod_grad", True)
    shapes = [value.get_partial_shape() for value in data]
    if any(shape != shapes[0] for shape in shapes):
        raise layer.refuse(f"takes blobs of different shapes: {', '.join(map(str, shapes))}")
    if factors and (kind != "SUM" or len(factors) != len(data)):
        raise layer.refuse(f"has {len(factors)} coeff for {kind} of {len(data)} blobs")
    for index, factor in enumerate(factors):
        data[index] = _scaled(data[index], factor, 0, f"{layer.name}/{index}")
    value = functools.reduce(lambda left, right: kinds[kind](left, right).output(0), data)
    return value.get_node() if len(data) > 1 else value


def _batch_norm(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param = layer.param("batch_norm_param")
    if not param.flag("use_global_stats", True):
        raise layer.refuse(
            "normalises by the images that it happens to be given with; set "
            "batch_norm_param.use_global_stats: true to use what was learned"
        )
    size = channels(layer, data[0])
    mean, variance = layer.learned(0, [size]), layer.learned(1, [size])
    total = layer.learned(2, [1])[0]
    # Caffe keeps sums, and by what to divide them (batch_norm_layer.cpp: `scale_factor`).
    factor = np.float32(0 if total == 0 else 1 / total)
    return batch_norm(
        data[0],
        gamma=np.ones(size, np.float32),
        beta=np.zeros(size, np.float32),
        mean=mean * factor,
        variance=variance * factor,
        epsilon=param.number("eps", 1e-5),
        name=layer.name,
    )


def _image(layer: CaffeLayer, data: ov.Output) -> None:
    shape = data.get_partial_shape()
    if len(shape) != 4:
        raise layer.refuse(f"takes {shape}; images [N,C,H,W] can be converted")


def _convolution(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    _image(layer, data[0])
    param = layer.param("convolution_param")
    outputs = layer.positive(param.integer("num_output", 0), "num_output")
    size = layer.spatial(param, "kernel_size", _KERNEL, 0, what="kernel")
    if layer.axis(param.integer("axis", 1), 4) != 1:
        raise layer.refuse("convolves along other axes than height and width")
    dilation = layer.spatial(param, "dilation", ("", ""), 1, what="dilation")
    inputs = channels(layer, data[0])
    # The forks that brought MobileNet leave the group out: it is one a channel.
    whole = inputs if "DEPTHWISE" in layer.key else 1
    groups = layer.positive(param.integer("group", whole), "group")
    if inputs % groups or outputs % groups:
        raise layer.refuse(f"parts {inputs} channels to {outputs} into {groups} groups")
    turned = layer.key == "DECONVOLUTION"
    ends = (inputs, outputs // groups) if turned else (outputs, inputs // groups)
    convolve = layers.deconvolution if turned else layers.convolution
    weight = layer.learned(0, [*ends, *size])
    bias = layer.learned(1, [outputs]) if param.flag("bias_term", True) else None
    pad = layer.spatial(param, "pad", _PAD, 0)
    geometry = layers.Geometry(
        layer.spatial(param, "stride", _STRIDE, 1, what="stride"), pad, dilation, groups
    )
    return convolve(data[0], weight, bias, geometry, name=layer.name)


def _inner_product(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param = layer.param("inner_product_param")
    outputs = layer.positive(param.integer("num_output", 0), "num_output")
    axis = _axis(layer, param, data[0])
    inputs = int(np.prod(inner_shape(layer, data[0], axis), dtype=object))
    if param.flag("transpose", False):
        weight = np.ascontiguousarray(layer.learned(0, [inputs, outputs]).T)
    else:
        weight = layer.learned(0, [outputs, inputs])
    bias = layer.learned(1, [outputs]) if param.flag("bias_term", True) else None
    return layers.fully_connected(data[0], weight, bias, axis=axis, name=layer.name)


def _embed(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param = layer.param("embed_param")
    outputs = layer.positive(param.integer("num_output", 0), "num_output")
    words = layer.positive(param.integer("input_dim", 0), "input_dim")
    weight = layer.learned(0, [words, outputs])
    rows = ops.convert(data[0], np.int32)
    node = ops.gather(constant(weight), rows, integers(0))
    if not param.flag("bias_term", True):
        return node
    node.set_friendly_name(f"{layer.name}{layers.UNBIASED}")
    return ops.add(node, constant(layer.learned(1, [outputs])))


def _pooling(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    _image(layer, data[0])
    param = layer.param("pooling_param")
    largest = layer.choice(param, "pool", ("MAX", "AVE")) == "MAX"
    if param.flag("global_pooling", False):
        for unused in ("kernel_size", *_KERNEL, "pad", *_PAD, "stride", *_STRIDE, "round_mode"):
            param.texts(unused)
        return layers.global_pool(data[0], "max" if largest else "average", name=layer.name)
    mode = layer.choice(param, "round_mode", ("CEIL", "FLOOR"))
    # `ceil_mode` is how forks that came before `round_mode` say the same.
    up = param.flag("ceil_mode", mode == "CEIL")
    pool = layers.max_pool if largest else layers.average_pool
    windows = layers.Windows(
        layer.spatial(param, "kernel_size", _KERNEL, 0),
        layer.spatial(param, "stride", _STRIDE, 1, what="stride"),
        layer.spatial(param, "pad", _PAD, 0),
        "ceil" if up else "floor",
    )
    return pool(data[0], windows, name=layer.name)


def _response_norm(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    _image(layer, data[0])
    param = layer.param("lrn_param")
    regions = ("ACROSS_CHANNELS", "WITHIN_CHANNEL")
    within = layer.choice(param, "norm_region", regions) == "WITHIN_CHANNEL"
    size = layer.positive(param.integer("local_size", 5), "local_size")
    if size % 2 == 0:
        raise layer.refuse(f"has local_size {size}; it takes an odd one")
    k = param.number("k", 1)
    return layers.local_response_norm(
        data[0],
        size=size,
        alpha=param.number("alpha", 1),
        beta=param.number("beta", 0.75),
        # Within a channel Caffe adds 1, whatever k is (lrn_layer.cpp: `power_param`).
        k=1.0 if within else k,
        axes=integers(2, 3) if within else integers(1),
        name=layer.name,
    )


def _mean_variance(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    param = layer.param("mvn_param")
    rank = _rank(data[0])
    axes = integers(*range(1 if param.flag("across_channels", False) else 2, rank))
    varied, epsilon = param.flag("normalize_variance", True), param.number("eps", 1e-9)
    return ops.mvn(data[0], axes, varied, epsilon, "outside_sqrt")


def _normalize(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    """Return x / |x| * scale (SSD's normalize_layer.cpp)."""
    param = layer.param("norm_param")
    across, shared = param.flag("across_spatial", True), param.flag("channel_shared", True)
    scale = layer.learned(0, [1 if shared else channels(layer, data[0])])
    axes = integers(*range(1, _rank(data[0]) if across else 2))
    unit = ops.normalize_l2(data[0], axes, param.number("eps", 1e-10), "add")
    value = named(unit, f"{layer.name}/unit")
    return layers.scale_shift(value, scale, None, axis=0 if shared else 1, name=layer.name)


def _interpolation(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    """Return a bilinear resampling that keeps the corners (DeepLab's interp_layer.cpp)."""
    _image(layer, data[0])
    param = layer.param("interp_param")
    if param.integer("pad_beg", 0) or param.integer("pad_end", 0):
        raise layer.refuse("pads what it resizes; without interp_param.pad_beg and pad_end it can")
    size = inner_shape(layer, data[-1], 2)
    if len(data) == 1:
        shrink = layer.positive(param.integer("shrink_factor", 1), "shrink_factor")
        zoom = layer.positive(param.integer("zoom_factor", 1), "zoom_factor")
        size = [(side - 1) // shrink + 1 for side in size]
        size = [side + (side - 1) * (zoom - 1) for side in size]
        size = [param.integer("height", size[0]), param.integer("width", size[1])]
    for side in size:
        layer.positive(side, "side")
    return layers.resized(data[0], size, "linear_onnx", "align_corners")


def _upsample(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    """Return each value `scale` times along both axes (the layer of YOLO's forks)."""
    _image(layer, data[0])
    scale = layer.positive(layer.param("upsample_param").integer("scale", 0), "scale")
    size = [side * scale for side in inner_shape(layer, data[0], 2)]
    return layers.resized(data[0], size, "nearest", "asymmetric")


def _shuffle(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    """Return channels dealt out over groups (ShuffleNet's shuffle_channel_layer.cpp)."""
    groups = layer.positive(layer.param("shuffle_channel_param").integer("group", 1), "group")
    if channels(layer, data[0]) % groups:
        raise layer.refuse(f"parts {channels(layer, data[0])} channels into {groups} groups")
    return ops.shuffle_channels(data[0], 1, groups)


def _parameter(layer: CaffeLayer, _: list[ov.Output]) -> Made:
    shape = layer.param("parameter_param").block("shape").integers("dim")
    return constant(layer.learned(0, shape)).get_node()


def _prior_box(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    """Return boxes [1,2,4n] around each cell, and their variances (prior_box_layer.cpp)."""
    param = layer.param("prior_box_param")
    rows, columns = inner_shape(layer, data[0], 2, 4)
    image = inner_shape(layer, data[1], 2, 4)
    height, width = _pair(param, "img_size", "img_h", "img_w") or image
    step = _pair(param, "step", "step_h", "step_w") or (height / rows, width / columns)
    sides = _sides(layer, param)
    if not 0 < rows * columns * len(sides) <= _MOST_PRIORS or min(height, width) <= 0:
        raise layer.refuse(f"makes {rows * columns * len(sides)} boxes; {_MOST_PRIORS} is the most")
    offset = param.number("offset", 0.5)
    centres = np.empty((rows, columns, 1, 2))
    centres[..., 0] = ((np.arange(columns) + offset) * step[1])[None, :, None]
    centres[..., 1] = ((np.arange(rows) + offset) * step[0])[:, None, None]
    size = np.array([width, height])
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], -1) / np.tile(size, 2)
    if param.flag("clip", False):
        boxes = boxes.clip(0, 1)
    variance = param.numbers("variance") or [0.1]
    if len(variance) not in (1, 4):
        raise layer.refuse(f"has {len(variance)} variances; it takes 1 or 4")
    both = np.stack([boxes.reshape(-1, 4), np.broadcast_to(variance, (boxes.size // 4, 4))])
    return constant(both.reshape(1, 2, -1)).get_node()


def _pair(param: Block, both: str, first: str, second: str) -> tuple[float, float] | None:
    side = param.number(both, 0)
    pair = (param.number(first, side), param.number(second, side))
    return pair if all(pair) else None


def _sides(layer: CaffeLayer, param: Block) -> Array:
    """Return width and height of the boxes of a cell, [n,2], in pixels and Caffe's order."""
    small, large = param.numbers("min_size"), param.numbers("max_size")
    if not small or min(small) <= 0 or (large and len(large) != len(small)):
        raise layer.refuse(f"has {len(small)} min_size above 0 and {len(large)} max_size")
    flip, ratios = param.flag("flip", True), [1.0]
    for ratio in param.numbers("aspect_ratio"):
        if not _SAME < ratio < 1 / _SAME:
            raise layer.refuse(f"has aspect_ratio {ratio}; {_SAME} to {1 / _SAME} can be drawn")
        if all(abs(ratio - other) >= _SAME for other in ratios):
            ratios += [ratio, 1 / ratio] if flip else [ratio]
    sides = []
    for index, side in enumerate(small):
        sides.append((side, side))
        if large:
            sides.append(((side * large[index]) ** 0.5,) * 2)
        others = [ratio for ratio in ratios if abs(ratio - 1) >= _SAME]
        sides += [(side * ratio**0.5, side / ratio**0.5) for ratio in others]
    return np.array(sides, np.float32)


def _detection_output(layer: CaffeLayer, data: list[ov.Output]) -> Made:
    """Return [1,1,n,7]: image, label, score and corners of each box; image -1 ends the list."""
    param = layer.param("detection_output_param")
    classes = layer.positive(param.integer("num_classes", 0), "num_classes")
    nms = param.block("nms_param")
    code = layer.choice(param, "code_type", ("CORNER", "CENTER_SIZE"))
    for unused in ("save_output_param", "visualize", "visualize_threshold", "save_file"):
        param.read.add(unused)
    priors, shared = channels(layer, data[2], 2) // 4, param.flag("share_location", True)
    sizes = {0: priors * 4 * (1 if shared else classes), 1: priors * classes}
    for index, size in sizes.items():
        if channels(layer, data[index]) != size:
            raise layer.refuse(
                f"takes {channels(layer, data[index])} values in blob {index + 1}; "
                f"{priors} boxes of {classes} classes want {size}"
            )
    if nms.number("eta", 1) != 1:
        raise layer.refuse("lowers its threshold as it goes; nms_param.eta other than 1 cannot be")
    keep = layer.positive(param.integer("keep_top_k", -1), "keep_top_k")
    attributes = {
        "background_label_id": param.integer("background_label_id", 0),
        "top_k": nms.integer("top_k", -1),
        "variance_encoded_in_target": param.flag("variance_encoded_in_target", False),
        "keep_top_k": [keep],
        "code_type": f"caffe.PriorBoxParameter.{code}",
        "share_location": shared,
        "nms_threshold": nms.number("nms_threshold", 0.3),
        "confidence_threshold": param.number("confidence_threshold", -3.4e38),
        "normalized": True,
    }
    return ops.detection_output(*data[:3], attributes)


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
    "SOFTMAX": lambda layer, data: ops.softmax(
        data[0], _axis(layer, layer.param("softmax_param"), data[0])
    ),
    "DUMMYDATA": _dummy,
    "RELU": _relu,
    "PRELU": _prelu,
    "ELU": lambda layer, data: ops.elu(data[0], layer.param("elu_param").number("alpha", 1)),
    "SIGMOID": _plain(ops.sigmoid, "sigmoid_param"),
    "TANH": _plain(ops.tanh, "tanh_param"),
    "ABSVAL": _plain(ops.abs),
    "BNLL": _plain(ops.softplus),
    "SWISH": lambda layer, data: ops.swish(
        data[0], constant(layer.param("swish_param").number("beta", 1))
    ),
    "CLIP": _clip,
    "RELU6": _plain(lambda value: ops.clamp(value, 0.0, 6.0), "relu_param"),
    "THRESHOLD": _threshold,
    "POWER": _power,
    "EXP": _exp,
    "LOG": _log,
    "SCALE": _scale,
    "BIAS": _bias,
    "AXPY": _axpy,
    "ELTWISE": _eltwise,
    "BATCHNORM": _batch_norm,
    "CONVOLUTION": _convolution,
    "DECONVOLUTION": _convolution,
    "DEPTHWISECONVOLUTION": _convolution,
    "CONVOLUTIONDEPTHWISE": _convolution,
    "INNERPRODUCT": _inner_product,
    "EMBED": _embed,
    "POOLING": _pooling,
    "LRN": _response_norm,
    "MVN": _mean_variance,
    "NORMALIZE": _normalize,
    "INTERP": _interpolation,
    "UPSAMPLE": _upsample,
    "SHUFFLECHANNEL": _shuffle,
    "PARAMETER": _parameter,
    "PRIORBOX": _prior_box,
    "DETECTIONOUTPUT": _detection_output,
}
"""What makes the tops of a layer, by its type in capitals."""

BOTTOMS: Final = {
    "CONCAT": (1, _MOST_BLOBS),
    "CROP": (2, 2),
    "DUMMYDATA": (0, 0),
    "SCALE": (1, 2),
    "BIAS": (1, 2),
    "AXPY": (3, 3),
    "ELTWISE": (1, _MOST_BLOBS),
    "INTERP": (1, 2),
    "PARAMETER": (0, 0),
    "PRIORBOX": (2, 2),
    "DETECTIONOUTPUT": (3, 3),
}
"""How many blobs a layer takes, at least and at most, where it is not one."""


def find_build(layer: CaffeLayer, key: str) -> Build:
    """Return what converts a layer of a type.

    Raises:
        ModelError: as `CaffeLayer.refuse`, for a type that is not converted, with the nearest.
    """
    if key in BUILD:
        return BUILD[key]
    near = difflib.get_close_matches(layer.key, list(BUILD), n=3)
    alike = f" (near it: {', '.join(near).lower()})" if near else ""
    raise layer.refuse(
        f"is none of Caffe's that can be converted{alike}; convert the network "
        "to ONNX with the Caffe that it was made for, or end the .prototxt before it "
        "(docs/optimizer.md, Formats)"
    )
