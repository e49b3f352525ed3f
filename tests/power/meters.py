"""What stands behind the meters of tests: a sysfs tree, a driver of GPUs, programs, a log."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from thorax.power.log import Log
from thorax.power.meter import Channel, Reading
from thorax.results.energy import Quantity

RANGE_UJ = 65_532_610_987
"""Of AMD's counters of 15.3 uJ in 32 bits; those of Intel have 262,143,328,850."""

RACADM_SENSORS = """\
Sensor Type : POWER
<Sensor Name>                     <Status>            <Type>
PS1 Status                        Present             AC
PS2 Status                        Present             AC

Sensor Type : TEMPERATURE
<Sensor Name>                     <Status>  <Reading>  <lc>  <uc>  <lnc>[R/W]  <unc>[R/W]
System Board Inlet Temp           Ok        23C        -7C   47C   3C [Y]      38C [Y]

Sensor Type : CURRENT
<Sensor Name>                     <Status>  <Reading>  <lc>  <uc>       <lnc>[R/W]  <unc>[R/W]
PS1 Current 1                     Ok        0.6Amps    NA    NA         0Amps [N]   0Amps [N]
PS2 Current 2                     Ok        0.4Amps    NA    NA         0Amps [N]   0Amps [N]
System Board Pwr Consumption      Ok        224Watts   NA    980Watts   0Watts [N]  896Watts [Y]
"""
"""`racadm getsensorinfo`, in the form of Dell's RACADM guide."""

RACADM_GET = """\
[Key=System.Embedded.1#Power.1]
#ActivePolicyName=
#EnergyConsumption=3312.504 KWh | 11302737 Btu
#Max.LastDay=291 W | 993 Btu/hr
#Min.LastDay=187 W | 638 Btu/hr
#Realtime.Power=224 W | 764 Btu/hr
"""
"""`racadm get System.Power`, in the form of Dell's RACADM guide."""


class Zones:
    """A tree of RAPL zones as Linux shows it."""

    def __init__(self, root: Path, range_uj: int = RANGE_UJ) -> None:
        self.root = root
        self.range_uj = range_uj
        self._broken: Path | None = None

    def add(self, zone: str, name: str, energy_uj: int = 1000) -> None:
        folder = self.root / zone
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n", "ascii")
        (folder / "max_energy_range_uj").write_text(f"{self.range_uj}\n", "ascii")
        self.set(zone, energy_uj)

    def set(self, zone: str, energy_uj: int) -> None:
        # As sysfs does, the counter changes at once and is never half there.
        temporary = self.root / zone / ".energy_uj"
        temporary.write_text(f"{energy_uj}\n", "ascii")
        temporary.replace(self.root / zone / "energy_uj")

    def count(self, zone: str, joules: float) -> None:
        now = int((self.root / zone / "energy_uj").read_text("ascii"))
        self.set(zone, (now + round(joules * 1e6)) % self.range_uj)

    def break_(self, zone: str) -> None:
        """Make the counter unreadable, to root as well."""
        self._broken = self.root / zone
        (self._broken / "energy_uj").rename(self._broken / "kept")
        (self._broken / "energy_uj").mkdir()

    def heal(self) -> None:
        if self._broken:
            (self._broken / "energy_uj").rmdir()
            (self._broken / "kept").rename(self._broken / "energy_uj")
            self._broken = None


class NVMLError(Exception):
    """As pynvml has it."""


class NVMLError_NotSupported(NVMLError):  # noqa: N801, N818 - pynvml's names
    """This device has no such thing."""


class NVMLError_GpuIsLost(NVMLError):  # noqa: N801, N818
    """It fell off the bus."""


class NVMLError_NoPermission(NVMLError):  # noqa: N801, N818
    """The user has no right."""


class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801, N818
    """There is no driver."""


class FakeNvml(SimpleNamespace):
    """What of pynvml the meter calls, with the same names."""

    NVMLError = NVMLError

    def __init__(self, devices: int = 1, *, counts: bool = True) -> None:
        super().__init__()
        self.devices = devices
        self.counts = counts
        self.broken = False
        self.start_error: NVMLError | None = None
        self.open = 0
        self.millis = [1000] * devices

    def tell(self, value: float) -> None:
        for device in range(self.devices):
            added = round(value * 1e3)
            self.millis[device] = self.millis[device] + added if self.counts else added

    def nvmlInit(self) -> None:  # noqa: N802
        if self.start_error:
            raise self.start_error
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self.devices

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        if not self.counts:
            raise NVMLError_NotSupported("Not Supported")
        return self._asked(handle)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        return self._asked(handle)

    def _asked(self, handle: int) -> int:
        if self.broken:
            raise NVMLError_GpuIsLost("GPU is lost")
        return self.millis[handle]


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Callable[[str, int], None]:
    """Put a program first on the path; return what sets its output, and its status if not 0.

    What it was told stands in NAME.told, a word a line.
    """
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    said, status = folder / f"{name}.said", folder / f"{name}.status"
    file = place / name
    file.write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{folder}/{name}.told'\n"
        f"status=$(cat '{status}')\n"
        f"[ $status = 0 ] && exec cat '{said}'\ncat '{said}' >&2\nexit $status\n",
        "utf-8",
    )
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")

    def tell(text: str, code: int) -> None:
        for path, content in ((said, text), (status, f"{code}\n")):
            temporary = path.with_suffix(".new")
            temporary.write_text(content, "utf-8")
            temporary.replace(path)

    tell("", 0)
    return tell


@dataclass
class Source:
    """A meter that is only named, to record a log of."""

    quantity: Quantity = "power"
    channels: tuple[Channel, ...] = (Channel("system"),)
    source: str = "redfish: test"
    modelled: bool = False
    replayed: bool = False
    interval_s: float = 1.0
    told: list[Reading] = field(default_factory=list)

    def read(self) -> tuple[Reading, ...]:
        return tuple(self.told)

    def close(self) -> None:
        return


def write_log(
    path: Path, pairs: Sequence[tuple[float, float]], quantity: Quantity = "power"
) -> Path:
    """Write a log of one channel."""
    log = Log(path, Source(quantity), 1.0)
    for at_s, value in pairs:
        log.add(Reading(at_s, (value,)))
    log.close()
    return path


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
