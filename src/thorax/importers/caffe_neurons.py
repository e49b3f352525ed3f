"""Caffe's layers that work value by value: activations and arithmetic, `*_layer.cpp` of 1.0."""

import functools
import math
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.importers.caffe_layer import Build, Layer, channels, inner_shape
from thorax.importers.layers import batch_norm, constant, integers, named, scale_shift

_MOST: Final = 1 << 10
"""Blobs that a layer may take."""


def _relu(layer: Layer, data: list[ov.Output]) -> ov.Output:
    slope = layer.param("relu_param").number("negative_slope", 0)
    if slope == 0:
        return named(ops.relu(data[0]), layer.name)
    return named(ops.prelu(data[0], constant([slope])), layer.name)


def _prelu(layer: Layer, data: list[ov.Output]) -> ov.Output:
    shared = layer.param("prelu_param").flag("channel_shared", False)
    slope = layer.learned(0, [1 if shared else channels(layer, data[0])])
    around = [1] * (len(data[0].get_partial_shape()) - 2)
    return named(ops.prelu(data[0], constant(slope.reshape(1, -1, *around))), layer.name)


def _elu(layer: Layer, data: list[ov.Output]) -> ov.Output:
    return named(ops.elu(data[0], layer.param("elu_param").number("alpha", 1)), layer.name)


def _sigmoid(layer: Layer, data: list[ov.Output]) -> ov.Output:
    layer.param("sigmoid_param")
    return named(ops.sigmoid(data[0]), layer.name)


def _tanh(layer: Layer, data: list[ov.Output]) -> ov.Output:
    layer.param("tanh_param")
    return named(ops.tanh(data[0]), layer.name)


def _absolute(layer: Layer, data: list[ov.Output]) -> ov.Output:
    return named(ops.abs(data[0]), layer.name)


def _bnll(layer: Layer, data: list[ov.Output]) -> ov.Output:
    return named(ops.softplus(data[0]), layer.name)


def _swish(layer: Layer, data: list[ov.Output]) -> ov.Output:
    beta = layer.param("swish_param").number("beta", 1)
    return named(ops.swish(data[0], constant(beta)), layer.name)


def _clip(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param = layer.param("clip_param")
    low, high = param.number("min", 0), param.number("max", 0)
    if not {"min", "max"} <= set(param.fields) or not low <= high:
        raise layer.refuse("wants clip_param.min and a max that is no less")
    return named(ops.clamp(data[0], low, high), layer.name)


def _relu6(layer: Layer, data: list[ov.Output]) -> ov.Output:
    layer.param("relu_param")
    return named(ops.clamp(data[0], 0.0, 6.0), layer.name)


def _threshold(layer: Layer, data: list[ov.Output]) -> ov.Output:
    level = layer.param("threshold_param").number("threshold", 0)
    above = ops.greater(data[0], constant(level))
    return named(ops.convert(above, np.float32), layer.name)


def _scaled(data: ov.Output, scale: float, shift: float, name: str) -> ov.Output:
    if scale != 1:
        data = named(ops.multiply(data, constant(scale)), f"{name}/scale")
    if shift != 0:
        data = named(ops.add(data, constant(shift)), f"{name}/shift")
    return data


def _power(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param = layer.param("power_param")
    scale, shift = param.number("scale", 1), param.number("shift", 0)
    power = param.number("power", 1)
    value = _scaled(data[0], scale, shift, layer.name)
    if power != 1:
        return named(ops.power(value, constant(power)), layer.name)
    if scale == 1 and shift == 0:
        return value
    return named(value.get_node(), layer.name)


def _base(layer: Layer, base: float) -> float:
    """Return the natural logarithm of a base; -1 stands for e."""
    if base == -1:
        return 1.0
    if not 0 < base < math.inf or base == 1:
        raise layer.refuse(f"has base {base}; it takes one above 0 other than 1, or -1 for e")
    return math.log(base)


def _exp(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param = layer.param("exp_param")
    rate = _base(layer, param.number("base", -1))
    scale, shift = param.number("scale", 1), param.number("shift", 0)
    return named(ops.exp(_scaled(data[0], rate * scale, rate * shift, layer.name)), layer.name)


def _log(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param = layer.param("log_param")
    rate = _base(layer, param.number("base", -1))
    value = _scaled(data[0], param.number("scale", 1), param.number("shift", 0), layer.name)
    logarithm = ops.log(value)
    if rate == 1:
        return named(logarithm, layer.name)
    logarithm.set_friendly_name(f"{layer.name}/log")
    return named(ops.multiply(logarithm, constant(1 / rate)), layer.name)


def _spread(layer: Layer, data: list[ov.Output], axis: int) -> ov.Output:
    """Return the second blob with ones behind, so that it begins at an axis of the first."""
    rank, own = (len(one.get_partial_shape()) for one in data)
    if axis + own > rank:
        raise layer.refuse(f"spreads {own} axes from axis {axis} over a blob of {rank}")
    if axis + own == rank:
        return data[1]
    return ops.reshape(data[1], integers(*[0] * own, *[1] * (rank - axis - own)), True).output(0)


def _vector(layer: Layer, data: ov.Output, axis: int, axes: int) -> list[int]:
    """Return the shape of what a layer learned for `axes` axes from `axis` on, -1 all."""
    rank = len(data.get_partial_shape())
    end = rank if axes == -1 else axis + axes
    if not axis <= end <= rank:
        raise layer.refuse(f"has num_axes {axes} from axis {axis}; its input has {rank} axes")
    return inner_shape(layer, data, axis, end)


def _scale(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param = layer.param("scale_param")
    axis = layer.axis(param.integer("axis", 1), len(data[0].get_partial_shape()))
    axes, biased = param.integer("num_axes", 1), param.flag("bias_term", False)
    if len(data) == 1:
        shape = _vector(layer, data[0], axis, axes)
        scale = layer.learned(0, shape)
        shift = layer.learned(1, shape) if biased else None
        return scale_shift(data[0], scale, shift, axis=axis, name=layer.name)
    scaled = ops.multiply(data[0], _spread(layer, data, axis))
    if not biased:
        return named(scaled, layer.name)
    own = len(data[1].get_partial_shape())
    offset = layer.learned(0, inner_shape(layer, data[0], axis, axis + own))
    value = named(scaled, f"{layer.name}/scale")
    return scale_shift(value, None, offset, axis=axis, name=layer.name)


def _bias(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param = layer.param("bias_param")
    axis = layer.axis(param.integer("axis", 1), len(data[0].get_partial_shape()))
    axes = param.integer("num_axes", 1)
    if len(data) == 2:
        return named(ops.add(data[0], _spread(layer, data, axis)), layer.name)
    shift = layer.learned(0, _vector(layer, data[0], axis, axes))
    return scale_shift(data[0], None, shift, axis=axis, name=layer.name)


def _axpy(layer: Layer, data: list[ov.Output]) -> ov.Output:
    """Return a * x + y, a of one value a channel (SENet's axpy_layer.cpp)."""
    scaled = ops.multiply(data[1], _spread(layer, [data[1], data[0]], 0))
    return named(ops.add(named(scaled, f"{layer.name}/scale"), data[2]), layer.name)


def _eltwise(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param = layer.param("eltwise_param")
    # Caffe's numbers are PROD 0, SUM 1, MAX 2, and SUM is meant where nothing is said.
    words = ("PROD", "SUM", "MAX")
    kind = layer.choice(param, "operation", words) if "operation" in param else "SUM"
    factors = param.numbers("coeff")
    param.flag("stable_prod_grad", True)
    if any(one.get_partial_shape() != data[0].get_partial_shape() for one in data):
        shapes = ", ".join(str(one.get_partial_shape()) for one in data)
        raise layer.refuse(f"takes blobs of different shapes: {shapes}")
    if factors and (kind != "SUM" or len(factors) != len(data)):
        raise layer.refuse(f"has {len(factors)} coeff for {kind} of {len(data)} blobs")
    for index, factor in enumerate(factors):
        data[index] = _scaled(data[index], factor, 0, f"{layer.name}/{index}")
    join = {"PROD": ops.multiply, "SUM": ops.add, "MAX": ops.maximum}[kind]
    value = functools.reduce(lambda left, right: join(left, right).output(0), data)
    return named(value.get_node(), layer.name) if len(data) > 1 else value


def _batch_norm(layer: Layer, data: list[ov.Output]) -> ov.Output:
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


BUILD: Final[dict[str, Build]] = {
    "RELU": _relu,
    "PRELU": _prelu,
    "ELU": _elu,
    "SIGMOID": _sigmoid,
    "TANH": _tanh,
    "ABSVAL": _absolute,
    "BNLL": _bnll,
    "SWISH": _swish,
    "CLIP": _clip,
    "RELU6": _relu6,
    "THRESHOLD": _threshold,
    "POWER": _power,
    "EXP": _exp,
    "LOG": _log,
    "SCALE": _scale,
    "BIAS": _bias,
    "AXPY": _axpy,
    "ELTWISE": _eltwise,
    "BATCHNORM": _batch_norm,
}
"""By type in capitals."""

BOTTOMS: Final = {"SCALE": (1, 2), "BIAS": (1, 2), "AXPY": (3, 3), "ELTWISE": (1, _MOST)}
"""How many blobs a layer may take, where it is not one."""
