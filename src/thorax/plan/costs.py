"""What a million images cost: from prices that the user gives, and from no others."""

from dataclasses import dataclass
from typing import Final

from thorax.errors import UsageError
from thorax.results.plan import ImageCost

_J_PER_KWH: Final = 3.6e6
_S_PER_YEAR: Final = 365.25 * 86400
_MILLION: Final = 1e6


@dataclass(frozen=True, slots=True)
class Prices:
    """What things cost, all in one currency; None is not known.

    Attributes:
        energy: of a kWh.
        hardware: of a server without cards.
        card: of one card.
        years: that the hardware is used for.
        utilization: share of that time that it works, 0-1.
    """

    energy: float | None = None
    hardware: float | None = None
    card: float | None = None
    years: float | None = None
    utilization: float | None = None

    def __post_init__(self) -> None:
        """Refuse a price of hardware without what it is spread over."""
        bought = self.hardware is not None or self.card is not None
        if bought and (self.years is None or self.utilization is None):
            raise UsageError(
                "plan-prices",
                "a price of hardware is spread over the images of its life; give --years and"
                " --utilization (0-1) with it",
            )


def cost(prices: Prices, cards: int, images_per_s: float, power_w: float | None) -> ImageCost:
    """Return what a million images cost on a server.

    Args:
        prices: known ones.
        cards: in the server.
        images_per_s: while it works.
        power_w: of the whole server meanwhile, None if not known.
    """
    energy = None
    if prices.energy is not None and power_w is not None:
        energy = prices.energy * power_w / images_per_s * _MILLION / _J_PER_KWH
    hardware = None
    priced = prices.hardware is not None and (not cards or prices.card is not None)
    if priced and prices.years is not None and prices.utilization is not None:
        bought = (prices.hardware or 0.0) + cards * (prices.card or 0.0)
        images = prices.years * _S_PER_YEAR * prices.utilization * images_per_s
        hardware = bought / images * _MILLION
    total = None if energy is None or hardware is None else energy + hardware
    return ImageCost(energy=energy, hardware=hardware, total=total)
