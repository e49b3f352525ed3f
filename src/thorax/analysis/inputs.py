"""Inputs for two models of one network: the same values, each in its own layout and type."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops

from thorax.analysis.layerwise import InputArrays, shape_text
from thorax.errors import ModelError, UsageError
from thorax.ir.layouts import TO_CHANNELS_FIRST, cancel_transposes, take_channels_first
from thorax.ir.open import OpenedModel


def aligned(first: OpenedModel, second: OpenedModel) -> tuple[OpenedModel, OpenedModel]:
    """Return two models with inputs of one order and layout; neither is changed.

    Where one takes an image with channels last and the other with channels first, that one is
    turned, its outputs of four axes too. Inputs are matched by name, else by their place.

    Raises:
        ModelError: `compare-shape` where that does not make them equal, `compare-labels`.
    """
    shapes = [_shapes(graph.model) for graph in (first, second)]
    if shapes[0] != shapes[1] and len(shapes[0]) == len(shapes[1]) == 1:
        if _turned(shapes[1][0]) == shapes[0][0]:
            second = _channels_first(second)
        elif _turned(shapes[0][0]) == shapes[1][0]:
            first = _channels_first(first)
    second = _in_order_of(first, second)
    if _shapes(first.model) != _shapes(second.model):
        raise ModelError(
            "compare-shape",
            f"{first.name} takes {shape_text(shapes[0])} and {second.name} "
            f"{shape_text(shapes[1])}; compare models of one network",
        )
    labels = [graph.card.labels if graph.card else None for graph in (first, second)]
    if None not in labels and labels[0] != labels[1]:
        raise ModelError(
            "compare-labels",
            f"{first.name} finds {', '.join(labels[0] or ())} and {second.name} "
            f"{', '.join(labels[1] or ())}; compare models of one network",
        )
    return first, second


def _shapes(model: ov.Model) -> list[list[int]]:
    return [list(port.get_shape()) for port in model.inputs]


def _turned(shape: Sequence[int]) -> list[int] | None:
    return [shape[axis] for axis in TO_CHANNELS_FIRST] if len(shape) == 4 else None


def _channels_first(graph: OpenedModel) -> OpenedModel:
    model = graph.model.clone()
    take_channels_first(model)
    for result in model.get_results():
        value = result.input_value(0)
        if len(value.get_partial_shape()) == 4:
            turned = ops.transpose(value, ops.constant(np.array(TO_CHANNELS_FIRST)))
            turned.output(0).set_names(value.get_names())
            if value.get_node().get_type_name() == "Transpose":
                # Where the two cancel, the layer before them takes the name of the last.
                before = value.get_node().input_value(0).get_node()
                turned.set_friendly_name(before.get_friendly_name())
            result.input(0).replace_source_output(turned.output(0))
    model.validate_nodes_and_infer_types()
    cancel_transposes(model)
    return replace(graph, model=model, layout="NCHW")


def _in_order_of(first: OpenedModel, second: OpenedModel) -> OpenedModel:
    order, names = (
        [min(port.get_names(), default="") for port in graph.model.inputs]
        for graph in (first, second)
    )
    if order == names or len(set(order)) < len(order) or sorted(order) != sorted(names):
        return second
    model = second.model.clone()
    inputs = model.get_parameters()
    ordered = [inputs[names.index(name)] for name in order]
    return replace(second, model=ov.Model(model.get_results(), ordered, model.get_friendly_name()))


def matching_inputs(
    first: OpenedModel, second: OpenedModel, images: npt.NDArray[np.uint8] | None, *, count: int
) -> list[InputArrays]:
    """Return what both of two models, of `aligned`, are fed.

    Inputs of bytes take images as `prepare` makes them, uint8 [N,1,S,S], inputs of floats on the
    scale 0 to 1, the grey value in each channel; where one model takes bytes and the other floats,
    both take the values of the bytes. Without images these are `count` fixed patterns of each
    input's shape and type.

    Raises:
        ModelError: `compare-input` for images that a model does not take.
        UsageError: `compare-images` for images of another side.
    """
    bytes_too = any(
        port.get_element_type() == ov.Type.u8
        for graph in (first, second)
        for port in graph.model.inputs
    )
    if images is not None or _takes_images(first):
        stack = prepared_images(first, images, count=count, as_bytes=bytes_too)
        return [(image[None],) for image in stack]
    stacks = [
        patterns(port, other.get_element_type(), count=count)
        for port, other in zip(first.model.inputs, second.model.inputs, strict=True)
    ]
    return list(zip(*stacks, strict=True))


def prepared_images(
    graph: OpenedModel, images: npt.NDArray[np.uint8] | None, *, count: int, as_bytes: bool = False
) -> npt.NDArray[Any]:
    """Return images as a graph takes them: [N,...] of its input's type.

    Images are uint8 [N,1,S,S], None the fixed probe images; `as_bytes` leaves an input of floats
    the values 0 to 255.

    Raises:
        ModelError: `compare-input` for a graph that takes no square image.
        UsageError: `compare-images` for images of another side.
    """
    side, channels_last = image_side(graph), graph.layout == "NHWC"
    images = probe_images(side, count=count) if images is None else images
    if images.shape[-1] != side:
        raise UsageError(
            "compare-images",
            f"the images are {images.shape[-1]} pixels wide, {graph.name} takes {side}; prepare "
            "them for this model",
        )
    port = graph.model.inputs[0]
    shape = list(port.get_shape())
    wide = np.repeat(images, shape[3 if channels_last else 1], axis=1)
    if channels_last:
        wide = wide.transpose(0, 2, 3, 1)
    if port.get_element_type().is_real() and not as_bytes:
        return np.asarray(wide, np.float32) / np.float32(255)
    return wide


def image_side(graph: OpenedModel) -> int:
    """Return the side of the image that a graph takes, pixels.

    Raises:
        ModelError: `compare-input`.
    """
    if not _takes_images(graph):
        raise ModelError(
            "compare-input",
            f"{graph.name} takes {shape_text(_shapes(graph.model))}; images can be fed to models "
            "of one square image [1,C,S,S] or [1,S,S,C], others are compared without --images and "
            "--data",
        )
    return int(graph.model.inputs[0].get_shape()[2])


def _takes_images(graph: OpenedModel) -> bool:
    shapes = _shapes(graph.model)
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][0] != 1:
        return False
    square = shapes[0][1:3] if graph.layout == "NHWC" else shapes[0][2:4]
    return square[0] == square[1]


def probe_images(side: int, *, count: int = 4) -> npt.NDArray[np.uint8]:
    """Return uint8 [N,1,S,S]: black, white, a ramp, then noise at several scales; fixed."""
    random = np.random.Generator(np.random.Philox(key=2018))
    images = np.zeros((count, 1, side, side), np.uint8)
    images[1] = 255
    images[2] = np.linspace(0, 255, side, dtype=np.uint8)
    for index in range(3, count):
        cells = min(4 ** (index - 1), side)
        coarse = random.integers(0, 256, (cells, cells), np.uint8)
        blocks = np.arange(side) * cells // side
        images[index] = coarse[np.ix_(blocks, blocks)]
    return images


def patterns(port: ov.Output, other: ov.Type, *, count: int) -> list[npt.NDArray[Any]]:
    """Return arrays of an input's shape: zeros, ones, a ramp, then noise at several scales.

    Ones stand for the most that an image has: 1 of floats, 255 of bytes, in this model or the other
    that it is compared with. Whole numbers wider than a byte may count or point to something and
    are 0 or 1, which is always there.
    """
    shape, element = list(port.get_shape()), port.get_element_type()
    random = np.random.Generator(np.random.Philox(key=2018))
    arrays = []
    for index in range(count):
        if index < 2:
            value = np.full(shape, float(index))
        elif index == 2:
            value = np.broadcast_to(np.linspace(0, 1, shape[-1] if shape else 1), shape).copy()
        else:
            value = _noise(random, shape, cells=4 ** (index - 1))
        if ov.Type.u8 in (element, other):
            value = np.rint(value * 255)
        elif not element.is_real():
            value = np.rint(value)
        arrays.append(value.astype(element.to_dtype()))
    return arrays


def _noise(random: np.random.Generator, shape: Sequence[int], *, cells: int) -> npt.NDArray[Any]:
    """Return float64 noise of 0 to 1, even over blocks of the last axes: `cells` along each."""
    coarse = [
        length if axis < len(shape) - 2 else min(cells, length) for axis, length in enumerate(shape)
    ]
    value = random.random(coarse)
    for axis, length in enumerate(shape):
        value = value.take(np.arange(length) * coarse[axis] // max(length, 1), axis=axis)
    return value
