"""Optimizers: which parameters decay, and torch's own as the reference."""

import pytest
import torch

from thorax.training.networks import build as network
from thorax.training.optimizers import Adam, AdamW, Sgd, build

ALL: list[Sgd | Adam | AdamW] = [
    Sgd(kind="sgd"),
    Adam(kind="adam", weight_decay=0.1),
    AdamW(kind="adamw"),
]


@pytest.mark.parametrize("settings", ALL)
def test_biases_and_batch_normalisation_do_not_decay(settings: Sgd | Adam | AdamW) -> None:
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
def test_zero_gradients_shrink_weights_only(settings: Sgd | Adam | AdamW) -> None:
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
