"""Cuts by the names of layers, against the parts run one after the other."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
import pytest

from thorax.errors import ModelError, UsageError
from thorax.importers.formats import read
from thorax.mo.cut import cut, find_input, find_output
from thorax.mo.flags import Entry

Arrays = list[npt.NDArray[np.float32]]


@pytest.fixture
def model(save_onnx: Callable[..., Path], tmp_path: Path) -> ov.Model:
    return read(save_onnx(tmp_path / "net.onnx")).model


def run(model: ov.Model, *values: npt.NDArray[np.generic]) -> Arrays:
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answers = compiled(list(values))
    return [np.asarray(answers[port]) for port in compiled.outputs]


@pytest.fixture
def image() -> npt.NDArray[np.float32]:
    return np.random.default_rng(4).normal(size=(1, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("end", "begin"),
    [
        ("conv", "relu"), ("c", "0:relu"), ("conv", "conv:0"), ("relu", "pool"), ("pool", "flat"),
        ("p", "p"), ("flat", "0:prob"),
    ],
)  # fmt: skip
def test_two_halves_are_the_whole(
    model: ov.Model, image: npt.NDArray[np.float32], end: str, begin: str
) -> None:
    (whole,) = run(model, image)
    (half,) = run(cut(model.clone(), [], [end]), image)
    rest = cut(model.clone(), [Entry(begin)], [])
    assert [list(port.shape) for port in rest.inputs] == [list(half.shape)]
    np.testing.assert_allclose(run(rest, half)[0], whole, rtol=1e-5, atol=1e-6)


def test_a_layer_with_its_bias_begins_before_both(model: ov.Model) -> None:
    rest = cut(model, [Entry("conv")], [])
    assert [list(port.shape) for port in rest.inputs] == [[1, 3, 8, 8]]
    assert rest.inputs[0].any_name == "conv/placeholder_port_0"
    assert find_input(rest, "conv") == find_input(rest, "0:conv") == 0


def test_outputs_come_in_the_order_they_are_named(
    model: ov.Model, image: npt.NDArray[np.float32]
) -> None:
    both = cut(model, [], ["prob", "relu:0", "c"])
    assert [list(port.shape) for port in both.outputs] == [[1, 2], [1, 4, 8, 8], [1, 4, 8, 8]]
    _, relu, conv = run(both, image)
    np.testing.assert_array_equal(relu, np.maximum(conv, 0))
    assert "relu:0" in both.outputs[1].get_names()


def test_an_input_that_is_named_stays(model: ov.Model) -> None:
    for name in ("data", "data:0", "0:data"):
        same = cut(model.clone(), [Entry(name)], [])
        assert [port.any_name for port in same.inputs] == ["data"]


def test_a_frozen_input_is_a_constant(model: ov.Model, image: npt.NDArray[np.float32]) -> None:
    feature = run(cut(model.clone(), [], ["pool"]), image)[0]
    frozen = cut(model.clone(), [Entry("p", None, None, tuple(feature.ravel())), Entry("data")], [
        "prob", "relu",
    ])  # fmt: skip
    (whole,) = run(model, image)
    np.testing.assert_allclose(run(frozen, image * 0)[0], whole, rtol=1e-5)


def test_what_is_not_there_is_answered_with_what_is_near(model: ov.Model) -> None:
    for name in ("rellu", "rellu:0"):
        with pytest.raises(UsageError, match="near it are relu") as caught:
            find_output(model, name)
        assert caught.value.code == "mo-name"


@pytest.mark.parametrize(("name", "code"), [("7:relu", "mo-port"), ("relu:7", "mo-port")])
def test_ports_that_are_not_there_are_refused(model: ov.Model, name: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        cut(model, [Entry(name)], [])
    assert caught.value.code == code


def test_values_that_fill_no_shape_are_refused(model: ov.Model) -> None:
    with pytest.raises(UsageError) as caught:
        cut(model, [Entry("data", None, None, (1.0, 2.0))], [])
    assert caught.value.code == "mo-value"


def test_a_beginning_after_the_end_is_refused(model: ov.Model) -> None:
    with pytest.raises(ModelError) as caught:
        cut(model, [Entry("flat")], ["conv"])
    assert caught.value.code == "mo-apart"
