"""Operating points: from which calibrated probability a finding is called positive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from thorax import metrics
from thorax.artifact import Card
from thorax.metrics import Platt

Scores = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class OperatingPoints:
    """Calibration of findings, and the calibrated probability from which each is called positive.

    They belong to the answers that they were chosen on: one graph, one arithmetic.
    """

    calibration: Mapping[str, Platt]
    thresholds: Mapping[str, float]

    @classmethod
    def of(cls, card: Card) -> Self | None:
        """Return those of a card, None where it has none."""
        if not card.thresholds:
            return None
        return cls(card.calibration or {}, card.thresholds)

    @classmethod
    def fit(cls, names: Sequence[str], labels: npt.NDArray[np.int8], scores: Scores) -> Self:
        """Choose them for each finding that has both classes.

        Platt scaling, and on what it gives the largest sensitivity + specificity (Youden). Labels
        are int8 [N,K], 1 / 0 / -1, scores float [N,K], probabilities as the graph gives them.
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
                platt = Platt(1.0, 0.0)
            calibration[name] = platt
            thresholds[name] = metrics.youden_threshold(truth, platt.apply(score))
        return cls(calibration, thresholds)

    def positive(self, name: str, scores: Scores) -> npt.NDArray[np.bool_]:
        """Return bool [N], whether each probability float [N] of a finding is called positive."""
        values = scores.astype(np.float64)
        if name in self.calibration:
            values = self.calibration[name].apply(values)
        return np.asarray(values >= self.thresholds[name])
