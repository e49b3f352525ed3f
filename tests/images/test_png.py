"""PNG: every mode against Pillow, two decoders against each other, and damage."""

import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.pictures import LIMIT, chunk, code_of, grey_png, picture, png, saved

from thorax.images.png import decode_png


def test_kornia_and_opencv_agree_to_the_bit_on_grey() -> None:
    for height, width in ((1, 1), (1, 9), (37, 53), (256, 200)):
        data = grey_png(picture(height, width))
        ours = decode_png(data, LIMIT).grey
        theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert theirs is not None
        assert ours.dtype == np.uint8
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "L"])
def test_a_grey_picture_is_itself_in_any_mode(mode: str) -> None:
    image = picture()
    data = saved(Image.fromarray(image).convert(mode))
    assert np.array_equal(decode_png(data, LIMIT).grey, image)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_shallow_grey_fills_the_whole_range(depth: int) -> None:
    levels = np.arange(2**depth, dtype=np.uint8)
    bits = "".join(f"{level:0{depth}b}" for level in levels)
    packed = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    raster = decode_png(png(1, len(levels), depth, 0, b"\0" + packed), LIMIT)
    assert raster.bits == depth
    assert raster.grey.tolist() == [[int(level) * 255 // (2**depth - 1) for level in levels]]


def test_sixteen_bits_are_kept() -> None:
    image = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    _, data = cv2.imencode(".png", image)
    raster = decode_png(data.tobytes(), LIMIT)
    assert raster.grey.dtype == np.float32
    assert raster.bits == 16
    assert np.array_equal(raster.grey, image.astype(np.float32) / np.float32(65535))


@pytest.mark.parametrize("top", [255, 65535])
def test_transparency_is_composited_on_black(top: int) -> None:
    kind = np.uint8 if top == 255 else np.uint16
    image = np.zeros((4, 5, 4), kind)
    image[..., :3] = top * 3 // 5
    image[..., 3] = np.linspace(0, top, 5).astype(kind)
    _, data = cv2.imencode(".png", image)
    grey = decode_png(data.tobytes(), LIMIT).grey
    scale = 255 if top == 255 else 1
    assert np.allclose(grey[0] / scale, 0.6 * np.linspace(0, 1, 5), atol=1 / 255)


def test_a_transparent_grey_is_black() -> None:
    image = np.array([[7, 100, 200]], np.uint8)
    data = grey_png(image, extra=chunk(b"tRNS", struct.pack(">H", 100)))
    assert decode_png(data, LIMIT).grey.tolist() == [[7, 0, 200]]


def test_interlaced_reads_as_plain() -> None:
    image = picture(5, 5)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    rows = b""
    for top, left, down, across in [*passes, (1, 0, 2, 1)]:
        part = image[top::down, left::across]
        rows += b"".join(b"\0" + row.tobytes() for row in part if row.size)
    data = png(5, 5, 8, 0, rows, interlace=1)
    assert np.array_equal(decode_png(data, LIMIT).grey, image)
    assert code_of(lambda: decode_png(png(5, 5, 8, 0, rows[:-1], interlace=1), LIMIT)) == (
        "image-truncated"
    )


def test_what_is_not_pixels_changes_nothing() -> None:
    image = picture()
    bomb = zlib.compress(bytes(20_000_000))
    for extra in (
        chunk(b"gAMA", struct.pack(">I", 10000)),
        chunk(b"iCCP", b"x\0\0" + bomb),
        chunk(b"zTXt", b"x\0\0" + bomb),
        chunk(b"acTL", struct.pack(">II", 2, 0)),
        chunk(b"tEXt", b"a\0" + bytes(100_000)),
    ):
        assert np.array_equal(decode_png(grey_png(image, extra), LIMIT).grey, image)
    assert np.array_equal(decode_png(grey_png(image) + b"trailing", LIMIT).grey, image)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_no_part_of_a_png_is_taken_for_the_whole(mode: str) -> None:
    data = saved(Image.fromarray(picture()).convert(mode))
    for length in [*range(8, len(data) - 1, 7), len(data) - 1]:
        assert code_of(lambda n=length: decode_png(data[:n], LIMIT)) in {  # type: ignore[misc]
            "image-truncated",
            "image-corrupt",
        }


@pytest.mark.parametrize("colour", [0, 2])
def test_a_png_with_too_few_rows_is_refused(colour: int) -> None:
    row = bytes(1 + 8 * (3 if colour else 1))
    assert decode_png(png(8, 8, 8, colour, row * 8), LIMIT).grey.shape == (8, 8)
    for rows in (row * 7, row * 8 + b"\0"):
        if rows == row * 8 + b"\0" and colour == 0:
            continue  # kornia-rs ignores a surplus
        assert code_of(lambda r=rows: decode_png(png(8, 8, 8, colour, r), LIMIT)) in {  # type: ignore[misc]
            "image-truncated",
            "image-corrupt",
        }


def test_check_sums_and_filters_are_checked() -> None:
    for colour in (0, 2):
        row = bytes(1 + 8 * (3 if colour else 1))
        good = png(8, 8, 8, colour, row * 8)
        bad = bytearray(good)
        bad[45] ^= 1
        assert code_of(lambda b=bytes(bad): decode_png(b, LIMIT)) == "image-corrupt"  # type: ignore[misc]
        odd = png(8, 8, 8, colour, b"\x07" + row[1:] + row * 7)
        assert code_of(lambda b=odd: decode_png(b, LIMIT)) == "image-corrupt"  # type: ignore[misc]


def test_png_bombs_are_refused_by_their_header() -> None:
    assert code_of(lambda: decode_png(png(60000, 60000, 8, 0, b""), LIMIT)) == "image-too-large"
    assert code_of(lambda: decode_png(png(2**31 - 1, 1, 8, 0, b""), LIMIT)) == "image-too-large"
    assert code_of(lambda: decode_png(png(0, 5, 8, 0, b""), LIMIT)) == "image-corrupt"
    assert code_of(lambda: decode_png(png(5, 5, 3, 0, b""), LIMIT)) == "image-corrupt"
    deep = png(500, 600, 16, 6, bytes(500 * 4801))
    assert code_of(lambda: decode_png(deep, LIMIT)) == "image-too-large"
    bomb = png(5, 5, 8, 2, bytes(100_000_000))
    assert code_of(lambda: decode_png(bomb, LIMIT)) == "image-corrupt"


@pytest.mark.parametrize("name", [b"tEXt", b"IDAT", b"zzZz"])
def test_a_png_of_a_million_chunks_is_refused_in_little_memory(name: bytes) -> None:
    header = struct.pack(">IIBBBBB", 9, 9, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(name, b"") * 1_000_000
    tracemalloc.start()
    try:
        assert code_of(lambda: decode_png(bomb, LIMIT)) == "image-too-large"
        assert tracemalloc.get_traced_memory()[1] < 2 * len(bomb)
    finally:
        tracemalloc.stop()


def test_a_png_of_many_small_chunks_is_read() -> None:
    image = picture(200, 300)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in image), 0)
    header = struct.pack(">IIBBBBB", 300, 200, 8, 0, 0, 0, 0)
    data = b"".join(chunk(b"IDAT", packed[at : at + 2]) for at in range(0, len(packed), 2))
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")
    assert np.array_equal(decode_png(whole, LIMIT).grey, image)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_png_is_turned_as_its_exif_says(orientation: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(picture()).convert(mode), exif=exif.tobytes())
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("L"))
    assert np.array_equal(decode_png(data, LIMIT).grey, upright)


def test_significant_bits_say_what_white_is() -> None:
    values = (picture().astype(np.uint16) << 4) + 7
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    height, width = values.shape
    plain = decode_png(png(height, width, 16, 0, rows), LIMIT)
    said = decode_png(png(height, width, 16, 0, rows, extra=chunk(b"sBIT", b"\x0c")), LIMIT)
    assert np.array_equal(plain.grey, said.grey)
    assert np.allclose(said.grey, values / 4095)
    assert (len(plain.warnings), len(said.warnings)) == (1, 0)
    few = (picture() >> 4).astype(np.uint8)
    four = grey_png(few, chunk(b"sBIT", b"\x04"))
    assert np.allclose(decode_png(four, LIMIT).grey, few / 15)
    assert np.array_equal(decode_png(grey_png(few, chunk(b"sBIT", b"\x08")), LIMIT).grey, few)


@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_read_as_writers_write_it(kind: int, prefix: bytes, order: str) -> None:
    value = struct.pack(f"{order}{'I' if kind == 4 else 'HH'}", *((6,) if kind == 4 else (6, 0)))
    entry = struct.pack(f"{order}HHHI", 1, 0x0112, kind, 1) + value + bytes(4)
    exif = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8) + entry
    data = grey_png(picture(), chunk(b"eXIf", prefix + exif))
    assert np.array_equal(decode_png(data, LIMIT).grey, np.rot90(picture(), -1))
