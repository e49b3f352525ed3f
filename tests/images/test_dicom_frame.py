"""Pixels that are not what the header says, and encodings that few readers know."""

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from tests.dicoms import (
    NATIVE,
    dataset,
    dicom,
    encoded_by_gdcm,
    item,
    ramp,
    refusal,
    shown,
    warned,
    written,
)

from thorax.errors import ImageError
from thorax.images.error_codes import REFUSALS
from thorax.images.radiograph import read


def test_a_frame_count_of_zero_is_one() -> None:
    radiograph = read(dicom(ramp(8), NumberOfFrames=0))
    assert np.array_equal(radiograph.grey8, ramp(8))
    assert warned(radiograph) == ["dicom-frames-corrected"]


@pytest.mark.parametrize("bits", [15, 16])
@pytest.mark.parametrize("syntax", [*NATIVE, uid.JPEG2000Lossless, uid.JPEGLSLossless])
def test_values_above_the_bits_stored_do_not_wrap(syntax: str, bits: int) -> None:
    pixels = ramp(bits)
    made = dataset(pixels, syntax if syntax in NATIVE else uid.ExplicitVRLittleEndian)
    if syntax not in NATIVE:
        made.compress(syntax)
    made.BitsStored, made.HighBit = 12, 11
    radiograph = read(written(made))
    assert np.array_equal(radiograph.pixels, shown(dicom(pixels)))
    assert warned(radiograph) == ["dicom-bits-corrected"]


def test_negative_values_beyond_the_bits_stored_do_not_wrap() -> None:
    negative = (ramp(15).astype(np.int32) - 16384).astype(np.int16)
    radiograph = read(dicom(negative, BitsStored=12))
    assert np.array_equal(radiograph.pixels, shown(dicom(negative)))
    assert warned(radiograph) == ["dicom-bits-corrected"]


def test_a_modality_lut_of_the_bits_stored_confirms_them() -> None:
    signed = (ramp(12).astype(np.int32) - 2048).astype(np.int16)
    half = signed.copy()
    half[::2] &= 0x0FFF
    curve = (np.arange(4096) ** 2 // 4096).tolist()
    luts: dict[str, Any] = {
        "ModalityLUTSequence": item(LUTDescriptor=[4096, -2048, 12], LUTData=curve)
    }
    radiograph = read(dicom(half, BitsStored=12, **luts))
    assert np.array_equal(radiograph.pixels, shown(dicom(signed, BitsStored=12, **luts)))
    assert not warned(radiograph)


def test_a_high_bit_that_no_pixel_reaches_is_none() -> None:
    radiograph = read(dicom(ramp(12), BitsStored=12, HighBit=15))
    assert np.array_equal(radiograph.pixels, shown(dicom(ramp(12), BitsStored=12)))
    assert warned(radiograph) == ["dicom-bits-corrected"]
    raised = read(dicom(ramp(12) << 4, BitsStored=12, HighBit=15))
    assert np.array_equal(raised.pixels, radiograph.pixels)
    assert not warned(raised)


def test_old_overlays_are_no_values() -> None:
    pixels = ramp(12)
    marked = pixels | np.where(np.indices(pixels.shape).sum(0) % 3, 0x1000, 0).astype(np.uint16)
    made = dataset(marked, BitsStored=12)
    made.add_new(0x60000102, "US", 12)
    radiograph = read(written(made))
    assert np.array_equal(radiograph.pixels, shown(dicom(pixels, BitsStored=12)))
    assert not warned(radiograph)


def test_sign_above_the_bits_stored_is_no_value() -> None:
    signed = (ramp(12).astype(np.int32) - 2048).astype(np.int16)
    radiograph = read(dicom(signed, BitsStored=12))
    assert np.array_equal(radiograph.pixels, shown(dicom(ramp(12), BitsStored=12)))
    assert not warned(radiograph)


def test_pixels_of_32_bits_are_read_where_16_hold_them() -> None:
    plain = shown(dicom(ramp(12), BitsStored=12))
    for stored in (12, 32):
        assert np.array_equal(shown(dicom(ramp(12).astype(np.uint32), BitsStored=stored)), plain)
    raised = dicom(ramp(12).astype(np.uint32) << 20, BitsStored=12, HighBit=31)
    assert np.array_equal(shown(raised), plain)
    assert refusal(dicom(ramp(12).astype(np.uint32) << 8)) == "dicom-pixel-format"


def in_frames(pixels: npt.NDArray[Any], syntax: str, frame: bytes) -> bytes:
    """Return a file of a transfer syntax that pydicom does not write."""
    made = dataset(pixels)
    made.PixelData = encapsulate([frame])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    own = written(made)
    plain, new = (
        len(padded).to_bytes(2, "little") + padded
        for padded in (b"1.2.840.10008.1.2.1\0", syntax.encode() + b"\0" * (len(syntax) % 2))
    )
    group = own.index(b"\x02\x00\x00\x00UL\x04\x00") + 8
    size = int.from_bytes(own[group : group + 4], "little") + len(new) - len(plain)
    renamed = own[:group] + size.to_bytes(4, "little") + own[group + 4 :]
    assert renamed.count(plain) == 1
    return renamed.replace(plain, new)


@pytest.mark.parametrize("bits", [8, 12])
def test_frames_that_are_not_compressed_or_deflated_are_read(bits: int) -> None:
    pixels = ramp(bits)
    native = pixels.tobytes()
    deflate = zlib.compressobj(9, wbits=-15)
    deflated = deflate.compress(native) + deflate.flush()
    for syntax, frame in (("1.2.840.10008.1.2.1.98", native), ("1.2.840.10008.1.2.8.1", deflated)):
        assert np.array_equal(shown(in_frames(pixels, syntax, frame)), shown(dicom(pixels)))
        assert refusal(in_frames(pixels, syntax, frame[: len(frame) // 2])) in REFUSALS


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_xl_is_read(bits: int) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    pixels = ramp(bits)
    frame = imagecodecs.jpegxl_encode(pixels, lossless=True)
    data = in_frames(pixels, "1.2.840.10008.1.2.4.110", frame)
    assert np.array_equal(shown(data), shown(dicom(pixels)))
    assert refusal(in_frames(pixels, "1.2.840.10008.1.2.4.112", frame[:-40])) == "dicom-corrupt"


def test_newer_encodings_are_named() -> None:
    with pytest.raises(ImageError, match="JPIP HTJ2K Referenced; convert it"):
        read(in_frames(ramp(8), "1.2.840.10008.1.2.4.204", b"frame"))


def test_a_big_endian_data_set_without_meta_is_read() -> None:
    data = dicom(ramp(12), uid.ExplicitVRBigEndian, BitsStored=12)
    start = data.index(b"\x00\x08\x00\x16UI")
    assert np.array_equal(shown(data[start:]), shown(dicom(ramp(12), BitsStored=12)))


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("meta", [b"", uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
@pytest.mark.parametrize("little", [False, True])
def test_the_order_of_the_bytes_is_seen(implicit: bool, meta: str | bytes, little: bool) -> None:
    syntax = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
    made = dataset(ramp(12), syntax, BitsStored=12)
    del made.file_meta
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = little, implicit
    write_dataset(stream, made)
    begin = b""
    if meta:
        head = dicom(ramp(8), uid.ExplicitVRLittleEndian)[:132]
        text = str(meta).encode() + b"\0" * (len(meta) % 2)
        begin = head + b"\2\0\x10\0UI" + len(text).to_bytes(2, "little") + text
    data = begin + stream.getvalue()
    assert np.array_equal(shown(data), shown(dicom(ramp(12), BitsStored=12)))


@pytest.mark.parametrize("junk", [b"\xff" * 8, b"\xff" * 333, b"<html>", bytes(512)])
def test_what_comes_after_the_pixels_is_passed_over(junk: bytes) -> None:
    for syntax in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian):
        data = dicom(ramp(12), syntax, BitsStored=12)
        assert np.array_equal(shown(data + junk), shown(data))


def test_an_element_before_the_pixels_may_have_any_tag() -> None:
    data = dicom(ramp(12), BitsStored=12)
    place = data.index(b"\xe0\x7f\x10\x00OW")
    late = data[:place] + b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0rest" + data[place:]
    assert np.array_equal(shown(late), shown(data))


def test_a_file_that_ends_before_its_pixels_is_truncated() -> None:
    data = dicom(ramp(12), BitsStored=12)
    for place in (data.index(b"SECRET") + 2, data.index(b"1.2.3") + 1, 132):
        assert refusal(data[:place]) == "dicom-truncated"


@pytest.mark.parametrize("name", ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1"])
@pytest.mark.parametrize("stored", [8, 10, 15])
def test_lossless_jpeg_of_more_bits_than_stored_is_not_cut(
    name: str, stored: int, tmp_path: Path
) -> None:
    data = encoded_by_gdcm(dicom(ramp(16)), name, tmp_path)
    made = pydicom.dcmread(io.BytesIO(data))
    made.BitsStored, made.HighBit = stored, stored - 1
    radiograph = read(written(made))
    assert np.array_equal(radiograph.pixels, shown(dicom(ramp(16))))
    assert warned(radiograph) == ["dicom-bits-corrected"]


def test_jpeg_of_twelve_bits_is_not_cut(tmp_path: Path) -> None:
    data = encoded_by_gdcm(dicom(ramp(12), BitsStored=12), "JPEGExtendedProcess2_4", tmp_path)
    made = pydicom.dcmread(io.BytesIO(data))
    for stored in (8, 10):
        made.BitsStored, made.HighBit = stored, stored - 1
        radiograph = read(written(made))
        assert np.abs(radiograph.pixels - ramp(12) / 4095.0).max() < 0.002
        assert warned(radiograph) == ["dicom-bits-corrected"]


def test_the_sign_of_jpeg_2000_is_its_highest_bit() -> None:
    made = dataset(ramp(12))
    made.compress(uid.JPEG2000Lossless)
    made.BitsStored, made.HighBit, made.PixelRepresentation = 12, 11, 1
    radiograph = read(written(made))
    assert np.array_equal(radiograph.pixels, shown(dicom(ramp(12), BitsStored=12)))
    assert warned(radiograph) == ["dicom-bits-corrected"]


@pytest.mark.parametrize(
    "keyword", ["BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"]
)
def test_what_the_standard_makes_plain_may_be_left_out(keyword: str) -> None:
    made = dataset(ramp(16))
    delattr(made, keyword)
    if keyword == "BitsStored":
        del made.HighBit
    assert np.array_equal(shown(written(made)), shown(dicom(ramp(16))))
    colour = dataset(np.dstack([ramp(8)] * 3))
    del colour.PlanarConfiguration
    assert np.array_equal(read(written(colour)).grey8, ramp(8))
    small = dicom(ramp(8)).replace(b"MONOCHROME2", b"monochrome2")
    assert np.array_equal(read(small).grey8, ramp(8))


def test_colour_of_other_bits_is_told_as_such() -> None:
    with pytest.raises(ImageError, match="colour of 12 bits stored in 16"):
        read(dicom(np.dstack([ramp(12)] * 3), BitsStored=12))
