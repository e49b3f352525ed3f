"""Outputs that a person names: refused where they would replace an input, or cannot be written."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from thorax.errors import UsageError, unwritable


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file that a disk refuses.

    Raises:
        UsageError: `output-unwritable`.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def require_apart(out: Path | None, inputs: Iterable[Path], folders: Iterable[Path]) -> None:
    """Refuse an output that would take the place of what it is made of.

    None, or what will not be replaced as it is not there, is no matter. Inputs are files that are
    read, folders an artifact and stores, all files of which are read.

    Raises:
        UsageError: `output-is-input`.
    """
    if out is None or not out.is_file():
        return
    status = out.stat()
    for path in inputs:
        with suppress(OSError):
            if os.path.samestat(status, path.stat()):
                raise UsageError(
                    "output-is-input",
                    f"{str(out)!r} is an input too, which would be lost; name another place",
                )
    for folder in folders:
        if Path(os.path.realpath(out)).is_relative_to(Path(os.path.realpath(folder))):
            raise UsageError(
                "output-is-input",
                f"{str(out)!r} is a part of {str(folder)!r}, which would be damaged; name another "
                "place",
            )
