"""Formats that OpenVINO reads itself."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from thorax.errors import ModelError
from thorax.ir.formats import read


def test_an_onnx_file_keeps_its_input_as_it_is(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["y"], "first"),
            helper.make_node("Abs", ["y"], ["z"], "last"),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, ir_version=9), path)
    imported = read(path)
    assert (imported.framework, imported.layout, imported.files) == ("onnx", "NCHW", (path,))
    assert list(imported.model.inputs[0].shape) == [1, 3, 8, 8]
    assert imported.model.inputs[0].get_element_type().to_dtype() == np.float32
    assert "first" in {node.get_friendly_name() for node in imported.model.get_ops()}


def test_an_empty_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(helper.make_graph([], "none", [], []), ir_version=9), path)
    with pytest.raises(ModelError) as caught:
        read(path)
    assert caught.value.code == "model-unreadable"
