"""AUROC of each finding with intervals, for anybody's predictions."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.evaluate.predictions import match
from thorax.labels import NIH14, LabelSet
from thorax.metrics import (
    Roc,
    bootstrap_auroc,
    brier,
    expected_calibration_error,
    reliability,
    roc_curve,
    thin,
)
from thorax.results.accuracy import LabelScore, Score, ScoreResult
from thorax.results.shared import Interval

_CURVE_POINTS: Final = 200


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
    split: Path | None = None,
    subset: str = "test",
    label_set: LabelSet = NIH14,
    samples: int = 1000,
) -> ScoreResult:
    """Score a predictions CSV against a labels CSV; `predictions.match` says what they hold.

    Raises:
        DataError: with file, line and value.
    """
    matched = match(predictions, labels, label_set=label_set, split=split, subset=subset)
    table = tabulate(
        matched.findings,
        matched.labels,
        matched.probability,
        matched.patients,
        samples=samples,
    )
    result = ScoreResult(predictions=predictions.name, **dict(table))
    return result.model_copy(update={"ignored": matched.ignored, "unused": matched.unused})


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _points(curve: Roc) -> tuple[tuple[float, float], ...]:
    pairs = zip(curve.false_positive_rate, curve.true_positive_rate, strict=True)
    return tuple((round(float(x), 6), round(float(y), 6)) for x, y in pairs)
