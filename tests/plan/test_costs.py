"""Costs: by hand, and never from a price that nobody gave."""

import pytest

from thorax.errors import UsageError
from thorax.plan.server_plan import cost
from thorax.results.plan import Prices


def prices(**known: float) -> Prices:
    return Prices(**{name: known.get(name) for name in Prices.model_fields})


def test_costs_are_those_of_hand_arithmetic() -> None:
    told = prices(energy=0.25, hardware=9000.0, card=1000.0, years=5.0, utilization=0.5)
    found = cost(told, 3, images_per_s=100.0, power_w=360.0)
    # 10^4 s at 360 W are 1 kWh; 5 half years are 78,894,000 s.
    assert found.energy == pytest.approx(0.25)
    assert found.hardware == pytest.approx(12_000 / (78_894_000 * 100) * 1e6)
    assert found.total == pytest.approx(0.25 + 12_000 / 7889.4)


def test_what_is_not_known_is_not_made_up() -> None:
    nothing = cost(prices(), 2, 100.0, 300.0)
    assert (nothing.energy, nothing.hardware, nothing.total) == (None, None, None)
    assert cost(prices(energy=0.2), 2, 100.0, None).energy is None
    bought = prices(hardware=9000.0, years=5.0, utilization=0.5)
    assert cost(bought, 2, 100.0, 300.0).hardware is None, "cards of unknown price"
    assert cost(bought, 0, 100.0, 300.0).hardware is not None


def test_a_price_of_hardware_needs_what_it_is_spread_over() -> None:
    with pytest.raises(UsageError, match="--years and --utilization"):
        prices(hardware=9000.0, years=5.0)
