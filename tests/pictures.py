"""Pictures that tests read: made by hand, and saved by Pillow."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from thorax.errors import ImageError

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
