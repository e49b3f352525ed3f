"""`thorax plan server`: its document, table and picture."""

import json
import sys
from pathlib import Path

import pytest

from thorax import cli
from thorax.errors import UsageError
from thorax.plan.outlook import cards_in


def typed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["thorax", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    out, err = capfd.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, out, err


def test_the_document_has_a_row_for_each_count_and_reading(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    picture = tmp_path / "r740.svg"
    words = ("plan", "server", "--preset", "r740", "--cards", "0..4", "--figure", picture, "--json")
    status, out, err = typed(capfd, monkeypatch, *words)
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert document["command"] == "plan server"
    assert document["modelled"] is True
    rows = document["rows"]
    assert [(row["reading"], row["cards"]) for row in rows] == [
        (reading, cards) for reading in ("additive", "offload") for cards in range(5)
    ]
    drawn = picture.read_text("utf-8")
    assert "modelled" in drawn
    assert "prefers-color-scheme" in drawn


def test_the_table_says_modelled_and_names_both_efficiencies(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = typed(capfd, monkeypatch, "plan", "server", "--preset", "r640")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100
    for words in ("modelled, not measured", "Server img/s/W", "Marginal img/s/W"):
        assert words in out


@pytest.mark.parametrize(
    ("text", "cards"), [("4", (4,)), ("0,2,4", (0, 2, 4)), ("0..2,1,4", (0, 1, 2, 4))]
)
def test_numbers_of_cards_are_read(text: str, cards: tuple[int, ...]) -> None:
    assert cards_in(text) == cards


@pytest.mark.parametrize("text", ["", "a", "4..", "-1", "3..1", "1.5"])
def test_what_is_no_number_of_cards_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="plan-cards-text"):
        cards_in(text)
