"""Files that an ONNX model keeps weights in."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from tests.importers.small_models import NCHW

from thorax.errors import ThoraxError
from thorax.importers.frontends import read
from thorax.importers.onnx_external import external_files
from thorax.importers.options import ImportOptions


def refused(path: Path) -> ThoraxError:
    with pytest.raises(ThoraxError) as caught:
        read(path, ImportOptions())
    return caught.value


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
    error = refused(external(folder / "net.onnx", location))
    assert (error.code, error.exit_code) == ("model-unsafe", 4)


@pytest.mark.parametrize("what", ["link", "pipe", "folder", "device", "nothing"])
def test_weights_of_onnx_are_a_file_of_its_folder(tmp_path: Path, what: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(432))
    (tmp_path / "folder").mkdir()
    path = external(tmp_path / "folder" / "net.onnx", "w.bin")
    place = tmp_path / "folder" / "w.bin"
    if what == "link":
        place.symlink_to(tmp_path / "secret")
    elif what == "pipe":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    elif what == "device":
        place.symlink_to("/dev/zero")
    wanted = "model-unsafe" if what == "link" else "model-weights"
    assert refused(path).code == wanted


def test_weights_beside_an_onnx_file_are_found_also_in_a_cache_of_links(tmp_path: Path) -> None:
    blobs, view = tmp_path / "blobs", tmp_path / "view"
    blobs.mkdir()
    view.mkdir()
    (blobs / "1").write_bytes(np.zeros(108, np.float32).tobytes())
    external(blobs / "2", "w.bin")
    (view / "net.onnx").symlink_to("../blobs/2")
    (view / "w.bin").symlink_to("../blobs/1")
    assert external_files(view / "net.onnx") == (view / "w.bin",)
