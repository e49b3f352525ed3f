"""HTTP with a BMC that is not trusted: all of an answer has one deadline and one size.

Whatever it sends counts: the handshake of TLS, interim answers without end, headers and body that
trickle, chunks of one byte. An encoding was not asked for, so none is undone.
"""

import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, quote

import httpcore

from thorax.errors import PeerError

LARGEST_BYTES: Final = 4 << 20
"""Of an answer with all that goes before it; the largest of real BMCs have some 100 kB (*assumed*).
"""

_CONNECT_S: Final = 5.0
_SHOWN: Final = 200
"""Letters of what a library says of an answer, which may quote it."""

_CLOSED: Final = (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError)
_ERRORS: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
    UnicodeError,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, all of it; headers by name in small letters."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class _Budget:
    """Time and bytes that are left for an answer."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.deadline_s = 0.0
        self.bytes_left = 0

    def left_s(self, most_s: float | None = None) -> float:
        left_s = self.deadline_s - time.perf_counter()
        if left_s <= 0:
            raise httpcore.ReadTimeout("its answer was not whole in time")
        return left_s if most_s is None else min(left_s, most_s)

    def take(self, count: int) -> None:
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise PeerError(
                "meter-answer",
                f"Redfish: an answer of {self.origin} is larger than {LARGEST_BYTES} bytes; is "
                "this a Redfish service?",
            )


class _Stream(httpcore.NetworkStream):
    """A connection that ends with its budget, whatever the other side does."""

    def __init__(self, inner: httpcore.NetworkStream, budget: _Budget) -> None:
        self._inner = inner
        self._budget = budget

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        received = self._inner.read(max_bytes, self._budget.left_s(timeout))
        self._budget.take(len(received))
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._budget.left_s(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._budget.left_s(timeout))
        return _Stream(inner, self._budget)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore has it
        return self._inner.get_extra_info(info)


class _Network(httpcore.NetworkBackend):
    """Connections that share a budget."""

    def __init__(self, budget: _Budget) -> None:
        self._budget = budget
        self._system = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left_s = self._budget.left_s(_CONNECT_S if timeout is None else min(timeout, _CONNECT_S))
        inner = self._system.connect_tcp(host, port, left_s, local_address, socket_options)
        return _Stream(inner, self._budget)


class Connection:
    """One connection to a BMC, made anew when it was closed; `trust` False takes any certificate.

    Neither a proxy nor a netrc of the environment sees what is sent, and no redirection is followed
    here.
    """

    def __init__(self, parts: SplitResult, trust: ssl.SSLContext | bool) -> None:
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._authority = parts.netloc
        self._budget = _Budget(self.origin)
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._scheme = parts.scheme.encode("ascii")
        self._host = (parts.hostname or "").encode("ascii")
        self._pool = httpcore.ConnectionPool(
            ssl_context=trust if isinstance(trust, ssl.SSLContext) else _any_certificate(),
            max_connections=1,
            network_backend=_Network(self._budget),
        )
        self.closed = False
        self._answered = False

    def ask(
        self,
        method: str,
        path: str,
        *,
        deadline_s: float,
        headers: Mapping[str, str] = {},
        content: bytes = b"",
    ) -> Answer:
        """Return what is answered before a `time.perf_counter`, all of it and not too large.

        Raises:
            PeerError: `meter-unreachable`, or `meter-answer` for what is too large or encoded.
        """
        self._budget.deadline_s, self._budget.bytes_left = deadline_s, LARGEST_BYTES
        sent = {
            "Host": self._authority,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "OData-Version": "4.0",
            **({"Content-Length": str(len(content))} if content else {}),
            **headers,
        }
        target = quote(path, safe="/%:@!$&'()*+,;=~-._").encode("ascii")
        fields = [(name.encode("ascii"), value.encode("latin-1")) for name, value in sent.items()]
        url = httpcore.URL(scheme=self._scheme, host=self._host, port=self._port, target=target)
        try:
            try:
                answer = self._pool.request(method, url, headers=fields, content=content or None)
            except _CLOSED:
                # A service may close an idle connection just when it is asked again (RFC 9112,
                # section 9.3.1): what changes nothing is asked once more.
                if method != "GET" or not self._answered or self._budget.bytes_left < LARGEST_BYTES:
                    raise
                answer = self._pool.request(method, url, headers=fields)
        except _ERRORS as error:
            raise unreachable(self.origin, error) from error
        self._answered = True
        told = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in answer.headers
        }
        encoding = told.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise PeerError(
                "meter-answer",
                f"Redfish: {self.origin}{path} is encoded as {encoding[:40]!r}, which was not "
                "asked for; identity is needed",
            )
        return Answer(answer.status, told, answer.content)

    def close(self) -> None:
        """Close the connection."""
        self.closed = True
        self._pool.close()


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def unreachable(origin: str, error: Exception) -> PeerError:
    """Return what is said of a BMC that does not answer, or not in HTTP."""
    reason = " ".join(str(error).split())[:_SHOWN] or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        reason += "; give the signer's certificate with --power-ca FILE"
    return PeerError(
        "meter-unreachable", f"Redfish: {origin} does not answer ({reason}); is the BMC in reach?"
    )
