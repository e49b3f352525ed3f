"""The wire format, against protobuf itself."""

import struct

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax.importers.wire import Field, WireError, fields


def read(message: bytes) -> list[Field]:
    return list(fields(memoryview(message)))


def test_a_message_that_protobuf_wrote_is_read_field_by_field() -> None:
    written = descriptor_pb2.FileDescriptorProto(name="caffé", dependency=["a", "b"])
    written.public_dependency.extend([0, 1, 300])
    written.message_type.add(name="Blob").field.add(name="data", number=5)
    found = read(written.SerializeToString())
    assert [part.text() for part in found if part.number == 1] == ["caffé"]
    assert [part.text() for part in found if part.number == 3] == ["a", "b"]
    assert [one for part in found if part.number == 10 for one in part.integers()] == [0, 1, 300]
    (message,) = [part.data() for part in found if part.number == 4]
    inner = list(fields(message))
    assert inner[0].text() == "Blob"
    assert [part.integer() for part in fields(inner[1].data()) if part.number == 3] == [5]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_packed_and_lone_integers_are_the_same(numbers: list[int]) -> None:
    def varint(number: int) -> bytes:
        head = bytes([number & 0x7F | (0x80 if number > 0x7F else 0)])
        return head + (varint(number >> 7) if number > 0x7F else b"")

    payload = b"".join(map(varint, numbers))
    packed = read(bytes([1 << 3 | 2]) + varint(len(payload)) + payload)
    lone = read(b"".join(bytes([1 << 3]) + varint(number) for number in numbers))
    assert [one for part in packed for one in part.integers()] == numbers
    assert [one for part in lone for one in part.integers()] == numbers


def test_fixed_numbers_are_their_bytes() -> None:
    written = bytes([5 << 3 | 5]) + struct.pack("<f", 0.5) + bytes([8 << 3 | 1]) + b"8 bytes."
    assert [bytes(part.data()) for part in read(written)] == [struct.pack("<f", 0.5), b"8 bytes."]


@pytest.mark.parametrize(
    "damaged",
    [
        b"\x0a\xff\xff\xff\xff\x0f",  # A string of four thousand million bytes.
        b"\x0a",
        b"\x08\x80",
        b"\x08" + b"\x80" * 11,
        b"\x0b",
        b"\x0f",
        b"\x00\x00",
        b"\x0d\x00",
    ],
)
def test_damage_is_told_and_nothing_is_allocated_for_it(damaged: bytes) -> None:
    with pytest.raises(WireError):
        read(damaged)


def test_a_value_of_another_kind_is_told() -> None:
    integer, text = read(b"\x08\x01\x12\x01\xff")
    with pytest.raises(WireError):
        integer.data()
    with pytest.raises(WireError):
        text.integer()
    with pytest.raises(WireError):
        text.text()


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_damage(message: bytes) -> None:
    try:
        found = read(message)
    except WireError:
        return
    assert sum(len(part.value) for part in found if isinstance(part.value, memoryview)) <= len(
        message
    )
