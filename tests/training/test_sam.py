"""The climb against the published formulas, and the exact way back."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from thorax.errors import UsageError
from thorax.training.networks import build
from thorax.training.sam import Ascent, Sam

Array = npt.NDArray[np.float64]


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Return a small network with a gradient for every parameter but those of its last layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2), nn.Linear(2, 2)
        ).to(dtype)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.copy_(torch.randn_like(parameter))
                parameter.grad = torch.randn_like(parameter)
    for parameter in made[4].parameters():
        parameter.grad = None
    return made


def slopes(net: nn.Module) -> dict[str, Array]:
    return {
        name: parameter.grad.double().numpy()
        for name, parameter in net.named_parameters()
        if parameter.grad is not None
    }


def weights(net: nn.Module) -> dict[str, Array]:
    return {name: p.detach().double().numpy().copy() for name, p in net.named_parameters()}


def length(tensors: list[Array]) -> float:
    return math.sqrt(sum(float((tensor**2).sum()) for tensor in tensors))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_sam_climbs_rho_along_the_gradient(dtype: torch.dtype) -> None:
    net = network(dtype)
    before, slope = weights(net), slopes(net)
    Ascent(Sam(rho=0.3)).climb(net)
    tolerance = 1e-13 if dtype == torch.float64 else 1e-6
    for name, now in weights(net).items():
        wanted = before[name]
        if name in slope:
            wanted = wanted + 0.3 * slope[name] / length(list(slope.values()))
        np.testing.assert_allclose(now, wanted, rtol=tolerance, atol=tolerance)
    moved = [weights(net)[name] - before[name] for name in before]
    assert length(moved) == pytest.approx(0.3, rel=1e-5)


def test_asam_climbs_relative_to_weights_and_not_to_biases() -> None:
    net = network()
    before, slope = weights(net), slopes(net)
    sizes = {
        name: np.abs(weight) + 0.05 if name.endswith("weight") else np.ones_like(weight)
        for name, weight in before.items()
    }
    whole = length([sizes[name] * slope[name] for name in slope])
    Ascent(Sam(rho=0.7, adaptive=True, eta=0.05)).climb(net)
    for name, now in weights(net).items():
        wanted = before[name]
        if name in slope:
            wanted = wanted + 0.7 * sizes[name] ** 2 * slope[name] / whole
        np.testing.assert_allclose(now, wanted, rtol=1e-13, atol=1e-13)
    assert {"1.weight", "1.bias"} <= slope.keys()


def test_asam_does_not_see_a_rescaled_network_and_sam_does() -> None:
    def climbed(settings: Sam, scale: float) -> Tensor:
        first, second = torch.tensor([[2.0]]) * scale, torch.tensor([[3.0]]) / scale
        layers = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        net = nn.Sequential(*layers).double()
        with torch.no_grad():
            layers[0].weight.copy_(first)
            layers[1].weight.copy_(second)
        net(torch.ones(1, 1, dtype=torch.float64)).square().sum().backward()
        Ascent(settings).climb(net)
        answer: Tensor = net(torch.ones(1, 1, dtype=torch.float64))
        return answer.detach()

    adaptive, plain = Sam(rho=0.2, adaptive=True, eta=0.0), Sam(rho=0.2)
    torch.testing.assert_close(climbed(adaptive, 1.0), climbed(adaptive, 10.0))
    assert not torch.allclose(climbed(plain, 1.0), climbed(plain, 10.0), rtol=1e-2)


def test_the_second_gradient_of_a_quadratic_is_the_one_worked_out_by_hand() -> None:
    # L = w^T H w / 2 with H = diag(1, 10) at (3, 0.4): g = (3, 4), |g| = 5, e = rho (0.6, 0.8).
    layer = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 0.4]]))
    curvature = torch.tensor([1.0, 10.0], dtype=torch.float64)
    ascent = Ascent(Sam(rho=0.5))

    def slope() -> Tensor:
        layer.zero_grad()
        (0.5 * (curvature * layer.weight**2).sum()).backward()  # type: ignore[no-untyped-call]
        assert layer.weight.grad is not None
        return layer.weight.grad

    slope()
    ascent.climb(layer)
    second = slope()
    ascent.descend()
    wanted = torch.tensor([[3.3, 8.0]], dtype=torch.float64)
    torch.testing.assert_close(second, wanted)
    assert torch.equal(layer.weight, torch.tensor([[3.0, 0.4]]).double())


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("rho", [1e-8, 0.05, 1e6])
def test_the_way_back_is_exact_and_the_gradients_stay(adaptive: bool, rho: float) -> None:
    net = build("resnet18", classes=3, width=0.125).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    slope = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    ascent = Ascent(Sam(rho=rho, adaptive=adaptive))
    for _ in range(2):
        ascent.climb(net)
        assert rho < 1e-6 or not torch.equal(net.head.weight, before["fc.weight"])
        ascent.descend()
        for name, parameter in net.named_parameters():
            assert torch.equal(parameter, before[name])
            assert parameter.grad is not None
            assert torch.equal(parameter.grad, slope[name])


def test_where_the_gradient_is_zero_or_absent_nothing_moves() -> None:
    for gradient in (torch.zeros(1, 2), None):
        layer = nn.Linear(2, 1, bias=False)
        before = layer.weight.detach().clone()
        layer.weight.grad = gradient
        for adaptive in (False, True):
            ascent = Ascent(Sam(adaptive=adaptive))
            ascent.climb(layer)
            assert torch.equal(layer.weight, before)
            ascent.descend()
            assert torch.equal(layer.weight, before)


def test_a_gradient_that_is_no_number_is_left_behind_by_the_way_back() -> None:
    layer = nn.Linear(2, 1, bias=False)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.full((1, 2), torch.nan)
    ascent = Ascent(Sam())
    ascent.climb(layer)
    assert layer.weight.isnan().all()
    ascent.descend()
    assert torch.equal(layer.weight, before)


def test_two_climbs_in_a_row_are_a_mistake_of_ours() -> None:
    net = network()
    ascent = Ascent(Sam())
    ascent.climb(net)
    with pytest.raises(AssertionError, match="descend"):
        ascent.climb(net)


def test_a_sparse_gradient_is_refused() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(UsageError, match="sparse"):
        Ascent(Sam()).climb(table)
