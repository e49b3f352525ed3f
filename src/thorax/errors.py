"""What can go wrong by the user's doing, with a stable code and one exit status a kind.

A message says what happened, the value, what is allowed and what to do, on one line.
"""

from pathlib import Path
from typing import ClassVar


class ThoraxError(Exception):
    """A mistake in what Thorax was given; never a bug in Thorax itself.

    Attributes:
        code: stable kebab-case name of the mistake; scripts may match on it.
        message: one line for a person.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    dimse_status: ClassVar[int] = 0xC000

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = printable(" ".join(message.split()))

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class UsageError(ThoraxError):
    """A command line, option or configuration that cannot be followed."""

    exit_code = 2
    http_status = 400


class ImageError(ThoraxError):
    """One image that cannot be read, or must not be."""

    exit_code = 3
    http_status = 422


class DataError(ThoraxError):
    """A label table, split or store that is missing, damaged or contradicts itself."""

    exit_code = 3
    http_status = 422


class ModelError(ThoraxError):
    """A checkpoint, foreign model or artifact that is missing, damaged or of the wrong shape."""

    exit_code = 4
    http_status = 500


class DeviceError(ThoraxError):
    """A device that is absent, or a layer or precision that it cannot run."""

    exit_code = 5
    http_status = 503


class PeerError(ThoraxError):
    """Another program or host that does not answer as it should."""

    exit_code = 6
    http_status = 502


def unwritable(path: Path, error: OSError) -> UsageError:
    """Return the refusal of an output that cannot be written."""
    return UsageError(
        "output-unwritable",
        f"{str(path)!r} cannot be written: {error.strerror or error}; name another place",
    )


def last_line(error: Exception) -> str:
    """Return the last line that a foreign library's error says, its type where it says nothing.

    OpenVINO names its own source files first and the reason last.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def printable(text: str) -> str:
    """Return text with what a terminal would obey, and line ends, written as escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )
