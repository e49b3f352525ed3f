"""Programming is kept: durably, whole, and by several programs at once."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from thorax import cli
from thorax.errors import DataError, DeviceError, ThoraxError, UsageError
from thorax.fpga import card as cards_module
from thorax.fpga.card import CARDS, erase, find_card, list_cards, program, state_path

RESNET = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
FP16 = "2020-4_RC_FP16_ResNet_YoloV3"


def loaded(state: Path) -> list[str | None]:
    return [card.bitstream.name if card.bitstream else None for card in list_cards(state)]


def typed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["thorax", "fpga", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code, *capfd.readouterr()


def test_cards_come_unprogrammed_and_keep_what_they_are_given(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "fpga.json"
    assert loaded(state) == [None] * 4
    assert not state.parent.exists(), "looking writes nothing"
    (made,) = program("FPGA.1", RESNET, state=state)
    assert list_cards(state)[1] == made
    assert loaded(state) == [None, RESNET, None, None]
    assert made.full_name == f"Intel PAC with Arria 10 GX (simulated), {RESNET}"
    assert made.simulated
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


def test_a_state_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^fpga-state: "):
        list_cards(tmp_path)


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
    assert [path.name for path in tmp_path.glob("*")] == ["fpga.json"] or sorted(
        path.name for path in tmp_path.iterdir()
    ) == [".fpga.json.lock", "fpga.json"]


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
        status, out, err = typed(capfd, monkeypatch, *words, "--json")
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
    status, out, _ = typed(capfd, monkeypatch, "list")
    assert (status, RESNET in out, "Simulated" in out) == (0, True, True)
    assert document("erase", "all")["cards"][3]["bitstream"] is None


def test_programming_says_that_it_is_simulated_and_where(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("program", "all", RESNET, "--state", tmp_path / "s.json")
    status, out, _ = typed(capfd, monkeypatch, *words)
    assert status == 0
    assert out.count(f"Intel PAC with Arria 10 GX (simulated), {RESNET}") == 4


@pytest.mark.parametrize("words", [("--bitstreams",), ("--board", "a10dk")])
def test_the_registry_is_listed_within_100_columns(
    words: tuple[str, ...], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = typed(capfd, monkeypatch, "list", *words)
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100
    assert "…" not in out
    status, out, _ = typed(capfd, monkeypatch, "list", *words, "--json")
    found = json.loads(out)
    assert {one["board"] for one in found} == ({words[1]} if words[1:] else {
        "pac-a10", "a10dk", "mustang-sg1", "mustang-sg2",
    })  # fmt: skip
    assert all(one["assumed"] and one["max_kernel"] == 14 for one in found)
