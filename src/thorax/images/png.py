"""PNG bytes to grey values; a file that is not whole is refused.

Headers are judged before anything is decoded.
"""

import contextlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from kornia_rs import io as kornia

from thorax.images.error_codes import image_error
from thorax.images.raster import (
    Raster,
    call_decoder,
    check_size,
    exif_orientation,
    grey_of,
    upright,
)

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PICTURE: Final = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_LARGEST_ANCILLARY: Final = 65536
_MOST_CHUNKS: Final = 1 << 16
"""Encoders cut 36 million pixels of 16 bits into 9,000 chunks of 8 KiB."""
_CHUNK_BYTES: Final = 1 << 20


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

    def chunk(self, name: bytes, data: bytes) -> bytes:
        """Return what the first chunk of a name holds; nothing where there is none."""
        for own, start, end in self.chunks:
            if own == name:
                return data[start + 8 : end - 4]
        return b""

    def transparent_grey(self, data: bytes) -> int | None:
        """Return the grey that is transparent, in the range of the decoded pixels (11.3.2.1)."""
        body = self.chunk(b"tRNS", data)
        if self.colour != 0 or len(body) != 2:
            return None
        value = int.from_bytes(body, "big")
        return value if self.depth == 16 else value * 255 // ((1 << self.depth) - 1)

    def significant_bits(self, data: bytes) -> int | None:
        """Return how many bits of the channel that has most are significant (11.3.3.4)."""
        body = self.chunk(b"sBIT", data)
        bits = max(body[: _CHANNELS[self.colour]], default=0)
        return bits if self.colour != 3 and 0 < bits <= self.depth and self.depth >= 8 else None

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
    plain = png.depth == 8 and png.colour == 0 and not png.interlaced and b"tRNS" not in names
    if plain and (png.significant_bits(data) or 8) == 8:
        raster = Raster(_decode_grey(png, data), 8)
    else:
        raster = _decode_other(png, data, limit)
    if b"eXIf" not in names:
        return raster
    return replace(raster, grey=upright(raster.grey, exif_orientation(png.chunk(b"eXIf", data))))


def _decode_grey(png: _Png, data: bytes) -> npt.NDArray[np.uint8]:
    compressed = (b"iCCP", b"zTXt", b"iTXt", b"acTL")
    if any(
        name in compressed or (name not in _PICTURE and end - start > _LARGEST_ANCILLARY)
        for name, start, end in png.chunks
    ):
        data = png.rewritten(data)
    return call_decoder("PNG", kornia.decode_image_png_u8, data, (png.height, png.width))


def _decode_other(png: _Png, data: bytes, limit: int) -> Raster:
    size = sum(rows * width for rows, width in png.passes())
    if size > 2 * limit + png.height:
        raise image_error(
            "image-too-large",
            f"{png.height} x {png.width} pixels inflate to {size} bytes; allowed are two for each "
            f"of {limit} pixels: raise Limits.pixels",
        )
    _check_pixels(png, data)
    # OpenCV knows transparency of colour, of palettes and of grey with alpha, not of one grey.
    raster = grey_of(
        _opencv(png.rewritten(data)),
        png.significant_bits(data),
        png.transparent_grey(data),
    )
    return raster if png.depth >= 8 else replace(raster, bits=png.depth)


def _opencv(data: bytes) -> npt.NDArray[Any]:
    pixels = None
    with contextlib.suppress(cv2.error):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise image_error("image-corrupt", "the PNG's pixels do not decode")
    return pixels
