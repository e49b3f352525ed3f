"""Graphs of other element types: computed in FP32, fed and answered as real numbers."""

from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.errors import ModelError
from thorax.ir.element_types import (
    answer_reals,
    as_fed,
    compute_in_f32,
    computes_in,
    feed_reals,
    is_quantized,
)

WEIGHT = np.array([[0.5, -1.25], [2.0, 0.75], [0.25, 1.0]], np.float32)
VALUES = np.array([[3.0, 7.0]], np.float32)


def run(model: ov.Model, values: np.ndarray = VALUES) -> np.ndarray:
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.asarray(ov.Core().compile_model(model, "CPU", hint)([values])[0])


def product(kind: ov.Type, *, inside: bool) -> ov.Model:
    """Return a matrix product in a type, which `inside` alone has, or input and output too."""
    fed = ops.parameter([1, 2], ov.Type.f32 if inside else kind)
    value = ops.matmul(ops.convert(fed, kind), ops.constant(WEIGHT, kind), False, True)
    return ov.Model([ops.convert(value, "f32") if inside else value], [fed])


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("kind", [ov.Type.f16, ov.Type.bf16, ov.Type.f64])
def test_every_real_type_is_computed_in_f32(kind: ov.Type, inside: bool) -> None:
    model = product(kind, inside=inside)
    name = kind.get_type_name()
    assert computes_in(model) == ("f32" if name == "f64" else name)
    compute_in_f32(model, "net")
    ports = (*model.inputs, *model.outputs)
    assert {port.get_element_type().get_type_name() for port in ports} == {"f32"}
    assert computes_in(model) == "f32"
    np.testing.assert_array_equal(run(model), VALUES @ WEIGHT.T)


def test_weights_that_are_only_stored_with_16_bits_stay_so() -> None:
    image = ops.parameter([1, 2], ov.Type.f32)
    stored = ops.constant(WEIGHT, ov.Type.f16)
    model = ov.Model([ops.matmul(image, ops.convert(stored, "f32"), False, True)], [image])
    assert computes_in(model) == "f32"
    compute_in_f32(model, "net")
    kinds = {node.get_output_element_type(0).get_type_name() for node in model.get_ops()}
    assert kinds == {"f32", "f16"}


def halved(kind: str) -> ov.Model:
    image = ops.parameter([1, 2], getattr(ov.Type, kind), name="image")
    return ov.Model([ops.multiply(ops.convert(image, "f32"), np.float32(0.5))], [image])


def test_an_input_of_bytes_takes_the_nearest() -> None:
    model = halved("u8")
    feed_reals(model, "net", (0.0, 255.0))
    assert model.inputs[0].get_element_type() == ov.Type.f32
    assert model.inputs[0].get_node().get_friendly_name() == "image"
    given = np.array([[254.9999, 300.0]], np.float32)
    np.testing.assert_array_equal(run(model, given), [[127.5, 127.5]])


@pytest.mark.parametrize(
    ("kind", "span"), [("i8", (0.0, 255.0)), ("u8", (-2.1, 2.6)), ("boolean", (0.0, 1.0))]
)
def test_an_input_that_cannot_hold_the_image_is_refused(
    kind: str, span: tuple[float, float]
) -> None:
    with pytest.raises(ModelError, match="takes") as refused:
        feed_reals(halved(kind), "net", span)
    assert refused.value.code == "model-input"


def quantized() -> ov.Model:
    """Return int8 to int8: -128..127 stand for 0..255, answers for 0 to 1 in 256ths."""
    image = ops.parameter([1, 2], ov.Type.i8, name="image")
    low, high = np.float32(-128), np.float32(127)
    value = ops.fake_quantize(
        ops.convert(image, "f32"), low, high, np.float32(0), np.float32(255), 256
    )
    scaled = ops.multiply(value, np.float32(1 / 255))
    narrow = ops.fake_quantize(scaled, np.float32(0), np.float32(255 / 256), low, high, 256)
    return ov.Model([ops.convert(narrow, "i8")], [image])


def test_quantised_inputs_and_outputs_take_and_answer_what_they_stand_for() -> None:
    model = quantized()
    assert is_quantized(model)
    feed_reals(model, "net", (0.0, 255.0))
    answer_reals(model, "net")
    answer = run(model, np.array([[63.7, 255.0]], np.float32))
    np.testing.assert_allclose(answer, [[64 / 256, 255 / 256]], atol=1e-6)


def test_a_range_that_a_quantised_input_does_not_have_is_refused() -> None:
    with pytest.raises(ModelError, match="from 0 to 255"):
        feed_reals(quantized(), "net", (-128.0, 127.0))


def test_classes_are_no_scores() -> None:
    image = ops.parameter([1, 2], ov.Type.f32)
    with pytest.raises(ModelError, match="i64") as refused:
        answer_reals(ov.Model([ops.convert(image, "i64")], [image]), "net")
    assert refused.value.code == "model-outputs"


@pytest.mark.parametrize(
    ("kind", "wanted"), [(np.uint8, [0, 3, 255]), (np.float16, [-1.0, 2.6, 300.0])]
)
def test_values_are_fed_in_the_type_of_the_source(kind: type[Any], wanted: list[float]) -> None:
    fed = as_fed(np.array([-1.0, 2.6, 300.0], np.float32), np.dtype(kind))
    assert fed.dtype == kind
    np.testing.assert_array_equal(fed, np.array(wanted, kind))
