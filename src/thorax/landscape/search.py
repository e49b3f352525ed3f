"""Searches on a `Surface`: the highest point near the weights, the largest curvature at them."""

from collections.abc import Iterator
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy import optimize
from torch import Tensor

from thorax.landscape.surface import Surface
from thorax.results.landscape import Eigenvalue

Norm = Literal["l2", "linf"]

_BLOCK: Final = 1 << 16
"""Weights whose rows of the random matrix are drawn at once: 26 MB for 100 columns."""

_KEPT_BYTES: Final = 512 << 20
"""A random matrix up to this is kept; a larger one is drawn again for every product."""


def ascend(
    surface: Surface,
    scale: Tensor,
    *,
    start: tuple[float, Tensor],
    norm: Norm,
    steps: int,
    seed: int,
) -> float:
    """Return the highest loss found at w + scale u, |u| <= 1; never below that at w.

    Projected gradient ascent in u. In a box the step of each weight has the sign of its gradient, a
    quarter of the radius at first, halved whenever the sign turns over and else 1.2 times as long
    (Rprop, Riedmiller and Braun, ICNN 1993). In a ball it is the gradient scaled to the radius; a
    step that does not rise is taken back and halved. Every value is an evaluation within the
    neighbourhood, so the answer is a lower bound of the maximum. A start where the gradient
    vanishes is left by a random point.

    The scale is float32 [n], 0 or more, the start loss and gradient at the weights; a step is an
    evaluation of both.
    """
    here = torch.zeros_like(scale)
    highest, gradient = start
    if not torch.any(scale * gradient):
        generator = torch.Generator().manual_seed(seed)
        here = torch.randn(len(scale), generator=generator).to(scale.device)
        here = here.sign() if norm == "linf" else _into_ball(here)
        found, gradient = surface.gradient(surface.weights + scale * here)
        highest, steps = max(highest, found), steps - 1
    climb = _climb_box if norm == "linf" else _climb_ball
    return climb(surface, scale, here, highest, gradient, steps)


def _climb_box(
    surface: Surface, scale: Tensor, here: Tensor, highest: float, gradient: Tensor, steps: int
) -> float:
    lengths, sign = torch.full_like(scale, 0.25), gradient.sign()
    for _ in range(steps):
        here = (here + lengths * sign).clamp_(-1.0, 1.0)
        found, gradient = surface.gradient(surface.weights + scale * here)
        highest = max(highest, found)
        turned = gradient.sign()
        lengths = torch.where(turned * sign < 0, lengths / 2, 1.2 * lengths)
        sign = turned
    return highest


def _climb_ball(
    surface: Surface, scale: Tensor, here: Tensor, highest: float, gradient: Tensor, steps: int
) -> float:
    length = 1.0
    for _ in range(steps):
        steepest = scale * gradient
        steepest /= steepest.norm().clamp(min=torch.finfo(scale.dtype).tiny)
        there = _into_ball(here + length * steepest)
        found, turned = surface.gradient(surface.weights + scale * there)
        if found > highest:
            highest, here, gradient = found, there, turned
        else:
            length /= 2
    return highest


def _into_ball(point: Tensor) -> Tensor:
    length: Tensor = point.norm()
    return point / length.clamp(min=1.0)


class RandomMatrix:
    """A, float32 [n,p] of independent standard normal entries, drawn in blocks of rows.

    Keskar et al. (1609.04836) say that the columns are random, not how they are scaled. Entry by
    entry it depends on the seed alone. Up to 512 MB it is kept; beyond (1.3 million weights at 100
    columns) a block of 26 MB is drawn at a time, again for every product.
    """

    def __init__(self, weights: Tensor, columns: int, *, seed: int) -> None:
        """Draw the matrix whose rows belong to the weights, float32 [n]."""
        self.columns = columns
        self._weights = weights
        self._seed = seed
        kept = len(weights) * columns * weights.element_size() <= _KEPT_BYTES
        self._kept = list(self._draw()) if kept else None

    def times(self, point: Tensor) -> Tensor:
        """Return A z, float32 [n], of float32 [p]."""
        return torch.cat([block @ point for block in self._blocks()])

    def transposed_times(self, vector: Tensor) -> Tensor:
        """Return A^T g, float64 [p], of float32 [n]."""
        sums = torch.zeros(self.columns, dtype=torch.float64, device=vector.device)
        for block, part in zip(self._blocks(), torch.split(vector, _BLOCK), strict=True):
            sums += block.T @ part
        return sums

    def coordinates(self, vector: Tensor) -> npt.NDArray[np.float64]:
        """Return A^+ x, float64 [p], by the normal equations (A^T A) z = A^T x.

        Columns of independent entries are so nearly orthogonal that these are well conditioned.
        """
        gram = torch.zeros(self.columns, self.columns, dtype=torch.float64)
        for block in self._blocks():
            gram += (block.T @ block).cpu()
        solved: npt.NDArray[np.float64] = np.linalg.lstsq(
            gram.numpy(), self.transposed_times(vector).cpu().numpy(), rcond=None
        )[0]
        return solved

    def _blocks(self) -> Iterator[Tensor]:
        return iter(self._kept) if self._kept is not None else self._draw()

    def _draw(self) -> Iterator[Tensor]:
        for number, part in enumerate(torch.split(self._weights, _BLOCK)):
            generator = torch.Generator().manual_seed((self._seed << 20) + number)
            block = torch.randn(len(part), self.columns, generator=generator)
            yield block.to(self._weights.device)


def climb_manifold(
    surface: Surface, matrix: RandomMatrix, epsilon: float, *, iterations: int
) -> float:
    """Return the highest loss found at w + A z, |z_i| <= epsilon (|(A^+ w)_i| + 1).

    By L-BFGS-B from z = 0 (1609.04836, section 2.2.2), in z over its bound: the box has the side 2.
    The matrix is A, iterations are those of L-BFGS-B.
    """
    bound = epsilon * (np.abs(matrix.coordinates(surface.weights)) + 1.0)
    highest = -np.inf

    def fall(point: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        nonlocal highest
        step = torch.from_numpy(bound * point).to(surface.weights)
        loss, gradient = surface.gradient(surface.weights + matrix.times(step))
        highest = max(highest, loss)
        return -loss, -bound * matrix.transposed_times(gradient).cpu().numpy()

    optimize.minimize(
        fall,
        np.zeros(len(bound)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-1.0, 1.0)] * len(bound),
        options={"maxiter": iterations, "ftol": 0.0, "gtol": 0.0},
    )
    return highest


def largest_eigenvalue(
    surface: Surface, *, iterations: int, tolerance: float, seed: int
) -> Eigenvalue:
    """Return the largest eigenvalue of the Hessian at the weights, by power iteration.

    Power iteration finds the eigenvalue of the largest magnitude. Where that is negative, H is
    shifted by it and the iteration goes on within the same budget. It ends after `iterations`
    products with the Hessian, 1 or more, or where the relative change of the eigenvalue is below
    the tolerance; the seed draws the first direction.
    """
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(len(surface.weights), generator=generator).to(surface.weights)
    vector /= vector.norm()
    shift, value, residual = 0.0, np.nan, np.inf
    for count in range(1, iterations + 1):
        product = surface.curvature(surface.weights, vector)
        before, value = value, float(vector @ product)
        residual = float((product - value * vector).norm()) / max(abs(value), 1e-30)
        settled = abs(value - before) <= tolerance * abs(value - shift)
        if settled and (value >= 0 or shift):
            return Eigenvalue(value=value, iterations=count, converged=True, residual=residual)
        if settled:
            shift, value = value, np.nan
            vector = torch.randn(len(vector), generator=generator).to(vector)
        else:
            vector = product - shift * vector
        size = vector.norm()
        if not size:
            return Eigenvalue(value=value, iterations=count, converged=True, residual=0.0)
        vector = vector / size
    last = shift if np.isnan(value) else value
    return Eigenvalue(value=last, iterations=iterations, converged=False, residual=residual)
