"""Logistic regressions with an L2 penalty, of many labels and penalties at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

_TOLERANCE: Final = 1e-6
"""Largest entry of the gradient of the mean loss at which a fit ends, of standardised features."""

_STEPS: Final = 50
"""Newton steps at most; some eight suffice."""

_INNER: Final = 40
"""Conjugate gradients at most for one step."""


class Standard:
    """Mean and standard deviation of features on some rows, by which others are scaled.

    Features are float [N,D]; one that is constant on those rows becomes 0 everywhere.
    """

    __slots__ = ("_mean", "_scale")

    def __init__(self, mean: Floats, scale: Floats) -> None:
        self._mean, self._scale = mean, scale

    @classmethod
    def of(cls, features: npt.NDArray[np.floating]) -> Self:
        """Return the scale of these rows."""
        mean = features.mean(axis=0, dtype=np.float64)
        spread = features.std(axis=0, dtype=np.float64)
        constant = spread <= 1e-9 * np.maximum(np.abs(mean), 1)
        return cls(mean, np.where(constant, 0.0, 1 / np.where(constant, 1.0, spread)))

    def apply(self, features: npt.NDArray[np.floating]) -> Floats:
        """Return float64 [N,D]."""
        return np.asarray((features - self._mean) * self._scale, np.float64)


def fit(features: Floats, labels: npt.NDArray[np.int8], penalties: Sequence[float]) -> Floats:
    """Return float64 [P,K,D+1], weights and then the intercept, for P penalties and K labels.

    Each minimises mean log-loss + penalty / 2 * |weights|^2 over the rows whose label is known; the
    intercept is not penalised (Hastie, Tibshirani and Friedman, The Elements of Statistical
    Learning, 2nd ed., section 4.4). Newton steps, whose directions conjugate gradients find to a
    part of the gradient that shrinks with it (Nocedal and Wright, Numerical Optimization, 2nd ed.,
    algorithm 7.1): all labels and penalties share each product with the features.

    Args:
        features: float64 [N,D], standardised.
        labels: int8 [N,K], 1 / 0 / -1 (unknown); each label has both.
        penalties: P numbers above 0.
    """
    # In the axes of the features' own spread the curvature is nearly diagonal.
    spread, axes = np.linalg.eigh(features.T @ features / len(features))
    rotated = np.column_stack([features @ axes, np.ones(len(features))])
    problem = _Problem(
        rotated,
        np.append(np.maximum(spread, 0), 1.0),
        np.tile(np.maximum(labels, 0), len(penalties)).astype(np.float64),
        np.tile((labels >= 0) / (labels >= 0).sum(axis=0), len(penalties)),
        np.outer(np.append(np.ones(len(spread)), 0.0), np.repeat(penalties, labels.shape[1])),
    )
    found = problem.minimum()
    weights = np.concatenate([axes @ found[:-1], found[-1:]])
    return np.asarray(weights.T.reshape(len(penalties), labels.shape[1], -1))


def scores(features: Floats, weights: Floats) -> Floats:
    """Return the logits, float64 [N,...], of standardised features by weights [...,D+1]."""
    return np.asarray(np.tensordot(features, weights[..., :-1], (1, -1)) + weights[..., -1])


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """M regressions on the same rows: `features` [N,D], the last of them 1, `spread` [D] of each.

    Targets, and shares of a row in the mean loss, 0 where its label is unknown, are [N,M]; the
    penalties of the weights [D,M].
    """

    features: Floats
    spread: Floats
    target: Floats
    share: Floats
    penalty: Floats

    def minimum(self) -> Floats:
        """Return the weights, float64 [D,M]."""
        at: Floats = np.zeros_like(self.penalty)
        positive = (self.share * self.target).sum(axis=0)
        at[-1] = np.log(positive / (1 - positive))
        active = np.arange(at.shape[1])
        for _ in range(_STEPS):
            part = self._of(active)
            at[:, active], gradient = part._step(at[:, active])
            active = active[np.abs(gradient).max(axis=0) >= _TOLERANCE]
            if not len(active):
                break
        return at

    def _of(self, columns: npt.NDArray[np.intp]) -> "_Problem":
        return _Problem(
            self.features,
            self.spread,
            self.target[:, columns],
            self.share[:, columns],
            self.penalty[:, columns],
        )

    def _loss(self, at: Floats, logit: Floats) -> Floats:
        losses = np.logaddexp(0.0, logit) - self.target * logit
        return np.asarray((self.share * losses).sum(0) + (self.penalty * at * at).sum(0) / 2)

    def _step(self, at: Floats) -> tuple[Floats, Floats]:
        """Return where one step leads from here, float64 [D,M], and the gradient here."""
        logit = self.features @ at
        estimate = 1 / (1 + np.exp(-np.clip(logit, -500, 500)))
        gradient = self.features.T @ (self.share * (estimate - self.target)) + self.penalty * at
        curvature = self.share * estimate * (1 - estimate)
        direction, along = self._direction(gradient, curvature)
        loss, descent = self._loss(at, logit), (gradient * direction).sum(axis=0)
        size = np.ones(at.shape[1])
        for _ in range(30):
            ahead = self._loss(at - size * direction, logit - size * along)
            short = ahead > loss - 1e-4 * size * descent + 1e-13
            if not short.any():
                break
            size[short] /= 2
        return at - size * direction, gradient

    def _direction(self, gradient: Floats, curvature: Floats) -> tuple[Floats, Floats]:
        """Return curvature^-1 gradient, [D,M], nearly, and its product with the features, [N,M].

        Preconditioned by the diagonal that the curvature has where all rows weigh alike.
        """
        scale = np.outer(self.spread, curvature.sum(axis=0)) + self.penalty
        scale = np.maximum(scale, 1e-12)
        goal = np.linalg.norm(gradient, axis=0)
        goal = goal * np.minimum(0.1, np.sqrt(goal))
        found, along = np.zeros_like(gradient), np.zeros_like(curvature)
        residual = gradient.copy()
        search = residual / scale
        energy = (residual * search).sum(axis=0)
        for _ in range(_INNER):
            product = self.features @ search
            bent = self.features.T @ (curvature * product) + self.penalty * search
            size = energy / np.maximum((search * bent).sum(axis=0), 1e-300)
            found += size * search
            along += size * product
            residual -= size * bent
            if (np.linalg.norm(residual, axis=0) <= goal).all():
                break
            scaled = residual / scale
            after = (residual * scaled).sum(axis=0)
            search = scaled + after / np.maximum(energy, 1e-300) * search
            energy = after
        return found, along
