"""Shapes and the batch."""

from collections.abc import Callable
from pathlib import Path

import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.errors import ModelError
from thorax.importers.formats import read
from thorax.mo.reshape import fix_shapes


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
