"""Reversal, mean, scale and layout in the graph, against NumPy."""

import itertools

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.mo.preprocessing import Steps, append_layout, prepend

NHWC_OF_NCHW = (0, 2, 3, 1)


def identity(shape: tuple[int, ...], kind: str = "f32") -> ov.Model:
    """Return a graph that answers its input `x`, as `y`."""
    taken = ops.parameter(ov.PartialShape(list(shape)), getattr(ov.Type, kind), name="x")
    taken.output(0).set_names({"x"})
    answer = ops.abs(ops.convert(taken, "f32"))
    answer.output(0).set_names({"y"})
    return ov.Model([ops.result(answer)], [taken], "net")


def run(model: ov.Model, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.asarray(ov.Core().compile_model(model, "CPU", hint)(values)[0])


def pixels(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    return np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("reverse", "mean", "scale"),
    [
        *itertools.product(
            [False, True], [(), (7.0,), (123.68, 116.78, 103.94)], [(), (58.0,), (1.0, 2.0, 4.0)]
        )
    ],
)
def test_channels_are_reversed_then_the_mean_goes_then_the_scale(
    reverse: bool, mean: tuple[float, ...], scale: tuple[float, ...]
) -> None:
    model = identity((2, 3, 4, 5))
    prepend(model, 0, Steps("NCHW", (), reverse, mean, scale))
    image = pixels((2, 3, 4, 5))
    wanted = image[:, ::-1] if reverse else image.copy()
    wanted = wanted.copy()
    for channel in range(3):
        if mean:
            wanted[:, channel] -= mean[channel] if len(mean) == 3 else mean[0]
        if scale:
            wanted[:, channel] /= scale[channel] if len(scale) == 3 else scale[0]
    np.testing.assert_allclose(run(model, image), np.abs(wanted), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("mean", [(), (1.0, 2.0, 3.0)])
def test_a_network_with_channels_last_is_fed_with_channels_first(mean: tuple[float, ...]) -> None:
    model = identity((1, 4, 5, 3))
    prepend(model, 0, Steps("NCHW", NHWC_OF_NCHW, True, mean, ()))
    assert list(model.inputs[0].shape) == [1, 3, 4, 5]
    assert model.inputs[0].any_name == "x"
    assert model.get_parameters()[0].get_friendly_name() == "x"
    assert str(model.get_parameters()[0].get_layout()) == "[N,C,H,W]"
    image = pixels((1, 3, 4, 5))
    wanted = np.moveaxis(image, 1, 3)[..., ::-1] - (np.array(mean) if mean else 0)
    np.testing.assert_allclose(run(model, image), np.abs(wanted), rtol=1e-6, atol=1e-4)


def test_what_the_steps_apply_is_what_the_graph_does() -> None:
    steps = Steps("NCHW", NHWC_OF_NCHW, True, (1.0, 2.0, 3.0), (4.0,))
    model = identity((1, 4, 5, 3))
    prepend(model, 0, steps)
    image = pixels((1, 3, 4, 5))
    np.testing.assert_allclose(run(model, image), np.abs(steps.apply(image)), rtol=1e-6, atol=1e-5)


def test_bytes_are_widened_before_the_mean_and_come_back_as_what_the_network_takes() -> None:
    model = identity((1, 3, 2, 2), "u8")
    prepend(model, 0, Steps("NCHW", (), True))
    image = pixels((1, 3, 2, 2)).astype(np.uint8)
    assert model.inputs[0].get_element_type() == ov.Type.u8
    np.testing.assert_array_equal(run(model, image), image[:, ::-1])


def test_the_other_inputs_are_left_as_they_are() -> None:
    first, second = (ops.parameter([1, 3, 2, 2], np.float32, name=name) for name in "ab")
    for node, name in ((first, "a"), (second, "b")):
        node.output(0).set_names({name})
    model = ov.Model([ops.result(ops.subtract(first, second))], [first, second], "two")
    prepend(model, 1, Steps("NCHW", (), False, (5.0,)))
    assert [port.any_name for port in model.inputs] == ["a", "b"]
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    image = pixels((1, 3, 2, 2))
    np.testing.assert_allclose(compiled([image, image])[0], 5, atol=1e-4)


def test_an_output_is_turned_and_keeps_its_name() -> None:
    model = identity((1, 4, 5, 3))
    append_layout(model, 0, (0, 3, 1, 2), "NCHW")
    model.validate_nodes_and_infer_types()
    image = pixels((1, 4, 5, 3))
    assert model.outputs[0].any_name == "y"
    np.testing.assert_array_equal(run(model, image), image.transpose(0, 3, 1, 2))


def test_steps_are_told_in_words() -> None:
    steps = Steps("NCHW", NHWC_OF_NCHW, True, (1.5, 2.0, 3.0), (4.0,))
    assert steps.words() == ("channels reversed, minus [1.5,2,3], divided by 4, turned to NHWC")
    assert Steps("NCHW").words() == ""
