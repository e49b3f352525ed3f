"""Learning rates as pure functions of the step: nothing to save, nothing to resume.

Step 0 is the first update. Every schedule climbs in a straight line from peak / warmup_steps to
the peak, reached at the last warm-up step (Goyal et al., 1706.02677, section 2.2), and is then
computed from the share of the remaining steps that has passed, 0 at the first step after warm-up
and 1 at `total_steps`.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, assert_never

from pydantic import Field

from thorax.config import Settings


def cosine(
    step: int, *, peak: float, warmup_steps: int, total_steps: int, end: float = 0.0
) -> float:
    """Return the learning rate after warm-up and half a cosine (SGDR, 1608.03983, Eq. 5)."""
    if step < warmup_steps:
        return _warmup(step, peak, warmup_steps)
    share = _share(step, warmup_steps, total_steps)
    return end + (peak - end) * 0.5 * (1.0 + math.cos(math.pi * share))


def polynomial(
    step: int,
    *,
    peak: float,
    warmup_steps: int,
    total_steps: int,
    power: float = 2.0,
    end: float = 1e-4,
) -> float:
    """Return the learning rate after warm-up and a polynomial (LARS, 1708.03888, section 5)."""
    if step < warmup_steps:
        return _warmup(step, peak, warmup_steps)
    left = 1.0 - _share(step, warmup_steps, total_steps)
    return end + (peak - end) * math.pow(left, power)


def stepped(
    step: int,
    *,
    peak: float,
    warmup_steps: int,
    total_steps: int,
    factor: float = 0.1,
    at: Sequence[float] = (1 / 3, 2 / 3, 8 / 9),
) -> float:
    """Return the peak times `factor` once for each share of all `total_steps` that has passed.

    The default is 30, 60 and 80 of 90 epochs (Goyal et al., 1706.02677, section 5.1).
    """
    if step < warmup_steps:
        return _warmup(step, peak, warmup_steps)
    cuts = sum(step >= share * total_steps for share in at)
    return peak * math.pow(factor, cuts)


class Cosine(Settings):
    """Half a cosine from the peak to the end."""

    kind: Literal["cosine"]
    """Form of the schedule."""
    peak: float = Field(gt=0)
    """Highest learning rate, above 0."""
    warmup_epochs: float = Field(default=1.0, ge=0)
    """Length of the straight climb to the peak, epochs, 0 or more."""
    end: float = Field(default=0.0, ge=0)
    """Learning rate at the end, 0 or more."""


class Polynomial(Settings):
    """A power of the share that is left, as LARS runs use."""

    kind: Literal["polynomial"]
    """Form of the schedule."""
    peak: float = Field(gt=0)
    """Highest learning rate, above 0."""
    warmup_epochs: float = Field(default=1.0, ge=0)
    """Length of the straight climb to the peak, epochs, 0 or more."""
    power: float = Field(default=2.0, gt=0)
    """Exponent of the share of steps left, above 0."""
    end: float = Field(default=1e-4, ge=0)
    """Learning rate at the end, 0 or more."""


class Stepped(Settings):
    """The peak, cut at fixed shares of the run."""

    kind: Literal["step"]
    """Form of the schedule."""
    peak: float = Field(gt=0)
    """Highest learning rate, above 0."""
    warmup_epochs: float = Field(default=1.0, ge=0)
    """Length of the straight climb to the peak, epochs, 0 or more."""
    factor: float = Field(default=0.1, gt=0, le=1)
    """What each cut multiplies the learning rate by, above 0 to 1."""
    at: tuple[float, ...] = (1 / 3, 2 / 3, 8 / 9)
    """When to cut, shares of the run."""


ScheduleSettings = Annotated[Cosine | Polynomial | Stepped, Field(discriminator="kind")]


def learning_rate(
    step: int, settings: Cosine | Polynomial | Stepped, *, steps_per_epoch: int, total_steps: int
) -> float:
    """Return the learning rate of a step as the settings say."""
    warmup_steps = round(settings.warmup_epochs * steps_per_epoch)
    match settings:
        case Cosine(peak=peak, end=end):
            return cosine(
                step, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, end=end
            )
        case Polynomial(peak=peak, end=end, power=power):
            return polynomial(
                step,
                peak=peak,
                warmup_steps=warmup_steps,
                total_steps=total_steps,
                power=power,
                end=end,
            )
        case Stepped(peak=peak, factor=factor, at=at):
            return stepped(
                step,
                peak=peak,
                warmup_steps=warmup_steps,
                total_steps=total_steps,
                factor=factor,
                at=at,
            )
    assert_never(settings)


def _warmup(step: int, peak: float, warmup_steps: int) -> float:
    return peak * (step + 1) / warmup_steps


def _share(step: int, warmup_steps: int, total_steps: int) -> float:
    return min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
