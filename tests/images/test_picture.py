"""TIFF, BMP, WebP and JPEG 2000 against Pillow: every kind that is read, damage, and limits."""

import io
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps
from tests.dicoms import refusal, warned
from tests.pictures import picture, saved

from thorax.errors import ImageError
from thorax.images.radiograph import Limits, read

DEEP = picture().astype(np.uint16) * 257


def luma(image: Image.Image) -> npt.NDArray[Any]:
    return np.asarray(image.convert("L"), float)


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("TIFF", "L", {}),
        ("TIFF", "1", {}),
        ("TIFF", "P", {}),
        ("TIFF", "RGB", {}),
        ("TIFF", "RGBA", {}),
        ("TIFF", "L", {"compression": "tiff_lzw"}),
        ("TIFF", "RGB", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", "L", {"compression": "packbits"}),
        ("TIFF", "1", {"compression": "group4"}),
        ("TIFF", "L", {"big_tiff": True}),
        ("BMP", "L", {}),
        ("BMP", "1", {}),
        ("BMP", "P", {}),
        ("BMP", "RGB", {}),
        ("WEBP", "L", {"lossless": True}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("JPEG2000", "L", {}),
        ("JPEG2000", "RGB", {}),
        ("JPEG2000", "L", {"no_jp2": True}),
    ],
)
def test_pictures_are_what_pillow_says(name: str, mode: str, options: dict[str, Any]) -> None:
    image = Image.fromarray(picture()).convert(mode)
    radiograph = read(saved(image, name, **options))
    assert np.abs(radiograph.grey8 - luma(image)).max() <= 1
    assert radiograph.meaning.format == name.lower()
    assert not warned(radiograph)


@pytest.mark.parametrize("ending", [".tiff", ".jp2"])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_pictures_keep_their_bits(ending: str, bits: int) -> None:
    values = DEEP >> (16 - bits)
    _, data = cv2.imencode(ending, values, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])
    radiograph = read(data.tobytes())
    used = int(values.max()).bit_length()
    assert radiograph.meaning.bits == used
    assert np.abs(radiograph.pixels - values / (2**used - 1)).max() < 0.01
    assert ("image-bits-corrected" in warned(radiograph)) == (bits < 16)


def tiff(pixels: npt.NDArray[Any], **tags: int) -> bytes:
    """Return a TIFF of one strip, whose tags may be false."""
    bits = 8 * pixels.dtype.itemsize
    entries: dict[str, tuple[int, int]] = {
        "ImageWidth": (256, pixels.shape[1]),
        "ImageLength": (257, pixels.shape[0]),
        "BitsPerSample": (258, bits),
        "Compression": (259, 1),
        "PhotometricInterpretation": (262, 1),
        "StripOffsets": (273, 8),
        "SamplesPerPixel": (277, 1),
        "RowsPerStrip": (278, pixels.shape[0]),
        "StripByteCounts": (279, pixels.nbytes),
        "Orientation": (274, 1),
        "SampleFormat": (339, 1),
    }
    values = sorted((tag, tags.get(name, value)) for name, (tag, value) in entries.items())
    fields = b"".join(
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little")
        for tag, value in values
    )
    begin = 8 + pixels.nbytes
    count = len(values).to_bytes(2, "little")
    return b"II*\0" + begin.to_bytes(4, "little") + pixels.tobytes() + count + fields + bytes(4)


@pytest.mark.parametrize("pixels", [picture(), DEEP], ids=["8", "16"])
def test_white_may_be_zero_and_up_may_be_anywhere(pixels: npt.NDArray[Any]) -> None:
    assert np.array_equal(read(tiff(~pixels, PhotometricInterpretation=0)).grey8, picture())
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = Image.fromarray(picture())
        turned.getexif()[0x0112] = orientation
        upright = np.asarray(ImageOps.exif_transpose(turned))
        assert np.array_equal(read(tiff(pixels, Orientation=orientation)).grey8, upright)
        data = saved(Image.fromarray(picture()), "WEBP", lossless=True, exif=exif.tobytes())
        assert np.abs(read(data).grey8 - upright.astype(float)).max() <= 1


def test_few_bits_of_which_zero_is_white_are_the_range() -> None:
    few = DEEP >> 4
    radiograph = read(tiff(few, PhotometricInterpretation=0))
    assert np.allclose(radiograph.pixels, 1 - few / 4095.0, atol=1e-6)
    assert warned(radiograph) == ["image-bits-corrected"]


def test_the_first_of_several_pictures_is_read_and_told() -> None:
    pages = [Image.fromarray(picture()), Image.fromarray(255 - picture())]
    for name, options in (("TIFF", {}), ("WEBP", {"lossless": True})):
        data = saved(pages[0], name, save_all=True, append_images=pages[1:], **options)
        radiograph = read(data)
        assert np.abs(radiograph.grey8 - picture().astype(float)).max() <= 1
        assert warned(radiograph) == ["image-pages"]


def test_what_opencv_reads_otherwise_is_refused() -> None:
    for data in (
        tiff(picture().astype(np.float32), SampleFormat=3),
        tiff(DEEP.astype(np.int16), SampleFormat=2),
        tiff(picture().astype(np.uint32)),
        saved(Image.fromarray(picture()).convert("CMYK"), "TIFF"),
        saved(Image.fromarray(picture()).convert("LA"), "TIFF"),
        tiff(picture(), Compression=34712),
    ):
        assert refusal(data) in {"image-unsupported", "image-corrupt"}
    clear = np.dstack([np.tile(picture()[..., None], 3), np.zeros_like(picture())])
    assert refusal(saved(Image.fromarray(clear), "TIFF")) == "image-unsupported"


@pytest.mark.parametrize("name", ["TIFF", "BMP", "WEBP", "JPEG2000"])
def test_no_part_of_a_picture_is_taken_for_the_whole(name: str) -> None:
    data = saved(Image.fromarray(picture()), name)
    for length in range(26, len(data) - 1, max(1, len(data) // 40)):
        assert refusal(data[:length]) in {"image-truncated", "image-corrupt", "image-format"}


def test_limits_are_those_of_other_pictures() -> None:
    for name in ("TIFF", "BMP", "WEBP", "JPEG2000"):
        data = saved(Image.fromarray(picture()), name)
        assert refusal(data, Limits(pixels=picture().size - 1)) == "image-too-large"
    huge = tiff(picture(), ImageWidth=60000, ImageLength=60000)
    assert refusal(huge) == "image-too-large"
    assert refusal(tiff(picture(), ImageWidth=0)) == "image-corrupt"


def test_mutated_pictures_are_read_or_refused() -> None:
    rng = np.random.default_rng(7)
    seeds = [saved(Image.fromarray(picture()), name) for name in ("TIFF", "BMP", "WEBP")]
    seeds.append(saved(Image.fromarray(picture()), "JPEG2000"))
    for number in range(200):
        data = bytearray(seeds[number % len(seeds)])
        for _ in range(3):
            data[int(rng.integers(8, len(data)))] = int(rng.integers(256))
        try:
            pixels = read(io.BytesIO(bytes(data))).pixels
        except ImageError:
            continue
        assert 0 <= pixels.min() <= pixels.max() <= 1
