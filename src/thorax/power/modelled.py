"""Power from a file that says what each device draws idle and busy: modelled, never measured."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from thorax.config import Settings, load
from thorax.errors import DeviceError
from thorax.fpga.boards import BOARDS, IDLE_W
from thorax.power.meter import Channel, Meter, Reading

_STAT: Final = Path("/proc/stat")
_WAITING: Final = (3, 4)
"""Columns of /proc/stat in which a processor does nothing: idle and iowait (proc(5))."""
_WITHIN_OTHERS: Final = 8
"""From this column on are guests, which user time holds already."""

_MOST_W: Final = 1e9
"""Of one device: more than any machine draws, and little enough to be added up."""


class ModelledDevice(Settings):
    """What one device is taken to draw."""

    name: str = Field(min_length=1)
    """As tables name it."""
    board: str | None = None
    """An FPGA board that Thorax knows (`thorax fpga list`): its published watts are taken."""
    idle_w: float | None = Field(default=None, ge=0, le=_MOST_W)
    """Watts when it waits, 0 to 1e9; not with `board`."""
    busy_w: float | None = Field(default=None, ge=0, le=_MOST_W)
    """Watts under full load, 0 to 1e9; not with `board`."""
    source: str | None = Field(default=None, min_length=1)
    """Where the watts are published or how they were measured; not with `board`."""
    follows: Literal["processor", "nothing"] = "processor"
    """What makes it busy: all processors of this computer, in proportion, or nothing: always busy.
    A simulated card is emulated by the processors, so that it is busy when they are."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = (self.idle_w, self.busy_w, self.source)
        if self.board is None:
            if self.idle_w is None or self.busy_w is None or self.source is None:
                raise ValueError("idle_w, busy_w and source, or else a board")
            if self.busy_w < self.idle_w:
                raise ValueError(f"busy_w is {self.busy_w:g}; no less than idle_w, {self.idle_w:g}")
        elif given != (None, None, None):
            raise ValueError("a board alone, or else idle_w, busy_w and source")
        elif self.board not in BOARDS or BOARDS[self.board].power_w is None:
            published = ", ".join(
                name for name, board in BOARDS.items() if board.power_w is not None
            )
            raise ValueError(f"a board whose power is published: {published}")
        return self

    def origin(self) -> str:
        """Return where its watts are from, and what is assumed of them."""
        if self.board is None:
            watts = self.source
        else:
            watts = f"{BOARDS[self.board].power_source}, idle calibrated"
        if self.follows == "nothing":
            return f"{watts}; busy all the time: assumed"
        return f"{watts}; between idle and busy as the processors of this computer are: assumed"

    def watts(self) -> tuple[float, float]:
        """Return what it draws idle and busy."""
        if self.board is None:
            assert self.idle_w is not None
            assert self.busy_w is not None
            return self.idle_w, self.busy_w
        busy_w = BOARDS[self.board].power_w
        assert busy_w is not None
        return min(IDLE_W, busy_w), busy_w


class PowerModel(Settings):
    """A power file."""

    devices: tuple[ModelledDevice, ...] = Field(min_length=1)
    """All that belongs to the sum."""


class Modelled(Meter):
    """Idle power and what load adds, in proportion to how busy the processors are.

    (Fan, Weber, Barroso, Power Provisioning for a Warehouse-sized Computer, ISCA 2007, section
    3.2: the linear model, within 5 % for whole racks there.)

    The file is the TOML of a `PowerModel`. `busy_s` tells processor-seconds at work since some
    time, over all processors, in units of the whole computer: 1 a second when all are busy; None
    asks /proc/stat.

    Raises:
        UsageError: as `thorax.config.load`.
        DeviceError: `meter-absent` where the system does not tell how busy it is.
    """

    quantity = "energy"
    modelled = True
    interval_s = 0.5

    def __init__(self, path: Path, *, busy_s: Callable[[], float] | None = None) -> None:
        model = load(path, PowerModel)
        self.source = f"model: {path.name}"
        self._devices = model.devices
        names = [device.name for device in model.devices]
        self.channels = tuple(
            Channel(
                device.name if names.count(device.name) == 1 else f"{device.name} #{index}",
                source=device.origin(),
            )
            for index, device in enumerate(model.devices)
        )
        self._busy_s = busy_s or _processors_busy_s
        self._begin_s, self._begin_busy_s = time.perf_counter(), self._busy_s()

    def read(self) -> tuple[Reading, ...]:
        """Return modelled joules since the meter was opened.

        Raises:
            DeviceError: `meter-absent` where the system does not tell how busy it is.
        """
        busy_s = self._busy_s() - self._begin_busy_s
        at_s = time.perf_counter()
        elapsed_s = at_s - self._begin_s
        values = []
        for device in self._devices:
            idle_w, busy_w = device.watts()
            worked_s = elapsed_s if device.follows == "nothing" else busy_s
            values.append(idle_w * elapsed_s + (busy_w - idle_w) * worked_s)
        return (Reading(at_s, tuple(values)),)


def _processors_busy_s() -> float:
    try:
        lines = _STAT.read_text("ascii").splitlines()
        ticks = [int(word) for word in lines[0].split()[1:]]
        processors = sum(line.startswith("cpu") for line in lines) - 1
        working = sum(
            count for column, count in enumerate(ticks[:_WITHIN_OTHERS]) if column not in _WAITING
        )
        return working / os.sysconf("SC_CLK_TCK") / processors
    except (OSError, ValueError, IndexError, ZeroDivisionError) as error:
        raise DeviceError(
            "meter-absent", f"{_STAT} does not tell how busy the processors are; Linux is needed"
        ) from error
