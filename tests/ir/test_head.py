"""Whatever an exporter writes between a global average and the logits is one linear head."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax.artifact import Activation
from thorax.devices.engine import EMBEDDING, HEATMAP, PROBABILITY
from thorax.ir.head import find_head, find_logits
from thorax.ir.rewrite import expose_outputs

DEPTH, CLASSES, SIDE = 6, 3, 5
FIRST, LAST = np.array([0, 3, 1, 2]), np.array([0, 2, 3, 1])


def floats(values: npt.ArrayLike) -> ov.Node:
    return ops.constant(np.asarray(values, np.float32))


def numbers(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.7, shape).astype(np.float32)


def axes(*values: int) -> ov.Node:
    return ops.constant(np.array(values, np.int64))


POOLS: dict[str, Callable[[ov.Node], ov.Node]] = {
    "mean": lambda x: ops.reduce_mean(x, axes(2, 3), False),
    "mean-kept": lambda x: ops.reduce_mean(x, axes(-1, -2), True),
    "width-then-height": lambda x: ops.reduce_mean(
        ops.reduce_mean(x, axes(3), False), axes(2), False
    ),
    "one-axis": lambda x: ops.reduce_mean(
        ops.reshape(x, axes(1, DEPTH, SIDE * SIDE), False), axes(2), False
    ),
    "sum": lambda x: ops.multiply(ops.reduce_sum(x, axes(2, 3), False), floats([[1 / SIDE**2]])),
    "pool": lambda x: ops.avg_pool(x, [1, 1], [0, 0], [0, 0], [SIDE, SIDE], True),
    "adaptive": lambda x: ops.adaptive_avg_pool(x, axes(1, 1)),
    "channels-last": lambda x: ops.reduce_mean(
        ops.transpose(x, ops.constant(LAST)), axes(1, 2), False
    ),
    "pool-channels-last": lambda x: ops.transpose(
        ops.avg_pool(x, [1, 1], [0, 0], [0, 0], [SIDE, SIDE], True), ops.constant(LAST)
    ),
}
LAYERS: dict[str, Callable[[ov.Node, int], ov.Node]] = {
    "matmul": lambda x, n: ops.matmul(rows(x), floats(numbers(width(x), n)), False, False),
    "transposed": lambda x, n: ops.matmul(rows(x), floats(numbers(n, width(x))), False, True),
    "left": lambda x, n: ops.matmul(
        floats(numbers(n, width(x))), ops.reshape(x, axes(-1, 1), False), False, False
    ),
    "left-transposed": lambda x, n: ops.matmul(
        floats(numbers(width(x), n)), rows(x), True, True
    ),
    "convolution": lambda x, n: ops.convolution(
        ops.reshape(x, axes(1, width(x), 1, 1), False), floats(numbers(n, width(x), 1, 1)),
        [1, 1], [0, 0], [0, 0], [1, 1],
    ),
}  # fmt: skip
SHIFTS: dict[str, Callable[[ov.Node], ov.Node]] = {
    "none": lambda x: x,
    "bias": lambda x: ops.add(rows(x), floats(numbers(1, width(x), seed=2))),
    "bias-first": lambda x: ops.add(floats(numbers(width(x), seed=2)), rows(x)),
    "minus": lambda x: ops.subtract(rows(x), floats(numbers(1, width(x), seed=2))),
    "from": lambda x: ops.subtract(floats(numbers(1, width(x), seed=2)), rows(x)),
    "scaled": lambda x: ops.divide(
        ops.multiply(floats(2), rows(x)), floats(3 + numbers(1, width(x)) ** 2)
    ),
    "unsqueezed": lambda x: ops.squeeze(ops.unsqueeze(rows(x), axes(2)), axes(2)),
}
ENDS: dict[str, tuple[Activation | None, Callable[[ov.Node], ov.Node]]] = {
    "nothing": (None, lambda x: x),
    "sigmoid": ("sigmoid", ops.sigmoid),
    "softmax": ("softmax", lambda x: ops.softmax(x, 1)),
    "softmax-over-the-last": ("softmax", lambda x: ops.softmax(x, -1)),
    "sigmoid-and-reshape": (
        "sigmoid", lambda x: ops.reshape(
            ops.sigmoid(ops.reshape(x, axes(1, -1, 1, 1), False)), axes(0, -1), True
        ),
    ),
    "written-out-sigmoid": (
        "sigmoid", lambda x: ops.divide(floats(1), ops.add(floats(1), ops.exp(ops.negative(x))))
    ),
    "power-sigmoid": (
        "sigmoid", lambda x: ops.power(
            ops.add(ops.exp(ops.multiply(x, floats(-1))), floats(1)), floats(-1)
        ),
    ),
    "written-out-softmax": (
        "softmax", lambda x: softmax_of(ops.subtract(x, ops.reduce_max(x, axes(1), True)))
    ),
    "bare-softmax": ("softmax", lambda x: softmax_of(x)),
}  # fmt: skip


def softmax_of(value: ov.Node) -> ov.Node:
    grown = ops.exp(value)
    return ops.divide(grown, ops.reduce_sum(grown, axes(1), True))


def width(value: ov.Node) -> int:
    return int(np.prod(list(value.get_output_shape(0))))


def rows(value: ov.Node) -> ov.Node:
    return ops.reshape(value, axes(1, width(value)), False)


def run(model: ov.Model, image: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    answer = ov.compile_model(model, "CPU", hint)(image)
    known = (PROBABILITY, HEATMAP, EMBEDDING)
    return {next((n for n in known if n in port.names), ""): answer[port] for port in answer}


def features() -> tuple[ov.Node, ov.Node]:
    image = ops.parameter([1, 2, SIDE, SIDE], np.float32, "x")
    kernel = floats(numbers(DEPTH, 2, 3, 3, seed=9))
    return image, ops.relu(ops.convolution(image, kernel, [1, 1], [1, 1], [1, 1], [1, 1]))


IMAGE = numbers(1, 2, SIDE, SIDE, seed=5)


def check(model: ov.Model, activation: Activation | None) -> dict[str, npt.NDArray[np.float32]]:
    """Expose the head of a graph, prove it, and return the outputs."""
    wanted = run(model.clone(), IMAGE)[""]
    logits, found = find_logits(model)
    assert found == activation
    head = find_head(logits)
    assert head is not None
    got = run(expose_outputs(model, logits, head, activation or "sigmoid"), IMAGE)
    mean = got[HEATMAP].astype(np.float64).mean(axis=(2, 3))
    if activation == "softmax":
        seen = np.exp(mean) / np.exp(mean).sum()
    else:
        seen = 1 / (1 + np.exp(-mean))
        wanted = wanted if activation else np.asarray(1 / (1 + np.exp(-wanted)), np.float32)
    np.testing.assert_allclose(got[PROBABILITY], wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(seen, wanted, rtol=0, atol=1e-5)
    return got


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    pool=st.sampled_from(sorted(POOLS)),
    layers=st.lists(
        st.tuples(st.sampled_from(sorted(LAYERS)), st.sampled_from(sorted(SHIFTS))),
        min_size=1,
        max_size=3,
    ),
    end=st.sampled_from(sorted(ENDS)),
)
def test_mean_of_the_heat_map_is_the_logit_of_any_linear_head(
    pool: str, layers: list[tuple[str, str]], end: str
) -> None:
    image, value = features()
    value = POOLS[pool](value)
    for place, (layer, shift) in enumerate(layers):
        last = place == len(layers) - 1
        value = SHIFTS[shift](LAYERS[layer](value, CLASSES if last else 4))
    activation, finish = ENDS[end]
    answer = finish(rows(value))
    got = check(ov.Model([ops.result(answer)], [image], "net"), activation)
    assert got[EMBEDDING].shape == (1, DEPTH)
    assert got[HEATMAP].shape == (1, CLASSES, SIDE, SIDE)


@pytest.mark.parametrize("bias", [True, False])
def test_a_last_convolution_of_one_pixel_is_the_head(bias: bool) -> None:
    image, value = features()
    kernel = floats(numbers(CLASSES, DEPTH, 1, 1))
    cells = ops.convolution(value, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    if bias:
        cells = ops.add(cells, floats(numbers(1, CLASSES, 1, 1, seed=4)))
    pooled = ops.reduce_mean(cells, axes(2, 3), False)
    got = check(ov.Model([ops.result(pooled)], [image], "net"), None)
    means = ov.Model([ops.result(ops.reduce_mean(value, axes(2, 3)))], [image], "means")
    np.testing.assert_allclose(got[EMBEDDING], run(means, IMAGE)[""], rtol=0, atol=1e-5)
    wanted = run(ov.Model([ops.result(cells)], [image], "cells"), IMAGE)[""]
    np.testing.assert_allclose(got[HEATMAP], wanted, rtol=0, atol=1e-5)


def test_the_map_of_a_network_that_averages_it_after_a_relu_is_its_heat_map() -> None:
    image, value = features()
    pooled = ops.reduce_mean(value, axes(2, 3), False)
    got = check(ov.Model([ops.result(pooled)], [image], "net"), None)
    np.testing.assert_allclose(
        got[HEATMAP], run(ov.Model([ops.result(value)], [image], "map"), IMAGE)[""], atol=1e-6
    )


def linear(value: ov.Node) -> ov.Node:
    return LAYERS["matmul"](value, CLASSES)


STRANGE: dict[str, Callable[[ov.Node], ov.Node]] = {
    "mean-and-maximum": lambda x: linear(
        ops.concat([ops.reduce_mean(x, axes(2, 3)), ops.reduce_max(x, axes(2, 3))], 1)
    ),
    "relu-between": lambda x: linear(ops.relu(linear(ops.reduce_mean(x, axes(2, 3))))),
    "maximum": lambda x: linear(ops.reduce_max(x, axes(2, 3))),
    "flattened": lambda x: linear(x),
    "rows-only": lambda x: linear(ops.reduce_mean(x, axes(2))),
    "not-all-of-the-map": lambda x: linear(
        ops.avg_pool(x, [SIDE, SIDE], [0, 0], [0, 0], [SIDE - 1, SIDE - 1], True)
    ),
    "its-own-gate": lambda x: linear(
        ops.multiply(ops.reduce_mean(x, axes(2, 3)), ops.reduce_mean(x, axes(2, 3)))
    ),
}


@pytest.mark.parametrize("strange", STRANGE)
def test_what_is_no_linear_function_of_an_average_has_no_head(strange: str) -> None:
    _, value = features()
    assert find_head(STRANGE[strange](value).output(0)) is None


def test_a_softmax_over_another_axis_than_the_classes_is_none() -> None:
    image = ops.parameter([1, 4, 3], np.float32, "x")
    assert find_logits(ov.Model([ops.softmax(image, 2)], [image]))[1] is None
