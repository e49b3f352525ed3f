"""Shapes of a graph's inputs, and what of it holds its batch fast."""

from collections.abc import Sequence

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.errors import ModelError


def fix_shapes(model: ov.Model, shapes: Sequence[ov.PartialShape], name: str) -> None:
    """Give every input its shape and let the rest of the graph follow.

    A Reshape that names the batch of the file takes any batch afterwards.

    Args:
        model: changed in place.
        shapes: one an input.
        name: of the file, for people.

    Raises:
        ModelError: `model-input` where the network does not take a shape, or a layer holds the
            batch of the file fast.
    """
    own = [port.get_partial_shape() for port in model.inputs]
    if list(own) == list(shapes):
        return
    before, after = _batch(own), _batch(shapes)
    changed = before is not None and after is not None and before != after
    held = _answers(model, before) if changed and before is not None else {}
    if changed and before is not None:
        _free_batch(model, before)
    try:
        model.reshape(dict(enumerate(shapes)))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ModelError(
            "model-input",
            f"{name} does not take {', '.join(str(shape) for shape in shapes)}: {lines[-1]}",
        ) from error
    if not changed:
        return
    for port in model.outputs:
        shape = port.get_partial_shape()
        if shape.rank.is_static and len(shape) and shape[0] == before:
            now = _answers(model, before if before is not None else 0)
            layer = next((one for one in held if one in now), port.any_name)
            raise ModelError(
                "model-input",
                f"{name}: layer {layer!r} still answers {before} with a batch of {after}; it "
                f"holds the batch fast, so convert with a batch of {before}",
            )


def _batch(shapes: Sequence[ov.PartialShape]) -> int | None:
    """Return the first axis that all inputs share, None where they do not or it is open."""
    firsts = {
        shape[0].get_length() if shape[0].is_static else None
        for shape in shapes
        if shape.rank.is_static and len(shape) > 1
    }
    return firsts.pop() if len(firsts) == 1 else None


def _answers(model: ov.Model, batch: int | None) -> dict[str, None]:
    """Return the layers that answer this batch, in the order they run."""
    return {
        node.get_friendly_name(): None
        for node in model.get_ordered_ops()
        if node.get_type_name() not in ("Constant", "Parameter")
        for shape in [node.output(0).get_partial_shape()]
        if shape.rank.is_static and len(shape) > 1 and shape[0].is_static and shape[0] == batch
    }


def _free_batch(model: ov.Model, batch: int) -> None:
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Reshape":
            continue
        pattern, data = node.input_value(1).get_node(), node.input_value(0).get_partial_shape()
        if pattern.get_type_name() != "Constant" or data.rank.is_dynamic or not len(data):
            continue
        wanted = np.array(pattern.data).astype(np.int64).ravel()
        copies = bool(node.get_attributes()["special_zero"])
        if not len(wanted) or wanted[0] != batch or data[0] != batch:
            continue
        if not copies and (wanted == 0).any():
            continue
        wanted[0] = 0
        free = ops.reshape(node.input_value(0), ops.constant(wanted), special_zero=True)
        free.set_friendly_name(node.get_friendly_name())
        free.output(0).set_names(node.output(0).get_names())
        for user in node.output(0).get_target_inputs():
            user.replace_source_output(free.output(0))
