"""Sharpness of whole networks: nothing is touched, the numbers hang together."""

import copy

import pytest
import torch

from thorax.data.store import Store
from thorax.images.preprocess import InputSpec
from thorax.landscape.sharpness import (
    QUICK,
    SharpnessSettings,
    evaluations,
    measure,
    phi,
)
from thorax.landscape.surface import draw
from thorax.training.networks import Classifier, build

SPEC = InputSpec(32)
SETTINGS = SharpnessSettings(
    ascent_steps=2, manifold_dimensions=5, manifold_iterations=2, power_iterations=2, batch=8
)


def network() -> Classifier:
    return build("resnet18", classes=3, width=0.125, seed=1)


def test_measuring_changes_no_bit_of_the_network_nor_its_mode(store: Store) -> None:
    for training, batch_norm in ((True, "running"), (False, "batch")):
        one = network().train(training)
        before = copy.deepcopy(one.state_dict())
        settings = SETTINGS.model_copy(update={"batch_norm": batch_norm})
        measure(one, draw(store, "train", 8), SPEC, settings)
        assert all(torch.equal(value, before[name]) for name, value in one.state_dict().items())
        assert one.training is training
        assert all(value.grad is None for value in one.parameters())


def test_the_numbers_are_the_same_every_time_and_work_is_told(store: Store) -> None:
    told: list[int] = []
    subset = draw(store, "train", 8)
    first = measure(network(), subset, SPEC, SETTINGS, on_progress=told.append)
    assert measure(network(), subset, SPEC, SETTINGS) == first
    assert set(told) == {8}
    assert len(told) >= evaluations(SETTINGS) - SETTINGS.power_iterations
    assert [(one.epsilon, one.dimensions) for one in first.keskar] == [
        (1e-3, None), (5e-4, None), (1e-3, 5), (5e-4, 5),
    ]  # fmt: skip
    assert first.keskar[0].phi > first.keskar[1].phi > 0
    assert all(one.highest_loss >= first.loss for one in first.keskar)
    assert all(one.rise >= 0 for one in first.adaptive)
    assert first.parameters == sum(one.numel() for one in network().parameters())


def test_what_is_left_out_is_absent(store: Store) -> None:
    settings = SETTINGS.model_copy(update={"manifold_dimensions": 0, "power_iterations": 0})
    found = measure(network(), draw(store, "train", 8), SPEC, settings)
    assert [one.dimensions for one in found.keskar] == [None, None]
    assert found.lambda_max is None


def test_phi_is_the_rise_in_percent_of_one_plus_the_loss() -> None:
    assert phi(1.0, 1.5) == 25.0


def test_rescaling_a_batch_normed_filter_changes_keskar_but_not_the_adaptive_box(
    store: Store,
) -> None:
    """Dinh et al.: the same function, another sharpness; relative boxes do not see it."""
    settings = SETTINGS.model_copy(
        update={"manifold_dimensions": 0, "power_iterations": 0, "batch_norm": "batch", "batch": 8}
    )
    subset = draw(store, "train", 8)
    plain, scaled = network(), network()
    with torch.no_grad():
        for module in scaled.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.mul_(8.0)
    one, other = (measure(each, subset, SPEC, settings) for each in (plain, scaled))
    assert other.loss == pytest.approx(one.loss, rel=1e-3)
    assert other.keskar[0].phi < 0.8 * one.keskar[0].phi
    assert other.adaptive[1].rise == pytest.approx(one.adaptive[1].rise, rel=0.05)


def test_the_quick_settings_leave_out_what_is_dear() -> None:
    assert evaluations(QUICK) == 50
    assert QUICK.images == 512
