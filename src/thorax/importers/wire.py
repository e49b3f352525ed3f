"""The protobuf wire format, without protobuf: messages as lists of numbered fields.

Protocol Buffers, "Encoding" (protobuf.dev/programming-guides/encoding). Nothing is copied and
nothing is allocated for a length that a message merely claims.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_VARINT: Final = 0
_BYTES: Final = 2
_FIXED: Final = {1: 8, 5: 4}
"""Length of a value by its wire type, bytes."""

_MOST_VARINT_BYTES: Final = 10


class WireError(ValueError):
    """Bytes that are no message."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message; what is read as another kind than it is raises a `WireError`.

    Its value is an unsigned integer, or the bytes of a string, message, packed list or of a
    fixed-size number, little-endian.
    """

    number: int
    value: int | memoryview

    def integer(self) -> int:
        """Return the value of a varint."""
        if isinstance(self.value, int):
            return self.value
        raise WireError(f"field {self.number} is no integer")

    def data(self) -> memoryview:
        """Return the bytes of a string, message, packed list or fixed-size number."""
        if isinstance(self.value, memoryview):
            return self.value
        raise WireError(f"field {self.number} is a lone integer")

    def text(self) -> str:
        """Return a string, which is UTF-8."""
        try:
            return bytes(self.data()).decode("utf-8")
        except UnicodeDecodeError as error:
            raise WireError(f"field {self.number} is no text") from error

    def integers(self) -> Iterator[int]:
        """Yield the integers of a field that may be repeated, packed or one by one."""
        if isinstance(self.value, int):
            yield self.value
            return
        at = 0
        while at < len(self.value):
            number, at = _varint(self.value, at)
            yield number


def fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message in the order that they were written.

    Raises:
        WireError: what is written is no message, or its end is missing.
    """
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise WireError(f"no field has the number 0 (byte {at})")
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield Field(number, value)
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise WireError(f"field {number} has wire type {kind} (byte {at})")
        if size > end - at:
            raise WireError(f"field {number} wants {size} bytes and {end - at} are left")
        yield Field(number, message[at : at + size])
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return an unsigned integer and where the next byte stands."""
    value = 0
    for index, byte in enumerate(message[at : at + _MOST_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + index + 1
    raise WireError(f"an integer has no end (byte {at})")
