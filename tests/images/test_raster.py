"""Grey of colours, bits and transparency, whatever format they come in."""

import numpy as np
import pytest
from PIL import Image
from tests.pictures import LIMIT, picture, saved

from thorax.errors import ImageError
from thorax.images.jpeg import decode_jpeg
from thorax.images.png import decode_png
from thorax.images.raster import grey_of, luma


def test_luma_of_equal_channels_is_the_channel() -> None:
    for values in (np.arange(256, dtype=np.uint8), np.arange(65536, dtype=np.uint16)):
        assert np.array_equal(luma(np.dstack([values[None]] * 3)), values[None])


def test_colour_becomes_bt601_luma() -> None:
    rng = np.random.default_rng(5)
    colour = rng.integers(0, 256, (20, 30, 3), np.uint8)
    expected = colour @ np.array([0.299, 0.587, 0.114])
    ours = decode_png(saved(Image.fromarray(colour)), LIMIT).grey
    assert np.abs(ours - expected).max() <= 0.51


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_few_bits_in_sixteen_are_the_range(bits: int) -> None:
    stored = (np.arange(600).reshape(20, 30) * ((2**bits - 1) / 599)).astype(np.uint16)
    raster = grey_of(stored)
    assert raster.bits == bits
    assert np.allclose(raster.grey, stored / (2**bits - 1))
    assert [warning.code for warning in raster.warnings] == ["image-bits-corrected"]
    # Who says how many are significant leaves no doubt, whether values are scaled up or not.
    assert not grey_of(stored, bits).warnings
    scaled = grey_of(stored << (16 - bits), bits)
    assert np.abs(scaled.grey - raster.grey).max() < 2 / 2**bits
    assert not scaled.warnings


def test_a_picture_that_is_transparent_everywhere_is_shown() -> None:
    clear = np.dstack([np.tile(picture()[..., None], 3), np.zeros_like(picture())])
    raster = grey_of(clear)
    assert np.array_equal(raster.grey, picture())
    assert [warning.code for warning in raster.warnings] == ["image-transparent"]
    assert not grey_of(np.zeros((9, 9), np.uint16)).warnings


def test_mutated_pictures_are_read_or_refused(capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(20)
    image = Image.fromarray(picture())
    seeds = [saved(image.convert(mode)) for mode in ("L", "RGB", "RGBA", "P", "1")]
    seeds += [saved(image, "JPEG"), saved(image.convert("RGB"), "JPEG", progressive=True)]
    read = 0
    for number in range(700):
        data = bytearray(seeds[number % len(seeds)])
        for _ in range(1 + number % 4):
            place = int(rng.integers(8, len(data)))
            kind = int(rng.integers(4))
            if kind == 0:
                data[place] = int(rng.integers(256))
            elif kind == 1:
                data[place : place + 8] = rng.bytes(8)
            elif kind == 2:
                del data[place : place + int(rng.integers(1, 40))]
            else:
                data[place:place] = data[8 : 8 + int(rng.integers(1, 40))]
        try:
            if data[0] == 0x89:
                grey = decode_png(bytes(data), LIMIT).grey
            else:
                # What OpenCV says on stderr is for the child process that asks it.
                grey = decode_jpeg(bytes(data), LIMIT, lambda _, begin, end: max(begin, end)).grey
        except ImageError:
            continue
        read += 1
        assert grey.ndim == 2
        assert grey.dtype in (np.uint8, np.float32)
    assert read < 700
    assert capfd.readouterr().out == ""
