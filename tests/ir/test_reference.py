"""A foreign network's own scores: what it is fed, and what of its answers is taken."""

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.errors import ModelError
from thorax.importers.options import Imported
from thorax.ir.reference import SourceNetwork, reference_of, source_tolerance


def network(*, batch: int = 1) -> ov.Model:
    """Return an age that nothing depends on, an image of bytes, its mean, and a row of zeros."""
    age = ops.parameter([batch, 1], ov.Type.i64)
    image = ops.parameter([batch, 1, 2, 2], ov.Type.u8)
    mean = ops.reduce_mean(ops.convert(image, "f32"), np.array([2, 3]), False)
    return ov.Model([ops.convert(age, "f32"), mean], [age, image])


def test_the_image_is_fed_in_its_type_and_batch_and_zeros_beside_it() -> None:
    source = SourceNetwork.of(network(batch=2), (1,))
    image = np.array([[[[0.4, 1.6], [254.9, 300.0]]]], np.float32)
    age, fed = source.arrays(image)
    assert (age.dtype.name, age.shape, bool(age.any())) == ("int64", (2, 1), False)
    assert fed.dtype.name == "uint8"
    np.testing.assert_array_equal(fed, np.repeat([[[[0, 2], [255, 255]]]], 2, axis=0))
    answers = [np.ones((2, 1), np.float32), np.array([[0.25], [0.5]], np.float32)]
    np.testing.assert_array_equal(source.scores(answers), [0.25])


def test_several_outputs_are_put_side_by_side() -> None:
    source = SourceNetwork.of(network(), (1, 0))
    answers = [np.full((1, 1), 2, np.float32), np.full((1, 1), 3, np.float32)]
    np.testing.assert_array_equal(source.scores(answers), [3, 2])


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("f32", 1e-4), ("f64", 1e-4), ("f16", 5e-3), ("bf16", 5e-2)]
)
def test_what_may_differ_follows_the_type_that_is_computed_in(kind: str, tolerance: float) -> None:
    image = ops.parameter([1, 4], np.float32)
    narrow = ops.convert(image, kind)
    model = ov.Model([ops.convert(ops.add(narrow, narrow), "f32")], [image])
    assert source_tolerance(model) == tolerance


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("logit", [-500.0, 0.0, 500.0])
def test_extreme_logits_overflow_nothing(logit: float) -> None:
    image = ops.parameter([1, 1, 1, 1], np.float32)
    model = ov.Model([ops.reshape(image, np.array([1, 1]), False)], [image])
    source = SourceNetwork.of(model, (0,))
    reference = reference_of(Imported(model, "x", "NCHW", ()), model, source, "NCHW",
                             (None, "sigmoid"))  # fmt: skip
    wanted = {-500.0: 0, 0.0: 0.5, 500.0: 1}[logit]
    assert reference(np.full((1, 1, 1, 1), logit, np.float32)) == pytest.approx([wanted])


def test_probabilities_that_are_none_are_refused() -> None:
    image = ops.parameter([1, 1, 1, 1], np.float32)
    model = ov.Model([ops.reshape(image, np.array([1, 1]), False)], [image])
    source = SourceNetwork.of(model, (0,))
    reference = reference_of(Imported(model, "x", "NCHW", ()), model, source, "NCHW",
                             (None, "none"))  # fmt: skip
    assert reference(np.full((1, 1, 1, 1), 0.75, np.float32)) == pytest.approx([0.75])
    with pytest.raises(ModelError, match="answers 3"):
        reference(np.full((1, 1, 1, 1), 3, np.float32))
