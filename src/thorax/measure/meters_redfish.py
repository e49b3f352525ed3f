"""Redfish: the power of a chassis, as its BMC tells it over HTTPS.

DMTF DSP0266 (protocol: sessions in 13.3, links in 8), DSP0268 (schemas: EnvironmentMetrics,
PowerSubsystem, PowerSupplyMetrics, and Power, which is deprecated since 2020.4).
"""

import itertools
import json
import ssl
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from thorax.errors import DeviceError, PeerError, UsageError
from thorax.measure.power import Channel, Quantity, Reading, whole_watts

_SERVICE: Final = "/redfish/v1/"
_LARGEST_BYTES: Final = 4 << 20
_JOULES_PER_KWH: Final = 3.6e6
_ENDLESS: Final = 1e15
"""Watts, joules and kWh beyond this are damage, not readings."""
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks a BMC, and how it is known to be that BMC.

    Attributes:
        user: None asks without a name.
        password: of the user.
        ca: PEM file of those who may have signed its certificate; None means those of the system.
        insecure: takes any certificate, and sends a password without TLS.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class _Way:
    """Where the figures of a chassis are read.

    Attributes:
        says: the resource, for `source`.
        quantity: what they are.
        paths: resources to be read, one answer each.
        keys: path of keys to the figure within each.
        names: of the channels, one a path.
        counted: how many of the channels make the sum.
        factor: to watts or joules.
    """

    says: str
    quantity: Quantity
    paths: tuple[str, ...]
    keys: tuple[tuple[str | int, ...], ...]
    channels: tuple[Channel, ...]
    factor: float = 1.0


class Redfish:
    """The chassis of a machine: all that its power supplies take in.

    Of each chassis is tried in this order, and the first that has a figure, for watts one above 0,
    is read from then on:
    EnvironmentMetrics PowerWatts; the input watts of all supplies of the PowerSubsystem; Power
    PowerControl (deprecated), whose further members are parts of the first; the energy counter of
    EnvironmentMetrics. `source` says which.

    Args:
        url: https://HOST[:PORT], and after it the path of a chassis where several have a figure.
        account: who asks.
        answer_s: for one whole answer, however slowly it comes.

    Raises:
        UsageError: `power-spec` for what is no such address, or several chassis to choose from;
            `power-ca` for a file that holds no certificate.
        DeviceError: `meter-absent` where no chassis tells its power.
        PeerError: `meter-unreachable`, `meter-refused`, or `meter-answer`.
    """

    modelled = False
    replayed = False
    interval_s = 1.0

    def __init__(
        self, url: str, account: Account = Account(), *, answer_s: float = _ANSWER_S
    ) -> None:
        parts = _parts(url)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username:
            raise UsageError(
                "power-spec", f"{url!r} is no address; write redfish:https://USER@HOST"
            )
        if parts.scheme == "http" and account.password is not None and not account.insecure:
            raise UsageError(
                "power-spec",
                f"{url} would carry the password in the clear; write https, or say that you want "
                "that with --power-insecure",
            )
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._account = account
        self._answer_s = answer_s
        self._session: str | None = None
        self._basic = False
        self._client = httpx.Client(
            base_url=self._origin,
            headers={"Accept": "application/json", "OData-Version": "4.0"},
            verify=_trust(account),
            timeout=httpx.Timeout(answer_s, connect=min(_CONNECT_S, answer_s)),
            follow_redirects=False,
            # Neither a proxy nor a netrc of the environment is to see the password.
            trust_env=False,
        )
        try:
            self._sessions = self._find_sessions()
            self._log_in()
            self._way = self._find(parts.path.rstrip("/"))
            self.quantity: Quantity = self._way.quantity
            self.channels = self._way.channels
            self.source = f"redfish: {self._way.says} of {parts.hostname}"
            self._first: tuple[float, ...] | None = None
            self._last: tuple[float, ...] | None = None
            self.read()
        except BaseException:
            self.close()
            raise

    def read(self) -> tuple[Reading, ...]:
        """Return the watts of now, or joules since the meter was opened.

        Raises:
            PeerError: `meter-unreachable`, `meter-refused`, or `meter-answer`.
        """
        begin_s = time.perf_counter()
        way = self._way
        answers = {path: self._get(path) for path in dict.fromkeys(way.paths)}
        at_s = (begin_s + time.perf_counter()) / 2
        values = []
        for path, keys in zip(way.paths, way.keys, strict=True):
            value = _at(answers[path], keys)
            if value is None:
                shown = ".".join(map(str, keys))
                raise PeerError(
                    "meter-answer", f"Redfish: {path} has null for {shown}; is the machine on?"
                )
            values.append(value * way.factor)
        if way.quantity == "energy":
            self._first = self._first or tuple(values)
            if any(now < last for now, last in zip(values, self._last or self._first, strict=True)):
                raise PeerError(
                    "meter-answer",
                    f"Redfish: the energy of {self._origin} went back from {self._last} to "
                    f"{values} J; was its counter reset?",
                )
            self._last = tuple(values)
            values = [now - first for now, first in zip(values, self._first, strict=True)]
        else:
            counted = zip(values, self.channels, strict=True)
            whole_watts(sum(value for value, one in counted if one.counted), self.source)
        return (Reading(at_s, tuple(values)),)

    def close(self) -> None:
        """End the session, so that it takes no place on the BMC, and the connection."""
        if self._client.is_closed:
            return
        if self._session:
            try:
                self._client.delete(self._session)
            except httpx.HTTPError:
                # It ends by itself after a while.
                self._session = None
        self._client.close()

    def _find_sessions(self) -> str | None:
        """Return where sessions are made; None where the service has none."""
        root = self._get(_SERVICE)
        links = root.get("Links")
        link = links.get("Sessions") if isinstance(links, Mapping) else None
        return _path(link) if link else None

    def _log_in(self) -> None:
        account = self._account
        if account.user is None:
            return
        if self._sessions is None:
            self._use_basic()
            return
        self._client.headers.pop("X-Auth-Token", None)
        self._session = None
        try:
            made = self._client.post(
                self._sessions, json={"UserName": account.user, "Password": account.password or ""}
            )
        except httpx.HTTPError as error:
            raise _unreachable(self._origin, error) from error
        if made.status_code in (404, 405, 501):
            self._use_basic()
            return
        if made.status_code in (400, 401, 403):
            raise PeerError(
                "meter-refused",
                f"Redfish: {self._origin} refuses the user {account.user!r} (status "
                f"{made.status_code}); check name, password and the right to log in",
            )
        token = made.headers.get("X-Auth-Token")
        if not made.is_success or not token:
            raise PeerError(
                "meter-answer",
                f"Redfish: {self._origin}{self._sessions} answers a log-in with status "
                f"{made.status_code} and no X-Auth-Token; is this a Redfish service?",
            )
        self._client.headers["X-Auth-Token"] = token
        location = made.headers.get("Location")
        if location:
            parts = urlsplit(location)
            if not parts.netloc or f"{parts.scheme}://{parts.netloc}" == self._origin:
                self._session = parts.path

    def _use_basic(self) -> None:
        self._basic = True
        self._client.auth = httpx.BasicAuth(self._account.user or "", self._account.password or "")

    def _get(self, path: str) -> dict[str, Any]:
        """Return a resource; a session that has run out is renewed once."""
        status, content = self._ask(path)
        if status == 401 and self._account.user is not None and not self._basic:
            self._log_in()
            status, content = self._ask(path)
        if status in (401, 403):
            user = self._account.user
            raise PeerError(
                "meter-refused",
                f"Redfish: {self._origin}{path} refuses "
                f"{'who gives no name' if user is None else repr(user)} (status {status}); "
                "check name, password and rights",
            )
        if status != 200:
            raise PeerError(
                "meter-answer",
                f"Redfish: {self._origin}{path} answers with status {status}; 200 is needed",
            )
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise PeerError(
                "meter-answer", f"Redfish: {self._origin}{path} is not JSON ({error})"
            ) from error
        if not isinstance(answer, dict):
            raise PeerError("meter-answer", f"Redfish: {self._origin}{path} is no JSON object")
        return answer

    def _ask(self, path: str, *, moved: bool = False) -> tuple[int, bytes]:
        """Return status and content; all of it within one time, whatever trickles in."""
        deadline_s = time.perf_counter() + self._answer_s
        content = bytearray()
        try:
            with self._client.stream("GET", path) as answer:
                if answer.has_redirect_location and not moved:
                    target = urlsplit(str(answer.url.join(answer.headers["Location"])))
                    if f"{target.scheme}://{target.netloc}" == self._origin:
                        return self._ask(target.path, moved=True)
                    return answer.status_code, b""
                for piece in answer.iter_bytes():
                    content += piece
                    if len(content) > _LARGEST_BYTES:
                        raise PeerError(
                            "meter-answer",
                            f"Redfish: {self._origin}{path} is larger than {_LARGEST_BYTES} bytes",
                        )
                    if time.perf_counter() > deadline_s:
                        raise httpx.ReadTimeout(f"no whole answer within {self._answer_s:g} s")
                return answer.status_code, bytes(content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unreachable(self._origin, error) from error

    def _find(self, wanted: str) -> _Way:
        """Return where the figures of the chassis are, which is the only one unless it is named."""
        if wanted not in ("", "/redfish", "/redfish/v1"):
            way = self._way_of(wanted)
            if way is None:
                raise DeviceError(
                    "meter-absent", f"Redfish: {self._origin}{wanted} tells no watts or joules"
                )
            return way
        root = self._get(_SERVICE)
        members = self._get(_path(root.get("Chassis"))).get("Members")
        paths = [_path(link) for link in members] if isinstance(members, list) else []
        ways = {path: way for path in paths if (way := self._way_of(path))}
        if not ways:
            raise DeviceError(
                "meter-absent",
                f"Redfish: none of the {len(paths)} chassis of {self._origin} tells power above 0",
            )
        if len(ways) > 1:
            raise UsageError(
                "power-spec",
                f"several chassis tell their power: {', '.join(ways)}; one may hold the other, so "
                f"name one: redfish:https://USER@HOST{next(iter(ways))}",
            )
        return next(iter(ways.values()))

    def _way_of(self, chassis: str) -> _Way | None:
        resource = self._get(chassis)
        name = str(resource.get("Id") or chassis.rpartition("/")[2])
        environment = self._linked(resource, "EnvironmentMetrics")
        if environment:
            where, answer = environment
            keys = ("PowerWatts", "Reading")
            if _at(answer, keys):
                says = f"EnvironmentMetrics {name}"
                return _Way(says, "power", (where,), (keys,), (Channel("system"),))
        supplies = self._supplies(resource)
        if supplies:
            return _Way(
                f"PowerSubsystem {name}",
                "power",
                tuple(supplies.values()),
                (("InputPowerWatts", "Reading"),) * len(supplies),
                tuple(map(Channel, supplies)),
            )
        power = self._linked(resource, "Power")
        if power and (way := _power_control(f"Power (deprecated) {name}", *power)):
            return way
        if environment:
            where, answer = environment
            for key, factor in (("EnergyJoules", 1.0), ("EnergykWh", _JOULES_PER_KWH)):
                if _at(answer, (key, "Reading")) is not None:
                    says = f"EnvironmentMetrics {key} {name}"
                    path = ((key, "Reading"),)
                    return _Way(says, "energy", (where,), path, (Channel("system"),), factor)
        return None

    def _linked(self, resource: Mapping[str, Any], key: str) -> tuple[str, dict[str, Any]] | None:
        """Return a resource that another links to, and its path; None where there is none."""
        if not resource.get(key):
            return None
        path = _path(resource[key])
        try:
            return path, self._get(path)
        except PeerError as error:
            # What a BMC links to and does not have is passed over; what it refuses is not.
            if error.code == "meter-answer":
                return None
            raise

    def _supplies(self, chassis: Mapping[str, Any]) -> dict[str, str]:
        """Return the paths of the metrics of all supplies by name, if all tell their input."""
        subsystem = self._linked(chassis, "PowerSubsystem")
        collection = self._linked(subsystem[1], "PowerSupplies") if subsystem else None
        members = collection[1].get("Members") if collection else None
        found: dict[str, str] = {}
        whole_w = 0.0
        for link in members if isinstance(members, list) else []:
            supply = self._linked({"Member": link}, "Member")
            metrics = self._linked(supply[1], "Metrics") if supply else None
            watts = _at(metrics[1], ("InputPowerWatts", "Reading")) if metrics else None
            if not supply or not metrics or watts is None:
                return {}
            whole_w += watts
            found[_unlike(f"supply {supply[1].get('Id') or len(found)}", found)] = metrics[0]
        return found if whole_w > 0 else {}


def _power_control(says: str, where: str, answer: Mapping[str, Any]) -> _Way | None:
    """Return how PowerControl is read: the first member is the whole, the others parts of it."""
    members = answer.get("PowerControl")
    count = len(members) if isinstance(members, list) else 0
    keys: list[tuple[str | int, ...]] = []
    channels: list[Channel] = []
    for place in range(count):
        path = ("PowerControl", place, "PowerConsumedWatts")
        value = _at(answer, path)
        if not place and not value:
            return None
        if value is None:
            continue
        name = str(_at_any(answer, ("PowerControl", place, "Name")) or f"part {place}")
        known = [one.name for one in channels]
        channels.append(Channel(_unlike(name, known) if place else "system", counted=not place))
        keys.append(path)
    if not keys:
        return None
    return _Way(says, "power", (where,) * len(keys), tuple(keys), tuple(channels))


def _unlike(name: str, known: Container[str]) -> str:
    """Return a name, with a number where it is taken: BMCs give two things one name."""
    names = itertools.chain([name], (f"{name} #{number}" for number in itertools.count(2)))
    return next(one for one in names if one not in known)


def _path(link: object) -> str:
    """Return the path that a link names; one to another host is refused, with or without a token.

    Raises:
        PeerError: `meter-answer`.
    """
    target = link.get("@odata.id") if isinstance(link, Mapping) else None
    if not isinstance(target, str) or not target.startswith("/") or target.startswith("//"):
        raise PeerError(
            "meter-answer",
            f"Redfish: a link is {str(target)[:80]!r}; it must be a path of the same host",
        )
    return urlsplit(target).path


def _at_any(answer: object, keys: Sequence[str | int]) -> object:
    for key in keys:
        if isinstance(key, int):
            if not isinstance(answer, list) or key >= len(answer):
                return None
            answer = answer[key]
        else:
            answer = answer.get(key) if isinstance(answer, Mapping) else None
    return answer


def _at(answer: object, keys: Sequence[str | int]) -> float | None:
    """Return a figure within an answer; None where it is absent or null.

    Raises:
        PeerError: `meter-answer` where it is something else.
    """
    value = _at_any(answer, keys)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PeerError(
            "meter-answer", f"Redfish: {'.'.join(map(str, keys))} is {str(value)[:40]!r}, no number"
        )
    if not 0 <= value < _ENDLESS:
        raise PeerError(
            "meter-answer",
            f"Redfish: {'.'.join(map(str, keys))} is {value!r:.40}; 0 or more is allowed",
        )
    return float(value)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        httpx.URL(url, port=parts.port)
    except (ValueError, httpx.InvalidURL) as error:
        raise UsageError(
            "power-spec", f"{url!r} is no address ({error}); write redfish:https://USER@HOST"
        ) from error
    return parts


def _trust(account: Account) -> ssl.SSLContext | bool:
    if account.insecure:
        return False
    # httpx alone would believe the authorities of certifi, and none that a hospital has put in.
    try:
        return ssl.create_default_context(cafile=account.ca)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            "power-ca", f"{account.ca} holds no certificate ({error}); give a PEM file"
        ) from error


def _unreachable(origin: str, error: Exception) -> PeerError:
    said = " ".join(str(error).split()) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in said:
        said += "; give the signer's certificate with --power-ca FILE"
    return PeerError(
        "meter-unreachable", f"Redfish: {origin} does not answer ({said}); is the BMC in reach?"
    )


def split_user(address: str) -> tuple[str | None, str]:
    """Return the user of an address, and the address without it.

    Raises:
        UsageError: `power-password` where it holds a password, which every list of processes shows.
    """
    scheme, _, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    if ":" in user:
        raise UsageError(
            "power-password",
            f"the address of {host} holds a password, which every list of processes shows; leave "
            "it out and give --power-password-file FILE, or type it when asked",
        )
    return unquote(user) if at else None, f"{scheme}://{host}{slash}{path}"
