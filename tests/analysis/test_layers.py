"""Which operations are one layer, on graphs drawn for it."""

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.analysis.layers import VIEWS, group_layers, live_names


def model(*, shared: bool = False, moving: bool = False) -> ov.Model:
    """Return product + bias + sigmoid; the bias is read twice, or is no constant."""
    value = ops.parameter([1, 4], np.float32)
    product = ops.matmul(value, ops.constant(np.eye(4, dtype=np.float32)), False, False)
    product.set_friendly_name("product")
    added = ops.add(product, value if moving else ops.constant(np.ones((1, 4), np.float32)))
    added.set_friendly_name("bias")
    answer = ops.sigmoid(added)
    answer.set_friendly_name("answer")
    results = [ops.reshape(answer, ops.constant(np.array([4])), False)]
    return ov.Model([*results, added] if shared else results, [value])


def names(found: ov.Model) -> list[list[str]]:
    layers = group_layers(found, live_names(found))
    return [[node.get_friendly_name() for node in layer.nodes] for layer in layers]


def test_bias_and_activation_belong_to_the_layer_before_them() -> None:
    found = model()
    assert names(found) == [["product", "bias", "answer"]]
    (layer,) = group_layers(found, live_names(found))
    assert (layer.name, layer.type, layer.end) == ("product", "MatMul", "answer")


def test_what_is_read_elsewhere_too_ends_a_layer() -> None:
    assert names(model(shared=True)) == [["product", "bias"], ["answer"]]


def test_a_sum_of_two_values_is_a_layer_of_its_own() -> None:
    assert names(model(moving=True)) == [["product"], ["bias", "answer"]]


def test_what_moves_values_is_a_layer_only_where_that_is_asked_for() -> None:
    value = ops.parameter([1, 2, 4, 4], np.float32)
    turned = ops.transpose(ops.relu(value), ops.constant(np.array([0, 2, 3, 1])))
    flat = ops.reshape(turned, ops.constant(np.array([32])), False)
    found = ov.Model([flat], [value])
    live = live_names(found)
    assert [layer.type for layer in group_layers(found, live)] == ["Relu"]
    assert [layer.type for layer in group_layers(found, live, apart=VIEWS)] == ["Relu", "Transpose"]
