"""RAPL: energy counters of the processors, as Linux shows them below /sys/class/powercap.

A zone is a package, a part of one, or the whole platform (psys); AMD's processors are shown under
the same names (Linux, Documentation/power/powercap/powercap.rst, and
drivers/powercap/intel_rapl_msr.c). The counters wrap at `max_energy_range_uj`.
"""

import errno
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thorax.errors import DeviceError, PeerError
from thorax.measure.power import Channel, Quantity, Reading

ROOT: Final = Path("/sys/class/powercap")

_ZONE: Final = re.compile(r"intel-rapl:\d+(:\d+)?")
"""Not intel-rapl-mmio: the same counters, shown again by another way."""

_DIGITS: Final = 20
"""Of the largest number of 64 bits."""

_LONGEST_BYTES: Final = 4096
"""Of an attribute of sysfs: a page."""

_CEILING_W: Final = {"psys": 4000.0}
_PACKAGE_CEILING_W: Final = 1000.0
"""More than a zone can draw (*assumed*; 500 W is the TDP of the largest packages of 2025)."""

_UPDATE_S: Final = 0.01
"""What a counter may be behind by: it goes on about once a millisecond (Intel SDM volume 3, section
16.10), taken tenfold (*assumed*)."""

_WHAT_TO_DO: Final = (
    "since Linux 5.10 only root may read it (CVE-2020-8694): run as root, or once "
    "`sudo chmod -R a+r /sys/class/powercap/intel-rapl/`, or let a udev rule do that at each start"
)


@dataclass(slots=True)
class _Zone:
    """One counter and how far it has come.

    Attributes:
        counter: its file in sysfs.
        name: of the channel.
        range_uj: at which it wraps to 0.
        ceiling_w: more than it can draw.
        last_uj: what it stood at.
        at_s: when that was.
        asked_s: since when it may have stood there.
        total_uj: since the meter was opened.
    """

    counter: str
    name: str
    range_uj: int
    ceiling_w: float
    last_uj: int = 0
    at_s: float = 0.0
    asked_s: float = 0.0
    total_uj: int = 0


class Rapl:
    """All packages, their memory where it has a counter, and the platform where it has one.

    The sum is that of the platform where psys is there, which holds the packages already, and else
    of packages and memory; `core` and `uncore` are parts of a package and never counted twice.
    (Intel SDM volume 3, section 16.10: package, PP0, PP1, DRAM and platform domains.)

    Args:
        root: of the zones; another one in tests.
        clock: of the monotonic time; likewise.

    Raises:
        DeviceError: `meter-absent` without any zone, `meter-permission` without the right to read.
    """

    source = "rapl"
    quantity: Quantity = "energy"
    modelled = False
    replayed = False
    interval_s = 0.1

    def __init__(
        self, root: Path = ROOT, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._clock = clock
        folders = sorted(path for path in root.glob("intel-rapl:*") if _ZONE.fullmatch(path.name))
        if not folders:
            raise DeviceError(
                "meter-absent",
                f"RAPL: {root} has no zone intel-rapl:N; a physical machine (in a virtual one the "
                "counters are hidden), Linux and its module intel_rapl_msr are needed",
            )
        names = {path.name: _text(path / "name") for path in folders}
        platform = "psys" in names.values()
        self._zones: list[_Zone] = []
        channels: list[Channel] = []
        for path in folders:
            own = names[path.name]
            outer, _, _ = path.name.rpartition(":")
            inner = ":" in outer
            name = f"{names.get(outer, outer)}/{own}" if inner else own
            if any(name == known.name for known in channels):
                name = f"{name} ({path.name})"
            counted = own == "psys" if platform else (not inner or own == "dram")
            self._zones.append(
                _Zone(
                    str(path / "energy_uj"),
                    name,
                    _number(path / "max_energy_range_uj"),
                    _CEILING_W.get(own, _PACKAGE_CEILING_W),
                )
            )
            channels.append(Channel(name, counted))
        self.channels = tuple(channels)
        if not any(one.counted and "/" not in one.name for one in channels):
            raise DeviceError(
                "meter-absent",
                f"RAPL: {root} has parts of packages, {', '.join(names)}, and no package; is the "
                "driver whole?",
            )
        for zone in self._zones:
            zone.asked_s = clock()
            zone.last_uj, zone.at_s = _number(zone.counter), clock()

    def read(self) -> tuple[Reading, ...]:
        """Return joules since the meter was opened, wraps of the counters made good.

        Raises:
            DeviceError: `meter-absent` or `meter-permission`.
            PeerError: `meter-answer` where a counter gives no number or a read fails, `rapl-wrap`
                where so much time went by that it may have wrapped twice, `rapl-reset` where it
                went on by more than can have been drawn.
        """
        begin_s = self._clock()
        raw = [_number(zone.counter) for zone in self._zones]
        end_s = self._clock()
        at_s = (begin_s + end_s) / 2
        # All are read before any is taken in: a failure leaves the whole meter where it was.
        for zone, now_uj in zip(self._zones, raw, strict=True):
            _advance(zone, now_uj, at_s, end_s - zone.asked_s)
            zone.asked_s = begin_s
        return (Reading(at_s, tuple(zone.total_uj / 1e6 for zone in self._zones)),)

    def close(self) -> None:
        """Nothing is kept open."""


def _advance(zone: _Zone, now_uj: int, at_s: float, longest_s: float) -> None:
    """Add what a counter went on, which is less than one turn.

    Args:
        zone: of the counter.
        now_uj: what it stands at.
        at_s: when.
        longest_s: time that may lie between this reading and the last.
    """
    if not 0 <= now_uj <= zone.range_uj:
        raise PeerError(
            "meter-answer",
            f"RAPL: {zone.counter} is {now_uj}, allowed is 0 to {zone.range_uj}",
        )
    elapsed_s = at_s - zone.at_s
    turn_s = zone.range_uj / 1e6 / zone.ceiling_w
    if elapsed_s >= turn_s:
        raise PeerError(
            "rapl-wrap",
            f"RAPL: {zone.name} was not read for {elapsed_s:.0f} s, in which its counter may have "
            f"wrapped twice; read it at least every {turn_s:.0f} s",
        )
    step_uj = now_uj - zone.last_uj
    if step_uj < 0:
        # Linux tells the range to one unit of the counter, some 15 to 61 uJ that a wrap then lacks.
        step_uj += zone.range_uj
    if step_uj / 1e6 > zone.ceiling_w * (longest_s + _UPDATE_S):
        # A driver loaded anew, a package off line, or a suspension, in which no clock of ours runs.
        raise PeerError(
            "rapl-reset",
            f"RAPL: {zone.name} would have drawn {step_uj / 1e6:,.0f} J within {elapsed_s:.2f} s "
            f"(from {zone.last_uj} to {now_uj} uJ), more than {zone.ceiling_w:,.0f} W: its counter "
            "was reset, so measure again",
        )
    zone.total_uj += step_uj
    zone.last_uj, zone.at_s = now_uj, at_s


def _text(path: Path | str) -> str:
    try:
        # A tenth of the time that Path.read_text takes, and this is done a hundred times a second.
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return os.read(descriptor, _LONGEST_BYTES).decode("ascii").strip()
        finally:
            os.close(descriptor)
    except PermissionError as error:
        raise DeviceError(
            "meter-permission", f"RAPL: {path} may not be read; {_WHAT_TO_DO}"
        ) from error
    except FileNotFoundError as error:
        raise DeviceError(
            "meter-absent", f"RAPL: {path} is not there; the zone has gone, or was never whole"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        code = errno.errorcode.get(getattr(error, "errno", None) or 0, "no text")
        raise PeerError(
            "meter-answer", f"RAPL: {path} cannot be read ({code}); is the driver at work?"
        ) from error


def _number(path: Path | str) -> int:
    text = _text(path)
    if not (text.isdecimal() and len(text) <= _DIGITS):
        raise PeerError("meter-answer", f"RAPL: {path} holds {text[:40]!r}; a number is needed")
    return int(text)
