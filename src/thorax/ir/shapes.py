"""Shapes of inputs: fixed as asked for, with the batch that a graph states following them."""

from collections.abc import Sequence

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.errors import ModelError, UsageError, last_line
from thorax.importers.options import ImportOptions, Layout


def open_batch(model: ov.Model, batch: int = 1) -> None:
    """Leave the first axis of every input open, in place, and reshapes that state it follow it.

    Exporters write `[1, 1024]` where they mean "flatten each image". Such a reshape is changed
    only where the rest of its shape holds exactly one image's values, so that its 1, the batch that
    the graph states, can be nothing else.
    """
    shapes = {
        port: ov.PartialShape([ov.Dimension(-1), *list(shape)[1:]])
        for port in model.inputs
        for shape in [port.get_partial_shape()]
        if shape.rank.is_static and len(shape)
    }
    if shapes:
        model.reshape(shapes)
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Reshape":
            continue
        target = node.input_value(1).get_node()
        if target.get_type_name() != "Constant":
            continue
        pattern = np.asarray(target.data).astype(np.int64).ravel()
        if _states_batch(node, pattern, batch):
            open_pattern = ops.constant(np.array([0, *pattern[1:]], np.int64))
            freed = ops.reshape(node.input_value(0), open_pattern, special_zero=True)
            freed.set_friendly_name(node.get_friendly_name())
            ov.utils.replace_node(node, freed)
            # What follows is judged by the shapes that it now gets.
            model.validate_nodes_and_infer_types()


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
    for axis in np.flatnonzero(rest == 0):
        if axis >= len(inner) or not node.get_attributes()["special_zero"]:
            return False
        rest[axis] = inner[axis].get_length()
    stated = int(np.prod(rest[rest > 0], dtype=np.int64))
    return image % stated == 0 if (rest == -1).any() else image == stated


def fix_shapes(model: ov.Model, shapes: Sequence[ov.PartialShape], name: str) -> None:
    """Give every input its shape, in place, and let the rest of the graph follow.

    A Reshape that names the batch of the file takes any batch afterwards.

    Raises:
        ModelError: `model-input` where the network does not take a shape, or a layer holds the
            batch of the file fast.
    """
    own = [port.get_partial_shape() for port in model.inputs]
    if list(own) == list(shapes):
        return
    before, after = _batch(own), _batch(shapes)
    if before is None or after is None or before == after:
        _reshape(model, shapes, name)
        return
    layers = _answering(model, before)
    _reshape(model, shapes, name, batch=before)
    for port in model.outputs:
        shape = port.get_partial_shape()
        if shape.rank.is_static and len(shape) and shape[0] == before:
            still = _answering(model, before)
            layer = next((layer for layer in layers if layer in still), port.any_name)
            raise ModelError(
                "model-input",
                f"{name}: layer {layer!r} still answers {before} with a batch of {after}; it "
                f"holds the batch fast, so convert with a batch of {before}",
            )


def close_shapes(model: ov.Model, options: ImportOptions, layout: Layout, name: str) -> None:
    """Give every input one shape, in place: the one asked for, or one image and a square.

    The options hold shapes by name of the input, "" every other one's, and the side of a square.

    Raises:
        UsageError: `model-undescribed` where an axis stays open.
        ModelError: `model-input` where the network does not take a shape.
    """
    closed = []
    for port in model.inputs:
        name_of_input = port.any_name if port.get_names() else ""
        given = options.shapes.get(name_of_input, options.shapes.get(""))
        own = port.get_partial_shape()
        shape = (
            _one_image(own, options.side, layout) if given is None else ov.PartialShape(list(given))
        )
        if shape.is_dynamic:
            raise UsageError(
                "model-undescribed",
                f"{name} takes {own}; say a square side with --side, or every axis with "
                "--input_shape, e.g. 1,3,224,224",
            )
        closed.append(shape)
    if closed != [port.get_partial_shape() for port in model.inputs]:
        _reshape(model, closed, name)


def fix_square(model: ov.Model, *, channels: int, side: int | None, name: str) -> None:
    """Give the one input [N,C,S,S] its one shape [1,C,S,S], in place.

    Reshapes that state the batch of a file that fixes another follow it.

    Raises:
        ModelError: `model-input` for other channels, or a shape that the network does not take.
        UsageError: `model-undescribed` for an open side, `model-side` for another.
    """
    shape = model.inputs[0].get_partial_shape()
    if shape[1].is_static and shape[1].get_length() != channels:
        raise ModelError(
            "model-input",
            f"{name} takes {shape[1].get_length()} channels but --mean has {channels}; where "
            "channels come last, say --layout NHWC",
        )
    height, width = (axis.get_length() if axis.is_static else side for axis in list(shape)[2:])
    if height is None or width is None:
        raise UsageError(
            "model-undescribed", f"{name} takes {shape}; say a square side with --side"
        )
    if height != width:
        raise UsageError(
            "model-undescribed",
            f"{name} takes images of {height} x {width} pixels (rows x columns), and images are "
            "prepared as squares; export it for a square side, or with a Resize in front",
        )
    if side is not None and side != height:
        raise UsageError(
            "model-side", f"{name} takes images of {height} pixels; --side says {side}"
        )
    batch = shape[0].get_length() if shape[0].is_static else 1
    before = batch if batch > 1 else None
    _reshape(model, [ov.PartialShape([1, channels, height, height])], name, batch=before)


def _reshape(
    model: ov.Model, shapes: Sequence[ov.PartialShape], name: str, *, batch: int | None = None
) -> None:
    """Reshape the inputs; with the batch that the graph states, reshapes inside follow it."""
    try:
        if batch is not None:
            open_batch(model, batch)
        model.reshape(dict(enumerate(shapes)))
    except RuntimeError as error:
        raise ModelError(
            "model-input", f"{name} does not take {', '.join(map(str, shapes))}: {last_line(error)}"
        ) from error


def _one_image(shape: ov.PartialShape, side: int | None, layout: Layout) -> ov.PartialShape:
    """Return the shape of an input with a batch of one and a square image where they are open."""
    if shape.is_static or shape.rank.is_dynamic or len(shape) != 4:
        return shape
    axes = list(shape)
    lengths = {0: 1}
    if side is not None:
        lengths |= dict.fromkeys((2, 3) if layout == "NCHW" else (1, 2), side)
    for axis, length in lengths.items():
        if axes[axis].is_dynamic:
            axes[axis] = ov.Dimension(length)
    return ov.PartialShape(axes)


def _batch(shapes: Sequence[ov.PartialShape]) -> int | None:
    """Return the first axis that all inputs share, None where they do not or it is open."""
    firsts = {
        shape[0].get_length() if shape[0].is_static else None
        for shape in shapes
        if shape.rank.is_static and len(shape) > 1
    }
    return firsts.pop() if len(firsts) == 1 else None


def _answering(model: ov.Model, batch: int) -> dict[str, None]:
    return {
        node.get_friendly_name(): None
        for node in model.get_ordered_ops()
        if node.get_type_name() not in ("Constant", "Parameter")
        for shape in [node.output(0).get_partial_shape()]
        if shape.rank.is_static and len(shape) > 1 and shape[0].is_static and shape[0] == batch
    }
