"""MXNet's layers with weights, windows and statistics, as OpenVINO operations."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.importers import layers
from thorax.importers.mxnet_layer import Build, Layer, named


def _plane(layer: Layer) -> tuple[int, ...]:
    kernel = layer.attributes.integers("kernel", least=1)
    if len(kernel) != 2:
        raise layer.attributes.unsupported(f"has a kernel {kernel}; of two axes can be read")
    return kernel


def _pair(layer: Layer, key: str, default: int, *, least: int) -> tuple[int, ...]:
    values = layer.attributes.integers(key, (default, default), least=least)
    if len(values) != 2:
        raise layer.damaged(f"has {key} {values} for two axes")
    return values


def _channels_last(layer: Layer) -> bool:
    return layer.attributes.word("layout", "NCHW", ("NCHW", "NHWC")) == "NHWC"


def _turned(value: ov.Output, order: tuple[int, ...]) -> ov.Output:
    return ops.transpose(value, layers.integers(*order)).output(0)


_FIRST, _LAST = (0, 3, 1, 2), (0, 2, 3, 1)

"""What brings channels first, and last."""


def _turned_back(value: ov.Output, layer: Layer) -> ov.Output:
    value.get_node().set_friendly_name(f"{layer.name}/NCHW")
    return named(ops.transpose(value, layers.integers(*_LAST)), layer)


def _convolution(layer: Layer) -> ov.Output:
    kernel, attributes = _plane(layer), layer.attributes
    groups = attributes.integer("num_group", 1, least=1)
    filters = attributes.integer("num_filter", least=1)
    last = _channels_last(layer)
    data = _turned(layer.data(), _FIRST) if last else layer.data()
    weight = layer.weight(1, (filters, *kernel, -1) if last else (filters, -1, *kernel))
    bias = None if attributes.flag("no_bias", False) else layer.weight(2, (filters,))
    if filters % groups:
        raise layer.damaged(f"parts {filters} filters in {groups} groups")
    made = layers.convolution(
        data,
        weight.transpose(_FIRST) if last else weight,
        bias,
        stride=_pair(layer, "stride", 1, least=1),
        pad=_pair(layer, "pad", 0, least=0),
        dilation=_pair(layer, "dilate", 1, least=1),
        groups=groups,
        name=layer.name,
    )
    return _turned_back(made, layer) if last else made


def _deconvolution(layer: Layer) -> ov.Output:
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
        over = [whole - wanted for whole, wanted in zip(full, target, strict=True)]
        if min(over) < 0:
            raise layer.damaged(f"has target_shape {target} but can reach only {full}")
        pad, extra = tuple((cut + 1) // 2 for cut in over), tuple(cut % 2 for cut in over)
    return layers.deconvolution(
        layer.data(),
        weight,
        None if attributes.flag("no_bias", True) else layer.weight(2, (filters,)),
        stride=stride,
        pad=pad,
        dilation=dilation,
        groups=groups,
        extra=extra,
        name=layer.name,
    )


def _fully_connected(layer: Layer) -> ov.Output:
    hidden = layer.attributes.integer("num_hidden", least=1)
    flatten = layer.attributes.flag("flatten", True)
    return layers.fully_connected(
        layer.data(),
        layer.weight(1, (hidden, -1)),
        None if layer.attributes.flag("no_bias", False) else layer.weight(2, (hidden,)),
        axis=1 if flatten else None,
        name=layer.name,
    )


def _batch_norm(layer: Layer) -> ov.Output:
    attributes = layer.attributes
    rank = layer.rank()
    axis = layer.axis(attributes.integer("axis", 1))
    order = list(range(rank))
    order.insert(1, order.pop(axis))
    data = layer.data() if axis == 1 else _turned(layer.data(), tuple(order))
    gamma = layer.weight(1, (-1,))
    # MXNet 1.x, batch_norm.cc: a gamma that is fixed is 1, whatever was saved.
    fixed = attributes.flag("fix_gamma", True)
    made = layers.batch_norm(
        data,
        gamma=np.ones_like(gamma) if fixed else gamma,
        beta=layer.weight(2, gamma.shape),
        mean=layer.weight(3, gamma.shape),
        variance=layer.weight(4, gamma.shape),
        epsilon=attributes.number("eps", 1e-3),
        name=layer.name,
    )
    if axis == 1:
        return made
    made.get_node().set_friendly_name(f"{layer.name}/channels_first")
    return named(ops.transpose(made, layers.integers(*np.argsort(order))), layer)


def _pooling(layer: Layer) -> ov.Output:
    attributes = layer.attributes
    kind = attributes.word("pool_type", "max", ("max", "avg", "sum", "lp"))
    full = attributes.word("pooling_convention", "valid", ("valid", "full")) == "full"
    if layer.rank() != 4:
        shape = layer.data().get_partial_shape()
        raise attributes.unsupported(f"pools {shape}; of four axes can be")
    last = _channels_last(layer)
    data = _turned(layer.data(), _FIRST) if last else layer.data()
    if attributes.flag("global_pool", False):
        made = _global_pool(layer, data, kind)
    else:
        windows = _Windows(
            _plane(layer),
            _pair(layer, "stride", 1, least=1),
            _pair(layer, "pad", 0, least=0),
            "ceil" if full else "floor",
        )
        made = _pool(layer, data, kind, windows)
    return _turned_back(made, layer) if last else made


@dataclass(frozen=True, slots=True)
class _Windows:
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    rounding: layers.Rounding


def _global_pool(layer: Layer, data: ov.Output, kind: str) -> ov.Output:
    if kind == "lp":
        raise layer.attributes.unsupported("takes a norm of the whole plane")
    if kind == "sum":
        return named(ops.reduce_sum(data, layers.integers(2, 3), True), layer)
    return layers.global_pool(data, "max" if kind == "max" else "average", name=layer.name)


def _pool(layer: Layer, data: ov.Output, kind: str, windows: _Windows) -> ov.Output:
    # MXNet 1.x, pool.h: no window is left out, and padding counts to the divisor.
    pool: Callable[..., ov.Output] = layers.max_pool
    if kind == "avg":
        count = layer.attributes.flag("count_include_pad", True)
        pool = functools.partial(layers.average_pool, count_padding=count)
    if kind in ("avg", "max"):
        return pool(
            data,
            kernel=windows.kernel,
            stride=windows.stride,
            pad=windows.pad,
            rounding=windows.rounding,
            drop_outside=False,
            name=layer.name,
        )
    if kind == "sum":
        return named(_window_sum(layer, data, windows), layer)
    power = layer.attributes.integer("p_value", least=1)
    powers = ops.power(ops.abs(data), layers.constant(power)).output(0)
    total = _window_sum(layer, powers, windows)
    return named(ops.power(total, layers.constant(1 / power)), layer)


def _window_sum(layer: Layer, data: ov.Output, windows: _Windows) -> ov.Node:
    shape = data.get_partial_shape()
    if shape.is_dynamic:
        raise layer.unshaped(shape)
    ends = []
    for axis, (size, step, pad) in enumerate(
        zip(windows.kernel, windows.stride, windows.pad, strict=True), 2
    ):
        side = shape[axis].get_length()
        count = layers.pooled(side, size, step, pad, windows.rounding, drop_outside=False)
        ends.append(max(0, (count - 1) * step - pad + size - side))
    padded = ops.pad(
        data,
        layers.integers(0, 0, *windows.pad),
        layers.integers(0, 0, *ends),
        "constant",
        layers.constant(0),
    )
    none = [0, 0]
    mean = ops.avg_pool(padded, windows.stride, none, none, windows.kernel, False, "floor")
    return ops.multiply(mean, layers.constant(float(np.prod(windows.kernel))))


def _local_response_norm(layer: Layer) -> ov.Output:
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
    layer: Layer, value: ov.Output, axes: tuple[int, ...], default: float
) -> ov.Output:
    epsilon = layer.attributes.number("eps", default)
    node = ops.mvn(value, layers.integers(*axes), True, epsilon, "inside_sqrt")
    return layers.named(node, f"{layer.name}/standardise")


def _instance_norm(layer: Layer) -> ov.Output:
    gamma = layer.weight(1, (-1,))
    value = _standardised(layer, layer.data(), tuple(range(2, layer.rank())), 1e-3)
    return layers.scale_shift(value, gamma, layer.weight(2, gamma.shape), axis=1, name=layer.name)


def _layer_norm(layer: Layer) -> ov.Output:
    axis = layer.axis(layer.attributes.integer("axis", -1))
    gamma = layer.weight(1, (-1,))
    value = _standardised(layer, layer.data(), (axis,), 1e-5)
    return layers.scale_shift(
        value, gamma, layer.weight(2, gamma.shape), axis=axis, name=layer.name
    )


def _group_norm(layer: Layer) -> ov.Output:
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


def _l2_normalization(layer: Layer) -> ov.Output:
    mode = layer.attributes.word("mode", "instance", ("instance", "channel", "spatial"))
    rank = layer.rank()
    axes = {"instance": range(1, rank), "channel": (1,), "spatial": range(2, rank)}[mode]
    epsilon = layer.attributes.number("eps", 1e-10)
    # OpenVINO clamps or adds the epsilon; a float32 sum loses 1e-10 beside anything, as MXNet's.
    return named(ops.normalize_l2(layer.data(), layers.integers(*axes), epsilon, "add"), layer)


def _up_sampling(layer: Layer) -> ov.Output:
    attributes = layer.attributes
    scale = attributes.integer("scale", least=1)
    kind = attributes.word("sample_type", "", ("nearest", "bilinear"))
    if kind == "bilinear":
        # MXNet 1.x, upsampling-inl.h: a deconvolution whose kernels are a parameter.
        size, pad = 2 * scale - scale % 2, (scale - 1 + 1) // 2
        weight = layer.weight(1, (-1, 1, size, size))
        return layers.deconvolution(
            layer.data(),
            weight,
            None,
            stride=(scale, scale),
            pad=(pad, pad),
            dilation=(1, 1),
            groups=weight.shape[0],
            name=layer.name,
        )
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
    return named(node, layer)


def _adaptive_pool(layer: Layer) -> ov.Output:
    sides = layer.attributes.integers("output_size", (1,), least=1)
    sides = sides * 2 if len(sides) == 1 else sides
    if sides == (1, 1):
        return layers.global_pool(layer.data(), "average", name=layer.name)
    return named(ops.adaptive_avg_pool(layer.data(), layers.integers(*sides)), layer)


def _resize(layer: Layer) -> ov.Output:
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
    return named(node, layer)


LAYERS: Final[dict[str, Build]] = {
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
}
