"""What another arithmetic calls otherwise at operating points."""

import numpy as np
import pytest

from thorax.evaluate.flips import Answers, flips
from thorax.inference.operating_points import OperatingPoints

NAMES = ("A", "B", "C")


def answers(scores: np.ndarray, points: OperatingPoints | None) -> Answers:
    return Answers("x", scores, points, "somewhere")


PLAIN = OperatingPoints({}, {"A": 0.5, "B": 0.5})
BEFORE = np.array([[0.6, 0.1, 0.9], [0.4, 0.1, 0.9], [0.9, 0.1, 0.9], [0.1, 0.9, 0.9]])


def test_flips_are_counted_by_image_and_by_finding_where_there_is_a_point() -> None:
    after = np.array([[0.4, 0.6, 0.1], [0.45, 0.1, 0.9], [0.9, 0.1, 0.9], [0.1, 0.4, 0.9]])
    found = flips(NAMES, answers(BEFORE, PLAIN), answers(after, None))
    assert found is not None
    assert (found.images, found.findings) == (4, 2)
    assert (found.same_points.images, found.same_points.findings) == (0.5, 3 / 8)
    assert (found.same_points.to_positive, found.same_points.to_negative) == (1, 2)
    assert found.by_finding == {"A": 0.25, "B": 0.5}
    assert found.largest_change == pytest.approx(0.8)
    assert (found.own_points, found.points_from) == (None, None)


def test_points_of_its_own_undo_what_moves_all_scores_alike() -> None:
    labels = np.array([[1, 0], [0, 0], [1, 0], [0, 1]], np.int8)
    moved = (BEFORE[:, :2] / 3).astype(np.float64)
    own = OperatingPoints.fit(("A", "B"), labels, BEFORE[:, :2])
    theirs = OperatingPoints.fit(("A", "B"), labels, moved)
    found = flips(("A", "B"), answers(BEFORE[:, :2], own), answers(moved, theirs))
    assert found is not None
    assert found.same_points.to_negative == 3
    assert found.own_points is not None
    assert (found.own_points.images, found.own_points.findings) == (0, 0)
    assert found.points_from == ("somewhere", "somewhere")
    assert found.matched_points is None


def test_matched_points_undo_a_common_move_and_not_a_change_of_order() -> None:
    before = np.array([[0.9], [0.6], [0.4], [0.1]])
    points = OperatingPoints({}, {"A": 0.5})
    for after, flipped in (
        (np.sqrt(before) / 9, 0),
        (np.array([[0.9], [0.2], [0.3], [0.1]]), 2),
    ):
        found = flips(
            ("A",),
            Answers("x", before, points, "", before),
            Answers("y", after, None, "", after),
        )
        assert found is not None
        assert found.matched_points is not None
        share = found.matched_points
        assert share.to_positive + share.to_negative == flipped
    none = OperatingPoints({}, {"A": 0.95})
    found = flips(("A",), Answers("x", before, none, "", before), Answers("y", before, None))
    assert found is not None
    assert found.matched_points is None
    found = flips(
        ("A",), Answers("x", before, none, "", before), Answers("y", before, None, "", before)
    )
    assert found is not None
    assert found.matched_points is not None
    assert found.matched_points.images == 0


def test_a_graph_does_not_flip_against_itself_and_nothing_flips_without_points() -> None:
    found = flips(NAMES, answers(BEFORE, PLAIN), answers(BEFORE, PLAIN))
    assert found is not None
    assert (found.same_points.images, found.largest_change) == (0, 0)
    assert flips(NAMES, answers(BEFORE, None), answers(BEFORE, PLAIN)) is None
