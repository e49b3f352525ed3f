"""What a graph of lower precision costs in AUROC, and whether that is allowed."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thorax import metrics
from thorax.artifact import Accuracy, Artifact
from thorax.data.store import Store
from thorax.devices.engine import compile as compile_artifact
from thorax.devices.placement import Numerics
from thorax.errors import DataError, UsageError
from thorax.evaluate.flips import Answers, flips
from thorax.inference.operating_points import OperatingPoints
from thorax.metrics import Interval, Intervals
from thorax.results.accuracy import Flips

Scores = npt.NDArray[np.float32]

SPLIT: Final = "val"
"""Judges: training has not seen it, and the test split stays for the last word."""


@dataclass(frozen=True, slots=True)
class OnProgress:
    """What takes messages and bars of how a conversion goes.

    `say` takes a line; `bar` takes what is done and how many images of it there are, and yields
    what takes how many more are done, which several threads may call.
    """

    say: Callable[[str], None] = lambda text: None
    bar: Callable[[str, int], AbstractContextManager[Callable[[int], None]]] = lambda what, total: (
        nullcontext(lambda count: None)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What an artifact answers on the val split, and what that costs.

    Scores are float32 [N,K], probabilities, uncalibrated, `auroc` is float64 [K], NaN where a class
    is missing, and `drop` the mean AUROC of the FP32 graph minus this one's.
    """

    scores: Scores
    auroc: npt.NDArray[np.float64]
    drop: float

    @property
    def mean_auroc(self) -> float:
        """Over the findings whose AUROC is defined."""
        return float(np.nanmean(self.auroc))


class AccuracyBudget:
    """The val split of a store with the FP32 graph's answers, and what others may lose of them.

    `max_drop` is the largest drop of the mean AUROC that is allowed, None any; `indices`, int64
    [N], are of the val split, their labels int8 [N,K]. All answers are computed on `device`;
    `reference` is the FP32 graph's own verdict in FP32, of drop 0.
    """

    def __init__(
        self,
        store: Store,
        fp32: Artifact,
        max_drop: float | None = None,
        *,
        device: str = "CPU",
        samples: int = 1000,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Let the FP32 graph answer, once.

        Raises:
            DataError: `split-empty`, or `auroc-undefined` when no finding has both classes.
        """
        self.store, self.max_drop, self.device, self._samples = store, max_drop, device, samples
        self._on_progress = on_progress or OnProgress()
        self._name = fp32.card.precision.upper()
        self.indices = store.select(SPLIT)
        if not len(self.indices):
            raise DataError("split-empty", f"{store.path} has no images in its {SPLIT} split")
        self.labels = store.labels[self.indices]
        has_both = (self.labels == 1).any(axis=0) & (self.labels == 0).any(axis=0)
        if not has_both.any():
            raise DataError(
                "auroc-undefined",
                f"no finding has images with and without it in the {SPLIT} split of {store.path}; "
                "judge by a store that has some",
            )
        # A simulated card would answer in its own format whatever the artifact stores.
        scores = self._infer(fp32, numerics="fp32")
        self.reference = Verdict(scores, metrics.auroc(self.labels, scores), 0.0)

    def _infer(self, candidate: Artifact, *, numerics: Numerics = "bitstream") -> Scores:
        engine = compile_artifact(candidate, self.device, hint="throughput", numerics=numerics)
        what = f"asking {candidate.card.precision}"
        with self._on_progress.bar(what, len(self.indices)) as advance:
            return engine.infer_many(self.store.images, self.indices, advance).probability

    def mean_auroc(self, scores: Scores) -> float:
        """Return the mean of all AUROC that are defined, of scores float32 [N,K] of `indices`."""
        return float(np.nanmean(metrics.auroc(self.labels, scores)))

    def judge(self, candidate: Artifact) -> Verdict:
        """Return what an artifact costs.

        Raises:
            DeviceError: the device does not compute its precision.
        """
        scores = self._infer(candidate)
        auroc = metrics.auroc(self.labels, scores)
        return Verdict(scores, auroc, self.reference.mean_auroc - float(np.nanmean(auroc)))

    def allows(self, verdict: Verdict) -> bool:
        """Return whether no more is lost than is allowed."""
        return self.max_drop is None or verdict.drop <= self.max_drop

    def bounds(self, verdict: Verdict) -> Intervals:
        """Return the drop of each finding and of their mean with paired intervals.

        Both graphs see the same resampled patients, see `metrics.bootstrap_difference`.
        """
        return metrics.bootstrap_difference(
            self.labels,
            verdict.scores,
            self.reference.scores,
            [self.store.patients[index] for index in self.indices],
            samples=self._samples,
        )

    def flips(self, verdict: Verdict, names: tuple[str, ...]) -> Flips | None:
        """Return what an artifact calls otherwise than FP32; None of FP32 itself.

        Operating points of both are chosen on the images that are counted, names are of the K
        findings.
        """
        if verdict is self.reference:
            return None
        reference, other = (
            Answers(
                name,
                scores,
                OperatingPoints.fit(names, self.labels, scores),
                f"{SPLIT} split of {self.store.path.name}",
                scores,
            )
            for name, scores in ((self._name, self.reference.scores), ("", verdict.scores))
        )
        return flips(names, reference, other)


def check_budget(budget: float | None) -> None:
    """Refuse a budget that nothing can keep or break.

    Raises:
        UsageError: `auroc-budget-range`.
    """
    if budget is not None and not 0 <= budget < 1:
        raise UsageError(
            "auroc-budget-range",
            f"--max-auroc-drop is {budget}; it takes a drop of the mean AUROC from 0 to below 1, "
            "such as 0.002",
        )


def budget_warning(drop: Interval, max_drop: float) -> str | None:
    """Return the warning of a drop within the budget whose interval is not; None where it is."""
    if math.isnan(drop.high):
        return (
            f"the drop of {drop.value:.4f} has no interval: too few patients show the findings; "
            "import more to be sure of it"
        )
    if drop.high <= max_drop:
        return None
    return (
        f"the drop of {drop.value:.4f} is within {max_drop:g}, but its 95% interval reaches "
        f"{drop.high:.4f}: more images are needed to be sure"
    )


def measured(
    budget: AccuracyBudget | None, verdict: Verdict | None, names: tuple[str, ...]
) -> dict[str, Any]:
    """Return the card's accuracy, AUROC drop, calibration and thresholds, if it was judged."""
    if budget is None or verdict is None:
        return {}
    points = OperatingPoints.fit(names, budget.labels, verdict.scores)
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
        "calibration": dict(points.calibration),
        "thresholds": dict(points.thresholds),
    }


def bounds(interval: Interval) -> tuple[float, float] | None:
    """Return the bounds of an interval, None where it has none."""
    return None if math.isnan(interval.low) else (interval.low, interval.high)
