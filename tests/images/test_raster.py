"""PNG and JPEG: every mode against Pillow, two decoders against each other, and damage."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from thorax.errors import ImageError
from thorax.images.raster import decode_jpeg, decode_png, luma

LIMIT = 1_000_000


def picture(height: int = 37, width: int = 53) -> npt.NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    return np.asarray((np.sin(x / 5) + np.cos(y / 7) + 2) * 63, np.uint8)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    height: int,
    width: int,
    depth: int,
    colour: int,
    rows: bytes,
    *,
    extra: bytes = b"",
    interlace: int = 0,
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def grey_png(image: npt.NDArray[np.uint8], extra: bytes = b"") -> bytes:
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    return png(image.shape[0], image.shape[1], 8, 0, rows, extra=extra)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def code_of(decode: Callable[[], object]) -> str:
    with pytest.raises(ImageError) as caught:
        decode()
    assert "\n" not in caught.value.message
    return caught.value.code


def test_kornia_and_opencv_agree_to_the_bit_on_grey() -> None:
    for height, width in ((1, 1), (1, 9), (37, 53), (256, 200)):
        data = grey_png(picture(height, width))
        ours = decode_png(data, LIMIT).grey
        theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert theirs is not None
        assert ours.dtype == np.uint8
        assert np.array_equal(ours, theirs)


def test_luma_of_equal_channels_is_the_channel() -> None:
    for values in (np.arange(256, dtype=np.uint8), np.arange(65536, dtype=np.uint16)):
        assert np.array_equal(luma(np.dstack([values[None]] * 3)), values[None])


def test_colour_becomes_bt601_luma() -> None:
    rng = np.random.default_rng(5)
    colour = rng.integers(0, 256, (20, 30, 3), np.uint8)
    expected = colour @ np.array([0.299, 0.587, 0.114])
    ours = decode_png(saved(Image.fromarray(colour)), LIMIT).grey
    assert np.abs(ours - expected).max() <= 0.51


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


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_what_opencv_and_pillow_say(mode: str, options: dict[str, object]) -> None:
    image = Image.fromarray(picture()).convert(mode)
    data = saved(image, "JPEG", quality=95, **options)
    ours = decode_jpeg(data, LIMIT).grey
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
    from PIL import ImageOps

    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))), float)
    ours = decode_jpeg(data, LIMIT).grey
    assert ours.shape == upright.shape
    assert np.abs(ours - upright).max() <= 2


def test_no_part_of_a_jpeg_is_taken_for_the_whole() -> None:
    # A progressive JPEG less its last scans is a whole one of lower quality, if it is closed.
    for options, ends in (({}, (b"", b"\xff\xd9")), ({"progressive": True}, (b"",))):
        data = saved(Image.fromarray(picture()), "JPEG", quality=95, **options)
        for length in range(4, len(data) - 3, 11):
            for end in ends:
                part = data[:length] + end
                assert code_of(lambda p=part: decode_jpeg(p, LIMIT)) in {  # type: ignore[misc]
                    "image-truncated",
                    "image-corrupt",
                }


def test_jpeg_kinds_and_bombs_are_refused_by_their_header() -> None:
    data = saved(Image.fromarray(picture()), "JPEG")
    frame = data.index(b"\xff\xc0")
    size = struct.pack(">HH", 65535, 65535)
    assert code_of(lambda: decode_jpeg(data[: frame + 5] + size + data[frame + 9 :], LIMIT)) == (
        "image-too-large"
    )
    for position, value in ((frame + 4, 12), (frame + 1, 0xC3), (frame + 1, 0xC9)):
        odd = bytearray(data)
        odd[position] = value
        assert code_of(lambda d=bytes(odd): decode_jpeg(d, LIMIT)) == "image-unsupported"  # type: ignore[misc]
    cmyk = saved(Image.new("CMYK", (9, 9)), "JPEG")
    assert code_of(lambda: decode_jpeg(cmyk, LIMIT)) == "image-unsupported"
    progressive = saved(Image.fromarray(picture()), "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    bomb = progressive[:-2] + progressive[last:-2] * 200 + b"\xff\xd9"
    assert code_of(lambda: decode_jpeg(bomb, LIMIT)) == "image-too-large"


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


def after_the_scan_header(image: npt.NDArray[np.uint8]) -> tuple[bytes, bytes]:
    """Return a JPEG up to its pixels, and its pixels."""
    data = saved(Image.fromarray(image), "JPEG")
    scan = data.index(b"\xff\xda")
    begin = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    return data[:begin], data[begin:-2]


def test_jpegs_that_are_long_for_nothing_are_refused_by_a_look_at_each_byte() -> None:
    head, _ = after_the_scan_header(picture())
    many = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 1_000_000
    assert code_of(lambda: decode_jpeg(many, LIMIT)) == "image-too-large"
    for fill in (b"\xff" * 2_000_000, b"\xff" * 2_000_000 + b"\0"):
        for begin in (b"\xff\xd8\xff\xe0\x00\x02", head):
            assert code_of(lambda b=begin + fill: decode_jpeg(b, LIMIT)) in {  # type: ignore[misc]
                "image-truncated",
                "image-corrupt",
                "image-too-large",
            }
    for scan in (b"\xff\0" * 2_000_000, b"\xff\xd0" * 2_000_000, bytes(4_000_000)):
        assert code_of(lambda s=head + scan + b"\xff\xd9": decode_jpeg(s, LIMIT)) == (  # type: ignore[misc]
            "image-too-large"
        )


def test_a_jpeg_of_noise_with_restarts_and_fill_bytes_is_read() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 200, 3), np.uint8)
    data = saved(
        Image.fromarray(noise), "JPEG", quality=100, subsampling=0, restart_marker_blocks=1
    )
    assert decode_jpeg(data, LIMIT).grey.shape == (300, 200)
    filled = data.replace(b"\xff\xdb", b"\xff\xff\xff\xdb")
    assert np.array_equal(decode_jpeg(filled, LIMIT).grey, decode_jpeg(data, LIMIT).grey)


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
        decode = decode_png if data[0] == 0x89 else decode_jpeg
        try:
            grey = decode(bytes(data), LIMIT).grey
        except ImageError:
            continue
        read += 1
        assert grey.ndim == 2
        assert grey.dtype in (np.uint8, np.float32)
    assert read < 700
    assert capfd.readouterr().out == ""
