"""How fast the training loss rises around the weights: Keskar's, adaptive and spectral sharpness.

All of it is read off one `Surface`: a fixed subset of the training split without augmentation,
float32, running batch-norm statistics unless told otherwise. The numbers compare weights of one
topology on the same images and settings, and little else: see `CAVEAT`.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from pydantic import Field
from torch import Tensor, nn

from thorax.config import Settings
from thorax.images.preprocess import InputSpec
from thorax.landscape.search import (
    Eigenvalue,
    RandomMatrix,
    ascend,
    climb_manifold,
    largest_eigenvalue,
)
from thorax.landscape.surface import BatchNorm, Subset, Surface

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


@dataclass(frozen=True, slots=True)
class Keskar:
    """Keskar et al. (1609.04836), Metric 2.1, of one box.

    Attributes:
        epsilon: size of the box.
        dimensions: of the manifold; None is the full space.
        phi: 100 (max f - f(x)) / (1 + f(x)).
        highest_loss: the maximum that was found, nats; the true one is no lower.
    """

    epsilon: float
    dimensions: int | None
    phi: float
    highest_loss: float


@dataclass(frozen=True, slots=True)
class Adaptive:
    """The largest rise of the loss within a neighbourhood that scales with the weights.

    Attributes:
        norm: "l2" of T^-1 e with T = |w| + eta (ASAM, 2102.11600, Eq. 4), or "linf" of e / |w|
            (2302.07011, section 2), whose logits are not normalised here.
        rho: its size.
        rise: max L(w + e) - L(w), nats.
    """

    norm: Literal["l2", "linf"]
    rho: float
    rise: float


@dataclass(frozen=True, slots=True)
class Sharpness:
    """All numbers of one network.

    Attributes:
        loss: f(x) on the subset, nats.
        parameters: n.
        keskar: full space first, then the manifold, each in the order of the epsilons.
        adaptive: the ball of ASAM, then the box.
        lambda_max: None when it was left out.
    """

    loss: float
    parameters: int
    keskar: tuple[Keskar, ...]
    adaptive: tuple[Adaptive, ...]
    lambda_max: Eigenvalue | None

    def document(self) -> dict[str, Any]:
        """Return what JSON takes."""
        return asdict(self)


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

    Args:
        network: trained; on the device to compute on. Not wrapped for data-parallel training.
        subset: images it was trained on, from `surface.draw`; `settings.images` is not read.
        spec: the mean and std it is trained with.
        settings: what to measure.
        on_progress: told the number of images whenever all of them were gone through.

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
        adaptive=_adaptive(surface, start, settings),
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
        yield Keskar(epsilon, None, phi(start[0], highest), highest)


def _manifold(surface: Surface, loss: float, settings: SharpnessSettings) -> Iterator[Keskar]:
    columns = settings.manifold_dimensions
    if not columns:
        return
    matrix = RandomMatrix(surface.weights, columns, seed=settings.seed)
    for epsilon in settings.epsilons:
        highest = climb_manifold(surface, matrix, epsilon, iterations=settings.manifold_iterations)
        yield Keskar(epsilon, columns, phi(loss, highest), highest)


def _adaptive(
    surface: Surface, start: tuple[float, Tensor], settings: SharpnessSettings
) -> tuple[Adaptive, ...]:
    size = surface.weights.abs()
    ball = ascend(
        surface,
        settings.rho * (size + settings.eta),
        start=start,
        norm="l2",
        steps=settings.ascent_steps,
        seed=settings.seed,
    )
    box = ascend(
        surface,
        settings.rho_box * size,
        start=start,
        norm="linf",
        steps=settings.ascent_steps,
        seed=settings.seed,
    )
    return (
        Adaptive("l2", settings.rho, ball - start[0]),
        Adaptive("linf", settings.rho_box, box - start[0]),
    )


def phi(loss: float, highest: float) -> float:
    """Return Keskar's sharpness (1609.04836, Metric 2.1) of a loss and the highest near it."""
    return 100.0 * (highest - loss) / (1.0 + loss)
