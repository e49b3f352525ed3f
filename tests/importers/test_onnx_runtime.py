"""ONNX Runtime as the reference of ONNX files."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from thorax.errors import ModelError
from thorax.importers import onnx_runtime
from thorax.importers.formats import read
from thorax.importers.options import ImportOptions
from thorax.mo.preprocessing import Steps
from thorax.mo.verify import Reference, compare


def saved(path: Path, nodes: list[onnx.NodeProto], shape: list[int | str]) -> Path:
    kernel = np.random.default_rng(1).normal(0, 1, (3, 2, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def test_it_answers_what_openvino_answers(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "kernel"], ["y"])
    imported = read(saved(tmp_path / "net.onnx", [node], ["n", 2, 8, 8]))
    assert imported.run is not None
    image = np.random.default_rng(2).normal(0, 1, (1, 2, 8, 8)).astype(np.float32)
    reference = Reference.of(imported.model, [imported.model.inputs[0].partial_shape], None)
    np.testing.assert_allclose(imported.run([image])[0], reference([image])[0], atol=1e-5)


def test_a_fixed_shape_is_opened_for_another(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "kernel"], ["y"])
    run = onnx_runtime.runner(saved(tmp_path / "net.onnx", [node], [1, 2, 8, 8]))
    assert run is not None
    for shape in ((1, 2, 8, 8), (2, 2, 16, 12)):
        assert run([np.zeros(shape, np.float32)])[0].shape == (
            shape[0],
            3,
            *np.subtract(shape[2:], 2),
        )


def test_what_it_does_not_know_it_does_not_judge(tmp_path: Path) -> None:
    odd = helper.make_node("Odd", ["x"], ["y"], domain="of.nobody")
    assert onnx_runtime.runner(saved(tmp_path / "net.onnx", [odd], [1, 2, 8, 8])) is None


def test_a_shape_that_it_does_not_take_is_named(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "kernel"], ["y"])
    run = onnx_runtime.runner(saved(tmp_path / "net.onnx", [node], [1, 2, 8, 8]))
    assert run is not None
    with pytest.raises(ModelError, match=r"net\.onnx.*\[1, 5, 8, 8\]") as refused:
        run([np.zeros((1, 5, 8, 8), np.float32)])
    assert refused.value.code == "model-unrunnable"


def test_what_openvino_computes_otherwise_shows(tmp_path: Path) -> None:
    node = helper.make_node(
        "ConvTranspose", ["x", "kernel"], ["y"],
        strides=[2, 2], auto_pad="SAME_UPPER", output_shape=[14, 14],
    )  # fmt: skip
    imported = read(saved(tmp_path / "net.onnx", [node], [1, 3, 7, 7]), ImportOptions())
    shapes = [imported.model.inputs[0].partial_shape]
    reference = Reference.of(imported.model, shapes, imported.run)
    difference = compare(imported.model, reference, [Steps()], [()])
    assert difference is not None
    assert difference > 0.1
