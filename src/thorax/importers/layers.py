"""Layers whose arithmetic Caffe and MXNet share, as OpenVINO operations.

A layer that takes several operations gives its name to the last one; a convolution or matrix
product that a bias follows is called as OpenVINO's ONNX frontend calls it, `name/WithoutBiases`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset1 as first_ops
import openvino.opset13 as ops

from thorax.errors import ModelError

Array = npt.NDArray[np.float32]
Rounding = Literal["ceil", "floor"]

CONVOLUTIONS: Final = (
    "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData",
)  # fmt: skip

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


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the kernels of a convolution lie, in cells along each spatial axis.

    Stride s and dilation d are 1 or more. Padding p, 0 or more, is on both sides: zeros added, or
    cells that a transposed convolution cuts off; `extra` e are cells that one adds at the end, none
    if empty. The groups G divide the channels C and the outputs O.
    """

    stride: Sequence[int]
    pad: Sequence[int]
    dilation: Sequence[int]
    groups: int = 1
    extra: Sequence[int] = ()


def convolution(
    data: ov.Output, weight: Array, bias: Array | None, geometry: Geometry, *, name: str
) -> ov.Output:
    """Return a convolution: of a side H and k weights, floor((H + 2p - (k-1)d - 1) / s) + 1.

    Data are [N,C,...] of any number of spatial axes, the weight float32 [O,C/G,...], the bias
    float32 [O] or None; letters as of `Geometry`.
    """
    stride, pad, dilation = (
        list(values) for values in (geometry.stride, geometry.pad, geometry.dilation)
    )
    convolve = ops.convolution if geometry.groups == 1 else ops.group_convolution
    node = convolve(data, _grouped(weight, geometry.groups), stride, pad, pad, dilation)
    return _biased(node, bias, axis=1, rank=weight.ndim, name=name)


def deconvolution(
    data: ov.Output, weight: Array, bias: Array | None, geometry: Geometry, *, name: str
) -> ov.Output:
    """Return a transposed convolution: of a side H and k weights, (H-1)s + (k-1)d + 1 - 2p + e.

    Data are [N,C,...], the weight float32 [C,O/G,...], the bias float32 [O] or None; letters as of
    `Geometry`.
    """
    single = geometry.groups == 1
    deconvolve = ops.convolution_backprop_data if single else ops.group_convolution_backprop_data
    node = deconvolve(
        data,
        _grouped(weight, geometry.groups),
        strides=list(geometry.stride),
        pads_begin=list(geometry.pad),
        pads_end=list(geometry.pad),
        dilations=list(geometry.dilation),
        output_padding=list(geometry.extra or [0] * len(geometry.stride)),
    )
    return _biased(node, bias, axis=1, rank=weight.ndim, name=name)


def _grouped(weight: Array, groups: int) -> ov.Output:
    if groups == 1:
        return constant(weight)
    return constant(weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]))


def fully_connected(
    data: ov.Output, weight: Array, bias: Array | None, *, name: str, axis: int | None = 1
) -> ov.Output:
    """Return the product with float32 [O,I] over all axes from `axis` on taken as one.

    The axis is counted from 0; None multiplies along the last axis of [...,I] alone.
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
    data: ov.Output, *, size: int, alpha: float, beta: float, k: float, axes: ov.Output, name: str
) -> ov.Output:
    """Return x / (k + alpha / n * sum of x^2)^beta (Krizhevsky et al., NIPS 2012, section 3.3).

    The n squares are those of `size` neighbouring channels or, where axes are height and width, of
    size x size cells; what lies outside counts as zero. Alpha is that of the frameworks, divided
    by n.

    Raises:
        ModelError: `model-layer`.
    """
    if k == round(k):
        return named(ops.lrn(data, axes, alpha, beta, k, size), name)
    if k < 0:
        raise ModelError("model-layer", f"layer {name} adds {k} to its squares; 0 is the least")
    # OpenVINO's CPU cuts k to a whole number; k is a factor of what is raised to beta.
    node = ops.lrn(data, axes, alpha / k, beta, 1, size)
    node.set_friendly_name(f"{name}/norm")
    return named(ops.multiply(node, constant(k**-beta, data.get_element_type().to_dtype())), name)


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a pooling layer, in numbers per spatial axis; padding is on both sides.

    Rounded up, a last window may reach over the end; `drop_outside` leaves one out that begins
    beyond the input and its first padding (Caffe, pooling_layer.cpp: `pooled_height_`).
    """

    kernel: Sequence[int]
    stride: Sequence[int]
    pad: Sequence[int]
    rounding: Rounding
    drop_outside: bool = True


def max_pool(data: ov.Output, windows: Windows, *, name: str) -> ov.Output:
    """Return the maximum of each window.

    Raises:
        ModelError: `model-layer`.
    """
    ends, _ = _window_axes(data, windows, name)
    stride, pad, kernel = map(list, (windows.stride, windows.pad, windows.kernel))
    # Opset 1, because the later ones answer the positions as well.
    return named(first_ops.max_pool(data, stride, pad, ends, kernel, "floor"), name)


def average_pool(
    data: ov.Output, windows: Windows, *, name: str, count_padding: bool = True
) -> ov.Output:
    """Return the mean of each window, as Caffe and MXNet divide.

    Where padding counts, a window is divided by its cells that lie in the input and its padding,
    never by those that lie beyond both (Caffe, pooling_layer.cpp: `pool_size`). OpenVINO's
    `ceil_torch` divides by all of them.

    Raises:
        ModelError: `model-layer`.
    """
    ends, cells = _window_axes(data, windows, name)
    stride, pad, kernel = map(list, (windows.stride, windows.pad, windows.kernel))
    exclude = not count_padding or (not any(pad) and any(ends))
    node = ops.avg_pool(data, stride, pad, ends, kernel, exclude, "floor")
    return named(node if exclude else mean_of_cells(node, kernel, cells, name=name), name)


def mean_of_cells(
    node: ov.Node, kernel: Sequence[int], cells: Sequence[npt.NDArray[np.int64]], *, name: str
) -> ov.Node:
    """Return means of so many cells of each window, [o] an axis, from means of whole windows."""
    if all(np.all(count == size) for count, size in zip(cells, kernel, strict=True)):
        return node
    divisor = np.ones(())
    for count in cells:
        divisor = divisor[..., None] * count
    kind = node.get_output_element_type(0).to_dtype()
    node.set_friendly_name(f"{name}/pool")
    return ops.multiply(node, constant((np.prod(kernel) / divisor)[None, None], kind))


def global_pool(data: ov.Output, kind: Literal["max", "average"], *, name: str) -> ov.Output:
    """Return the maximum or mean over all spatial axes, which stay as 1."""
    axes = integers(*range(2, len(data.get_partial_shape())))
    reduce = ops.reduce_max if kind == "max" else ops.reduce_mean
    return named(reduce(data, axes, True), name)


def resized(data: ov.Output, size: Sequence[int], mode: str, corners: str) -> ov.Node:
    """Return an image with other sides."""
    return ops.interpolate(
        data,
        integers(*size),
        mode,
        "sizes",
        coordinate_transformation_mode=corners,
        nearest_mode="floor",
        axes=integers(2, 3),
    )


def window_count(side: int, windows: Windows, axis: int) -> int:
    """Return how many windows stand along a spatial axis, counted from 0."""
    stride, pad = windows.stride[axis], windows.pad[axis]
    room = side + 2 * pad - windows.kernel[axis]
    count = (-(-room // stride) if windows.rounding == "ceil" else room // stride) + 1
    if windows.drop_outside and any(windows.pad) and (count - 1) * stride >= side + pad:
        count -= 1
    return count


def _window_axes(
    data: ov.Output, windows: Windows, name: str
) -> tuple[list[int], list[npt.NDArray[np.int64]]]:
    """Return what padding the last window needs behind the input, and cells of each, int [o].

    Cells are those that lie in the input and its padding.
    """
    shape = data.get_partial_shape()
    ends, cells, total = [], [], 1
    geometry = zip(windows.kernel, windows.stride, windows.pad, strict=True)
    for axis, (size, step, border) in enumerate(geometry):
        if shape[axis + 2].is_dynamic:
            raise ModelError(
                "model-input", f"layer {name} pools {shape}; give the input a fixed shape"
            )
        side = shape[axis + 2].get_length()
        sensible = size > border >= 0 and step > 0
        count = window_count(side, windows, axis) if sensible else 0
        if count < 1 or (count - 1) * step >= side + border:
            raise ModelError(
                "model-layer",
                f"layer {name} pools windows of {size} by steps of {step} with padding {border} "
                f"over {side} cells: a window would lie wholly outside",
            )
        total *= count
        if total > _MOST_WINDOWS:
            raise ModelError(
                "model-layer",
                f"layer {name} pools {total} windows of {shape}; {_MOST_WINDOWS} is the most",
            )
        begin = np.arange(count) * step - border
        cells.append(np.minimum(begin + size, side + border) - begin)
        ends.append(max(0, int(begin[-1]) + size - side))
    return ends, cells


def _biased(node: ov.Node, bias: Array | None, *, axis: int, rank: int, name: str) -> ov.Output:
    if bias is None:
        return named(node, name)
    node.set_friendly_name(f"{name}{UNBIASED}")
    shape = [1] * rank
    shape[axis] = -1
    return named(ops.add(node, constant(bias.reshape(shape))), name)
