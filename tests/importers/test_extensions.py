"""Frontends that read custom layers; the example and its page, run as they stand."""

import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import openvino.opset13 as ops
import pytest
import torch
from onnx import TensorProto, helper
from openvino.frontend import FrontEndManager
from tests.importers.conftest import refused

from thorax.devices.extensions import add_extension
from thorax.importers import extensions, formats
from thorax.importers.options import ImportOptions, compile_here

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "custom_layer"
SPEC = f"{EXAMPLE / 'log_sum_exp_pool.py'}:LogSumExpPool"
IMAGE = np.random.default_rng(6).normal(size=(2, 3, 6, 5)).astype(np.float32)


def pooled(r: float) -> np.ndarray:
    """Return (1 / r) log(mean(exp(r x))) of every plane, [2,3]."""
    mean = np.exp(r * IMAGE.astype(np.float64)).mean((2, 3))
    return np.asarray(np.log(mean) / r)


def write(path: Path, domain: str = "example", r: float | None = None) -> Path:
    node = helper.make_node("LogSumExpPool", ["x"], ["y"], "pool", domain=domain, r=r)
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3, 1, 1])],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=versions), path)
    return path


def answer(model: ov.Model) -> np.ndarray:
    return compile_here(model)([IMAGE])[0].reshape(2, 3)


@pytest.mark.parametrize("r", [None, 3.0])
def test_an_onnx_layer_is_computed_by_a_python_class(r: float | None, tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", r=r)
    model = formats.read(path, ImportOptions(extensions=(SPEC,))).model
    assert "LogSumExpPool" in {node.get_type_name() for node in model.get_ops()}
    wanted = pooled(r or 10.0)
    np.testing.assert_allclose(answer(model), wanted, rtol=1e-5, atol=1e-5)
    ov.save_model(model, tmp_path / "net.xml", compress_to_fp16=False)
    again = formats.read(tmp_path / "net.xml", ImportOptions(extensions=(SPEC,))).model
    np.testing.assert_allclose(answer(again), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("domain", ["example", "other"])
def test_a_layer_that_nobody_named_is_refused(domain: str, tmp_path: Path) -> None:
    options = ImportOptions(extensions=() if domain == "example" else (SPEC,))
    error = refused(write(tmp_path / "net.onnx", domain), options)
    assert error.code == "model-layer"
    assert "LogSumExpPool" in error.message
    assert "--extension" in error.message


def test_a_pytorch_operator_is_computed_by_a_python_class() -> None:
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    @torch.library.custom_op("example::log_sum_exp_pool", mutates_args=())
    def pool(image: torch.Tensor, r: float) -> torch.Tensor:
        return ((image * r).exp().mean((2, 3), keepdim=True)).log() / r

    class Net(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(pool(image, 3.0))

    frontend = FrontEndManager().load_by_framework("pytorch")
    extensions.attach(frontend, (SPEC,))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        decoder = TorchScriptPythonDecoder(
            Net(), example_input=torch.from_numpy(IMAGE), trace_kwargs={"check_trace": False}
        )
    model = frontend.convert(frontend.load(decoder))
    np.testing.assert_allclose(answer(model), pooled(3.0), rtol=1e-5, atol=1e-5)


def test_openvino_lacks_the_layer_of_the_example() -> None:
    assert not [name for name in dir(ops) if "log_sum_exp" in name.lower() or "lse" in name.lower()]
    layer = add_extension(SPEC).layer
    assert layer is not None
    assert layer().get_type_info().version_id == "extension"


@pytest.mark.slow
def test_the_page_on_custom_layers_runs_as_it_stands(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("g++ is absent: tests/install-peers installs it")
    page = (ROOT / "docs" / "custom-layers.md").read_text("utf-8")
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    assert script.count("thorax ") == 6
    folder = tmp_path / "custom_layer"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # What was made with the one runs with the other, and with neither it is refused.
    more = (
        "thorax classify model drawn --csv python.csv "
        "--extension log_sum_exp_pool:LogSumExpPool\n"
        "thorax classify model drawn --csv cpp.csv --extension liblog_sum_exp_pool.so\n"
        "diff python.csv cpp.csv\n"
        "thorax optimize model --precision fp16 --out half --extension liblog_sum_exp_pool.so\n"
        "thorax analyze model --no-measure --peak-gops 9 --bandwidth-gb-s 9 "
        "--extension liblog_sum_exp_pool.so\n"
        "thorax compare model model-cpp --extension liblog_sum_exp_pool.so\n"
        "thorax classify model drawn && exit 9 || test $? = 5\n"
    )
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{script}\n{more}"],
        cwd=folder,
        env={**os.environ, "PATH": programs},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "device-extension" in done.stderr
    assert "extension::LogSumExpPool" in (folder / "model-cpp" / "card.json").read_text()
