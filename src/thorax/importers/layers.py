"""Layers whose arithmetic Caffe and MXNet share, as OpenVINO operations.

A layer that takes several operations gives its name to the last one; a convolution or matrix
product that a bias follows is called as OpenVINO's ONNX frontend calls it, `name/WithoutBiases`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset1 as first_ops
import openvino.opset13 as ops

from thorax.errors import ModelError

Array = npt.NDArray[np.float32]
Rounding = Literal["ceil", "floor"]

_MOST_WINDOWS: Final = 1 << 24
"""Windows of a channel that are still pooled: 4096 x 4096."""

UNBIASED: Final = "/WithoutBiases"
"""What is added to the name of a layer for the part of it that stands before its bias."""


def constant(values: npt.ArrayLike, dtype: type[np.generic] = np.float32) -> ov.Output:
    """Return a constant node's value."""
    return ops.constant(np.asarray(values, dtype, order="C")).output(0)


def integers(*values: int) -> ov.Output:
    """Return int64 [n]: axes, shapes, permutations."""
    return constant(values, np.int64)


def named(node: ov.Node, name: str) -> ov.Output:
    """Call a node so and return its value."""
    node.set_friendly_name(name)
    return node.output(0)


def convolution(
    data: ov.Output,
    weight: Array,
    bias: Array | None,
    *,
    stride: Sequence[int],
    pad: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    name: str,
) -> ov.Output:
    """Return a convolution over any number of spatial axes.

    Args:
        data: [N,C,...].
        weight: float32 [O,C/G,...].
        bias: float32 [O] or None.
        stride: per spatial axis.
        pad: per spatial axis, zeros on both sides.
        dilation: per spatial axis.
        groups: G.
        name: of the layer.
    """
    geometry = (list(stride), list(pad), list(pad), list(dilation))
    if groups == 1:
        node = ops.convolution(data, constant(weight), *geometry)
    else:
        parted = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        node = ops.group_convolution(data, constant(parted), *geometry)
    return _biased(node, bias, axis=1, rank=weight.ndim, name=name)


def deconvolution(
    data: ov.Output,
    weight: Array,
    bias: Array | None,
    *,
    stride: Sequence[int],
    pad: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    name: str,
    extra: Sequence[int] | None = None,
) -> ov.Output:
    """Return a transposed convolution: side (H-1)s + (k-1)d + 1 - 2p, plus `extra`.

    Args:
        data: [N,C,...].
        weight: float32 [C,O/G,...].
        bias: float32 [O] or None.
        stride: per spatial axis.
        pad: per spatial axis, cut off on both sides.
        dilation: per spatial axis.
        groups: G.
        name: of the layer.
        extra: per spatial axis, cells added at the end.
    """
    geometry: dict[str, Any] = {
        "strides": list(stride),
        "pads_begin": list(pad),
        "pads_end": list(pad),
        "dilations": list(dilation),
        "output_padding": list(extra or [0] * len(stride)),
    }
    if groups == 1:
        node = ops.convolution_backprop_data(data, constant(weight), **geometry)
    else:
        parted = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        node = ops.group_convolution_backprop_data(data, constant(parted), **geometry)
    return _biased(node, bias, axis=1, rank=weight.ndim, name=name)


def fully_connected(
    data: ov.Output, weight: Array, bias: Array | None, *, name: str, axis: int | None = 1
) -> ov.Output:
    """Return the product with [O,I] over all axes from `axis` on taken as one.

    Args:
        data: [...,I] where `axis` is None, else what flattens to it.
        weight: float32 [O,I].
        bias: float32 [O] or None.
        name: of the layer.
        axis: of data, counted from 0; None multiplies along the last axis alone.
    """
    rank = len(data.get_partial_shape())
    if axis is not None:
        # A row that is flat already stays untouched, or a head could not be found.
        if axis != rank - 1:
            data = ops.reshape(data, integers(*[0] * axis, -1), True).output(0)
        rank = axis + 1
    node = ops.matmul(data, constant(weight), False, True)
    return _biased(node, bias, axis=rank - 1, rank=rank, name=name)


def batch_norm(
    data: ov.Output,
    *,
    gamma: Array,
    beta: Array,
    mean: Array,
    variance: Array,
    epsilon: float,
    name: str,
) -> ov.Output:
    """Return (x - mean) / sqrt(variance + epsilon) * gamma + beta along axis 1; each [C]."""
    parts = (constant(part) for part in (gamma, beta, mean, variance))
    return named(ops.batch_norm_inference(data, *parts, epsilon), name)


def scale_shift(
    data: ov.Output, scale: Array | None, shift: Array | None, *, axis: int, name: str
) -> ov.Output:
    """Return x * scale + shift, both spread over the axes before `axis` and after theirs."""
    rank = len(data.get_partial_shape())

    def spread(values: Array) -> ov.Output:
        return constant(values.reshape(*values.shape, *[1] * (rank - axis - values.ndim)))

    if scale is not None:
        node = ops.multiply(data, spread(scale))
        if shift is None:
            return named(node, name)
        data = named(node, f"{name}/scale")
    assert shift is not None
    return named(ops.add(data, spread(shift)), name)


def local_response_norm(
    data: ov.Output,
    *,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    within_channel: bool,
    name: str,
) -> ov.Output:
    """Return x / (k + alpha / n * sum of x^2)^beta (Krizhevsky et al., NIPS 2012, section 3.3).

    The n squares are those of `size` neighbouring channels or, within a channel, of size x size
    cells; what lies outside counts as zero. Alpha is that of the frameworks, divided by n.

    Raises:
        ModelError: `model-layer`.
    """
    axes = integers(2, 3) if within_channel else integers(1)
    if k == round(k):
        return named(ops.lrn(data, axes, alpha, beta, k, size), name)
    if k < 0:
        raise ModelError("model-layer", f"layer {name} adds {k} to its squares; 0 is the least")
    # OpenVINO's CPU cuts k to a whole number; k is a factor of what is raised to beta.
    node = ops.lrn(data, axes, alpha / k, beta, 1, size)
    node.set_friendly_name(f"{name}/norm")
    return named(ops.multiply(node, constant(k**-beta)), name)


def max_pool(
    data: ov.Output,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    rounding: Rounding,
    name: str,
    drop_outside: bool = True,
) -> ov.Output:
    """Return the maximum of each window; see `pooled` for how many there are.

    Raises:
        ModelError: `model-layer`.
    """
    places = _places(data, kernel, stride, pad, rounding, drop_outside=drop_outside, name=name)
    ends = [place.end for place in places]
    # Opset 1, because the later ones answer the positions as well.
    node = first_ops.max_pool(data, list(stride), list(pad), ends, list(kernel), "floor")
    return named(node, name)


def average_pool(
    data: ov.Output,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    rounding: Rounding,
    name: str,
    count_padding: bool = True,
    drop_outside: bool = True,
) -> ov.Output:
    """Return the mean of each window, as Caffe and MXNet divide; see `pooled` for how many.

    Where padding counts, a window is divided by its cells that lie in the input and its padding,
    never by those that lie beyond both (Caffe, pooling_layer.cpp: `pool_size`). OpenVINO's
    `ceil_torch` divides by all of them.

    Raises:
        ModelError: `model-layer`.
    """
    places = _places(data, kernel, stride, pad, rounding, drop_outside=drop_outside, name=name)
    ends = [place.end for place in places]
    whole = all(np.all(place.cells == size) for place, size in zip(places, kernel, strict=True))
    exclude = not count_padding or (not any(pad) and any(ends))
    node = ops.avg_pool(data, list(stride), list(pad), ends, list(kernel), exclude, "floor")
    if exclude or whole:
        return named(node, name)
    divisor = places[0].cells.astype(np.float64)
    for place in places[1:]:
        divisor = divisor[..., None] * place.cells
    correction = constant((np.prod(kernel) / divisor)[None, None])
    node.set_friendly_name(f"{name}/pool")
    return named(ops.multiply(node, correction), name)


def global_pool(data: ov.Output, kind: Literal["max", "average"], *, name: str) -> ov.Output:
    """Return the maximum or mean over all spatial axes, which stay as 1."""
    axes = integers(*range(2, len(data.get_partial_shape())))
    reduce = ops.reduce_max if kind == "max" else ops.reduce_mean
    return named(reduce(data, axes, True), name)


def pooled(
    side: int, kernel: int, stride: int, pad: int, rounding: Rounding, *, drop_outside: bool
) -> int:
    """Return how many windows stand along an axis.

    Rounded up, a last window may reach over the end; with `drop_outside` one that begins beyond
    the input and its first padding is left out (Caffe, pooling_layer.cpp: `pooled_height_`).
    """
    room = side + 2 * pad - kernel
    count = (-(-room // stride) if rounding == "ceil" else room // stride) + 1
    if drop_outside and (count - 1) * stride >= side + pad:
        count -= 1
    return count


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the windows of one axis end.

    Attributes:
        end: padding that the last window needs behind the input, cells.
        cells: int [o], of each window that lie in the input and its padding.
    """

    end: int
    cells: npt.NDArray[np.int64]


def _places(
    data: ov.Output,
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    rounding: Rounding,
    *,
    drop_outside: bool,
    name: str,
) -> list[_Place]:
    shape = data.get_partial_shape()
    places: list[_Place] = []
    windows = 1
    for axis, (size, step, border) in enumerate(zip(kernel, stride, pad, strict=True), 2):
        if shape[axis].is_dynamic:
            raise ModelError(
                "model-input", f"layer {name} pools {shape}; give the input a fixed shape"
            )
        side = shape[axis].get_length()
        clip = drop_outside and any(pad)
        sensible = size > border >= 0 and step > 0
        count = pooled(side, size, step, border, rounding, drop_outside=clip) if sensible else 0
        if count < 1 or (count - 1) * step >= side + border:
            raise ModelError(
                "model-layer",
                f"layer {name} pools windows of {size} by steps of {step} with padding {border} "
                f"over {side} cells: a window would lie wholly outside",
            )
        windows *= count
        if windows > _MOST_WINDOWS:
            raise ModelError(
                "model-layer",
                f"layer {name} pools {windows} windows of {shape}; {_MOST_WINDOWS} is the most",
            )
        begin = np.arange(count) * step - border
        cells = np.minimum(begin + size, side + border) - begin
        places.append(_Place(max(0, int(begin[-1]) + size - side), cells))
    return places


def _biased(node: ov.Node, bias: Array | None, *, axis: int, rank: int, name: str) -> ov.Output:
    if bias is None:
        return named(node, name)
    node.set_friendly_name(f"{name}{UNBIASED}")
    shape = [1] * rank
    shape[axis] = -1
    return named(ops.add(node, constant(bias.reshape(shape))), name)
