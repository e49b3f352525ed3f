"""What a card says of how its artifact was judged."""

import math

import pytest

from thorax.metrics import Interval
from thorax.quantization.accuracy_budget import bounds, measured


def test_without_a_verdict_a_card_says_nothing() -> None:
    assert measured(None, None, ("Mass",)) == {}


def test_an_interval_without_bounds_has_none() -> None:
    assert bounds(Interval(0.5, math.nan, math.nan)) is None
    assert bounds(Interval(0.5, 0.25, 0.75)) == pytest.approx((0.25, 0.75))
