"""RAPL: energy counters of the processors, as Linux shows them below /sys/class/powercap.

A zone is a package, a part of one, or the whole platform (psys); AMD's processors are shown under
the same names (Linux, Documentation/power/powercap/powercap.rst, and
drivers/powercap/intel_rapl_msr.c). The counters wrap at `max_energy_range_uj`.
"""

import errno
import itertools
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from thorax.errors import DeviceError, PeerError
from thorax.power.meter import Channel, Meter, Reading

ROOT: Final = Path("/sys/class/powercap")

_ZONE: Final = re.compile(r"intel-rapl:\d+(:\d+)?")
"""Not intel-rapl-mmio: the same counters, shown again by another way."""

_DIGITS: Final = 20
"""Of the largest number of 64 bits."""

_LONGEST_BYTES: Final = 4096
"""Of an attribute of sysfs: a page."""

_LONGEST_NAME: Final = 80

_PLATFORM: Final = re.compile(r"psys(-\d+)?")
"""Linux gives it a number for every package but the first."""

_PLATFORM_CEILING_W: Final = 4000.0
_PACKAGE_CEILING_W: Final = 1000.0
"""More than a zone can draw (*assumed*; 500 W is the TDP of the largest packages of 2025)."""

_Part: TypeAlias = Literal["platform", "package", "memory", "within"]
_INNER: Final[Mapping[str, _Part]] = {"dram": "memory"}
"""What parts of a package are that it does not hold."""

_UPDATE_S: Final = 0.01
"""What a counter may be behind by: it goes on about once a millisecond (Intel SDM volume 3, section
16.10), taken tenfold (*assumed*)."""

_LEAST_PLATFORM: Final = 0.95
"""Of the energy of a package, that the platform with it draws at least: two counters of different
units (*assumed*)."""

_WHAT_TO_DO: Final = (
    "since Linux 5.10 only root may read it (CVE-2020-8694): run as root, or once "
    "`sudo chmod -R a+r /sys/class/powercap/intel-rapl/`, or let a udev rule do that at each start"
)


@dataclass(slots=True)
class _Zone:
    """One counter in sysfs, and what it has told since the meter was opened.

    It wraps to 0 at `range_uj`, cannot draw more than `ceiling_w`, and stood at `last_uj` by the
    middle of a question that was asked at `asked_s`.
    """

    counter: str
    name: str
    range_uj: int
    ceiling_w: float
    part: _Part
    counted: bool = False
    last_uj: int = 0
    at_s: float = 0.0
    asked_s: float = 0.0
    total_uj: int = 0


class Rapl(Meter):
    """All packages, their memory where it has a counter, and the platform where it has one.

    The sum is that of the platform where psys is there, which holds the packages already, and else
    of packages and memory; `core` and `uncore` are parts of a package and never counted twice, and
    neither is a counter that is shown under two names.
    (Intel SDM volume 3, section 16.10: package, PP0, PP1, DRAM and platform domains.)

    Tests give another root of the zones, and another clock of monotonic time.

    Raises:
        DeviceError: `meter-absent` without any zone, `meter-permission` without the right to read.
    """

    source = "rapl"
    quantity = "energy"
    interval_s = 0.1

    def __init__(
        self, root: Path = ROOT, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._clock = clock
        self._zones = _open_zones(root)
        self.channels = tuple(Channel(zone.name, zone.counted) for zone in self._zones)
        for zone in self._zones:
            zone.asked_s = clock()
            zone.last_uj, zone.at_s = _number(zone.counter), clock()

    def read(self) -> tuple[Reading, ...]:
        """Return joules since the meter was opened, wraps of the counters made good.

        Raises:
            DeviceError: `meter-absent` or `meter-permission`.
            PeerError: `meter-answer` where a counter gives no number or a read fails, `rapl-wrap`
                where so much time went by that it may have wrapped twice, `rapl-reset` where it
                went on by more than can have been drawn; `meter-answer` too where the platform
                drew less than its packages.
        """
        begin_s = self._clock()
        raw = [_number(zone.counter) for zone in self._zones]
        end_s = self._clock()
        at_s = (begin_s + end_s) / 2
        # All are read before any is taken in: a failure leaves the whole meter where it was.
        for zone, now_uj in zip(self._zones, raw, strict=True):
            _advance(zone, now_uj, at_s, end_s - zone.asked_s)
            zone.asked_s = begin_s
        _require_whole(self._zones)
        return (Reading(at_s, tuple(zone.total_uj / 1e6 for zone in self._zones)),)


def _open_zones(root: Path) -> list[_Zone]:
    folders = sorted(path for path in root.glob("intel-rapl:*") if _ZONE.fullmatch(path.name))
    if not folders:
        raise DeviceError(
            "meter-absent",
            f"RAPL: {root} has no zone intel-rapl:N; a physical machine (in a virtual one the "
            "counters are hidden), Linux and its module intel_rapl_msr are needed",
        )
    names = {path.name: _name(path / "name") for path in folders}
    zones: dict[str, _Zone] = {}
    for path in folders:
        label = names[path.name]
        outer, _, _ = path.name.rpartition(":")
        inner = ":" in outer
        platform = _PLATFORM.fullmatch(label) is not None
        name = f"{names.get(outer, outer)}/{label}" if inner else label
        if any(name == zone.name for zone in zones.values()):
            name = f"{name} ({path.name})"
        zones[path.name] = _Zone(
            str(path / "energy_uj"),
            name,
            _number(path / "max_energy_range_uj"),
            _PLATFORM_CEILING_W if platform else _PACKAGE_CEILING_W,
            "platform" if platform else "package" if not inner else _INNER.get(label, "within"),
        )
    if not any(":" not in key.partition(":")[2] for key in zones):
        raise DeviceError(
            "meter-absent",
            f"RAPL: {root} has parts of packages, {', '.join(names)}, and no package; is the "
            "driver whole?",
        )
    mirrors = _mirrors({key: names[key] for key in zones if key.count(":") == 1}, zones)
    summed = ("platform",) if any(zone.part == "platform" for zone in zones.values()) else None
    for key, zone in zones.items():
        if ":".join(key.split(":")[:2]) in mirrors:
            zone.part = "within"
        zone.counted = zone.part in (summed or ("package", "memory"))
    return list(zones.values())


def _mirrors(names: Mapping[str, str], zones: Mapping[str, _Zone]) -> set[str]:
    """Return the zones that show the counter of another one once more.

    A driver that knows more dies than there are counters shows one for each of them. A counter that
    is read between two readings of the other, and lies between them, is the same; one of another
    name of the same package must lie there exactly.
    """
    mirrors: set[str] = set()
    for key, other in itertools.permutations(sorted(names), 2):
        label, other_label = names[key], names[other]
        # The package of a die is `package-0` of `package-0-die-1`.
        packages = {name.partition("-die-")[0] for name in (label, other_label)}
        if other < key or key in mirrors or len(packages) > 1:
            continue
        slack_uj = round(zones[key].ceiling_w * _UPDATE_S * 1e6) if label == other_label else 0
        range_uj = max(1, zones[key].range_uj)
        before, between, after = (_number(zones[zone].counter) for zone in (key, other, key))
        if (between - before + slack_uj) % range_uj <= (after - before) % range_uj + 2 * slack_uj:
            mirrors.add(other)
    return mirrors


def _require_whole(zones: Sequence[_Zone]) -> None:
    """Refuse a platform that drew less than the packages in it: it counts something else."""
    platform = [zone for zone in zones if zone.part == "platform"]
    if not platform:
        return
    whole_j = sum(zone.total_uj for zone in platform) / 1e6
    packages = [zone for zone in zones if zone.part == "package"]
    parts_j = sum(zone.total_uj for zone in packages) / 1e6
    slack_j = len(packages) * _PACKAGE_CEILING_W * _UPDATE_S
    if whole_j + slack_j < _LEAST_PLATFORM * parts_j:
        raise PeerError(
            "meter-answer",
            f"RAPL: psys drew {whole_j:,.0f} J and the packages in it {parts_j:,.0f} J, so that it "
            "is not the platform; take another meter",
        )


def _advance(zone: _Zone, now_uj: int, at_s: float, longest_s: float) -> None:
    """Add what a counter went on, less than a turn, within `longest_s` since the last reading."""
    if not 0 <= now_uj <= zone.range_uj:
        raise PeerError(
            "meter-answer", f"RAPL: {zone.counter} is {now_uj}, allowed is 0 to {zone.range_uj}"
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
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
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


def _name(path: Path) -> str:
    text = _text(path)
    if not (0 < len(text) <= _LONGEST_NAME and text.isprintable()):
        raise PeerError("meter-answer", f"RAPL: {path} holds {text[:40]!r}; a name is needed")
    return text


def _number(path: Path | str) -> int:
    text = _text(path)
    if not (text.isdecimal() and len(text) <= _DIGITS):
        raise PeerError("meter-answer", f"RAPL: {path} holds {text[:40]!r}; a number is needed")
    return int(text)
