"""Graphs of one image run with several, or say that they cannot."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.errors import ModelError
from thorax.importers.formats import read
from thorax.ir.shapes import fix_shapes, open_batch


def flattening(target: Sequence[int], *, special_zero: bool = False) -> ov.Model:
    """Return [1,3,2,2] flattened as an exporter wrote it, then a linear layer."""
    image = ops.parameter([1, 3, 2, 2], np.float32, "x")
    flat = ops.reshape(image, ops.constant(np.array(target)), special_zero)
    rows = ops.reshape(flat, ops.constant(np.array([1, 12])), False)
    weight = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    made = ops.matmul(rows, ops.constant(weight), False, False)
    return ov.Model([ops.result(made)], [image], "net")


def run(model: ov.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(
        ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(images)[0]
    )


@pytest.mark.parametrize(
    ("target", "special_zero"),
    [
        ([1, -1], False),
        ([1, 12], False),
        ([1, 3, -1], False),
        ([1, 0, 4], True),
        ([1, 0, -1], True),
        ([-1, 12], False),
        ([0, -1], True),
    ],
)
def test_a_batch_stated_in_a_reshape_is_only_one_of_its_values(
    target: list[int], special_zero: bool
) -> None:
    images = np.random.default_rng(1).normal(size=(4, 3, 2, 2)).astype(np.float32)
    one = flattening(target, special_zero=special_zero)
    wanted = np.concatenate([run(one, image[None]) for image in images])
    several = flattening(target, special_zero=special_zero)
    open_batch(several)
    several.reshape([4, 3, 2, 2])
    assert list(several.outputs[0].shape) == [4, 5]
    np.testing.assert_allclose(run(several, images), wanted, rtol=0, atol=1e-6)


def test_a_reshape_whose_one_is_not_the_batch_is_left_alone() -> None:
    image = ops.parameter([1, 4, 2, 2], np.float32, "x")
    # Rows of one channel each: what leads is 1 only because there are four rows.
    rows = ops.reshape(image, ops.constant([-1, 4]), False)
    model = ov.Model([ops.result(ops.reshape(rows, ops.constant([1, 16]), False))], [image], "n")
    open_batch(model)
    kinds = [node for node in model.get_ordered_ops() if node.get_type_name() == "Reshape"]
    assert [list(node.input_value(1).get_node().data) for node in kinds] == [[-1, 4], [1, 16]]


def test_a_reshape_that_names_the_batch_follows_it(
    save_onnx: Callable[..., Path], tmp_path: Path
) -> None:
    model = read(save_onnx(tmp_path / "net.onnx", baked=True)).model
    fix_shapes(model, [ov.PartialShape([5, 3, 8, 8])], "net")
    assert list(model.outputs[0].shape) == [5, 2]
    assert "flat" in {node.get_friendly_name() for node in model.get_ops()}


def test_a_reshape_that_names_a_batch_of_several_follows_it() -> None:
    image = ops.parameter([2, 3, 8, 8], ov.Type.f32, name="x")
    flat = ops.reshape(image, ops.constant([2, 192]), False)
    flat.set_friendly_name("flat")
    flat.output(0).set_names({"flattened"})
    model = ov.Model([ops.result(flat)], [image], "net")
    fix_shapes(model, [ov.PartialShape([5, 3, 8, 8])], "net")
    assert list(model.outputs[0].shape) == [5, 192]
    assert model.outputs[0].get_names() == {"flattened"}


@pytest.mark.parametrize("batch", [2, 3])
def test_a_layer_that_holds_the_batch_fast_is_named(batch: int) -> None:
    taken = ops.parameter([1, 4], ov.Type.f32, name="x")
    relu = ops.relu(taken)
    held = ops.reduce_sum(relu, 0, keep_dims=True)
    held.set_friendly_name("sum")
    model = ov.Model([ops.result(held)], [taken], "net")
    with pytest.raises(ModelError, match="'sum' still answers 1") as caught:
        fix_shapes(model, [ov.PartialShape([batch, 4])], "net")
    assert caught.value.code == "model-input"
