"""MXNet's element-wise operators, activations, sums and products, as OpenVINO operations."""

from collections.abc import Callable
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.importers import layers
from thorax.importers.mxnet_layer import Build, Layer, named

Unary = Callable[[ov.Output], ov.Node]


Binary = Callable[[ov.Output, ov.Output], ov.Node]


def _unary(make: Unary) -> Build:
    return lambda layer: named(make(layer.data()), layer)


def _binary(make: Binary) -> Build:
    return lambda layer: named(make(layer.data(0), layer.data(1)), layer)


def _with_scalar(make: Binary, *, first: bool = False) -> Build:
    def build(layer: Layer) -> ov.Output:
        scalar = layers.constant(layer.attributes.number("scalar", 0.0))
        data = layer.data()
        return named(make(scalar, data) if first else make(data, scalar), layer)

    return build


def _as_number(make: Binary) -> Binary:
    """Return a comparison that answers 0 and 1, as MXNet's do."""
    return lambda left, right: ops.convert(make(left, right), np.float32)


def _hypotenuse(left: ov.Output, right: ov.Output) -> ov.Node:
    return ops.sqrt(ops.add(ops.multiply(left, left), ops.multiply(right, right)))


def _sum_of_all(layer: Layer) -> ov.Output:
    value = layer.data()
    for other in layer.inputs[1:]:
        value = ops.add(value, other).output(0)
    return value if len(layer.inputs) == 1 else named(value.get_node(), layer)


def _activation(layer: Layer) -> ov.Output:
    kind = layer.attributes.word("act_type", "", tuple(_ACTIVATIONS))
    return named(_ACTIVATIONS[kind](layer.data()), layer)


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805

"""Klambauer et al., NIPS 2017, equation 2 and appendix A1."""


def _leaky_relu(layer: Layer) -> ov.Output:
    attributes, data = layer.attributes, layer.data()
    known = ("leaky", "prelu", "elu", "selu", "gelu", "rrelu")
    kind = attributes.word("act_type", "leaky", known)
    if kind == "elu":
        return named(ops.elu(data, attributes.number("slope", 0.25)), layer)
    if kind == "selu":
        alpha, scale = layers.constant(_SELU_ALPHA), layers.constant(_SELU_SCALE)
        return named(ops.selu(data, alpha, scale), layer)
    if kind == "gelu":
        return named(ops.gelu(data, "erf"), layer)
    if kind == "prelu":
        slope = layer.weight(1, (-1,))
    elif kind == "rrelu":
        # MXNet 1.x, leaky_relu-inl.h: without training the middle of the range that it draws from.
        ends = attributes.number("lower_bound", 0.125), attributes.number("upper_bound", 0.334)
        slope = np.array([sum(ends) / 2], np.float32)
    else:
        slope = np.array([attributes.number("slope", 0.25)], np.float32)
    return named(ops.prelu(data, layers.constant(slope)), layer)


def _hard_sigmoid(layer: Layer) -> ov.Output:
    slope = layers.constant(layer.attributes.number("alpha", 0.2))
    middle = layers.constant(layer.attributes.number("beta", 0.5))
    return named(ops.hard_sigmoid(layer.data(), slope, middle), layer)


def _softmax_output(layer: Layer) -> ov.Output:
    attributes, rank = layer.attributes, layer.rank()
    if attributes.flag("multi_output", False) or rank == 2:
        return named(ops.softmax(layer.data(), 1), layer)
    if attributes.flag("preserve_shape", False):
        return named(ops.softmax(layer.data(), rank - 1), layer)
    return _softmax_of_all(layer)


def _softmax_activation(layer: Layer) -> ov.Output:
    mode = layer.attributes.word("mode", "instance", ("instance", "channel"))
    # MXNet 1.x, softmax_activation-inl.h: FlatTo2D, which is each row and not the whole instance.
    axis = 1 if mode == "channel" else layer.rank() - 1
    return named(ops.softmax(layer.data(), axis), layer)


def _softmax_of_all(layer: Layer) -> ov.Output:
    shape = layer.shape()
    flat = ops.reshape(layer.data(), layers.integers(0, -1), True)
    soft = ops.softmax(flat, 1)
    return named(ops.reshape(soft, layers.integers(0, *shape[1:]), True), layer)


def _softmax(layer: Layer) -> ov.Output:
    return named(ops.softmax(*_tempered(layer, 1)), layer)


def _softmin(layer: Layer) -> ov.Output:
    return named(ops.softmax(*_tempered(layer, -1)), layer)


def _log_softmax(layer: Layer) -> ov.Output:
    return named(ops.log_softmax(*_tempered(layer, 1)), layer)


def _tempered(layer: Layer, sign: int) -> tuple[ov.Output, int]:
    attributes = layer.attributes
    if attributes.flag("use_length", False):
        raise attributes.unsupported("masks by length")
    temperature = attributes.number("temperature", 1.0)
    if not temperature:
        raise layer.damaged("has temperature 0")
    data = layer.data()
    if sign != 1 or temperature != 1:
        data = ops.multiply(data, layers.constant(sign / temperature)).output(0)
    return data, layer.axis(attributes.integer("axis", -1))


def _clip(layer: Layer) -> ov.Output:
    low, high = (layer.attributes.number(key) for key in ("a_min", "a_max"))
    return named(ops.clamp(layer.data(), low, high), layer)


def _cast(layer: Layer) -> ov.Output:
    kinds = ("float32", "float16", "float64", "bfloat16", "int32", "int64", "uint8", "int8", "bool")
    kind = layer.attributes.word("dtype", "", kinds)
    # Everything real is float32 here; the precision is chosen later, and told.
    real = np.float32 if "float" in kind else np.dtype(kind).type
    if layer.data().get_element_type() == ov.Type(real):
        return layer.data()
    return named(ops.convert(layer.data(), real), layer)


def _axes(layer: Layer) -> tuple[int, ...]:
    found = tuple(layer.axis(axis) for axis in layer.attributes.integers("axis"))
    every = range(layer.rank())
    if layer.attributes.flag("exclude", False):
        return tuple(axis for axis in every if axis not in found)
    return found or tuple(every)


def _reduce(make: Callable[[ov.Output, ov.Output, bool], ov.Node]) -> Build:
    def build(layer: Layer) -> ov.Output:
        keep, axes = layer.attributes.flag("keepdims", False), _axes(layer)
        node = make(layer.data(), layers.integers(*axes), keep)
        if len(axes) == layer.rank() and not keep:
            # MXNet 1.x has no arrays without an axis.
            node = ops.reshape(node, layers.integers(1), False)
        return named(node, layer)

    return build


def _norm(layer: Layer) -> ov.Output:
    order = layer.attributes.integer("ord", 2)
    if order not in (1, 2):
        raise layer.attributes.unsupported(f"takes a norm of order {order}")
    return _reduce(ops.reduce_l1 if order == 1 else ops.reduce_l2)(layer)


def _product(layer: Layer) -> ov.Output:
    left, right = layer.rank(0), layer.rank(1)
    if right > 2 or left < 1 or right < 1:
        raise layer.attributes.unsupported(f"multiplies {left} axes by {right}")
    return _matrix_product(layer)


def _matrix_product(layer: Layer) -> ov.Output:
    flags = [layer.attributes.flag(key, False) for key in ("transpose_a", "transpose_b")]
    return named(ops.matmul(layer.data(0), layer.data(1), *flags), layer)


def _where(layer: Layer) -> ov.Output:
    if layer.rank(0) != layer.rank(1):
        raise layer.attributes.unsupported("chooses whole rows")
    chosen = ops.not_equal(layer.data(0), ops.convert_like(layers.constant(0), layer.data(0)))
    return named(ops.select(chosen, layer.data(1), layer.data(2)), layer)


def _power_of(exponent: float) -> Unary:
    return lambda value: ops.power(value, layers.constant(exponent))


def _scaled_log(scale: float) -> Unary:
    return lambda value: ops.multiply(ops.log(value), layers.constant(scale))


def _cube_root(value: ov.Output) -> ov.Node:
    return ops.multiply(ops.sign(value), ops.power(ops.abs(value), layers.constant(1 / 3)))


def _plus_one(value: ov.Output) -> ov.Node:
    return ops.log(ops.add(value, layers.constant(1)))


def _minus_one(value: ov.Output) -> ov.Node:
    return ops.subtract(ops.exp(value), layers.constant(1))


def _truncate(value: ov.Output) -> ov.Node:
    return ops.multiply(ops.sign(value), ops.floor(ops.abs(value)))


def _remainder(left: ov.Output, right: ov.Output) -> ov.Node:
    # With the sign of the divisor, as Python's.
    return ops.floor_mod(left, right)


_ACTIVATIONS: Final[dict[str, Callable[[ov.Output], ov.Node]]] = {
    "relu": ops.relu,
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
    "softrelu": ops.softplus,
    "softsign": ops.softsign,
    "log_sigmoid": lambda value: ops.negative(ops.softplus(ops.negative(value))),
    "mish": ops.mish,
}


_UNARY: Final[dict[str, Unary]] = {
    "sqrt": ops.sqrt,
    "rsqrt": _power_of(-0.5),
    "cbrt": _cube_root,
    "exp": ops.exp,
    "expm1": _minus_one,
    "log": ops.log,
    "log2": _scaled_log(float(1 / np.log(2))),
    "log10": _scaled_log(float(1 / np.log(10))),
    "log1p": _plus_one,
    "abs": ops.abs,
    "square": lambda value: ops.multiply(value, value),
    "negative": ops.negative,
    "reciprocal": _power_of(-1.0),
    "sigmoid": ops.sigmoid,
    "relu": ops.relu,
    "tanh": ops.tanh,
    "softsign": ops.softsign,
    "erf": ops.erf,
    "sin": ops.sin,
    "cos": ops.cos,
    "floor": ops.floor,
    "ceil": ops.ceiling,
    "fix": _truncate,
    "trunc": _truncate,
    "rint": lambda value: ops.round(value, "half_to_even"),
    "round": lambda value: ops.round(value, "half_away_from_zero"),
    "sign": ops.sign,
}


_BINARY: Final[dict[str, Binary]] = {
    "add": ops.add,
    "plus": ops.add,
    "sub": ops.subtract,
    "minus": ops.subtract,
    "mul": ops.multiply,
    "div": ops.divide,
    "maximum": ops.maximum,
    "minimum": ops.minimum,
    "power": ops.power,
    "mod": _remainder,
    "hypot": _hypotenuse,
    "equal": _as_number(ops.equal),
    "not_equal": _as_number(ops.not_equal),
    "greater": _as_number(ops.greater),
    "greater_equal": _as_number(ops.greater_equal),
    "lesser": _as_number(ops.less),
    "lesser_equal": _as_number(ops.less_equal),
}

"""Named so alone after `_`, after `elemwise_` or `broadcast_`, and before `_scalar`."""


_REDUCE: Final[dict[str, Callable[[ov.Output, ov.Output, bool], ov.Node]]] = {
    "mean": ops.reduce_mean,
    "sum": ops.reduce_sum,
    "max": ops.reduce_max,
    "min": ops.reduce_min,
    "prod": ops.reduce_prod,
}


ARITHMETIC: Final[dict[str, Build]] = {
    **{name: _unary(make) for name, make in _UNARY.items()},
    **{
        f"{prefix}_{name}": _binary(make)
        for name, make in _BINARY.items()
        for prefix in ("", "elemwise", "broadcast")
    },
    **{f"_{name}_scalar": _with_scalar(make) for name, make in _BINARY.items()},
    **{
        f"_r{name}_scalar": _with_scalar(_BINARY[name], first=True)
        for name in ("minus", "div", "power", "mod")
    },
    **{name: _reduce(make) for name, make in _REDUCE.items()},
    "Activation": _activation,
    "LeakyReLU": _leaky_relu,
    "SoftmaxOutput": _softmax_output,
    "SoftmaxActivation": _softmax_activation,
    "softmax": _softmax,
    "softmin": _softmin,
    "log_softmax": _log_softmax,
    "norm": _norm,
    "add_n": _sum_of_all,
    "clip": _clip,
    "dot": _product,
    "batch_dot": _matrix_product,
    "Cast": _cast,
    "hard_sigmoid": _hard_sigmoid,
    "where": _where,
    "LogisticRegressionOutput": _unary(ops.sigmoid),
}
