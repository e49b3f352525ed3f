"""Batch sizes of graphs that were written for one image."""

import numpy as np
import openvino as ov
import openvino.opset13 as ops


def open_batch(model: ov.Model, batch: int = 1) -> None:
    """Leave the first axis of every input open, and reshapes that state it follow it.

    Exporters write `[1, 1024]` where they mean "flatten each image". Such a reshape is changed
    only where the rest of its shape holds exactly one image's values, so that its 1 can be nothing
    but the batch.

    Args:
        model: changed in place; its inputs have the batch first.
        batch: what the graph states it as.
    """
    _reshape(model, -1)
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Reshape":
            continue
        target = node.input_value(1).get_node()
        if target.get_type_name() != "Constant":
            continue
        wanted = np.asarray(target.data).astype(np.int64).ravel()
        if _states_batch(node, wanted, batch):
            kept = ops.constant(np.array([0, *wanted[1:]], np.int64))
            freed = ops.reshape(node.input_value(0), kept, special_zero=True)
            freed.set_friendly_name(node.get_friendly_name())
            ov.utils.replace_node(node, freed)
            # What follows is judged by the shapes that it now gets.
            model.validate_nodes_and_infer_types()


def _reshape(model: ov.Model, batch: int) -> None:
    shapes = {}
    for port in model.inputs:
        shape = port.get_partial_shape()
        if shape.rank.is_static and len(shape):
            shapes[port] = ov.PartialShape([ov.Dimension(batch), *list(shape)[1:]])
    if shapes:
        model.reshape(shapes)


def _states_batch(node: ov.Node, target: np.ndarray, batch: int) -> bool:
    """Return whether what leads a reshape's target is the batch and can be nothing else."""
    given = node.get_input_partial_shape(0)
    if len(target) == 0 or target[0] != batch or given.rank.is_dynamic or not len(given):
        return False
    inner = list(given)[1:]
    if given[0].is_static or any(axis.is_dynamic for axis in inner):
        return False
    image = int(np.prod([axis.get_length() for axis in inner], dtype=np.int64))
    rest = target[1:].copy()
    if node.get_attributes()["special_zero"]:
        zeros = np.flatnonzero(rest == 0)
        if any(place >= len(inner) for place in zeros):
            return False
        for place in zeros:
            rest[place] = inner[place].get_length()
    elif (rest == 0).any():
        return False
    known = int(np.prod(rest[rest > 0], dtype=np.int64))
    return image % known == 0 if (rest == -1).any() else image == known
