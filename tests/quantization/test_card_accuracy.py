"""What a card says of how its artifact was judged."""

import math

import numpy as np
import pytest

from thorax import metrics
from thorax.metrics import Interval
from thorax.quantization.accuracy_budget import bounds, measured, operating_points


def test_without_a_verdict_a_card_says_nothing() -> None:
    assert measured(None, None, ("Mass",)) == {}


def test_points_are_set_where_both_classes_are_and_never_turn_a_ranking_around() -> None:
    labels = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1], [-1, 0, 1]], np.int8)
    right = np.array([0.9, 0.1, 0.8, 0.2, 0.5])
    scores = np.stack([right, right, right], axis=1).astype(np.float32)
    found = operating_points(("A", "B", "C"), labels, scores)
    assert set(found["thresholds"]) == set(found["calibration"]) == {"A", "C"}
    assert found["calibration"]["A"].slope > 0
    # The third is ranked the wrong way round: left as it is.
    assert found["calibration"]["C"] == metrics.Platt(1.0, 0.0)
    calibrated = found["calibration"]["A"].apply(scores[:4, 0].astype(np.float64))
    assert [value >= found["thresholds"]["A"] for value in calibrated] == [True, False, True, False]


def test_an_interval_without_bounds_has_none() -> None:
    assert bounds(Interval(0.5, math.nan, math.nan)) is None
    assert bounds(Interval(0.5, 0.25, 0.75)) == pytest.approx((0.25, 0.75))
