"""Tables are read whatever their packing, and refused with a reason."""

import csv
import gzip
import io
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.data import table as tables
from thorax.data.table import parse_rows, read_table, write_rows
from thorax.errors import DataError


def test_gzip_and_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    text = "﻿Image Index, x\na.png,1\n\nb.png\n"
    (tmp_path / "plain.csv").write_text(text, "utf-8")
    (tmp_path / "packed.anything").write_bytes(gzip.compress(text.encode()))
    plain, packed = read_table(tmp_path / "plain.csv"), read_table(tmp_path / "packed.anything")
    assert plain.columns == packed.columns == ("Image Index", "x")
    assert plain.rows == packed.rows == (("a.png", "1"), ("b.png", ""))


@pytest.mark.parametrize(
    "content",
    [
        b"image;patient;Mass\na.png;1;0,5\n",
        b'"image";patient;Mass\r\na.png;1;0,5\r\n',
        b"image\tpatient\tMass\na.png\t1\t0,5\n",
        b"image|patient|Mass\na.png|1|0.5\n",
        b"sep=;\r\nimage;patient;Mass\r\na.png;1;0,5\r\n",
        b"SEP=\t\r\nimage\tpatient\tMass\r\na.png\t1\t0,5\r\n",
        b'"sep=,"\nimage,patient,Mass\na.png,1,0.5\n',
        "image\tpatient\tMass\r\na.png\t1\t0,5\r\n".encode("utf-16"),
        b"\xfe\xff" + "image,patient,Mass\na.png,1,0.5\n".encode("utf-16-be"),
        gzip.compress(b"\xef\xbb\xbfsep=;\nimage;patient;Mass\na.png;1;0.5\n", mtime=0),
    ],
)
def test_separators_and_encodings_of_spreadsheets_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    table = read_table(tmp_path / "t.csv")
    assert table.columns == ("image", "patient", "Mass")
    assert (table.rows[0][:2], table.number(0, 2)) == (("a.png", "1"), 0.5)


def test_commas_in_a_header_of_commas_and_semicolons_in_one_of_them(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('image,"a;b;c;d",x\na.png,1,"0,5"\n')
    table = read_table(tmp_path / "t.csv")
    assert table.columns == ("image", "a;b;c;d", "x")
    with pytest.raises(DataError, match="table-number"):
        # Between commas 0,5 may be a decimal comma or a group of digits.
        table.number(0, 2)


def test_an_encoding_that_is_not_read_is_named_with_the_line_and_what_to_do(tmp_path: Path) -> None:
    text = "image,patient\n" + "a.png,1\n" * 3000 + "b.png,José\n"
    (tmp_path / "t.csv").write_bytes(text.encode("cp1252"))
    with pytest.raises(DataError, match=r"table-damaged.*line 3002.*0xE9.*'é'.*CSV UTF-8.*iconv"):
        read_table(tmp_path / "t.csv")


def test_columns_are_found_by_any_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("IMAGE_INDEX,Patient ID\n")
    table = read_table(tmp_path / "t.csv")
    assert table.find(("path", "Image Index")) == 0
    assert table.find(("patientid",)) == 1
    with pytest.raises(DataError, match=r"no column 'split'.*'IMAGE_INDEX', 'Patient ID'"):
        table.need(("split",))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "table-empty"),
        (b" , \n", "table-empty"),
        (b"\xff\xfe\x00a\x00", "table-damaged"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "table-damaged"),
        (b"\x1f\x8bnot gzip", "table-damaged"),
        (b'a,b\n"' + b"x" * 200_000 + b'",1\n', "table-damaged"),
        (b"image,patient\na.png,\0\n", "table-damaged"),
        ("image,patient\na.png,\0\n".encode("utf-16"), "table-damaged"),
        ("image,patient\na.png,1\n".encode("utf-16-le"), "table-damaged"),
        (b"image,patient\na.png," + b"7" * (5 << 20) + b"\n", "table-too-large"),
        (b"image" + b"," * (5 << 20) + b"\n", "table-too-large"),
        (gzip.compress(b"a,b\n", mtime=0) + b"more", "table-damaged"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / "t.csv")
    assert caught.value.code == code


def test_an_absent_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table-missing.*absent\.csv"):
        read_table(tmp_path / "absent.csv")


@pytest.mark.parametrize("cell", ["", "one", "nan", "inf"])
def test_what_is_no_number_is_refused(tmp_path: Path, cell: str) -> None:
    (tmp_path / "t.csv").write_text(f"image,x\na,{cell}\n")
    with pytest.raises(DataError, match="table-number"):
        read_table(tmp_path / "t.csv").number(0, 1)


def test_text_that_inflates_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path,
) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = b"a.png,1,No Finding\n" * 60_000
    parts = [packer.compress(b"image,patient,findings\n")]
    parts += [packer.compress(piece) for _ in range(tables.LARGEST_BYTES // len(piece) + 1)]
    parts.append(packer.flush())
    bomb = b"".join(parts)
    assert len(bomb) < 4 << 20
    (tmp_path / "t.csv.gz").write_bytes(bomb)
    with pytest.raises(DataError, match=r"table-too-large.*t\.csv\.gz.*128 MiB.*divide"):
        read_table(tmp_path / "t.csv.gz")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("wb") as file:
        file.truncate(tables.LARGEST_BYTES + 1)
    with pytest.raises(DataError, match=r"table-too-large.*t\.csv.*allowed"):
        read_table(tmp_path / "t.csv")


def test_short_rows_below_a_wide_header_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv").write_text("image" + "," * 999 + "\n" + "x\n" * 30)
    assert len(read_table(tmp_path / "t.csv").rows) == 30
    monkeypatch.setattr(tables, "MOST_CELLS", 29_999)
    with pytest.raises(DataError, match="table-too-large"):
        read_table(tmp_path / "t.csv")


def make_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def make_loop(path: Path) -> Path:
    path.symlink_to(path.name)
    return path


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    "make",
    [
        make_pipe,
        make_loop,
        make_folder,
        lambda path: Path("/dev/zero"),
        lambda path: Path("/dev/null"),
        lambda path: Path("/proc/self/mem"),
        lambda path: path.with_name("x" * 300),
        lambda path: path / "below" / "nothing",
    ],
)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, make: object) -> None:
    assert callable(make)
    with pytest.raises(DataError) as caught:
        read_table(make(tmp_path / "labels.csv"))
    assert caught.value.code == "table-missing"


@given(st.lists(st.lists(st.text(), min_size=3, max_size=3), max_size=5))
def test_whatever_is_written_is_read_back(rows: list[list[str]]) -> None:
    head = ("image", 'say "x", a/b', "c\rd\ne")
    text = io.StringIO(newline="")
    text.writelines(tables.lines_of(head, rows))
    content = text.getvalue().encode(errors="backslashreplace")
    written = [[cell.encode(errors="backslashreplace").decode() for cell in row] for row in rows]
    assert parse_rows(content, head) == written
    # Other readers of CSV see the same.
    assert list(csv.reader(io.StringIO(content.decode(), newline="")))[1:] == written


@pytest.mark.parametrize(
    "cell", ["a\rb", "a\nb", "a\r\nb", "\r", "\n", '"', "'", ",", " ", "\0", ""]
)
def test_a_line_end_in_a_cell_stays_one_cell(tmp_path: Path, cell: str) -> None:
    write_rows(tmp_path / "t.csv", ("a", "b"), [(cell, 1), ("x", cell)])
    content = (tmp_path / "t.csv").read_bytes()
    assert parse_rows(content, ("a", "b")) == [[cell, "1"], ["x", cell]]


def test_a_table_that_was_cut_off_is_refused_and_not_filled_up(tmp_path: Path) -> None:
    whole = "Image,Patient,View,Finding\na.png,1,PA,Mass\nb.png,2,AP,Nodule\n"
    (tmp_path / "whole.csv").write_text(whole)
    assert len(read_table(tmp_path / "whole.csv").rows) == 2
    for end in range(9, 15):
        (tmp_path / "cut.csv").write_text(whole[:-end])
        with pytest.raises(DataError, match=r"table-damaged.*line 3"):
            read_table(tmp_path / "cut.csv")
    # What spreadsheets leave out at the end of a line is empty.
    (tmp_path / "short.csv").write_text(whole.replace(",AP,Nodule", ""))
    assert read_table(tmp_path / "short.csv").rows[1] == ("b.png", "2", "", "")


def test_a_quote_that_is_not_closed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b\n"1,2\n' + "3,4\n" * 40_000)
    with pytest.raises(DataError, match=r"table-damaged.*a quote that is not closed"):
        read_table(path)


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"PK\x03\x04\x14\0\6\0", "xlsx.*CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "xls.*CSV UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ],
)
def test_what_people_give_for_a_table_is_named(tmp_path: Path, content: bytes, advice: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=f"table-damaged.*{advice}"):
        read_table(tmp_path / "t.csv")
