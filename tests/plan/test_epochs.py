"""Whether epochs follow the published points, and nothing is said beyond them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.errors import UsageError
from thorax.plan.epochs import REFERENCE, Curve, epochs_for, reference_epochs


@pytest.mark.parametrize(("batch", "epochs"), REFERENCE)
def test_a_published_batch_needs_its_published_epochs(batch: int, epochs: float) -> None:
    assert reference_epochs(batch) == pytest.approx(epochs)


@given(st.floats(1, REFERENCE[-1][0]), st.floats(1, 2))
def test_a_larger_batch_never_needs_fewer_epochs(batch: float, times: float) -> None:
    larger = min(batch * times, float(REFERENCE[-1][0]))
    assert reference_epochs(batch) <= reference_epochs(larger) + 1e-9


def test_between_two_points_lies_what_is_between_them() -> None:
    assert reference_epochs((4096 * 8192) ** 0.5) == pytest.approx(41)
    assert reference_epochs(16) == 35


def test_nothing_is_said_beyond_the_last_point() -> None:
    with pytest.raises(UsageError, match="at most 67,840") as caught:
        reference_epochs(70_000)
    assert caught.value.code == "plan-epochs-batch"


def test_the_batch_that_has_no_published_epochs_is_named() -> None:
    def found(batch: float, stated: float) -> float:
        return epochs_for(90, batch, images=86_524, stated_batch=stated, curve=Curve.MLPERF_SCALED)

    with pytest.raises(UsageError, match=r"stated for a batch of 8,192.*give --epochs-batch"):
        found(128, 8192)
    with pytest.raises(UsageError, match=r"up to a batch of 4,581 of 86,524 images, not for 8,192"):
        found(8192, 128)
    assert found(1024, 128) > 90


def test_stated_epochs_hold_at_their_batch_whatever_the_curve() -> None:
    for curve in Curve:
        found = epochs_for(90, 4096, images=1_281_167, stated_batch=4096, curve=curve)
        assert found == pytest.approx(90)


def test_a_small_set_of_images_needs_more_epochs_at_smaller_batches() -> None:
    def found(curve: Curve) -> float:
        return epochs_for(90, 1024, images=86_524, stated_batch=64, curve=curve)

    assert found(Curve.CONSTANT) == 90
    assert found(Curve.MLPERF) == 90
    assert found(Curve.MLPERF_SCALED) == pytest.approx(
        90 * reference_epochs(1024 * 1_281_167 / 86_524) / 35
    )
