"""Programming is kept: durably, whole, and by several programs at once."""

import json
import os
import pwd
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import typed

from thorax.errors import DataError, DeviceError, ThoraxError, UsageError
from thorax.fpga import card as cards_module
from thorax.fpga.card import CARDS, erase, find_card, list_cards, program, state_path, verify

RESNET = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
FP16 = "2020-4_RC_FP16_ResNet_YoloV3"


def loaded(state: Path) -> list[str | None]:
    return [card.bitstream.name if card.bitstream else None for card in list_cards(state)]


def test_cards_come_unprogrammed_and_keep_what_they_are_given(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "fpga.json"
    assert loaded(state) == [None] * 4
    assert not state.parent.exists(), "looking writes nothing"
    (made,) = program("FPGA.1", RESNET, state=state)
    assert list_cards(state)[1] == made
    assert loaded(state) == [None, RESNET, None, None]
    assert made.full_name == f"Intel PAC with Arria 10 GX (simulated), {RESNET}"
    assert made.status().simulated
    assert made.programmed is not None
    assert datetime.fromisoformat(made.programmed).utcoffset() is not None


def test_all_are_programmed_and_erased_at_once(tmp_path: Path) -> None:
    state = tmp_path / "fpga.json"
    assert [card.name for card in program("all", f"{RESNET}.aocx", state=state)] == list(CARDS)
    program("FPGA.2", FP16, state=state)
    assert loaded(state) == [RESNET, RESNET, FP16, RESNET]
    erase("FPGA.0", state=state)
    assert loaded(state) == [None, RESNET, FP16, RESNET]
    erase("all", state=state)
    assert loaded(state) == [None] * 4


def test_fpga_alone_is_the_first_card(tmp_path: Path) -> None:
    program("FPGA", RESNET, state=tmp_path / "fpga.json")
    assert loaded(tmp_path / "fpga.json") == [RESNET, None, None, None]
    assert find_card("FPGA", tmp_path / "fpga.json").name == "FPGA.0"


def test_a_card_can_be_made_another_board_and_stays_one(tmp_path: Path) -> None:
    state = tmp_path / "fpga.json"
    program("FPGA.0", "5-0_PL1_FP11_ResNet", board="mustang-sg1", state=state)
    assert find_card("FPGA.0", state).board.name == "mustang-sg1"
    erase("FPGA.0", state=state)
    assert find_card("FPGA.0", state).board.name == "mustang-sg1"
    program("FPGA.0", "2019R4_PL1_FP11_ResNet_VGG", state=state)


@pytest.mark.parametrize(
    ("words", "kind", "code"),
    [
        (("FPGA.4", RESNET, None), DeviceError, "fpga-card"),
        (("FPGA.0", "ResNet", None), UsageError, "fpga-bitstream"),
        (("FPGA.0", RESNET, "pac"), UsageError, "fpga-board"),
        (("FPGA.0", RESNET, "mustang-sg1"), UsageError, "fpga-board-bitstream"),
        (("FPGA.0", "5-0_PL1_FP11_ResNet", None), UsageError, "fpga-board-bitstream"),
        (("FPGA.0", RESNET, "n6001"), UsageError, "fpga-board-bitstream"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    tmp_path: Path, words: tuple[str, str, str | None], kind: type[ThoraxError], code: str
) -> None:
    state = tmp_path / "fpga.json"
    program("all", FP16, state=state)
    before = state.read_bytes()
    name, bitstream, board = words
    with pytest.raises(kind, match=f"^{code}: "):
        program(name, bitstream, board=board, state=state)
    assert state.read_bytes() == before


def test_a_bitstream_of_another_board_is_answered_with_those_that_fit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=RESNET):
        program("FPGA.0", "2019R4_PL1_FP11_ResNet_VGG", state=tmp_path / "fpga.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"cards": {"FPGA.0": {"board": "pac"}}}',
        '{"cards": {"FPGA.0": {"board": "pac-a10", "bitstream": "gone"}}}',
        '{"cards": {"FPGA.0": {"board": "pac-a10", "colour": "blue"}}}',
        '{"cards": {"FPGA.9": {"board": "pac-a10"}}}',
        f'{{"cards": {{"FPGA.0": {{"board": "mustang-sg1", "bitstream": "{RESNET}"}}}}}}',
    ],
)
def test_a_damaged_state_file_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    state = tmp_path / "fpga.json"
    state.write_text(text)
    for action in (
        lambda: list_cards(state),
        lambda: find_card("FPGA.0", state),
        lambda: program("FPGA.0", RESNET, state=state),
        lambda: erase("all", state=state),
    ):
        with pytest.raises(DataError, match=r"^fpga-state: .*fpga\.json"):
            action()
    assert state.read_text() == text


def test_any_flipped_bit_of_the_state_is_found(tmp_path: Path) -> None:
    state = tmp_path / "fpga.json"
    program("FPGA.1", FP16, state=state)
    program("FPGA.3", RESNET, state=state)
    whole = state.read_bytes()
    assert verify(state) == 2
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        state.write_bytes(damaged)
        with pytest.raises(DataError, match=r"^fpga-state: .* is damaged"):
            verify(state)


def test_every_cut_of_the_state_is_found(tmp_path: Path) -> None:
    state = tmp_path / "fpga.json"
    program("all", RESNET, state=state)
    whole = state.read_bytes()
    for length in range(len(whole) - 1):
        state.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"^fpga-state: .* is damaged"):
            list_cards(state)


def test_the_state_of_an_older_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    state = tmp_path / "fpga.json"
    entry = {"board": "pac-a10", "bitstream": RESNET, "programmed": "2026-01-01T00:00:00+00:00"}
    state.write_text(json.dumps({"cards": {"FPGA.0": entry}}))
    with pytest.raises(DataError, match=r"^fpga-state: .* another version; remove it"):
        list_cards(state)


def test_what_is_no_regular_file_is_no_state(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "large").write_bytes(b" " * (1 << 20))
    places = [*tmp_path.iterdir(), Path("/dev/zero")]
    for place in places:
        for action in (list_cards, verify, partial(program, "FPGA.0", RESNET)):
            with pytest.raises(DataError, match=r"^fpga-state: .* (cannot be read|is not there)"):
                action(state=place)
    assert sorted(tmp_path.iterdir()) == sorted(places[:-1]), "nothing is left beside them"


def test_a_place_that_cannot_be_written_is_said_with_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "fpga.json", Path("/proc/self/fpga.json")):
        with pytest.raises(
            ThoraxError, match=r"^fpga-state(-place)?: .* name a file by --state or a folder by XDG"
        ):
            program("FPGA.0", RESNET, state=place)
    with pytest.raises(DataError, match=r"^fpga-state: .* is not there"):
        verify(tmp_path / "missing.json")


def test_a_link_to_the_state_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    program("FPGA.0", FP16, state=tmp_path / "link.json")
    program("FPGA.1", RESNET, state=tmp_path / "real.json")
    assert (tmp_path / "link.json").is_symlink()
    assert loaded(tmp_path / "link.json")[:2] == [FP16, RESNET]


@pytest.fixture
def stranger() -> list[str]:
    """Words before a command that run it as a user of whom the system knows nothing."""
    user = next(number for number in range(60_000, 65_000) if not _is_known(number))
    ways = [
        ["unshare", "--user", f"--map-user={user}", f"--map-group={user}"],
        ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
         "--inh-caps=+dac_override", "--ambient-caps=+dac_override"],
    ]  # fmt: skip
    for words in ways:
        done = subprocess.run([*words, "id", "-u"], capture_output=True, text=True, check=False)
        if done.stdout.strip() == str(user):
            return words
    pytest.skip("neither user namespaces nor another user are allowed here")


def _is_known(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def test_who_has_no_home_has_cards_as_they_come_and_is_told_what_to_set(
    tmp_path: Path, stranger: list[str]
) -> None:
    def run(*words: object, **environment: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [*stranger, sys.executable, "-m", "thorax", *map(str, words)],
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **environment},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    status, out, err = run("fpga", "list", "--json")
    assert (status, err) == (0, "")
    assert [card["bitstream"] for card in json.loads(out)] == [None] * 4
    status, out, err = run("devices", "--json")
    assert (status, err) == (0, "")
    assert "FPGA.0" in [device["name"] for device in json.loads(out)]
    for home in ({}, {"HOME": "", "XDG_STATE_HOME": "relative"}):
        status, out, err = run("fpga", "program", "all", RESNET, **home)
        assert (status, out) == (2, "")
        assert err.startswith("thorax: fpga-state-place: ")
        assert "set XDG_STATE_HOME" in err
        assert err.count("\n") == 1
    tmp_path.chmod(0o777)
    status, _, err = run("fpga", "program", "all", RESNET, XDG_STATE_HOME=str(tmp_path))
    assert (status, err) == (0, "")
    assert loaded(tmp_path / "thorax" / "fpga.json") == [RESNET] * 4


def test_without_any_home_no_place_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(user: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert state_path() is None
    assert [card.bitstream for card in list_cards()] == [None] * 4
    for action in (partial(program, "all", RESNET), partial(erase, "all")):
        with pytest.raises(UsageError, match=r"^fpga-state-place: .* set XDG_STATE_HOME"):
            action()


def test_a_killed_programming_leaves_the_state_before_or_after_and_no_lock(
    tmp_path: Path,
) -> None:
    state = tmp_path / "fpga.json"
    program("all", FP16, state=state)
    script = f"""
import os, signal, sys
from pathlib import Path
from thorax.files import atomic
from thorax.fpga import card
count = int(sys.argv[1])
def trace(event, arguments):
    global count
    if event in ("open", "os.rename", "os.remove", "os.chmod") and "fpga.json" in str(arguments):
        count -= 1
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(trace)
card.program("all", {RESNET!r}, state=Path({str(state)!r}))
"""
    seen = set()
    for count in range(1, 40):
        done = subprocess.run([sys.executable, "-c", script, str(count)], check=False)
        now = tuple(loaded(state))
        assert now in {(FP16,) * 4, (RESNET,) * 4}
        seen.add(now)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    assert done.returncode == 0
    assert len(seen) == 2
    program("FPGA.0", FP16, state=state)
    assert [path.name for path in tmp_path.iterdir()] == ["fpga.json"]


def test_programs_at_once_lose_nothing_of_one_another(tmp_path: Path) -> None:
    state = tmp_path / "fpga.json"
    names = [(card, one) for _ in range(5) for card in CARDS for one in (FP16, RESNET)]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda pair: program(*pair, state=state), names))
    assert len(done) == len(names)
    assert None not in loaded(state)
    program("all", RESNET, state=state)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: program(name, FP16, state=state), CARDS))
    assert loaded(state) == [FP16] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["fpga.json"]


def test_a_program_that_dies_while_it_writes_leaves_the_state_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "fpga.json"
    program("all", FP16, state=state)

    def dies(path: Path, text: str) -> None:
        path.with_name(f".{path.name}.1.partial").write_text(text[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(cards_module, "write_text", dies)
    with pytest.raises(KeyboardInterrupt):
        program("all", RESNET, state=state)
    assert loaded(state) == [FP16] * 4


def test_state_is_kept_where_xdg_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_path() == tmp_path / "thorax" / "fpga.json"
    # The specification has relative paths ignored.
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_path() == tmp_path / ".local" / "state" / "thorax" / "fpga.json"


def test_the_commands_program_list_and_erase(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def document(*words: str) -> Any:  # noqa: ANN401
        status, out, err = typed(capfd, monkeypatch, "fpga", *words, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)

    made = document("program", "FPGA.3", RESNET)
    assert made["command"] == "fpga program"
    listed = document("list")
    assert listed[3] == made["cards"][0]
    assert listed[3]["simulated"] is True
    assert (listed[3]["precision"], listed[3]["power_w"]) == ("fp11", 43.0)
    assert [figure["power_w"] for figure in listed[3]["power"]] == [43.0, 50.0, 60.0]
    assert listed[0]["bitstream"] is None
    status, out, _ = typed(capfd, monkeypatch, "fpga", "list")
    assert (status, RESNET in out, "Simulated" in out) == (0, True, True)
    assert document("erase", "all")["cards"][3]["bitstream"] is None


def test_programming_says_that_it_is_simulated_and_where(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("program", "all", RESNET, "--state", tmp_path / "s.json")
    status, out, _ = typed(capfd, monkeypatch, "fpga", *words)
    assert status == 0
    assert out.count(f"Intel PAC with Arria 10 GX (simulated), {RESNET}") == 4


@pytest.mark.parametrize("words", [("--bitstreams",), ("--board", "a10dk")])
def test_the_registry_is_listed_within_100_columns(
    words: tuple[str, ...], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = typed(capfd, monkeypatch, "fpga", "list", *words)
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100
    assert "…" not in out
    status, out, _ = typed(capfd, monkeypatch, "fpga", "list", *words, "--json")
    found = json.loads(out)
    assert {one["board"] for one in found} == ({words[1]} if words[1:] else {
        "pac-a10", "a10dk", "mustang-sg1", "mustang-sg2",
    })  # fmt: skip
    assert all(one["assumed"] and one["max_kernel"] == 14 for one in found)
