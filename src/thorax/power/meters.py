"""Meters by name, and which of them answer here."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from thorax.errors import ThoraxError, UsageError
from thorax.power.log import Replay
from thorax.power.meter import Meter, Reading
from thorax.power.modelled import Modelled
from thorax.power.nvml import Nvml
from thorax.power.passwords import password_in_address
from thorax.power.programs import Ipmi, Racadm
from thorax.power.rapl import Rapl
from thorax.power.sampler import Sampler
from thorax.results.energy import MeterList, MeterProbe, MeterProblem

SPECS: Final = (
    "none",
    "rapl",
    "nvml",
    "redfish:https://[USER@]HOST[:PORT][/redfish/v1/Chassis/ID]",
    "ipmi[:[lan://|lanplus://][USER@]HOST[:PORT]]",
    "racadm[:USER@HOST]",
    "modelled:FILE.toml",
    "replay:FILE",
)
"""What `open_meter` takes."""

HERE: Final = ("rapl", "nvml", "ipmi", "racadm")
"""Those that need no address."""


class NoMeter(Meter):
    """Nothing is measured: energy is null, and never 0."""

    source = "none"
    channels = ()

    def read(self) -> tuple[Reading, ...]:
        """Return no reading."""
        return ()


@dataclass(frozen=True, slots=True)
class Access:
    """How a BMC is asked.

    Attributes:
        password: answers with that of the user given; called only where one is needed.
        ca: PEM file of those who may have signed a BMC's certificate.
        insecure: takes any certificate.
    """

    password: Callable[[str], str] | None = field(default=None, repr=False)
    ca: Path | None = None
    insecure: bool = False

    def ask(self, user: str, host: str) -> str:
        """Return the password of a user.

        Raises:
            UsageError: `power-password` where nobody can tell it.
        """
        if self.password is None:
            raise UsageError(
                "power-password",
                f"{host} needs the password of {user!r}; give --power-password-file FILE",
            )
        return self.password(f"{user}@{host}")


NO_ACCESS: Final = Access()


def open_meter(spec: str, access: Access = NO_ACCESS) -> Meter:
    """Return a meter that was asked once, so that it is known to answer; the caller closes it.

    Its name, `spec`, is one of `SPECS`.

    Raises:
        UsageError: `power-meter` for what is no meter, `power-spec` for an address that is none,
            `power-password`, `power-ca`, or as `thorax.config.load` for the file of a model.
        DataError: `power-log`.
        DeviceError: `meter-absent` or `meter-permission`.
        PeerError: `meter-unreachable`, `meter-refused`, or `meter-answer`.

    Example:
        >>> with closing(open_meter("rapl")) as meter:
        ...     meter.read()
    """
    kind, rest = _split_spec(spec)
    match kind:
        case "none":
            return NoMeter()
        case "rapl":
            return Rapl()
        case "nvml":
            import pynvml  # noqa: PLC0415 - of the extra `measure`

            return Nvml(pynvml)
        case "redfish":
            return _redfish(rest, access)
        case "ipmi":
            return _ipmi(rest, access)
        case "racadm":
            if rest.startswith("-") or any(word.isspace() for word in rest):
                raise UsageError("power-spec", f"{rest!r} is no USER@HOST for ssh")
            return Racadm(rest or None)
        case "modelled":
            return Modelled(Path(rest))
        case "replay":
            return Replay(Path(rest))
    # No more of it than the name: somebody may have put a password into the rest.
    name = re.split(r"[:/@]", spec)[0]
    raise UsageError("power-meter", f"there is no meter {name!r}; allowed are {', '.join(SPECS)}")


def _split_spec(spec: str) -> tuple[str, str]:
    """Return the kind of a meter and its address or file, "" where it has none."""
    kind, colon, rest = spec.partition(":")
    if kind not in ("modelled", "replay"):
        _refuse_password(rest)
    if colon and not rest:
        raise UsageError("power-spec", f"meter {spec!r} has nothing after the colon")
    if kind in ("none", "rapl", "nvml") and colon:
        raise UsageError("power-spec", f"meter {kind} takes nothing after its name, not {rest!r}")
    if kind in ("redfish", "modelled", "replay") and not colon:
        usage = next(usage for usage in SPECS if usage.startswith(kind))
        raise UsageError("power-spec", f"meter {kind} needs more: {usage}")
    return kind, rest


def _refuse_password(address: str) -> None:
    """Refuse an address with a password, before anything repeats it."""
    login, at, host = address.partition("://")[2].rpartition("@")
    if not at:
        login, at, host = address.rpartition("@")
    if at and ":" in login:
        raise password_in_address(host)


def _redfish(address: str, access: Access) -> Meter:
    from thorax.power.redfish import (  # noqa: PLC0415 - httpcore is of the extra `measure`
        Account,
        Redfish,
        split_user,
    )

    user, url = split_user(address)
    password = access.ask(user, url) if user is not None else None
    return Redfish(url, Account(user, password, access.ca, access.insecure))


_IPMI: Final = re.compile(
    r"(?:(?P<interface>lan|lanplus)://)?(?:(?P<user>[^@:/\s]+)@)?"
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?"
)


def _ipmi(address: str, access: Access) -> Meter:
    if not address:
        return Ipmi()
    parts = _IPMI.fullmatch(address)
    if not parts:
        raise UsageError(
            "power-spec", f"{address!r} is no address of a BMC; write ipmi:USER@HOST, no password"
        )
    host, user = parts["host"].strip("[]"), parts["user"]
    return Ipmi(
        host,
        user=user,
        password=access.ask(user, host) if user else None,
        port=int(parts["port"]) if parts["port"] else None,
        interface=parts["interface"] or "lanplus",
    )


@contextmanager
def open_sampler(
    spec: str,
    access: Access = NO_ACCESS,
    *,
    interval_s: float | None = None,
    idle_s: float = 0.0,
    on_rest: Callable[[], None] | None = None,
) -> Iterator[Sampler]:
    """Sample a meter around what is measured, after a time of rest that tells idle power.

    None between two readings, `interval_s`, means what the meter is good for; no rest is an
    `idle_s` of 0. `on_rest` is called before it.

    Raises:
        ThoraxError: as `open_meter` and `Sampler`.
    """
    with closing(open_meter(spec, access)) as meter, Sampler(meter, interval_s) as sampler:
        if meter.channels and idle_s and on_rest:
            on_rest()
        sampler.rest(idle_s)
        yield sampler


def probe_meters() -> MeterList:
    """Ask every meter that needs no address, and say why the others do not answer."""
    return MeterList(meters=tuple(map(_probe, HERE)), specs=SPECS)


def _probe(name: str) -> MeterProbe:
    try:
        with closing(open_meter(name)) as meter:
            meter.read()
            devices = tuple(channel.name for channel in meter.channels)
            return MeterProbe(name=name, available=True, devices=devices, problem=None)
    except ThoraxError as error:
        problem = error
    except ModuleNotFoundError:
        problem = UsageError("extra-missing", f"{name} needs: pip install 'thorax[measure]'")
    return MeterProbe(
        name=name,
        available=False,
        devices=(),
        problem=MeterProblem(code=problem.code, message=problem.message),
    )
