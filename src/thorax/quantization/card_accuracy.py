"""Accuracy, calibration and thresholds that the card of a judged artifact holds."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from thorax import metrics
from thorax.artifact import Accuracy
from thorax.metrics import Interval
from thorax.quantization.accuracy_budget import SPLIT, AccuracyBudget, Verdict


def measured(
    budget: AccuracyBudget | None, verdict: Verdict | None, names: tuple[str, ...]
) -> dict[str, Any]:
    """Return the card's accuracy, AUROC drop, calibration and thresholds, if it was judged."""
    if budget is None or verdict is None:
        return {}
    return {
        "accuracy": Accuracy(
            store=budget.store.path.name,
            split=SPLIT,
            images=len(budget.indices),
            mean_auroc=verdict.mean_auroc,
            auroc={
                name: float(value) if np.isfinite(value) else None
                for name, value in zip(names, verdict.auroc, strict=True)
            },
        ),
        "auroc_drop": verdict.drop,
        **operating_points(names, budget.labels, verdict.scores),
    }


def operating_points(
    names: tuple[str, ...], labels: npt.NDArray[np.int8], scores: npt.NDArray[np.float32]
) -> dict[str, Any]:
    """Return `calibration` and `thresholds` of each finding that has both classes.

    Labels are int8 [N,K], scores float32 [N,K], probabilities.
    """
    calibration, thresholds = {}, {}
    for column, name in enumerate(names):
        labelled = labels[:, column] >= 0
        truth, score = labels[labelled, column], scores[labelled, column].astype(np.float64)
        if not 0 < truth.sum() < len(truth):
            continue
        platt = metrics.fit_platt(truth, score)
        if not platt.slope > 0:
            # Too few images: a falling curve would turn the ranking around.
            platt = metrics.Platt(1.0, 0.0)
        calibration[name] = platt
        thresholds[name] = metrics.youden_threshold(truth, platt.apply(score))
    return {"calibration": calibration, "thresholds": thresholds}


def bounds(interval: Interval) -> tuple[float, float] | None:
    """Return the bounds of an interval, None where it has none."""
    return None if math.isnan(interval.low) else (interval.low, interval.high)
