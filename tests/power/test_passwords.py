"""A password is the first line of a file or pipe, which is neither waited for nor read for ever."""

import os
import threading
from pathlib import Path

import pytest

from thorax.errors import UsageError
from thorax.power.passwords import first_line


@pytest.mark.parametrize(
    "content",
    [b"s3cret", b"s3cret\n", b"s3cret\r\nmore\n", b"\xef\xbb\xbfs3cret\n", b"s3cret\n\xff"],
)
def test_the_first_line_is_the_password(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "word"
    path.write_bytes(content)
    assert first_line(path) == "s3cret"


def test_a_pipe_is_read_as_far_as_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "word"
    os.mkfifo(path)

    def fill() -> None:
        with path.open("wb", buffering=0) as pipe:
            pipe.write(b"s3")
            pipe.write(b"cret\nmore")

    filling = threading.Thread(target=fill)
    filling.start()
    assert first_line(path) == "s3cret"
    filling.join()


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xff\n", b"x" * 10_000_000])
def test_a_line_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "word"
    path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        first_line(path)
    assert refused.value.code == "power-password"
    assert len(refused.value.message) < 300


def test_what_holds_no_line_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/zero"), tmp_path / "none", Path("x\0y")):
        with pytest.raises(UsageError) as refused:
            first_line(path, within_s=0.1)
        assert refused.value.code == "power-password"
