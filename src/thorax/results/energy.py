"""Watts and joules: under a benchmark, of a meter that is watched, and of a recorded log."""

from typing import Final, Literal

from pydantic import Field

from thorax.results.schema import Part, Result

EMULATED_RATE: Final = (
    "the rate is that of an emulation, which says nothing of what a card does with its watts"
)
"""Why a simulated card has no images per second and watt but modelled ones."""

Quantity = Literal["power", "energy"]


class DevicePower(Part):
    """Mean power of one channel of a meter."""

    load_w: float
    """Over the measured window."""
    idle_w: float | None = None
    """Over the window before it; null where none was kept."""
    marginal_w: float | None = None
    """Load less idle: what the work itself drew."""
    counted: bool = True
    """Whether it is part of the sum; false where another channel holds it already."""
    source: str | None = None
    """Of watts that are modelled: where they are from, and what is assumed of them."""


class PowerResult(Part):
    """What a meter read under a load, with both efficiencies."""

    modelled: bool
    """Whether it was computed and not measured."""
    replayed: bool = False
    """Whether the readings were recorded at another time than the window."""
    load_w: float | None = None
    """Mean over the window; null where `energy_error` says why."""
    idle_w: float | None = None
    """Mean of the idle window; null where none was kept."""
    idle_error: str | None = None
    """Why there is no idle power though a window was kept for it."""
    marginal_w: float | None = None
    """Load less idle."""
    images_per_s_per_w: float | None = None
    """Over all watts."""
    marginal_images_per_s_per_w: float | None = None
    """Over what the load added to idle; null where that is no more than the meter could tell."""
    efficiency_error: str | None = None
    """Why neither efficiency is a figure."""
    marginal_error: str | None = None
    """Why what the load added is no figure to divide by."""
    samples: int = 0
    """Readings within the window."""
    interval_s: float | None = None
    """That the meter was asked in."""
    devices: dict[str, DevicePower] = Field(default_factory=dict)
    """Of each channel, by its name."""


class MeterProblem(Part):
    """Why a meter does not answer, and what to do."""

    code: str
    message: str


class MeterProbe(Part):
    """Whether a meter answers on this computer."""

    name: str
    """What `--power` takes."""
    available: bool
    devices: tuple[str, ...]
    """Whose power it tells; empty where it does not answer."""
    problem: MeterProblem | None
    """Null where it answers."""


class MeterList(Result):
    """Which meters answer on this computer."""

    command: Literal["power list"] = "power list"
    meters: tuple[MeterProbe, ...]
    specs: tuple[str, ...]
    """All that `--power` takes."""


class DeviceEnergy(Part):
    """Energy of one channel of a meter."""

    energy_j: float | None
    power_w: float | None
    """Mean."""
    counted: bool
    """Whether it is part of the sum; false where another channel holds it already."""


class EnergyResult(Result):
    """Energy and mean power of what a meter told over a time."""

    energy_source: str
    """The meter."""
    quantity: Quantity
    """Whether it tells watts or counts joules."""
    modelled: bool
    """Whether its figures were computed and not measured."""
    replayed: bool = False
    """Whether they were read at another time."""


class WatchResult(EnergyResult):
    """What a meter told while it was watched."""

    command: Literal["power watch"] = "power watch"
    readings: int
    duration_s: float
    """From the first reading to the last."""
    energy_j: float | None
    """Sum of the channels that count; null where `energy_error` says why."""
    energy_error: str | None = None
    """Why a counter does not tell its energy."""
    power_w: float | None
    """Mean."""
    least_w: float | None
    most_w: float | None
    devices: dict[str, DeviceEnergy]
    """Of each channel, by its name."""
    log: str | None = None
    """Where the readings were written; null where nowhere."""


class LogEnergy(EnergyResult):
    """The energy of a recorded log, or of a part of it."""

    command: Literal["power energy"] = "power energy"
    recorded: str
    """When the recording began, UTC, as the wall clock said."""
    readings: int
    """Within the window."""
    begin_s: float
    """Into the log."""
    end_s: float
    """Into the log."""
    duration_s: float
    energy_j: float
    """Sum of the channels that count."""
    power_w: float
    """Mean."""
    devices: dict[str, DeviceEnergy]
    """Of each channel, by its name."""
