"""JPEG bytes to grey values; a file that does not hold all its pixels is refused.

Headers are judged before anything is decoded. What many devices write beside a good picture is
passed over, and told: bytes between segments, bytes after the last pixel, no end.
"""

import re
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from kornia_rs import io as kornia

from thorax.errors import ImageError
from thorax.images.error_codes import ImageWarning, image_error
from thorax.images.raster import Raster, call_decoder, check_size, exif_orientation, upright

JPEG_SIGNATURE: Final = b"\xff\xd8\xff"
END_OF_IMAGE: Final = b"\xff\xd9"

_MOST_SEGMENTS: Final = 1 << 12
"""A colour profile has 255, a hundred scans have 300."""
_MOST_SCANS: Final = 100
_MOST_SCAN_BYTES: Final = 32
"""Of a scan for each pixel: three components of 64 coefficients of 27 bits (T.81 F.1.2), and a zero
after each byte of ones, are 21."""
_SCANNED_PIXELS: Final = 400_000_000
_LAST_BLOCK_BYTES: Final = 64
# Possessive, so that each byte is looked at once, however many fill bytes stand in a row.
_MARKER: Final = re.compile(rb"\xff++([^\x00\xd0-\xd7\xff])")
_SCAN: Final = re.compile(rb"[^\xff]*+(?:\xff++[\x00\xd0-\xd7][^\xff]*+)*+")
"""Entropy-coded data: no marker but those that restart it."""
_PROCESSES: Final = {3: "lossless", 7: "lossless, differential", 9: "arithmetic coding"}

LastPixel = Callable[[bytes, int, int], int]
"""Takes a JPEG and between which two positions its last pixel ends; says where it does."""


@dataclass(slots=True)
class _Jpeg:
    """What the markers of a JPEG say.

    Attributes:
        height, width: pixels.
        orientation: of EXIF, 1-8.
        components: 1 or 3.
        sequential: whether one pass over the pixels holds them.
        scans: how many there are.
        together: whether the last scan has all components.
        last_scan: where the data of the last scan begin and end.
        kept: begin and end of the stretches of the file that are JPEG.
        ended: whether it has its end.
    """

    height: int = 0
    width: int = 0
    orientation: int = 1
    components: int = 0
    sequential: bool = True
    scans: int = 0
    together: bool = False
    last_scan: tuple[int, int] = (0, 0)
    kept: list[tuple[int, int]] = field(default_factory=list)
    ended: bool = True

    @property
    def stray(self) -> int:
        """Bytes between segments that are of none."""
        ends = [end for _, end in self.kept[:-1]]
        return sum(begin - end for end, (begin, _) in zip(ends, self.kept[1:], strict=True))

    def cleaned(self, data: bytes) -> bytes:
        """Return the file without bytes between segments, and with an end."""
        return b"".join(data[begin:end] for begin, end in self.kept) + END_OF_IMAGE


def _walk_jpeg(data: bytes, limit: int) -> _Jpeg:
    """Return what the markers say, read to the end of the image (ITU-T T.81 annex B)."""
    jpeg = _Jpeg(kept=[(0, 2)])
    position = 2
    for _ in range(_MOST_SEGMENTS):
        if jpeg.scans:
            position = _after_scan(data, position, jpeg)
        marker = _MARKER.match(data, position)
        if marker is None and (stray := _SCAN.match(data, position)):
            marker = _MARKER.match(data, stray.end())
        if marker is None:
            _require_all_but_the_end(data, position, jpeg)
            break
        if marker[1] == b"\xd9":
            break
        position = _segment(data, marker.end(), marker[1][0], jpeg, limit)
        jpeg.kept.append((marker.start(), position))
    else:
        raise image_error("image-too-large", f"the JPEG has more than {_MOST_SEGMENTS} segments")
    if not jpeg.scans or not jpeg.height:
        raise image_error("image-truncated", "the JPEG holds no pixels")
    pixels = jpeg.height * jpeg.width
    if jpeg.scans > _MOST_SCANS or jpeg.scans * pixels > max(_SCANNED_PIXELS, pixels):
        raise image_error("image-too-large", f"the JPEG refines its pixels in {jpeg.scans} scans")
    return jpeg


def _after_scan(data: bytes, position: int, jpeg: _Jpeg) -> int:
    """Return where entropy-coded data end, of which there are so many bytes a pixel at most."""
    most = _MOST_SCAN_BYTES * (jpeg.height + 16) * (jpeg.width + 16)
    scan = _SCAN.match(data, position, position + most + 2)
    end = scan.end() if scan else position
    if end - position > most:
        raise image_error("image-too-large", f"the JPEG has more than {most} bytes in a scan")
    if end > position:
        jpeg.last_scan = (position, end)
        jpeg.kept.append(jpeg.last_scan)
    return end


def _require_all_but_the_end(data: bytes, position: int, jpeg: _Jpeg) -> None:
    """Refuse a JPEG that ends so that there may have been more of it than its end.

    One pass over all components is whole when it has all pixels, which the decoder sees.
    """
    jpeg.ended = False
    whole = jpeg.sequential and jpeg.scans == 1 and jpeg.together
    if not whole or data[position:].strip(b"\xff"):
        raise image_error("image-truncated", "the JPEG ends before its end-of-image marker")


def _segment(data: bytes, position: int, marker: int, jpeg: _Jpeg, limit: int) -> int:
    """Take in the segment at a position; return where it ends."""
    length = int.from_bytes(data[position : position + 2], "big")
    body = data[position + 2 : position + length]
    if position + 2 > len(data) or length < 2 or len(body) != length - 2:
        raise image_error("image-truncated", "the JPEG ends inside a segment")
    if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
        if jpeg.height:
            raise image_error("image-corrupt", "the JPEG has two frame headers")
        jpeg.height, jpeg.width, jpeg.components = _frame_header(marker, body)
        jpeg.sequential = marker != 0xC2
        check_size(jpeg.height, jpeg.width, limit)
    elif marker == 0xF7:
        raise image_error("image-unsupported", "JPEG-LS picture: save it as a grey PNG")
    elif marker == 0xDA:
        jpeg.scans += 1
        jpeg.together = body[:1] == bytes([jpeg.components])
    elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
        jpeg.orientation = exif_orientation(body[6:])
    return position + length


def _frame_header(marker: int, body: bytes) -> tuple[int, int, int]:
    if len(body) < 6:
        raise image_error("image-corrupt", "the JPEG's frame header is too short")
    precision, height, width, components = struct.unpack_from(">BHHB", body)
    process = marker - 0xC0
    name = f"{process} ({_PROCESSES[process]})" if process in _PROCESSES else str(process)
    inks = " (CMYK)" if components == 4 else ""
    for allowed, what in (
        (process in (0, 1, 2), f"process {name}; allowed are 0, 1 and 2"),
        (precision == 8, f"of {precision} bits; allowed is 8"),
        (components in (1, 3), f"of {components} components{inks}; allowed are 1 and 3"),
    ):
        if not allowed:
            raise image_error("image-unsupported", f"JPEG {what}: save it as a grey PNG")
    return height, width, components


def decode_jpeg(data: bytes, limit: int, last_pixel: LastPixel) -> Raster:
    """Decode a JPEG of 8 bits, upright as its EXIF orientation says and as viewers show it.

    libjpeg-turbo through kornia-rs, not OpenCV: it takes a warning of damage for an error,
    where OpenCV answers with the part that it could read. Of a JPEG that it does not take,
    `last_pixel` is asked, and what comes after that is left out.

    Raises:
        ImageError: `image-truncated`, `image-corrupt`, `image-unsupported` or `image-too-large`.
    """
    jpeg = _walk_jpeg(data, limit)
    plain = jpeg.ended and not jpeg.stray
    clean = data if plain else jpeg.cleaned(data)
    notes = [] if jpeg.ended else ["no end"]
    if jpeg.stray:
        notes.append(f"{jpeg.stray} bytes between its segments")
    try:
        grey = call_decoder("JPEG", kornia.decode_image_jpegturbo, clean)
    except ImageError:
        if not jpeg.ended:
            raise image_error("image-truncated", "the JPEG does not hold all its pixels") from None
        grey, after = _without_a_tail(jpeg, data, last_pixel)
        notes.append(f"{after} bytes after its last pixel")
    if grey.shape != (jpeg.height, jpeg.width):
        raise image_error("image-corrupt", "the JPEG decodes to another size than its header says")
    raster = Raster(grey, 8)
    if notes:
        text = f"the JPEG has {' and '.join(notes)}; its pixels are all there"
        raster = replace(raster, warnings=(ImageWarning("image-repaired", text),))
    return replace(raster, grey=upright(grey, jpeg.orientation))


def _without_a_tail(
    jpeg: _Jpeg, data: bytes, last_pixel: LastPixel
) -> tuple[npt.NDArray[np.uint8], int]:
    """Decode a JPEG without what comes after its last pixel; return how many bytes that were.

    Raises:
        ImageError: `image-corrupt` where that is not what is wrong with it.
    """
    clean = jpeg.cleaned(data)
    begin, end = jpeg.last_scan
    after = len(clean) - len(END_OF_IMAGE)
    last = last_pixel(clean, after - (end - begin), after)
    # The last bits may be zeros of a coefficient, which change no pixel and have to be there.
    tries = min(_LAST_BLOCK_BYTES, max(4, _SCANNED_PIXELS // (jpeg.height * jpeg.width)))
    for place in range(last, min(last + tries, after)):
        with suppress(ImageError):
            part = clean[:place] + END_OF_IMAGE
            return call_decoder("JPEG", kornia.decode_image_jpegturbo, part), after - place
    raise image_error("image-corrupt", "the JPEG's pixels do not decode")
