"""Decoding into one file: the same bytes whoever decodes them, and however often it was stopped."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from thorax.data.ingest import decode
from thorax.data.samples import Sample, Skipped
from thorax.data.store_pixels import Decoded
from thorax.images.preprocess import InputSpec

Image = npt.NDArray[np.uint8]
Noise = Callable[..., list[Image]]
MakeRows = Callable[..., list[Sample]]


def run(
    rows: list[Sample], folder: Path, *, workers: int = 2, told: list[int] | None = None
) -> tuple[dict[int, Decoded], list[Skipped]]:
    folder.mkdir(exist_ok=True)
    return decode(
        rows,
        InputSpec(32),
        pixels=folder / "pixels",
        journal=folder / "journal",
        workers=workers,
        on_progress=None if told is None else lambda done, total: told.append(done),
    )


@pytest.mark.parametrize("workers", [1, 3, 16])
def test_threads_change_nothing(
    noise: Noise, make_rows: MakeRows, tmp_path: Path, workers: int
) -> None:
    images = noise(20)
    rows = make_rows([*images[:4], b"bad", *images[5:]])
    done, failed = run(rows, tmp_path / "decoded", workers=workers)
    images[4] = np.zeros((32, 32), np.uint8)
    assert (tmp_path / "decoded" / "pixels").read_bytes() == np.stack(images).tobytes()
    assert sorted(done) == [number for number in range(20) if number != 4]
    assert [skip.image for skip in failed] == ["0004.png"]


@pytest.mark.parametrize("tail", [b'[3, "ab', b'[3, "ab", 0, 0]', b"\0" * 512, b"{}\n"])
def test_a_torn_journal_costs_what_was_torn(
    noise: Noise, make_rows: MakeRows, tmp_path: Path, tail: bytes
) -> None:
    rows = make_rows(noise(6))
    done, _ = run(rows, tmp_path)
    whole, journal = (tmp_path / "pixels").read_bytes(), tmp_path / "journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:4]) + tail)
    told: list[int] = []
    assert run(rows, tmp_path, told=told) == (done, [])
    assert told == [5, 6]
    assert (tmp_path / "pixels").read_bytes() == whole
    assert sorted(journal.read_bytes().splitlines()) == sorted(b"".join(lines).splitlines())


def test_what_the_journal_has_is_not_decoded_again(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(noise(5))
    first = run(rows, tmp_path)
    for row in rows:
        row.path.unlink()
    assert run(rows, tmp_path) == first


@pytest.mark.parametrize("row", [0, 3, 4])
def test_pixels_that_changed_behind_the_journal_are_decoded_again(
    noise: Noise, make_rows: MakeRows, tmp_path: Path, row: int
) -> None:
    rows = make_rows(noise(5))
    first = run(rows, tmp_path)
    whole = (tmp_path / "pixels").read_bytes()
    changed = bytearray(whole)
    changed[row * 32 * 32 + 17] ^= 64
    (tmp_path / "pixels").write_bytes(changed)
    told: list[int] = []
    assert run(rows, tmp_path, told=told) == first
    assert told == [5]
    assert (tmp_path / "pixels").read_bytes() == whole


def test_a_line_of_the_journal_that_changed_is_not_believed(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(noise(5))
    first = run(rows, tmp_path)
    journal = tmp_path / "journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines):
        place = line.index(b'"number": ') + len(b'"number": ')
        changed = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        journal.write_bytes(b"".join([*lines[:number], changed, *lines[number + 1 :]]))
        told: list[int] = []
        assert run(rows, tmp_path, told=told) == first
        assert told == [5], "the other lines are believed"
        assert sorted(journal.read_bytes().splitlines(keepends=True)) == sorted(lines)


def test_a_pixel_file_that_was_cut_costs_what_was_cut(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(noise(5))
    first = run(rows, tmp_path)
    whole = (tmp_path / "pixels").read_bytes()
    (tmp_path / "pixels").write_bytes(whole[: 3 * 32 * 32 + 5])
    told: list[int] = []
    assert run(rows, tmp_path, told=told) == first
    assert told == [4, 5]
    assert (tmp_path / "pixels").read_bytes() == whole


def test_what_is_doubtful_about_an_image_is_told_again_by_its_journal(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(noise(3))
    few_bits = np.random.default_rng(0).integers(0, 4096, (32, 32), np.uint16)
    few_bits[0, 0] = 4095
    cv2.imwrite(str(rows[1].path), few_bits)
    done, _ = run(rows, tmp_path)
    assert [done[number].warnings for number in range(3)] == [(), ("image-bits-corrected",), ()]
    assert run(rows, tmp_path) == (done, [])
