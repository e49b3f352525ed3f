"""A BMC that attacks who asks it: what comes of it is one line, in time and within a size."""

import gzip
import json
import os
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.power.bmc import CHASSIS, Attack, HostileBmc, certificate, link

from thorax.errors import ThoraxError
from thorax.power.redfish import Account, Redfish
from thorax.power.redfish_http import LARGEST_BYTES

pytestmark = pytest.mark.timeout(120)

ACCOUNT = Account("reader", "secret", insecure=True)
SESSIONS = "/redfish/v1/SessionService/Sessions"
MOST_SENT = LARGEST_BYTES + (16 << 20)
"""What the system keeps on the way counts as sent, and nobody has it in memory of his own."""

WITHIN_S = 0.4
"""In which an answer is to be whole."""

Attacker = Callable[[Attack], None]

OK = b"HTTP/1.1 200 OK\r\n"


def says(*pieces: bytes) -> Attacker:
    """Send these and close."""

    def attack(on: Attack) -> None:
        for piece in pieces:
            on.send(piece)

    return attack


def then(first: bytes, way: Callable[[Attack, bytes], None], piece: bytes) -> Attacker:
    """Send a beginning, and then a piece without end, fast or slowly."""

    def attack(on: Attack) -> None:
        on.send(first)
        way(on, piece)

    return attack


def stalls(first: bytes = b"") -> Attacker:
    def attack(on: Attack) -> None:
        on.send(first)
        on.stall()

    return attack


def body(content: bytes, *headers: bytes, status: bytes = b"200 OK") -> Attacker:
    """Answer as HTTP wants it, with a body that is none."""
    length = f"Content-Length: {len(content)}\r\n".encode()
    head = b"HTTP/1.1 " + status + b"\r\n" + length + b"".join(one + b"\r\n" for one in headers)
    return says(head + b"\r\n" + content)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(gzip.compress(bytes(64 << 20)))
DEEP = b'{"a":' * 200_000

WIRE: dict[str, Attacker] = {
    "silence": stalls(),
    "closes at once": says(),
    "closes after the status": says(OK),
    "closes within a header": says(OK + b"Content-Le"),
    "closes within the body": says(OK + b"Content-Length: 100\r\n\r\n{"),
    "closes within a chunk": says(CHUNKED + b"ff\r\n{"),
    "status that trickles": then(b"HTTP/1.1 ", Attack.trickle, b"2"),
    "header that trickles": then(OK + b"X-A: ", Attack.trickle, b"a"),
    "headers that trickle": then(OK, Attack.trickle, b"X-A: a\r\n"),
    "headers without end": then(OK, Attack.flood, b"X-A: a\r\n"),
    "header without end": then(OK + b"X-A: ", Attack.flood, b"a"),
    "interim answers without end": then(b"", Attack.flood, b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "continue without end": then(b"", Attack.flood, b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim answers that trickle": then(b"", Attack.trickle, b"HTTP/1.1 103 Hints\r\n\r\n"),
    "interim answers with much in them": then(
        b"", Attack.flood, b"HTTP/1.1 103 Hints\r\nLink: " + b"a" * 4000 + b"\r\n\r\n"
    ),
    "body that trickles": then(OK + b"Content-Length: 1000000\r\n\r\n", Attack.trickle, b" "),
    "body without length that trickles": then(OK + b"\r\n", Attack.trickle, b" "),
    "body without end": then(OK + b"\r\n", Attack.flood, b" "),
    "body of 4 GB": then(OK + b"Content-Length: 4294967296\r\n\r\n", Attack.flood, b" "),
    "body of 4 GB that does not come": stalls(OK + b"Content-Length: 4294967296\r\n\r\n"),
    "chunks without end": then(CHUNKED, Attack.flood, b"10\r\n" + b" " * 16 + b"\r\n"),
    "a million chunks of a byte": then(CHUNKED, Attack.flood, b"1\r\n \r\n"),
    "chunks that trickle": then(CHUNKED, Attack.trickle, b"1\r\n \r\n"),
    "chunk of 2**64 bytes": then(CHUNKED + b"ffffffffffffffff\r\n", Attack.flood, b" "),
    "chunk of no size": says(CHUNKED + b"zz\r\n"),
    "chunk of a negative size": says(CHUNKED + b"-1\r\n"),
    "chunk extension without end": then(CHUNKED + b"1;a=", Attack.flood, b"a"),
    "trailers without end": then(CHUNKED + b"0\r\n", Attack.flood, b"X-A: a\r\n"),
    "trailer that trickles": then(CHUNKED + b"0\r\nX-A: ", Attack.trickle, b"a"),
    "negative length": says(OK + b"Content-Length: -1\r\n\r\n{}"),
    "length that is no number": says(OK + b"Content-Length: many\r\n\r\n{}"),
    "two lengths": says(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"),
    "encoded twice": body(BOMB, b"Content-Encoding: gzip, gzip"),
    "encoded once": body(gzip.compress(b"{}"), b"Content-Encoding: gzip"),
    "encoded as deflate": body(b"{}", b"Content-Encoding: deflate"),
    "encoded as something": body(b"{}", b"Content-Encoding: " + b"x" * 5000),
    "transfer encoding that is unknown": says(OK + b"Transfer-Encoding: gzip\r\n\r\n" + BOMB),
    "no HTTP": says(b"\x16\x03\x01\x02\x00" * 100),
    "JSON without HTTP": says(b'{"PowerWatts": {"Reading": 100}}'),
    "HTTP of another time": says(b"HTTP/9.9 200 OK\r\n\r\n{}"),
    "SSH": says(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "upgrade": says(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
    "header with a control character": says(OK + b"X-A: a\x00b\r\nContent-Length: 2\r\n\r\n{}"),
    "header without a name": says(OK + b": a\r\nContent-Length: 2\r\n\r\n{}"),
}  # fmt: skip
"""What is wrong at any question, be it its status, headers or body."""

CONTENT: dict[str, Attacker] = {
    "HTML": body(b"<html><body>Log in</body></html>", b"Content-Type: text/html"),
    "nothing": body(b""),
    "half of it": body(b'{"Links": {"Sess'),
    "nested deeply": body(DEEP),
    "a number without end": body(b'{"a": 1e999, "Links": {}}'),
    "no number": body(b'{"a": NaN}'),
    "a list": body(b"[]"),
    "a word": body(b'"PowerWatts"'),
    "null": body(b"null"),
    "another alphabet": body(json.dumps({"a": 1}).encode("utf-16")),
    "no text": body(bytes(range(256))),
    "digits without end": body(b'{"a": ' + b"9" * 100_000 + b"}"),
    "redirected elsewhere": body(b"", b"Location: http://192.0.2.1/redfish/v1", status=b"307 Go"),
    "redirected to itself": body(b"", b"Location: /redfish/v1/", status=b"301 Go"),
    "redirected to no address": body(b"", b"Location: http://[::1", status=b"302 Go"),
    "redirected far": body(b"", b"Location: /" + b"a" * 50_000, status=b"303 Go"),
    "redirected without a place": body(b"", status=b"308 Go"),
    "status 999": body(b"{}", status=b"999 Odd"),
    "status 500": body(b"{}", status=b"500 Error"),
    "not allowed": body(b"{}", status=b"403 No"),
    "not known": body(b"{}", status=b"401 No"),
}
"""What is wrong in an answer of HTTP that is whole."""


LONG = (
    "interim answers without end",
    "continue without end",
    "chunks without end",
    "a million chunks of a byte",
)
"""Floods of small pieces, which take seconds to reach the limit of size: it or the deadline ends
them, as the machine is fast or slow."""
TOO_LARGE = (
    "interim answers with much in them",
    "body without end",
    "body of 4 GB",
    "chunk of 2**64 bytes",
)
ENCODED = ("encoded twice", "encoded once", "encoded as deflate", "encoded as something")
VERSION = ("HTTP of another time",)


def deadline_s(name: str) -> float:
    """Return a deadline that ends an attack which nothing else would end, and no other."""
    waits = any(word in name for word in ("silence", "trickle", "does not come"))
    return WITHIN_S if waits or name in LONG else 60.0


def codes(name: str) -> tuple[str, ...]:
    if name in LONG:
        return "meter-answer", "meter-unreachable"
    if name in ("not allowed", "not known"):
        return ("meter-refused",)
    answered = name in CONTENT or name in (*TOO_LARGE, *ENCODED, *VERSION)
    return ("meter-answer",) if answered else ("meter-unreachable",)


def refused(bmc: HostileBmc, answer_s: float) -> ThoraxError:
    with pytest.raises(ThoraxError) as error:
        Redfish(f"http://{bmc.host}", ACCOUNT, answer_s=answer_s)
    return error.value


def check(error: ThoraxError, bmc: HostileBmc, name: str) -> None:
    assert error.code in codes(name)
    assert bmc.attacks >= 1
    assert error.exit_code == 6
    assert len(error.message) < 600
    assert error.message.isprintable()
    assert bmc.sent < MOST_SENT


@pytest.mark.parametrize("name", [*WIRE, *CONTENT])
def test_a_service_that_attacks_at_once_is_refused(name: str) -> None:
    with HostileBmc({**WIRE, **CONTENT}[name]) as bmc:
        check(refused(bmc, deadline_s(name)), bmc, name)


@pytest.mark.parametrize("name", WIRE)
def test_a_log_in_that_attacks_is_refused(name: str) -> None:
    with HostileBmc(WIRE[name], "POST", SESSIONS) as bmc:
        check(refused(bmc, deadline_s(name)), bmc, name)


@pytest.mark.parametrize("name", [*WIRE, *CONTENT])
def test_a_reading_that_attacks_is_refused_and_the_meter_closes(name: str) -> None:
    calm = threading.Event()
    attack = {**WIRE, **CONTENT}[name]

    def later(on: Attack) -> None:
        if calm.is_set():
            attack(on)
        else:
            body(b'{"PowerWatts": {"Reading": 212.5}}')(on)

    with (
        HostileBmc(later, path=f"{CHASSIS}/EnvironmentMetrics") as bmc,
        closing(Redfish(f"http://{bmc.host}", ACCOUNT, answer_s=60)) as meter,
    ):
        calm.set()
        meter._answer_s = deadline_s(name)
        with pytest.raises(ThoraxError) as error:
            meter.read()
        check(error.value, bmc, name)


@pytest.mark.parametrize("name", [*WIRE, *CONTENT])
def test_a_session_whose_end_attacks_ends(name: str) -> None:
    with HostileBmc({**WIRE, **CONTENT}[name], "DELETE", f"{SESSIONS}/token-1") as bmc:
        meter = Redfish(f"http://{bmc.host}", ACCOUNT, answer_s=60)
        meter._answer_s = deadline_s(name)
        meter.close()
        assert bmc.attacks <= 1
        assert bmc.sent < MOST_SENT
        meter.close()


@pytest.mark.parametrize("name", ["silence", "closes at once", "no HTTP", "body that trickles"])
def test_a_handshake_that_attacks_is_refused(name: str) -> None:
    with HostileBmc(WIRE[name], "") as bmc:
        with pytest.raises(ThoraxError) as error:
            Redfish(f"https://{bmc.host}", ACCOUNT, answer_s=deadline_s(name))
        check(error.value, bmc, name)


def test_a_handshake_that_trickles_is_given_up() -> None:
    # A record of 16 kB of the handshake, of which a byte comes now and then.
    attack = then(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", Attack.trickle, b"\x00")
    with HostileBmc(attack, "") as bmc:
        with pytest.raises(ThoraxError) as error:
            Redfish(f"https://{bmc.host}", ACCOUNT, answer_s=WITHIN_S)
        check(error.value, bmc, "silence")


RESOURCES: dict[str, tuple[str, object]] = {
    "members without end": ("Chassis", {"Members": [link(f"/c/{n}") for n in range(50_000)]}),
    "one member many times": ("Chassis", {"Members": [link("/redfish/v1/Chassis")] * 50_000}),
    "a collection of itself": ("Chassis", {"Members": [link("/redfish/v1/Chassis")]}),
    "members that are no links": ("Chassis", {"Members": [1, None, "x"]}),
    "members that are no list": ("Chassis", {"Members": {"a": 1}}),
    "no members": ("Chassis", {}),
    "a link elsewhere": ("Chassis", {"Members": [link("http://192.0.2.1/x")]}),
    "a link beside": ("Chassis", {"Members": [link("//192.0.2.1/x")]}),
    "a link with a line end": ("Chassis", {"Members": [link("/x\r\nHost: evil")]}),
    "a link of a million letters": ("Chassis", {"Members": [link("/" + "x" * 1_000_000)]}),
    "a link of other letters": ("Chassis", {"Members": [link("/\u202e\x1b[31m\u00e9")]}),
    "watts that are a word": ("Chassis/1/EnvironmentMetrics", {"PowerWatts": {"Reading": "5"}}),
    "watts that are a list": ("Chassis/1/EnvironmentMetrics", {"PowerWatts": {"Reading": [5]}}),
    "watts that are true": ("Chassis/1/EnvironmentMetrics", {"PowerWatts": {"Reading": True}}),
    "watts below 0": ("Chassis/1/EnvironmentMetrics", {"PowerWatts": {"Reading": -1}}),
    "watts of 10**400": ("Chassis/1/EnvironmentMetrics", {"PowerWatts": {"Reading": 10**400}}),
}


@pytest.mark.parametrize("name", RESOURCES)
def test_resources_that_mislead_lead_nowhere(name: str) -> None:
    where, resource = RESOURCES[name]
    attack = body(json.dumps(resource).encode())
    with HostileBmc(attack, path=f"/redfish/v1/{where}") as bmc:
        error = refused(bmc, 60.0)
    assert error.code in ("meter-answer", "meter-absent")
    assert len(error.message) < 600
    assert error.message.isprintable()
    # Nothing is asked again and again.
    assert bmc.attacks <= 3


SENTINELS = [32767, 65534, 65535, 65535.0, 2**31 - 1, 2**32 - 2, 2**32 - 1, 2**64 - 1]


def serve(path: str, resource: object) -> HostileBmc:
    return HostileBmc(body(json.dumps(resource).encode()), path=f"/redfish/v1/Chassis/1{path}")


@pytest.mark.parametrize("value", SENTINELS)
@pytest.mark.parametrize("unit", ["PowerWatts", "EnergyJoules", "EnergykWh"])
def test_a_sentinel_is_no_figure_at_the_start(unit: str, value: float) -> None:
    # The old resource, which is there too, has one as well.
    with serve("/EnvironmentMetrics", {unit: {"Reading": value}}) as bmc:
        tree = bmc._calm.tree

        def without() -> dict[str, dict[str, object]]:
            found = tree()
            found.pop(f"{CHASSIS}/Power")
            return found

        bmc._calm.tree = without
        error = refused(bmc, 30.0)
    assert error.code == "meter-absent"


@pytest.mark.parametrize("value", SENTINELS)
def test_a_sentinel_later_is_an_error(value: float) -> None:
    now: dict[str, float] = {"value": 200.0}

    def attack(on: Attack) -> None:
        body(json.dumps({"PowerWatts": {"Reading": now["value"]}}).encode())(on)

    with (
        HostileBmc(attack, path=f"{CHASSIS}/EnvironmentMetrics") as bmc,
        closing(Redfish(f"http://{bmc.host}", ACCOUNT, answer_s=30)) as meter,
    ):
        now["value"] = value
        with pytest.raises(ThoraxError) as error:
            meter.read()
        assert error.value.code == "meter-answer"
        assert "do not know" in error.value.message
        now["value"] = 201.0
        assert meter.read()[0].values == (201.0,)


CEILINGS: dict[str, tuple[str, Callable[[float], object], float]] = {
    "of the sensor": (
        "/EnvironmentMetrics",
        lambda watts: {"PowerWatts": {"Reading": watts, "ReadingRangeMax": 800}},
        800,
    ),
    "of the supplies": (
        "/Power",
        lambda watts: {"PowerControl": [{"PowerConsumedWatts": watts, "PowerCapacityWatts": 800}]},
        1000,
    ),
    "that is no ceiling": (
        "/Power",
        lambda watts: {"PowerControl": [{"PowerConsumedWatts": watts, "PowerCapacityWatts": 0}]},
        1_000_000,
    ),
}


@pytest.mark.parametrize("name", CEILINGS)
def test_watts_above_the_ceiling_of_a_board_are_not_believed(name: str) -> None:
    path, resource, most_w = CEILINGS[name]
    now = {"value": 200.0}

    def attack(on: Attack) -> None:
        body(json.dumps(resource(now["value"])).encode())(on)

    with HostileBmc(attack, path=f"{CHASSIS}{path}") as bmc:
        if path == "/Power":
            tree = bmc._calm.tree

            def without() -> dict[str, dict[str, object]]:
                found = tree()
                found[CHASSIS].pop("EnvironmentMetrics")
                return found

            bmc._calm.tree = without
        with closing(Redfish(f"http://{bmc.host}", ACCOUNT, answer_s=30)) as meter:
            now["value"] = most_w
            assert meter.read()[0].values == (most_w,)
            now["value"] = most_w + 1
            with pytest.raises(ThoraxError) as error:
                meter.read()
            assert error.value.code == "meter-answer"
            assert "the most that it can draw" in error.value.message


@pytest.mark.parametrize("content", ["fifo", "zero", "folder", "empty", "words", "missing"])
def test_a_file_of_certificates_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "ca.pem"
    match content:
        case "fifo":
            os.mkfifo(file)
        case "zero":
            file = Path("/dev/zero")
        case "folder":
            file = tmp_path
        case "empty":
            file.write_bytes(b"")
        case "words":
            file.write_bytes(b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n")
    with pytest.raises(ThoraxError) as error:
        Redfish("https://127.0.0.1:1", Account("reader", "secret", file))
    assert error.value.code == "power-ca"


def test_a_file_of_certificates_may_hold_words_between_them(tmp_path: Path) -> None:
    signed, _ = certificate(tmp_path)
    file = tmp_path / "ca.pem"
    file.write_bytes("# Straße\n".encode() + signed.read_bytes() * 2)
    with pytest.raises(ThoraxError) as error:
        Redfish("https://127.0.0.1:1", Account("reader", "secret", file))
    assert error.value.code == "meter-unreachable"
