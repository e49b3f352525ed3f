"""Small BMCs that tests ask for power: Redfish over HTTP or HTTPS, and IPMI 1.5 over UDP."""

import base64
import contextlib
import hashlib
import json
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

CHASSIS = "/redfish/v1/Chassis/1"

Resources = dict[str, dict[str, Any]]


def link(path: str) -> dict[str, str]:
    return {"@odata.id": path}


def redfish_tree(kind: str, watts: Callable[[], float | None]) -> Callable[[], Resources]:
    """Return the resources of a service with one chassis, in the shape of DMTF DSP2043.

    Args:
        kind: what the chassis has: environment, subsystem, power, energy, joules or nothing.
        watts: of now; joules of now where the chassis has an energy counter.
    """

    def tree() -> Resources:
        now = watts()
        chassis: dict[str, Any] = {"@odata.id": CHASSIS, "Id": "1", "Name": "Main"}
        found: Resources = {
            "/redfish/v1": {
                "RedfishVersion": "1.15.0",
                "Chassis": link("/redfish/v1/Chassis"),
                "SessionService": link("/redfish/v1/SessionService"),
                "Links": {"Sessions": link("/redfish/v1/SessionService/Sessions")},
            },
            "/redfish/v1/Chassis": {"Members": [link(CHASSIS)], "Members@odata.count": 1},
            CHASSIS: chassis,
        }
        sensor = f"{CHASSIS}/EnvironmentMetrics"
        if kind in ("environment", "energy", "joules"):
            chassis["EnvironmentMetrics"] = link(sensor)
            metrics: Resources = {
                "environment": {"PowerWatts": {"Reading": now}, "EnergykWh": {"Reading": 3.5}},
                "energy": {"EnergykWh": {"Reading": None if now is None else now / 3.6e6}},
                "joules": {"EnergyJoules": {"Reading": now}, "EnergykWh": {"Reading": 0.0}},
            }
            found[sensor] = metrics[kind]
        if kind == "subsystem":
            where = f"{CHASSIS}/PowerSubsystem"
            chassis["PowerSubsystem"] = link(where)
            found[where] = {"CapacityWatts": 1500, "PowerSupplies": link(f"{where}/PowerSupplies")}
            bays = [f"{where}/PowerSupplies/Bay{bay}" for bay in (1, 2)]
            found[f"{where}/PowerSupplies"] = {"Members": [link(bay) for bay in bays]}
            for bay in bays:
                found[bay] = {"Id": bay[-4:], "Metrics": link(f"{bay}/Metrics")}
                half = None if now is None else now / 2
                found[f"{bay}/Metrics"] = {"InputPowerWatts": {"Reading": half}}
        if kind in ("power", "environment"):
            # Where both are, the new one is to be read: the old one is wrong here.
            chassis["Power"] = link(f"{CHASSIS}/Power")
            wrong = kind == "environment"
            found[f"{CHASSIS}/Power"] = {
                "PowerControl": [
                    {"MemberId": "0", "PowerConsumedWatts": 1.0 if wrong else now},
                    {"MemberId": "1", "Name": "CPU Sub-system Power", "PowerConsumedWatts": 40},
                ]
            }
        return found

    return tree


@dataclass
class RedfishBmc:
    """A Redfish service on a port of its own.

    Attributes:
        tree: its resources now.
        users: name to password; None lets anybody in.
        sessions: whether it has a session service; else it wants a name with each question.
        answer: takes the place of what it would answer: status, headers and content of a path.
        asked: what it was asked: method, path and headers.
        tokens: of the sessions that are open.
        stall: until it is set, the metrics come byte by byte and never whole.
    """

    tree: Callable[[], Resources]
    users: dict[str, str] | None = None
    sessions: bool = True
    certificate: tuple[Path, Path] | None = None
    answer: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    made: int = 0
    stall: threading.Event | None = None

    def __enter__(self) -> Self:
        bmc = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def log_message(self, format: str, *args: object) -> None:
                return

            def do_GET(self) -> None:
                bmc._handle(self)

            do_POST = do_DELETE = do_GET  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.stall:
            self.stall.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://{self.host}"

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        content = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        path = request.path.rstrip("/")
        self.asked.append((request.command, path, dict(request.headers)))
        status, headers, body = self._answer(request, path, content)
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        trickle = self.stall if path == f"{CHASSIS}/EnvironmentMetrics" else None
        request.send_header("Content-Length", str(1 << 20 if trickle else len(body)))
        request.end_headers()
        while trickle and not trickle.wait(0.02):
            # No single wait of the other side is long.
            request.wfile.write(b" ")
        request.wfile.write(body)

    def _answer(
        self, request: BaseHTTPRequestHandler, path: str, content: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if path in self.answer:
            return self.answer[path]
        where = "/redfish/v1/SessionService/Sessions"
        if request.command == "POST" and path == where and self.sessions:
            asked = json.loads(content)
            if (self.users or {}).get(asked["UserName"]) != asked["Password"]:
                return 401, {}, b"{}"
            self.made += 1
            token = f"token-{self.made}"
            self.tokens.add(token)
            return 201, {"X-Auth-Token": token, "Location": f"{where}/{token}"}, b"{}"
        if path != "/redfish/v1" and not self._knows(request):
            return 401, {}, b"{}"
        if request.command == "DELETE":
            self.tokens.discard(path.rpartition("/")[2])
            return 204, {}, b""
        found = self.tree()
        if not self.sessions:
            for key in ("SessionService", "Links"):
                found["/redfish/v1"].pop(key)
        if request.command != "GET" or path not in found:
            return 404, {}, b"{}"
        return 200, {"Content-Type": "application/json"}, json.dumps(found[path]).encode()

    def _knows(self, request: BaseHTTPRequestHandler) -> bool:
        if self.users is None:
            return True
        if self.sessions:
            return request.headers.get("X-Auth-Token") in self.tokens
        pairs = [f"{name}:{word}".encode() for name, word in self.users.items()]
        return request.headers.get("Authorization") in {
            f"Basic {base64.b64encode(pair).decode()}" for pair in pairs
        }


def certificate(folder: Path) -> tuple[Path, Path]:
    """Return a certificate of 127.0.0.1, signed by itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    made, key = folder / "bmc.pem", folder / "bmc.key"
    words = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-keyout", key, "-out", made, "-days", "2", "-subj", "/CN=bmc"]  # type: ignore[list-item]
    words += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(list(map(str, words)), check=True, capture_output=True)
    return made, key


@dataclass
class IpmiBmc:
    """A BMC that speaks IPMI 1.5 over LAN with MD5 (IPMI 2.0 specification, sections 13 and 22).

    It opens a session for one user and answers Get Power Reading of DCMI 1.5, section 6.6.1.

    Attributes:
        watts: of now.
        user: that it knows.
        password: of the user.
        active: whether it measures.
        sessions: that were opened.
        silent: whether it answers nothing.
    """

    watts: int = 200
    user: str = "reader"
    password: str = "secret"
    active: bool = True
    sessions: int = 0
    silent: bool = False

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # An empty datagram ends it.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def _serve(self) -> None:
        while True:
            packet, sender = self._socket.recvfrom(1024)
            if not packet:
                return
            if self.silent:
                continue
            ping = packet[:4] == b"\x06\x00\xff\x06"
            answer = _pong(packet) if ping else self._answer(packet)
            if answer:
                self._socket.sendto(answer, sender)

    def _answer(self, packet: bytes) -> bytes | None:
        kind, sequence, session = struct.unpack_from("<BII", packet, 4)
        start = 13
        code = b""
        if kind:
            code, start = packet[start : start + 16], start + 16
        message = packet[start + 1 : start + 1 + packet[start]]
        if kind and code != self._code(session, sequence, message):
            return None
        to, function, _, own, slot, command = message[:6]
        data = self._do(function >> 2, command, message[6:-1])
        head = bytes([own, function + 4])
        rest = bytes([to, slot, command]) + data
        reply = head + _checksum(head) + rest + _checksum(rest)
        authentic = self._code(session, sequence, reply) if kind else b""
        opening = struct.pack("<BII", kind, sequence, session)
        return packet[:4] + opening + authentic + bytes([len(reply)]) + reply

    def _do(self, function: int, command: int, data: bytes) -> bytes:
        match function, command:
            case 0x06, 0x38:
                # Authentication: MD5 only, users with names.
                return bytes([0, 1, 0x04, 0x04, 0, 0, 0, 0, 0])
            case 0x06, 0x39:
                known = data[1:17].rstrip(b"\0").decode() == self.user
                return b"\0" + struct.pack("<I", 7) + bytes(16) if known else b"\x81"
            case 0x06, 0x3A:
                self.sessions += 1
                return b"\0" + struct.pack("<BIIB", 2, 7, 1, 4)
            case 0x06, 0x3B:
                return b"\0" + data[:1]
            case 0x06, 0x3C:
                return b"\0"
            case 0x2C, 0x02:
                now = self.watts
                figures = struct.pack("<4H2I", now, now - 9, now + 9, now, 0, 1000)
                return b"\0\xdc" + figures + (b"\x40" if self.active else b"\0")
        return b"\xc1"

    def _code(self, session: int, sequence: int, message: bytes) -> bytes:
        word = self.password.encode().ljust(16, b"\0")
        whole = word + struct.pack("<I", session) + message + struct.pack("<I", sequence) + word
        return hashlib.md5(whole, usedforsecurity=False).digest()


def _pong(ping: bytes) -> bytes:
    """Return that IPMI is spoken here (ASF 2.0, section 3.2.4.3)."""
    return ping[:8] + b"\x40" + ping[9:10] + b"\x00\x10" + ping[4:8] + bytes(4) + b"\x81" + bytes(7)


def _checksum(data: bytes) -> bytes:
    return bytes([-sum(data) & 0xFF])


@dataclass
class HostileBmc:
    """A Redfish service that answers as it should until it is asked one thing, and then attacks.

    Attributes:
        attack: is given the connection once `method` and `path` were asked; what it sends is
            counted, and it ends when the other side has gone or the service is left.
        method: that is attacked; "" attacks whoever connects, before anything is read.
        path: that is attacked.
        sent: bytes that were sent in attacks.
        attacks: how many.
    """

    attack: Callable[["Attack"], None]
    method: str = "GET"
    path: str = "/redfish/v1"
    sent: int = 0
    attacks: int = 0

    def __enter__(self) -> Self:
        tree = redfish_tree("environment", lambda: 212.5)
        self._calm = RedfishBmc(tree, users={"reader": "secret"})
        self.over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        with socket.create_connection(self._socket.getsockname()):
            self._accepting.join()
        self._socket.close()
        for thread in self._threads:
            thread.join()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            if self.over.is_set():
                connection.close()
                return
            connection.settimeout(0.05)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            if not self.method:
                self._attack(connection)
                return
            while head := self._head(connection):
                method, path, _ = head.split(b"\r\n")[0].decode("latin-1").split(" ", 2)
                path = path.rstrip("/")
                if (method, path) == (self.method, self.path):
                    self._attack(connection)
                    return
                status, headers, body = self._calm_answer(method, path)
                lines = [f"HTTP/1.1 {status} Fine", f"Content-Length: {len(body)}"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def _attack(self, connection: socket.socket) -> None:
        self.attacks += 1
        with contextlib.suppress(OSError):
            self.attack(Attack(self, connection))

    def _calm_answer(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        sessions = "/redfish/v1/SessionService/Sessions"
        if method == "POST":
            return 201, {"X-Auth-Token": "token-1", "Location": f"{sessions}/token-1"}, b"{}"
        if method == "DELETE":
            return 204, {}, b""
        found = self._calm.tree()
        return (200, {}, json.dumps(found[path]).encode()) if path in found else (404, {}, b"{}")

    def _head(self, connection: socket.socket) -> bytes:
        """Return a whole question; nothing when the other side has gone, or all is over."""
        received = b""
        while not self.over.is_set():
            try:
                piece = connection.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError:
                return b""
            received += piece
            head, end, body = received.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if not piece:
                return b""
            if end and len(body) >= int(length[1] if length else 0):
                return received
        return b""


@dataclass
class Attack:
    """One connection of a hostile BMC."""

    bmc: HostileBmc
    connection: socket.socket

    def send(self, content: bytes) -> None:
        """Send all of it, as long as somebody takes it."""
        rest = memoryview(content)
        while rest:
            if self.bmc.over.is_set():
                raise ConnectionAbortedError
            try:
                sent = self.connection.send(rest[: 1 << 16])
            except TimeoutError:
                continue
            self.bmc.sent += sent
            rest = rest[sent:]

    def flood(self, piece: bytes, most_bytes: int = 1 << 30) -> None:
        """Send a piece again and again, to a limit that no reader is to reach."""
        block = piece * max(1, (1 << 16) // len(piece))
        for _ in range(most_bytes // len(block)):
            self.send(block)

    def trickle(self, piece: bytes) -> None:
        """Send a piece now and then, without end."""
        while not self.bmc.over.wait(0.01):
            self.send(piece)

    def stall(self) -> None:
        """Send nothing more."""
        self.bmc.over.wait()
