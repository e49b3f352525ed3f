"""What a million images cost: from prices that the user gives, and from no others."""

from typing import Final

from thorax.results.plan import ImageCost, Prices

_J_PER_KWH: Final = 3.6e6
_S_PER_YEAR: Final = 365.25 * 86400
_MILLION: Final = 1e6


def cost(prices: Prices, cards: int, images_per_s: float, power_w: float | None) -> ImageCost:
    """Return what a million images cost on a server with so many cards, at its rate and watts."""
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
