"""The search: within its budget, and no sample beats it."""

import random
from typing import get_args

import pytest
from benchmarks.subjects.published_networks import NETWORKS

from thorax.errors import UsageError
from thorax.fpga.architecture import Architecture, Budget, Family, OverlayPrecision, Weights
from thorax.fpga.area import area, fits
from thorax.fpga.overlay import estimate
from thorax.fpga.search import (
    C_VECTORS,
    FAMILIES,
    K_MOST,
    LANES,
    auxiliary_of,
    budget_of,
    filter_cache,
    search,
)
from thorax.fpga.workload import WorkloadLayer, describe

SAMPLE = 150
"""Architectures that fit."""


def drawn(
    draw: random.Random, found: Architecture, layers: tuple[WorkloadLayer, ...]
) -> Architecture:
    """Return an architecture of random legal sizes, in the style of the one that was found."""
    p_vector, q_vector = draw.choice(LANES[found.family])
    c_vector = draw.choice(C_VECTORS)
    k_vector = c_vector * draw.randint(1, K_MOST // c_vector)
    return found.model_copy(
        update={
            "p_vector": p_vector,
            "q_vector": q_vector,
            "c_vector": c_vector,
            "k_vector": k_vector,
            "auxiliary": auxiliary_of(
                found.family,
                k_vector,
                depthwise=c_vector == k_vector and any(layer.depthwise for layer in layers),
            ),
            "stream_buffer_depth": draw.randint(512, 40_000),
            "filter_cache_depth": filter_cache(layers, c_vector),
            "dsp_limit": draw.choice([None, draw.randint(1, budget_of(found.family).dsp)]),
        }
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["ResNet-50", "VGG16", "GoogLeNet", "MobileNetV1"])
def test_it_fits_and_no_architecture_of_a_sample_is_faster(family: Family, name: str) -> None:
    layers = describe(NETWORKS[name]())
    found = search(layers, family)
    room = budget_of(family)
    assert fits(area(found), room)
    speed = estimate(layers, found).images_per_s
    draw = random.Random(5)
    fitting = 0
    while fitting < SAMPLE:
        one = drawn(draw, found, layers)
        if fits(area(one), room):
            fitting += 1
            assert estimate(layers, one).images_per_s <= speed * (1 + 1e-12), one


def test_it_finds_the_same_again() -> None:
    layers = describe(NETWORKS["ResNet-50"]())
    assert search(layers, "arria10") == search(layers, "arria10")


@pytest.mark.parametrize("precision", get_args(OverlayPrecision))
def test_every_precision_has_one_that_fits(precision: OverlayPrecision) -> None:
    layers = describe(NETWORKS["ResNet-18"]())
    found = search(layers, "arria10", precision=precision)
    assert found.precision == precision
    assert fits(area(found), budget_of("arria10"))


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
        assert fits(area(found), room)
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
