"""Whether counted networks are those that train, and their gradients come in the order they do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.errors import UsageError
from thorax.plan.workloads import TOPOLOGIES, GradientLayer, find_workload, workload_of


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "vgg16_bn"])
def test_gradients_are_as_many_as_the_parameters_of_the_network_that_trains(name: str) -> None:
    from thorax.training import networks

    network = networks.build(name, classes=14, channels=3)
    parameters = sum(one.numel() for one in network.parameters())
    assert find_workload(name).gradient_bytes == 4 * parameters


@pytest.mark.parametrize(
    ("name", "megabytes", "billions"),
    [
        ("resnet50", 94.1, 4.09), ("densenet121", 27.8, 2.83), ("vgg16", 59, 15.3),
        ("vgg16-classic", 537, 15.5),
    ],
)  # fmt: skip
def test_sizes_and_products_are_the_published_ones(
    name: str, megabytes: float, billions: float
) -> None:
    work = find_workload(name)
    assert work.gradient_bytes / 1e6 == pytest.approx(megabytes, rel=0.003)
    assert work.macs / 1e9 == pytest.approx(billions, rel=0.005)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_gradients_come_from_nothing_to_all_and_never_go_back(name: str) -> None:
    work = find_workload(name)
    times = [work.ready(share / 100) for share in range(101)]
    assert times == sorted(times)
    assert times[0] == 0
    assert times[-1] == pytest.approx(1)


def test_the_linear_layers_of_a_classic_vgg_come_first_and_are_most_of_it() -> None:
    assert find_workload("vgg16-classic").ready(0.85) < 0.01
    assert find_workload("vgg16").ready(0.85) > 0.2


@given(st.floats(0, 1))
def test_equal_layers_come_evenly(share: float) -> None:
    assert workload_of("even", [GradientLayer(10, 7)] * 5).ready(share) == pytest.approx(share)


def test_a_misspelt_topology_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="the nearest is resnet50; allowed are") as caught:
        find_workload("resnet")
    assert caught.value.code == "plan-topology"
