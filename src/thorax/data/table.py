"""CSV tables, plain or gzip, whose columns are found by any of the names people give them.

Read are UTF-8, and UTF-16 with its byte-order mark, as "Unicode text" of spreadsheets has; cells
between commas, semicolons, tabs or bars, told by the header or by a first line `sep=;`.
"""

import codecs
import csv
import errno
import gzip
import io
import math
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from thorax.errors import DataError
from thorax.files.atomic import sync
from thorax.files.documents import read_limited
from thorax.labels import with_point

_GZIP_MAGIC: Final = b"\x1f\x8b"
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_OTHER_KINDS: Final = {
    b"PK\x03\x04": "a ZIP file, as workbooks (.xlsx) are: save it as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "a workbook of Excel (.xls): save it as CSV UTF-8",
    b"version https://git-lfs": "a pointer of Git LFS: get the file itself by git lfs pull",
}
"""What else people give for a table, by its first bytes."""
_SPECIAL: Final = re.compile(r'[",\r\n]')
_SEPARATORS: Final = (",", ";", "\t", "|")
_SEPARATOR_LINE: Final = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
_QUOTED: Final = re.compile('"[^"]*"')

LARGEST_BYTES: Final = 128 << 20
"""Of a table, as the file and as the text that it inflates to; that of MIMIC-CXR has 60 MB."""
LONGEST_LINE: Final = 4 << 20
"""Characters."""
MOST_CELLS: Final = 10_000_000
"""Rows x columns, for which Python takes up to 1 GB; PadChest has 5.8 million."""


def column_key(name: str) -> str:
    """Return what names of one column have in common: `Image Index` is `image_index`."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFC", name).casefold())


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file in memory.

    Attributes:
        path: where it came from, for messages.
        columns: the header, stripped.
        rows: cells, stripped, each row as long as the header.
        separator: what stood between the cells; where it is no comma, numbers may have one.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    separator: str = ","

    def find(self, names: Sequence[str]) -> int | None:
        """Return the column that bears the first of `names` that any does, else None.

        Case, blanks and punctuation do not count: `Image Index` is `image_index`.
        """
        plain = [column_key(column) for column in self.columns]
        for name in names:
            if column_key(name) in plain:
                return plain.index(column_key(name))
        return None

    def need(self, names: Sequence[str], advice: str = "") -> int:
        """Return the column as `find` does.

        Raises:
            DataError: `table-column-missing`, naming the columns that are there.
        """
        column = self.find(names)
        if column is None:
            raise DataError(
                "table-column-missing",
                f"{self.path.name} has no column {' / '.join(map(repr, names))}; its columns are "
                f"{', '.join(map(repr, self.columns))}; {advice or 'rename one of them'}",
            )
        return column

    def number(self, row: int, column: int) -> float:
        """Return the finite number in a cell.

        Raises:
            DataError: `table-number` for anything else.
        """
        cell = self.rows[row][column]
        try:
            value = float(with_point(cell, self.separator))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError(
                "table-number",
                f"{self.path.name}, row {row + 1}, column {self.columns[column]!r}: {cell!r} is "
                "not a finite number; write one, with a point",
            )
        return value


@contextmanager
def open_table(path: Path) -> Iterator[Iterator[str]]:
    """Yield the lines of a text, gzip or not; what goes wrong meanwhile is told of the table.

    The text is UTF-8, or UTF-16 with a byte-order mark.

    Raises:
        DataError: `table-missing` for what cannot be opened or is no regular file,
            `table-too-large`, or `table-damaged`.
    """
    try:
        content = read_limited(path, LARGEST_BYTES)
        if content.startswith(_GZIP_MAGIC):
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise OverflowError(f"it inflates to more than {LARGEST_BYTES >> 20} MiB")
        for beginning, what in _OTHER_KINDS.items():
            if content.startswith(beginning):
                raise csv.Error(f"it is {what}")
        encoding = "utf-16" if content.startswith(_UTF16_MARKS) else "utf-8-sig"
        if encoding == "utf-8-sig" and b"\0" in content:
            raise csv.Error("it holds NUL bytes, as text in UTF-16 does")
        yield _lines(io.TextIOWrapper(io.BytesIO(content), encoding, newline=""))
    except OverflowError as error:
        raise _too_large(path, error) from error
    except UnicodeDecodeError as error:
        raise DataError("table-damaged", f"{path} {_encoding_fault(content, error)}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile, csv.Error) as error:
        if "field limit" in str(error):
            raise DataError(
                "table-damaged",
                f"{path} has a cell of more than {csv.field_size_limit():,} characters, as a quote "
                "that is not closed makes one; close it, or leave out the column",
            ) from error
        raise DataError(
            "table-damaged",
            f"{path} cannot be read as CSV ({error}); give UTF-8 CSV, plain or gzip, its cells "
            "between commas, semicolons or tabs",
        ) from error
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise _too_large(path, error.strerror) from error
        raise DataError(
            "table-missing", f"{path} cannot be read: {error.strerror or error}"
        ) from error


def _too_large(path: Path, what: object) -> DataError:
    return DataError(
        "table-too-large",
        f"{path}: {what}; allowed are {LARGEST_BYTES >> 20} MiB of text, {LONGEST_LINE:,} "
        f"characters a line and {MOST_CELLS:,} cells: leave out columns, or divide it",
    )


def _encoding_fault(content: bytes, error: UnicodeDecodeError) -> str:
    """Return what of a text is in no encoding that is read, and what to do."""
    if error.encoding.startswith("utf-16"):
        return f"begins as UTF-16 does and is none ({error.reason}); save it as UTF-8"
    # The reader decodes in pieces: only of the whole is it known which line is meant.
    try:
        content.decode()
    except UnicodeDecodeError as whole:
        error = whole
    line = content.count(b"\n", 0, error.start) + 1
    byte = content[error.start]
    letter = bytes([byte]).decode("cp1252", "replace")
    return (
        f"is not in UTF-8: line {line} holds the byte 0x{byte:02X}, which is {letter!r} in Latin-1 "
        "(Windows-1252); save it as 'CSV UTF-8', or convert it from the encoding that it has: "
        "iconv -f WINDOWS-1252 -t UTF-8, of Japanese -f CP932, of Chinese -f GB18030"
    )


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(LONGEST_LINE):
        if "\0" in line:
            raise csv.Error("it holds NUL characters")
        if len(line) == LONGEST_LINE and not line.endswith("\n"):
            raise OverflowError("it has a line that is too long")
        yield line


def separated(lines: Iterator[str]) -> tuple[str, int, Iterator[str]]:
    """Return what separates the cells of a table, how many lines stand before its header, and it.

    A first line `sep=;`, which spreadsheets write and obey, is not part of the table. Without it
    the separator is the one that makes most columns of the header.
    """
    first = next(lines, "")
    if named := _SEPARATOR_LINE.fullmatch(first):
        return named[1], 1, lines
    bare = _QUOTED.sub("", first)
    return max(_SEPARATORS, key=bare.count), 0, chain((first,), lines)


def read_table(path: Path) -> Table:
    """Read a CSV with a header, gzip or not, in the encodings and separators that are read.

    Short rows are filled with empty cells, empty lines are dropped.

    Raises:
        DataError: `table-missing`, `table-damaged`, `table-too-large` or `table-empty`.
    """
    rows: list[tuple[str, ...]] = []
    last = ""

    def noted(lines: Iterable[str]) -> Iterator[str]:
        nonlocal last
        for line in lines:
            last = line
            yield line

    with open_table(path) as text:
        separator, before, lines = separated(text)
        table = csv.reader(noted(lines), delimiter=separator)
        columns = tuple(cell.strip() for cell in next(table, []))
        if not any(columns):
            raise DataError(
                "table-empty", f"{path} has no header; its first line must name columns"
            )
        width = len(columns)
        # A comma may end every line, and the last column then has no name.
        needed = max(place for place, name in enumerate(columns, 1) if name)
        for line in table:
            cells = tuple(cell.strip() for cell in line[:width])
            if any(cells) or any(cell.strip() for cell in line[width:]):
                # Spreadsheets leave out empty cells at the end of a line; whoever cuts a file off
                # leaves out the end of the line too.
                if len(line) < needed and not last.endswith(("\n", "\r")):
                    raise DataError(
                        "table-damaged",
                        f"{path} ends within line {before + table.line_num}, which has "
                        f"{len(line)} cells where the header has {width}; copy it again",
                    )
                rows.append(cells + ("",) * (width - len(cells)))
                if len(rows) * width > MOST_CELLS:
                    raise OverflowError(f"it has more than {MOST_CELLS:,} cells")
    return Table(path, columns, tuple(rows), separator)


def read_columns(path: Path) -> tuple[str, ...]:
    """Return the header of a table, or nothing of one that has none.

    Raises:
        DataError: as `read_table`, of what is wrong before the end of the header.
    """
    with open_table(path) as text:
        separator, _, lines = separated(text)
        return tuple(cell.strip() for cell in next(csv.reader(lines, delimiter=separator), []))


def write_rows(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV with a header and force it to disk."""
    # File names that are not UTF-8 reach here as surrogates; they are written escaped.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.writelines(lines_of(head, rows))
    sync(path)


def lines_of(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a CSV of two columns or more, each with its end."""
    for row in (head, *rows):
        yield ",".join(map(_cell, row)) + "\n"


def _cell(value: object) -> str:
    # csv.writer leaves a carriage return bare, which ends a line for csv.reader.
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if _SPECIAL.search(text) else text


def parse_rows(content: bytes, head: Sequence[str]) -> list[list[str]]:
    """Return the rows of a CSV that `write_rows` wrote, without its header.

    Raises:
        ValueError: it is no UTF-8, or the header or the length of a row is another.
        csv.Error: it is no CSV.
    """
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    if not rows or rows[0] != list(head) or any(len(row) != len(head) for row in rows):
        raise ValueError(f"a table has other columns than {', '.join(head)}")
    return rows[1:]
