"""CSV tables, plain or gzip, whose columns are found by any of the names people give them."""

import csv
import errno
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thorax.errors import DataError
from thorax.files.atomic import sync
from thorax.files.documents import read_limited

_GZIP_MAGIC: Final = b"\x1f\x8b"
_SPECIAL: Final = re.compile(r'[",\r\n]')

LARGEST_BYTES: Final = 128 << 20
"""Of a table, as the file and as the text that it inflates to; that of MIMIC-CXR has 60 MB."""
LONGEST_LINE: Final = 4 << 20
"""Characters."""
MOST_CELLS: Final = 10_000_000
"""Rows x columns, for which Python takes up to 1 GB; PadChest has 5.8 million."""


def column_key(name: str) -> str:
    """Return what names of one column have in common: `Image Index` is `image_index`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file in memory.

    Attributes:
        path: where it came from, for messages.
        columns: the header, stripped.
        rows: cells, stripped, each row as long as the header.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

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
            value = float(cell)
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
    """Yield the lines of a UTF-8 text, gzip or not; what goes wrong meanwhile is told of the table.

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
        if b"\0" in content:
            raise csv.Error("it holds NUL bytes, as text in UTF-16 does")
        yield _lines(io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline=""))
    except OverflowError as error:
        raise _too_large(path, error) from error
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            "table-damaged",
            f"{path} cannot be read as CSV ({error}); give UTF-8 CSV with commas, plain or gzip",
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


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith("\n"):
            raise OverflowError("it has a line that is too long")
        yield line


def read_table(path: Path) -> Table:
    """Read a UTF-8 CSV with a header, gzip or not.

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

    with open_table(path) as lines:
        table = csv.reader(noted(lines))
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
                        f"{path} ends within line {table.line_num}, which has {len(line)} cells "
                        f"where the header has {width}; copy it again",
                    )
                rows.append(cells + ("",) * (width - len(cells)))
                if len(rows) * width > MOST_CELLS:
                    raise OverflowError(f"it has more than {MOST_CELLS:,} cells")
    return Table(path, columns, tuple(rows))


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
