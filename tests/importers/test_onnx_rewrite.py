"""ONNX operators that are rewritten before they are read, against ONNX Runtime."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from thorax.importers.formats import read
from thorax.importers.onnx_rewrite import is_needed, with_standard_operators
from thorax.importers.options import compile_here

IMAGE = np.random.default_rng(9).normal(0, 1, (1, 4, 6, 6)).astype(np.float32)
Nodes = list[onnx.NodeProto]


class Weights(list[onnx.TensorProto]):
    """Constants of a graph, named as they are made."""

    def __init__(self) -> None:
        super().__init__()
        self.random = np.random.default_rng(9)

    def add(self, values: object, kind: type = np.float32) -> str:
        self.append(numpy_helper.from_array(np.array(values, kind), f"w{len(self)}"))
        return self[-1].name

    def quantised(self, *shape: int, axis: int | None = None) -> list[str]:
        """Return int8 values, their scale, one a channel of an axis, and zero point."""
        values = self.add(self.random.integers(-90, 90, shape), np.int8)
        count = 1 if axis is None else shape[axis]
        scale = self.random.uniform(0.0004, 0.002, count)
        zero = np.zeros(count)
        if axis is None:
            return [values, self.add(scale[0]), self.add(zero[0], np.int8)]
        return [values, self.add(scale), self.add(zero, np.int8)]


def one(kind: str, x: list[str], y: list[str], **more: Any) -> Nodes:  # noqa: ANN401
    return [helper.make_node(kind, [*x, *y], ["q"], domain="com.microsoft", **more)]


def convolution(weights: Weights, x: list[str], y: list[str]) -> Nodes:
    kernel = weights.quantised(3, 4, 3, 3, axis=0)
    bias = weights.add([900, -500, 40], np.int32)
    return [helper.make_node("QLinearConv", [*x, *kernel, *y, bias], ["q"], pads=[1, 1, 1, 1])]


def gemm(weights: Weights, x: list[str], y: list[str]) -> Nodes:
    flat = helper.make_node("Flatten", [x[0]], ["flat"])
    matrix = weights.quantised(3, 144, axis=0)
    bias = weights.add([90, -50, 4], np.int32)
    product = helper.make_node(
        "QGemm", ["flat", *x[1:], *matrix, bias, *y], ["q"], domain="com.microsoft", transB=1
    )
    return [flat, product]


def matmul(weights: Weights, x: list[str], y: list[str]) -> Nodes:
    return [helper.make_node("QLinearMatMul", [*x, *weights.quantised(6, 5), *y], ["q"])]


def added(weights: Weights, x: list[str], y: list[str]) -> Nodes:
    other = weights.add(weights.random.integers(0, 255, (1, 4, 1, 1)), np.uint8)
    scale, zero = weights.add(0.013), weights.add(100, np.uint8)
    return one("QLinearAdd", [*x, other, scale, zero], y)


OPERATORS: dict[str, Callable[[Weights, list[str], list[str]], Nodes]] = {
    "QLinearConv": convolution,
    "QGemm": gemm,
    "QLinearMatMul": matmul,
    "QLinearAdd": added,
    "QLinearSigmoid": lambda weights, x, y: one("QLinearSigmoid", x, y),
    "QLinearLeakyRelu": lambda weights, x, y: one("QLinearLeakyRelu", x, y, alpha=0.1),
    "QLinearConcat": lambda weights, x, y: one("QLinearConcat", y, [*x, *x], axis=1),
    "QLinearGlobalAveragePool": lambda weights, x, y: one(
        "QLinearGlobalAveragePool", x, y, channels_last=0
    ),
    "QLinearAveragePool": lambda weights, x, y: one(
        "QLinearAveragePool", x, y, kernel_shape=[2, 2], strides=[2, 2]
    ),
}


def quantised(path: Path, operator: str, opset: int) -> Path:
    """Write an image quantised, one operator that cuts some values off, and dequantised again."""
    weights = Weights()
    x = ["x", weights.add(0.0211), weights.add(120, np.uint8)]
    y = [weights.add(0.00437), weights.add(90, np.uint8)]
    nodes = [
        helper.make_node("QuantizeLinear", ["image", *x[1:]], ["x"]),
        *OPERATORS[operator](weights, x, y),
        helper.make_node("DequantizeLinear", ["q", *y], ["answer"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE.shape)],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)],
        weights,
    )
    sets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), path)
    return path


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("operator", OPERATORS)
def test_quantised_operators_answer_as_onnx_runtime(
    tmp_path: Path, operator: str, opset: int
) -> None:
    path = quantised(tmp_path / "net.onnx", operator, opset)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"image": IMAGE})
    (got,) = compile_here(read(path).model)([IMAGE])
    assert np.ptp(wanted) > 0.1
    # A step of the quantizer, which a sum that lies between two may take or not.
    np.testing.assert_allclose(got, wanted, rtol=0, atol=0.0045)
    assert np.mean(np.abs(got - wanted) > 1e-6) < 0.02


def test_functions_of_a_file_are_put_in_where_they_are_called(tmp_path: Path) -> None:
    half = helper.make_function(
        "mine", "Half", ["x"], ["y"],
        [
            helper.make_node("Constant", [], ["k"], value_float=0.5),
            helper.make_node("Mul", ["x", "k"], ["y"]),
        ],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    block = helper.make_function(
        "mine", "Block", ["x"], ["y"],
        [
            helper.make_node("Half", ["x"], ["h"], domain="mine"),
            helper.make_node("Relu", ["h"], ["y"]),
        ],
        [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)],
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Block", ["image"], ["answer"], "block", domain="mine")],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE.shape)],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    model = helper.make_model(graph, functions=[half, block], opset_imports=sets, ir_version=9)
    onnx.save(model, path := tmp_path / "net.onnx")
    (got,) = compile_here(read(path).model)([IMAGE])
    np.testing.assert_array_equal(got, np.maximum(IMAGE / 2, 0))


def test_a_file_of_standard_operators_stays_as_it_is(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["image"], ["answer"], "QLinear")
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1])],
    )  # fmt: skip
    onnx.save(helper.make_model(graph), path := tmp_path / "net.onnx")
    assert is_needed(path)
    assert with_standard_operators(path) is None
