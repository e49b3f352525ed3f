"""The source that a conversion is held against."""

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.errors import ModelError
from thorax.mo.preprocessing import Steps, prepend
from thorax.mo.verify import Reference, compare


def double(shape: list[int]) -> ov.Model:
    taken = ops.parameter(ov.PartialShape(shape), ov.Type.f32, name="x")
    answer = ops.multiply(taken, ops.constant(np.float32(2)))
    return ov.Model([ops.result(answer)], [taken], "net")


@pytest.mark.parametrize(("factor", "low", "high"), [(1.0, 0, 1e-7), (1.001, 5e-4, 2e-3)])
def test_the_difference_is_relative(factor: float, low: float, high: float) -> None:
    shapes = [ov.PartialShape([1, 3, 4, 4])]
    reference = Reference.of(
        double([1, 3, 4, 4]), shapes, lambda values: [values[0] * np.float32(2 * factor)]
    )
    found = compare(double([1, 3, 4, 4]), reference, [Steps()], [()])
    assert found is not None
    assert low <= found <= high


def test_not_a_number_is_not_equal() -> None:
    shapes = [ov.PartialShape([1, 3])]
    reference = Reference.of(
        double([1, 3]), shapes, lambda values: [np.full_like(values[0], np.nan)]
    )
    found = compare(double([1, 3]), reference, [Steps()], [()])
    assert found is not None
    assert not found <= 1


def test_a_batch_is_held_against_its_images_one_by_one() -> None:
    shapes = [ov.PartialShape([3, 4])]
    reference = Reference.of(double([1, 4]), shapes, None)
    assert reference.one_by_one
    assert compare(double([3, 4]), reference, [Steps()], [()]) == 0


def test_a_graph_that_cannot_run_is_refused() -> None:
    sharp = ops.parameter([1, 3], ov.Type.f32, name="x")
    scattered = ops.gather_elements(sharp, ops.constant(np.full((1, 3), 9)), 1)
    model = ov.Model([ops.result(scattered)], [sharp], "net")
    with pytest.raises(ModelError, match="net can be read but not run") as refused:
        Reference.of(model, [ov.PartialShape([1, 3])], None)
    assert refused.value.code == "model-unrunnable"


def test_steps_that_are_missing_show() -> None:
    shapes = [ov.PartialShape([1, 3, 4, 4])]
    steps = Steps("NCHW", (), True, (1.0, 2.0, 3.0))
    model = double([1, 3, 4, 4])
    reference = Reference.of(model, shapes, None)
    wrong = compare(model, reference, [steps], [()])
    assert wrong is not None
    assert wrong > 1e-2
    prepend(model, 0, steps)
    right = compare(model, reference, [steps], [()])
    assert right is not None
    assert right < 1e-6
