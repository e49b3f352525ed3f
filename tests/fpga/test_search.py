"""The search: within its budget, and no sample beats it."""

import random
from typing import get_args

import pytest
from tests.fpga.networks import NETWORKS

from thorax.errors import UsageError
from thorax.fpga.architecture import Budget, Family, OverlayPrecision, Weights
from thorax.fpga.area import area
from thorax.fpga.overlay import estimate
from thorax.fpga.residency import trace
from thorax.fpga.search import FAMILIES, budget_of, candidates, search
from thorax.fpga.workload import describe

SAMPLE = 60


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["ResNet-50", "GoogLeNet", "MobileNetV1"])
def test_it_fits_and_no_architecture_of_a_sample_is_faster(family: Family, name: str) -> None:
    layers = describe(NETWORKS[name]())
    found = search(layers, family)
    room = budget_of(family)
    assert area(found).fits(room)
    speed = estimate(layers, found).images_per_s
    draw = random.Random(5)
    flow = trace(layers)
    everything = list(candidates(flow, family, "fp11", "block", room))
    for one in draw.sample(everything, SAMPLE):
        assert area(one).fits(room)
        shallow = draw.randint(512, one.stream_buffer_depth)
        for tried in (one, one.model_copy(update={"stream_buffer_depth": shallow})):
            assert estimate(layers, tried).images_per_s <= speed * (1 + 1e-12)


def test_it_finds_the_same_again() -> None:
    layers = describe(NETWORKS["ResNet-50"]())
    assert search(layers, "arria10") == search(layers, "arria10")


@pytest.mark.parametrize("precision", get_args(OverlayPrecision))
def test_every_precision_has_one_that_fits(precision: OverlayPrecision) -> None:
    layers = describe(NETWORKS["ResNet-18"]())
    found = search(layers, "arria10", precision=precision)
    assert found.precision == precision
    assert area(found).fits(budget_of("arria10"))


@pytest.mark.parametrize("weights", ["ternary", "binary"])
def test_weights_of_few_values_need_no_multiplier(weights: Weights) -> None:
    layers = describe(NETWORKS["ResNet-18"]())
    found = search(layers, "arria10", weights=weights)
    assert area(found).dsp == 0
    assert (
        estimate(layers, found).images_per_s
        > estimate(layers, search(layers, "arria10")).images_per_s
    )


def test_more_room_never_makes_it_slower() -> None:
    layers = describe(NETWORKS["ResNet-18"]())
    whole = budget_of("arria10")
    speeds = []
    for share in (4, 2, 1):
        room = Budget(dsp=whole.dsp // share, m20k=whole.m20k // share, alm=whole.alm // share)
        found = search(layers, "arria10", budget=room)
        assert area(found).fits(room)
        speeds.append(estimate(layers, found).images_per_s)
    assert speeds == sorted(speeds)


def test_too_little_room_and_unknown_families_are_refused() -> None:
    layers = describe(NETWORKS["ResNet-18"]())
    with pytest.raises(UsageError, match="allow more") as refused:
        search(layers, "arria10", budget=Budget(dsp=1, m20k=100, alm=1000))
    assert refused.value.code == "fpga-search"
    with pytest.raises(UsageError, match="arria10") as refused:
        search(layers, "stratix10")  # type: ignore[arg-type]
    assert refused.value.code == "fpga-family"
