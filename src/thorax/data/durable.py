"""Files of a store: forced to disk when written, digested without being held."""

import csv
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path


def put(path: Path, text: str) -> None:
    """Write a small file so that it is there whole or not at all."""
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Force to disk which files a folder has."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_rows(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV with a header and force it to disk."""
    # File names that are not UTF-8 reach here as surrogates; they are written escaped.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(head)
        table.writerows(rows)
        file.flush()
        os.fsync(file.fileno())


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


def sha256(path: Path, size: int | None = None) -> str:
    """Return the SHA-256, hexadecimal, of the first `size` bytes of a file, or of all of it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size if size is None else size
        while left and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()
