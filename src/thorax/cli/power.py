"""The commands of `thorax power`: meters that answer, their readings, the energy of a log."""

import getpass
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import Json
from thorax.errors import PeerError, UsageError

if TYPE_CHECKING:
    from thorax.power.meter import Meter, Reading
    from thorax.power.meters import Access
    from thorax.power.sampler import Sampler
    from thorax.power.watch import Watch

power_app = typer.Typer(
    no_args_is_help=True, help="Power meters: which answer, what they say, what a log holds."
)

_power: Final = partial(Option, rich_help_panel="Power")

Interval = Annotated[
    float | None,
    _power("--power-interval", help="Seconds between two readings; default: what suits the meter."),
]
PasswordFile = Annotated[
    Path | None,
    _power("--power-password-file", help="File whose first line is the password of the BMC."),
]
Authority = Annotated[
    Path | None, _power("--power-ca", help="PEM file of who signed the BMC's certificate.")
]
Insecure = Annotated[
    bool, _power("--power-insecure", help="Believe any BMC, and send a password without TLS too.")
]
_METER: Final = (
    "rapl, nvml, redfish:https://USER@HOST, ipmi[:USER@HOST], racadm[:USER@HOST], "
    "modelled:FILE.toml, replay:FILE or none."
)


@dataclass(frozen=True)
class Metering:
    """Which meter is read while something is measured, and how."""

    power: Annotated[str, _power("--power", metavar="METER", help=f"Meter: {_METER}")] = "none"
    power_interval: Interval = None
    idle_s: Annotated[
        float,
        _power(
            "--idle-s", help="With --power: seconds before the load in which idle power is read."
        ),
    ] = 5.0
    power_password_file: PasswordFile = None
    power_ca: Authority = None
    power_insecure: Insecure = False

    def sampler(self) -> "AbstractContextManager[Sampler]":
        """Sample the meter within a context, after a time of rest that tells idle power."""
        from thorax.power.meters import open_sampler

        return open_sampler(
            self.power,
            access(self.power_password_file, self.power_ca, self.power_insecure),
            interval_s=self.power_interval,
            idle_s=self.idle_s,
            on_rest=lambda: console.say(f"idle power: {self.idle_s:g} s of rest"),
        )


_SHOWN_S: Final = 0.25
"""Seconds between two pictures on a terminal."""

_LINE_S: Final = 1.0
"""Seconds between two lines where there is no terminal."""


def access(password_file: Path | None, ca: Path | None, insecure: bool) -> "Access":
    """Return how a BMC is asked, by what was given on the command line."""
    from thorax.power.meters import Access
    from thorax.power.passwords import first_line

    if insecure:
        console.say("thorax: --power-insecure: anybody in between can read the password")

    def password(account: str) -> str:
        if password_file is not None:
            return first_line(password_file)
        if not sys.stdin.isatty():
            raise UsageError(
                "power-password",
                f"the password of {account} is needed; give --power-password-file FILE",
            )
        return getpass.getpass(f"password of {account}: ")

    return Access(password, ca, insecure)


def require_energy(error: str | None) -> None:
    """End a command whose speed was measured and whose energy was not, after it has answered.

    Raises:
        PeerError: `energy-missing`.
    """
    if error:
        raise PeerError("energy-missing", f"{error}; the rest was measured and is kept")


@power_app.command("list", epilog="Example:  thorax power list")
def list_meters(json: Json = False) -> None:
    """Which meters answer on this computer, and why the others do not."""
    from thorax.power.meters import probe_meters
    from thorax.report.power import meter_table

    result = probe_meters()
    console.answer(result, json, lambda: [meter_table(result)])


@power_app.command(epilog="Example:  thorax power watch rapl --duration 60 --log idle.jsonl")
def watch(
    meter: Annotated[str, Argument(help=_METER)],
    interval: Annotated[
        float | None, Option(help="Seconds between two readings; default: what suits the meter.")
    ] = None,
    duration: Annotated[float | None, Option(min=0, help="Seconds; default: until Ctrl-C.")] = None,
    log: Annotated[Path | None, Option(help="Also write the readings, for replay:FILE.")] = None,
    password_file: PasswordFile = None,
    ca: Authority = None,
    insecure: Insecure = False,
    json: Json = False,
) -> None:
    """Watts now, their mean and range, and joules since the start, until Ctrl-C."""
    from thorax.power.log import Log
    from thorax.power.meters import open_meter
    from thorax.power.sampler import Sampler
    from thorax.power.watch import Watch
    from thorax.report.power import energy_table

    readings: queue.SimpleQueue[Reading] = queue.SimpleQueue()
    with closing(open_meter(meter, access(password_file, ca, insecure))) as opened:
        if not opened.channels:
            raise UsageError("power-meter", f"meter {meter!r} has nothing to watch; name another")
        watched = Watch(opened.quantity, opened.channels)
        sampler = Sampler(opened, interval, on_reading=readings.put, keep=False)
        writer = Log(log, opened, sampler.interval_s) if log else None

        def take(reading: "Reading") -> None:
            watched.add(reading)
            if writer:
                writer.add(reading)

        try:
            with _screen(opened, watched) as draw, sampler:
                end_s = None if duration is None else time.perf_counter() + duration
                _follow(readings, sampler.wait, end_s, take, draw)
            while not readings.empty():
                take(readings.get())
        finally:
            if writer:
                writer.close()
    result = watched.result(opened, log if writer and writer.kept else None)
    console.answer(result, json, lambda: [energy_table(result)])
    if sampler.failure and sampler.failure.code != "meter-ended":
        raise sampler.failure
    if result.energy_error:
        raise PeerError("energy-missing", result.energy_error)


def _follow(
    readings: "queue.SimpleQueue[Reading]",
    given_up: Callable[[float], bool],
    end_s: float | None,
    take: Callable[["Reading"], None],
    draw: Callable[[], None],
) -> None:
    """Take readings as they come, until the time is over, the meter is given up, or Ctrl-C.

    SIGTERM, which batch systems and `kill` send, ends it as Ctrl-C does: the log is kept.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            remaining_s = _SHOWN_S if end_s is None else min(_SHOWN_S, end_s - time.perf_counter())
            if remaining_s <= 0 or (given_up(0) and readings.empty()):
                return
            try:
                take(readings.get(timeout=remaining_s))
            except queue.Empty:
                continue
            draw()
    except KeyboardInterrupt:
        console.say("stopped")
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _screen(meter: "Meter", watched: "Watch") -> "Iterator[Callable[[], None]]":
    """Show how it stands: a picture on a terminal, plain lines elsewhere; on stderr."""
    if not sys.stderr.isatty():
        last_s = 0.0

        def line() -> None:
            nonlocal last_s
            now_s = time.perf_counter()
            if watched.now_w is not None and now_s - last_s >= _LINE_S:
                last_s = now_s
                console.say(f"{watched.duration_s:8.1f} s  {_words(watched)}")

        yield line
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from thorax.power.watch import sparkline

    def picture() -> Text:
        mark = ", modelled" if meter.modelled else ""
        names = [
            f"{channel.name}{'' if channel.counted else ' (part)'}" for channel in meter.channels
        ]
        width = max(map(len, names))
        devices = "".join(
            f"\n  {name:<{width}}  {watts:8.1f} W"
            for name, watts in zip(names, watched.devices_w, strict=False)
        )
        return Text(
            f"{meter.source}{mark}, {watched.duration_s:.0f} s; Ctrl-C ends\n{_words(watched)}"
            f"\n{sparkline(watched.history_w)}{devices}"
        )

    with Live(get_renderable=picture, console=Console(stderr=True), refresh_per_second=4):
        yield lambda: None


def _words(watched: "Watch") -> str:
    now, mean, energy = watched.now_w, watched.mean_w, watched.energy_j
    if now is None:
        return "waiting for the second reading"
    after = "" if mean is None or energy is None else f"  mean {mean:.1f} W  {energy:,.0f} J"
    return f"{now:8.1f} W  least {watched.least_w:.1f}  most {watched.most_w:.1f}{after}"


@power_app.command(epilog="Example:  thorax power energy idle.jsonl --begin 10 --end 70")
def energy(
    log: Annotated[Path, Argument(help="Log that `thorax power watch --log` wrote.")],
    begin: Annotated[float | None, Option(help="Seconds into the log; default: its start.")] = None,
    end: Annotated[float | None, Option(help="Seconds into the log; default: its end.")] = None,
    json: Json = False,
) -> None:
    """The energy of a recorded log, or of any part of it."""
    from thorax.power.log import Recording
    from thorax.report.power import energy_table

    result = Recording.read(log).result(log.name, begin, end)
    console.answer(result, json, lambda: [energy_table(result)])
