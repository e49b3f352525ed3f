"""The output of a foreign classifier: a row of scores an image, whose activation is understood."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.artifact import Activation
from thorax.errors import ModelError, UsageError
from thorax.ir.names import WEIGHTED

_MOVES: Final = (
    "Reshape", "Squeeze", "Unsqueeze", "Convert", "Transpose", "Concat", "Gather", "Slice",
    "StridedSlice", "Split", "VariadicSplit", "Pad", "FakeQuantize",
)  # fmt: skip
_AFFINE: Final = ("Add", "Subtract", "Multiply", "Divide", "Negative", "BatchNormInference")
_POOLS: Final = (
    "ReduceMean", "ReduceSum", "ReduceMax", "AvgPool", "MaxPool", "AdaptiveAvgPool",
    "AdaptiveMaxPool",
)  # fmt: skip
_ACTIVATIONS: Final = {"Sigmoid": ops.sigmoid, "Softmax": lambda value: ops.softmax(value, 1)}
_BOUNDED: Final = ("Sigmoid", "Softmax", "LogSoftmax", "HardSigmoid", "Tanh", "Clamp", "Exp", "Log")


def as_rows(model: ov.Model) -> None:
    """Let a network that answers [N,K,1,1] answer [N,K], in place; leave any other.

    A convolution of 1 x 1 over one cell becomes the matrix product that it is, so that the head is
    found behind a global average (Lin et al., ICLR 2014, section 3.2).
    """
    if len(model.outputs) != 1:
        return
    result = model.outputs[0].get_node()
    last = result.input_value(0)
    shape = last.get_partial_shape()
    if shape.rank.is_dynamic or len(shape) < 3 or any(side != 1 for side in list(shape)[2:]):
        return
    activation = last.get_node().get_type_name()
    if activation == "Softmax" and last.get_node().get_attributes()["axis"] % len(shape) != 1:
        return
    names = last.names
    if activation in _ACTIVATIONS:
        row = _ACTIVATIONS[activation](_row(last.get_node().input_value(0)))
        row.set_friendly_name(last.get_node().get_friendly_name())
        scores = row.output(0)
    else:
        scores = _row(last)
    last.set_names(set())
    scores.set_names(names)
    result.input(0).replace_source_output(scores)
    model.validate_nodes_and_infer_types()


def _row(value: ov.Output) -> ov.Output:
    node, bias = value.get_node(), None
    if node.get_type_name() == "Add" and _is_constant(node.input_value(1)):
        bias = np.asarray(node.input_value(1).get_node().data)
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Convolution" or not _is_of_one_cell(node):
        return _flat(value)
    weight = np.asarray(node.input_value(1).get_node().data)
    cells = _flat(node.input_value(0))
    product = ops.matmul(cells, ops.constant(np.ascontiguousarray(weight[:, :, 0, 0])), False, True)
    product.set_friendly_name(node.get_friendly_name())
    if bias is None:
        return product.output(0)
    added = ops.add(product, ops.constant(bias.reshape(1, -1)))
    added.set_friendly_name(value.get_node().get_friendly_name())
    return added.output(0)


def _flat(value: ov.Output) -> ov.Output:
    return ops.reshape(value, ops.constant(np.array([0, -1])), True).output(0)


def _is_constant(value: ov.Output) -> bool:
    return bool(value.get_node().get_type_name() == "Constant")


def _is_of_one_cell(convolution: ov.Node) -> bool:
    data, weight = (convolution.input_value(index) for index in (0, 1))
    cell = list(data.get_partial_shape())[2:]
    kernel = list(weight.get_partial_shape())[2:]
    return _is_constant(weight) and len(cell) == 2 and all(side == 1 for side in [*cell, *kernel])


def last_layer(model: ov.Model) -> ov.Node:
    """Return the layer that a single output answers, seen through what only moves values."""
    node = model.outputs[0].get_node().input_value(0).get_node()
    while node.get_type_name() in ("Reshape", "Squeeze", "Unsqueeze", "Convert"):
        node = node.input_value(0).get_node()
    return node


def answers_logarithms(model: ov.Model) -> bool:
    """Return whether a network that ends in a softmax answers its logarithm."""
    return last_layer(model).get_type_name() in ("LogSoftmax", "Log")


def check_output_activation(
    model: ov.Model, name: str, own: Activation | None, stated: Activation | None
) -> None:
    """Refuse answers that are neither probabilities nor plainly logits.

    Logits are what a convolution, a matrix product or a pool makes, shifted and scaled by constants
    at most. `own` is the activation that the network ends in, `stated` what the user says of it.

    Raises:
        ModelError: `model-outputs` for a softmax over another axis than the classes.
        UsageError: `model-undescribed`.
    """
    if own is not None:
        return
    last = last_layer(model)
    if last.get_type_name() in ("Softmax", "LogSoftmax"):
        raise ModelError(
            "model-outputs",
            f"{name} ends in a {last.get_type_name()} over axis {last.get_attributes()['axis']} of "
            f"{last.get_input_partial_shape(0)}, which are not its classes; export it with one "
            "over axis 1, or without",
        )
    if stated is not None:
        return
    odd = next(_not_plain(model.outputs[0].get_node().input_value(0), pooled=False), None)
    if odd is not None:
        raise UsageError(
            "model-undescribed",
            f"{name} ends in layer {odd.get_friendly_name()} ({odd.get_type_name()}), which makes "
            "neither probabilities nor logits that can be told; say with --activation sigmoid or "
            "softmax what is to be done to its outputs, or export it up to its logits",
        )


def _not_plain(value: ov.Output, *, pooled: bool) -> Iterator[ov.Node]:
    """Yield the layers that a value ends in and that make no logits."""
    waiting, seen = [(value, pooled)], set()
    while waiting:
        answer, after_pool = waiting.pop()
        node = answer.get_node()
        kind = node.get_type_name()
        if (node.get_name(), after_pool) in seen or kind in (*WEIGHTED, "Einsum", "Constant"):
            continue
        seen.add((node.get_name(), after_pool))
        if kind in _POOLS:
            waiting.append((node.input_value(0), True))
        elif kind in _MOVES or kind in _AFFINE:
            inputs = node.input_values()
            computed = [part for part in inputs if _of_image(part)]
            if kind in ("Multiply", "Divide") and len(computed) > 1 and not after_pool:
                yield node
                continue
            first_only = kind in _MOVES and kind != "Concat"
            waiting += [(part, after_pool) for part in (inputs[:1] if first_only else computed)]
        elif kind in _BOUNDED or not after_pool:
            # A pool of features is logits whatever made them, but not of probabilities.
            yield node


def _of_image(value: ov.Output) -> bool:
    waiting, seen = [value.get_node()], set()
    while waiting:
        node = waiting.pop()
        if node.get_type_name() == "Parameter":
            return True
        # Types and shapes are asked of the image, its values are not.
        inputs = {"ShapeOf": 0, "ConvertLike": 1}.get(node.get_type_name())
        for part in node.input_values()[:inputs]:
            if part.get_node().get_name() not in seen:
                seen.add(part.get_node().get_name())
                waiting.append(part.get_node())
    return False
