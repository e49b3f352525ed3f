"""What a card says of how its artifact was judged."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from thorax import metrics
from thorax.artifact import Accuracy
from thorax.metrics import Interval
from thorax.quantization.accuracy_budget import SPLIT, Guard, Verdict


def measured(
    guard: Guard | None, verdict: Verdict | None, names: tuple[str, ...]
) -> dict[str, Any]:
    """Return the card's accuracy, AUROC drop, calibration and thresholds, if it was judged.

    Args:
        guard: gave the verdict.
        verdict: of the artifact.
        names: of the K findings.
    """
    if guard is None or verdict is None:
        return {}
    return {
        "accuracy": Accuracy(
            store=guard.store.path.name,
            split=SPLIT,
            images=len(guard.indices),
            mean_auroc=verdict.mean_auroc,
            auroc={
                name: float(value) if np.isfinite(value) else None
                for name, value in zip(names, verdict.auroc, strict=True)
            },
        ),
        "auroc_drop": verdict.drop,
        **operating_points(names, guard.labels, verdict.scores),
    }


def operating_points(
    names: tuple[str, ...], labels: npt.NDArray[np.int8], scores: npt.NDArray[np.float32]
) -> dict[str, Any]:
    """Return `calibration` and `thresholds` of each finding that has both classes.

    Args:
        names: of the K findings.
        labels: int8 [N,K].
        scores: float32 [N,K], probabilities.
    """
    calibration, thresholds = {}, {}
    for column, name in enumerate(names):
        known = labels[:, column] >= 0
        truth, score = labels[known, column], scores[known, column].astype(np.float64)
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


def interval_document(interval: Interval) -> dict[str, float | None]:
    """Return an interval for JSON; what is undefined is null."""
    parts = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: None if math.isnan(value) else value for name, value in parts.items()}
