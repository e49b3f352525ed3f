"""JSON and TOML as they come from disks and strangers, and the digests that find damage in them.

A parser of Python raises `RecursionError` for a text that is nested deeply, reads 1e999 as
infinity, and takes NaN; here all that is a `ValueError`, which callers translate into their code.
"""

import errno
import hashlib
import json
import math
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

MOST_BYTES: Final = 1 << 26
"""Of a document that a person names, unless its reader knows better: 64 MiB."""

_PIECE_BYTES: Final = 1 << 16
_CHECK: Final = re.compile(rb', "check": "([0-9a-f]{16})"\}\s*\Z')
_REFUSALS: Final = frozenset(
    (errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ENOMEM)
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of a verified folder, compared with its digest; its size is 0 if it is missing.

    The damage is what is wrong with it and what to do, None when it is as written. It could not be
    `compared` where what knows its digest is damaged.
    """

    name: str
    size_bytes: int
    damage: str | None
    compared: bool = True

    @classmethod
    def of(cls, folder: Path, name: str, damage: str | None, *, compared: bool = True) -> "Piece":
        """Return the piece of a folder that has this name, there or not."""
        path = folder / name
        return cls(name, path.stat().st_size if path.is_file() else 0, damage, compared)

    @classmethod
    def unknown(cls, folder: Path, name: str, knows: str) -> "Piece":
        """Return a piece that cannot be compared, as the file that knows it is damaged."""
        return cls.of(folder, name, f"{knows}, which knows it, is damaged", compared=False)


def is_refusal(error: OSError) -> bool:
    """Return whether a disk or rights refuse a file, which says nothing of what it holds."""
    return error.errno in _REFUSALS


def cannot_be_read(error: OSError) -> str:
    """Return in words that a file cannot be read, and what to do; it may well be sound."""
    reason = error.strerror or str(error)
    return f"cannot be read ({reason}); see to its rights and its disk, and try again"


def read_limited(path: Path, most_bytes: int = MOST_BYTES, *, links: bool = True) -> bytes:
    """Return what a regular file, or a link to one if `links`, holds, if that is not too much.

    Nothing is waited for.

    Raises:
        OSError: there is no such file, it is a folder, pipe, socket or device, it may not be read,
            or it holds more than `most_bytes`; `strerror` says which.
    """
    try:
        _require_regular(path, path.stat(follow_symlinks=links).st_mode)
        # What is another thing by now is opened without waiting, and refused all the same.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        flags |= 0 if links else os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            _require_regular(path, found.st_mode)
            # Room is made for what is asked for before any of it is there.
            expected = min(most_bytes, max(found.st_size, _PIECE_BYTES))
            content = file.read(expected + 1)
            if len(content) > expected:
                content += file.read(most_bytes - expected)
    except ValueError as error:
        raise OSError(errno.EINVAL, f"no file has such a name: {error}", str(path)) from error
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it holds more than {most_bytes:,} bytes", str(path))
    return content


def _require_regular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(mode):
        kind = (
            "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        )
        raise OSError(errno.EINVAL, f"it is {kind}, and a regular file is needed", str(path))


def parse_json(text: bytes | str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return the value of a JSON text, with or without a byte order mark.

    Raises:
        ValueError: it is no JSON, is nested too deeply, or holds a number that is not finite.
    """
    return _parsed(text, partial(json.loads, parse_constant=_refuse_constant))


def parse_toml(text: bytes | str) -> dict[str, Any]:
    """Return the table of a TOML text; otherwise as `parse_json`."""
    table: dict[str, Any] = _parsed(text, tomllib.loads)
    return table


def _parsed(text: bytes | str, load: Callable[..., Any]) -> Any:  # noqa: ANN401
    try:
        words = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return load(words, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no finite number that a computer can hold")
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def document_digest(document: Mapping[str, Any], field: str = "sha256") -> str:
    """Return the SHA-256 of a JSON object, canonical, with the field that holds it empty."""
    canonical = json.dumps({**document, field: ""}, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def checked_line(document: Mapping[str, Any]) -> str:
    """Return a JSON object as a line that `read_line` recognises damage in, line end included."""
    text = json.dumps(document, allow_nan=False)
    assert len(text) > len("{}")
    return f'{text[:-1]}, "check": "{_check(text.encode())}"}}\n'


def read_line(line: bytes) -> dict[str, Any]:
    """Return the object of a line that `checked_line` made, without its check.

    Raises:
        ValueError: the line is not what was written.
    """
    match = _CHECK.search(line)
    text = line[: match.start()] + b"}" if match else b""
    if match is None or _check(text) != match[1].decode():
        raise ValueError("the line is not what was written")
    document = json.loads(text)
    assert isinstance(document, dict)
    return document


def _check(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]
