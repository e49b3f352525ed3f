"""ONNX: weights in other files, softmax of older files, and ONNX Runtime as the reference."""

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.importers.conftest import refused
from tests.importers.small_models import NCHW

from thorax.errors import ModelError
from thorax.importers.formats import read
from thorax.importers.onnx import external_files, runner
from thorax.importers.options import compile_here
from thorax.mo.preprocessing import Steps
from thorax.mo.verify import Reference, compare


def external(path: Path, location: str) -> Path:
    """Write an ONNX file that keeps a weight in another file."""
    kernel = onnx.TensorProto(name="kernel", data_type=1, dims=[4, 3, 3, 3])
    kernel.data_location = onnx.TensorProto.EXTERNAL
    kernel.external_data.add(key="location", value=location)
    inner = helper.make_graph(
        [helper.make_node("Identity", ["kernel"], ["z"])], "inner", [],
        [helper.make_tensor_value_info("z", 1, [4, 3, 3, 3])], [kernel],
    )  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("If", ["c"], ["w"], then_branch=inner, else_branch=inner),
            helper.make_node("Conv", ["x", "w"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", 1, NCHW), helper.make_tensor_value_info("c", 9, [])],
        [helper.make_tensor_value_info("y", 1, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd", "../secret", "a/../../secret", "./../secret", "..", "C:\\secret",
        "..\\secret", "", "\\\\host\\share", "a/b/../../../secret", "/dev/zero", "//etc/passwd",
    ],
)  # fmt: skip
def test_weights_of_onnx_lie_in_its_folder(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(432))
    folder = tmp_path / "folder"
    (folder / "a" / "b").mkdir(parents=True)
    assert refused(external(folder / "net.onnx", location)).code == "model-unsafe"


@pytest.mark.parametrize("what", ["link", "pipe", "folder", "device", "nothing"])
def test_weights_of_onnx_are_a_file_of_its_folder(tmp_path: Path, what: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(432))
    (tmp_path / "folder").mkdir()
    path = external(tmp_path / "folder" / "net.onnx", "w.bin")
    weights = tmp_path / "folder" / "w.bin"
    if what == "link":
        weights.symlink_to(tmp_path / "secret")
    elif what == "pipe":
        os.mkfifo(weights)
    elif what == "folder":
        weights.mkdir()
    elif what == "device":
        weights.symlink_to("/dev/zero")
    assert refused(path).code == ("model-unsafe" if what == "link" else "model-weights")


def test_weights_beside_an_onnx_file_are_found_also_in_a_cache_of_links(tmp_path: Path) -> None:
    blobs, view = tmp_path / "blobs", tmp_path / "view"
    blobs.mkdir()
    view.mkdir()
    (blobs / "1").write_bytes(np.zeros(108, np.float32).tobytes())
    external(blobs / "2", "w.bin")
    (view / "net.onnx").symlink_to("../blobs/2")
    (view / "w.bin").symlink_to("../blobs/1")
    assert external_files(view / "net.onnx") == (view / "w.bin",)


def saved(path: Path, nodes: list[onnx.NodeProto], shape: list[int | str], opset: int = 17) -> Path:
    kernel = np.random.default_rng(1).normal(0, 1, (3, 2, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=6), path)
    return path


def test_onnx_runtime_answers_what_openvino_answers(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "kernel"], ["y"])
    imported = read(saved(tmp_path / "net.onnx", [node], ["n", 2, 8, 8]))
    assert imported.run is not None
    image = np.random.default_rng(2).normal(0, 1, (1, 2, 8, 8)).astype(np.float32)
    reference = Reference.of(imported.model, [imported.model.inputs[0].partial_shape], None)
    np.testing.assert_allclose(imported.run([image])[0], reference([image])[0], atol=1e-5)


def test_a_fixed_shape_is_opened_for_another(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "kernel"], ["y"])
    run = runner(saved(tmp_path / "net.onnx", [node], [1, 2, 8, 8]))
    assert run is not None
    for shape in ((1, 2, 8, 8), (2, 2, 16, 12)):
        assert run([np.zeros(shape, np.float32)])[0].shape == (
            shape[0],
            3,
            *np.subtract(shape[2:], 2),
        )


def test_onnx_runtime_does_not_judge_what_it_does_not_know(tmp_path: Path) -> None:
    odd = helper.make_node("Odd", ["x"], ["y"], domain="of.nobody")
    assert runner(saved(tmp_path / "net.onnx", [odd], [1, 2, 8, 8])) is None


def test_a_shape_that_onnx_runtime_does_not_take_is_named(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "kernel"], ["y"])
    run = runner(saved(tmp_path / "net.onnx", [node], [1, 2, 8, 8]))
    assert run is not None
    with pytest.raises(ModelError, match=r"net\.onnx.*\[1, 5, 8, 8\]") as refused:
        run([np.zeros((1, 5, 8, 8), np.float32)])
    assert refused.value.code == "model-unrunnable"


def test_what_openvino_computes_otherwise_shows(tmp_path: Path) -> None:
    node = helper.make_node(
        "ConvTranspose", ["x", "kernel"], ["y"],
        strides=[2, 2], auto_pad="SAME_UPPER", output_shape=[14, 14],
    )  # fmt: skip
    imported = read(saved(tmp_path / "net.onnx", [node], [1, 3, 7, 7]))
    shapes = [imported.model.inputs[0].partial_shape]
    reference = Reference.of(imported.model, shapes, imported.run)
    difference = compare(imported.model, reference, [Steps()], [()])
    assert difference is not None
    assert difference > 0.1


@pytest.mark.parametrize("opset", [9, 11, 12, 13])
@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, 3, None])
def test_softmax_runs_over_what_its_operator_set_says(
    tmp_path: Path, opset: int, kind: str, axis: int | None
) -> None:
    node = helper.make_node(kind, ["x"], ["y"])
    if axis is not None:
        node.attribute.append(helper.make_attribute("axis", axis))
    path = saved(tmp_path / "net.onnx", [node], ["n", 3, 4, 5], opset)
    image = np.random.default_rng(4).normal(0, 1, (2, 3, 4, 5)).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    imported = read(path).model
    assert imported.outputs[0].get_any_name() == "y"
    (answer,) = compile_here(imported)([image])
    np.testing.assert_allclose(answer, session.run(None, {"x": image})[0], atol=2e-6)
