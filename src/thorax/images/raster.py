"""PNG and JPEG bytes to grey values; a file that is not whole is refused.

Headers are judged before anything is decoded.

Colour becomes grey by one rule: ITU-R BT.601-7 section 2.5.1 luma, which of three equal channels
is that channel; transparency is composited on black. PNG gamma and colour profiles are ignored.
"""

import contextlib
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from kornia_rs import io as kornia

from thorax.images.error_codes import image_error

Grey = npt.NDArray[np.uint8] | npt.NDArray[np.float32]

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE: Final = b"\xff\xd8\xff"

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PICTURE: Final = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_LARGEST_ANCILLARY: Final = 65536
_MOST_CHUNKS: Final = 1 << 16
"""Of a PNG: encoders cut 36 million pixels of 16 bits into 9,000 chunks of 8 KiB."""
_MOST_SEGMENTS: Final = 1 << 12
"""Of a JPEG: a colour profile has 255, a hundred scans have 300."""
_CHUNK_BYTES: Final = 1 << 20
_MOST_SCANS: Final = 100
_MOST_SCAN_BYTES: Final = 32
"""Of a scan for each pixel: three components of 64 coefficients of 27 bits (T.81 F.1.2), and a zero
after each byte of ones, are 21."""
_SCANNED_PIXELS: Final = 400_000_000
# Possessive, so that each byte is looked at once, however many fill bytes stand in a row.
_MARKER: Final = re.compile(rb"\xff++([^\x00\xd0-\xd7\xff])")
_SCAN: Final = re.compile(rb"[^\xff]*+(?:\xff++[\x00\xd0-\xd7][^\xff]*+)*+")
"""Entropy-coded data: no marker but those that restart it."""


@dataclass(frozen=True, slots=True)
class Raster:
    """A decoded picture: uint8 [H,W] (0-255) or float32 [H,W] (0-1), and its bits a sample."""

    grey: Grey
    bits: int


def check_size(height: int, width: int, limit: int) -> None:
    """Refuse an empty picture and one of more than `limit` pixels.

    Raises:
        ImageError: `image-corrupt` or `image-too-large`.
    """
    if height < 1 or width < 1:
        raise image_error("image-corrupt", f"the header says {height} x {width} pixels")
    if height * width > limit:
        raise image_error(
            "image-too-large",
            f"{height} x {width} pixels; allowed are {limit}: raise Limits.pixels",
        )


def luma(colour: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return uint8 or uint16 [H,W] from BGR [H,W,3]; three equal channels give that channel."""
    return np.asarray(cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY))


@dataclass(frozen=True, slots=True)
class _Png:
    height: int
    width: int
    depth: int
    colour: int
    interlaced: bool
    chunks: tuple[tuple[bytes, int, int], ...]
    """Type, start and end of the whole chunk, length and check sum included."""

    def rewritten(self, data: bytes) -> bytes:
        """Return the picture without anything that is not pixels."""
        chunks = [data[start:end] for name, start, end in self.chunks if name in _PICTURE]
        return PNG_SIGNATURE + b"".join(chunks)

    def transparent_grey(self, data: bytes) -> int | None:
        """Return the grey that is transparent, in the range of the decoded pixels (11.3.2.1)."""
        for name, start, end in self.chunks:
            if name == b"tRNS" and self.colour == 0 and end - start == 14:
                value = int.from_bytes(data[start + 8 : start + 10], "big")
                return value if self.depth == 16 else value * 255 // ((1 << self.depth) - 1)
        return None

    def passes(self) -> Iterator[tuple[int, int]]:
        """Yield rows and bytes a row of each pass, filter byte included (PNG specification 8.2)."""
        bits = self.depth * _CHANNELS[self.colour]
        adam7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
        steps = (*adam7, (1, 0, 2, 1)) if self.interlaced else ((0, 0, 1, 1),)
        for top, left, down, across in steps:
            rows = -(-(self.height - top) // down)
            columns = -(-(self.width - left) // across)
            if rows > 0 and columns > 0:
                yield rows, 1 + (columns * bits + 7) // 8


def _walk_png(data: bytes, limit: int) -> _Png:
    if len(data) < 33 or data[8:16] != b"\x00\x00\x00\rIHDR":
        raise image_error("image-corrupt", "the PNG does not begin with a header of 13 bytes")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack_from(
        ">IIBBBBB", data, 16
    )
    check_size(height, width, limit)
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise image_error(
            "image-corrupt", f"PNG of colour type {colour} with {depth} bits is undefined"
        )
    chunks: list[tuple[bytes, int, int]] = []
    position = 8
    name = b""
    while name != b"IEND":
        if position + 12 > len(data):
            raise image_error("image-truncated", "the PNG ends before its IEND chunk")
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise image_error("image-truncated", f"the PNG ends inside a chunk of {length} bytes")
        if len(chunks) == _MOST_CHUNKS:
            raise image_error(
                "image-too-large", f"the PNG is cut into more than {_MOST_CHUNKS} chunks"
            )
        chunks.append((name, position, end))
        position = end
    if not any(name == b"IDAT" for name, _, _ in chunks):
        raise image_error("image-truncated", "the PNG holds no pixels")
    return _Png(height, width, depth, colour, interlace == 1, tuple(chunks))


def _check_pixels(png: _Png, data: bytes) -> None:
    """Refuse a PNG whose check sums, length or filters are wrong, in bounded memory.

    libpng reports some of these on stderr only and answers with half an image.
    """
    inflate = zlib.decompressobj()
    passes = list(png.passes())
    total = sum(rows * width for rows, width in passes)
    done = 0
    view = memoryview(data)
    for name, start, end in png.chunks:
        if name not in _PICTURE:
            continue
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise image_error("image-corrupt", "a check sum in the PNG is wrong")
        if name != b"IDAT":
            continue
        for piece in _inflated(inflate, view[start + 8 : end - 4]):
            row_bytes = passes[0][1]
            filters = np.frombuffer(piece, np.uint8)[-done % row_bytes :: row_bytes]
            if not png.interlaced and (filters > 4).any():
                raise image_error("image-corrupt", "the PNG uses an undefined row filter")
            done += len(piece)
            if done > total:
                break
    if done < total:
        raise image_error("image-truncated", f"the PNG holds {done} of {total} bytes of pixels")
    if done > total or not inflate.eof:
        raise image_error("image-corrupt", f"the PNG holds other than its {total} bytes of pixels")


def _inflated(inflate: "zlib._Decompress", packed: memoryview) -> Iterator[bytes]:
    """Yield what a chunk holds, a piece at a time; what is left of it is copied piece by piece."""
    for start in range(0, len(packed), _CHUNK_BYTES):
        rest: bytes | memoryview = packed[start : start + _CHUNK_BYTES]
        while rest and not inflate.eof:
            try:
                piece = inflate.decompress(rest, _CHUNK_BYTES)
            except zlib.error as error:
                raise image_error("image-corrupt", "the PNG's pixels do not inflate") from error
            yield piece
            rest = inflate.unconsumed_tail


def decode_png(data: bytes, limit: int) -> Raster:
    """Decode a PNG of any colour type; grey of 8 bits through kornia-rs, the rest through OpenCV.

    Raises:
        ImageError: `image-truncated`, `image-corrupt` or `image-too-large`.
    """
    png = _walk_png(data, limit)
    names = {name for name, _, _ in png.chunks}
    if png.depth == 8 and png.colour == 0 and not png.interlaced and b"tRNS" not in names:
        return Raster(_decode_grey(png, data), 8)
    size = sum(rows * width for rows, width in png.passes())
    if size > 2 * limit + png.height:
        raise image_error(
            "image-too-large",
            f"{png.height} x {png.width} pixels inflate to {size} bytes; allowed are two for each "
            f"of {limit} pixels: raise Limits.pixels",
        )
    return Raster(_decode_other(png, data), png.depth)


def _decode_grey(png: _Png, data: bytes) -> npt.NDArray[np.uint8]:
    compressed = (b"iCCP", b"zTXt", b"iTXt", b"acTL")
    if any(
        name in compressed or (name not in _PICTURE and end - start > _LARGEST_ANCILLARY)
        for name, start, end in png.chunks
    ):
        data = png.rewritten(data)
    return _kornia("PNG", kornia.decode_image_png_u8, data, (png.height, png.width))


def _kornia(kind: str, decode: Callable[..., Any], *file: object) -> npt.NDArray[np.uint8]:
    try:
        return np.asarray(decode(*file, "mono"), np.uint8)[:, :, 0]
    except BaseException as error:  # a Rust panic is not an Exception
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        raise image_error("image-corrupt", f"the {kind}'s pixels do not decode") from error


def _decode_other(png: _Png, data: bytes) -> Grey:
    _check_pixels(png, data)
    pixels = _opencv(png.rewritten(data))
    top = 65535 if pixels.dtype == np.uint16 else 255
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    alpha = pixels[:, :, -1] if channels in (2, 4) else None
    if channels >= 3:
        grey = luma(np.ascontiguousarray(pixels[:, :, :3]))
    else:
        grey = pixels if pixels.ndim == 2 else pixels[:, :, 0]
        # OpenCV knows transparency of colour, of palettes and of grey with alpha, not this one.
        hidden = png.transparent_grey(data)
        if hidden is not None:
            grey[grey == hidden] = 0
    if alpha is not None and int(alpha.min()) < top:
        grey = ((grey.astype(np.uint32) * alpha + top // 2) // top).astype(pixels.dtype)
    if pixels.dtype == np.uint16:
        return grey.astype(np.float32) / np.float32(top)
    return np.ascontiguousarray(grey, np.uint8)


def _opencv(data: bytes) -> npt.NDArray[Any]:
    pixels = None
    with contextlib.suppress(cv2.error):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise image_error("image-corrupt", "the PNG's pixels do not decode")
    return pixels


def _walk_jpeg(data: bytes, limit: int) -> tuple[int, int, int]:
    """Return height, width and orientation, the markers read to the end (ITU-T T.81 annex B)."""
    height = width = scans = 0
    orientation = 1
    position = 2
    for _ in range(_MOST_SEGMENTS):
        most = _MOST_SCAN_BYTES * (height + 16) * (width + 16) if scans else 0
        marker, position = _next_marker(data, position, most)
        if marker == 0xD9:
            break
        if position + 2 > len(data):
            raise image_error("image-truncated", "the JPEG ends inside a segment")
        length = int.from_bytes(data[position : position + 2], "big")
        body = data[position + 2 : position + length]
        if length < 2 or len(body) != length - 2:
            raise image_error("image-truncated", "the JPEG ends inside a segment")
        position += length
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if height:
                raise image_error("image-corrupt", "the JPEG has two frame headers")
            height, width = _frame_header(marker, body)
            check_size(height, width, limit)
        elif marker == 0xDA:
            scans += 1
        elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = _orientation(body[6:])
    else:
        raise image_error("image-too-large", f"the JPEG has more than {_MOST_SEGMENTS} segments")
    if not scans or not height:
        raise image_error("image-truncated", "the JPEG holds no pixels")
    if scans > _MOST_SCANS or scans * height * width > max(_SCANNED_PIXELS, height * width):
        raise image_error("image-too-large", f"the JPEG refines its pixels in {scans} scans")
    return height, width, orientation


def _next_marker(data: bytes, position: int, scan_bytes: int) -> tuple[int, int]:
    """Return the next marker that has a segment or ends the image, and where its segment begins.

    The position is that of the marker, or of a scan before it of at most `scan_bytes`.
    """
    begin = position
    if scan_bytes and (scan := _SCAN.match(data, begin, begin + scan_bytes + 2)):
        position = scan.end()
    if position - begin > scan_bytes:
        raise image_error("image-too-large", f"the JPEG has more than {scan_bytes} bytes in a scan")
    marker = _MARKER.match(data, position)
    if marker is None:
        if scan_bytes or not data[position : position + 2].strip(b"\xff"):
            raise image_error("image-truncated", "the JPEG ends before its end-of-image marker")
        raise image_error("image-corrupt", "the JPEG has bytes between its segments")
    return marker[1][0], marker.end()


def _frame_header(marker: int, body: bytes) -> tuple[int, int]:
    if len(body) < 6:
        raise image_error("image-corrupt", "the JPEG's frame header is too short")
    precision, height, width, components = struct.unpack_from(">BHHB", body)
    for allowed, what in (
        (marker in (0xC0, 0xC1, 0xC2), f"process {marker - 0xC0}; allowed are 0, 1 and 2"),
        (precision == 8, f"of {precision} bits; allowed is 8"),
        (components in (1, 3), f"of {components} components; allowed are 1 and 3"),
    ):
        if not allowed:
            raise image_error("image-unsupported", f"JPEG {what}")
    return height, width


def _orientation(tiff: bytes) -> int:
    """Return the Orientation tag, 1-8, of an EXIF block; 1 where there is none (EXIF 4.6.4)."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (entries,) = struct.unpack_from(f"{order}H", tiff, start)
    for entry in range(start + 2, min(start + 2 + 12 * entries, len(tiff) - 11), 12):
        tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
        if (tag, kind, count) == (0x0112, 3, 1) and 1 <= value <= 8:
            return int(value)
    return 1


def _upright(grey: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    if orientation >= 5:
        grey = grey.T
    if orientation in (2, 3, 6, 7):
        grey = grey[:, ::-1]
    if orientation in (3, 4, 7, 8):
        grey = grey[::-1]
    return np.ascontiguousarray(grey)


def decode_jpeg(data: bytes, limit: int) -> Raster:
    """Decode a JPEG of 8 bits, upright as its EXIF orientation says and as viewers show it.

    libjpeg-turbo through kornia-rs, not OpenCV: it takes a warning of damage for an error,
    where OpenCV answers with the part that it could read.

    Raises:
        ImageError: `image-truncated`, `image-corrupt`, `image-unsupported` or `image-too-large`.
    """
    height, width, orientation = _walk_jpeg(data, limit)
    grey = _kornia("JPEG", kornia.decode_image_jpegturbo, data)
    if grey.shape != (height, width):
        raise image_error("image-corrupt", "the JPEG decodes to another size than its header says")
    return Raster(_upright(grey, orientation), 8)
