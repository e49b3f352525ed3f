"""Softmax of older ONNX files, against onnxruntime."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino as ov
import pytest
from onnx import TensorProto, helper

from thorax.importers.formats import read

CORE = ov.Core()


@pytest.mark.parametrize("opset", [9, 11, 12, 13])
@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, 3, None])
def test_it_runs_over_what_its_operator_set_says(
    tmp_path: Path, opset: int, kind: str, axis: int | None
) -> None:
    node = helper.make_node(kind, ["x"], ["y"])
    if axis is not None:
        node.attribute.append(helper.make_attribute("axis", axis))
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 4, 5])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    image = np.random.default_rng(4).normal(0, 1, (2, 3, 4, 5)).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    imported = read(path).model
    assert imported.outputs[0].get_any_name() == "y"
    found = CORE.compile_model(imported, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(image)[0]
    np.testing.assert_allclose(found, session.run(None, {"x": image})[0], atol=2e-6)
