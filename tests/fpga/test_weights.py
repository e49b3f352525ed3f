"""Filters of three and two values: as the papers define them, and put in the right place."""

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.errors import ModelError
from thorax.fpga.weights import binarize, coarsen, replace_weights, ternarize

RANDOM = np.random.default_rng(5)


def filters(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def test_ternary_filters_have_three_values_each_and_keep_signs() -> None:
    weights = filters(6, 8, 3, 3)
    found = ternarize(weights, (1, 2, 3))
    for old, new in zip(weights, found, strict=True):
        scale = new.max()
        assert set(np.unique(new)) == {-scale, np.float32(0), scale}
        assert np.all((new == 0) | (np.sign(new) == np.sign(old)))
        threshold = 0.7 * np.abs(old, dtype=np.float64).mean()
        assert np.array_equal(new != 0, np.abs(old) > threshold)


def test_no_other_scale_comes_nearer_to_the_filter() -> None:
    weights = filters(4, 50)
    for make in (ternarize, binarize):
        found = make(weights, (1,))
        error = ((weights - found) ** 2).sum(axis=1)
        for factor in (0.9, 0.99, 1.01, 1.1):
            assert np.all(((weights - factor * found) ** 2).sum(axis=1) > error)


def test_binary_filters_are_the_sign_times_the_mean_magnitude() -> None:
    weights = np.array([[1.0, -3.0, 0.0, 4.0], [-1.0, -1.0, -1.0, -1.0]], np.float32)
    assert np.array_equal(binarize(weights, (1,)), [[2, -2, 2, 2], [-1, -1, -1, -1]])


def test_a_filter_of_zeros_stays_zero() -> None:
    nothing = np.zeros((2, 3), np.float32)
    assert not ternarize(nothing, (1,)).any()
    assert not binarize(nothing, (1,)).any()


def network() -> ov.Model:
    """Return a network with every layer that has filters, the first of them stored in 16 bits."""
    data = ops.parameter([1, 2, 8, 8], np.float32)
    stored = ops.convert(ops.constant(filters(4, 2, 3, 3).astype(np.float16)), np.float32)
    plain = ops.convolution(data, stored, [1, 1], [1, 1], [1, 1], [1, 1])
    grouped = ops.group_convolution(
        plain, ops.constant(filters(2, 3, 2, 3, 3)), [1, 1], [1, 1], [1, 1], [1, 1]
    )
    back = ops.convolution_backprop_data(grouped, ops.constant(filters(6, 5, 2, 2)), [2, 2])
    each = ops.group_convolution_backprop_data(back, ops.constant(filters(5, 1, 2, 2, 2)), [2, 2])
    mean = ops.reduce_mean(each, ops.constant(np.array([2, 3])))
    full = ops.matmul(mean, ops.constant(filters(10, 7)), False, False)
    end = ops.matmul(full, ops.constant(filters(3, 7)), False, True)
    nodes = {"plain": plain, "grouped": grouped, "back": back, "each": each, "full": full}
    for name, node in (nodes | {"end": end}).items():
        node.set_friendly_name(name)
    return ov.Model([end], [data])


FILTERS = {"plain": 4, "grouped": 6, "back": 5, "each": 10, "full": 7, "end": 3}


@pytest.mark.parametrize("kind", ["ternary", "binary"])
def test_every_filter_of_every_layer_has_a_scale_of_its_own(kind: str) -> None:
    model = network()
    found = coarsen(model, FILTERS, kind)
    assert {name: len(np.unique(np.abs(one[one != 0]))) for name, one in found.items()} == FILTERS
    replace_weights(model, found)
    for node in model.get_ops():
        if node.get_friendly_name() in FILTERS:
            source = node.input_value(1).get_node()
            assert np.array_equal(source.get_data(), found[node.get_friendly_name()])
    request = ov.Core().compile_model(model, "CPU").create_infer_request()
    request.infer({0: np.ones((1, 2, 8, 8), np.float32)})


def test_layers_that_are_not_named_keep_their_filters() -> None:
    model = network()
    assert set(coarsen(model, ["plain"], "binary")) == {"plain"}


def test_weights_that_are_computed_are_refused() -> None:
    data = ops.parameter([1, 4], np.float32)
    end = ops.matmul(data, ops.relu(ops.constant(filters(4, 2))), False, False)
    end.set_friendly_name("end")
    with pytest.raises(ModelError, match=r"^fpga-weights: .*end"):
        coarsen(ov.Model([end], [data]), ["end"], "ternary")
