"""Classifiers that end in a convolution: their scores as one row an image."""

import numpy as np
import openvino as ov
import openvino.opset13 as ops

_ACTIVATIONS = {"Sigmoid": ops.sigmoid, "Softmax": lambda value: ops.softmax(value, 1)}


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
