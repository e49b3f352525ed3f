"""TIFF, BMP, WebP and JPEG 2000 bytes to grey values, and where damaged JPEGs end.

Runs in a child process (`thorax.images.sandbox`); nothing else imports it. OpenCV decodes, which
takes a file that ends early for damage in all of these formats; what it would get wrong is refused
by the header.
"""

import contextlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from thorax.images.error_codes import ImageWarning, image_error
from thorax.images.jpeg import END_OF_IMAGE
from thorax.images.raster import Raster, check_size, exif_orientation, grey_of, upright
from thorax.images.sandbox import serve

_TIFF_KINDS: Final = frozenset(
    [(grey, 1, bits) for grey in (0, 1) for bits in (1, 8, 16)]
    + [(2, channels, bits) for channels in (3, 4) for bits in (8, 16)]
    + [(3, 1, 8), (6, 3, 8)]
)
"""Photometric interpretation (0 and 1 grey, 2 RGB, 3 palette, 6 YCbCr), samples, bits: what OpenCV
reads as other readers do."""
_TIFF_COMPRESSIONS: Final = frozenset((1, 2, 3, 4, 5, 7, 8, 32773, 32946))
"""None, CCITT, LZW, JPEG, deflate and PackBits."""
_TIFF_TYPES: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
"""Whole numbers of TIFF 6.0 section 2 and of BigTIFF, as `struct` calls them."""
_MOST_PAGES: Final = 1000


def main() -> None:
    """Answer requests until standard input ends; see `thorax.images.sandbox.serve`."""
    cv2.setNumThreads(1)
    serve(answer)


def answer(head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], list[memoryview]]:
    """Decode one picture of the `kind` named, of no more than `pixels`; or find a JPEG's end.

    Returned are `shape`, `dtype`, `bits` and `warnings`, and the grey values, uint8 or float32.

    Raises:
        ImageError: any of the `image-` codes.
    """
    if head["kind"] == "jpeg-end":
        return {"last": last_pixel(data, head["begin"], head["end"])}, []
    decode = {"tiff": _tiff, "bmp": _bmp, "webp": _webp, "jpeg2000": _jpeg2000}[head["kind"]]
    try:
        raster = decode(data, head["pixels"])
    except (struct.error, IndexError) as error:
        raise image_error("image-truncated", "the picture ends inside its header") from error
    facts = {
        "shape": raster.grey.shape,
        "dtype": raster.grey.dtype.str,
        "bits": raster.bits,
        "warnings": [[warning.code, warning.message] for warning in raster.warnings],
    }
    return facts, [memoryview(np.ascontiguousarray(raster.grey).reshape(-1).view(np.uint8))]  # type: ignore[arg-type]


def last_pixel(data: bytes, begin: int, end: int) -> int:
    """Return the first place between two where a JPEG can end with no pixel changed.

    What OpenCV reads of it is compared: it answers with what there is.
    """
    whole = _opencv(data)
    while begin < end:
        middle = (begin + end) // 2
        part = None
        with contextlib.suppress(cv2.error):
            part = _imdecode(data[:middle] + END_OF_IMAGE)
        if part is not None and np.array_equal(part, whole):
            end = middle
        else:
            begin = middle + 1
    return end


def _imdecode(data: bytes) -> npt.NDArray[Any] | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def _opencv(data: bytes) -> npt.NDArray[Any]:
    pixels = None
    with contextlib.suppress(cv2.error):
        pixels = _imdecode(data)
    if pixels is None:
        raise image_error("image-corrupt", "the picture's pixels do not decode")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise image_error("image-unsupported", "the pixels are not whole numbers of 8 or 16 bits")
    return pixels


@dataclass(frozen=True, slots=True)
class _Tiff:
    """The tags of the first picture of a TIFF file, and how many more there are."""

    tags: Mapping[int, tuple[int, ...]]
    more: int

    def first(self, tag: int, default: int = 0) -> int:
        values = self.tags.get(tag)
        return values[0] if values else default


def _read_tiff(data: bytes) -> _Tiff:
    """Return the tags that are whole numbers (TIFF 6.0 section 2; BigTIFF has wider fields)."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    place, count = (f"{order}Q", f"{order}Q") if big else (f"{order}I", f"{order}H")
    (start,) = struct.unpack_from(place, data, 8 if big else 4)
    first: dict[int, tuple[int, ...]] | None = None
    starts: set[int] = set()
    while start and start not in starts and len(starts) < _MOST_PAGES:
        starts.add(start)
        (entries,) = struct.unpack_from(count, data, start)
        begin, size = start + struct.calcsize(count), 20 if big else 12
        if first is None:
            first = dict(
                _tiff_entry(data, begin + size * number, order, big) for number in range(entries)
            )
        (start,) = struct.unpack_from(place, data, begin + size * entries)
    if first is None:
        raise image_error("image-corrupt", "the TIFF holds no picture")
    return _Tiff(first, len(starts) - 1)


def _tiff_entry(data: bytes, at: int, order: str, big: bool) -> tuple[int, tuple[int, ...]]:
    tag, kind = struct.unpack_from(f"{order}HH", data, at)
    (count,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, at + 4)
    letter = _TIFF_TYPES.get(kind)
    if letter is None or count > 64:
        return tag, ()
    form, value = f"{order}{count}{letter}", at + (12 if big else 8)
    if struct.calcsize(form) > (8 if big else 4):
        (value,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, value)
    return tag, struct.unpack_from(form, data, value)


def _tiff(data: bytes, limit: int) -> Raster:
    """Decode the first picture of a TIFF file, which OpenCV turns as its Orientation says."""
    tiff = _read_tiff(data)
    check_size(tiff.first(257), tiff.first(256), limit)
    photometric, samples = tiff.first(262, 1), tiff.first(277, 1)
    if tiff.first(259, 1) not in _TIFF_COMPRESSIONS:
        kind = tiff.first(259, 1)
        raise image_error("image-unsupported", f"TIFF of compression {kind}: save it without one")
    bits, floats = set(tiff.tags.get(258) or (1,)), tiff.first(339, 1) != 1
    if floats or len(bits) != 1 or (photometric, samples, min(bits)) not in _TIFF_KINDS:
        raise image_error(
            "image-unsupported",
            f"TIFF of photometric interpretation {photometric}, {samples} samples of "
            f"{'/'.join(map(str, sorted(bits)))} bits{', signed or floating-point' * floats}: "
            "save it as grey of 8 or 16 bits",
        )
    pixels = _opencv(data)
    if samples == 4 and (pixels.dtype == np.uint8 or tiff.first(338) == 1):
        # The colours come multiplied by alpha already: composited on black.
        if not pixels[:, :, 3].any():
            raise image_error("image-unsupported", "every pixel of the TIFF is transparent")
        pixels = pixels[:, :, :3]
    raster = grey_of(pixels)
    if photometric == 0 and pixels.dtype == np.uint16:
        # OpenCV turns black and white round in 8 bits only.
        raster = replace(raster, grey=np.asarray(1 - raster.grey, np.float32))
    if not tiff.more:
        return raster
    text = f"the TIFF holds {tiff.more + 1} pictures; the first is read"
    return replace(raster, warnings=(*raster.warnings, ImageWarning("image-pages", text)))


def _bmp(data: bytes, limit: int) -> Raster:
    (size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", data, 18)
    check_size(abs(height), width, limit)
    return grey_of(_opencv(data))


def _webp(data: bytes, limit: int) -> Raster:
    """Decode the first frame of a WebP file, turned as its EXIF orientation says (RFC 9649)."""
    chunks: dict[bytes, bytes] = {}
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        chunks.setdefault(name, data[position + 8 : position + 8 + size])
        position += 8 + size + size % 2
    if b"VP8X" in chunks:
        wide, high = (int.from_bytes(chunks[b"VP8X"][at : at + 3], "little") + 1 for at in (4, 7))
        check_size(high, wide, limit)
    elif b"VP8L" in chunks:
        packed = int.from_bytes(chunks[b"VP8L"][1:5], "little")
        check_size((packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1, limit)
    else:
        wide, high = struct.unpack_from("<HH", chunks.get(b"VP8 ", b""), 6)
        check_size(high & 0x3FFF, wide & 0x3FFF, limit)
    raster = grey_of(_opencv(data))
    exif = chunks.get(b"EXIF", b"").removeprefix(b"Exif\0\0")
    raster = replace(raster, grey=upright(raster.grey, exif_orientation(exif)))
    if b"ANMF" not in chunks:
        return raster
    warning = ImageWarning("image-pages", "the WebP is animated; its first frame is read")
    return replace(raster, warnings=(*raster.warnings, warning))


def _jpeg2000(data: bytes, limit: int) -> Raster:
    """Decode JPEG 2000, a code stream alone or in boxes, by the bits that it says it has."""
    siz = data.find(b"\xff\x4f\xff\x51")
    if siz < 0:
        raise image_error("image-corrupt", "the JPEG 2000 file holds no code stream")
    # ITU-T T.800 A.5.1: image extent less its offset.
    x, y, x0, y0 = struct.unpack_from(">4I", data, siz + 8)
    _, precision = struct.unpack_from(">HB", data, siz + 40)
    check_size(y - y0, x - x0, limit)
    bits = (precision & 0x7F) + 1
    if precision & 0x80 or not 8 <= bits <= 16:
        kind = "signed" if precision & 0x80 else "unsigned"
        raise image_error("image-unsupported", f"JPEG 2000 of {bits} {kind} bits; allowed: 8 to 16")
    raster = grey_of(_opencv(data), bits)
    return raster if bits > 8 else replace(raster, bits=8)
