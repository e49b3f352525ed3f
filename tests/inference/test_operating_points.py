"""Operating points."""

import numpy as np

from thorax import metrics
from thorax.inference.operating_points import OperatingPoints
from thorax.metrics import Platt

NAMES = ("A", "B", "C")


def test_points_are_set_where_both_classes_are_and_never_turn_a_ranking_around() -> None:
    labels = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1], [-1, 0, 1]], np.int8)
    right = np.array([0.9, 0.1, 0.8, 0.2, 0.5])
    scores = np.stack([right, right, right], axis=1).astype(np.float32)
    found = OperatingPoints.fit(NAMES, labels, scores)
    assert set(found.thresholds) == set(found.calibration) == {"A", "C"}
    assert found.calibration["A"].slope > 0
    # The third is ranked the wrong way round: left as it is.
    assert found.calibration["C"] == metrics.Platt(1.0, 0.0)
    assert found.positive("A", scores[:4, 0]).tolist() == [True, False, True, False]


def test_a_calibration_moves_the_point_on_the_scores_of_the_graph() -> None:
    points = OperatingPoints({"A": Platt(1.0, -2.0)}, {"A": 0.5})
    # logit 2 of the graph is 0.5 calibrated.
    assert points.positive("A", np.array([0.87, 0.89])).tolist() == [False, True]
