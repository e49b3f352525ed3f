"""Networks with channels last lose every transpose that only serves their layout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
import pytest
from openvino.frontend import FrontEndManager

from thorax.ir.fold import fold
from thorax.ir.layouts import cancel_transposes, count_transposes, take_channels_first
from thorax.ir.shapes import open_batch

MODELS = Path(__file__).parents[3] / "shared/data/models"
LAST, FIRST = np.array([0, 2, 3, 1]), np.array([0, 3, 1, 2])


def floats(values: npt.ArrayLike) -> ov.Node:
    return ops.constant(np.asarray(values, np.float32))


def convolve(image: ov.Node, outputs: int = 4) -> ov.Node:
    """Convolve [N,H,W,C] as frameworks with channels last are converted."""
    inputs = image.get_output_partial_shape(0)[3].get_length()
    kernel = np.random.default_rng(3).normal(0, 0.3, (outputs, inputs, 3, 3))
    turned = ops.transpose(image, ops.constant(FIRST))
    made = ops.convolution(turned, floats(kernel), [2, 2], [1, 1], [1, 1], [1, 1])
    return ops.transpose(made, ops.constant(LAST))


def backwards(image: ov.Node) -> ov.Node:
    """Turn the colours round as TensorFlow's `x[..., ::-1]` does."""
    zeros, steps = ops.constant(np.zeros(4, np.int64)), np.array([1, 1, 1, -1])
    open_ends = [1, 1, 1, 1]
    return ops.strided_slice(image, zeros, zeros, ops.constant(steps), open_ends, open_ends)


BORDERS = np.array([0, 1, 1, 0])
ENTRANCES: dict[str, Callable[[ov.Node], ov.Node]] = {
    "rescaling": lambda x: ops.subtract(ops.multiply(x, floats(2 / 255)), floats(1)),
    "normalization": lambda x: ops.divide(ops.subtract(x, floats([1, 2, 3])), floats([4, 5, 6])),
    "mean-of-caffe": lambda x: ops.subtract(backwards(x), floats([[[[103.9, 116.8, 123.7]]]])),
    "zero-padding": lambda x: ops.pad(
        x, ops.constant(BORDERS), ops.constant(BORDERS), "constant", floats(0)
    ),
    "reflection": lambda x: ops.pad(x, ops.constant(BORDERS), ops.constant(BORDERS), "reflect"),
    "cast": lambda x: ops.convert(ops.convert(x, np.int32), np.float32),
    "fake-quantize": lambda x: ops.fake_quantize(
        x, floats(0), floats(4), floats(0), floats(4), 256
    ),
}


@pytest.mark.parametrize("batch", [1, -1])
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_no_transpose_is_left_before_a_convolution_or_a_mean(entrance: str, batch: int) -> None:
    image = ops.parameter([batch, 16, 16, 3], np.float32, "x")
    first = ops.relu(convolve(ENTRANCES[entrance](image)))
    padded = ops.pad(
        ops.concat([first, first], 3), ops.constant(BORDERS), ops.constant(BORDERS), "constant"
    )
    turned = ops.transpose(padded, ops.constant(FIRST))
    inner = ops.convolution(
        turned, floats(np.full((4, 8, 3, 3), 0.1)), [1, 1], [0, 0], [0, 0], [1, 1]
    )
    second = ops.add(first, ops.transpose(inner, ops.constant(LAST)))
    pooled = ops.reduce_mean(second, ops.constant([1, 2]), False)
    model = ov.Model([ops.result(pooled)], [image], "net")
    picture = np.random.default_rng(4).uniform(0, 4, (1, 16, 16, 3)).astype(np.float32)
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    wanted = ov.compile_model(model.clone(), "CPU", hint)(picture)[0]
    take_channels_first(model)
    folded = fold(model)
    assert folded.transposes_removed == 5
    assert folded.transposes_left == count_transposes(model) == 0
    got = ov.compile_model(model, "CPU", hint)(picture.transpose(0, 3, 1, 2))[0]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-4)


def test_a_transpose_that_changes_the_answer_stays() -> None:
    image = ops.parameter([1, 3, 8, 8], np.float32, "x")
    turned = ops.transpose(image, ops.constant(LAST))
    model = ov.Model([ops.result(ops.reshape(turned, ops.constant([1, -1]), False))], [image], "n")
    cancel_transposes(model)
    assert count_transposes(model) == 1


@pytest.mark.realdata
@pytest.mark.skipif(not MODELS.is_dir(), reason="needs ../shared/data/models")
@pytest.mark.parametrize(
    ("name", "left"),
    # The detector's eight outputs are read row by row with the anchors last.
    [("resnet8_cifar/resnet8.tflite", 0), ("slim320/slim320.tflite", 8)],
)
def test_networks_of_others_run_with_channels_first(name: str, left: int) -> None:
    frontend = FrontEndManager().load_by_framework("tflite")
    model = frontend.convert(frontend.load(str(MODELS / name)))
    sides = [axis.get_length() for axis in list(model.inputs[0].get_partial_shape())[1:3]]
    picture = np.random.default_rng(4).normal(size=(1, *sides, 3)).astype(np.float32)
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    wanted = ov.compile_model(model.clone(), "CPU", hint)(picture)[0]
    take_channels_first(model)
    open_batch(model)
    folded = fold(model)
    assert folded.transposes_left == left
    got = ov.compile_model(model, "CPU", hint)(picture.transpose(0, 3, 1, 2))[0]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4)
