"""Running statistics: the mean over the groups of a step, whoever computed them."""

import pytest
import torch
from torch import nn

from thorax.training.step import RunningStatistics


@pytest.fixture
def layer() -> nn.BatchNorm2d:
    return nn.BatchNorm2d(3)


def groups() -> tuple[torch.Tensor, ...]:
    made = torch.randn(12, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 + 1
    return torch.chunk(made, 3)


def test_a_step_of_groups_counts_as_one_update_by_their_mean(layer: nn.BatchNorm2d) -> None:
    statistics = RunningStatistics(layer)
    with statistics.step(3):
        for group in groups():
            layer(group)
            statistics.next_group(3)
    means = torch.stack([group.mean((0, 2, 3)) for group in groups()]).mean(0)
    spreads = torch.stack([group.var((0, 2, 3)) for group in groups()]).mean(0)
    torch.testing.assert_close(layer.running_mean, 0.1 * means)
    torch.testing.assert_close(layer.running_var, 0.9 + 0.1 * spreads)
    assert layer.num_batches_tracked == 1


def test_one_group_is_what_torch_does(layer: nn.BatchNorm2d) -> None:
    plain = nn.BatchNorm2d(3)
    statistics = RunningStatistics(layer)
    with statistics.step(1):
        layer(groups()[0])
        statistics.next_group(1)
    plain(groups()[0])
    for name, value in plain.state_dict().items():
        assert torch.equal(value, layer.state_dict()[name])


def test_frozen_statistics_stay_to_the_bit(layer: nn.BatchNorm2d) -> None:
    layer(groups()[0])
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with RunningStatistics(layer).frozen():
        layer(groups()[1])
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_a_network_without_batch_norm_has_none() -> None:
    statistics = RunningStatistics(nn.Linear(2, 2))
    with statistics.step(2), statistics.frozen():
        statistics.next_group(2)
    assert statistics.tensors == []
