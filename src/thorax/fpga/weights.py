"""Filters of three and of two values, made of trained ones without any training.

Both papers train with such filters. Here they are put in the place of trained ones: what is left
of a network then says what an overlay for them would do to networks as they are.
"""

from collections.abc import Collection
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.fpga.emulation import read_weights

Floats = npt.NDArray[np.float32]

_THRESHOLD: Final = 0.7
"""Of the mean magnitude of a filter (Li et al., arXiv 1605.04711, eq. 6)."""


def ternarize(weights: Floats, axes: tuple[int, ...]) -> Floats:
    """Return filters of -a, 0 and a (Li et al., arXiv 1605.04711, eq. 3 to 6).

    A weight counts if its magnitude exceeds 0.7 of the filter's mean magnitude; a is the mean
    magnitude of those that count. The weights are float32, any shape; `axes` together are one
    filter, which has its own a.
    """
    magnitude = np.abs(weights).astype(np.float64)
    counts = magnitude > _THRESHOLD * magnitude.mean(axis=axes, keepdims=True)
    number = np.maximum(counts.sum(axis=axes, keepdims=True), 1)
    scale = (magnitude * counts).sum(axis=axes, keepdims=True) / number
    ternary: Floats = (np.sign(weights) * counts * scale).astype(np.float32)
    return ternary


def binarize(weights: Floats, axes: tuple[int, ...]) -> Floats:
    """Return filters of -a and a, a the mean magnitude (Rastegari et al., arXiv 1603.05279, eq. 6).

    A weight of 0 counts as positive; arguments as of `ternarize`.
    """
    scale = np.abs(weights).astype(np.float64).mean(axis=axes, keepdims=True)
    binary: Floats = (np.where(weights < 0, -1.0, 1.0) * scale).astype(np.float32)
    return binary


_MAKERS: Final = {"ternary": ternarize, "binary": binarize}


def coarsen(model: ov.Model, layers: Collection[str], kind: str) -> dict[str, Floats]:
    """Return filters of three or two values for layers with constant weights, by layer.

    Layers are friendly names of convolutions and fully connected layers, `kind` is "ternary" or
    "binary".

    Raises:
        ModelError: `fpga-weights` when the weights of a layer are no fp32 or fp16 constant.
    """
    make = _MAKERS[kind]
    return {
        node.get_friendly_name(): make(read_weights(node), _filter_axes(node))
        for node in model.get_ordered_ops()
        if node.get_friendly_name() in layers
    }


def replace_weights(model: ov.Model, filters: dict[str, Floats]) -> None:
    """Put filters in the place of those that layers have, by friendly name."""
    for node in model.get_ordered_ops():
        values = filters.get(node.get_friendly_name())
        if values is not None:
            constant = ov.op.Constant(values)
            constant.set_friendly_name(f"{node.get_friendly_name()}/filters")
            node.input(1).replace_source_output(constant.output(0))
    model.validate_nodes_and_infer_types()


def _filter_axes(node: ov.Node) -> tuple[int, ...]:
    """Return the axes of a layer's weights that run within one filter."""
    rank, kind = len(node.get_input_shape(1)), node.get_type_name()
    if kind == "MatMul":
        return (rank - 1,) if node.get_attributes()["transpose_b"] else (rank - 2,)
    if kind == "GroupConvolution":
        return tuple(range(2, rank))
    if kind == "ConvolutionBackpropData":
        return (0, *range(2, rank))
    if kind == "GroupConvolutionBackpropData":
        return (1, *range(3, rank))
    return tuple(range(1, rank))
