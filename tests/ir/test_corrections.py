"""Pooling that rounds up, and LRN, against onnxruntime and torch."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import openvino as ov
import openvino.opset13 as ops
import openvino.opset14 as torch_ops
import pytest
import torch
from onnx import TensorProto, helper

from thorax.errors import ModelError
from thorax.importers.formats import read
from thorax.ir.corrections import correct

Array = npt.NDArray[np.float32]
CORE = ov.Core()
ROUNDED_UP = [
    (kernel, stride, pad, side)
    for kernel, stride, pad, side in itertools.product((1, 2, 3, 5), (2, 3, 4), (0, 1, 2), (8, 11))
    if pad * 2 <= kernel
]


def noise(*shape: int) -> Array:
    return np.random.default_rng(3).normal(0, 1, shape).astype(np.float32)


def compute(model: ov.Model, image: Array) -> Array:
    model.validate_nodes_and_infer_types()
    compiled = CORE.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled(image)[0])


def onnx_file(
    path: Path, kind: str, shape: tuple[int, ...], opset: int = 19, **said: object
) -> tuple[Path, Array]:
    """Return a network of one layer, and what onnxruntime computes of `noise`."""
    node = helper.make_node(kind, ["x"], ["y"], name="layer")
    node.attribute.extend(helper.make_attribute(key, value) for key, value in said.items())
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return path, np.asarray(session.run(None, {"x": noise(*shape)})[0])


def corrected(path: Path, image: Array) -> Array:
    model = read(path).model
    correct(model)
    assert model.outputs[0].get_any_name() == "y"
    return compute(model, image)


@pytest.mark.parametrize("kind", ["MaxPool", "exclude", "include"])
def test_pooling_that_rounds_up_is_that_of_onnxruntime(tmp_path: Path, kind: str) -> None:
    for kernel, stride, pad, side in ROUNDED_UP:
        shape = (1, 2, side, side + 1)
        counted = {} if kind == "MaxPool" else {"count_include_pad": int(kind == "include")}
        path, wanted = onnx_file(
            tmp_path / "net.onnx",
            "MaxPool" if kind == "MaxPool" else "AveragePool",
            shape,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            ceil_mode=1,
            **counted,
        )
        found = corrected(path, noise(*shape))
        assert found.shape == wanted.shape, (kernel, stride, pad, side)
        np.testing.assert_allclose(found, wanted, atol=1e-6, err_msg=f"{kernel, stride, pad, side}")


@pytest.mark.parametrize("kind", ["max", "exclude", "include"])
def test_pooling_that_rounds_up_is_that_of_torch(kind: str) -> None:
    for kernel, stride, pad, side in ROUNDED_UP:
        image = noise(1, 2, side, side + 1)
        size = (side, side + 1)
        pads = [pad, pad]
        x = ops.parameter([1, 2, *size], np.float32)
        if kind == "max":
            layer: torch.nn.Module = torch.nn.MaxPool2d(kernel, stride, pad, ceil_mode=True)
            node = ops.max_pool(
                x, [stride] * 2, [1, 1], pads, pads, [kernel] * 2, "ceil", "explicit"
            )
        else:
            layer = torch.nn.AvgPool2d(
                kernel, stride, pad, ceil_mode=True, count_include_pad=kind == "include"
            )
            node = ops.avg_pool(
                x, [stride] * 2, pads, pads, [kernel] * 2, kind == "exclude", "ceil"
            )
        model = ov.Model([node.output(0)], [x], "net")
        correct(model)
        wanted = layer(torch.from_numpy(image)).numpy()
        found = compute(model, image)
        assert found.shape == wanted.shape, (kernel, stride, pad, side)
        np.testing.assert_allclose(found, wanted, atol=1e-6, err_msg=f"{kernel, stride, pad, side}")


@pytest.mark.parametrize(
    ("kind", "shape", "said"),
    [
        ("MaxPool", (1, 2, 12, 12), {"dilations": [2, 2], "strides": [2, 2]}),
        ("MaxPool", (1, 2, 12, 13), {"pads": [1, 0, 0, 1], "strides": [3, 2]}),
        ("MaxPool", (1, 2, 12, 13), {"auto_pad": "VALID", "strides": [2, 2]}),
        ("AveragePool", (1, 2, 12, 13), {"pads": [1, 0, 0, 1], "count_include_pad": 1}),
        ("AveragePool", (1, 2, 12, 14), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ("AveragePool", (1, 2, 12), {"pads": [1, 1], "strides": [2], "count_include_pad": 1}),
        ("MaxPool", (1, 2, 9, 10, 11), {"pads": [1] * 6, "strides": [3, 3, 3]}),
    ],
)
def test_other_axes_pads_and_dilations_are_those_of_onnxruntime(
    tmp_path: Path, kind: str, shape: tuple[int, ...], said: dict[str, Any]
) -> None:
    kernel = [3] * (len(shape) - 2)
    path, wanted = onnx_file(
        tmp_path / "net.onnx", kind, shape, kernel_shape=kernel, ceil_mode=1, **said
    )
    np.testing.assert_allclose(corrected(path, noise(*shape)), wanted, atol=1e-6)


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("bias", [0.5, 1.0, 1.5, 2.0])
def test_response_norm_is_that_of_onnxruntime(tmp_path: Path, size: int, bias: float) -> None:
    shape = (1, 7, 5, 5)
    path, wanted = onnx_file(
        tmp_path / "net.onnx", "LRN", shape, size=size, alpha=0.3, beta=0.6, bias=bias
    )
    np.testing.assert_allclose(corrected(path, noise(*shape)), wanted, atol=1e-6)


def test_pooling_that_rounds_down_stays(tmp_path: Path) -> None:
    path, _ = onnx_file(tmp_path / "net.onnx", "MaxPool", (1, 2, 8, 8), kernel_shape=[3, 3])
    model = read(path).model
    correct(model)
    (layer,) = [node for node in model.get_ops() if node.get_type_name() == "MaxPool"]
    assert layer.get_type_info().version_id == "opset8"


@pytest.mark.parametrize(("kernel", "stride", "pad", "side"), ROUNDED_UP[::5])
def test_over_open_axes_rounding_up_is_that_of_torch(
    kernel: int, stride: int, pad: int, side: int
) -> None:
    image = noise(1, 2, side, side + 1)
    x = ops.parameter(ov.PartialShape([1, 2, -1, -1]), np.float32)
    geometry = [stride] * 2, [pad] * 2, [pad] * 2, [kernel] * 2
    most = ops.max_pool(x, geometry[0], [1, 1], *geometry[1:], "ceil", "explicit")
    mean = ops.avg_pool(x, *geometry, True, "ceil")
    for node, layer in (
        (most, torch.nn.MaxPool2d(kernel, stride, pad, ceil_mode=True)),
        (
            mean,
            torch.nn.AvgPool2d(kernel, stride, pad, ceil_mode=True, count_include_pad=False),
        ),
    ):
        model = ov.Model([node.output(0)], [x], "net")
        correct(model)
        wanted = layer(torch.from_numpy(image)).numpy()
        np.testing.assert_allclose(compute(model, image), wanted, atol=1e-6)


def test_a_mean_with_padding_rounded_up_over_an_open_axis_is_refused() -> None:
    x = ops.parameter(ov.PartialShape([1, 2, -1, -1]), np.float32)
    node = torch_ops.avg_pool(x, [2, 2], [1, 1], [1, 1], [3, 3], False, "ceil_torch")
    node.set_friendly_name("stem/pool")
    with pytest.raises(ModelError, match=r"stem/pool.*fixed shape") as refused:
        correct(ov.Model([node.output(0)], [x], "net"))
    assert refused.value.code == "model-input"
