"""Texts of strangers are values or one kind of error, and damage in a line is found."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.files.documents import (
    checked_line,
    document_digest,
    parse_json,
    parse_toml,
    read_limited,
    read_line,
)

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


def test_a_file_is_read_up_to_its_limit_and_not_a_byte_more(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_limited(path, 5) == b"12345"
    with pytest.raises(OSError, match="it holds more than 4 bytes"):
        read_limited(path, 4)
    os.truncate(path, 1 << 40)
    with pytest.raises(OSError, match="it holds more than 1,000 bytes"):
        read_limited(path, 1000)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for name, reason in {
        "pipe": "it is a pipe",
        "folder": "it is a folder",
        "loop": "symbolic links",
        "missing": "No such file",
        "x" * 300: "name too long",
        "a\0b": "no file has such a name",
    }.items():
        with pytest.raises(OSError, match=reason):
            read_limited(tmp_path / name)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        with pytest.raises(OSError, match="it is a socket"):
            read_limited(tmp_path / "socket")
    with pytest.raises(OSError, match="it is a device"):
        read_limited(Path("/dev/zero"))


def test_a_high_limit_takes_no_more_memory_than_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from thorax.files.documents import read_limited\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "assert len(read_limited(Path(sys.argv[1]), 1 << 40)) == 100_000\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a")], check=True)


def test_a_file_whose_size_is_not_known_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thorax.files.documents._PIECE_BYTES", 16)
    status = Path("/proc/self/status")
    assert status.stat().st_size == 0
    assert read_limited(status).splitlines()[-1].startswith(b"nonvoluntary")
    with pytest.raises(OSError, match="more than"):
        read_limited(status, 20)
