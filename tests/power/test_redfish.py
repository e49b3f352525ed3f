"""Redfish against real servers: sessions, TLS, what BMCs answer wrongly, and what is never done."""

import itertools
import json
import logging
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.power.bmc import CHASSIS, RedfishBmc, Resources, certificate, link, redfish_tree

from thorax.errors import DeviceError, PeerError, ThoraxError, UsageError
from thorax.power import redfish
from thorax.power.meters import Access, open_meter
from thorax.power.redfish import Account, Redfish, split_user
from thorax.power.sampler import Sampler

READER = {"reader": "secret"}
ACCOUNT = Account("reader", "secret", insecure=True)
METRICS = f"{CHASSIS}/EnvironmentMetrics"


@pytest.fixture
def bmc() -> Iterator[RedfishBmc]:
    with RedfishBmc(redfish_tree("environment", lambda: 212.5), users=dict(READER)) as server:
        yield server


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"))


def changed(kind: str, change: Callable[[Resources], None]) -> Callable[[], Resources]:
    def tree() -> Resources:
        found = redfish_tree(kind, lambda: 200.0)()
        change(found)
        return found

    return tree


def refusal(tree: Callable[[], Resources], **options: Any) -> ThoraxError:  # noqa: ANN401
    with RedfishBmc(tree) as server, pytest.raises(ThoraxError) as refused:
        Redfish(server.url, **options)
    return refused.value


def test_watts_that_change_are_followed_and_their_energy_is_right() -> None:
    # A BMC whose watts rise by 100 a second: the energy of a window is known in closed form.
    begin_s = time.perf_counter()
    tree = redfish_tree("environment", lambda: 100 * (time.perf_counter() - begin_s))
    with (
        RedfishBmc(tree, users=dict(READER)) as server,
        closing(Redfish(server.url, ACCOUNT)) as meter,
        Sampler(meter, 0.02) as sampler,
    ):
        a = time.perf_counter()
        while len(sampler.readings) < 15:
            sampler.wait(0.005)
        b = time.perf_counter()
    energy = sampler.energy(a, b).energy_j
    wanted = 50 * ((b - begin_s) ** 2 - (a - begin_s) ** 2)
    # A reading is of some moment within its question.
    steps_s = [y.at_s - x.at_s for x, y in itertools.pairwise(sampler.readings)]
    assert energy == pytest.approx(wanted, abs=100 * max(steps_s) * (b - a))


def test_a_session_is_made_once_used_by_its_token_and_ended(bmc: RedfishBmc) -> None:
    with closing(Redfish(bmc.url, ACCOUNT)) as meter:
        assert meter.source == "redfish: EnvironmentMetrics 1 of 127.0.0.1"
        assert meter.read()[0].values == (212.5,)
        assert len(bmc.tokens) == 1
    assert bmc.made == 1
    assert not bmc.tokens
    method, path, _ = bmc.asked[-1]
    assert (method, path) == ("DELETE", "/redfish/v1/SessionService/Sessions/token-1")
    assert all("Authorization" not in headers for _, _, headers in bmc.asked)
    # The root is open to all, and asked before anybody is known.
    assert "X-Auth-Token" not in bmc.asked[0][2]


def test_a_session_that_has_run_out_is_renewed_once(bmc: RedfishBmc) -> None:
    with closing(Redfish(bmc.url, ACCOUNT)) as meter:
        bmc.tokens.clear()
        assert meter.read()[0].values == (212.5,)
        assert bmc.made == 2
        bmc.answer[METRICS] = (401, {}, b"{}")
        with pytest.raises(PeerError) as refused:
            meter.read()
        assert refused.value.code == "meter-refused"
        assert bmc.made == 3


def test_a_wrong_password_is_asked_once_and_told(bmc: RedfishBmc) -> None:
    with pytest.raises(PeerError) as refused:
        Redfish(bmc.url, Account("reader", "wrong", insecure=True))
    assert refused.value.code == "meter-refused"
    assert "'reader'" in refused.value.message
    assert "wrong" not in refused.value.message
    assert sum(method == "POST" for method, _, _ in bmc.asked) == 1


def test_a_password_that_is_withdrawn_in_mid_run_ends_the_sampling(bmc: RedfishBmc) -> None:
    with closing(Redfish(bmc.url, ACCOUNT)) as meter, Sampler(meter, 0.01) as sampler:
        begin_s = time.perf_counter()
        assert bmc.users is not None
        bmc.users.clear()
        bmc.tokens.clear()
        assert sampler.wait(60)
    # One question and one log-in: more could lock the account.
    assert sum(method == "POST" for method, _, _ in bmc.asked) == 2
    energy = sampler.energy(begin_s, time.perf_counter())
    assert energy.energy_j is None
    assert "refuses the user" in str(energy.error)


def test_nobody_is_let_in_without_a_name(bmc: RedfishBmc) -> None:
    with pytest.raises(PeerError) as refused:
        Redfish(bmc.url)
    assert refused.value.code == "meter-refused"
    assert "gives no name" in refused.value.message


def test_basic_authentication_only_where_there_is_no_session_service() -> None:
    tree = redfish_tree("environment", lambda: 99.0)
    with RedfishBmc(tree, users=dict(READER), sessions=False) as server:
        with closing(Redfish(server.url, ACCOUNT)) as meter:
            assert meter.read()[0].values == (99.0,)
        assert all(method == "GET" for method, _, _ in server.asked)
        assert "Authorization" not in server.asked[0][2]
        assert "Authorization" in server.asked[-1][2]
        with pytest.raises(PeerError) as refused:
            Redfish(server.url, Account("reader", "wrong", insecure=True))
    assert refused.value.code == "meter-refused"


def test_a_bmc_is_known_by_its_certificate(signed: tuple[Path, Path], tmp_path: Path) -> None:
    tree = redfish_tree("environment", lambda: 77.0)
    with RedfishBmc(tree, users=dict(READER), certificate=signed) as server:
        with closing(Redfish(server.url, Account("reader", "secret", signed[0]))) as meter:
            assert meter.read()[0].values == (77.0,)
        with closing(Redfish(server.url, ACCOUNT)) as meter:
            assert meter.read()[0].values == (77.0,)
        asked = len(server.asked)
        with pytest.raises(PeerError) as unknown:
            Redfish(server.url, Account("reader", "secret"))
        assert unknown.value.code == "meter-unreachable"
        assert "--power-ca" in unknown.value.message
        assert len(server.asked) == asked
    for content in (b"", b"no certificate"):
        file = tmp_path / "ca.pem"
        file.write_bytes(content)
        with pytest.raises(UsageError) as refused:
            Redfish("https://127.0.0.1:1", Account("reader", "secret", file))
        assert refused.value.code == "power-ca"


def test_a_password_goes_over_no_open_line_unless_wanted(bmc: RedfishBmc) -> None:
    with pytest.raises(UsageError) as refused:
        Redfish(bmc.url, Account("reader", "secret"))
    assert refused.value.code == "power-spec"
    assert not bmc.asked


def test_the_new_resource_is_read_before_the_old_one(bmc: RedfishBmc) -> None:
    # The old one of this server says 1 W.
    with closing(Redfish(bmc.url, ACCOUNT)) as meter:
        assert meter.read()[0].values == (212.5,)
    assert not any(path.endswith("/Power") for _, path, _ in bmc.asked)


def test_of_the_old_resource_the_first_member_is_the_whole() -> None:
    tree = redfish_tree("power", lambda: 300.0)
    with RedfishBmc(tree) as server, closing(Redfish(server.url)) as meter:
        assert meter.source.startswith("redfish: Power (deprecated) 1")
        assert [(one.name, one.counted) for one in meter.channels] == [
            ("system", True),
            ("CPU Sub-system Power", False),
        ]
        assert meter.read()[0].values == (300.0, 40.0)


@pytest.mark.parametrize("kind", ["environment", "subsystem", "power"])
def test_0_w_is_no_power_at_the_start_and_an_error_later(kind: str) -> None:
    now = {"value": 0.0}
    plain = redfish_tree(kind, lambda: now["value"])

    def alone() -> Resources:
        found = plain()
        if kind == "environment":
            # Neither the old resource nor the counter is to step in.
            found[CHASSIS].pop("Power")
            found[METRICS].pop("EnergykWh")
        return found

    absent = refusal(alone)
    assert absent.code == "meter-absent"
    assert "power above 0" in absent.message
    now["value"] = 200.0
    with RedfishBmc(alone) as server, closing(Redfish(server.url)) as meter:
        now["value"] = 0.0
        with pytest.raises(PeerError) as refused:
            meter.read()
    assert refused.value.code == "meter-answer"
    assert "tells 0 W" in refused.value.message


def test_a_counter_of_energy_that_goes_back_is_refused() -> None:
    now = {"value": 7200.0}
    tree = redfish_tree("joules", lambda: now["value"])
    with RedfishBmc(tree) as server, closing(Redfish(server.url)) as meter:
        now["value"] = 9000.0
        assert meter.read()[0].values == (1800.0,)
        now["value"] = 8000.0
        with pytest.raises(PeerError) as refused:
            meter.read()
    assert refused.value.code == "meter-answer"
    assert "went back" in refused.value.message


def test_two_supplies_of_one_name_are_both_in_the_sum() -> None:
    def change(found: Resources) -> None:
        for resource in found.values():
            if "Metrics" in resource:
                resource["Id"] = "Bay"

    with (
        RedfishBmc(changed("subsystem", change)) as server,
        closing(Redfish(server.url)) as meter,
    ):
        assert [one.name for one in meter.channels] == ["supply Bay", "supply Bay #2"]
        assert sum(meter.read()[0].values) == 200.0


@pytest.mark.parametrize("url", ["https://127.0.0.1:x", "https://[::1", "https://h:99999"])
def test_what_is_no_host_or_port_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        Redfish(url)
    assert refused.value.code == "power-spec"


def test_the_authorities_of_the_system_are_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    made = ssl.create_default_context()

    def create(**options: object) -> ssl.SSLContext:
        asked.append(options.get("cafile"))
        return made

    monkeypatch.setattr(ssl, "create_default_context", create)
    assert redfish._trust(Account()) is made
    assert asked == [None]
    assert redfish._trust(Account(insecure=True)) is False


def test_a_supply_that_tells_no_watts_sends_one_on_to_the_next_way() -> None:
    def change(found: Resources) -> None:
        where = f"{CHASSIS}/PowerSubsystem/PowerSupplies/Bay2"
        found[f"{where}/Metrics"]["InputPowerWatts"]["Reading"] = None
        found.update(
            (path, value)
            for path, value in redfish_tree("power", lambda: 50.0)().items()
            if path.endswith("/Power")
        )
        found[CHASSIS]["Power"] = link(f"{CHASSIS}/Power")

    tree = changed("subsystem", change)
    with RedfishBmc(tree) as server, closing(Redfish(server.url)) as meter:
        assert meter.read()[0].values[0] == 50.0


def test_what_is_linked_and_not_there_is_passed_over() -> None:
    def change(found: Resources) -> None:
        del found[METRICS]

    tree = changed("environment", change)
    with RedfishBmc(tree) as server, closing(Redfish(server.url)) as meter:
        assert "Power (deprecated)" in meter.source


def test_several_chassis_with_power_are_to_be_chosen_from() -> None:
    def change(found: Resources) -> None:
        other = "/redfish/v1/Chassis/Sled2"
        found["/redfish/v1/Chassis"]["Members"].append(link(other))
        found[other] = {"Id": "Sled2", "EnvironmentMetrics": link(f"{other}/EnvironmentMetrics")}
        found[f"{other}/EnvironmentMetrics"] = {"PowerWatts": {"Reading": 33}}
        found["/redfish/v1/Chassis"]["Members"].append(link("/redfish/v1/Chassis/Shelf"))
        found["/redfish/v1/Chassis/Shelf"] = {"Id": "Shelf"}

    tree = changed("environment", change)
    error = refusal(tree)
    assert isinstance(error, UsageError)
    assert f"{CHASSIS}, /redfish/v1/Chassis/Sled2" in error.message
    with RedfishBmc(tree) as server:
        with closing(Redfish(f"{server.url}/redfish/v1/Chassis/Sled2/")) as meter:
            assert meter.read()[0].values == (33.0,)
        with pytest.raises(DeviceError) as absent:
            Redfish(f"{server.url}/redfish/v1/Chassis/Shelf")
    assert absent.value.code == "meter-absent"


def test_a_service_without_any_power_is_told() -> None:
    error = refusal(redfish_tree("nothing", lambda: None))
    assert (type(error), error.code) == (DeviceError, "meter-absent")


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/redfish",
        "//evil.example/x",
        "https://127.0.0.1:1/x",
        "relative",
        5,
        None,
    ],
)
def test_a_link_to_another_host_is_never_followed(target: object) -> None:
    def change(found: Resources) -> None:
        found[CHASSIS]["EnvironmentMetrics"] = {"@odata.id": target}

    error = refusal(changed("environment", change))
    assert error.code == "meter-answer"
    assert "path of the same host" in error.message


def test_a_redirection_is_followed_on_the_same_host_and_to_no_other(bmc: RedfishBmc) -> None:
    with RedfishBmc(redfish_tree("environment", lambda: 1.0)) as other:
        with closing(Redfish(bmc.url, ACCOUNT)) as meter:
            bmc.answer[METRICS] = (307, {"Location": f"{METRICS}2"}, b"")
            bmc.answer[f"{METRICS}2"] = (200, {}, b'{"PowerWatts": {"Reading": 42}}')
            assert meter.read()[0].values == (42.0,)
            bmc.answer[f"{METRICS}2"] = (307, {"Location": METRICS}, b"")
            with pytest.raises(PeerError, match="status 307"):
                meter.read()
            bmc.answer[METRICS] = (307, {"Location": f"{other.url}{METRICS}"}, b"")
            with pytest.raises(PeerError, match="status 307"):
                meter.read()
        assert not other.asked


BROKEN = [
    (200, b"", "not JSON"),
    (200, b"<html>", "not JSON"),
    (200, b"\xff\xfe\x00", "not JSON"),
    (200, b"[]", "no JSON object"),
    (200, b"[" * 100_000, "not JSON"),
    (200, b'{"PowerWatts": {"Reading": null}}', "null"),
    (200, b'{"PowerWatts": null}', "null"),
    (200, b"{}", "null"),
    (200, b'{"PowerWatts": {"Reading": "212"}}', "no number"),
    (200, b'{"PowerWatts": {"Reading": true}}', "no number"),
    (200, b'{"PowerWatts": {"Reading": -1}}', "0 or more"),
    (200, b'{"PowerWatts": {"Reading": NaN}}', "not JSON"),
    (200, b'{"PowerWatts": {"Reading": 1e999}}', "not JSON"),
    (200, b'{"PowerWatts": {"Reading": 1' + b"0" * 400 + b"}}", "0 or more"),
    (200, b" " * (5 << 20), "larger than"),
    (500, b"{}", "status 500"),
    (503, b"", "status 503"),
    (204, b"", "status 204"),
]


@pytest.mark.parametrize(("status", "content", "why"), BROKEN)
def test_an_answer_that_is_none_is_told_and_the_next_one_read(
    bmc: RedfishBmc, status: int, content: bytes, why: str
) -> None:
    with closing(Redfish(bmc.url, ACCOUNT)) as meter:
        bmc.answer[METRICS] = (status, {}, content)
        with pytest.raises(PeerError) as refused:
            meter.read()
        assert refused.value.code == "meter-answer"
        assert why in refused.value.message
        assert len(refused.value.message) < 400
        bmc.answer.clear()
        assert meter.read()[0].values == (212.5,)


def test_a_null_at_the_start_is_no_power_and_one_later_is_an_error() -> None:
    error = refusal(redfish_tree("energy", lambda: None))
    assert error.code == "meter-absent"


def test_a_server_that_trickles_is_given_up_in_time(bmc: RedfishBmc) -> None:
    with closing(Redfish(bmc.url, ACCOUNT, answer_s=1.0)) as meter:
        bmc.stall = threading.Event()
        begin_s = time.perf_counter()
        with pytest.raises(PeerError) as late:
            meter.read()
        assert late.value.code == "meter-unreachable"
        bmc.stall.set()
        assert time.perf_counter() - begin_s < 20


def test_a_log_in_without_a_token_and_one_that_fails_are_told(bmc: RedfishBmc) -> None:
    where = "/redfish/v1/SessionService/Sessions"
    for status, code in ((201, "meter-answer"), (500, "meter-answer"), (403, "meter-refused")):
        bmc.answer[where] = (status, {}, b"{}")
        with pytest.raises(PeerError) as refused:
            Redfish(bmc.url, ACCOUNT)
        assert refused.value.code == code


def test_nobody_at_the_address_is_told() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(PeerError) as refused:
        Redfish(f"http://127.0.0.1:{port}")
    assert refused.value.code == "meter-unreachable"
    assert "in reach" in refused.value.message


def test_a_server_that_stops_in_mid_run_is_told(bmc: RedfishBmc) -> None:
    with RedfishBmc(redfish_tree("environment", lambda: 5.0), users=dict(READER)) as server:
        meter = Redfish(server.url, ACCOUNT)
        server.answer[METRICS] = (200, {"Connection": "close"}, b'{"PowerWatts": {"Reading": 5}}')
        meter.read()
    with pytest.raises(PeerError) as refused:
        meter.read()
    assert refused.value.code == "meter-unreachable"
    # The session cannot be ended any more, which is no error.
    meter.close()


def test_no_proxy_or_netrc_of_the_environment_sees_the_password(
    bmc: RedfishBmc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password word\n", "utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with closing(Redfish(bmc.url, ACCOUNT)) as meter:
        assert meter.read()[0].values == (212.5,)
    assert all("Authorization" not in headers for _, _, headers in bmc.asked)


def test_the_password_is_shown_nowhere(bmc: RedfishBmc, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with closing(Redfish(bmc.url, ACCOUNT)) as meter:
        meter.read()
        assert "secret" not in f"{ACCOUNT!r} {meter!r} {meter.source}"
    assert "secret" not in caplog.text
    assert "token-1" not in caplog.text.replace("Sessions/token-1", "")


def test_a_user_stands_before_the_host_and_escaped_where_need_be() -> None:
    assert split_user("https://bmc/redfish/v1/Chassis/1") == (
        None, "https://bmc/redfish/v1/Chassis/1",
    )  # fmt: skip
    assert split_user("https://a%40b@bmc:8443") == ("a@b", "https://bmc:8443")
    assert split_user("https://a@[::1]:8443/x") == ("a", "https://[::1]:8443/x")


def mock_up(folder: Path, tree: Resources) -> None:
    """Write resources as `sushy-static` wants them: a folder a resource, an index.json in each."""
    for path, resource in tree.items():
        place = folder / path.removeprefix("/redfish/v1").lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        (place / "index.json").write_text(json.dumps(resource), "utf-8")


@pytest.fixture
def sushy(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Return what starts the static emulator of sushy-tools on resources, and gives its address."""
    program = Path(sys.executable).with_name("sushy-static")
    if not program.is_file():
        pytest.skip("sushy-tools is not installed")
    running: list[subprocess.Popen[bytes]] = []

    def start(tree: Resources, *options: str) -> str:
        folder = tmp_path / f"mock-up-{len(running)}"
        mock_up(folder, tree)
        for _ in range(5):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            words = [str(program), "-i", "127.0.0.1", "-p", str(port), "-m", str(folder), *options]
            peer = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            running.append(peer)
            while peer.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    return f"127.0.0.1:{port}"
                except OSError:
                    time.sleep(0.02)
        pytest.fail("sushy-static does not start")

    yield start
    for peer in running:
        peer.terminate()
        peer.wait()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("environment", "EnvironmentMetrics"),
        ("subsystem", "PowerSubsystem"),
        ("power", "Power (deprecated)"),
    ],
)
def test_the_emulator_of_sushy_tools_is_read(
    sushy: Callable[..., str], kind: str, says: str
) -> None:
    tree = redfish_tree(kind, lambda: 321.0)()
    # It answers GET alone, so that its service has no sessions.
    del tree["/redfish/v1"]["Links"]
    host = sushy(tree)
    access = Access(lambda account: "secret", insecure=True)
    with closing(open_meter(f"redfish:http://reader@{host}", access)) as meter:
        assert says in meter.source
        counted = [place for place, one in enumerate(meter.channels) if one.counted]
        (reading,) = meter.read()
        assert sum(reading.values[place] for place in counted) == 321.0


def test_the_emulator_with_a_session_service_that_gives_no_token_is_told(
    sushy: Callable[..., str],
) -> None:
    host = sushy(redfish_tree("environment", lambda: 1.0)())
    with pytest.raises(PeerError) as refused:
        Redfish(f"http://{host}", ACCOUNT)
    assert "no X-Auth-Token" in refused.value.message


def test_the_emulator_over_tls_is_read_with_its_certificate(
    sushy: Callable[..., str], signed: tuple[Path, Path]
) -> None:
    tree = redfish_tree("environment", lambda: 55.0)()
    host = sushy(tree, "-c", str(signed[0]), "-k", str(signed[1]))
    with closing(open_meter(f"redfish:https://{host}", Access(ca=signed[0]))) as meter:
        assert meter.read()[0].values == (55.0,)
