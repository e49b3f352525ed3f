"""Parts that the results of several commands have: intervals, engines, machines, cards."""

import math
from typing import Literal, Protocol, Self

from thorax.results.schema import Part, Result


class ReadWarning(Part):
    """What is doubtful about how an image or a table was read; it was taken nevertheless."""

    code: str
    """What, as a program reads it."""
    message: str
    """One line, for a person."""


class _Bounds(Protocol):
    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class Interval(Part):
    """An estimate with the bounds of its confidence interval; null where it is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, bounds: _Bounds) -> Self:
        """Return what was computed, NaN as null."""
        parts = {"value": bounds.value, "low": bounds.low, "high": bounds.high}
        return cls(**{key: None if math.isnan(part) else part for key, part in parts.items()})

    def negated(self) -> "Interval":
        """Return the interval of the same with the other sign; no zero has one."""
        value, low, high = (
            None if part is None else 0.0 - part for part in (self.value, self.high, self.low)
        )
        return Interval(value=value, low=low, high=high)


HeatmapKind = Literal["cam", "fine", "relative"]
"""Heat maps of the last features as they are; of twice as many, see `thorax.ir.atrous`; or what is
above the mean map of the train split, see `thorax.ir.heatmap.subtract`."""


class Stage(Part):
    """What every inference passes, one after the other."""

    name: str
    time_s: float
    origin: Literal["modelled"]


class PlusMeasured(Part):
    """Sums of what is modelled of the cards and what was measured here of other devices.

    They are neither modelled nor measured, and differ from run to run as a measurement does.
    """

    measured_s: float
    """Of one inference in the layers of other devices, mean of a few; no sum yet."""
    stage_s: float
    """What that is as one more stage: over as many inferences as ran at once there."""
    images_per_s: float
    """With that stage."""
    latency_s: float
    """Of one inference alone: the modelled latency and the measured time."""
    bound_by: str
    """The slowest stage."""


class Modelled(Part):
    """What simulated cards would do: computed from their architecture, never measured.

    All figures but those of `plus_measured` are of the cards alone and the same in every run.
    """

    images_per_s: float
    """With as many inferences on their way as keep the slowest stage of the cards busy."""
    latency_s: float
    """Of one inference alone: the sum of the stages of the cards."""
    power_w: float | None
    """Of the boards of all cards at that rate; null where no source gives one of them."""
    images_per_s_per_w: float | None
    """Per watt of the boards; the host is not in it."""
    bound_by: str
    """The slowest stage of the cards, which all others of them wait for."""
    stages: tuple[Stage, ...]
    """Of the cards."""
    plus_measured: PlusMeasured | None = None
    """No model's figures: sums of these and of what other devices took here, measured; null where
    they have no layer or were not measured."""
    source: str
    """Where all of it comes from, in words."""


class Engine(Part):
    """What every result says of the engine that it was measured on."""

    model: str
    """Name of the artifact."""
    topology: str
    digest: str
    """SHA-256 of the graph and its weights."""
    device: str
    """As it was asked for."""
    devices: tuple[str, ...]
    """That take part."""
    precision: str
    """That weights are stored in."""
    compute: str
    """Floating-point arithmetic that the devices compute in; integers are of `arithmetic`."""
    arithmetic: str = ""
    """Element types of the layers that multiply, as compiled: "int8" or "int8+f32" of an INT8
    artifact; empty where a device does not tell."""
    simulated: bool
    """Whether a simulated device takes part."""


class EngineResult(Engine, Result):
    """A result that was measured on one engine."""


class Environment(Part):
    """What a reader needs to know of the machine and the software."""

    devices: dict[str, str]
    """Full names of the devices that are there, by name."""
    processors: int
    """That this program may use."""
    openvino: str
    thorax: str
