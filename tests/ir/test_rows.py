"""Heads that are convolutions, and the rows they become."""

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.ir.heads import find_head, find_logits
from thorax.ir.rows import as_rows

RANDOM = np.random.default_rng(1)
WEIGHT = RANDOM.normal(size=(3, 4, 1, 1)).astype(np.float32)
BIAS = RANDOM.normal(size=(1, 3, 1, 1)).astype(np.float32)
IMAGE = RANDOM.normal(size=(2, 4, 5, 5)).astype(np.float32)


def network(*, pooled_first: bool, biased: bool, end: str, side: int = 5) -> ov.Model:
    """Return mean - convolution or convolution - mean, then what `end` says."""
    image = ops.parameter([2, 4, side, side], np.float32)
    axes = ops.constant(np.array([2, 3]))
    value = ops.reduce_mean(image, axes, True) if pooled_first else image
    value = ops.convolution(value, ops.constant(WEIGHT), [1, 1], [0, 0], [0, 0], [1, 1])
    if biased:
        value = ops.add(value, ops.constant(BIAS))
    if not pooled_first:
        value = ops.reduce_mean(value, axes, True)
    if end == "softmax":
        value = ops.softmax(value, 1)
    elif end == "sigmoid":
        value = ops.sigmoid(value)
    value.set_friendly_name("prob")
    value.output(0).set_names({"prob"})
    return ov.Model([value], [image])


def run(model: ov.Model) -> np.ndarray:
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.asarray(ov.Core().compile_model(model, "CPU", hint)(IMAGE)["prob"])


@pytest.mark.parametrize("end", ["softmax", "sigmoid", ""])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("pooled_first", [True, False])
def test_a_convolutional_head_answers_rows(pooled_first: bool, biased: bool, end: str) -> None:
    model = network(pooled_first=pooled_first, biased=biased, end=end)
    wanted = run(model)
    assert wanted.shape == (2, 3, 1, 1)
    as_rows(model)
    assert list(model.outputs[0].shape) == [2, 3]
    np.testing.assert_allclose(run(model), wanted[:, :, 0, 0], atol=1e-6)
    model.reshape([1, 4, 5, 5])
    logits, activation = find_logits(model)
    assert activation == (end or None)
    # A mean changes places with a convolution of 1 x 1: both orders are one head.
    head = find_head(logits)
    assert head is not None
    assert np.array_equal(head.weight, WEIGHT[:, :, 0, 0])
    assert np.array_equal(head.bias, BIAS.ravel() if biased else np.zeros(3))


def test_what_answers_maps_or_rows_stays_as_it_is() -> None:
    image = ops.parameter([2, 4, 5, 5], np.float32)
    maps = ov.Model([ops.relu(image)], [image])
    as_rows(maps)
    assert list(maps.outputs[0].shape) == [2, 4, 5, 5]
    row = ops.parameter([2, 4], np.float32)
    rows = ov.Model([ops.relu(row)], [row])
    as_rows(rows)
    assert [node.get_type_name() for node in rows.get_ordered_ops()] == [
        "Parameter",
        "Relu",
        "Result",
    ]
