"""Answers that are probabilities already, told by what follows their activations."""

from collections.abc import Callable

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.errors import ModelError
from thorax.importers.options import compile_here
from thorax.ir.probabilities import probabilities_of, require_probabilities

WEIGHT = np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32)
ONE, HALF = np.float32(1), np.float32(0.5)
CUTS = np.array([[0.3, 0.5, 0.02, 0.9, 0.4, 0.6]], np.float32)


def calibrated(p: ov.Node) -> ov.Node:
    """Return what TorchXRayVision does: the operating point becomes one half (op_norm)."""
    below = ops.divide(p, CUTS * 2)
    above = ops.subtract(ONE, ops.divide(ops.subtract(ONE, p), (1 - CUTS) * 2))
    return ops.select(ops.less(p, CUTS), below, above)


def pairs(x: ov.Node) -> ov.Node:
    """Return of three pairs the probability that a finding is there."""
    both = ops.softmax(ops.reshape(x, np.array([0, 3, 2]), True), 2)
    return ops.gather(both, np.array(1), np.array(2))


def quantized(p: ov.Node, high: float = 255 / 256) -> ov.Node:
    low, top = np.float32(0), np.float32(high)
    return ops.fake_quantize(p, low, top, low, top, 256)


def written_out(x: ov.Node) -> ov.Node:
    return ops.divide(ONE, ops.add(ops.exp(ops.negative(x)), ONE))


ENDS: dict[str, tuple[Callable[[ov.Node], ov.Node], set[str]]] = {
    "ensemble": (
        lambda x: ops.multiply(ops.add(ops.sigmoid(x), ops.sigmoid(ops.abs(x))), HALF),
        {"sigmoid"},
    ),
    "written out": (lambda x: ops.maximum(written_out(x), ops.sigmoid(x)), {"sigmoid"}),
    "clipped": (lambda x: ops.clamp(ops.sigmoid(x), 1e-4, 0.9999), {"sigmoid"}),
    "pairs": (pairs, {"softmax"}),
    "quantised": (lambda x: quantized(ops.softmax(x, 1)), {"softmax"}),
    "quantised, cut": (lambda x: quantized(ops.sigmoid(x), 0.7), {"sigmoid"}),
    "calibrated": (lambda x: calibrated(ops.sigmoid(x)), {"sigmoid"}),
    "of both": (
        lambda x: ops.multiply(ops.sigmoid(x), ops.softmax(x, 1)),
        {"sigmoid", "softmax"},
    ),
    "scaled": (lambda x: ops.multiply(ops.sigmoid(x), np.float32(2)), set()),
    "other way round": (lambda x: ops.subtract(ONE, ops.sigmoid(x)), set()),
    "sorted": (lambda x: ops.relu(ops.topk(ops.sigmoid(x), 6, 1, "max", "value").output(0)), set()),
    "logits": (lambda x: x, set()),
    "gated logits": (lambda x: ops.multiply(x, ops.sigmoid(x)), set()),
    "of the batch": (lambda x: ops.add(ops.softmax(x, 0), np.float32(0)), set()),
    "logarithm": (lambda x: ops.log(ops.softmax(x, 1)), set()),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_follows_an_activation_tells_whether_answers_are_probabilities(end: str) -> None:
    image = ops.parameter([1, 4], np.float32)
    made, wanted = ENDS[end]
    model = ov.Model([made(ops.matmul(image, ops.constant(WEIGHT), False, False))], [image])
    before = [node.get_type_name() for node in model.get_ordered_ops()]
    assert probabilities_of(model, compile_here) == wanted
    assert [node.get_type_name() for node in model.get_ordered_ops()] == before


@pytest.mark.parametrize("worst", [1.2, -0.1, float("nan")])
def test_what_is_called_a_probability_and_is_none_is_refused(worst: float) -> None:
    require_probabilities(np.array([0.0, 0.5, 1.0], np.float32), "net")
    with pytest.raises(ModelError, match="between 0 and 1") as refused:
        require_probabilities(np.array([0.5, worst], np.float32), "net")
    assert refused.value.code == "model-probabilities"
