"""Boards: each figure of power stands with its source."""

import pytest

from thorax.errors import UsageError
from thorax.fpga.boards import BOARDS, DEFAULT_BOARD, find_board
from thorax.results.fpga import DEVICES


def test_the_figures_of_the_2018_card_stand_apart_with_their_sources() -> None:
    board = find_board(DEFAULT_BOARD)
    assert {one.kind: one.power_w for one in board.power} == {
        "stated": 43.0, "measured": 50.0, "limit": 60.0,
    }  # fmt: skip
    assert all("Dell" in one.source for one in board.power)
    assert (board.power_w, board.power_source) == (43.0, board.power[0].source)


def test_a_limit_is_never_taken_for_what_a_board_draws() -> None:
    board = find_board("mustang-sg2")
    assert [(figure.kind, figure.power_w) for figure in board.power] == [("limit", 60.0)]
    assert (board.power_w, board.power_source) == (None, None)


def test_what_no_source_gives_is_left_out_and_not_made_up() -> None:
    for board in BOARDS.values():
        assert (board.power_w is None) == (board.power_source is None)
        assert all(one.source for one in board.power)
        assert board.idle_w is None


def test_every_board_is_of_a_family_whose_area_is_known() -> None:
    assert {board.family for board in BOARDS.values()} <= set(DEVICES)


def test_an_unknown_board_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"fpga-board: board is 'pac'.*pac-a10"):
        find_board("pac")
