"""Recorded readings: written by `thorax power watch --log`, read back as a meter.

A log is JSON lines: a header, one line a reading, and an end with the energy and the digest of the
whole. Each line has a check of its own, so that no changed bit is taken for a reading. Times are
seconds since its first reading, of the monotonic clock.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationError

from thorax.config import Settings, SettingsT
from thorax.errors import DataError, UsageError
from thorax.files.atomic import LockedError, locked, new_file
from thorax.files.documents import checked_line, read_limited, read_line
from thorax.power.energy import implausible, joules, span
from thorax.power.meter import Channel, Meter, Reading
from thorax.power.watch import Watch, device_energies
from thorax.results.energy import LogEnergy, Quantity

FORMAT: Final[Literal["thorax power log 2"]] = "thorax power log 2"


_MOST_BYTES: Final = 1 << 28
"""Of a log: some ten days of ten readings a second."""

_LEAST: Final = 2
"""Readings that make an energy."""

_ENDLESS: Final = 1e12
"""Seconds, watts and joules beyond this are damage, not readings."""


class Header(Settings):
    """What a log says of the meter that it was recorded from."""

    format: Literal["thorax power log 2"] = FORMAT
    source: str
    """Of the meter."""
    quantity: Quantity
    """What its values are."""
    modelled: bool
    """Whether it computed them."""
    interval_s: float = Field(gt=0)
    """That it was asked in."""
    recorded: str
    """When that began, UTC, as the wall clock said."""
    channels: tuple[Channel, ...] = Field(min_length=1)
    """What the values are of."""


class _Line(Settings):
    at_s: float = Field(ge=0, le=_ENDLESS)
    values: tuple[float, ...]


class _End(Settings):
    end: Literal[True]
    energy_j: float
    readings: int
    sha256: str


class _TooFewError(Exception):
    """There is nothing that a log could tell."""


class Log:
    """A log that is being written: under another name, until it is whole, by one process.

    Its readings follow, of a meter that is asked every `interval_s`.

    Raises:
        UsageError: `power-log-path` for what cannot be written.
        DataError: `power-log-locked` where another process writes it.
    """

    def __init__(self, path: Path, meter: Meter, interval_s: float) -> None:
        with ExitStack() as opened:
            try:
                opened.enter_context(_held(path))
                self._file = opened.enter_context(new_file(path))
            except LockedError as error:
                raise DataError(
                    "power-log-locked",
                    f"{path} is being written by {error.holder}; wait for it or name another file",
                ) from error
            except OSError as error:
                raise UsageError(
                    "power-log-path",
                    f"{path} cannot be written: {error.strerror}; name another file",
                ) from error
            self._opened = opened.pop_all()
        self._first_s: float | None = None
        self._watch = Watch(meter.quantity, meter.channels)
        self._digest = hashlib.sha256()
        header = Header(
            source=meter.source,
            quantity=meter.quantity,
            modelled=meter.modelled,
            interval_s=interval_s,
            recorded=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            channels=meter.channels,
        )
        # Earlier versions know no source of a channel.
        self._write(header.model_dump(mode="json", exclude_none=True))

    @property
    def kept(self) -> bool:
        """Whether there are readings enough for a log."""
        return self._watch.readings >= _LEAST

    def add(self, reading: Reading) -> None:
        """Write one reading."""
        if self._first_s is None:
            self._first_s = reading.at_s
        at_s = reading.at_s - self._first_s
        self._watch.add(Reading(at_s, reading.values))
        self._write({"at_s": at_s, "values": list(reading.values)})

    def close(self) -> None:
        """Write the end, and give the log its name; one of a single reading is thrown away."""
        whole = self._watch
        with suppress(_TooFewError), self._opened:
            if not self.kept:
                raise _TooFewError
            self._write(
                {
                    "end": True,
                    "energy_j": whole.energy_j,
                    "readings": whole.readings,
                    "sha256": self._digest.hexdigest(),
                }
            )

    def _write(self, line: Mapping[str, Any]) -> None:
        text = checked_line(line).encode()
        self._digest.update(text)
        self._file.write(text)
        self._file.flush()


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold the place of a log for this process; a stream has no place to hold."""
    target = Path(os.path.realpath(path))
    if path.exists() and not target.is_file():
        yield
        return
    with locked(target):
        yield


@dataclass(frozen=True, slots=True)
class Recording:
    """A log that was read.

    Attributes:
        header: its first line.
        readings: with times since the first.
        energy_j: of the whole, as it says at its end.
    """

    header: Header
    readings: tuple[Reading, ...]
    energy_j: float

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a log.

        Raises:
            DataError: `power-log` for a file that cannot be read, is not whole, or contradicts
                itself.
        """
        lines = _lines(path)
        header = _header(path, lines[0])
        readings: list[Reading] = []
        for number, line in enumerate(lines[1:-1], start=2):
            readings.append(_reading(path, number, line, header, readings[-1:]))
        recording = cls(header, tuple(readings), _end(path, lines, len(readings)))
        stated, whole = recording.energy_j, recording._sum(recording.energy())
        if not math.isclose(whole, stated, rel_tol=1e-9, abs_tol=1e-6):
            raise _damaged(path, f"says {stated} J at its end, and its readings {whole} J")
        return recording

    def result(
        self, name: str, begin_s: float | None = None, end_s: float | None = None
    ) -> LogEnergy:
        """Return the result of `thorax power energy`, over a window as of `energy`.

        Raises:
            DataError: as `energy`.
        """
        energies_j = self.energy(begin_s, end_s)
        begin = self.readings[0].at_s if begin_s is None else begin_s
        end = self.readings[-1].at_s if end_s is None else end_s
        duration_s = end - begin
        header = self.header
        if not header.modelled:
            _, around = span(self.readings, begin, end)
            problem = implausible(header.quantity, header.channels, around, duration_s)
            if problem:
                raise DataError("power-log-window", f"{name}, {begin} to {end} s: {problem}")
        whole_j = self._sum(energies_j)
        return LogEnergy(
            energy_source=f"replay: {name} ({header.source})",
            quantity=header.quantity,
            modelled=header.modelled,
            replayed=True,
            recorded=header.recorded,
            readings=sum(begin <= reading.at_s <= end for reading in self.readings),
            begin_s=begin,
            end_s=end,
            duration_s=duration_s,
            energy_j=whole_j,
            power_w=whole_j / duration_s,
            devices=device_energies(header.channels, list(energies_j.values()), duration_s),
        )

    def _sum(self, energies_j: Mapping[str, float]) -> float:
        return math.fsum(
            energies_j[channel.name] for channel in self.header.channels if channel.counted
        )

    def energy(self, begin_s: float | None = None, end_s: float | None = None) -> dict[str, float]:
        """Return joules of each channel between two times of the log; None is its edge.

        Raises:
            DataError: `power-log-window` where the window is not within the log.
        """
        first, last = self.readings[0].at_s, self.readings[-1].at_s
        begin = first if begin_s is None else begin_s
        end = last if end_s is None else end_s
        if not first <= begin < end <= last:
            raise DataError(
                "power-log-window",
                f"the window is {begin} to {end} s; the log holds {first} to {last} s",
            )
        each = joules(self.readings, self.header.quantity, begin, end)
        names = (channel.name for channel in self.header.channels)
        return {name: float(value) for name, value in zip(names, each, strict=True)}


def verify(path: Path) -> int:
    """Return how many readings a log holds, all of them as they were written.

    Raises:
        DataError: `power-log`.
    """
    return len(Recording.read(path).readings)


def _lines(path: Path) -> list[bytes]:
    try:
        content = read_limited(path, _MOST_BYTES)
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from error
    lines = content.rstrip(b"\n").split(b"\n") if content else []
    if len(lines) < _LEAST + 2:
        raise _damaged(path, f"has {len(lines)} lines, and at least {_LEAST} readings are needed")
    return lines


def _header(path: Path, line: bytes) -> Header:
    if b'"thorax power log 1"' in line:
        raise _damaged(path, f"is of an earlier Thorax, which wrote no {FORMAT!r}; record it anew")
    header = _read(Header, path, 1, line, f"does not begin with a header of {FORMAT!r}")
    names = [channel.name for channel in header.channels]
    if len(set(names)) < len(names) or not all(names):
        raise _damaged(path, "has channels without a name of their own")
    if not any(channel.counted for channel in header.channels):
        raise _damaged(path, "has no channel that is counted")
    return header


def _reading(
    path: Path, number: int, line: bytes, header: Header, before: Sequence[Reading]
) -> Reading:
    """Return the reading of a line, where `before` is that of the line above, of the first none."""
    entry = _read(_Line, path, number, line, f"line {number} is no reading")
    if len(entry.values) != len(header.channels):
        raise _damaged(path, f"line {number} has not one value a channel")
    if not all(0 <= value <= _ENDLESS for value in entry.values):
        raise _damaged(path, f"line {number} has a value below 0 or without end")
    for last in before:
        if entry.at_s <= last.at_s:
            raise _damaged(
                path, f"line {number} is of {entry.at_s} s, after {last.at_s} s: no clock"
            )
        steps = zip(last.values, entry.values, strict=True)
        if header.quantity == "energy" and any(then > now for then, now in steps):
            raise _damaged(path, f"line {number} has a count that goes back")
    return Reading(entry.at_s, entry.values)


def _read(kind: type[SettingsT], path: Path, number: int, line: bytes, why: str) -> SettingsT:
    """Return what a line holds beside its check, if none of its bits was changed."""
    try:
        if not line.endswith(b"}"):
            raise ValueError("it does not end")
        return kind.model_validate_json(json.dumps(read_line(line)))
    except ValidationError as error:
        raise _damaged(path, why) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"line {number} is not what was written") from error


def _end(path: Path, lines: Sequence[bytes], readings: int) -> float:
    why = "does not end with its energy: it is not whole"
    end = _read(_End, path, len(lines), lines[-1], why)
    before = hashlib.sha256(b"".join(line + b"\n" for line in lines[:-1])).hexdigest()
    if end.readings != readings or end.sha256 != before:
        raise _damaged(
            path, f"ends as one of {end.readings} readings and has others: it is not whole"
        )
    return end.energy_j


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        "power-log", f"{path} {why}; give what `thorax power watch METER --log FILE` wrote"
    )


class Replay(Meter):
    """A recorded log, played at the speed at which it was recorded, from its beginning.

    Raises:
        DataError: as `Recording.read`.
    """

    replayed = True

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.recording = Recording.read(path)
        header = self.recording.header
        self.source = f"replay: {path.name} ({header.source})"
        self.quantity = header.quantity
        self.modelled = header.modelled
        self.channels = header.channels
        self.interval_s = header.interval_s
        self._clock = clock
        self._begin_s: float | None = None
        self._next = 0

    def read(self) -> tuple[Reading, ...]:
        """Return what has become due since the last call, and the reading after that.

        The one to come closes the window that ends now.

        Raises:
            DataError: `meter-ended` after the last reading.
        """
        now_s = self._clock()
        if self._begin_s is None:
            self._begin_s = now_s
        readings, start = self.recording.readings, self._next
        elapsed_s = now_s - self._begin_s
        if start == len(readings) and elapsed_s > readings[-1].at_s:
            raise DataError(
                "meter-ended",
                f"{self.source} ends after {readings[-1].at_s:.2f} s; a longer log is needed",
            )
        while self._next < len(readings) and readings[self._next].at_s <= elapsed_s:
            self._next += 1
        if not self._next or readings[self._next - 1].at_s <= elapsed_s:
            # Else the one to come was answered already.
            self._next = min(self._next + 1, len(readings))
        begin_s = self._begin_s
        return tuple(
            Reading(begin_s + reading.at_s, reading.values)
            for reading in readings[start : self._next]
        )
