"""How sharp the minima of runs are: what `thorax sharpness` measured."""

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainSerializer

from thorax.results.schema import Part, Result

_NullUnlessFinite = PlainSerializer(
    lambda value: value if value is not None and math.isfinite(value) else None,
    return_type=float | None,
)
Measured = Annotated[
    float, BeforeValidator(lambda value: math.nan if value is None else value), _NullUnlessFinite
]
"""A number that may be infinite or undefined; null in JSON then, and not a number once read."""


class LearningRates(Part):
    """Learning rates of a run, or a figure at each of them."""

    peak: Annotated[float | None, _NullUnlessFinite]
    """Highest of the schedule."""
    last: Annotated[float | None, _NullUnlessFinite]
    """The last before the checkpoint; null without an epoch."""


class Keskar(Part):
    """Keskar et al. (1609.04836), Metric 2.1, of one box."""

    epsilon: float
    """Size of the box."""
    dimensions: int | None
    """Of the manifold; null is the full space."""
    phi: Measured
    """100 (max f - f(x)) / (1 + f(x))."""
    highest_loss: Measured
    """The maximum that was found, nats; the true one is no lower."""


class Adaptive(Part):
    """The largest rise of the loss within a neighbourhood that scales with the weights."""

    norm: Literal["l2", "linf"]
    """l2 of T^-1 e with T = |w| + eta (ASAM, 2102.11600, Eq. 4), or linf of e / |w| (2302.07011,
    section 2), whose logits are not normalised here."""
    rho: float
    """Its size."""
    rise: Measured
    """max L(w + e) - L(w), nats."""


class Eigenvalue(Part):
    """The largest eigenvalue of the Hessian."""

    value: Measured
    """Of the loss in nats."""
    iterations: int
    """Products with the Hessian."""
    converged: bool
    """Whether the relative change fell below the tolerance."""
    residual: Measured
    """|Hv - value v| / |value|; an eigenvalue of H lies within it, relatively."""
    times_learning_rate: LearningRates | None = None
    """The eigenvalue times each learning rate; null where the optimizer scales gradients."""


class Sharpness(Part):
    """How sharp the minimum of one network is."""

    loss: Measured
    """f(x) on the training images, nats."""
    parameters: int
    keskar: tuple[Keskar, ...]
    """Full space first, then the manifold, each in the order of the epsilons."""
    adaptive: tuple[Adaptive, ...]
    """The ball of ASAM, then the box."""
    lambda_max: Eigenvalue | None
    """Null when it was left out."""


class Plane(Part):
    """The training loss on a grid in the plane of two random directions."""

    offsets: tuple[float, ...]
    """Along either direction, in lengths of the filters themselves."""
    loss: tuple[tuple[Measured, ...], ...]
    """Nats, a row an offset along the first direction, a column one along the second."""


class _MeasuredRun(Part):
    run: str
    """Its checkpoint folder."""
    topology: str
    epoch: int
    """After which the checkpoint was written."""
    weights_sha256: str = ""
    val_mean_auroc: float | None
    """On the validation split after that epoch."""
    learning_rate: LearningRates


class RunSharpness(Sharpness, _MeasuredRun):
    """How sharp the minimum of a run is."""

    landscape: Plane | None
    """The loss around it; null when it was not asked for."""


class Quality(Part):
    """How good weights are on a subset."""

    loss: Measured
    """Mean masked cross-entropy, nats."""
    mean_auroc: float | None
    """Over the labels with both classes, 0-1; null without any, or where the weights are so far off
    that a logit is not finite."""


class LinePoint(Part):
    """One point of the line through two networks."""

    a: float
    """0 at the first network, 1 at the second."""
    train: Quality
    """On the training images, batch-norm statistics estimated again on them."""
    val: Quality
    """On the validation images, with the same statistics."""
    train_interpolated: Quality
    """Statistics interpolated as weights are, variances not below 0."""
    val_interpolated: Quality
    """The same on the validation images."""


class MeasuredImages(Part):
    """Which images were drawn."""

    split: str
    seed: int
    sha256: str
    """Digest of the training images."""
    val_sha256: str
    """Digest of the validation images."""


class MeasuringSettings(Part):
    """What was measured, and how hard the maximum was looked for; see `SharpnessSettings`."""

    images: int
    seed: int
    batch: int
    batch_norm: Literal["running", "estimated", "batch"]
    epsilons: tuple[float, ...]
    ascent_steps: int
    manifold_dimensions: int
    manifold_iterations: int
    rho: float
    eta: float
    rho_box: float
    power_iterations: int
    tolerance: float


class SharpnessResult(RunSharpness, Result):
    """How sharp the minimum of a run is, and of another beside it."""

    command: Literal["sharpness"] = "sharpness"
    store: str = ""
    """Folder of the images."""
    images: int
    """Of the training split that were used."""
    val_images: int
    """Of the validation split that were used."""
    subset: MeasuredImages
    settings: MeasuringSettings
    against: RunSharpness | None
    """The second run."""
    path: tuple[LinePoint, ...] | None
    """The line from the first to the second."""
    caveat: str
    """What the figures do not say."""

    @property
    def runs(self) -> list[RunSharpness]:
        """The run, and the one it was compared with."""
        return [self] if self.against is None else [self, self.against]
