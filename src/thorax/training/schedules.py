"""Learning rates as pure functions of the step: nothing to save, nothing to resume.

Step 0 is the first update. Every schedule climbs in a straight line from `start`, unless it is
given peak / warmup_steps, to the peak, reached at the last warm-up step (Goyal et al., 1706.02677,
section 2.2), and is then computed from the share of the remaining steps that has passed, 0 at the
first step after warm-up and 1 at `total_steps`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Final, Literal, Self, assert_never

from pydantic import Field, model_validator

from thorax.config import Settings
from thorax.errors import UsageError

BASE_BATCH: Final = 256
"""Images the base rate is for (Goyal et al., 1706.02677, section 5.1)."""

_FEW_STEPS: Final = 100


def cosine(
    step: int,
    *,
    peak: float,
    warmup_steps: int,
    total_steps: int,
    end: float = 0.0,
    start: float | None = None,
) -> float:
    """Return the learning rate after warm-up and half a cosine (SGDR, 1608.03983, Eq. 5)."""
    if step < warmup_steps:
        return _warmup(step, start, peak, warmup_steps)
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
    start: float | None = None,
) -> float:
    """Return the learning rate after warm-up and a polynomial (LARS, 1708.03888, section 5)."""
    if step < warmup_steps:
        return _warmup(step, start, peak, warmup_steps)
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
    start: float | None = None,
) -> float:
    """Return the peak times `factor` once for each share of all `total_steps` that has passed.

    The default is 30, 60 and 80 of 90 epochs (Goyal et al., 1706.02677, section 5.1).
    """
    if step < warmup_steps:
        return _warmup(step, start, peak, warmup_steps)
    cuts = sum(step >= share * total_steps for share in at)
    return peak * math.pow(factor, cuts)


class Schedule(Settings):
    """What every schedule has: a peak, given or scaled to the batch, and a climb to it."""

    kind: str
    """Form of the schedule."""
    peak: float | None = Field(default=None, gt=0, le=1e30)
    """Highest learning rate at the batch of this run, above 0 to 1e30; or give base_per_256."""
    base_per_256: float | None = Field(default=None, gt=0, le=1e6)
    """Learning rate for 256 images an update, above 0 to 1e6: the peak is this times batch / 256,
    and warm-up begins here (1706.02677, section 2)."""
    scaling: Literal["linear", "sqrt"] = "linear"
    """How base_per_256 grows with the batch; sqrt is for Adam and LAMB (1904.00962, section 4)."""
    warmup_epochs: float = Field(default=1.0, ge=0, le=1e6)
    """Length of the straight climb to the peak, 0 to 1e6 epochs."""
    warmup_steps: int = Field(default=0, ge=0, le=1 << 31)
    """Updates the climb takes at least, where warmup_epochs are fewer, 0 to 2**31."""

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if (self.peak is None) == (self.base_per_256 is None):
            raise ValueError("exactly one of peak and base_per_256")
        if self.scaling != "linear" and self.base_per_256 is None:
            raise ValueError("scaling only beside base_per_256; a peak is never scaled")
        return self


class Cosine(Schedule):
    """Half a cosine from the peak to the end."""

    kind: Literal["cosine"]
    end: float = Field(default=0.0, ge=0, le=1e30)
    """Learning rate at the end, 0 to the peak."""


class Polynomial(Schedule):
    """A power of the share that is left, as LARS runs use."""

    kind: Literal["polynomial"]
    power: float = Field(default=2.0, gt=0, le=1000)
    """Exponent of the share of steps left, above 0 to 1,000."""
    end: float = Field(default=1e-4, ge=0, le=1e30)
    """Learning rate at the end, 0 to the peak."""


class Stepped(Schedule):
    """The peak, cut at fixed shares of the run."""

    kind: Literal["step"]
    factor: float = Field(default=0.1, ge=1e-12, le=1)
    """What each cut multiplies the learning rate by, 1e-12 to 1."""
    at: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(max_length=1000)] = (
        1 / 3,
        2 / 3,
        8 / 9,
    )
    """When to cut, shares of the run, each above 0 to below 1."""


ScheduleSettings = Annotated[Cosine | Polynomial | Stepped, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A schedule in numbers: settings applied to one batch and one length of run.

    Fields as of `thorax.results.training.Schedule`.

    Attributes:
        drops: the steps, from 0, at which the rate is cut; empty but for `step`.
        settings: what it was made from.
    """

    kind: str
    batch: int
    epochs: int
    steps_per_epoch: int
    steps: int
    warmup_steps: int
    start: float
    peak: float
    end: float
    drops: tuple[int, ...]
    settings: Cosine | Polynomial | Stepped = field(repr=False)

    @property
    def images(self) -> int:
        """Images seen in the whole run, each as often as it is."""
        return self.batch * self.steps

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, 0 or more."""
        return _rate(step, self.settings, self.batch, self.warmup_steps, self.steps)

    def warnings(self) -> tuple[str, ...]:
        """Return what is likely wrong with the run, one line each."""
        found = []
        if self.steps < _FEW_STEPS:
            found.append(
                f"{self.steps:,} updates in all are few to learn from; train longer or lower the "
                "batch"
            )
        asked = _warmup_steps(self.settings, self.steps_per_epoch)
        if asked > self.steps:
            found.append(
                f"warm-up of {asked:,} updates is cut to the {self.steps:,} of the run; the rate "
                "never falls"
            )
        elif self.warmup_steps > self.steps / 2:
            found.append(
                f"warm-up takes {self.warmup_steps:,} of {self.steps:,} updates, more than half"
            )
        return tuple(found)

    def document(self) -> dict[str, Any]:
        """Return the same for JSON, `images` and `warnings` besides."""
        numbers = {part.name: getattr(self, part.name) for part in fields(self)[:-1]}
        return {
            **numbers,
            "drops": list(self.drops),
            "images": self.images,
            "warnings": list(self.warnings()),
            "settings": self.settings.model_dump(mode="json"),
        }

    def lines(self) -> tuple[str, ...]:
        """Return the same for a person, one aligned line a fact; updates count from 1."""
        shown = {0, self.warmup_steps - 1, self.steps - 1, *self.drops}
        shown |= {self.steps * quarter // 4 for quarter in (1, 2, 3)}
        rates = ", ".join(
            f"{self.rate(step):.4g} at {step + 1:,}"
            for step in sorted(shown)
            if 0 <= step < self.steps
        )
        rows = [
            ("global batch", f"{self.batch:,} images"),
            ("epochs", f"{self.epochs:,}"),
            ("updates", f"{self.steps:,}, {self.steps_per_epoch:,} an epoch"),
            ("images seen", f"{self.images:,}"),
            ("warm-up", self._climb()),
            ("decay", self._decay()),
            ("learning rate", f"{rates} (updates)"),
            *(("warning", text) for text in self.warnings()),
        ]
        width = max(len(name) for name, _ in rows)
        return tuple(f"{name:<{width}}  {text}" for name, text in rows)

    def _climb(self) -> str:
        if not self.warmup_steps:
            return f"none, from the first update at {self.peak:.4g}"
        epochs = self.warmup_steps / self.steps_per_epoch
        return (
            f"{self.warmup_steps:,} updates ({epochs:.3g} epochs), "
            f"{self.start:.4g} -> {self.peak:.4g}"
        )

    def _decay(self) -> str:
        match self.settings:
            case Cosine(end=end):
                return f"cosine to {end:.4g}"
            case Polynomial(power=power, end=end):
                return f"polynomial of power {power:.4g} to {end:.4g}"
            case Stepped(factor=factor):
                cuts = ", ".join(f"{step + 1:,}" for step in self.drops)
                return f"times {factor:.4g} at {cuts}" if cuts else "none"
        assert_never(self.settings)


def peak_rate(settings: Schedule, batch: int) -> float:
    """Return the highest learning rate of a schedule.

    Where it has none of its own it is base * batch / 256 (1706.02677, section 2.1), or
    base * sqrt(batch / 256).
    """
    if settings.base_per_256 is None:
        assert settings.peak is not None
        return settings.peak
    growth = batch / BASE_BATCH
    return settings.base_per_256 * (math.sqrt(growth) if settings.scaling == "sqrt" else growth)


def resolve(
    settings: ScheduleSettings, *, batch: int, steps_per_epoch: int, epochs: int
) -> Resolved:
    """Return the schedule of a run.

    With `base_per_256` the peak is that of `peak_rate`, and warm-up climbs from the base; at the
    peak from its first step where the batch is below 256. The batch is images an update over all
    ranks, epochs are those of the whole run; all are 1 or more.

    Raises:
        UsageError: `schedule-end`, an end above the peak.

    Example:
        >>> schedule = resolve(recipe.schedule, batch=8192, steps_per_epoch=10, epochs=90)
        >>> schedule.rate(0)
    """
    steps = steps_per_epoch * epochs
    peak = peak_rate(settings, batch)
    if not isinstance(settings, Stepped) and settings.end > peak:
        raise UsageError(
            "schedule-end",
            f"schedule.end is {settings.end:g}, above the peak of {peak:g} at batch {batch}; lower "
            "it to the peak at most",
        )
    warmup_steps = min(_warmup_steps(settings, steps_per_epoch), steps)
    drops: tuple[int, ...] = ()
    if isinstance(settings, Stepped):
        cuts = (max(math.ceil(share * steps), warmup_steps) for share in sorted(settings.at))
        drops = tuple(cut for cut in cuts if cut < steps)
    return Resolved(
        kind=settings.kind,
        batch=batch,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        steps=steps,
        warmup_steps=warmup_steps,
        start=_rate(0, settings, batch, warmup_steps, steps),
        peak=peak,
        end=_rate(steps - 1, settings, batch, warmup_steps, steps),
        drops=drops,
        settings=settings,
    )


def _warmup_steps(settings: Schedule, steps_per_epoch: int) -> int:
    return max(round(settings.warmup_epochs * steps_per_epoch), settings.warmup_steps)


def _rate(
    step: int, settings: ScheduleSettings, batch: int, warmup_steps: int, steps: int
) -> float:
    peak = peak_rate(settings, batch)
    base = settings.base_per_256
    climb: dict[str, Any] = {
        "peak": peak,
        "warmup_steps": warmup_steps,
        "total_steps": steps,
        "start": None if base is None else min(base, peak),
    }
    match settings:
        case Cosine(end=end):
            return cosine(step, end=end, **climb)
        case Polynomial(end=end, power=power):
            return polynomial(step, end=end, power=power, **climb)
        case Stepped(factor=factor, at=at):
            return stepped(step, factor=factor, at=at, **climb)
    assert_never(settings)


def _warmup(step: int, start: float | None, peak: float, warmup_steps: int) -> float:
    if start is None:
        return peak * (step + 1) / warmup_steps
    if step == warmup_steps - 1:
        return peak
    return start + (peak - start) * step / (warmup_steps - 1)


def _share(step: int, warmup_steps: int, total_steps: int) -> float:
    return min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
