"""How fast the training loss rises around the weights: Keskar's, adaptive and spectral sharpness.

All of it is read off one `Surface`: a fixed subset of the training split without augmentation,
float32, running batch-norm statistics unless told otherwise. The numbers compare weights of one
topology on the same images and settings, and little else: see `CAVEAT`.
"""

from collections.abc import Callable, Iterator
from typing import Final

from pydantic import Field
from torch import Tensor, nn

from thorax.config import Settings
from thorax.images.preprocess import InputSpec
from thorax.landscape.search import (
    Norm,
    RandomMatrix,
    ascend,
    climb_manifold,
    largest_eigenvalue,
)
from thorax.landscape.surface import BatchNorm, Subset, Surface
from thorax.results.landscape import Adaptive, Keskar, Sharpness

CAVEAT: Final = (
    "Sharpness follows the learning rate and often not generalisation (Andriushchenko et al., "
    "2302.07011). Rescaling weights changes it while the function stays (Dinh et al., 1703.04933): "
    "with batch norm the network ignores the scale of its convolutions but Keskar's box and the "
    "Hessian do not. Compare runs of one topology, on the same images and settings, only."
)


class SharpnessSettings(Settings):
    """What is measured, and how hard the maximum is looked for."""

    images: int = Field(default=1024, ge=1, le=1 << 31)
    """Images of the training split, fewer when it is smaller."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Chooses the images and every random direction."""
    batch: int = Field(default=128, ge=1, le=1 << 24)
    """Images a pass; bounds memory."""
    batch_norm: BatchNorm = "running"
    """Statistics to normalise by: running, as in an evaluation; estimated = those of the images
    under the weights, for networks of few updates; batch = those of each pass."""
    epsilons: tuple[float, ...] = (1e-3, 5e-4)
    """Sizes of Keskar's box, above 0."""
    ascent_steps: int = Field(default=20, ge=1, le=1 << 20)
    """Evaluations of the gradient in each search for a maximum but that on the manifold."""
    manifold_dimensions: int = Field(default=100, ge=0, le=1 << 16)
    """Columns of the random matrix of Keskar's manifold; 0 = leave it out."""
    manifold_iterations: int = Field(default=10, ge=1, le=1 << 20)
    """Iterations of L-BFGS-B on the manifold."""
    rho: float = Field(default=0.5, gt=0, le=1e6)
    """Radius of the adaptive ball, as ASAM uses on CIFAR-10."""
    eta: float = Field(default=0.01, ge=0, le=1e6)
    """Added to |w| in the adaptive ball, 0 or more."""
    rho_box: float = Field(default=1e-3, gt=0, le=1e6)
    """Size of the adaptive box relative to |w|."""
    power_iterations: int = Field(default=100, ge=0, le=1 << 20)
    """Most steps of power iteration; 0 = leave the largest eigenvalue out."""
    tolerance: float = Field(default=1e-3, gt=0, le=1)
    """Relative change of the eigenvalue below which the power iteration ends."""


QUICK: Final = SharpnessSettings(
    images=512, epsilons=(1e-3,), ascent_steps=10, manifold_dimensions=0, power_iterations=20
)
"""For many networks in a row: 31 gradients and at most 20 Hessian products of 512 images."""


def evaluations(settings: SharpnessSettings) -> int:
    """Return how many times the gradient or a Hessian product of all images is taken, at most.

    Line searches on the manifold may need more than the one an iteration that is counted.
    """
    count = (len(settings.epsilons) + 2) * settings.ascent_steps + settings.power_iterations
    if settings.manifold_dimensions:
        count += len(settings.epsilons) * (settings.manifold_iterations + 1)
    return count


def measure(
    network: nn.Module,
    subset: Subset,
    spec: InputSpec,
    settings: SharpnessSettings = QUICK,
    *,
    on_progress: Callable[[int], None] = lambda images: None,
) -> Sharpness:
    """Return the sharpness of a network, which stays bit for bit as it is, buffers included.

    The same weights, images, settings, processor and number of threads give the same numbers.

    It is on the device to compute on, and not wrapped for data-parallel training. The subset is of
    images it was trained on, from `surface.draw`; `settings.images` is not read. `on_progress` is
    told the number of images whenever all of them were gone through.

    Example:
        >>> subset = draw(store, "train", 512)
        >>> measure(network, subset, InputSpec(store.side)).lambda_max.value
    """
    surface = Surface(
        network,
        subset,
        spec,
        batch=settings.batch,
        batch_norm=settings.batch_norm,
        on_progress=on_progress,
    )
    start = surface.gradient(surface.weights)
    return Sharpness(
        loss=start[0],
        parameters=len(surface.weights),
        keskar=(*_full(surface, start, settings), *_manifold(surface, start[0], settings)),
        adaptive=tuple(_adaptive(surface, start, settings)),
        lambda_max=largest_eigenvalue(
            surface,
            iterations=settings.power_iterations,
            tolerance=settings.tolerance,
            seed=settings.seed,
        )
        if settings.power_iterations
        else None,
    )


def _full(
    surface: Surface, start: tuple[float, Tensor], settings: SharpnessSettings
) -> Iterator[Keskar]:
    for epsilon in settings.epsilons:
        highest = ascend(
            surface,
            epsilon * (surface.weights.abs() + 1.0),
            start=start,
            norm="linf",
            steps=settings.ascent_steps,
            seed=settings.seed,
        )
        yield Keskar(
            epsilon=epsilon, dimensions=None, phi=phi(start[0], highest), highest_loss=highest
        )


def _manifold(surface: Surface, loss: float, settings: SharpnessSettings) -> Iterator[Keskar]:
    columns = settings.manifold_dimensions
    if not columns:
        return
    matrix = RandomMatrix(surface.weights, columns, seed=settings.seed)
    for epsilon in settings.epsilons:
        highest = climb_manifold(surface, matrix, epsilon, iterations=settings.manifold_iterations)
        yield Keskar(
            epsilon=epsilon, dimensions=columns, phi=phi(loss, highest), highest_loss=highest
        )


def _adaptive(
    surface: Surface, start: tuple[float, Tensor], settings: SharpnessSettings
) -> Iterator[Adaptive]:
    size = surface.weights.abs()
    shapes: tuple[tuple[Norm, float, Tensor], ...] = (
        ("l2", settings.rho, settings.rho * (size + settings.eta)),
        ("linf", settings.rho_box, settings.rho_box * size),
    )
    for norm, rho, scale in shapes:
        steps, seed = settings.ascent_steps, settings.seed
        highest = ascend(surface, scale, start=start, norm=norm, steps=steps, seed=seed)
        yield Adaptive(norm=norm, rho=rho, rise=highest - start[0])


def phi(loss: float, highest: float) -> float:
    """Return Keskar's sharpness (1609.04836, Metric 2.1) of a loss and the highest near it."""
    return 100.0 * (highest - loss) / (1.0 + loss)
