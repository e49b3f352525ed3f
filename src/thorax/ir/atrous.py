"""The last stage of a network without its stride: features twice as fine, the same logits.

The algorithme a trous (Holschneider et al. 1989; Chen et al., DeepLab, 1412.7062, section 3.1): a
layer gives up its stride, and those after it skip every second cell of what they see. Every second
cell down and across is then what the network had before, bit for bit in exact arithmetic, borders
included; those between are what it would have seen of the image shifted by half a stride.
"""

from typing import Final

import openvino as ov
import openvino.opset13 as ops

from thorax.errors import ModelError
from thorax.ir.head import POINTWISE, ancestors, constant, lengths

STEP: Final = 2
"""Stride that the last stage gives up."""

_KERNELS: Final = ("Convolution", "GroupConvolution")


def without_last_stride(features: ov.Output) -> ov.Output:
    """Take the stride out of the last stage of a graph, in place, and return its features.

    Features are [N,C,h,w]; of what is returned, every second cell is those.

    Raises:
        ModelError: `heatmap-fine` for a stage in which something else than convolutions, poolings
            that have the stride, and layers that see one cell at a time takes part.
    """
    size = lengths(features)[2:]
    stage = [
        node
        for node in reversed(ancestors(features.get_node()))
        if lengths(node.output(0))[2:] == size
    ]
    names = {node.get_friendly_name() for node in stage}
    changes = {node.get_friendly_name(): _changed(node, names) for node in stage}
    if not any(change == "stride" for change in changes.values()):
        raise _refusal("none of its layers has a stride of 2")
    last = features
    for node in stage:
        if changes[node.get_friendly_name()] != "none":
            made = _rebuilt(node, dilated=changes[node.get_friendly_name()] == "dilation")
            for user in node.output(0).get_target_inputs():
                user.replace_source_output(made.output(0))
            if node.get_friendly_name() == features.get_node().get_friendly_name():
                last = made.output(0)
    return last


def every_second(features: ov.Output) -> ov.Output:
    """Return every second cell down and across of features [N,C,h,w]."""
    zeros, all_of = [0, 0, 0, 0], [1, 1, 1, 1]
    sliced = ops.strided_slice(features, zeros, zeros, [1, 1, STEP, STEP], all_of, all_of)
    sliced.set_friendly_name("head/coarse")
    return sliced.output(0)


def _changed(node: ov.Node, stage: set[str]) -> str:
    """Return what a layer of the last stage loses or gets: "stride", "dilation" or "none"."""
    kind, name = node.get_type_name(), node.get_friendly_name()
    inputs = [value for value in node.input_values() if constant(value) is None]
    inside = all(value.get_node().get_friendly_name() in stage for value in inputs)
    if kind in POINTWISE and inside:
        fixed = (lengths(value)[2:] for value in node.input_values() if constant(value) is not None)
        if all(set(extent) <= {1} for extent in fixed):
            return "none"
        raise _refusal(f"{name} has a constant for each cell")
    attributes = node.get_attributes()
    if kind in (*_KERNELS, "AvgPool", "MaxPool"):
        strides = list(attributes["strides"])
        if not inside and strides == [STEP, STEP]:
            return "stride"
        if inside and strides == [1, 1] and kind in _KERNELS:
            extent = lengths(node.input_value(1))[-2:]
            return "none" if extent == [1, 1] else "dilation"
    raise _refusal(f"{name} is a {kind} that would see other cells")


def _rebuilt(node: ov.Node, *, dilated: bool) -> ov.Node:
    """Return a layer with a stride of 1, and with holes in its kernel where it is dilated."""
    kind, attributes = node.get_type_name(), node.get_attributes()
    value, factor = node.input_value(0), STEP if dilated else 1
    pads = [[factor * int(pad) for pad in attributes[key]] for key in ("pads_begin", "pads_end")]
    if kind in _KERNELS:
        dilations = [factor * int(step) for step in attributes["dilations"]]
        make = ops.convolution if kind == "Convolution" else ops.group_convolution
        made = make(value, node.input_value(1), [1, 1], *pads, dilations)
    elif kind == "AvgPool":
        made = ops.avg_pool(
            value, [1, 1], *pads, attributes["kernel"], attributes["exclude-pad"], "floor"
        )
    else:
        made = ops.max_pool(value, [1, 1], [1, 1], *pads, attributes["kernel"], "floor")
    made.set_friendly_name(node.get_friendly_name())
    return made


def _refusal(why: str) -> ModelError:
    return ModelError(
        "heatmap-fine",
        f"the last stage of this network cannot go without its stride: {why}; leave out "
        "--heatmap fine",
    )
