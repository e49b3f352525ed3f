"""The output of a foreign classifier: a row of scores an image, whose activation is understood."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops

from thorax.artifact import Activation
from thorax.errors import ModelError, UsageError
from thorax.ir.head import find_logits, sigmoid_input, softmax_input
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


_AUXILIARY: Final = re.compile(r"(?<![a-z])aux", re.IGNORECASE)
"""In the name of an output that was there for training: AuxLogits, aux1, main/aux_head."""


def select_outputs(
    model: ov.Model, stated: Sequence[str], labels: Sequence[str], name: str
) -> tuple[int, ...]:
    """Return which outputs hold the scores, in order: those stated, else the one that can.

    Outputs are stated by name or number. Where none is, auxiliary ones and classes, whole numbers
    beside scores, are passed over, and outputs that are called like the labels are taken in the
    order of the labels.

    Raises:
        UsageError: `model-output-name`.
        ModelError: `model-outputs` where several could hold them.
    """
    names = [_names(port, index) for index, port in enumerate(model.outputs)]
    if stated:
        return tuple(_index(output, names, name) for output in stated)
    if len(names) == 1:
        return (0,)
    real = [port.get_element_type().is_real() for port in model.outputs]
    usual = [
        index
        for index, each in enumerate(names)
        if real[index] >= any(real) and not any(map(_AUXILIARY.search, each))
    ]
    if len(usual) == 1:
        return (usual[0],)
    by_label = [
        next((index for index, each in enumerate(names) if _same(label, each)), None)
        for label in labels
    ]
    places = [index for index in by_label if index is not None]
    if len(places) == len(labels) and len(set(places)) == len(names):
        return tuple(places)
    shapes = (port.get_partial_shape() for port in model.outputs)
    words = ", ".join(f"{each[0]} {shape}" for each, shape in zip(names, shapes, strict=True))
    raise ModelError(
        "model-outputs",
        f"{name} has {len(names)} outputs: {words}; say with --output which one answers the "
        "labels, or several, joined by commas, in the order of --labels",
    )


def _names(port: ov.Output, index: int) -> list[str]:
    return [*sorted(port.get_names(), key=len), str(index)]


def _same(label: str, names: Sequence[str]) -> bool:
    plain = [re.sub(r"[\W_]+", "", word).lower() for word in (label, *names)]
    return plain[0] in plain[1:]


def _index(stated: str, names: Sequence[Sequence[str]], name: str) -> int:
    index = next((index for index, each in enumerate(names) if stated in each), None)
    if index is None:
        own = ", ".join(each[0] for each in names)
        raise UsageError(
            "model-output-name", f"--output is {stated!r}, but {name} has {own}; name one of them"
        )
    return index


def inputs_of(model: ov.Model, outputs: Sequence[int]) -> list[int]:
    """Return the places of the inputs that outputs depend on."""
    needed = _ancestors([model.outputs[index].get_node().output(0) for index in outputs])
    parameters = enumerate(model.get_parameters())
    return [index for index, each in parameters if each.get_name() in needed]


def answer_scores(model: ov.Model, outputs: Sequence[int], name: str) -> ov.Model:
    """Return a network that answers these outputs alone, side by side as [N,K] where several.

    Inputs that they do not depend on are gone.

    Raises:
        ModelError: `model-outputs` where an output leaves open how many scores it has.
    """
    values = [model.outputs[index].get_node().input_value(0) for index in outputs]
    if len(values) == 1:
        scores, names = values[0], model.outputs[outputs[0]].get_names()
    else:
        scores, names = _side_by_side(values, name), {"scores"}
    inputs = [model.get_parameters()[index] for index in inputs_of(model, outputs)]
    selected = ov.Model([ops.result(scores)], inputs, model.get_friendly_name())
    if names and not scores.get_names():
        scores.set_names(set(names))
    # A copy, which no output that was left out hangs on.
    selected = selected.clone()
    _drop_identities(selected)
    return selected


def _drop_identities(model: ov.Model) -> None:
    """Take out layers that answer what they are given, which hide what stands before; in place."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Identity":
            value, names = node.input_value(0), node.output(0).names
            for user in node.output(0).get_target_inputs():
                user.replace_source_output(value)
            value.add_names(names)
    model.validate_nodes_and_infer_types()


def spell_activation(model: ov.Model) -> None:
    """Let an activation of rows that is written out in exponentials be one layer, in place.

    Folding would multiply a minus or a scale into the layer before, and hide it.
    """
    logits, activation = find_logits(model)
    written = {"sigmoid": sigmoid_input, "softmax": softmax_input}
    if activation is None or written[activation](last_layer(model)) is None:
        return
    rows = logits if len(logits.get_partial_shape()) == 2 else _flat(logits)
    layer = ops.sigmoid(rows) if activation == "sigmoid" else ops.softmax(rows, 1)
    layer.set_friendly_name(last_layer(model).get_friendly_name())
    _replace_answer(model, layer.output(0))


def _side_by_side(values: Sequence[ov.Output], name: str) -> ov.Output:
    for value in values:
        shape = value.get_partial_shape()
        if shape.rank.is_dynamic or any(axis.is_dynamic for axis in list(shape)[1:]):
            raise ModelError(
                "model-outputs", f"{name} answers {shape}, which cannot be joined with others"
            )
    ends = {value.get_node().get_type_name() for value in values}
    if ends == {"Sigmoid"}:
        # What makes probabilities stays last, where it is looked for.
        rows = [_flat(value.get_node().input_value(0)) for value in values]
        return ops.sigmoid(ops.concat(rows, 1)).output(0)
    return ops.concat([_flat(value) for value in values], 1).output(0)


def joined(answers: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Return the outputs of a source side by side as `answer_scores` does, float32 [K]."""
    return np.concatenate([np.asarray(answer, np.float32).ravel() for answer in answers])


def _ancestors(values: Sequence[ov.Output]) -> set[str]:
    waiting, seen = [value.get_node() for value in values], set[str]()
    while waiting:
        node = waiting.pop()
        if node.get_name() not in seen:
            seen.add(node.get_name())
            waiting += [part.get_node() for part in node.input_values()]
    return seen


def as_rows(model: ov.Model, count: int = 0) -> None:
    """Let a network that answers [N,K,1,1], [N,1,K], [N] or [] answer [N,K], in place.

    A convolution of 1 x 1 over one cell becomes the matrix product that it is, so that the head is
    found behind a global average (Lin et al., ICLR 2014, section 3.2). One axis is that of the
    images, or where it has `count` scores, those of one image.
    """
    if len(model.outputs) != 1:
        return
    result = model.outputs[0].get_node()
    last = result.input_value(0)
    shape = last.get_partial_shape()
    if shape.rank.is_static and len(shape) < 2:
        _replace_answer(model, _rows_of(last, count))
        return
    if shape.rank.is_dynamic or len(shape) < 3:
        return
    if any(side != 1 for side in list(shape)[2:]):
        if sum(side != 1 for side in list(shape)[1:]) == 1:
            _replace_answer(model, _flat(last))
        return
    activation = last.get_node().get_type_name()
    if activation == "Softmax" and last.get_node().get_attributes()["axis"] % len(shape) != 1:
        return
    if activation in _ACTIVATIONS:
        row = _ACTIVATIONS[activation](_row(last.get_node().input_value(0)))
        row.set_friendly_name(last.get_node().get_friendly_name())
        scores = row.output(0)
    else:
        scores = _row(last)
    _replace_answer(model, scores)


def _replace_answer(model: ov.Model, scores: ov.Output) -> None:
    result = model.outputs[0].get_node()
    last = result.input_value(0)
    names = last.names
    last.set_names(set())
    scores.set_names(names)
    result.input(0).replace_source_output(scores)
    model.validate_nodes_and_infer_types()


def _rows_of(value: ov.Output, count: int) -> ov.Output:
    """Return values of one axis as rows: an image each, or `count` scores of one image."""
    target = np.array([1, -1] if count > 1 else [-1, 1])
    return ops.reshape(value, ops.constant(target), False).output(0)


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
        ModelError: `model-outputs` for a softmax over another axis than the classes, or scores
            that are sorted.
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
    if last.get_type_name() == "TopK":
        raise ModelError(
            "model-outputs",
            f"{name} ends in layer {last.get_friendly_name()}, which sorts or picks its scores by "
            "size, so that no label has a place of its own; export it without that layer",
        )
    if stated is not None:
        return
    odd = next(_not_plain(model.outputs[0].get_node().input_value(0), pooled=False), None)
    if odd is not None:
        raise UsageError(
            "model-undescribed",
            f"{name} ends in layer {odd.get_friendly_name()} ({odd.get_type_name()}), which makes "
            "neither probabilities nor logits that can be told; say with --activation sigmoid or "
            "softmax what is to be done to its outputs, with none that they are probabilities, or "
            "export it up to its logits",
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
