"""How well scores tell findings from no findings: AUROC, calibration, operating points.

Arrays are `labels` int8 (1 present, 0 absent, -1 unknown) and `scores` float of the same shape.
Unknown entries never count. What the data cannot answer (a class is missing) is NaN, never a guess.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from thorax.results.accuracy import Pointing, ReliabilityBin

Floats: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int8]
Scores: TypeAlias = npt.NDArray[np.floating]
Patients: TypeAlias = Sequence[str] | npt.NDArray[np.generic]

_CHUNK: Final = 64
"""Resamples weighed at once: few enough for the cache, enough to hide what Python costs."""

_COVERAGE: Final = 0.95
"""Of the intervals, 0-1."""

_NORMAL: Final = NormalDist().inv_cdf((1 + _COVERAGE) / 2)
"""Standard deviations within which a normal value lies with probability `_COVERAGE`."""

_FEWEST: Final = 20
"""Usable resamples below which percentiles would be a fiction; the bounds are NaN then."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the bounds of its confidence interval; NaN where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Intervals:
    """One interval per label, in label order, and that of their mean over the defined labels."""

    labels: tuple[Interval, ...]
    mean: Interval


@dataclass(frozen=True, slots=True)
class Roc:
    """Operating points from strict to lax: a score >= `threshold[i]` is called positive.

    The first threshold is infinite: nothing is called positive. All three are float64 [P].
    """

    false_positive_rate: Floats
    true_positive_rate: Floats
    threshold: Floats


@dataclass(frozen=True, slots=True)
class Platt:
    """Calibrated probability = sigmoid(slope * logit(probability) + intercept)."""

    slope: float
    intercept: float

    def apply(self, probability: Scores) -> Floats:
        """Return float64 probabilities, 0-1, of the shape given."""
        return _sigmoid(self.slope * _logit(probability) + self.intercept)


class _Ranking:
    """One label's scores, sorted once, so that each resample costs one gather and one sum."""

    __slots__ = ("above", "absent", "below", "present")

    def __init__(self, labels: Labels, scores: Scores, owner: npt.NDArray[np.intp]) -> None:
        present, absent = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
        absent = absent[np.argsort(scores[absent], kind="stable")]
        sorted_absent = scores[absent]
        self.below = np.searchsorted(sorted_absent, scores[present], "left")
        self.above = np.searchsorted(sorted_absent, scores[present], "right")
        self.present = owner[present]
        self.absent = owner[absent]

    def auroc(self, weights: npt.NDArray[np.int64]) -> Floats:
        """Return float64 [B], the AUROC with each owner counted `weights` int64 [B, owners] times.

        Hanley and McNeil, Radiology 143 (1982): the chance that a present image scores above an
        absent one, a tie counting one half. Weights are whole numbers, so the sums are exact.
        """
        present = np.take(weights, self.present, axis=1)
        running = np.zeros((len(weights), len(self.absent) + 1), np.int64)
        np.cumsum(np.take(weights, self.absent, axis=1), axis=1, out=running[:, 1:])
        twice = np.take(running, self.below, axis=1) + np.take(running, self.above, axis=1)
        wins = (present * twice).sum(axis=1) / 2
        pairs = (present.sum(axis=1) * running[:, -1]).astype(np.float64)
        areas = np.full(len(weights), np.nan)
        np.divide(wins, pairs, out=areas, where=pairs > 0)
        return areas


def auroc(labels: Labels, scores: Scores) -> Floats:
    """Return the area under each label's ROC curve, exact with ties.

    Args:
        labels: int8 [N,K], 1 / 0 / -1 (unknown, left out of that label).
        scores: float [N,K], larger = more likely present; only their order matters.

    Returns:
        float64 [K], 0-1; NaN for a label without both classes.

    Example:
        >>> labels = np.array([[1], [0], [1], [0], [-1]], np.int8)
        >>> auroc(labels, np.array([[0.9], [0.2], [0.4], [0.4], [0.0]])).tolist()
        [0.875]
    """
    _check(labels, scores, 2)
    owner = np.arange(len(labels))
    ones = np.ones((1, len(labels)), np.int64)
    areas = [
        _Ranking(labels[:, k], scores[:, k], owner).auroc(ones)[0] for k in range(labels.shape[1])
    ]
    return np.array(areas, np.float64)


def bootstrap_auroc(
    labels: Labels,
    scores: Scores,
    patients: Patients,
    *,
    samples: int = 1000,
    seed: int = 0,
) -> Intervals:
    """Return each label's AUROC and their mean with 95 % percentile intervals, resampling patients.

    Images of one patient resemble each other, so resampling images would claim too much
    (Obuchowski, Biometrics 53 (1997), on clustered ROC data). A resample in which a label lost a
    class counts neither for that label nor for the mean. Deterministic in `seed`.

    Labels are int8 [N,K], 1 / 0 / -1 (unknown), scores float [N,K], patients N identifiers in image
    order; `samples` is the number of resamples.
    """
    areas, drawn = _resample(labels, (scores,), patients, samples, seed)
    return _intervals(areas[0], drawn[0])


def bootstrap_difference(
    labels: Labels,
    scores_a: Scores,
    scores_b: Scores,
    patients: Patients,
    *,
    samples: int = 1000,
) -> Intervals:
    """Return AUROC of `scores_b` minus that of `scores_a`, paired: both see the same resamples.

    An interval that holds 0 says that these data show no difference. Arguments as
    `bootstrap_auroc`.
    """
    areas, drawn = _resample(labels, (scores_a, scores_b), patients, samples, seed=0)
    return _intervals(areas[1] - areas[0], drawn[1] - drawn[0])


def simultaneous(interval: Interval, count: int, *, error: float = 0.0) -> Interval:
    """Return an interval that holds together with those of all `count` things that were tried.

    Each bound is moved away from the value as much as the normal quantile of 0.95 is by Bonferroni
    (Dunn, JASA 56 (1961)): percentiles that far out are not told by a thousand resamples. A
    standard error below which it is not taken to be, such as `chance_error`, is `error`.

    Example:
        >>> interval = simultaneous(Interval(0.7, 0.6, 0.8), 20)
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.546, 0.854)
    """
    wide = NormalDist().inv_cdf(1 - (1 - _COVERAGE) / 2 / count)
    below, above = (
        max(distance * wide / _NORMAL, error * wide)
        for distance in (interval.value - interval.low, interval.high - interval.value)
    )
    return Interval(interval.value, interval.value - below, interval.value + above)


def chance_error(present: int, absent: int) -> float:
    """Return the standard error of an AUROC of scores that tell nothing (Mann and Whitney 1947).

    Resamples of few positives that happen to score high vary less than this.
    """
    return math.sqrt((present + absent + 1) / (12 * present * absent))


def roc_curve(labels: Labels, scores: Scores) -> Roc:
    """Return every operating point of one label, from (0, 0) to (1, 1).

    Labels are int8 [N], 1 / 0 / -1 (unknown, left out), scores float [N]. Rates are NaN for the
    class that is missing.
    """
    _check(labels, scores, 1)
    known = labels >= 0
    order = np.argsort(-scores[known], kind="stable")
    present = (labels[known][order] == 1).astype(np.int64)
    ranked = scores[known][order].astype(np.float64)
    last = np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)]
    hits = np.append(0, np.cumsum(present)[last])
    alarms = np.append(0, np.cumsum(1 - present)[last])
    return Roc(
        alarms / alarms[-1] if alarms[-1] else np.full(len(alarms), np.nan),
        hits / hits[-1] if hits[-1] else np.full(len(hits), np.nan),
        np.append(np.inf, ranked[last]),
    )


def thin(curve: Roc, points: int = 200) -> Roc:
    """Return at most `points` operating points, evenly spaced along the curve, both ends kept."""
    if len(curve.threshold) <= points or np.isnan(curve.true_positive_rate).any():
        return curve
    along = np.cumsum(np.diff(curve.false_positive_rate) + np.diff(curve.true_positive_rate))
    positions = np.linspace(0.0, along[-1], points)
    keep = np.unique(np.searchsorted(np.append(0.0, along), positions))
    return Roc(
        curve.false_positive_rate[keep], curve.true_positive_rate[keep], curve.threshold[keep]
    )


def youden_threshold(labels: Labels, scores: Scores) -> float:
    """Return the score with the largest sensitivity + specificity - 1 (Youden, Cancer 3 (1950)).

    Call positive what is >= the threshold; of equals the strictest wins. NaN if a class is missing.
    Labels are int8 [N], scores float [N].
    """
    curve = roc_curve(labels, scores)
    gain = curve.true_positive_rate - curve.false_positive_rate
    if np.isnan(gain).any():
        return float("nan")
    return float(curve.threshold[1 + int(np.argmax(gain[1:]))])


def reliability(
    labels: Labels, probability: Scores, *, bins: int = 10
) -> tuple[ReliabilityBin, ...]:
    """Return what was promised against what came true, in bins of equal width.

    Labels are int8 of any shape, several pooled, probabilities float of that shape, 0-1. Bins over
    0-1 that have no entries are left out.
    """
    present, promised = _known(labels, probability)
    bin_index = np.minimum((promised * bins).astype(np.int64), bins - 1)
    count = np.bincount(bin_index, minlength=bins)
    total = np.bincount(bin_index, promised, minlength=bins)
    true = np.bincount(bin_index, present, minlength=bins)
    return tuple(
        ReliabilityBin(
            low=k / bins,
            high=(k + 1) / bins,
            mean_probability=float(total[k] / count[k]),
            fraction_positive=float(true[k] / count[k]),
            count=int(count[k]),
        )
        for k in range(bins)
        if count[k]
    )


def expected_calibration_error(labels: Labels, probability: Scores) -> float:
    """Return the mean gap between promised and true frequency, 0-1 (Guo et al. 2017, eq. 3)."""
    table = reliability(labels, probability)
    entries = sum(row.count for row in table)
    gap = sum(row.count * abs(row.mean_probability - row.fraction_positive) for row in table)
    return gap / entries if entries else float("nan")


def brier(labels: Labels, probability: Scores) -> float:
    """Return the mean squared error of the probabilities, 0-1 (Brier 1950, two classes)."""
    present, promised = _known(labels, probability)
    return float(np.mean((promised - present) ** 2)) if len(present) else float("nan")


def fit_platt(labels: Labels, probability: Scores) -> Platt:
    """Fit `Platt` to one label by Newton steps on the smoothed log-likelihood.

    Targets are (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) (Platt 1999, eq. 11), steps are halved until
    the loss falls (Lin, Lin and Weng, Machine Learning 68 (2007), algorithm 1). The feature is the
    logit, so slope 1 and intercept 0 change nothing. Labels are int8 [N], probabilities float [N],
    0-1. Slope and intercept are NaN if a class is missing.
    """
    present, promised = _known(labels, probability)
    positives = int(present.sum())
    negatives = len(present) - positives
    if not positives or not negatives:
        return Platt(float("nan"), float("nan"))
    logit = _logit(promised)
    target = np.where(present == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    design = np.stack([logit, np.ones_like(logit)], axis=1)
    fitted = np.array([0.0, np.log((positives + 1) / (negatives + 1))])

    def loss(at: Floats) -> float:
        score = design @ at
        return float(np.sum(np.logaddexp(0.0, score) - target * score))

    current = loss(fitted)
    for _ in range(100):
        estimate = _sigmoid(design @ fitted)
        gradient = design.T @ (estimate - target)
        if np.abs(gradient).max() < 1e-9 * len(logit):
            break
        curvature = (design.T * (estimate * (1 - estimate))) @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-10 and loss(fitted - size * step) > current - 1e-4 * size * (
            gradient @ step
        ):
            size /= 2
        if size <= 1e-10:
            break
        fitted = fitted - size * step
        current = loss(fitted)
    return Platt(float(fitted[0]), float(fitted[1]))


def pointing_game(
    peaks: Sequence[tuple[float, float]],
    boxes: Sequence[Sequence[tuple[float, float, float, float]]],
    *,
    tolerance: float = 0.0,
) -> Pointing:
    """Count the images whose heat-map peak lies in any lesion box (Zhang et al., ECCV 2016).

    Args:
        peaks: (x, y) per image.
        boxes: (x, y, width, height) per image, in the same frame; an image without boxes asks
            for nothing and is not counted.
        tolerance: margin around each box, in the unit of the frame.

    Example:
        >>> game = pointing_game([(5, 5), (50, 5)], [[(0, 0, 10, 10)], [(0, 0, 10, 10)]])
        >>> game.hits, game.total, game.rate
        (1, 2, 0.5)
    """
    pairs = [(peak, lesions) for peak, lesions in zip(peaks, boxes, strict=True) if lesions]
    hits = sum(in_a_box(peak, lesions, tolerance=tolerance) for peak, lesions in pairs)
    total = len(pairs)
    return Pointing(hits=hits, total=total, rate=hits / total if total else None)


def in_a_box(
    point: tuple[float, float],
    boxes: Sequence[tuple[float, float, float, float]],
    *,
    tolerance: float = 0.0,
) -> bool:
    """Return whether a point (x, y) lies in any box (x, y, width, height), borders included."""
    x, y = point
    return any(
        left - tolerance <= x <= left + width + tolerance
        and top - tolerance <= y <= top + height + tolerance
        for left, top, width, height in boxes
    )


def wilson(rate: float, trials: int) -> Interval:
    """Return a share of trials, 0-1, with its 95 % interval (Wilson, JASA 22 (1927)).

    Unlike a bootstrap it has a width at 0 and 1 too.

    Example:
        >>> found = wilson(0.0, 10)
        >>> round(found.low, 3), round(found.high, 3)
        (0.0, 0.278)
    """
    spread = _NORMAL**2 / trials
    middle = (rate + spread / 2) / (1 + spread)
    reach = np.sqrt(rate * (1 - rate) * spread + spread**2 / 4) / (1 + spread)
    low, high = min(rate, middle - reach), max(rate, middle + reach)
    return Interval(rate, float(max(0.0, low)), float(min(1.0, high)))


def bootstrap_mean_rate(hits: Floats, patients: Patients, *, samples: int = 1000) -> Interval:
    """Return the mean over labels of the share of hits, with its 95 % interval over patients.

    Hits are float64 [N,K], 1 or 0, NaN where nothing was asked; each label has one that is known.
    Those patients are resampled of whom something was asked. Every resample counts: a label that
    lost all of its own in one is left out of the mean of that one, which is over the others then.
    Of labels with few patients that says little, and who calls is to give no interval.
    """
    asked = ~np.isnan(hits)
    some = asked.any(axis=1)
    names, owner = np.unique(np.asarray(patients)[some], return_inverse=True)
    known = np.zeros((len(names), hits.shape[1]))
    right = np.zeros_like(known)
    np.add.at(known, owner, asked[some])
    np.add.at(right, owner, np.nan_to_num(hits[some]))
    drawn = []
    for weights in _patient_weights(len(names), samples, seed=0):
        with np.errstate(invalid="ignore"):
            rates = (weights @ right) / (weights @ known)
        # Whoever is drawn was asked of a label, so that no resample is without any.
        drawn.append(np.nanmean(rates, axis=1))
    return _interval(float(np.nanmean(hits, axis=0).mean()), np.concatenate(drawn))


def _check(labels: Labels, scores: Scores, dimensions: Literal[1, 2]) -> None:
    if labels.shape != scores.shape or labels.ndim != dimensions:
        raise ValueError(
            f"labels {labels.shape} and scores {scores.shape} must both be {dimensions}-dimensional"
            " and of one shape"
        )
    if np.isnan(scores[labels >= 0]).any():
        raise ValueError("scores of known labels must not be NaN: they have no rank")


def _known(labels: Labels, probability: Scores) -> tuple[Floats, Floats]:
    if labels.shape != probability.shape:
        raise ValueError(f"labels {labels.shape} and probability {probability.shape} differ")
    known = labels >= 0
    promised = probability[known].astype(np.float64)
    if not ((promised >= 0) & (promised <= 1)).all():
        raise ValueError("probabilities must lie in 0-1")
    return labels[known].astype(np.float64), promised


def _resample(
    labels: Labels, contenders: tuple[Scores, ...], patients: Patients, samples: int, seed: int
) -> tuple[Floats, Floats]:
    """Return AUROC float64 [M,K] as observed and [M,B,K] resampled, for M score arrays."""
    for scores in contenders:
        _check(labels, scores, 2)
    if len(patients) != len(labels):
        raise ValueError(f"{len(patients)} patients for {len(labels)} images")
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    rankings = [
        [_Ranking(labels[:, k], scores[:, k], owner) for k in range(labels.shape[1])]
        for scores in contenders
    ]
    drawn = np.empty((len(contenders), samples, labels.shape[1]))
    start = 0
    for weights in _patient_weights(len(names), samples, seed):
        stop = start + len(weights)
        for m, row in enumerate(rankings):
            for k, ranking in enumerate(row):
                drawn[m, start:stop, k] = ranking.auroc(weights)
        start = stop
    return np.stack([auroc(labels, scores) for scores in contenders]), drawn


def _patient_weights(patients: int, samples: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield how often each resample drew each patient, int64 [up to _CHUNK, patients] a time."""
    random = np.random.default_rng(seed)
    for start in range(0, samples, _CHUNK):
        yield np.stack(
            [
                np.bincount(random.integers(patients, size=patients), minlength=patients)
                for _ in range(start, min(start + _CHUNK, samples))
            ]
        )


def _intervals(observed: Floats, drawn: Floats) -> Intervals:
    defined = ~np.isnan(observed)
    if not defined.any():
        nothing = Interval(float("nan"), float("nan"), float("nan"))
        return Intervals((nothing,) * len(observed), nothing)
    return Intervals(
        tuple(_interval(float(value), drawn[:, k]) for k, value in enumerate(observed)),
        _interval(float(observed[defined].mean()), drawn[:, defined].mean(axis=1)),
    )


def _interval(value: float, drawn: Floats) -> Interval:
    usable = drawn[~np.isnan(drawn)]
    if len(usable) < _FEWEST:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(usable, [(1 - _COVERAGE) / 2, (1 + _COVERAGE) / 2])
    return Interval(value, float(low), float(high))


def _logit(probability: Scores) -> Floats:
    safe = np.clip(probability.astype(np.float64), 1e-9, 1 - 1e-9)
    return np.log(safe) - np.log1p(-safe)


def _sigmoid(score: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -score))
