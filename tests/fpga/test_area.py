"""Area, against published designs."""

import itertools

import pytest

from thorax.fpga.architecture import find_architecture
from thorax.fpga.area import area, fits
from thorax.results.fpga import DEVICES, Resources

PUBLISHED = {
    "a10-generic-fp16": Resources(dsp=162, m20k=485, alm=25_600),
    "a10-performance-fp16": Resources(dsp=1114, m20k=1444, alm=79_700),
    "a10-small-fp11": Resources(dsp=90, m20k=255, alm=16_100),
    "a10-generic-fp11": Resources(dsp=178, m20k=598, alm=27_300),
    "a10-performance-fp11": Resources(dsp=602, m20k=910, alm=52_600),
}
"""IP Reference Manual 768974, 2023.1, s. 2.2, designs with softmax."""

NO_SOFTMAX = Resources(dsp=80, m20k=247, alm=14_900)
"""The sixth, A10_Small_NoSoftmax."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_designs_take_what_was_published(name: str) -> None:
    found, want = area(find_architecture(name)), PUBLISHED[name]
    assert found.dsp == want.dsp
    assert found.m20k == pytest.approx(want.m20k, rel=0.04)
    assert found.alm == pytest.approx(want.alm, rel=0.01)


def test_the_sixth_design_takes_what_was_published_and_softmax_the_difference() -> None:
    small = find_architecture("a10-small-fp11")
    plain = small.auxiliary.model_copy(update={"softmax": False})
    found = area(small.model_copy(update={"auxiliary": plain}))
    assert found.dsp == NO_SOFTMAX.dsp
    assert found.m20k == pytest.approx(NO_SOFTMAX.m20k, rel=0.04)
    assert found.alm == pytest.approx(NO_SOFTMAX.alm, rel=0.01)
    whole = area(small)
    with_softmax = PUBLISHED["a10-small-fp11"]
    assert whole.dsp - found.dsp == with_softmax.dsp - NO_SOFTMAX.dsp
    assert whole.m20k - found.m20k == with_softmax.m20k - NO_SOFTMAX.m20k
    assert whole.alm - found.alm == with_softmax.alm - NO_SOFTMAX.alm


def test_a_design_that_was_not_fitted_takes_the_memory_that_was_published() -> None:
    # AGX7_Generic, whose stream buffer the handbook tells: 778 M20K in release 2024.2.
    assert area(find_architecture("agx7-generic-fp13")).m20k == pytest.approx(778, rel=0.01)


@pytest.mark.parametrize(
    "name", ["8x48-fp11", "4x2x16x64-fp11", "4x2x16x32-fp16", "8x48-winograd-fp16"]
)
def test_what_ran_on_an_arria_10_fits_it(name: str) -> None:
    assert fits(area(find_architecture(name)), DEVICES["arria10"])


def test_products_beyond_the_limit_of_dsp_blocks_are_made_in_logic() -> None:
    free = find_architecture("4x2x16x64-fp11").model_copy(update={"dsp_limit": None})
    held = free.model_copy(update={"dsp_limit": 1000})
    assert area(free).dsp - area(held).dsp == 2048 - 1000
    assert area(held).alm > area(free).alm


def test_fewer_bits_take_less_of_everything() -> None:
    base = find_architecture("4x2x16x64-fp11").model_copy(update={"dsp_limit": None})
    sizes = [
        area(base.model_copy(update={"precision": precision}))
        for precision in ("fp8", "fp9", "fp11", "fp12agx", "fp13agx", "fp16")
    ]
    for narrow, wide in itertools.pairwise(sizes):
        assert narrow.dsp <= wide.dsp
        assert narrow.m20k <= wide.m20k
        assert narrow.alm < wide.alm
    ternary = area(base.model_copy(update={"weights": "ternary"}))
    binary = area(base.model_copy(update={"weights": "binary"}))
    assert binary.alm < ternary.alm < sizes[2].alm
    assert ternary.dsp < sizes[2].dsp
