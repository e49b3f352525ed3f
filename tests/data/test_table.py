"""Tables are read whatever their packing, and refused with a reason."""

import gzip
from pathlib import Path

import pytest

from thorax.data.table import read_table
from thorax.errors import DataError


def test_gzip_and_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    text = "﻿Image Index, x\na.png,1\n\nb.png\n"
    (tmp_path / "plain.csv").write_text(text, "utf-8")
    (tmp_path / "packed.anything").write_bytes(gzip.compress(text.encode()))
    plain, packed = read_table(tmp_path / "plain.csv"), read_table(tmp_path / "packed.anything")
    assert plain.columns == packed.columns == ("Image Index", "x")
    assert plain.rows == packed.rows == (("a.png", "1"), ("b.png", ""))


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
        (b"\xff\xfe\x00a", "table-damaged"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "table-damaged"),
        (b"\x1f\x8bnot gzip", "table-damaged"),
        (b'a,b\n"' + b"x" * 200_000 + b'",1\n', "table-damaged"),
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
