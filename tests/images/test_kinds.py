"""gzip and ZIP, and what bytes are told to be."""

import contextlib
import gzip
import io
import struct
import zipfile

import numpy as np
import pytest
from tests.dicoms import dicom, ramp, refusal
from tests.pictures import chunk, grey_png, picture, saved

from thorax.errors import ImageError
from thorax.images.kinds import ZipArchive, kind_of, unpacked
from thorax.images.radiograph import Limits, read


def zipped(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def test_gzip_and_zip_of_one_image_are_that_image() -> None:
    for data in (grey_png(picture()), dicom(ramp(8))):
        plain = read(data).grey8
        assert np.array_equal(read(gzip.compress(data)).grey8, plain)
        assert np.array_equal(read(zipped(image=data)).grey8, plain)
        litter = {"__MACOSX/._image": b"x", ".DS_Store": b"y"}
        assert np.array_equal(read(zipped(image=data, **litter)).grey8, plain)


def test_archives_of_none_or_several_are_refused_with_what_to_do() -> None:
    data = grey_png(picture())
    assert refusal(zipped()) == "image-members"
    assert refusal(zipped(one=data, two=data)) == "image-members"
    assert refusal(zipped(one=gzip.compress(data))) == "image-members"


def test_archives_that_inflate_for_long_or_are_damaged_are_refused() -> None:
    bomb = bytes(3_000_000)
    for packed in (gzip.compress(bomb), zipped(image=bomb)):
        assert refusal(packed, Limits(file_bytes=1_000_000)) == "image-too-large"
    packed = gzip.compress(grey_png(picture()))
    assert refusal(packed[:-20]) == "image-truncated"
    assert refusal(packed[:20] + bytes(20) + packed[40:]) == "image-corrupt"
    whole = zipped(image=grey_png(picture()))
    assert refusal(whole[:-30]) == "image-corrupt"
    assert refusal(whole[:60] + bytes(20) + whole[80:]) == "image-corrupt"


def test_an_archive_with_a_long_directory_is_refused_before_it_is_read() -> None:
    whole = bytearray(zipped(image=grey_png(picture())))
    end = whole.index(b"PK\x05\x06")
    whole[end + 12 : end + 16] = (1 << 30).to_bytes(4, "little")
    assert refusal(bytes(whole)) == "image-too-large"


def test_a_locked_archive_is_told() -> None:
    whole = bytearray(zipped(image=grey_png(picture())))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(signature) + flags] |= 1
    assert refusal(bytes(whole)) == "image-members"


def test_members_are_named_and_read_one_by_one() -> None:
    whole = zipped(**{"b/2": b"two", "a/1": b"one", "a/.hidden": b"x"})
    archive = ZipArchive(io.BytesIO(whole))
    assert archive.names == ("b/2", "a/1")
    assert archive.read("a/1", 10) == b"one"


@pytest.mark.parametrize(
    ("kind", "name"),
    [("png", "PNG"), ("jpeg", "JPEG"), ("tiff", "TIFF"), ("bmp", "BMP"), ("webp", "WEBP")],
)
def test_kinds_are_told_by_their_first_bytes(kind: str, name: str) -> None:
    from PIL import Image

    data = saved(Image.fromarray(picture()), name)
    assert kind_of(data[:132]) == kind
    assert unpacked(data, 1) is data


def test_a_dicom_file_whose_preamble_is_a_tiff_is_dicom() -> None:
    data = dicom(ramp(8))
    assert kind_of(b"II*\0" + data[4:]) == "dicom"
    assert np.array_equal(read(b"II*\0" + data[4:]).grey8, ramp(8))
    assert kind_of(chunk(b"IHDR", b"")) == ""


def test_members_of_gzip_that_follow_each_other_are_one_file() -> None:
    data = dicom(ramp(12), BitsStored=12)
    parts = [gzip.compress(data[at : at + 700]) for at in range(0, len(data), 700)]
    for tail in (b"", bytes(512), b"rubbish"):
        assert unpacked(b"".join(parts) + tail, len(data)) == data
    assert refusal(b"".join(parts)[:-9]) == "image-truncated"
    assert refusal(gzip.compress(b"x") * 20_000) == "image-too-large"


def test_what_is_packed_twice_is_told() -> None:
    inner = gzip.compress(grey_png(picture()))
    for data in (gzip.compress(inner), zipped(inner=inner), gzip.compress(zipped(inner=inner))):
        assert refusal(data) == "image-members"


@pytest.mark.parametrize(
    ("place", "value", "code"),
    [
        (42, 0xFFFFFFF0, "image-corrupt"),  # where the file begins
        (24, 10, "image-corrupt"),  # its size
        (10, 99, "image-members"),  # its method
    ],
)
def test_a_directory_that_lies_is_refused(place: int, value: int, code: str) -> None:
    whole = bytearray(zipped(image=grey_png(picture())))
    at = whole.rindex(b"PK\x01\x02") + place
    size = 2 if place == 10 else 4
    whole[at : at + size] = value.to_bytes(size, "little")
    assert refusal(bytes(whole)) == code


def test_the_directory_of_zip64_is_measured_and_counts() -> None:
    whole = zipped(image=grey_png(picture()))
    end = whole.rindex(b"PK\x05\x06")
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, 1 << 40, 0)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    assert refusal(whole[:end] + record + locator + whole[end:]) == "image-too-large"
    assert refusal(whole[: end + 16] + b"\xff" * 4 + whole[end + 20 :]) == "image-corrupt"


def test_mutated_archives_are_read_or_refused() -> None:
    rng = np.random.default_rng(3)
    seeds = [zipped(image=grey_png(picture())), gzip.compress(grey_png(picture()))]
    for number in range(300):
        data = bytearray(seeds[number % 2])
        for _ in range(2):
            place = int(rng.integers(120))
            data[place if number % 3 else -1 - place] = int(rng.integers(256))
        with contextlib.suppress(ImageError):
            read(bytes(data))
