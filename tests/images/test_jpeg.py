"""JPEG: against OpenCV and Pillow, damage, and what is beside a good picture."""

import io
import struct

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps
from tests.pictures import LIMIT, code_of, picture, saved

from thorax.errors import ImageError
from thorax.images.error_codes import image_error
from thorax.images.jpeg import END_OF_IMAGE, decode_jpeg
from thorax.images.picture import last_pixel
from thorax.images.radiograph import read


def after_the_scan_header(image: npt.NDArray[np.uint8]) -> tuple[bytes, bytes]:
    """Return a JPEG up to its pixels, and its pixels."""
    data = saved(Image.fromarray(image), "JPEG")
    scan = data.index(b"\xff\xda")
    begin = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    return data[:begin], data[begin:-2]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_what_opencv_and_pillow_say(mode: str, options: dict[str, object]) -> None:
    image = Image.fromarray(picture()).convert(mode)
    data = saved(image, "JPEG", quality=95, **options)
    ours = decode_jpeg(data, LIMIT, last_pixel).grey
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert theirs is not None
    assert np.array_equal(ours, theirs)
    assert np.abs(ours - np.asarray(Image.open(io.BytesIO(data)).convert("L"), float)).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_turned_as_its_exif_says(orientation: int) -> None:
    image = Image.fromarray(picture())
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(image, "JPEG", quality=95, exif=exif.tobytes())
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))), float)
    ours = decode_jpeg(data, LIMIT, last_pixel).grey
    assert ours.shape == upright.shape
    assert np.abs(ours - upright).max() <= 2


def test_no_part_of_a_jpeg_is_taken_for_the_whole() -> None:
    # A progressive JPEG less its last scans is a whole one of lower quality, if it is closed.
    for options, ends in (({}, (b"", b"\xff\xd9")), ({"progressive": True}, (b"",))):
        data = saved(Image.fromarray(picture()), "JPEG", quality=95, **options)
        for length in range(4, len(data) - 3, 11):
            for end in ends:
                part = data[:length] + end
                assert code_of(lambda p=part: decode_jpeg(p, LIMIT, last_pixel)) in {  # type: ignore[misc]
                    "image-truncated",
                    "image-corrupt",
                }


def test_jpeg_kinds_and_bombs_are_refused_by_their_header() -> None:
    data = saved(Image.fromarray(picture()), "JPEG")
    frame = data.index(b"\xff\xc0")
    size = struct.pack(">HH", 65535, 65535)
    assert code_of(
        lambda: decode_jpeg(data[: frame + 5] + size + data[frame + 9 :], LIMIT, last_pixel)
    ) == ("image-too-large")
    for position, value in ((frame + 4, 12), (frame + 1, 0xC3), (frame + 1, 0xC9)):
        odd = bytearray(data)
        odd[position] = value
        code = code_of(lambda d=bytes(odd): decode_jpeg(d, LIMIT, last_pixel))  # type: ignore[misc]
        assert code == "image-unsupported"
    cmyk = saved(Image.new("CMYK", (9, 9)), "JPEG")
    assert code_of(lambda: decode_jpeg(cmyk, LIMIT, last_pixel)) == "image-unsupported"
    progressive = saved(Image.fromarray(picture()), "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    bomb = progressive[:-2] + progressive[last:-2] * 200 + b"\xff\xd9"
    assert code_of(lambda: decode_jpeg(bomb, LIMIT, last_pixel)) == "image-too-large"


def test_jpegs_that_are_long_for_nothing_are_refused_by_a_look_at_each_byte() -> None:
    head, _ = after_the_scan_header(picture())
    many = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 1_000_000
    assert code_of(lambda: decode_jpeg(many, LIMIT, last_pixel)) == "image-too-large"
    for fill in (b"\xff" * 2_000_000, b"\xff" * 2_000_000 + b"\0"):
        for begin in (b"\xff\xd8\xff\xe0\x00\x02", head):
            assert code_of(lambda b=begin + fill: decode_jpeg(b, LIMIT, last_pixel)) in {  # type: ignore[misc]
                "image-truncated",
                "image-corrupt",
                "image-too-large",
            }
    for scan in (b"\xff\0" * 2_000_000, b"\xff\xd0" * 2_000_000, bytes(4_000_000)):
        assert code_of(lambda s=head + scan + b"\xff\xd9": decode_jpeg(s, LIMIT, last_pixel)) == (  # type: ignore[misc]
            "image-too-large"
        )


def test_a_jpeg_of_noise_with_restarts_and_fill_bytes_is_read() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 200, 3), np.uint8)
    data = saved(
        Image.fromarray(noise), "JPEG", quality=100, subsampling=0, restart_marker_blocks=1
    )
    assert decode_jpeg(data, LIMIT, last_pixel).grey.shape == (300, 200)
    filled = data.replace(b"\xff\xdb", b"\xff\xff\xff\xdb")
    assert np.array_equal(
        decode_jpeg(filled, LIMIT, last_pixel).grey, decode_jpeg(data, LIMIT, last_pixel).grey
    )


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("stray", [1, 3, 258, 5000])
def test_bytes_beside_a_whole_picture_are_passed_over_and_told(mode: str, stray: int) -> None:
    data = saved(Image.fromarray(picture()).convert(mode), "JPEG")
    plain = decode_jpeg(data, LIMIT, last_pixel).grey
    quantisation = data.index(b"\xff\xdb")
    junk = (b"\x01\x80\x55" * stray)[:stray]
    for damaged in (
        data[:-2] + junk + END_OF_IMAGE,
        data[:quantisation] + junk + data[quantisation:],
        data[:-2],
        data[:-1],
    ):
        raster = decode_jpeg(damaged, LIMIT, last_pixel)
        assert np.array_equal(raster.grey, plain)
        # libjpeg says nothing of the few bytes that it had read ahead.
        if stray > 8 or not damaged.endswith(junk + END_OF_IMAGE):
            assert [warning.code for warning in raster.warnings] == ["image-repaired"]
    assert not decode_jpeg(data + junk, LIMIT, last_pixel).warnings


def test_a_progressive_jpeg_without_end_is_refused() -> None:
    data = saved(Image.fromarray(picture()), "JPEG", progressive=True)
    assert code_of(lambda: decode_jpeg(data[:-2], LIMIT, last_pixel)) == "image-truncated"


@pytest.mark.parametrize("stray", [b"\0", b"rubbish " * 9])
@pytest.mark.parametrize("progressive", [False, True])
def test_bytes_after_the_begin_are_passed_over(stray: bytes, progressive: bool) -> None:
    data = saved(Image.fromarray(picture()), "JPEG", progressive=progressive)
    radiograph = read(data[:2] + stray + data[2:])
    assert np.array_equal(radiograph.grey8, read(data).grey8)
    assert [warning.code for warning in radiograph.meaning.warnings] == ["image-repaired"]


def test_a_picture_behind_other_bytes_is_told() -> None:
    for name in ("JPEG", "PNG"):
        data = b"rubbish" + saved(Image.fromarray(picture()), name)
        with pytest.raises(ImageError, match=f"{name} signature stands at byte 7; what is before"):
            read(data)


def test_jpeg_ls_is_named() -> None:
    spiff = b"\xff\xd8\xff\xe8\0\4ab\xff\xf7\0\5abc"
    with pytest.raises(ImageError, match="JPEG-LS"):
        read(spiff)


def test_few_places_are_tried_in_a_large_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.fromarray(picture()), "JPEG")
    damaged = data[:-2] + bytes(9000) + END_OF_IMAGE
    tried: list[int] = []

    def count(kind: str, decode: object, *file: object) -> None:
        tried.append(1)
        raise image_error("image-corrupt", "no")

    monkeypatch.setattr("thorax.images.jpeg.call_decoder", count)
    monkeypatch.setattr("thorax.images.jpeg._SCANNED_PIXELS", 10 * picture().size)
    assert code_of(lambda: decode_jpeg(damaged, LIMIT, last_pixel)) == "image-corrupt"
    assert len(tried) == 1 + 10
