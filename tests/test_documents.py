"""Texts of strangers are values or one kind of error, and damage in a line is found."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.documents import checked_line, document_digest, parse_json, parse_toml, read_line

DEEP = 200_000


@pytest.mark.parametrize(
    "text",
    ["[" * DEEP, '{"a":' * DEEP, "NaN", "[Infinity]", "1e999", "-1e400", "9" * 5000, "", "{", "\0"],
    ids=lambda text: text[:8],
)
def test_json_that_cannot_be_used_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
    with pytest.raises(ValueError, match=r"."):
        parse_json(text.encode())


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * DEEP, "a = inf", "a = nan", "a = 1e999", "a = ", "a = 1\na = 2"],
    ids=lambda text: text[:10],
)
def test_toml_that_cannot_be_used_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_toml(text)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1.5}') == {"a": 1.5}
    assert parse_toml(b"\xef\xbb\xbfa = 1.5") == {"a": 1.5}


def test_the_digest_of_a_document_leaves_out_its_own_field() -> None:
    digest = document_digest({"b": 1, "a": [1.5, None]})
    assert document_digest({"a": [1.5, None], "sha256": digest, "b": 1}) == digest
    assert document_digest({"a": [1.5, None], "b": 2}) != digest


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), min_size=1), st.data())
def test_a_line_is_read_back_and_any_flipped_bit_is_found(
    document: dict[str, object], data: st.DataObject
) -> None:
    document.pop("check", None)
    document["number"] = 1
    line = checked_line(document).encode()
    assert read_line(line) == document
    assert json.loads(line) == {**document, "check": json.loads(line)["check"]}
    bit = data.draw(st.integers(0, (len(line) - 1) * 8 - 1))
    damaged = bytearray(line)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match="not what was written"):
        read_line(bytes(damaged))
