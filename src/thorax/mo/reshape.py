"""Shapes of a graph's inputs, and what of it holds its batch fast."""

from collections.abc import Sequence

import openvino as ov

from thorax.errors import ModelError, last_line
from thorax.ir.batch import open_batch


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
    try:
        if changed and before is not None:
            open_batch(model, before)
        model.reshape(dict(enumerate(shapes)))
    except RuntimeError as error:
        raise ModelError(
            "model-input",
            f"{name} does not take {', '.join(str(shape) for shape in shapes)}: {last_line(error)}",
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
