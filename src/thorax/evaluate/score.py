"""The same AUROC table for anybody's predictions, ours or theirs."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thorax.evaluate.predictions import match
from thorax.labels import NIH14, LabelSet
from thorax.metrics import (
    Interval,
    Intervals,
    ReliabilityBin,
    Roc,
    auroc,
    bootstrap_auroc,
    brier,
    expected_calibration_error,
    reliability,
    roc_curve,
    thin,
)

_CURVE_POINTS: Final = 200


@dataclass(frozen=True, slots=True)
class LabelScore:
    """How well one finding is told from its absence.

    Attributes:
        finding: its name.
        auroc: NaN where a class is missing; bounds NaN where patients are not known.
        positives: images that show it.
        images: images whose label is known.
        roc: at most 200 operating points, None where a class is missing.
    """

    finding: str
    auroc: Interval
    positives: int
    images: int
    roc: Roc | None = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Score:
    """A table of AUROC per finding with what it rests on.

    Attributes:
        images: images scored.
        patients: patients among them, None where not known.
        labels: one row a finding.
        mean: over the findings whose AUROC is defined.
        ece: expected calibration error over all findings, 10 bins, 0-1.
        brier: mean squared error of all probabilities, 0-1.
        reliability: promised against true frequency over all findings.
        ignored: columns of the predictions that name no labelled finding.
        unused: predictions outside the split asked for.
    """

    images: int
    patients: int | None
    labels: tuple[LabelScore, ...]
    mean: Interval
    ece: float
    brier: float
    reliability: tuple[ReliabilityBin, ...] = field(repr=False)
    ignored: tuple[str, ...] = ()
    unused: int = 0

    def document(self) -> dict[str, Any]:
        """Return what goes into JSON; what is undefined is null."""
        return {
            "images": self.images,
            "patients": self.patients,
            "mean_auroc": _number(self.mean.value),
            "mean_auroc_interval": interval_document(self.mean),
            "auroc": {
                row.finding: {
                    **interval_document(row.auroc),
                    "positives": row.positives,
                    "images": row.images,
                }
                for row in self.labels
            },
            "ece": _number(self.ece),
            "brier": _number(self.brier),
            "reliability": [asdict(row) for row in self.reliability],
            "roc": {row.finding: _points(row.roc) for row in self.labels if row.roc is not None},
            "ignored": list(self.ignored),
            "unused": self.unused,
        }


def tabulate(
    findings: Sequence[str],
    labels: npt.NDArray[np.int8],
    probability: npt.NDArray[np.floating],
    patients: Sequence[str] | None,
    *,
    samples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Score:
    """Score probabilities against labels.

    Args:
        findings: K names.
        labels: int8 [N,K], 1 / 0 / -1 (unknown).
        probability: float [N,K], 0-1.
        patients: N identifiers to resample by; without them there are no intervals, because
            resampling images would claim too much.
        samples: bootstrap resamples.
        seed: of the resampling.
        confidence: coverage of the intervals, 0-1.
    """
    if patients is None:
        intervals = _without_bounds(auroc(labels, probability))
    else:
        intervals = bootstrap_auroc(
            labels, probability, patients, samples=samples, seed=seed, confidence=confidence
        )
    rows = []
    for k, finding in enumerate(findings):
        curve = thin(roc_curve(labels[:, k], probability[:, k]), _CURVE_POINTS)
        area = intervals.labels[k]
        rows.append(
            LabelScore(
                finding,
                area,
                int((labels[:, k] == 1).sum()),
                int((labels[:, k] >= 0).sum()),
                None if math.isnan(area.value) else curve,
            )
        )
    return Score(
        len(labels),
        None if patients is None else len(set(patients)),
        tuple(rows),
        intervals.mean,
        expected_calibration_error(labels, probability),
        brier(labels, probability),
        reliability(labels, probability),
    )


def score(
    predictions: Path,
    labels: Path,
    *,
    split: Path | None = None,
    subset: str = "test",
    label_set: LabelSet = NIH14,
    samples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Score:
    """Score a predictions CSV against a labels CSV; `predictions.match` says what they hold.

    Raises:
        DataError: with file, line and value.
    """
    found = match(predictions, labels, label_set=label_set, split=split, subset=subset)
    table = tabulate(
        found.findings,
        found.labels,
        found.probability,
        found.patients,
        samples=samples,
        seed=seed,
        confidence=confidence,
    )
    return replace(table, ignored=found.ignored, unused=found.unused)


def _without_bounds(areas: npt.NDArray[np.float64]) -> Intervals:
    defined = areas[~np.isnan(areas)]
    mean = float(defined.mean()) if len(defined) else math.nan
    return Intervals(
        tuple(Interval(float(area), math.nan, math.nan) for area in areas),
        Interval(mean, math.nan, math.nan),
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def interval_document(interval: Interval) -> dict[str, float | None]:
    """Return an interval for JSON; what is undefined is null."""
    return {
        "value": _number(interval.value),
        "low": _number(interval.low),
        "high": _number(interval.high),
    }


def _points(curve: Roc) -> list[list[float]]:
    pairs = zip(curve.false_positive_rate, curve.true_positive_rate, strict=True)
    return [[round(float(x), 6), round(float(y), 6)] for x, y in pairs]
