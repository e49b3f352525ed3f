"""Averaged weights: the average, the swap and the way back."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from thorax.errors import ModelError
from thorax.training.ema import Average, Ema


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))


def change(net: nn.Module, step: int) -> None:
    """Change weights and statistics as an update would."""
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for value in net.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.randn(value.shape, generator=generator))
            else:
                value.add_(1)


def state(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def test_the_average_is_the_weighted_sum_of_what_it_saw() -> None:
    net = network()
    average = Average(net, Ema(decay=0.6))
    wanted = {name: value.double().numpy() for name, value in state(net).items()}
    for step in range(20):
        change(net, step)
        average.update(net, step)
        decay = min(0.6, (1 + step) / (10 + step))
        for name, value in state(net).items():
            wanted[name] = decay * wanted[name] + (1 - decay) * value.double().numpy()
    found = average.tensors()
    assert found.keys() == {"0.weight", "0.bias"} | {
        f"1.{name}" for name in ("weight", "bias", "running_mean", "running_var")
    }
    for name, value in found.items():
        np.testing.assert_allclose(value.double().numpy(), wanted[name], rtol=1e-5, atol=1e-6)


def test_past_the_warm_up_it_is_the_average_of_torch() -> None:
    net = network()
    average = Average(net, Ema(decay=0.9))
    rule = get_ema_multi_avg_fn(0.9)  # type: ignore[no-untyped-call]
    peer = AveragedModel(net, multi_avg_fn=rule, use_buffers=True)
    peer.n_averaged.fill_(1)
    for step in range(1000, 1010):
        change(net, step)
        average.update(net, step)
        peer.update_parameters(net)
    theirs = peer.module.state_dict()
    for name, value in average.tensors().items():
        torch.testing.assert_close(value, theirs[name])


def test_without_decay_the_average_is_the_network() -> None:
    net = network()
    average = Average(net, Ema(decay=0.0))
    change(net, 0)
    average.update(net, 0)
    for name, value in average.tensors().items():
        assert torch.equal(value, net.state_dict()[name])


def test_a_swap_gives_the_averages_and_then_all_back_to_the_bit() -> None:
    net = network()
    average = Average(net, Ema(decay=0.5))
    change(net, 0)
    average.update(net, 0)
    before = state(net)
    kept = {name: value.clone() for name, value in average.tensors().items()}
    with average.swapped(net):
        inside = state(net)
        for value in net.state_dict().values():
            value.zero_()
    assert all(torch.equal(inside[name], value) for name, value in kept.items())
    assert torch.equal(inside["1.num_batches_tracked"], before["1.num_batches_tracked"])
    after = state(net)
    assert all(torch.equal(after[name], before[name]) for name in kept)
    assert all(torch.equal(value, kept[name]) for name, value in average.tensors().items())


def test_a_failure_inside_a_swap_brings_the_weights_back() -> None:
    net = network()
    average = Average(net, Ema())
    change(net, 0)
    before = state(net)
    with pytest.raises(ZeroDivisionError), average.swapped(net):
        raise ZeroDivisionError
    assert all(torch.equal(value, before[name]) for name, value in state(net).items())


def test_averages_that_were_saved_go_on_to_the_bit() -> None:
    net, other = network(), network()
    straight, first = Average(net, Ema()), Average(other, Ema())
    for step in range(5):
        change(net, step)
        straight.update(net, step)
        change(other, step)
        first.update(other, step)
    saved = {name: value.clone() for name, value in first.tensors().items()}
    resumed = Average(network(seed=9), Ema())
    resumed.load(saved)
    for step in range(5, 10):
        change(net, step)
        straight.update(net, step)
        change(other, step)
        resumed.update(other, step)
    for name, value in straight.tensors().items():
        assert torch.equal(resumed.tensors()[name], value)
    assert all(torch.equal(saved[name], first.tensors()[name]) for name in saved)


@pytest.mark.parametrize("wrong", ["missing", "extra", "shape"])
def test_averages_of_another_network_are_refused(wrong: str) -> None:
    net = network()
    average = Average(net, Ema())
    tensors = average.tensors()
    if wrong == "missing":
        del tensors["0.bias"]
    elif wrong == "extra":
        tensors["2.bias"] = torch.zeros(3)
    else:
        tensors["0.bias"] = torch.zeros(4)
    before = {name: value.clone() for name, value in average.tensors().items()}
    with pytest.raises(ModelError) as caught:
        average.load(tensors)
    assert caught.value.code == "average-mismatch"
    assert all(torch.equal(value, before[name]) for name, value in average.tensors().items())
