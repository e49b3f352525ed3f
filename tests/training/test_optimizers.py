"""Optimizers: which parameters decay, and torch's own as the reference."""

import pytest
import torch

from thorax.training.networks import build as network
from thorax.training.optimizers import (
    LAMB,
    LARS,
    Adam,
    AdamW,
    Lamb,
    Lars,
    OptimizerSettings,
    Sgd,
    build,
)

ALL: list[OptimizerSettings] = [
    Sgd(kind="sgd"),
    Adam(kind="adam", weight_decay=0.1),
    AdamW(kind="adamw"),
    Lars(kind="lars"),
    Lamb(kind="lamb"),
]


@pytest.mark.parametrize("settings", ALL)
def test_biases_and_batch_normalisation_do_not_decay(settings: OptimizerSettings) -> None:
    net = network("resnet18", classes=3)
    optimizer = build(net, settings)
    decaying, free = optimizer.param_groups
    assert decaying["weight_decay"] == settings.weight_decay > 0
    assert free["weight_decay"] == 0
    assert all(parameter.ndim > 1 for parameter in decaying["params"])
    names = {id(p): name for name, p in net.named_parameters()}
    assert {names[id(p)].split(".")[-2].rstrip("0123456789") for p in free["params"]} == {
        "bn",
        "",
        "fc",
    }
    assert len(decaying["params"]) + len(free["params"]) == len(list(net.parameters()))


@pytest.mark.parametrize("settings", ALL)
def test_zero_gradients_shrink_weights_only(settings: OptimizerSettings) -> None:
    layer = torch.nn.Linear(50, 3)
    optimizer = build(layer, settings.model_copy(update={"weight_decay": 0.1}))
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for group in optimizer.param_groups:
        group["lr"] = 1e-3
    optimizer.step()
    assert layer.weight.norm() < weight.norm()
    assert torch.equal(layer.bias, bias)


def test_learning_rate_is_zero_until_a_schedule_sets_it() -> None:
    for settings in ALL:
        groups = build(torch.nn.Linear(2, 1), settings).param_groups
        assert {group["lr"] for group in groups} == {0.0}


def test_momentum_zero_is_plain_gradient_descent() -> None:
    layer = torch.nn.Linear(2, 1)
    optimizer = build(layer, Sgd(kind="sgd", momentum=0.0, weight_decay=0.0))
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.tensor([[1.0, -2.0]])
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before - torch.tensor([[0.5, -1.0]]))


def test_the_settings_of_large_batches_reach_their_optimizers() -> None:
    layer = torch.nn.Linear(3, 2)
    lars = build(
        layer,
        Lars(
            kind="lars",
            momentum=0.8,
            nesterov=True,
            weight_decay=0.3,
            trust_coefficient=0.02,
            eps=0.5,
            momentum_correction=True,
        ),
    )
    assert isinstance(lars, LARS)
    wanted = {
        "lr": 0.0,
        "momentum": 0.8,
        "nesterov": True,
        "weight_decay": 0.3,
        "trust_coefficient": 0.02,
        "eps": 0.5,
        "momentum_style": "paper",
        "momentum_correction": True,
        "exclude_1d": True,
    }
    assert {name: lars.param_groups[0][name] for name in wanted} == wanted
    outside = build(layer, Lars(kind="lars", momentum_style="torch"))
    assert outside.param_groups[0]["momentum_style"] == "torch"
    lamb = build(
        layer,
        Lamb(kind="lamb", beta1=0.8, beta2=0.95, eps=0.1, weight_decay=0.2, trust_ratio=False),
    )
    assert isinstance(lamb, LAMB)
    wanted = {"betas": (0.8, 0.95), "eps": 0.1, "weight_decay": 0.2, "trust_ratio": False}
    assert {name: lamb.param_groups[0][name] for name in wanted} == wanted


def test_nesterov_without_momentum_is_the_plain_step() -> None:
    for settings in (
        Sgd(kind="sgd", momentum=0.0),
        Lars(kind="lars", momentum=0.0, nesterov=True),
    ):
        assert not build(torch.nn.Linear(2, 1), settings).param_groups[0]["nesterov"]
