"""AUROC of each finding with intervals, for anybody's predictions."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.data.samples import ReadOptions
from thorax.evaluate.predictions import Matched, Truth, match
from thorax.labels import NIH14
from thorax.metrics import (
    Roc,
    bootstrap_auroc,
    bootstrap_difference,
    brier,
    expected_calibration_error,
    reliability,
    roc_curve,
    thin,
)
from thorax.results.accuracy import LabelScore, Score, ScoreComparison, ScoreResult
from thorax.results.shared import Interval

_CURVE_POINTS: Final = 200
_OF_NIH: Final = ReadOptions(findings=NIH14)


def tabulate(
    findings: Sequence[str],
    labels: npt.NDArray[np.int8],
    probability: npt.NDArray[np.floating],
    patients: Sequence[str] | None,
    *,
    samples: int = 1000,
) -> Score:
    """Score probabilities against labels.

    Labels of the K findings are int8 [N,K], 1 / 0 / -1 (unknown), probabilities float [N,K], 0-1.
    Patients are N identifiers to resample by, `samples` times; without them there are no intervals,
    because resampling images would claim too much.
    """
    intervals = bootstrap_auroc(
        labels,
        probability,
        np.arange(len(labels)) if patients is None else patients,
        samples=0 if patients is None else samples,
    )
    mean = Interval.of(intervals.mean)
    areas, curves = {}, {}
    for column, finding in enumerate(findings):
        truth, area = labels[:, column], intervals.labels[column]
        areas[finding] = LabelScore(
            **dict(Interval.of(area)),
            positives=int((truth == 1).sum()),
            images=int((truth >= 0).sum()),
        )
        if not math.isnan(area.value):
            curves[finding] = _points(thin(roc_curve(truth, probability[:, column]), _CURVE_POINTS))
    return Score(
        images=len(labels),
        patients=None if patients is None else len(set(patients)),
        mean_auroc=mean.value,
        mean_auroc_interval=mean,
        auroc=areas,
        ece=_defined(expected_calibration_error(labels, probability)),
        brier=_defined(brier(labels, probability)),
        reliability=reliability(labels, probability),
        roc=curves,
        ignored=(),
        unused=0,
    )


def score(
    predictions: Path,
    labels: Path,
    *,
    against: Sequence[Path] = (),
    split: Path | None = None,
    subset: str = "test",
    common: bool = False,
    options: ReadOptions = _OF_NIH,
    samples: int = 1000,
) -> ScoreResult:
    """Score a predictions CSV against a labels CSV; `predictions.match` says what they hold.

    Other predictions of the same images, `against`, get their paired difference from the first. The
    findings of `options` are those of labels joined in one cell; None takes what the table names.

    Raises:
        DataError: with file, line and value.
    """
    truth = Truth(labels, options)
    files = (predictions, *against)
    matched = match(files, truth, split=split, subset=subset, common=common)
    tables = [
        tabulate(matched.findings, matched.labels, probability, matched.patients, samples=samples)
        for probability in matched.probabilities
    ]
    result = ScoreResult(
        predictions=predictions.name,
        **dict(tables[0]),
        unpredicted=matched.unpredicted,
        unlabelled_images=matched.unlabelled[0],
        unpredicted_images=matched.unpredicted_images,
        unshared_images=matched.unshared[0],
    )
    result = result.model_copy(update={"ignored": matched.ignored[0], "unused": matched.unused[0]})
    others = tuple(
        _compared(path, table, matched, number, samples)
        for number, (path, table) in enumerate(zip(files, tables, strict=True))
        if number
    )
    return result.model_copy(update={"against": others}) if others else result


def _compared(
    path: Path, table: Score, matched: Matched, number: int, samples: int
) -> ScoreComparison:
    """Return the score of another file and how it differs from the first."""
    difference = bootstrap_difference(
        matched.labels,
        matched.probabilities[0],
        matched.probabilities[number],
        np.arange(len(matched.labels)) if matched.patients is None else matched.patients,
        samples=0 if matched.patients is None else samples,
    )
    bounds = zip(matched.findings, difference.labels, strict=True)
    mean = Interval.of(difference.mean)
    by_finding = {finding: Interval.of(interval) for finding, interval in bounds}
    comparison = ScoreComparison(
        predictions=path.name,
        **dict(table),
        difference_is="against minus predictions",
        mean_difference=mean,
        difference=by_finding,
        auroc_drop=mean.negated(),
        auroc_drop_by_finding={name: interval.negated() for name, interval in by_finding.items()},
        unlabelled_images=matched.unlabelled[number],
        unshared_images=matched.unshared[number],
    )
    return comparison.model_copy(
        update={"ignored": matched.ignored[number], "unused": matched.unused[number]}
    )


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _points(curve: Roc) -> tuple[tuple[float, float], ...]:
    pairs = zip(curve.false_positive_rate, curve.true_positive_rate, strict=True)
    return tuple((round(float(x), 6), round(float(y), 6)) for x, y in pairs)
