"""The commands below `thorax power`: which meters answer, what they say, what a log holds."""

import getpass
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import Json
from thorax.errors import PeerError, UsageError

if TYPE_CHECKING:
    from thorax.power.meters import Access
    from thorax.power.sampler import Energy, Meter, Reading, Sampler
    from thorax.power.watch import Watch

power_app = typer.Typer(
    no_args_is_help=True, help="Power meters: which answer, what they say, what a log holds."
)

_PANEL: Final = "Power"

Interval = Annotated[
    float | None,
    Option(
        "--power-interval",
        help="Seconds between two readings; default: what suits the meter.",
        rich_help_panel=_PANEL,
    ),
]
PasswordFile = Annotated[
    Path | None,
    Option(
        "--power-password-file",
        help="File whose first line is the password of the BMC.",
        rich_help_panel=_PANEL,
    ),
]
Authority = Annotated[
    Path | None,
    Option(
        "--power-ca",
        help="PEM file of who signed the BMC's certificate.",
        rich_help_panel=_PANEL,
    ),
]
Insecure = Annotated[
    bool,
    Option(
        "--power-insecure",
        help="Believe any BMC, and send a password without TLS too.",
        rich_help_panel=_PANEL,
    ),
]
_METER: Final = (
    "rapl, nvml, redfish:https://USER@HOST, ipmi[:USER@HOST], racadm[:USER@HOST], "
    "modelled:FILE.toml, replay:FILE or none."
)
Power = Annotated[
    str, Option("--power", metavar="METER", help=f"Meter: {_METER}", rich_help_panel=_PANEL)
]
Idle = Annotated[
    float,
    Option(
        "--idle-s",
        help="With --power: seconds before the load in which idle power is read.",
        rich_help_panel=_PANEL,
    ),
]

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


@contextmanager
def metered(
    spec: str, interval_s: float | None, idle_s: float, access: "Access"
) -> "Iterator[Sampler]":
    """Sample a meter around what is measured, after a time of rest that tells idle power."""
    from thorax.power.meters import open_meter
    from thorax.power.sampler import Sampler

    with closing(open_meter(spec, access)) as meter, Sampler(meter, interval_s) as sampler:
        if meter.channels and idle_s:
            console.say(f"idle power: {idle_s:g} s of rest")
        sampler.rest(idle_s)
        yield sampler


def tell_energy(energy: "Energy") -> None:
    """End a command whose speed was measured and whose energy was not, after it has answered.

    Raises:
        PeerError: `energy-missing`.
    """
    if energy.error:
        raise PeerError("energy-missing", f"{energy.error}; the rest was measured and is kept")


@power_app.command("list", epilog="Example:  thorax power list")
def list_meters(json: Json = False) -> None:
    """Which meters answer on this computer, and why the others do not."""
    from thorax.power.meters import SPECS, probe
    from thorax.report.table import Table

    found = probe()
    document = {
        "command": "power list",
        "meters": [
            {
                "name": one.name,
                "available": one.problem is None,
                "devices": [channel.name for channel in one.channels],
                "problem": {"code": one.problem.code, "message": one.problem.message}
                if one.problem
                else None,
            }
            for one in found
        ],
        "specs": list(SPECS),
    }
    table = Table(
        "Meters that need no address",
        ("Meter", "Answers", "Reads, or what is in the way"),
        tuple(
            (
                one.name,
                "no" if one.problem else "yes",
                one.problem.message
                if one.problem
                else ", ".join(channel.name for channel in one.channels),
            )
            for one in found
        ),
        note=f"All that --power takes: {', '.join(SPECS)}.",
    )
    console.emit(document, as_json=json, show=lambda: console.show(table))


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

    told: queue.SimpleQueue[Reading] = queue.SimpleQueue()
    with closing(open_meter(meter, access(password_file, ca, insecure))) as opened:
        if not opened.channels:
            raise UsageError("power-meter", f"meter {meter!r} has nothing to watch; name another")
        seen = Watch(opened.quantity, opened.channels)
        sampler = Sampler(opened, interval, on_reading=told.put, keep=False)
        written = Log(log, opened, sampler.interval_s) if log else None

        def take(reading: "Reading") -> None:
            seen.add(reading)
            if written:
                written.add(reading)

        try:
            with _screen(opened, seen) as draw, sampler:
                end_s = None if duration is None else time.perf_counter() + duration
                _follow(told, sampler.wait, end_s, take, draw)
            while not told.empty():
                take(told.get())
        finally:
            if written:
                written.close()
    kept = written is not None and written.kept
    document = {**seen.document(opened), "log": str(log) if kept else None}
    console.emit(document, as_json=json, show=lambda: _show(document))
    if sampler.failure and sampler.failure.code != "meter-ended":
        raise sampler.failure
    if "energy_error" in document:
        raise PeerError("energy-missing", str(document["energy_error"]))


def _follow(
    told: "queue.SimpleQueue[Reading]",
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
            left_s = _SHOWN_S if end_s is None else min(_SHOWN_S, end_s - time.perf_counter())
            if left_s <= 0 or (given_up(0) and told.empty()):
                return
            try:
                take(told.get(timeout=left_s))
            except queue.Empty:
                continue
            draw()
    except KeyboardInterrupt:
        console.say("stopped")
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _screen(meter: "Meter", seen: "Watch") -> "Iterator[Callable[[], None]]":
    """Show how it stands: a picture on a terminal, plain lines elsewhere; on stderr."""
    if not sys.stderr.isatty():
        last_s = 0.0

        def line() -> None:
            nonlocal last_s
            now_s = time.perf_counter()
            if seen.now_w is not None and now_s - last_s >= _LINE_S:
                last_s = now_s
                console.say(f"{seen.duration_s:8.1f} s  {_words(seen)}")

        yield line
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from thorax.power.watch import sparkline

    def picture() -> Text:
        mark = ", modelled" if meter.modelled else ""
        names = [f"{one.name}{'' if one.counted else ' (part)'}" for one in meter.channels]
        width = max(map(len, names))
        devices = "".join(
            f"\n  {name:<{width}}  {watts:8.1f} W"
            for name, watts in zip(names, seen.devices_w, strict=False)
        )
        return Text(
            f"{meter.source}{mark}, {seen.duration_s:.0f} s; Ctrl-C ends\n{_words(seen)}"
            f"\n{sparkline(seen.history_w)}{devices}"
        )

    with Live(get_renderable=picture, console=Console(stderr=True), refresh_per_second=4):
        yield lambda: None


def _words(seen: "Watch") -> str:
    now, mean, energy = seen.now_w, seen.mean_w, seen.energy_j
    if now is None:
        return "waiting for the second reading"
    after = "" if mean is None or energy is None else f"  mean {mean:.1f} W  {energy:,.0f} J"
    return f"{now:8.1f} W  least {seen.least_w:.1f}  most {seen.most_w:.1f}{after}"


@power_app.command(epilog="Example:  thorax power energy idle.jsonl --begin 10 --end 70")
def energy(
    log: Annotated[Path, Argument(help="Log that `thorax power watch --log` wrote.")],
    begin: Annotated[float | None, Option(help="Seconds into the log; default: its start.")] = None,
    end: Annotated[float | None, Option(help="Seconds into the log; default: its end.")] = None,
    json: Json = False,
) -> None:
    """The energy of a recorded log, or of any part of it."""
    from thorax.power.log import Recording

    recording = Recording.read(log)
    document = recording.document(log.name, begin, end)
    console.emit(document, as_json=json, show=lambda: _show(document))


def _show(document: dict[str, Any]) -> None:
    from thorax.report.power import energy_table

    console.show(energy_table(document))
