"""A decoded picture as grey values: what all picture formats have in common.

Colour becomes grey by one rule: ITU-R BT.601-7 section 2.5.1 luma, which of three equal channels
is that channel; transparency is composited on black. Gamma and colour profiles are ignored.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from thorax.images.error_codes import ImageWarning, image_error

Grey = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Raster:
    """A decoded picture: uint8 [H,W] (0-255) or float32 [H,W] (0-1), and its bits a sample."""

    grey: Grey
    bits: int
    warnings: tuple[ImageWarning, ...] = ()


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


def grey_of(
    pixels: npt.NDArray[Any], significant: int | None = None, hidden: int | None = None
) -> Raster:
    """Return a picture of uint8 or uint16 [H,W], or [H,W,C], as grey values.

    Channels are grey, grey and alpha, BGR, or BGR and alpha; `hidden` is the one grey that is
    transparent. Bits are 8 or 16, of which `significant` ones say that they hold the value. Where
    all values lie within less bits than there are, these are what is stored, and white is their
    largest number.
    """
    depth = 8 * pixels.dtype.itemsize
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    grey = pixels if pixels.ndim == 2 else pixels[:, :, 0]
    if channels >= 3:
        grey = luma(np.ascontiguousarray(pixels[:, :, :3]))
    warnings = []
    bits, doubt = _used_bits(grey, depth, significant)
    if doubt is not None:
        warnings.append(doubt)
    alpha = pixels[:, :, -1] if channels in (2, 4) else None
    if hidden is not None:
        alpha = np.where(grey == hidden, 0, 2**depth - 1)
    if alpha is not None:
        grey, doubt = _composited(grey, alpha, 2**depth - 1)
        if doubt is not None:
            warnings.append(doubt)
    top = 2**bits - 1
    if bits == depth == 8:
        return Raster(np.ascontiguousarray(grey, np.uint8), 8, tuple(warnings))
    return Raster(grey.astype(np.float32) / np.float32(top), bits, tuple(warnings))


def _used_bits(
    grey: npt.NDArray[Any], depth: int, significant: int | None
) -> tuple[int, ImageWarning | None]:
    """Return the bits of which white is the largest number, and what is doubtful about them.

    A writer that says how many bits are significant has scaled them up (PNG specification 11.3.3.4)
    or has not, which shows.
    """
    top = int(grey.max())
    if significant is not None and significant < depth and 0 < top < 2**significant:
        return significant, None
    bits = max(8, top.bit_length())
    if depth == 8 or top == 0 or bits == depth:
        return depth, None
    text = f"no value needs more than {bits} of the {depth} bits; white is {2**bits - 1}"
    return bits, ImageWarning("image-bits-corrected", text)


def _composited(
    grey: npt.NDArray[Any], alpha: npt.NDArray[Any], top: int
) -> tuple[npt.NDArray[Any], ImageWarning | None]:
    """Return the grey on black, unless nothing would be seen of it."""
    if int(alpha.max()) == 0:
        text = "every pixel is transparent; the picture is shown as if none were"
        return grey, ImageWarning("image-transparent", text)
    if int(alpha.min()) == top:
        return grey, None
    mixed = (grey.astype(np.uint32) * alpha.astype(np.uint32) + top // 2) // top
    return mixed.astype(grey.dtype), None


def call_decoder(
    kind: str, decode: Callable[..., npt.NDArray[Any]], *file: object
) -> npt.NDArray[np.uint8]:
    """Return uint8 [H,W] from a decoder of kornia-rs, which takes any damage for an error.

    Raises:
        ImageError: `image-corrupt`.
    """
    try:
        return np.asarray(decode(*file, "mono"), np.uint8)[:, :, 0]
    except BaseException as error:  # a Rust panic is not an Exception
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        raise image_error("image-corrupt", f"the {kind}'s pixels do not decode") from error


def exif_orientation(tiff: bytes) -> int:
    """Return the Orientation tag, 1-8, of an EXIF block; 1 where there is none (EXIF 4.6.4)."""
    tiff = tiff.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (entries,) = struct.unpack_from(f"{order}H", tiff, start)
    for entry in range(start + 2, min(start + 2 + 12 * entries, len(tiff) - 11), 12):
        tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, entry)
        if tag != 0x0112 or count != 1 or kind not in (3, 4):
            continue
        (value,) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", tiff, entry + 8)
        if 1 <= value <= 8:
            return int(value)
    return 1


def upright(grey: Grey, orientation: int) -> Grey:
    """Return the picture as viewers turn it by its EXIF orientation, 1-8."""
    return turned(
        grey,
        transposed=orientation >= 5,
        mirrored=orientation in (2, 3, 6, 7),
        flipped=orientation in (3, 4, 7, 8),
    )


def turned(grey: Grey, *, transposed: bool, mirrored: bool, flipped: bool) -> Grey:
    """Return a picture with rows for columns, then its columns, then its rows in reverse."""
    if transposed:
        grey = grey.T
    if mirrored:
        grey = grey[:, ::-1]
    if flipped:
        grey = grey[::-1]
    return np.ascontiguousarray(grey)  # type: ignore[return-value]
