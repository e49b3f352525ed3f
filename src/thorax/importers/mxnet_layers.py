"""MXNet's layers and operators as OpenVINO operations (MXNet 1.x, src/operator)."""

import re
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.importers import layers
from thorax.importers.mxnet_files import Build, MxnetLayer

Unary = Callable[[ov.Output], ov.Node]
Binary = Callable[[ov.Output, ov.Output], ov.Node]

WEIGHTED: Final = (
    "Convolution", "Deconvolution", "FullyConnected", "BatchNorm", "InstanceNorm", "LayerNorm",
    "GroupNorm", "UpSampling", "LeakyReLU",
)  # fmt: skip
"""Kinds whose inputs after the first are parameters of their own."""

ALIASES: Final = {
    "BatchNorm_v1": "BatchNorm",
    "CuDNNBatchNorm": "BatchNorm",
    "_contrib_SyncBatchNorm": "BatchNorm",
    "Convolution_v1": "Convolution",
    "Softmax": "SoftmaxOutput",
    "ElementWiseSum": "add_n",
    "_sum": "add_n",
    "concat": "Concat",
    "flatten": "Flatten",
    "reshape": "Reshape",
    "swapaxes": "SwapAxis",
    "pad": "Pad",
    "split": "SliceChannel",
    "cast": "Cast",
    "amp_cast": "Cast",
    "_copy": "identity",
    "_copyto": "identity",
    "_CrossDeviceCopy": "identity",
    "stop_gradient": "BlockGrad",
    "make_loss": "MakeLoss",
    "_grad_add": "_add",
    "max_axis": "max",
    "min_axis": "min",
    "sum_axis": "sum",
    "broadcast_axes": "broadcast_axis",
    "flip": "reverse",
    "crop": "slice",
    "_zeros_without_dtype": "_zeros",
}
"""Other names of the same, besides those that differ in capitals or a mark of sparse storage."""

_CHANNELS_FIRST, _CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
"""Orders of axes that bring channels first, and last."""

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""Klambauer et al., NIPS 2017, equation 2 and appendix A1."""

_MOST_ELEMENTS: Final = 1 << 28
"""Of an array that a network makes out of nothing."""


def _plane(layer: MxnetLayer) -> tuple[int, ...]:
    kernel = layer.attributes.integers("kernel", least=1)
    if len(kernel) != 2:
        raise layer.attributes.unsupported(f"has a kernel {kernel}; of two axes can be read")
    return kernel


def _pair(layer: MxnetLayer, key: str, default: int, *, least: int) -> tuple[int, ...]:
    values = layer.attributes.integers(key, (default, default), least=least)
    if len(values) != 2:
        raise layer.damaged(f"has {key} {values} for two axes")
    return values


def _channels_last(layer: MxnetLayer) -> bool:
    return layer.attributes.word("layout", "NCHW", ("NCHW", "NHWC")) == "NHWC"


def _turned(value: ov.Output, order: tuple[int, ...]) -> ov.Output:
    return ops.transpose(value, layers.integers(*order)).output(0)


def _turned_back(value: ov.Output, layer: MxnetLayer) -> ov.Output:
    value.get_node().set_friendly_name(f"{layer.name}/NCHW")
    return layer.named(ops.transpose(value, layers.integers(*_CHANNELS_LAST)))


def _convolution(layer: MxnetLayer) -> ov.Output:
    kernel, attributes = _plane(layer), layer.attributes
    groups = attributes.integer("num_group", 1, least=1)
    filters = attributes.integer("num_filter", least=1)
    last = _channels_last(layer)
    data = _turned(layer.data(), _CHANNELS_FIRST) if last else layer.data()
    weight = layer.weight(1, (filters, *kernel, -1) if last else (filters, -1, *kernel))
    bias = None if attributes.flag("no_bias", False) else layer.weight(2, (filters,))
    if filters % groups:
        raise layer.damaged(f"parts {filters} filters in {groups} groups")
    geometry = layers.Geometry(
        _pair(layer, "stride", 1, least=1),
        _pair(layer, "pad", 0, least=0),
        _pair(layer, "dilate", 1, least=1),
        groups,
    )
    weight = weight.transpose(_CHANNELS_FIRST) if last else weight
    value = layers.convolution(data, weight, bias, geometry, name=layer.name)
    return _turned_back(value, layer) if last else value


def _deconvolution(layer: MxnetLayer) -> ov.Output:
    kernel, attributes = _plane(layer), layer.attributes
    if _channels_last(layer):
        raise attributes.unsupported("has layout NHWC")
    groups = attributes.integer("num_group", 1, least=1)
    filters = attributes.integer("num_filter", least=1)
    weight = layer.weight(1, (-1, filters // groups, *kernel))
    if filters % groups or weight.shape[0] % groups:
        raise layer.damaged(f"parts {weight.shape[0]} channels in {groups} groups")
    stride, dilation = _pair(layer, "stride", 1, least=1), _pair(layer, "dilate", 1, least=1)
    pad, extra = _pair(layer, "pad", 0, least=0), _pair(layer, "adj", 0, least=0)
    target = attributes.integers("target_shape", least=0)
    if any(target):
        # MXNet 1.x, deconvolution-inl.h, InferPad: what is over is cut off at both ends.
        full = [
            step * (side - 1) + (size - 1) * spread + 1
            for side, size, step, spread in zip(
                layer.shape()[2:], kernel, stride, dilation, strict=True
            )
        ]
        over = [whole - side for whole, side in zip(full, target, strict=True)]
        if min(over) < 0:
            raise layer.damaged(f"has target_shape {target} but can reach only {full}")
        pad, extra = tuple((cut + 1) // 2 for cut in over), tuple(cut % 2 for cut in over)
    bias = None if attributes.flag("no_bias", True) else layer.weight(2, (filters,))
    geometry = layers.Geometry(stride, pad, dilation, groups, extra)
    return layers.deconvolution(layer.data(), weight, bias, geometry, name=layer.name)


def _fully_connected(layer: MxnetLayer) -> ov.Output:
    hidden = layer.attributes.integer("num_hidden", least=1)
    flatten = layer.attributes.flag("flatten", True)
    return layers.fully_connected(
        layer.data(),
        layer.weight(1, (hidden, -1)),
        None if layer.attributes.flag("no_bias", False) else layer.weight(2, (hidden,)),
        axis=1 if flatten else None,
        name=layer.name,
    )


def _batch_norm(layer: MxnetLayer) -> ov.Output:
    attributes = layer.attributes
    rank = layer.rank()
    axis = layer.axis(attributes.integer("axis", 1))
    order = list(range(rank))
    order.insert(1, order.pop(axis))
    data = layer.data() if axis == 1 else _turned(layer.data(), tuple(order))
    gamma = layer.weight(1, (-1,))
    # MXNet 1.x, batch_norm.cc: a gamma that is fixed is 1, whatever was saved.
    fixed = attributes.flag("fix_gamma", True)
    value = layers.batch_norm(
        data,
        gamma=np.ones_like(gamma) if fixed else gamma,
        beta=layer.weight(2, gamma.shape),
        mean=layer.weight(3, gamma.shape),
        variance=layer.weight(4, gamma.shape),
        epsilon=attributes.number("eps", 1e-3),
        name=layer.name,
    )
    if axis == 1:
        return value
    value.get_node().set_friendly_name(f"{layer.name}/channels_first")
    return layer.named(ops.transpose(value, layers.integers(*np.argsort(order))))


def _pooling(layer: MxnetLayer) -> ov.Output:
    attributes = layer.attributes
    kind = attributes.word("pool_type", "max", ("max", "avg", "sum", "lp"))
    full = attributes.word("pooling_convention", "valid", ("valid", "full")) == "full"
    if layer.rank() != 4:
        shape = layer.data().get_partial_shape()
        raise attributes.unsupported(f"pools {shape}; of four axes can be")
    last = _channels_last(layer)
    data = _turned(layer.data(), _CHANNELS_FIRST) if last else layer.data()
    if attributes.flag("global_pool", False):
        value = _global_pool(layer, data, kind)
    else:
        # MXNet 1.x, pool.h: no window is left out, and padding counts to the divisor.
        windows = layers.Windows(
            _plane(layer),
            _pair(layer, "stride", 1, least=1),
            _pair(layer, "pad", 0, least=0),
            "ceil" if full else "floor",
            drop_outside=False,
        )
        value = _pool(layer, data, kind, windows)
    return _turned_back(value, layer) if last else value


def _global_pool(layer: MxnetLayer, data: ov.Output, kind: str) -> ov.Output:
    if kind == "lp":
        raise layer.attributes.unsupported("takes a norm of the whole plane")
    if kind == "sum":
        return layer.named(ops.reduce_sum(data, layers.integers(2, 3), True))
    return layers.global_pool(data, "max" if kind == "max" else "average", name=layer.name)


def _pool(layer: MxnetLayer, data: ov.Output, kind: str, windows: layers.Windows) -> ov.Output:
    if kind == "max":
        return layers.max_pool(data, windows, name=layer.name)
    if kind == "avg":
        count = layer.attributes.flag("count_include_pad", True)
        return layers.average_pool(data, windows, name=layer.name, count_padding=count)
    if kind == "sum":
        return layer.named(_window_sum(layer, data, windows))
    power = layer.attributes.integer("p_value", least=1)
    powers = ops.power(ops.abs(data), layers.constant(power)).output(0)
    total = _window_sum(layer, powers, windows)
    return layer.named(ops.power(total, layers.constant(1 / power)))


def _window_sum(layer: MxnetLayer, data: ov.Output, windows: layers.Windows) -> ov.Node:
    shape = data.get_partial_shape()
    if shape.is_dynamic:
        raise layer.unshaped(shape)
    ends = []
    geometry = zip(windows.kernel, windows.stride, windows.pad, strict=True)
    for axis, (size, step, pad) in enumerate(geometry):
        side = shape[axis + 2].get_length()
        count = layers.window_count(side, windows, axis)
        ends.append(max(0, (count - 1) * step - pad + size - side))
    padded = ops.pad(
        data,
        layers.integers(0, 0, *windows.pad),
        layers.integers(0, 0, *ends),
        "constant",
        layers.constant(0),
    )
    stride, kernel = list(windows.stride), list(windows.kernel)
    mean = ops.avg_pool(padded, stride, [0, 0], [0, 0], kernel, False, "floor")
    return ops.multiply(mean, layers.constant(float(np.prod(kernel))))


def _local_response_norm(layer: MxnetLayer) -> ov.Output:
    attributes = layer.attributes
    return layers.local_response_norm(
        layer.data(),
        size=attributes.integer("nsize", least=1),
        alpha=attributes.number("alpha", 1e-4),
        beta=attributes.number("beta", 0.75),
        k=attributes.number("knorm", 2.0),
        within_channel=False,
        name=layer.name,
    )


def _standardised(
    layer: MxnetLayer, value: ov.Output, axes: tuple[int, ...], default: float
) -> ov.Output:
    epsilon = layer.attributes.number("eps", default)
    node = ops.mvn(value, layers.integers(*axes), True, epsilon, "inside_sqrt")
    return layers.named(node, f"{layer.name}/standardise")


def _instance_norm(layer: MxnetLayer) -> ov.Output:
    gamma = layer.weight(1, (-1,))
    value = _standardised(layer, layer.data(), tuple(range(2, layer.rank())), 1e-3)
    return layers.scale_shift(value, gamma, layer.weight(2, gamma.shape), axis=1, name=layer.name)


def _layer_norm(layer: MxnetLayer) -> ov.Output:
    axis = layer.axis(layer.attributes.integer("axis", -1))
    gamma = layer.weight(1, (-1,))
    value = _standardised(layer, layer.data(), (axis,), 1e-5)
    return layers.scale_shift(
        value, gamma, layer.weight(2, gamma.shape), axis=axis, name=layer.name
    )


def _group_norm(layer: MxnetLayer) -> ov.Output:
    groups = layer.attributes.integer("num_groups", 1, least=1)
    shape = layer.shape()
    if len(shape) < 3 or shape[1] % groups:
        raise layer.damaged(f"parts {shape} in {groups} groups")
    parted = ops.reshape(layer.data(), layers.integers(0, groups, -1), True).output(0)
    value = _standardised(layer, parted, (2,), 1e-5)
    whole = ops.reshape(value, layers.integers(0, *shape[1:]), True).output(0)
    # MXNet 1.x, group_norm.cc: one gamma a group; of 2.0 one a channel.
    gamma, beta = layer.weight(1, (-1,)), layer.weight(2, (-1,))
    if len(gamma) not in (groups, shape[1]) or len(beta) != len(gamma):
        raise layer.damaged(f"has {len(gamma)} scales for {groups} groups")
    each = shape[1] // len(gamma)
    return layers.scale_shift(whole, gamma.repeat(each), beta.repeat(each), axis=1, name=layer.name)


def _l2_normalization(layer: MxnetLayer) -> ov.Output:
    mode = layer.attributes.word("mode", "instance", ("instance", "channel", "spatial"))
    rank = layer.rank()
    axes = {"instance": range(1, rank), "channel": (1,), "spatial": range(2, rank)}[mode]
    epsilon = layer.attributes.number("eps", 1e-10)
    # OpenVINO clamps or adds the epsilon; a float32 sum loses 1e-10 beside anything, as MXNet's.
    return layer.named(ops.normalize_l2(layer.data(), layers.integers(*axes), epsilon, "add"))


def _up_sampling(layer: MxnetLayer) -> ov.Output:
    attributes = layer.attributes
    scale = attributes.integer("scale", least=1)
    kind = attributes.word("sample_type", "", ("nearest", "bilinear"))
    if kind == "bilinear":
        # MXNet 1.x, upsampling-inl.h: a deconvolution whose kernels are a parameter.
        size, pad = 2 * scale - scale % 2, (scale - 1 + 1) // 2
        weight = layer.weight(1, (-1, 1, size, size))
        geometry = layers.Geometry((scale, scale), (pad, pad), (1, 1), weight.shape[0])
        return layers.deconvolution(layer.data(), weight, None, geometry, name=layer.name)
    if len(layer.inputs) != 1:
        raise attributes.unsupported(f"joins {len(layer.inputs)} values")
    scales = layers.constant([scale, scale])
    node = ops.interpolate(
        layer.data(),
        scales,
        "nearest",
        "scales",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
        axes=layers.integers(2, 3),
    )
    return layer.named(node)


def _adaptive_pool(layer: MxnetLayer) -> ov.Output:
    sides = layer.attributes.integers("output_size", (1,), least=1)
    sides = sides * 2 if len(sides) == 1 else sides
    if sides == (1, 1):
        return layers.global_pool(layer.data(), "average", name=layer.name)
    return layer.named(ops.adaptive_avg_pool(layer.data(), layers.integers(*sides)))


def _resize(layer: MxnetLayer) -> ov.Output:
    attributes = layer.attributes
    attributes.word("mode", "size", ("size",))
    sides = attributes.integer("height", least=1), attributes.integer("width", least=1)
    corners = attributes.flag("align_corners", True)
    node = ops.interpolate(
        layer.data(),
        layers.integers(*sides),
        "linear_onnx",
        "sizes",
        coordinate_transformation_mode="align_corners" if corners else "half_pixel",
        axes=layers.integers(2, 3),
    )
    return layer.named(node)


def _unary(make: Unary) -> Build:
    return lambda layer: layer.named(make(layer.data()))


def _binary(make: Binary) -> Build:
    return lambda layer: layer.named(make(layer.data(0), layer.data(1)))


def _with_scalar(make: Binary, *, first: bool = False) -> Build:
    def build(layer: MxnetLayer) -> ov.Output:
        scalar = layers.constant(layer.attributes.number("scalar", 0.0))
        data = layer.data()
        return layer.named(make(scalar, data) if first else make(data, scalar))

    return build


def _as_number(make: Binary) -> Binary:
    """Return a comparison that answers 0 and 1, as MXNet's do."""
    return lambda left, right: ops.convert(make(left, right), np.float32)


def _hypotenuse(left: ov.Output, right: ov.Output) -> ov.Node:
    return ops.sqrt(ops.add(ops.multiply(left, left), ops.multiply(right, right)))


def _sum_of_all(layer: MxnetLayer) -> ov.Output:
    value = layer.data()
    for other in layer.inputs[1:]:
        value = ops.add(value, other).output(0)
    return value if len(layer.inputs) == 1 else layer.named(value.get_node())


def _activation(layer: MxnetLayer) -> ov.Output:
    kind = layer.attributes.word("act_type", "", tuple(_ACTIVATIONS))
    return layer.named(_ACTIVATIONS[kind](layer.data()))


def _leaky_relu(layer: MxnetLayer) -> ov.Output:
    attributes, data = layer.attributes, layer.data()
    kinds = ("leaky", "prelu", "elu", "selu", "gelu", "rrelu")
    kind = attributes.word("act_type", "leaky", kinds)
    if kind == "elu":
        return layer.named(ops.elu(data, attributes.number("slope", 0.25)))
    if kind == "selu":
        alpha, scale = layers.constant(_SELU_ALPHA), layers.constant(_SELU_SCALE)
        return layer.named(ops.selu(data, alpha, scale))
    if kind == "gelu":
        return layer.named(ops.gelu(data, "erf"))
    if kind == "prelu":
        slope = layer.weight(1, (-1,))
    elif kind == "rrelu":
        # MXNet 1.x, leaky_relu-inl.h: without training the middle of the range that it draws from.
        ends = attributes.number("lower_bound", 0.125), attributes.number("upper_bound", 0.334)
        slope = np.array([sum(ends) / 2], np.float32)
    else:
        slope = np.array([attributes.number("slope", 0.25)], np.float32)
    return layer.named(ops.prelu(data, layers.constant(slope)))


def _hard_sigmoid(layer: MxnetLayer) -> ov.Output:
    slope = layers.constant(layer.attributes.number("alpha", 0.2))
    middle = layers.constant(layer.attributes.number("beta", 0.5))
    return layer.named(ops.hard_sigmoid(layer.data(), slope, middle))


def _softmax_output(layer: MxnetLayer) -> ov.Output:
    attributes, rank = layer.attributes, layer.rank()
    if attributes.flag("multi_output", False) or rank == 2:
        return layer.named(ops.softmax(layer.data(), 1))
    if attributes.flag("preserve_shape", False):
        return layer.named(ops.softmax(layer.data(), rank - 1))
    return _softmax_of_all(layer)


def _softmax_activation(layer: MxnetLayer) -> ov.Output:
    mode = layer.attributes.word("mode", "instance", ("instance", "channel"))
    # MXNet 1.x, softmax_activation-inl.h: FlatTo2D, which is each row and not the whole instance.
    axis = 1 if mode == "channel" else layer.rank() - 1
    return layer.named(ops.softmax(layer.data(), axis))


def _softmax_of_all(layer: MxnetLayer) -> ov.Output:
    shape = layer.shape()
    flat = ops.reshape(layer.data(), layers.integers(0, -1), True)
    soft = ops.softmax(flat, 1)
    return layer.named(ops.reshape(soft, layers.integers(0, *shape[1:]), True))


def _softmax(layer: MxnetLayer) -> ov.Output:
    return layer.named(ops.softmax(*_tempered(layer, 1)))


def _softmin(layer: MxnetLayer) -> ov.Output:
    return layer.named(ops.softmax(*_tempered(layer, -1)))


def _log_softmax(layer: MxnetLayer) -> ov.Output:
    return layer.named(ops.log_softmax(*_tempered(layer, 1)))


def _tempered(layer: MxnetLayer, sign: int) -> tuple[ov.Output, int]:
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


def _clip(layer: MxnetLayer) -> ov.Output:
    low, high = (layer.attributes.number(key) for key in ("a_min", "a_max"))
    return layer.named(ops.clamp(layer.data(), low, high))


def _cast(layer: MxnetLayer) -> ov.Output:
    kinds = ("float32", "float16", "float64", "bfloat16", "int32", "int64", "uint8", "int8", "bool")
    kind = layer.attributes.word("dtype", "", kinds)
    # Everything real is float32 here; the precision is chosen later, and told.
    real = np.float32 if "float" in kind else np.dtype(kind).type
    if layer.data().get_element_type() == ov.Type(real):
        return layer.data()
    return layer.named(ops.convert(layer.data(), real))


def _axes(layer: MxnetLayer) -> tuple[int, ...]:
    axes = tuple(layer.axis(axis) for axis in layer.attributes.integers("axis"))
    every = range(layer.rank())
    if layer.attributes.flag("exclude", False):
        return tuple(axis for axis in every if axis not in axes)
    return axes or tuple(every)


def _reduce(make: Callable[[ov.Output, ov.Output, bool], ov.Node]) -> Build:
    def build(layer: MxnetLayer) -> ov.Output:
        keep, axes = layer.attributes.flag("keepdims", False), _axes(layer)
        node = make(layer.data(), layers.integers(*axes), keep)
        if len(axes) == layer.rank() and not keep:
            # MXNet 1.x has no arrays without an axis.
            node = ops.reshape(node, layers.integers(1), False)
        return layer.named(node)

    return build


def _norm(layer: MxnetLayer) -> ov.Output:
    order = layer.attributes.integer("ord", 2)
    if order not in (1, 2):
        raise layer.attributes.unsupported(f"takes a norm of order {order}")
    return _reduce(ops.reduce_l1 if order == 1 else ops.reduce_l2)(layer)


def _product(layer: MxnetLayer) -> ov.Output:
    left, right = layer.rank(0), layer.rank(1)
    if right > 2 or left < 1 or right < 1:
        raise layer.attributes.unsupported(f"multiplies {left} axes by {right}")
    return _matrix_product(layer)


def _matrix_product(layer: MxnetLayer) -> ov.Output:
    flags = [layer.attributes.flag(key, False) for key in ("transpose_a", "transpose_b")]
    return layer.named(ops.matmul(layer.data(0), layer.data(1), *flags))


def _where(layer: MxnetLayer) -> ov.Output:
    if layer.rank(0) != layer.rank(1):
        raise layer.attributes.unsupported("chooses whole rows")
    chosen = ops.not_equal(layer.data(0), ops.convert_like(layers.constant(0), layer.data(0)))
    return layer.named(ops.select(chosen, layer.data(1), layer.data(2)))


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


def _passed(layer: MxnetLayer) -> ov.Output:
    return layer.data()


def _concat(layer: MxnetLayer) -> ov.Output:
    axis = layer.axis(layer.attributes.integer("dim", 1))
    layer.data()
    return layer.named(ops.concat(list(layer.inputs), axis))


def _stack(layer: MxnetLayer) -> ov.Output:
    axis = layer.axis(layer.attributes.integer("axis", 0), layer.rank() + 1)
    wide = [ops.unsqueeze(value, layers.integers(axis)).output(0) for value in layer.inputs]
    return layer.named(ops.concat(wide, axis))


def _flatten(layer: MxnetLayer) -> ov.Output:
    return layer.named(ops.reshape(layer.data(), layers.integers(0, -1), True))


def _reshape(layer: MxnetLayer) -> ov.Output:
    attributes = layer.attributes
    codes = attributes.integers("shape")
    if not codes:
        raise attributes.unsupported("has no shape of the kind that MXNet writes since 0.9")
    if attributes.flag("reverse", False):
        shape = layer.shape()
        target = _coded(layer, codes[::-1], shape[::-1])[::-1]
        return layer.named(ops.reshape(layer.data(), layers.integers(*target), False))
    if min(codes) >= -1:
        target = list(codes)
    else:
        shape = layer.shape()
        target = _coded(layer, codes, shape)
        # An axis that stays where it was follows the batch.
        target = [0 if n < len(shape) and codes[: n + 1] == (0,) * (n + 1) else size
                  for n, size in enumerate(target)]  # fmt: skip
    return layer.named(ops.reshape(layer.data(), layers.integers(*target), True))


def _coded(layer: MxnetLayer, codes: Sequence[int], shape: Sequence[int]) -> list[int]:
    """Return the sizes that MXNet's codes stand for.

    0 is one as it is, -2 all that remain, -3 the product of two, -4 one parted in the two that
    follow; -1 stays.
    """
    target: list[int] = []
    sizes, remaining = list(shape), list(codes)
    try:
        while remaining:
            code = remaining.pop(0)
            if code == -2:
                target += sizes
                sizes = []
            elif code == -3:
                target.append(sizes.pop(0) * sizes.pop(0))
            elif code == -4:
                size, parts = sizes.pop(0), [remaining.pop(0), remaining.pop(0)]
                if -1 in parts and parts[1 - parts.index(-1)] > 0:
                    parts[parts.index(-1)] = size // parts[1 - parts.index(-1)]
                target += parts
            elif code < -4:
                raise layer.damaged(f"has a shape of {tuple(codes)}")
            else:
                size = sizes.pop(0) if sizes else 0
                target.append(size if code == 0 else code)
    except IndexError as error:
        raise layer.damaged(f"has a shape of {tuple(codes)} for {tuple(shape)}") from error
    return target


def _transpose(layer: MxnetLayer) -> ov.Output:
    order = layer.attributes.integers("axes") or tuple(reversed(range(layer.rank())))
    turned = [layer.axis(axis) for axis in order]
    return layer.named(ops.transpose(layer.data(), layers.integers(*turned)))


def _swap_axes(layer: MxnetLayer) -> ov.Output:
    order = list(range(layer.rank()))
    first = layer.axis(layer.attributes.integer("dim1", 0))
    second = layer.axis(layer.attributes.integer("dim2", 0))
    order[first], order[second] = order[second], order[first]
    return layer.named(ops.transpose(layer.data(), layers.integers(*order)))


def _expand_dims(layer: MxnetLayer) -> ov.Output:
    axis = layer.axis(layer.attributes.integer("axis"), layer.rank() + 1)
    return layer.named(ops.unsqueeze(layer.data(), layers.integers(axis)))


def _squeeze(layer: MxnetLayer) -> ov.Output:
    axes = [layer.axis(axis) for axis in layer.attributes.integers("axis")]
    if not axes:
        axes = [axis for axis, size in enumerate(layer.shape()) if size == 1]
    return layer.named(ops.squeeze(layer.data(), layers.integers(*axes)))


def _pad(layer: MxnetLayer) -> ov.Output:
    attributes = layer.attributes
    mode = attributes.word("mode", "", ("constant", "edge", "reflect"))
    width = attributes.integers("pad_width", least=0)
    if len(width) != 2 * layer.rank():
        raise layer.damaged(f"has pad_width {width} for {layer.rank()} axes")
    fill = layers.constant(attributes.number("constant_value", 0.0))
    begin, end = layers.integers(*width[::2]), layers.integers(*width[1::2])
    return layer.named(ops.pad(layer.data(), begin, end, mode, fill))


def _cut(
    layer: MxnetLayer,
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


def _slice(layer: MxnetLayer) -> ov.Output:
    parts = (layer.attributes.optional(key) for key in ("begin", "end", "step"))
    return layer.named(_cut(layer, *parts))


def _along(layer: MxnetLayer, axis: int, begin: int | None, end: int | None) -> ov.Node:
    return _cut(layer, (*[None] * axis, begin), (*[None] * axis, end))


def _slice_axis(layer: MxnetLayer) -> ov.Output:
    axis = layer.axis(layer.attributes.integer("axis"))
    begin = layer.attributes.integer("begin", 0)
    end = layer.attributes.integer("end") if "end" in layer.attributes else None
    return layer.named(_along(layer, axis, begin, end))


def _slice_like(layer: MxnetLayer) -> ov.Output:
    shape, like = layer.shape(), layer.shape(1)
    axes = [layer.axis(axis) for axis in layer.attributes.integers("axes")]
    axes = axes or list(range(min(len(shape), len(like))))
    end = [like[axis] if axis in axes else None for axis in range(max(axes) + 1)]
    return layer.named(_cut(layer, [None] * len(end), end))


def _crop(layer: MxnetLayer) -> ov.Output:
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
    return layer.named(_cut(layer, (*none, top, left), (*none, top + height, left + width)))


def _split(layer: MxnetLayer) -> list[ov.Output]:
    attributes = layer.attributes
    axis = layer.axis(attributes.integer("axis", 1))
    count = attributes.integer("num_outputs", least=1)
    node = ops.split(layer.data(), layers.constant(axis, np.int64), count)
    return _parts(layer, node, axis)


def _split_by(layer: MxnetLayer) -> list[ov.Output]:
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


def _parts(layer: MxnetLayer, node: ov.Node, axis: int) -> list[ov.Output]:
    node.set_friendly_name(layer.name)
    if not layer.attributes.flag("squeeze_axis", False):
        return list(node.outputs())
    axes = layers.integers(axis)
    return [ops.squeeze(part, axes).output(0) for part in node.outputs()]


def _tile(layer: MxnetLayer) -> ov.Output:
    counts = layer.attributes.integers("reps", least=1)
    if np.prod([float(count) for count in counts]) > _MOST_ELEMENTS:
        raise layer.damaged(f"repeats its data {counts} times")
    return layer.named(ops.tile(layer.data(), layers.integers(*counts)))


def _filled(value: float | None) -> Build:
    def build(layer: MxnetLayer) -> ov.Output:
        shape = layer.attributes.integers("shape", least=1)
        if not shape or np.prod([float(size) for size in shape]) > _MOST_ELEMENTS:
            raise layer.damaged(f"makes an array of shape {shape}")
        fill = layer.attributes.number("value") if value is None else value
        return layer.named(ops.broadcast(layers.constant(fill), layers.integers(*shape)))

    return build


def _like(value: float) -> Build:
    def build(layer: MxnetLayer) -> ov.Output:
        shape = ops.shape_of(layer.data())
        return layer.named(ops.broadcast(layers.constant(value), shape))

    return build


def _broadcast_to(layer: MxnetLayer) -> ov.Output:
    shape = layer.attributes.integers("shape", least=0)
    # 0 keeps a size; to be broadcast both ways keeps it where the other has 1.
    target = layers.integers(*[size or 1 for size in shape])
    return layer.named(ops.broadcast(layer.data(), target, broadcast_spec="BIDIRECTIONAL"))


def _broadcast_like(layer: MxnetLayer) -> ov.Output:
    if "lhs_axes" in layer.attributes or "rhs_axes" in layer.attributes:
        raise layer.attributes.unsupported("names the axes to broadcast")
    return layer.named(ops.broadcast(layer.data(), ops.shape_of(layer.data(1))))


def _broadcast_axes(layer: MxnetLayer) -> ov.Output:
    axes, sizes = layer.attributes.integers("axis"), layer.attributes.integers("size", least=1)
    if len(axes) != len(sizes):
        raise layer.damaged(f"broadcasts axes {axes} to {sizes}")
    target = [1] * layer.rank()
    for axis, size in zip(axes, sizes, strict=True):
        target[layer.axis(axis)] = size
    sides = layers.integers(*target)
    return layer.named(ops.broadcast(layer.data(), sides, broadcast_spec="BIDIRECTIONAL"))


def _reshape_like(layer: MxnetLayer) -> ov.Output:
    if any(
        f"{side}_{end}" in layer.attributes for side in ("lhs", "rhs") for end in ("begin", "end")
    ):
        raise layer.attributes.unsupported("names the axes to reshape")
    return layer.named(ops.reshape(layer.data(), ops.shape_of(layer.data(1)), False))


def _depth_to_space(layer: MxnetLayer) -> ov.Output:
    size = layer.attributes.integer("block_size", least=1)
    return layer.named(ops.depth_to_space(layer.data(), "blocks_first", size))


def _space_to_depth(layer: MxnetLayer) -> ov.Output:
    size = layer.attributes.integer("block_size", least=1)
    return layer.named(ops.space_to_depth(layer.data(), "blocks_first", size))


def _reverse(layer: MxnetLayer) -> ov.Output:
    axes = [layer.axis(axis) for axis in layer.attributes.integers("axis")]
    value = layer.data()
    axis_list = layers.integers(*axes)
    ends = (layers.integers(*[far] * len(axes)) for far in (-1, np.iinfo(np.int32).min))
    return layer.named(ops.slice(value, *ends, layers.integers(*[-1] * len(axes)), axis_list))


_BUILD: Final[dict[str, Build]] = {
    "Convolution": _convolution,
    "Deconvolution": _deconvolution,
    "FullyConnected": _fully_connected,
    "BatchNorm": _batch_norm,
    "Pooling": _pooling,
    "LRN": _local_response_norm,
    "InstanceNorm": _instance_norm,
    "LayerNorm": _layer_norm,
    "GroupNorm": _group_norm,
    "L2Normalization": _l2_normalization,
    "UpSampling": _up_sampling,
    "_contrib_AdaptiveAvgPooling2D": _adaptive_pool,
    "_contrib_BilinearResize2D": _resize,
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
"""By the kind of layer; other names of the same are in `ALIASES`."""


def builder(kind: str) -> Build | None:
    """Return what builds the layers of a kind, under any of the names it has had."""
    name = kind.removeprefix("_sparse_")
    name = ALIASES.get(name, name)
    if name.startswith("_") and name not in _BUILD:
        # Before 0.9: _Plus, _RDivScalar, _Greater_Equal.
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return _BUILD.get(name)
