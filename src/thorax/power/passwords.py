"""Passwords that stand in a file, or come through a pipe of a shell."""

import errno
import os
import select
import stat
import time
from pathlib import Path
from typing import Final

from thorax.errors import UsageError

_LONGEST_BYTES: Final = 4096
_WITHIN_S: Final = 30.0
"""In which whoever fills a pipe has to (a password manager that asks a person)."""


def first_line(path: Path, *, within_s: float = _WITHIN_S) -> str:
    """Return the first line of a file or a pipe, which is not empty.

    A pipe, such as `<(pass show bmc)` of a shell, is waited for `within_s`.

    Raises:
        UsageError: `power-password`.
    """
    try:
        content = _read(path, time.perf_counter() + within_s)
        line, end, _ = content.partition(b"\n")
        if not end and len(content) > _LONGEST_BYTES:
            raise OSError(errno.EFBIG, f"its first line is longer than {_LONGEST_BYTES} bytes")
        word = line.removesuffix(b"\r").decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise UsageError(
            "power-password", f"{path} cannot be read: {reason}; give a text file"
        ) from error
    if not word:
        raise UsageError("power-password", f"{path} has no first line to use")
    return word


def _read(path: Path, deadline_s: float) -> bytes:
    """Return a first line at least, or all there is, of a file or pipe.

    Raises:
        OSError: it is neither, or nobody fills it in time.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise OSError(errno.EINVAL, "it is neither a file nor a pipe", str(path))
        content = b""
        while b"\n" not in content and len(content) <= _LONGEST_BYTES:
            left_s = deadline_s - time.perf_counter()
            if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
                raise OSError(errno.ETIMEDOUT, "nobody writes into it", str(path))
            try:
                piece = os.read(descriptor, _LONGEST_BYTES)
            except BlockingIOError:
                continue
            if not piece:
                break
            content += piece
        return content
    finally:
        os.close(descriptor)


def password_in_address(host: str) -> UsageError:
    """Return the refusal of an address with a password, of which nothing is repeated."""
    return UsageError(
        "power-password",
        f"the address of {host} holds a password, which every list of processes shows; leave "
        "it out and give --power-password-file FILE, or type it when asked",
    )
