"""Models with channels last, run with channels first and no transposing between."""

from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops
from openvino.frontend import FrontEndManager

TO_CHANNELS_LAST: Final = (0, 2, 3, 1)
TO_CHANNELS_FIRST: Final = (0, 3, 1, 2)
"""Orders of a Transpose between [N,C,H,W] and [N,H,W,C]."""


def take_channels_first(model: ov.Model) -> None:
    """Let the one input [N,S,S,C] be fed as [N,C,S,S]."""
    old = model.inputs[0].get_node()
    shape = old.get_partial_shape()
    image = ops.parameter(
        ov.PartialShape([shape[axis] for axis in TO_CHANNELS_FIRST]), old.get_element_type()
    )
    image.set_friendly_name(old.get_friendly_name())
    image.output(0).set_names(old.output(0).get_names())
    turned = ops.transpose(image, ops.constant(np.array(TO_CHANNELS_LAST)))
    for user in old.output(0).get_target_inputs():
        user.replace_source_output(turned.output(0))
    model.add_parameters([image])
    model.remove_parameter(old)


def count_transposes(model: ov.Model) -> int:
    """Return how many layers only move axes about."""
    return sum(node.get_type_name() == "Transpose" for node in model.get_ordered_ops())


def cancel_transposes(model: ov.Model) -> None:
    """Let Transposes meet and cancel; a graph that would have no fewer of them stays as it is.

    Frameworks with channels last leave two around each convolution. OpenVINO carries them through
    elementwise layers, padding, pooling, concatenation and means, and does so of its own accord
    for TensorFlow and TFLite alone.
    """
    if not count_transposes(model):
        return
    _turn_channels_by_gather(model)
    # The pass has no door of its own in Python; this frontend runs it, and little else.
    frontend = FrontEndManager().load_by_framework("tflite")
    tried = model.clone()
    frontend.normalize(tried)
    if count_transposes(tried) < count_transposes(model):
        frontend.normalize(model)


def _turn_channels_by_gather(model: ov.Model) -> None:
    """Put `x[..., ::-1]` as a Gather, which Transposes pass and a convolution's kernel absorbs."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "StridedSlice":
            continue
        shape = node.get_input_partial_shape(0)
        axis = _turned_axis(node)
        if axis is None or shape.rank.is_dynamic or shape[axis].is_dynamic:
            continue
        backwards = np.arange(shape[axis].get_length())[::-1].copy()
        turned = ops.gather(
            node.input_value(0), ops.constant(backwards), ops.constant(np.int64(axis))
        )
        turned.set_friendly_name(node.get_friendly_name())
        ov.utils.replace_node(node, turned)


def _turned_axis(node: ov.Node) -> int | None:
    """Return the one axis that a StridedSlice reads from end to start, leaving all else whole."""
    bounds = [node.input_value(index).get_node() for index in (1, 2, 3)]
    if len(node.inputs()) < 4 or any(bound.get_type_name() != "Constant" for bound in bounds):
        return None
    begin, end, step = (np.asarray(bound.data).ravel() for bound in bounds)
    masks = node.get_attributes()
    if any(any(masks[key]) for key in ("new_axis_mask", "shrink_axis_mask", "ellipsis_mask")):
        return None
    shape = node.get_input_partial_shape(0)
    turned = [axis for axis, stride in enumerate(step) if stride == -1]
    if len(turned) != 1 or any(abs(stride) != 1 for stride in step) or shape.rank.is_dynamic:
        return None
    for axis in range(len(step)):
        # A set bit of a mask stands for "from the very start", "to the very end".
        open_begin = bool(masks["begin_mask"][axis : axis + 1] == [1])
        open_end = bool(masks["end_mask"][axis : axis + 1] == [1])
        first = -1 if axis in turned else 0
        to_end = open_end or (axis not in turned and end[axis] >= 2**31 - 1)
        if not to_end or not (open_begin or begin[axis] == first):
            return None
    return turned[0]
