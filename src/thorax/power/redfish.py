"""Redfish: the power of a chassis, as its BMC tells it over HTTPS.

DMTF DSP0266 (protocol: sessions in 13.3, links in 8), DSP0268 (schemas: EnvironmentMetrics,
PowerSubsystem, PowerSupplyMetrics, and Power, which is deprecated since 2020.4).
"""

import base64
import json
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from thorax.errors import PeerError, UsageError
from thorax.files.documents import parse_json, read_limited
from thorax.power.meter import Meter, Reading
from thorax.power.passwords import password_in_address
from thorax.power.redfish_chassis import LONGEST_PATH, SERVICE, at, find, path_of
from thorax.power.redfish_http import Answer, Connection
from thorax.power.sentinels import believed, whole_watts
from thorax.results.energy import Quantity

_ANSWER_S: Final = 10.0
_OPENING: Final = 6
"""Answers' time in which a meter is found: some ten questions of half a second (*assumed*)."""
_LARGEST_CA_BYTES: Final = 1 << 22
_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)
_UNITS: Final[dict[Quantity, str]] = {"power": "W", "energy": "J or kWh"}


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


class Redfish(Meter):
    """The chassis of a machine: all that its power supplies take in.

    Of each chassis is tried in this order, and the first that has a figure, for watts one above 0,
    is read from then on:
    EnvironmentMetrics PowerWatts; the input watts of all supplies of the PowerSubsystem; Power
    PowerControl (deprecated), whose further members are parts of the first; the energy counter of
    EnvironmentMetrics. `source` says which.

    Args:
        url: https://HOST[:PORT], and after it the path of a chassis where several have a figure.
        account: who asks.
        answer_s: for one reading as a whole, whatever it takes and however slowly it comes; the
            meter is opened within six times as long, and closed within one.

    Raises:
        UsageError: `power-spec` for what is no such address, or several chassis to choose from;
            `power-ca` for a file that holds no certificate.
        DeviceError: `meter-absent` where no chassis tells its power.
        PeerError: `meter-unreachable`, `meter-refused`, or `meter-answer`.
    """

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
        self._account = account
        self._answer_s = answer_s
        self._deadline_s = time.perf_counter() + _OPENING * answer_s
        self._session: str | None = None
        self._sessions: str | None = None
        self._credentials: dict[str, str] = {}
        self._connection = Connection(parts, _trust(account))
        self._origin = self._connection.origin
        try:
            self._sessions = self._find_sessions()
            self._log_in()
            self._way = find(self._get, self._origin, parts.path.rstrip("/"))
            self.quantity = self._way.quantity
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
        self._deadline_s = begin_s + self._answer_s
        way = self._way
        answers = {path: self._get(path) for path in dict.fromkeys(way.paths)}
        at_s = (begin_s + time.perf_counter()) / 2
        values = []
        for path, keys in zip(way.paths, way.keys, strict=True):
            value = at(answers[path], keys)
            if value is None:
                shown = ".".join(map(str, keys))
                raise PeerError(
                    "meter-answer", f"Redfish: {path} has null for {shown}; is the machine on?"
                )
            believed(value, self.source, ".".join(map(str, keys)), _UNITS[way.quantity])
            values.append(value * way.factor)
        for value, most_w in zip(values, way.most_w, strict=False):
            if value > most_w:
                whole_watts(value, self.source, most_w=most_w)
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
            whole_watts(sum(value for value, channel in counted if channel.counted), self.source)
        return (Reading(at_s, tuple(values)),)

    def close(self) -> None:
        """End the session, so that it takes no place on the BMC, and the connection."""
        if self._connection.closed:
            return
        if self._session:
            try:
                self._ask_once(
                    "DELETE", self._session, deadline_s=time.perf_counter() + self._answer_s
                )
            except PeerError:
                # It ends by itself after a while.
                self._session = None
        self._connection.close()

    def _find_sessions(self) -> str | None:
        """Return where sessions are made; None where the service has none."""
        root = self._get(SERVICE)
        links = root.get("Links")
        link = links.get("Sessions") if isinstance(links, Mapping) else None
        return path_of(link) if link else None

    def _log_in(self) -> None:
        account = self._account
        if account.user is None:
            return
        if self._sessions is None:
            self._use_basic()
            return
        self._credentials = {}
        self._session = None
        words = {"UserName": account.user, "Password": account.password or ""}
        answer = self._ask_once(
            "POST",
            self._sessions,
            headers={"Content-Type": "application/json"},
            content=json.dumps(words).encode(),
        )
        if answer.status in (404, 405, 501):
            self._use_basic()
            return
        if answer.status in (400, 401, 403):
            raise PeerError(
                "meter-refused",
                f"Redfish: {self._origin} refuses the user {account.user!r} (status "
                f"{answer.status}); check name, password and the right to log in",
            )
        token = answer.headers.get("x-auth-token")
        if not 200 <= answer.status < 300 or not token:
            raise PeerError(
                "meter-answer",
                f"Redfish: {self._origin}{self._sessions} answers a log-in with status "
                f"{answer.status} and no X-Auth-Token; is this a Redfish service?",
            )
        self._credentials = {"X-Auth-Token": token}
        self._session = self._own_path(self._sessions, answer.headers.get("location"))

    def _use_basic(self) -> None:
        pair = f"{self._account.user}:{self._account.password or ''}".encode()
        self._credentials = {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}

    def _own_path(self, path: str, location: str | None) -> str | None:
        """Return the path that an answer refers to; None of another host, and of none."""
        if not location or len(location) > LONGEST_PATH:
            return None
        try:
            target = urlsplit(urljoin(f"{self._origin}{path}", location))
        except ValueError:
            return None
        return target.path if f"{target.scheme}://{target.netloc}" == self._origin else None

    def _get(self, path: str) -> dict[str, Any]:
        """Return a resource; a session that has run out is renewed once."""
        answer = self._ask(path)
        basic = "Authorization" in self._credentials
        if answer.status == 401 and self._account.user is not None and not basic:
            self._log_in()
            answer = self._ask(path)
        status = answer.status
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
            resource = parse_json(answer.content)
        except ValueError as error:
            raise PeerError(
                "meter-answer", f"Redfish: {self._origin}{path} is not JSON ({str(error)[:80]})"
            ) from error
        if not isinstance(resource, dict):
            raise PeerError("meter-answer", f"Redfish: {self._origin}{path} is no JSON object")
        return resource

    def _ask(self, path: str) -> Answer:
        """Return what a resource answers; a redirection is followed once, and on this host."""
        answer = self._ask_once("GET", path)
        if answer.status in (301, 302, 303, 307, 308):
            target = self._own_path(path, answer.headers.get("location"))
            return self._ask_once("GET", target) if target else answer
        return answer

    def _ask_once(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] = {},
        content: bytes = b"",
        deadline_s: float | None = None,
    ) -> Answer:
        return self._connection.ask(
            method,
            path,
            deadline_s=min(self._deadline_s, time.perf_counter() + self._answer_s)
            if deadline_s is None
            else deadline_s,
            headers={**self._credentials, **headers},
            content=content,
        )


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.netloc.encode("ascii")
        _ = parts.port
    except ValueError as error:
        raise UsageError(
            "power-spec", f"{url!r} is no address ({error}); write redfish:https://USER@HOST"
        ) from error
    return parts


def _trust(account: Account) -> ssl.SSLContext | bool:
    if account.insecure:
        return False
    # The authorities of the system are those that a hospital has put in, too.
    if account.ca is None:
        return ssl.create_default_context()
    try:
        blocks = _CERTIFICATE.findall(read_limited(account.ca, _LARGEST_CA_BYTES))
        if not blocks:
            raise ValueError("it has no BEGIN CERTIFICATE")
        return ssl.create_default_context(cadata=b"\n".join(blocks).decode("ascii"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            "power-ca", f"{account.ca} holds no certificate ({reason}); give a PEM file"
        ) from error


def split_user(address: str) -> tuple[str | None, str]:
    """Return the user of an address, and the address without it.

    Raises:
        UsageError: `power-password` where it holds a password, which every list of processes shows.
    """
    scheme, _, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    if ":" in user:
        raise password_in_address(host)
    return unquote(user) if at else None, f"{scheme}://{host}{slash}{path}"
