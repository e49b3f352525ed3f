"""Cells that spreadsheets leave alone, and that are still found by their name."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.files.csv_cells import harmless

FORMULAS = "=+-@\t\r\n＝＋－＠"


@pytest.mark.parametrize("first", FORMULAS)
def test_a_cell_that_would_be_computed_is_text(first: str) -> None:
    for text in (f"{first}1+1", f"  {first}cmd|' /C calc'!A0", first):
        assert harmless(text).startswith("'")


@pytest.mark.parametrize(
    "text", ["", "a.png", "ü\u00a0b.png", "0.123456", "a=b", "x|-y", "日本.dcm"]
)
def test_other_text_is_as_it_was(text: str) -> None:
    assert harmless(text) == text


@given(st.text(st.characters(codec=None)))
def test_every_text_is_one_line_of_letters_and_the_same_a_second_time(text: str) -> None:
    cell = harmless(text)
    assert harmless(cell) == cell
    assert len(f"x{cell}x".splitlines()) == 1
    assert not cell.lstrip(" ").startswith(tuple(FORMULAS))
    cell.encode()
    file = io.StringIO(newline="")
    csv.writer(file).writerow([cell, "end"])
    assert next(csv.reader(io.StringIO(file.getvalue(), newline=""))) == [cell, "end"]


def test_what_turns_text_or_the_terminal_is_an_escape() -> None:
    assert harmless("a\x1b[31m\u202egnp.exe\udcff\u2028") == (
        "a\\x1b[31m\\u202egnp.exe\\udcff\\u2028"
    )
