"""Servers in closed form: what the published constants give under both readings."""

import pytest

from thorax.errors import UsageError
from thorax.plan.presets import find_preset
from thorax.plan.server import Reading, capacity

R, W = 2.44 * 43, 43.0
"""Images/s and watts of a card of 2018."""


@pytest.mark.parametrize(
    ("name", "ratio", "cards", "cpu_w"), [("r740", 2.3, 4, 300.0), ("r640", 2.6, 2, 210.0)]
)
def test_a_published_ratio_is_met_under_both_readings(
    name: str, ratio: float, cards: int, cpu_w: float
) -> None:
    server = find_preset(name)
    for reading in Reading:
        without, full = capacity(server, 0, reading), capacity(server, cards, reading)
        assert full.images_per_s / without.images_per_s == pytest.approx(ratio)
        assert without.power_w == cpu_w
        assert full.marginal_images_per_s_per_w == pytest.approx(2.44)
    additive = capacity(server, cards, Reading.ADDITIVE)
    assert additive.images_per_s == pytest.approx(ratio * cards * R / (ratio - 1))
    assert additive.power_w == cpu_w + cards * W
    assert capacity(server, cards, Reading.OFFLOAD).images_per_s == pytest.approx(cards * R)


def test_more_cards_than_a_server_holds_are_refused() -> None:
    with pytest.raises(UsageError, match="holds 2 cards, not 3"):
        capacity(find_preset("r640"), 3, Reading.ADDITIVE)
