"""A foreign file can crash, loop or eat memory: that ends a child, and is one line here."""

import gc
import itertools
import os
import re
import socket
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import openvino as ov
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from thorax.errors import ModelError, ThoraxError
from thorax.importers import formats, frontends, reader
from thorax.importers.options import MOST_LAYERS, ImportOptions
from thorax.isolation import confinement

pytestmark = pytest.mark.child

IMAGE = (1, 3, 32, 32)


def write_onnx(path: Path, nodes: list[Any], **constants: npt.NDArray[Any]) -> Path:
    """Write a network whose input is x and whose output is y."""
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def small(path: Path) -> Path:
    """Write a network of two layers."""
    random = np.random.default_rng(1)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["y"], name="second"),
    ]
    return write_onnx(path, nodes, k=random.standard_normal((4, 3, 3, 3)).astype(np.float32))


def failure(path: Path, options: ImportOptions | None = None) -> ThoraxError:
    """Read and run a file in every way, and return what it was refused with."""
    with pytest.raises(ThoraxError) as caught:  # noqa: PT012 - whichever step refuses
        imported = formats.read(path, options)
        model = imported.model
        model.reshape(list(IMAGE))
        image = np.zeros(IMAGE, np.float32)
        if imported.run is not None:
            imported.run([image])
        imported.compile(model)([image])
    assert "\n" not in caught.value.message
    return caught.value


def test_a_child_reads_what_this_process_would(tmp_path: Path) -> None:
    path = small(tmp_path / "a.onnx")
    here, there = frontends.read(path, ImportOptions()), formats.read(path)
    for name in ("framework", "layout", "files"):
        assert getattr(here, name) == getattr(there, name)
    layers = [
        {
            (node.get_friendly_name(), node.get_type_name())
            for node in one.model.get_ordered_ops()
            # What the framework left without a name OpenVINO numbers as it meets it in a process.
            if not re.search(r"_\d+$", node.get_friendly_name())
        }
        for one in (here, there)
    ]
    assert layers[0] == layers[1]
    assert len(layers[0]) >= 3
    image = np.random.default_rng(2).standard_normal(IMAGE).astype(np.float32)
    assert here.run is not None
    assert there.run is not None
    np.testing.assert_array_equal(here.run([image]), there.run([image]))
    np.testing.assert_array_equal(
        here.compile(here.model)([image]), there.compile(there.model)([image])
    )


def test_the_child_ends_with_what_it_read(tmp_path: Path) -> None:
    imported = formats.read(small(tmp_path / "a.onnx"))
    reader = imported.compile.__self__  # type: ignore[attr-defined]
    folder, process = reader.folder, reader._child.pid
    assert folder.is_dir()
    os.kill(process, 0)
    del reader, imported
    gc.collect()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_constant_that_unfolds_to_eight_gigabytes_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Expand", ["one", "size"], ["e"]),
        helper.make_node("ReduceSum", ["e", "axis"], ["r"], keepdims=0),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    path = write_onnx(
        tmp_path / "a.onnx",
        nodes,
        one=np.ones((1, 2), np.float32),
        size=np.array([1 << 30, 2], np.int64),
        axis=np.array([0, 1], np.int64),
    )
    assert path.stat().st_size < 700
    assert failure(path).code == "model-memory"


def test_a_layer_that_answers_eight_gigabytes_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Expand", ["p", "size"], ["e"]),
        helper.make_node("ReduceSum", ["e", "axis"], ["y"]),
    ]
    path = write_onnx(
        tmp_path / "a.onnx",
        nodes,
        size=np.array([1, 3, 1 << 15, 1 << 15], np.int64),
        axis=np.array([2, 3], np.int64),
    )
    assert failure(path).code == "model-memory"


def test_a_chain_of_layers_without_end_is_refused(tmp_path: Path) -> None:
    names = ["x", *(str(number) for number in range(MOST_LAYERS - 1)), "y"]
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)]
    found = failure(write_onnx(tmp_path / "a.onnx", nodes))
    assert (found.code, "layers" in found.message) == ("model-unreadable", True)


class Raising(torch.nn.Module):
    """A network that fails when it is run."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Fail."""
        if bool(x.sum() > -1e9):
            raise ValueError("not today")
        return x.mean((2, 3))


class Looping(torch.nn.Module):
    """A network that never ends."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Loop."""
        y = x.mean((2, 3))
        i = 0
        while i < 10**12:
            y = y + 1e-9
            i += 1
        return y


def script(network: torch.nn.Module, path: Path) -> None:
    """Save a network as TorchScript, which PyTorch calls deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(network).save(str(path))  # type: ignore[no-untyped-call]


@pytest.mark.slow
def test_what_a_foreign_network_raises_is_the_models_error(tmp_path: Path) -> None:
    script(Raising(), tmp_path / "a.pt")
    found = failure(tmp_path / "a.pt")
    assert isinstance(found, ModelError)
    assert (found.code, "not today" in found.message) == ("model-unrunnable", True)


@pytest.mark.slow
def test_a_network_that_never_ends_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confinement, "CPU_S", 12.0)
    script(Looping(), tmp_path / "a.pt")
    assert failure(tmp_path / "a.pt").code == "model-timeout"


USER = """
import os, pathlib, socket, subprocess
import torch

class Network(torch.nn.Sequential):
    pass

def build():
    {action}
    return Network(torch.nn.Conv2d(3, 2, 3))
"""

ACTIONS = {
    "nothing": ("pass", None),
    "crash": ("os.abort()", "model-crashed"),
    "exit": ("os._exit(0)", "model-crashed"),
    "write": ("pathlib.Path({victim!r}).write_text('new')", "model-topology"),
    "connect": ("socket.create_connection(('127.0.0.1', {port}))", "model-topology"),
    "run": ("subprocess.run(['touch', {victim!r}])", "model-topology"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIONS)
def test_code_that_runs_there_reaches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    action, code = ACTIONS[name]
    victim = tmp_path / "victim"
    victim.write_text("old")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        action = action.format(victim=str(victim), port=server.getsockname()[1])
        module = f"confined_user_{name}"
        (tmp_path / f"{module}.py").write_text(USER.format(action=action))
        tensors = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3)).state_dict()
        torch.save(tensors, tmp_path / "a.pth")
        options = ImportOptions(topology=f"{module}:build", shapes={"": IMAGE})
        with pytest.raises(ThoraxError) if code else nullcontext() as caught:
            formats.read(tmp_path / "a.pth", options)
        assert caught is None or caught.value.code == code
        with pytest.raises(BlockingIOError):
            server.accept()
    assert victim.read_text() == "old"


def test_a_file_that_changes_under_the_childs_feet_is_no_crash_here(tmp_path: Path) -> None:
    imported = formats.read(small(tmp_path / "a.onnx"))
    folder = imported.compile.__self__.folder  # type: ignore[attr-defined]
    for file in folder.glob("*.*"):
        if file.is_file():
            os.truncate(file, 0)
    assert sum(op.get_type_name() == "Convolution" for op in imported.model.get_ops()) == 1
    answer = imported.compile(imported.model)([np.ones(IMAGE, np.float32)])
    assert np.isfinite(answer[0]).all()


def test_arrays_cross_as_they_are() -> None:
    arrays: list[npt.NDArray[Any]] = [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.array(7, np.int64),
        np.zeros((0, 4), np.float16),
        np.array([[True], [False]]),
    ]
    data = b"".join(array.tobytes() for array in arrays)
    for before, after in zip(arrays, reader.unpack(reader.describe(arrays), data), strict=True):
        assert (before.dtype, before.shape) == (after.dtype, after.shape)
        np.testing.assert_array_equal(before, after)


def test_an_ir_of_openvino_itself_goes_through_too(tmp_path: Path) -> None:
    model = ov.Core().read_model(small(tmp_path / "a.onnx"))
    ov.save_model(model, tmp_path / "b.xml", compress_to_fp16=False)
    imported = formats.read(tmp_path / "b.xml")
    assert imported.framework == "openvino"
    assert imported.run is None
