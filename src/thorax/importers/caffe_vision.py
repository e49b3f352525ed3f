"""Caffe's layers over images: convolution, pooling, normalisation, resizing."""

from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.importers import layers
from thorax.importers.caffe_layer import Build, Layer, channels, inner_shape
from thorax.importers.layers import Array, constant, integers, named
from thorax.importers.prototxt import Block

_PAD: Final = ("pad_h", "pad_w")
_KERNEL: Final = ("kernel_h", "kernel_w")
_STRIDE: Final = ("stride_h", "stride_w")


def _image(layer: Layer, data: ov.Output) -> None:
    shape = data.get_partial_shape()
    if len(shape) != 4:
        raise layer.refuse(f"takes {shape}; images [N,C,H,W] can be converted")


def _steps(layer: Layer, param: Block) -> list[int]:
    return [layer.positive(one, "stride") for one in layer.spatial(param, "stride", _STRIDE, 1)]


def _convolution(layer: Layer, data: list[ov.Output]) -> ov.Output:
    _image(layer, data[0])
    param = layer.param("convolution_param")
    outputs = layer.positive(param.integer("num_output", 0), "num_output")
    size = layer.spatial(param, "kernel_size", _KERNEL, 0)
    for side in size:
        layer.positive(side, "kernel")
    if layer.axis(param.integer("axis", 1), 4) != 1:
        raise layer.refuse("convolves along other axes than height and width")
    dilation = [
        layer.positive(one, "dilation") for one in layer.spatial(param, "dilation", ("", ""), 1)
    ]
    inputs = channels(layer, data[0])
    # The forks that brought MobileNet leave the group out: it is one a channel.
    whole = inputs if "DEPTHWISE" in layer.key else 1
    groups = layer.positive(param.integer("group", whole), "group")
    if inputs % groups or outputs % groups:
        raise layer.refuse(f"parts {inputs} channels to {outputs} into {groups} groups")
    turned = layer.key == "DECONVOLUTION"
    ends = (inputs, outputs // groups) if turned else (outputs, inputs // groups)
    biased = param.flag("bias_term", True)
    convolve = layers.deconvolution if turned else layers.convolution
    return convolve(
        data[0],
        layer.learned(0, [*ends, *size]),
        layer.learned(1, [outputs]) if biased else None,
        stride=_steps(layer, param),
        pad=layer.spatial(param, "pad", _PAD, 0),
        dilation=dilation,
        groups=groups,
        name=layer.name,
    )


def _inner_product(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param = layer.param("inner_product_param")
    outputs = layer.positive(param.integer("num_output", 0), "num_output")
    axis = layer.axis(param.integer("axis", 1), len(data[0].get_partial_shape()))
    inputs = int(np.prod(inner_shape(layer, data[0], axis), dtype=object))
    if param.flag("transpose", False):
        weight = np.ascontiguousarray(layer.learned(0, [inputs, outputs]).T)
    else:
        weight = layer.learned(0, [outputs, inputs])
    bias = layer.learned(1, [outputs]) if param.flag("bias_term", True) else None
    return layers.fully_connected(data[0], weight, bias, axis=axis, name=layer.name)


def _embed(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param = layer.param("embed_param")
    outputs = layer.positive(param.integer("num_output", 0), "num_output")
    words = layer.positive(param.integer("input_dim", 0), "input_dim")
    weight = layer.learned(0, [words, outputs])
    rows = ops.convert(data[0], np.int32)
    node = ops.gather(constant(weight), rows, integers(0))
    if not param.flag("bias_term", True):
        return named(node, layer.name)
    node.set_friendly_name(f"{layer.name}{layers.UNBIASED}")
    return named(ops.add(node, constant(layer.learned(1, [outputs]))), layer.name)


def _pooling(layer: Layer, data: list[ov.Output]) -> ov.Output:
    _image(layer, data[0])
    param = layer.param("pooling_param")
    kind = layer.choice(param, "pool", ("MAX", "AVE"))
    if param.flag("global_pooling", False):
        for unused in ("kernel_size", *_KERNEL, "pad", *_PAD, "stride", *_STRIDE, "round_mode"):
            param.texts(unused)
        return layers.global_pool(data[0], "max" if kind == "MAX" else "average", name=layer.name)
    mode = layer.choice(param, "round_mode", ("CEIL", "FLOOR"))
    # `ceil_mode` is how forks that came before `round_mode` say the same.
    up = param.flag("ceil_mode", mode == "CEIL")
    pool = layers.max_pool if kind == "MAX" else layers.average_pool
    return pool(
        data[0],
        kernel=layer.spatial(param, "kernel_size", _KERNEL, 0),
        stride=_steps(layer, param),
        pad=layer.spatial(param, "pad", _PAD, 0),
        rounding="ceil" if up else "floor",
        name=layer.name,
    )


def _response_norm(layer: Layer, data: list[ov.Output]) -> ov.Output:
    _image(layer, data[0])
    param = layer.param("lrn_param")
    within = layer.choice(param, "norm_region", ("ACROSS_CHANNELS", "WITHIN_CHANNEL")) != (
        "ACROSS_CHANNELS"
    )
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
        within_channel=within,
        name=layer.name,
    )


def _mean_variance(layer: Layer, data: list[ov.Output]) -> ov.Output:
    param = layer.param("mvn_param")
    rank = len(data[0].get_partial_shape())
    axes = integers(*range(1 if param.flag("across_channels", False) else 2, rank))
    varied, epsilon = param.flag("normalize_variance", True), param.number("eps", 1e-9)
    return named(ops.mvn(data[0], axes, varied, epsilon, "outside_sqrt"), layer.name)


def _normalize(layer: Layer, data: list[ov.Output]) -> ov.Output:
    """Return x / |x| * scale (SSD's normalize_layer.cpp)."""
    param = layer.param("norm_param")
    across = param.flag("across_spatial", True)
    shared = param.flag("channel_shared", True)
    scale = layer.learned(0, [1 if shared else channels(layer, data[0])])
    axes = integers(*range(1, len(data[0].get_partial_shape()) if across else 2))
    unit = ops.normalize_l2(data[0], axes, param.number("eps", 1e-10), "add")
    value = named(unit, f"{layer.name}/unit")
    return layers.scale_shift(value, scale, None, axis=0 if shared else 1, name=layer.name)


def _resized(data: ov.Output, size: list[int], mode: str, corners: str, name: str) -> ov.Output:
    return named(
        ops.interpolate(
            data,
            integers(*size),
            mode,
            "sizes",
            coordinate_transformation_mode=corners,
            nearest_mode="floor",
            axes=integers(2, 3),
        ),
        name,
    )


def _interpolation(layer: Layer, data: list[ov.Output]) -> ov.Output:
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
    return _resized(data[0], size, "linear_onnx", "align_corners", layer.name)


def _upsample(layer: Layer, data: list[ov.Output]) -> ov.Output:
    """Return each value `scale` times along both axes (the layer of YOLO's forks)."""
    _image(layer, data[0])
    scale = layer.positive(layer.param("upsample_param").integer("scale", 0), "scale")
    size = [side * scale for side in inner_shape(layer, data[0], 2)]
    return _resized(data[0], size, "nearest", "asymmetric", layer.name)


def _shuffle(layer: Layer, data: list[ov.Output]) -> ov.Output:
    """Return channels dealt out over groups (ShuffleNet's shuffle_channel_layer.cpp)."""
    groups = layer.positive(layer.param("shuffle_channel_param").integer("group", 1), "group")
    if channels(layer, data[0]) % groups:
        raise layer.refuse(f"parts {channels(layer, data[0])} channels into {groups} groups")
    return named(ops.shuffle_channels(data[0], 1, groups), layer.name)


def _parameter(layer: Layer, _: list[ov.Output]) -> ov.Output:
    shape = layer.param("parameter_param").block("shape").integers("dim")
    learned: Array = layer.learned(0, shape)
    return named(constant(learned).get_node(), layer.name)


BUILD: Final[dict[str, Build]] = {
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
}
"""By type in capitals."""

BOTTOMS: Final = {"INTERP": (1, 2), "PARAMETER": (0, 0)}
"""How many blobs a layer may take, where it is not one."""
