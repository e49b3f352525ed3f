"""What two artifacts, or one in two arithmetics, call otherwise at their operating points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thorax.inference.operating_points import OperatingPoints, Scores
from thorax.results.accuracy import Flips, FlipShare


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What one graph answers to N images: probabilities float [N,K] as it gives them.

    `name` is what people call it; `points` are its own operating points, chosen on `points_from`;
    `val` are its probabilities of the images that operating points are chosen on, float [M,K], or
    None.
    """

    name: str
    scores: Scores
    points: OperatingPoints | None
    points_from: str = ""
    val: Scores | None = None


def flips(names: Sequence[str], reference: Answers, other: Answers) -> Flips | None:
    """Return what another graph, or the same in another arithmetic, calls otherwise.

    Findings are the K `names`, of which those count that have an operating point of the reference;
    None where there is none. With its own points an answer is compared as it would be used; with
    those of the reference it is seen what becomes of points that somebody took along; with points
    that are matched, what neither a common move of scores nor a new choice of points explains.
    """
    if reference.points is None:
        return None
    columns = {
        name: column for column, name in enumerate(names) if name in reference.points.thresholds
    }
    if not columns or not len(reference.scores):
        return None
    before = _called(reference.points, columns, reference.scores)
    same = _share(before, _called(reference.points, columns, other.scores))
    own = None
    if other.points is not None and columns.keys() <= other.points.thresholds.keys():
        own = _share(before, _called(other.points, columns, other.scores))
    matched = None
    if reference.val is not None and other.val is not None:
        matched = _share(before, _matched(reference, other, columns))
    change = np.abs(reference.scores.astype(np.float64) - other.scores)
    flipped = before != _called(reference.points, columns, other.scores)
    return Flips(
        images=len(before),
        findings=len(columns),
        reference=reference.name,
        same_points=same,
        matched_points=matched,
        own_points=own,
        points_from=(reference.points_from, other.points_from) if own else None,
        by_finding={
            name: float(share) for name, share in zip(columns, flipped.mean(axis=0), strict=True)
        },
        largest_change=float(change.max()),
    )


def _called(
    points: OperatingPoints, columns: Mapping[str, int], scores: Scores
) -> npt.NDArray[np.bool_]:
    return np.stack(
        [points.positive(name, scores[:, column]) for name, column in columns.items()], axis=1
    )


def _matched(
    reference: Answers, other: Answers, columns: Mapping[str, int]
) -> npt.NDArray[np.bool_]:
    """Return what another calls positive whose points call as many val images so, bool [N,K]."""
    assert reference.points is not None
    assert reference.val is not None
    assert other.val is not None
    called = []
    for name, column in columns.items():
        count = int(reference.points.positive(name, reference.val[:, column]).sum())
        ranked = np.sort(other.val[:, column])[::-1]
        limit = ranked[count - 1] if count else np.inf
        called.append(other.scores[:, column] >= limit)
    return np.stack(called, axis=1)


def _share(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> FlipShare:
    flipped = before != after
    return FlipShare(
        images=float(flipped.any(axis=1).mean()),
        findings=float(flipped.mean()),
        to_positive=int((flipped & after).sum()),
        to_negative=int((flipped & before).sum()),
    )
