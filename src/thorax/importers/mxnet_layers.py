"""MXNet's layers and operators as OpenVINO operations (MXNet 1.x, src/operator)."""

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.importers import layers
from thorax.importers.layers import constant, integers
from thorax.importers.mxnet_files import Build, MxnetLayer

Made: TypeAlias = "ov.Node | ov.Output"
Unary = Callable[[ov.Output], ov.Node]
Binary = Callable[[ov.Output, ov.Output], ov.Node]
Reduce = Callable[[ov.Output, ov.Output, bool], ov.Node]

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

_MOST_ELEMENTS: Final = 1 << 28
"""Of an array that a network makes out of nothing."""


def _plane(layer: MxnetLayer) -> tuple[int, ...]:
    kernel = layer.integers("kernel", least=1)
    if len(kernel) != 2:
        raise layer.unsupported(f"has a kernel {kernel}; of two axes can be read")
    return kernel


def _pair(layer: MxnetLayer, key: str, default: int, *, least: int) -> tuple[int, ...]:
    values = layer.integers(key, (default, default), least=least)
    if len(values) != 2:
        raise layer.damaged(f"has {key} {values} for two axes")
    return values


def _channels_last(layer: MxnetLayer) -> bool:
    return layer.word("layout", "NCHW", ("NCHW", "NHWC")) == "NHWC"


def _image(layer: MxnetLayer) -> ov.Output:
    """Return what a layer takes, channels first."""
    data = layer.data()
    return _turned(data, _CHANNELS_FIRST).output(0) if _channels_last(layer) else data


def _as_given(value: ov.Output, layer: MxnetLayer) -> Made:
    """Return what was computed with channels first in the layer's own layout."""
    if not _channels_last(layer):
        return value
    value.get_node().set_friendly_name(f"{layer.name}/NCHW")
    return _turned(value, _CHANNELS_LAST)


def _turned(value: ov.Output, order: Sequence[int]) -> ov.Node:
    return ops.transpose(value, integers(*order))


def _convolution(layer: MxnetLayer) -> Made:
    kernel, last = _plane(layer), _channels_last(layer)
    groups = layer.integer("num_group", 1, least=1)
    filters = layer.integer("num_filter", least=1)
    data = _image(layer)
    weight = layer.weight(1, (filters, *kernel, -1) if last else (filters, -1, *kernel))
    bias = None if layer.flag("no_bias", False) else layer.weight(2, (filters,))
    if filters % groups:
        raise layer.damaged(f"parts {filters} filters in {groups} groups")
    geometry = layers.Geometry(
        _pair(layer, "stride", 1, least=1),
        _pair(layer, "pad", 0, least=0),
        _pair(layer, "dilate", 1, least=1),
        groups,
    )
    weight = weight.transpose(_CHANNELS_FIRST) if last else weight
    return _as_given(layers.convolution(data, weight, bias, geometry, name=layer.name), layer)


def _deconvolution(layer: MxnetLayer) -> Made:
    kernel = _plane(layer)
    if _channels_last(layer):
        raise layer.unsupported("has layout NHWC")
    groups = layer.integer("num_group", 1, least=1)
    filters = layer.integer("num_filter", least=1)
    weight = layer.weight(1, (-1, filters // groups, *kernel))
    if filters % groups or weight.shape[0] % groups:
        raise layer.damaged(f"parts {weight.shape[0]} channels in {groups} groups")
    stride, dilation = _pair(layer, "stride", 1, least=1), _pair(layer, "dilate", 1, least=1)
    pad, extra = _pair(layer, "pad", 0, least=0), _pair(layer, "adj", 0, least=0)
    target = layer.integers("target_shape", least=0)
    if any(target):
        # MXNet 1.x, deconvolution-inl.h, InferPad: what is over is cut off at both ends.
        axes = zip(layer.shape()[2:], kernel, stride, dilation, strict=True)
        full = [step * (side - 1) + (size - 1) * gap + 1 for side, size, step, gap in axes]
        over = [whole - side for whole, side in zip(full, target, strict=True)]
        if min(over) < 0:
            raise layer.damaged(f"has target_shape {target} but can reach only {full}")
        pad, extra = tuple((cut + 1) // 2 for cut in over), tuple(cut % 2 for cut in over)
    bias = None if layer.flag("no_bias", True) else layer.weight(2, (filters,))
    geometry = layers.Geometry(stride, pad, dilation, groups, extra)
    return layers.deconvolution(layer.data(), weight, bias, geometry, name=layer.name)


def _fully_connected(layer: MxnetLayer) -> Made:
    hidden = layer.integer("num_hidden", least=1)
    axis = 1 if layer.flag("flatten", True) else None
    data, weight = layer.data(), layer.weight(1, (hidden, -1))
    bias = None if layer.flag("no_bias", False) else layer.weight(2, (hidden,))
    return layers.fully_connected(data, weight, bias, axis=axis, name=layer.name)


def _batch_norm(layer: MxnetLayer) -> Made:
    axis = layer.axis(layer.integer("axis", 1))
    order = list(range(layer.rank()))
    order.insert(1, order.pop(axis))
    gamma = layer.weight(1, (-1,))
    # MXNet 1.x, batch_norm.cc: a gamma that is fixed is 1, whatever was saved.
    fixed = layer.flag("fix_gamma", True)
    value = layers.batch_norm(
        layer.data() if axis == 1 else _turned(layer.data(), order).output(0),
        gamma=np.ones_like(gamma) if fixed else gamma,
        beta=layer.weight(2, gamma.shape),
        mean=layer.weight(3, gamma.shape),
        variance=layer.weight(4, gamma.shape),
        epsilon=layer.number("eps", 1e-3),
        name=layer.name,
    )
    if axis == 1:
        return value
    value.get_node().set_friendly_name(f"{layer.name}/channels_first")
    return _turned(value, np.argsort(order).tolist())


def _pooling(layer: MxnetLayer) -> Made:
    kind = layer.word("pool_type", "max", ("max", "avg", "sum", "lp"))
    full = layer.word("pooling_convention", "valid", ("valid", "full")) == "full"
    if layer.rank() != 4:
        raise layer.unsupported(f"pools {layer.data().get_partial_shape()}; of four axes can be")
    data = _image(layer)
    if layer.flag("global_pool", False):
        return _as_given(_global_pool(layer, data, kind), layer)
    # MXNet 1.x, pool.h: no window is left out, and padding counts to the divisor.
    windows = layers.Windows(
        _plane(layer),
        _pair(layer, "stride", 1, least=1),
        _pair(layer, "pad", 0, least=0),
        "ceil" if full else "floor",
        drop_outside=False,
    )
    return _as_given(_pool(layer, data, kind, windows), layer)


def _global_pool(layer: MxnetLayer, data: ov.Output, kind: str) -> ov.Output:
    reduce = {"sum": ops.reduce_sum, "max": ops.reduce_max, "avg": ops.reduce_mean}.get(kind)
    if reduce is None:
        raise layer.unsupported("takes a norm of the whole plane")
    return layers.named(reduce(data, integers(2, 3), True), layer.name)


def _pool(layer: MxnetLayer, data: ov.Output, kind: str, windows: layers.Windows) -> ov.Output:
    if kind == "max":
        return layers.max_pool(data, windows, name=layer.name)
    if kind == "avg":
        count = layer.flag("count_include_pad", True)
        return layers.average_pool(data, windows, name=layer.name, count_padding=count)
    if kind == "sum":
        return layers.named(_window_sum(layer, data, windows), layer.name)
    power = layer.integer("p_value", least=1)
    powers = ops.power(ops.abs(data), constant(power)).output(0)
    total = _window_sum(layer, powers, windows)
    return layers.named(ops.power(total, constant(1 / power)), layer.name)


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
    begin, end = integers(0, 0, *windows.pad), integers(0, 0, *ends)
    padded = ops.pad(data, begin, end, "constant", constant(0))
    stride, kernel = list(windows.stride), list(windows.kernel)
    mean = ops.avg_pool(padded, stride, [0, 0], [0, 0], kernel, False, "floor")
    return ops.multiply(mean, constant(float(np.prod(kernel))))


def _local_response_norm(layer: MxnetLayer) -> Made:
    return layers.local_response_norm(
        layer.data(),
        size=layer.integer("nsize", least=1),
        alpha=layer.number("alpha", 1e-4),
        beta=layer.number("beta", 0.75),
        k=layer.number("knorm", 2.0),
        axes=integers(1),
        name=layer.name,
    )


def _standardised(
    layer: MxnetLayer, value: ov.Output, axes: Sequence[int], default: float
) -> ov.Output:
    epsilon = layer.number("eps", default)
    node = ops.mvn(value, integers(*axes), True, epsilon, "inside_sqrt")
    return layers.named(node, f"{layer.name}/standardise")


def _norm_along(layer: MxnetLayer, axes: Sequence[int], axis: int, default: float) -> Made:
    gamma = layer.weight(1, (-1,))
    beta = layer.weight(2, gamma.shape)
    value = _standardised(layer, layer.data(), axes, default)
    return layers.scale_shift(value, gamma, beta, axis=axis, name=layer.name)


def _layer_norm(layer: MxnetLayer) -> Made:
    axis = layer.axis(layer.integer("axis", -1))
    return _norm_along(layer, (axis,), axis, 1e-5)


def _group_norm(layer: MxnetLayer) -> Made:
    groups = layer.integer("num_groups", 1, least=1)
    shape = layer.shape()
    if len(shape) < 3 or shape[1] % groups:
        raise layer.damaged(f"parts {shape} in {groups} groups")
    parted = ops.reshape(layer.data(), integers(0, groups, -1), True).output(0)
    value = _standardised(layer, parted, (2,), 1e-5)
    whole = ops.reshape(value, integers(0, *shape[1:]), True).output(0)
    # MXNet 1.x, group_norm.cc: one gamma a group; of 2.0 one a channel.
    gamma, beta = layer.weight(1, (-1,)), layer.weight(2, (-1,))
    if len(gamma) not in (groups, shape[1]) or len(beta) != len(gamma):
        raise layer.damaged(f"has {len(gamma)} scales for {groups} groups")
    each = shape[1] // len(gamma)
    return layers.scale_shift(whole, gamma.repeat(each), beta.repeat(each), axis=1, name=layer.name)


def _l2_normalization(layer: MxnetLayer) -> Made:
    mode = layer.word("mode", "instance", ("instance", "channel", "spatial"))
    rank = layer.rank()
    axes = {"instance": range(1, rank), "channel": (1,), "spatial": range(2, rank)}[mode]
    # OpenVINO clamps or adds the epsilon; a float32 sum loses 1e-10 beside anything, as MXNet's.
    return ops.normalize_l2(layer.data(), integers(*axes), layer.number("eps", 1e-10), "add")


def _up_sampling(layer: MxnetLayer) -> Made:
    scale = layer.integer("scale", least=1)
    if layer.word("sample_type", "", ("nearest", "bilinear")) == "bilinear":
        # MXNet 1.x, upsampling-inl.h: a deconvolution whose kernels are a parameter.
        size, pad = 2 * scale - scale % 2, (scale - 1 + 1) // 2
        weight = layer.weight(1, (-1, 1, size, size))
        geometry = layers.Geometry((scale, scale), (pad, pad), (1, 1), weight.shape[0])
        return layers.deconvolution(layer.data(), weight, None, geometry, name=layer.name)
    if len(layer.inputs) != 1:
        raise layer.unsupported(f"joins {len(layer.inputs)} values")
    return ops.interpolate(
        layer.data(),
        constant([scale, scale]),
        "nearest",
        "scales",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
        axes=integers(2, 3),
    )


def _adaptive_pool(layer: MxnetLayer) -> Made:
    sides = layer.integers("output_size", (1,), least=1)
    sides = sides * 2 if len(sides) == 1 else sides
    if sides == (1, 1):
        return layers.global_pool(layer.data(), "average", name=layer.name)
    return ops.adaptive_avg_pool(layer.data(), integers(*sides))


def _resize(layer: MxnetLayer) -> Made:
    layer.word("mode", "size", ("size",))
    sides = layer.integer("height", least=1), layer.integer("width", least=1)
    corners = "align_corners" if layer.flag("align_corners", True) else "half_pixel"
    return layers.resized(layer.data(), sides, "linear_onnx", corners)


def _unary(make: Unary) -> Build:
    return lambda layer: make(layer.data())


def _binary(make: Binary) -> Build:
    return lambda layer: make(layer.data(0), layer.data(1))


def _with_scalar(make: Binary, *, first: bool = False) -> Build:
    def build(layer: MxnetLayer) -> Made:
        scalar = constant(layer.number("scalar", 0.0))
        return make(scalar, layer.data()) if first else make(layer.data(), scalar)

    return build


def _as_number(make: Binary) -> Binary:
    """Return a comparison that answers 0 and 1, as MXNet's do."""
    return lambda left, right: ops.convert(make(left, right), np.float32)


def _leaky_relu(layer: MxnetLayer) -> Made:
    data = layer.data()
    kinds = ("leaky", "prelu", "elu", "selu", "gelu", "rrelu")
    match layer.word("act_type", "leaky", kinds):
        case "elu":
            return ops.elu(data, layer.number("slope", 0.25))
        case "selu":
            # Klambauer et al., NIPS 2017, equation 2 and appendix A1.
            return ops.selu(data, constant(1.6732632423543772), constant(1.0507009873554805))
        case "gelu":
            return ops.gelu(data, "erf")
        case "prelu":
            slope = layer.weight(1, (-1,))
        case "rrelu":
            # MXNet 1.x, leaky_relu-inl.h: without training the middle of the range it draws from.
            ends = layer.number("lower_bound", 0.125), layer.number("upper_bound", 0.334)
            slope = np.array([sum(ends) / 2], np.float32)
        case _:
            slope = np.array([layer.number("slope", 0.25)], np.float32)
    return ops.prelu(data, constant(slope))


def _hard_sigmoid(layer: MxnetLayer) -> Made:
    slope, middle = constant(layer.number("alpha", 0.2)), constant(layer.number("beta", 0.5))
    return ops.hard_sigmoid(layer.data(), slope, middle)


def _softmax_output(layer: MxnetLayer) -> Made:
    rank = layer.rank()
    if layer.flag("multi_output", False) or rank == 2:
        return ops.softmax(layer.data(), 1)
    if layer.flag("preserve_shape", False):
        return ops.softmax(layer.data(), rank - 1)
    shape = layer.shape()
    flat = ops.reshape(layer.data(), integers(0, -1), True)
    return ops.reshape(ops.softmax(flat, 1), integers(0, *shape[1:]), True)


def _softmax_activation(layer: MxnetLayer) -> Made:
    mode = layer.word("mode", "instance", ("instance", "channel"))
    # MXNet 1.x, softmax_activation-inl.h: FlatTo2D, which is each row and not the whole instance.
    return ops.softmax(layer.data(), 1 if mode == "channel" else layer.rank() - 1)


def _tempered(layer: MxnetLayer, sign: int = 1) -> tuple[ov.Output, int]:
    if layer.flag("use_length", False):
        raise layer.unsupported("masks by length")
    temperature = layer.number("temperature", 1.0)
    if not temperature:
        raise layer.damaged("has temperature 0")
    data = layer.data()
    if sign != 1 or temperature != 1:
        data = ops.multiply(data, constant(sign / temperature)).output(0)
    return data, layer.axis(layer.integer("axis", -1))


def _cast(layer: MxnetLayer) -> Made:
    kinds = ("float32", "float16", "float64", "bfloat16", "int32", "int64", "uint8", "int8", "bool")
    kind = layer.word("dtype", "", kinds)
    # Everything real is float32 here; the precision is chosen later, and told.
    real = np.float32 if "float" in kind else np.dtype(kind).type
    same = layer.data().get_element_type() == ov.Type(real)
    return layer.data() if same else ops.convert(layer.data(), real)


def _reduce(make: Reduce) -> Build:
    def build(layer: MxnetLayer) -> Made:
        axes, every = _axes(layer, "axis"), range(layer.rank())
        if layer.flag("exclude", False):
            axes = [axis for axis in every if axis not in axes]
        else:
            axes = axes or list(every)
        keep = layer.flag("keepdims", False)
        node = make(layer.data(), integers(*axes), keep)
        if len(axes) == layer.rank() and not keep:
            # MXNet 1.x has no arrays without an axis.
            node = ops.reshape(node, integers(1), False)
        return node

    return build


def _axes(layer: MxnetLayer, key: str) -> list[int]:
    return [layer.axis(axis) for axis in layer.integers(key)]


def _norm(layer: MxnetLayer) -> "Made | Sequence[ov.Output]":
    order = layer.integer("ord", 2)
    if order not in (1, 2):
        raise layer.unsupported(f"takes a norm of order {order}")
    return _reduce(ops.reduce_l1 if order == 1 else ops.reduce_l2)(layer)


def _product(layer: MxnetLayer) -> Made:
    left, right = layer.rank(0), layer.rank(1)
    if right > 2 or left < 1 or right < 1:
        raise layer.unsupported(f"multiplies {left} axes by {right}")
    return _matrix_product(layer)


def _matrix_product(layer: MxnetLayer) -> Made:
    flags = [layer.flag(key, False) for key in ("transpose_a", "transpose_b")]
    return ops.matmul(layer.data(0), layer.data(1), *flags)


def _where(layer: MxnetLayer) -> Made:
    if layer.rank(0) != layer.rank(1):
        raise layer.unsupported("chooses whole rows")
    chosen = ops.not_equal(layer.data(0), ops.convert_like(constant(0), layer.data(0)))
    return ops.select(chosen, layer.data(1), layer.data(2))


def _truncate(value: ov.Output) -> ov.Node:
    return ops.multiply(ops.sign(value), ops.floor(ops.abs(value)))


_ACTIVATIONS: Final[dict[str, Unary]] = {
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
    "rsqrt": lambda value: ops.power(value, constant(-0.5)),
    "cbrt": lambda value: ops.multiply(ops.sign(value), ops.power(ops.abs(value), constant(1 / 3))),
    "exp": ops.exp,
    "expm1": lambda value: ops.subtract(ops.exp(value), constant(1)),
    "log": ops.log,
    "log2": lambda value: ops.multiply(ops.log(value), constant(1 / np.log(2))),
    "log10": lambda value: ops.multiply(ops.log(value), constant(1 / np.log(10))),
    "log1p": lambda value: ops.log(ops.add(value, constant(1))),
    "abs": ops.abs,
    "square": lambda value: ops.multiply(value, value),
    "negative": ops.negative,
    "reciprocal": lambda value: ops.power(value, constant(-1)),
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
    "LogisticRegressionOutput": ops.sigmoid,
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
    # With the sign of the divisor, as Python's.
    "mod": ops.floor_mod,
    "hypot": lambda left, right: ops.sqrt(
        ops.add(ops.multiply(left, left), ops.multiply(right, right))
    ),
    "equal": _as_number(ops.equal),
    "not_equal": _as_number(ops.not_equal),
    "greater": _as_number(ops.greater),
    "greater_equal": _as_number(ops.greater_equal),
    "lesser": _as_number(ops.less),
    "lesser_equal": _as_number(ops.less_equal),
}
"""Named so alone after `_`, after `elemwise_` or `broadcast_`, and before `_scalar`."""


_REDUCE: Final[dict[str, Reduce]] = {
    "mean": ops.reduce_mean,
    "sum": ops.reduce_sum,
    "max": ops.reduce_max,
    "min": ops.reduce_min,
    "prod": ops.reduce_prod,
}


def _stack(layer: MxnetLayer) -> Made:
    axis = layer.axis(layer.integer("axis", 0), layer.rank() + 1)
    wide = [ops.unsqueeze(value, integers(axis)).output(0) for value in layer.inputs]
    return ops.concat(wide, axis)


def _reshape(layer: MxnetLayer) -> Made:
    codes = layer.integers("shape")
    if not codes:
        raise layer.unsupported("has no shape of the kind that MXNet writes since 0.9")
    if layer.flag("reverse", False):
        target = _coded(layer, codes[::-1], layer.shape()[::-1])[::-1]
        return ops.reshape(layer.data(), integers(*target), False)
    target = list(codes)
    if min(codes) < -1:
        shape = layer.shape()
        # An axis that stays where it was follows the batch.
        target = [
            0 if n < len(shape) and not any(codes[: n + 1]) else size
            for n, size in enumerate(_coded(layer, codes, shape))
        ]
    return ops.reshape(layer.data(), integers(*target), True)


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


def _swap_axes(layer: MxnetLayer) -> Made:
    order = list(range(layer.rank()))
    first, second = (layer.axis(layer.integer(key, 0)) for key in ("dim1", "dim2"))
    order[first], order[second] = order[second], order[first]
    return _turned(layer.data(), order)


def _squeeze(layer: MxnetLayer) -> Made:
    axes = _axes(layer, "axis")
    axes = axes or [axis for axis, size in enumerate(layer.shape()) if size == 1]
    return ops.squeeze(layer.data(), integers(*axes))


def _pad(layer: MxnetLayer) -> Made:
    mode = layer.word("mode", "", ("constant", "edge", "reflect"))
    width = layer.integers("pad_width", least=0)
    if len(width) != 2 * layer.rank():
        raise layer.damaged(f"has pad_width {width} for {layer.rank()} axes")
    fill = constant(layer.number("constant_value", 0.0))
    return ops.pad(layer.data(), integers(*width[::2]), integers(*width[1::2]), mode, fill)


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
    starts, stops = [], []
    for first, last, size in zip(begin, end, steps, strict=True):
        starts.append((0 if size > 0 else far) if first is None else first)
        stops.append((far if size > 0 else -far) if last is None else last)
    lists = (starts, stops, steps, range(len(begin)))
    return ops.slice(layer.data(), *(integers(*values) for values in lists))


def _slice_axis(layer: MxnetLayer) -> Made:
    whole = [None] * layer.axis(layer.integer("axis"))
    end = layer.integer("end") if "end" in layer else None
    return _cut(layer, (*whole, layer.integer("begin", 0)), (*whole, end))


def _slice_like(layer: MxnetLayer) -> Made:
    shape, like = layer.shape(), layer.shape(1)
    axes = _axes(layer, "axes") or range(min(len(shape), len(like)))
    end = [like[axis] if axis in axes else None for axis in range(max(axes) + 1)]
    return _cut(layer, [None] * len(end), end)


def _crop(layer: MxnetLayer) -> Made:
    shape = layer.shape()
    if len(layer.inputs) > 1:
        height, width = layer.shape(1)[2:]
    else:
        height, width = layer.integers("h_w", (0, 0), least=1)
    if layer.flag("center_crop", False):
        top, left = (shape[2] - height) // 2, (shape[3] - width) // 2
    else:
        top, left = layer.integers("offset", (0, 0), least=0)
    if top < 0 or left < 0 or top + height > shape[2] or left + width > shape[3]:
        raise layer.damaged(f"crops {height} x {width} from ({top}, {left}) of {shape}")
    return _cut(layer, (None, None, top, left), (None, None, top + height, left + width))


def _split(layer: MxnetLayer) -> list[ov.Output]:
    axis = layer.axis(layer.integer("axis", 1))
    count = layer.integer("num_outputs", least=1)
    return _parts(layer, ops.split(layer.data(), constant(axis, np.int64), count), axis)


def _split_by(layer: MxnetLayer) -> list[ov.Output]:
    axis = layer.axis(layer.integer("axis", 0))
    along = constant(axis, np.int64)
    if sections := layer.integer("sections", 0, least=0):
        return _parts(layer, ops.split(layer.data(), along, sections), axis)
    cuts = layer.integers("indices", (0,), least=0)
    sizes = np.diff([*cuts, layer.shape()[axis]])
    if cuts[0] != 0 or min(sizes) < 1:
        raise layer.damaged(f"is split at {cuts}")
    return _parts(layer, ops.variadic_split(layer.data(), along, integers(*sizes)), axis)


def _parts(layer: MxnetLayer, node: ov.Node, axis: int) -> list[ov.Output]:
    node.set_friendly_name(layer.name)
    if not layer.flag("squeeze_axis", False):
        return list(node.outputs())
    return [ops.squeeze(part, integers(axis)).output(0) for part in node.outputs()]


def _tile(layer: MxnetLayer) -> Made:
    counts = layer.integers("reps", least=1)
    if math.prod(counts) > _MOST_ELEMENTS:
        raise layer.damaged(f"repeats its data {counts} times")
    return ops.tile(layer.data(), integers(*counts))


def _filled(value: float | None) -> Build:
    def build(layer: MxnetLayer) -> Made:
        shape = layer.integers("shape", least=1)
        if not shape or math.prod(shape) > _MOST_ELEMENTS:
            raise layer.damaged(f"makes an array of shape {shape}")
        fill = layer.number("value") if value is None else value
        return ops.broadcast(constant(fill), integers(*shape))

    return build


def _filled_like(value: float) -> Build:
    return lambda layer: ops.broadcast(constant(value), ops.shape_of(layer.data()))


def _broadcast_to(layer: MxnetLayer) -> Made:
    # 0 keeps a size; to be broadcast both ways keeps it where the other has 1.
    target = integers(*[size or 1 for size in layer.integers("shape", least=0)])
    return ops.broadcast(layer.data(), target, broadcast_spec="BIDIRECTIONAL")


def _broadcast_like(layer: MxnetLayer) -> Made:
    if "lhs_axes" in layer or "rhs_axes" in layer:
        raise layer.unsupported("names the axes to broadcast")
    return ops.broadcast(layer.data(), ops.shape_of(layer.data(1)))


def _broadcast_axes(layer: MxnetLayer) -> Made:
    axes, sizes = layer.integers("axis"), layer.integers("size", least=1)
    if len(axes) != len(sizes):
        raise layer.damaged(f"broadcasts axes {axes} to {sizes}")
    target = [1] * layer.rank()
    for axis, size in zip(axes, sizes, strict=True):
        target[layer.axis(axis)] = size
    return ops.broadcast(layer.data(), integers(*target), broadcast_spec="BIDIRECTIONAL")


def _reshape_like(layer: MxnetLayer) -> Made:
    if any(key in layer for key in ("lhs_begin", "lhs_end", "rhs_begin", "rhs_end")):
        raise layer.unsupported("names the axes to reshape")
    return ops.reshape(layer.data(), ops.shape_of(layer.data(1)), False)


def _reverse(layer: MxnetLayer) -> Made:
    axes = _axes(layer, "axis")
    bounds = ([far] * len(axes) for far in (-1, np.iinfo(np.int32).min, -1))
    return ops.slice(layer.data(), *(integers(*bound) for bound in bounds), integers(*axes))


_BUILD: Final[dict[str, Build]] = {
    "Convolution": _convolution,
    "Deconvolution": _deconvolution,
    "FullyConnected": _fully_connected,
    "BatchNorm": _batch_norm,
    "Pooling": _pooling,
    "LRN": _local_response_norm,
    "InstanceNorm": lambda layer: _norm_along(layer, range(2, layer.rank()), 1, 1e-3),
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
    "Activation": lambda layer: _ACTIVATIONS[layer.word("act_type", "", tuple(_ACTIVATIONS))](
        layer.data()
    ),
    "LeakyReLU": _leaky_relu,
    "SoftmaxOutput": _softmax_output,
    "SoftmaxActivation": _softmax_activation,
    "softmax": lambda layer: ops.softmax(*_tempered(layer)),
    "softmin": lambda layer: ops.softmax(*_tempered(layer, -1)),
    "log_softmax": lambda layer: ops.log_softmax(*_tempered(layer)),
    "norm": _norm,
    "add_n": lambda layer: functools.reduce(ops.add, layer.inputs[1:], layer.data()),
    "clip": lambda layer: ops.clamp(layer.data(), layer.number("a_min"), layer.number("a_max")),
    "dot": _product,
    "batch_dot": _matrix_product,
    "Cast": _cast,
    "hard_sigmoid": _hard_sigmoid,
    "where": _where,
    **dict.fromkeys(("identity", "BlockGrad", "Dropout", "MakeLoss"), MxnetLayer.data),
    **dict.fromkeys(("LinearRegressionOutput", "MAERegressionOutput"), MxnetLayer.data),
    "Concat": lambda layer: ops.concat(list(layer.inputs), layer.axis(layer.integer("dim", 1))),
    "stack": _stack,
    "Flatten": lambda layer: ops.reshape(layer.data(), integers(0, -1), True),
    "Reshape": _reshape,
    "reshape_like": _reshape_like,
    "transpose": lambda layer: _turned(
        layer.data(), _axes(layer, "axes") or range(layer.rank())[::-1]
    ),
    "SwapAxis": _swap_axes,
    "expand_dims": lambda layer: ops.unsqueeze(
        layer.data(), integers(layer.axis(layer.integer("axis"), layer.rank() + 1))
    ),
    "squeeze": _squeeze,
    "Pad": _pad,
    "slice": lambda layer: _cut(layer, *map(layer.optional, ("begin", "end", "step"))),
    "slice_axis": _slice_axis,
    "slice_like": _slice_like,
    "Crop": _crop,
    "SliceChannel": _split,
    "_split_v2": _split_by,
    "tile": _tile,
    "_zeros": _filled(0.0),
    "_ones": _filled(1.0),
    "_full": _filled(None),
    "zeros_like": _filled_like(0.0),
    "ones_like": _filled_like(1.0),
    "broadcast_to": _broadcast_to,
    "broadcast_like": _broadcast_like,
    "broadcast_axis": _broadcast_axes,
    "depth_to_space": lambda layer: ops.depth_to_space(
        layer.data(), "blocks_first", layer.integer("block_size", least=1)
    ),
    "space_to_depth": lambda layer: ops.space_to_depth(
        layer.data(), "blocks_first", layer.integer("block_size", least=1)
    ),
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
