"""Pixels that are not what the header says, and encodings that few readers know."""

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from tests.dicoms import NATIVE, dataset, dicom, item, ramp, refusal, shown, warned, written

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
