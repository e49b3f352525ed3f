"""CSV tables, plain or gzip, whose columns are found by any of the names people give them."""

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from thorax.errors import DataError
from thorax.files import sync

_GZIP_MAGIC = b"\x1f\x8b"


def _plain(name: str) -> str:
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
        plain = [_plain(column) for column in self.columns]
        for name in names:
            if _plain(name) in plain:
                return plain.index(_plain(name))
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


def read_table(path: Path) -> Table:
    """Read a UTF-8 CSV with a header, gzip or not.

    Short rows are filled with empty cells, empty lines are dropped.

    Raises:
        DataError: `table-missing`, `table-damaged` or `table-empty`.
    """
    try:
        data = path.read_bytes()
        if data.startswith(_GZIP_MAGIC):
            data = gzip.decompress(data)
        lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            "table-damaged",
            f"{path} cannot be read as CSV ({error}); give UTF-8 CSV with commas, plain or gzip",
        ) from error
    except OSError as error:
        raise DataError("table-missing", f"{path} cannot be read: {error.strerror}") from error
    if not lines or not any(cell.strip() for cell in lines[0]):
        raise DataError("table-empty", f"{path} has no header; its first line must name columns")
    columns = tuple(cell.strip() for cell in lines[0])
    width = len(columns)
    rows = tuple(
        tuple(cell.strip() for cell in (line + [""] * (width - len(line)))[:width])
        for line in lines[1:]
        if any(cell.strip() for cell in line)
    )
    return Table(path, columns, rows)


def write_rows(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV with a header and force it to disk."""
    # File names that are not UTF-8 reach here as surrogates; they are written escaped.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(head)
        table.writerows(rows)
    sync(path)


def read_rows(path: Path, head: Sequence[str]) -> list[list[str]]:
    """Read a CSV that `write_rows` wrote, without its header.

    Raises:
        ValueError: when the header or the length of a row is another.
        OSError: when there is no such file.
        csv.Error: when it is no CSV.
    """
    with path.open(encoding="utf-8", newline="") as file:
        found, *rows = csv.reader(file)
    if found != list(head) or any(len(row) != len(head) for row in rows):
        raise ValueError(f"{path.name} has other columns than {', '.join(head)}")
    return rows
