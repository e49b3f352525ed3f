"""The power of a board at other loads goes through both published figures."""

from dataclasses import replace

import pytest

from thorax.fpga.architecture import find_architecture
from thorax.fpga.boards import IDLE_W, PRODUCT_J, SOURCE, Draw, board_power, draw, find_board

FP11 = find_architecture("4x2x16x64-fp11")
PAC = find_board("pac-a10")
RESNET50_MACS = 4.09e9


def test_both_published_figures_are_met() -> None:
    for images_per_s, power_w in ((104.9, 43.0), (312.75, 50.0)):
        found = board_power(PAC, FP11, images_per_s * RESNET50_MACS)
        assert found == pytest.approx(power_w)


def test_a_board_that_makes_no_products_draws_its_idle_power() -> None:
    assert board_power(PAC, FP11, 0.0) == IDLE_W
    assert f"{IDLE_W:.1f} W" in SOURCE
    assert f"{PRODUCT_J * 1e12:.1f} pJ" in SOURCE


def test_a_product_costs_by_the_bits_of_its_factors() -> None:
    def dynamic(**changed: str) -> float:
        found = board_power(PAC, FP11.model_copy(update=changed), 1e12)
        assert found is not None
        return found - IDLE_W

    assert dynamic(precision="fp16") == pytest.approx(dynamic() * 144 / 49)
    assert dynamic(weights="ternary") == pytest.approx(dynamic() * 2 / 7)
    assert dynamic(weights="binary") == pytest.approx(dynamic() / 7)


def test_a_board_draws_what_is_modelled_or_else_what_is_published() -> None:
    assert draw(PAC, FP11, 1e12) == Draw(board_power(PAC, FP11, 1e12), SOURCE)
    assert draw(PAC, FP11, float("inf")).power_w == PAC.power_w
    other = replace(PAC, name="other")
    assert draw(other, FP11, 1e12) == Draw(43.0, f"power: 43 W, {PAC.power_source}")
    assert draw(find_board("mustang-sg1"), FP11, 1e12) == Draw(None, None)


def test_of_another_board_nothing_is_made_up() -> None:
    for name in ("a10dk", "mustang-sg1", "de10-agilex", "n6001"):
        assert board_power(find_board(name), FP11, 1e12) is None
