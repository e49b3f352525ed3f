"""The DICOM pixel chain, from bytes to grey, against independent computations."""

import logging
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from benchmarks.hostile_corpus import as_radiography
from pydicom import dcmread, uid
from pydicom.encaps import get_frame
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from tests.dicoms import (
    NATIVE,
    SECRET,
    dataset,
    dicom,
    encoded_by_gdcm,
    item,
    ramp,
    refusal,
    shown,
    wrapped,
    written,
)

from thorax.errors import ImageError
from thorax.images.error_codes import REFUSALS
from thorax.images.radiograph import Limits, Radiograph, read


def outcome(source: bytes | Path) -> str:
    """Read or be refused, and either as promised; "read" or the code."""
    try:
        pixels = read(source).pixels
    except ImageError as error:
        refused = error
    else:
        assert pixels.ndim == 2
        assert np.isfinite(pixels).all()
        assert 0 <= pixels.min() <= pixels.max() <= 1
        return "read"
    assert refused.code in REFUSALS
    assert "SECRET" not in str(refused)
    return refused.code


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("bits", [8, 12])
def test_native_encodings_say_the_same(syntax: str, bits: int) -> None:
    pixels = ramp(bits)
    radiograph = read(dicom(pixels, syntax, BitsStored=bits))
    if bits == 8:
        assert np.array_equal(radiograph.grey8, pixels)
        assert radiograph.meaning.contrast == "stored"
    else:
        low, high = int(pixels.min()), int(pixels.max())
        assert np.allclose(radiograph.pixels, (pixels - np.float64(low)) / (high - low), atol=1e-7)
        assert radiograph.meaning.contrast == "range"


@pytest.mark.parametrize(
    ("syntax", "plugin"),
    [
        (uid.RLELossless, "pydicom"),
        (uid.JPEGLSLossless, "pyjpegls"),
        (uid.JPEG2000Lossless, "pylibjpeg"),
    ],
)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16])
def test_lossless_encodings_say_the_same(syntax: str, plugin: str, kind: type) -> None:
    pixels: npt.NDArray[Any] = ramp(8 if kind is np.uint8 else 12).astype(kind)
    if kind is np.int16:
        pixels -= 2048
    stored = 8 if kind is np.uint8 else 12
    made = dataset(pixels, BitsStored=stored)
    plain = shown(written(made))
    made.compress(uid.UID(syntax), encoding_plugin=plugin)
    assert np.array_equal(shown(written(made)), plain)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("JPEGLosslessProcess14", 0),
        ("JPEGLosslessProcess14_1", 0),
        ("JPEGExtendedProcess2_4", 4),
        ("JPEG2000Lossless", 0),
        ("RLELossless", 0),
    ],
)
def test_what_gdcm_encodes_is_read(name: str, error: int, tmp_path: Path) -> None:
    pixels = ramp(12)
    window: dict[str, Any] = {"WindowCenter": 2048, "WindowWidth": 4096}
    data = encoded_by_gdcm(dicom(pixels, BitsStored=12, **window), name, tmp_path)
    assert np.abs(read(data).pixels - pixels / np.float64(4095)).max() <= (error + 0.001) / 4095


def test_a_baseline_jpeg_in_dicom_is_that_jpeg() -> None:
    pixels = ramp(8)
    _, frame = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
    data = wrapped(pixels, uid.JPEGBaseline8Bit, frame.tobytes())
    assert np.abs(read(data).grey8.astype(int) - read(frame.tobytes()).grey8).max() <= 1


def test_monochrome1_is_one_minus_monochrome2() -> None:
    for pixels, bits in ((ramp(8), 8), (ramp(12), 12)):
        one, two = (
            shown(dicom(pixels, BitsStored=bits, PhotometricInterpretation=name))
            for name in ("MONOCHROME1", "MONOCHROME2")
        )
        assert np.allclose(one, 1 - two, atol=1e-6)


def test_inverse_restates_monochrome1_and_inverts_once() -> None:
    pixels = ramp(12)
    plain = shown(dicom(pixels, BitsStored=12))
    for photometric, shape in (
        ("MONOCHROME1", "INVERSE"),
        ("MONOCHROME1", None),
        ("MONOCHROME2", "INVERSE"),
    ):
        more = {"PresentationLUTShape": shape} if shape else {}
        data = dicom(pixels, BitsStored=12, PhotometricInterpretation=photometric, **more)
        assert np.allclose(shown(data), 1 - plain, atol=1e-6)
    same = dicom(pixels, BitsStored=12, PresentationLUTShape="IDENTITY")
    assert np.array_equal(shown(same), plain)


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_rescale_and_the_first_window_are_pydicoms(function: str | None) -> None:
    pixels = ramp(12)
    more: dict[str, Any] = {
        "BitsStored": 12,
        "RescaleSlope": 1.5,
        "RescaleIntercept": -300,
        "RescaleType": "US",
        "WindowCenter": [1500, 99],
        "WindowWidth": [3000, 5],
    }
    if function:
        more["VOILUTFunction"] = function
    made = dataset(pixels, **more)
    top = 1.5 * 4095 - 300
    theirs = (apply_voi_lut(apply_modality_lut(pixels, made), made) + 300) / (top + 300)
    radiograph = read(written(made))
    assert np.abs(radiograph.pixels - theirs).max() < 1e-5
    assert radiograph.meaning.contrast == "window"


@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize("syntax", NATIVE)
def test_luts_are_pydicoms(vr: str, syntax: str) -> None:
    pixels = ramp(12)
    curve = (np.linspace(0, 1, 4096) ** 2 * 65535).astype(np.uint16)
    order = ">u2" if syntax == uid.ExplicitVRBigEndian else "<u2"
    values = curve.astype(order).tobytes() if vr == "OW" else curve.tolist()
    luts = item(LUTDescriptor=[4096, 0, 16])
    luts[0].add_new("LUTData", vr, values)
    shape = {"BitsStored": 12, "WindowCenter": 5, "WindowWidth": 2}
    voi = read(dicom(pixels, syntax, VOILUTSequence=luts, **shape))
    assert voi.meaning.contrast == "voi-lut"
    assert np.allclose(voi.pixels, curve[pixels] / 65535, atol=1e-7)
    modality = read(dicom(pixels, syntax, ModalityLUTSequence=luts, BitsStored=12))
    mapped = curve[pixels].astype(np.float64)
    low, high = mapped.min(), mapped.max()
    assert np.allclose(modality.pixels, (mapped - low) / (high - low), atol=1e-7)


def test_a_lut_of_bytes_packed_in_words_is_read() -> None:
    pixels = ramp(8)
    curve = np.arange(255, -1, -1, dtype=np.uint8)
    luts = item(LUTDescriptor=[256, 0, 8])
    luts[0].add_new("LUTData", "OW", curve.tobytes())
    assert np.array_equal(read(dicom(pixels, VOILUTSequence=luts)).grey8, 255 - pixels)


def test_bits_that_are_not_stored_are_ignored() -> None:
    pixels = ramp(10)
    plain = shown(dicom(pixels, BitsStored=10))
    overlay = pixels | np.uint16(0xF000)
    assert np.array_equal(shown(dicom(overlay, BitsStored=10)), plain)
    raised = (pixels << 4) | np.uint16(0xC007)
    assert np.array_equal(shown(dicom(raised, BitsStored=10, HighBit=13)), plain)


@pytest.mark.parametrize("bits", range(9, 17))
def test_every_depth_fills_its_range(bits: int) -> None:
    pixels = np.linspace(0, 2**bits - 1, 960).astype(np.uint16).reshape(24, 40)
    grey = shown(dicom(pixels, BitsStored=bits))
    assert np.allclose(grey, pixels / np.float64(2**bits - 1), atol=1e-7)
    signed = (pixels.astype(np.int32) - 2 ** (bits - 1)).astype(np.int16)
    assert np.array_equal(shown(dicom(signed, BitsStored=bits)), grey)


def test_padding_is_black_and_outside_the_range() -> None:
    pixels = ramp(11)
    padded = pixels.copy()
    padded[:, :2] = 4095
    padded[:, -2:] = 4090
    for one, other in ((4095, 4090), (4090, 4095)):
        more: dict[str, Any] = {"PixelPaddingValue": one, "PixelPaddingRangeLimit": other}
        inner = np.ascontiguousarray(pixels[:, 2:-2])
        for photometric in ("MONOCHROME1", "MONOCHROME2"):
            ours = shown(
                dicom(padded, BitsStored=12, PhotometricInterpretation=photometric, **more)
            )
            alone = shown(dicom(inner, BitsStored=12, PhotometricInterpretation=photometric))
            assert np.array_equal(ours[:, 2:-2], alone)
            assert not ours[:, :2].any()
            assert not ours[:, -2:].any()
    negative = pixels.astype(np.int16) - 2048
    negative[0, 0] = -2048
    assert shown(dicom(negative, BitsStored=12, PixelPaddingValue=-2048))[0, 0] == 0


def test_pixels_become_square() -> None:
    pixels = ramp(8, 20, 40)

    def spaced(name: str, spacing: list[float]) -> Radiograph:
        more: dict[str, Any] = {name: spacing}
        return read(dicom(pixels, **more))

    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        tall = spaced(name, [0.2, 0.1])
        assert tall.grey8.shape == (40, 40)
        assert tall.meaning.spacing_mm == (0.1, 0.1)
        assert spaced(name, [0.1, 0.2]).grey8.shape == (20, 80)
        assert np.array_equal(spaced(name, [0.1, 0.1]).grey8, pixels)
    assert spaced("PixelAspectRatio", [2, 1]).grey8.shape == (40, 40)
    assert spaced("PixelSpacing", [0, 0]).meaning.spacing_mm is None
    assert refusal(dicom(pixels, PixelSpacing=[1, 1000])) == "dicom-spacing"


def test_colour_follows_the_rule_for_pictures() -> None:
    grey = ramp(8)
    assert np.array_equal(read(dicom(np.dstack([grey] * 3))).grey8, grey)
    rng = np.random.default_rng(2)
    colour = rng.integers(0, 256, (48, 64, 3), np.uint8)
    _, png = cv2.imencode(".png", colour[:, :, ::-1])
    assert np.array_equal(read(dicom(colour)).grey8, read(png.tobytes()).grey8)
    ybr = np.dstack([grey, np.full_like(grey, 128), np.full_like(grey, 128)])
    data = dicom(ybr, PhotometricInterpretation="YBR_FULL")
    assert np.array_equal(read(data).grey8, grey)


def test_a_palette_is_applied() -> None:
    pixels = ramp(8)
    more: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name in ("Red", "Green", "Blue"):
        more[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        more[f"{name}PaletteColorLookupTableData"] = bytes(range(255, -1, -1))
    assert np.array_equal(read(dicom(pixels, **more)).grey8, 255 - pixels)
    del more["RedPaletteColorLookupTableData"]
    assert refusal(dicom(pixels, **more)) == "dicom-lut"
    for syntax, order in ((uid.ExplicitVRLittleEndian, "<u2"), (uid.ExplicitVRBigEndian, ">u2")):
        for name in ("Red", "Green", "Blue"):
            more[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
            words = (np.arange(255, -1, -1, dtype=np.uint16) * 257).astype(order)
            more[f"{name}PaletteColorLookupTableData"] = words.tobytes()
        assert np.array_equal(read(dicom(pixels, syntax, **more)).grey8, 255 - pixels)


def test_attributes_are_told_and_the_patient_is_not() -> None:
    radiograph = read(
        dicom(
            ramp(8),
            ViewPosition="PA",
            BodyPartExamined="CHEST",
            ImageLaterality="R",
            PixelSpacing=[0.15, 0.15],
        )
    )
    meaning = radiograph.meaning
    assert (meaning.format, meaning.view, meaning.modality) == ("dicom", "PA", "DX")
    assert (meaning.body_part, meaning.laterality) == ("CHEST", "R")
    assert meaning.spacing_mm == (0.15, 0.15)
    assert radiograph.source == "<bytes>"
    coded = dicom(ramp(8), ViewCodeSequence=item(CodeValue="399348003"))
    assert read(coded).meaning.view == "AP"
    leaking = dicom(ramp(8), BodyPartExamined="AAAAAAAAAA").replace(b"AAAAAAAAAA", SECRET.encode())
    assert read(leaking).meaning.body_part is None


REFUSED: dict[str, list[dict[str, Any]]] = {
    "dicom-modality": [
        {"SOPClassUID": uid.CTImageStorage},
        {"SOPClassUID": uid.MRImageStorage},
        {"Modality": "CT"},
        {"Modality": "SECRET"},
        {"SOPClassUID": "1.2.3.4"},
    ],
    "dicom-for-processing": [
        {"SOPClassUID": uid.DigitalXRayImageStorageForProcessing},
        {"PresentationIntentType": "FOR PROCESSING"},
    ],
    "dicom-frames": [{"NumberOfFrames": 2}, {"NumberOfFrames": -1}],
    "image-too-large": [{"Rows": 65535, "Columns": 65535}],
    "dicom-corrupt": [{"Rows": 0}, {"Columns": 0}],
    "dicom-truncated": [{"Rows": 50}, {"BitsAllocated": 32}],
    "dicom-pixel-format": [
        {"BitsAllocated": 0},
        {"BitsAllocated": 1},
        {"BitsStored": 0, "HighBit": 0},
        {"BitsStored": 17},
        {"BitsStored": 12, "HighBit": 16},
        {"BitsStored": 12, "HighBit": 3},
        {"SamplesPerPixel": 3},
        {"PhotometricInterpretation": "RGB"},
        {"PhotometricInterpretation": "NONSENSE"},
        {"FloatPixelData": b"\0\0\0\0"},
    ],
    "dicom-lut": [
        {"ModalityLUTSequence": item(ModalityLUTType="US")},
        {"ModalityLUTSequence": item(LUTDescriptor=[4096, 0, 16], LUTData=[1, 2, 3])},
        {"ModalityLUTSequence": item(LUTDescriptor=[3, 0], LUTData=[1, 2, 3])},
    ],
    "dicom-rescale": [{"RescaleSlope": 1e308}],
}


@pytest.mark.parametrize(
    ("code", "attributes"), [(code, case) for code, cases in REFUSED.items() for case in cases]
)
def test_nonsense_is_refused_by_name(code: str, attributes: dict[str, Any]) -> None:
    assert refusal(dicom(ramp(12), **attributes)) == code


def test_a_rescale_of_no_numbers_is_refused() -> None:
    plain = dicom(ramp(12), RescaleSlope="3333", RescaleIntercept="7777")
    for bad in (b"nan ", b"inf ", b"-inf", b"abcd"):
        assert refusal(plain.replace(b"3333", bad)) == "dicom-rescale"
        assert refusal(plain.replace(b"7777", bad)) == "dicom-rescale"


def test_objects_without_pixels_are_refused() -> None:
    made = dataset(ramp(8))
    del made.PixelData
    assert refusal(written(made)) == "dicom-not-an-image"
    made.SOPClassUID = uid.EncapsulatedPDFStorage
    assert refusal(written(made)) == "dicom-not-an-image"
    made.SOPClassUID = uid.MediaStorageDirectoryStorage
    with pytest.raises(ImageError, match="name the folder that it lies in"):
        read(written(made))


def test_unknown_encodings_are_refused() -> None:
    assert refusal(wrapped(ramp(8), uid.MPEG2MPML, b"film")) == "dicom-transfer-syntax"
    plain = dicom(ramp(8))
    unknown = plain.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")
    assert unknown != plain
    assert refusal(unknown) == "dicom-transfer-syntax"


def test_codestreams_are_measured_before_they_are_decoded() -> None:
    pixels = ramp(8)
    _, frame = cv2.imencode(".jpg", np.zeros((2000, 1000), np.uint8))
    assert refusal(wrapped(pixels, uid.JPEGBaseline8Bit, frame.tobytes())) == "dicom-corrupt"
    siz = b"\xff\x4f\xff\x51" + b"\0\x29\0\0" + (2**31).to_bytes(4, "big") * 2 + bytes(60)
    assert refusal(wrapped(pixels, uid.JPEG2000Lossless, siz)) == "dicom-corrupt"
    assert refusal(wrapped(pixels, uid.JPEGLSLossless, b"nothing")) == "dicom-corrupt"


def test_a_deflate_bomb_is_stopped_by_its_size() -> None:
    data = dicom(ramp(8), uid.DeflatedExplicitVRLittleEndian)
    plain = zlib.decompressobj(-15)
    start = next(
        n for n in range(200, len(data)) if _inflates(data[n:]) and data[n - 2 : n] != b"\x08\x00"
    )
    plain.decompress(data[start:])
    squeeze = zlib.compressobj(9, wbits=-15)
    element = b"\x08\x00\x05\x00UN\0\0" + (60_000_000).to_bytes(4, "little")
    bomb = data[:start] + squeeze.compress(element + bytes(60_000_000)) + squeeze.flush()
    assert refusal(bomb, Limits(file_bytes=1_000_000)) == "image-too-large"
    assert refusal(data[:-9]) == "dicom-truncated"


def _inflates(data: bytes) -> bool:
    try:
        return zlib.decompressobj(-15).decompress(data)[:2] == b"\x08\x00"
    except zlib.error:
        return False


def test_deep_sequences_end_in_a_code() -> None:
    made = written(dataset(ramp(8)))
    nested = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 10_000
    assert refusal(made[: made.index(b"\x10\x00\x10\x00PN")] + nested) in REFUSALS


def test_a_data_set_without_preamble_is_read() -> None:
    pixels = ramp(8)
    data = dicom(pixels)
    start = data.index(b"\x08\x00\x16\x00UI")
    assert np.array_equal(read(data[start:]).grey8, pixels)
    assert np.array_equal(read(data[132:]).grey8, pixels)


def test_unended_pixel_data_are_refused_or_read_whole() -> None:
    pixels = ramp(8)
    made = dataset(pixels)
    made.compress(uid.RLELossless, encoding_plugin="pydicom")
    data = written(made)
    for length in range(len(data) - 1, len(data) - 400, -37):
        try:
            grey = read(data[:length]).grey8
        except ImageError:
            continue
        assert np.array_equal(grey, pixels)


def test_codestreams_that_do_not_end_are_refused() -> None:
    pixels = ramp(8)
    _, jpeg = cv2.imencode(".jpg", pixels)
    frames = {uid.JPEGBaseline8Bit: jpeg.tobytes()}
    for syntax, plugin in (
        (uid.JPEGLSLossless, "pyjpegls"),
        (uid.JPEG2000Lossless, "pylibjpeg"),
        (uid.RLELossless, "pydicom"),
    ):
        made = dataset(pixels)
        made.compress(syntax, encoding_plugin=plugin)
        frames[syntax] = get_frame(made.PixelData, 0, number_of_frames=1)
    for syntax, frame in frames.items():
        for length in (len(frame) // 3, len(frame) * 3 // 4):
            assert refusal(wrapped(pixels, syntax, frame[:length])) in {
                "dicom-corrupt",
                "dicom-truncated",
            }
        if syntax != uid.RLELossless:
            closed = wrapped(pixels, syntax, frame[: len(frame) // 2] + b"\xff\xd9")
            assert refusal(closed) == "dicom-corrupt"


def test_nothing_of_the_patient_is_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        for data in (dicom(ramp(8)), dicom(ramp(8), Rows=0), dicom(ramp(8))[:-5]):
            outcome(data)
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def seeds() -> list[bytes]:
    pixels = ramp(12)
    made = [dicom(pixels, syntax, BitsStored=12) for syntax in NATIVE]
    for syntax, plugin in (
        (uid.RLELossless, "pydicom"),
        (uid.JPEGLSLossless, "pyjpegls"),
        (uid.JPEG2000Lossless, "pylibjpeg"),
    ):
        compressed = dataset(pixels, BitsStored=12)
        compressed.compress(syntax, encoding_plugin=plugin)
        made.append(written(compressed))
    _, frame = cv2.imencode(".jpg", ramp(8))
    made.append(wrapped(ramp(8), uid.JPEGBaseline8Bit, frame.tobytes()))
    return made


def mutated(rng: np.random.Generator, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.integers(132, len(changed)))
        length = int(rng.integers(1, 9))
        kind = int(rng.integers(5))
        if kind == 0:
            changed[place] = int(rng.integers(256))
        elif kind == 1:
            changed[place : place + length] = rng.bytes(length)
        elif kind == 2:
            del changed[place : place + 8 * length]
        elif kind == 3:
            changed[place : place + length] = b"\xff" * length
        else:
            del changed[max(place, 200) :]
    return bytes(changed)


def test_mutated_files_are_read_or_refused() -> None:
    rng = np.random.default_rng(7)
    start = seeds()
    outcomes = set()
    for number in range(400):
        outcomes.add(outcome(mutated(rng, start[number % len(start)])))
    assert {"read", "dicom-corrupt"} <= outcomes


# Real files


@pytest.mark.realdata
def test_every_hostile_file_is_answered(realdata: Path) -> None:
    files = sorted((realdata / "dicom" / "hostile").rglob("*.dcm"))
    assert len(files) > 350
    as_they_are = Counter(outcome(path) for path in files)
    # Most are computed tomography, refused by their header: that is no test of decoding.
    assert as_they_are["read"] == 0
    assert as_they_are["dicom-modality"] > 200
    radiography = Counter(outcome(as_radiography(path.read_bytes())) for path in files)
    assert radiography["read"] > 200
    assert radiography["dicom-modality"] < 10


@pytest.mark.realdata
def test_lossless_copies_of_a_real_image_are_identical(realdata: Path) -> None:
    first, *others = (
        read(realdata / "dicom" / "codecs" / f"RG3_{name}.dcm").pixels
        for name in ("J2KR", "JLSL", "JPLL", "RLE")
    )
    assert first.shape == (1760, 1760)
    for other in others:
        assert np.array_equal(first, other)
    lossy = read(realdata / "dicom" / "codecs" / "RG3_J2KI.dcm").pixels
    assert 0 < np.abs(first - lossy).mean() < 0.01


@pytest.mark.realdata
def test_the_monochrome1_twin_is_one_minus_the_other(realdata: Path) -> None:
    one, two = (read(realdata / "dicom" / "chest" / f"cr_jpeg_mono{n}.dcm") for n in (1, 2))
    assert np.array_equal(one.grey8, 255 - two.grey8)
    assert np.allclose(one.pixels, 1 - two.pixels, atol=1e-6)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "inverted"),
    [
        ("RG1_J2KI", True),
        ("RG1_JLSN", True),
        ("dx_j2k_inverse", True),
        ("cr_jpeg_mono2", False),
        ("cr_modality_lut_sequence", True),
        ("nih_dx_implicit", False),
    ],
)
def test_real_files_look_as_pydicom_computes(name: str, inverted: bool, realdata: Path) -> None:
    path = realdata / "dicom" / "chest" / f"{name}.dcm"
    made = dcmread(path)
    values = apply_voi_lut(apply_modality_lut(made.pixel_array, made), made).astype(np.float64)
    low, high = 0.0, 2.0**made.BitsStored - 1
    if "ModalityLUTSequence" in made:
        low, high = values.min(), values.max()
    expected = (values - low) / (high - low)
    ours = read(path).pixels
    assert np.abs(ours - (1 - expected if inverted else expected)).max() < 1e-6
    middle, corner = ours[700:1200, 850:950].mean(), ours[:40, :40].mean()
    assert name == "cr_modality_lut_sequence" or middle > corner
