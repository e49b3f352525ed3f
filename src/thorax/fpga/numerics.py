"""Block floating point as the processing elements of the overlay see their operands.

A block is so many neighbouring channels of one pixel. Its mantissas are aligned to its largest
exponent, so that a dot product over it is one of integers (Altera FPGA AI Suite Handbook 863373,
s. 9.4.1). This module reads like the specification and is what the graph of `emulation` equals
bit by bit; it is not fast.
"""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from thorax.errors import DataError, UsageError
from thorax.fpga.formats import LEAST_EXPONENT, Format, find_format

Rounding = Literal["faithful", "nearest", "truncate"]
"""How a value becomes a mantissa.

faithful: two steps, as the device. A value becomes binary16 (nearest, ties to even; *assumed*),
    loses what its format's magnitude does not hold (half up in magnitude; the image's bits are cut
    off), and is aligned to its block (nearest, ties to even, of the bits shifted out).
nearest: one step, the 32-bit value aligned at once: nearest, ties to even.
truncate: as faithful, but bits shifted out by the alignment are dropped, as older overlays did.
"""
ROUNDINGS: Final[tuple[Rounding, ...]] = ("faithful", "nearest", "truncate")

LARGEST_BLOCK: Final = 128
"""Channels; c_vector goes to 64 (Altera FPGA AI Suite Handbook 863373, s. 9.4.1)."""

HALF_BITS: Final = 11
"""Significant bits of IEEE 754 binary16."""
HALF_LARGEST: Final = 65504.0
"""Largest finite number of IEEE 754 binary16; what lies beyond, infinities too, becomes it."""

_Doubles = npt.NDArray[np.float64]


def quantize(
    x: npt.ArrayLike,
    *,
    block: int,
    precision: str | Format,
    rounding: Rounding = "faithful",
    image: bool = False,
) -> npt.NDArray[np.float32]:
    """Return the values of a tensor as the processing elements see them.

    Zero has no sign. In two steps, numbers below the least normal one of binary16, after rounding
    to its 11 bits, are zero; at once, those below half a unit are. Numbers beyond the largest are
    the largest. Channels that the last block lacks count as zero. x is [N,C,...], channels along
    axis 1, of which `block` share an exponent, `c_vector` of an architecture; the precision is a
    format or its name, and what is returned float32, shape of x. An `image`, the network's input,
    is cut to the format instead of rounded; "nearest" makes no difference.

    Raises:
        DataError: `fpga-nan`.
        UsageError: `fpga-format`, `fpga-block` or `fpga-rounding`.
    """
    form = precision if isinstance(precision, Format) else find_format(precision)
    require_rounding(block, rounding)
    values = np.asarray(x, np.float64)
    if np.isnan(values).any():
        raise DataError(
            "fpga-nan", "a tensor holds values that are no numbers; the format has none for them"
        )
    blocks, channels = _into_blocks(values, block), values.shape[1]
    if rounding == "nearest":
        aligned = _aligned_at_once(blocks, form)
    else:
        aligned = _aligned(_scalars(_halves(blocks), form, cut=image), form, rounding)
    whole = aligned.reshape(values.shape[0], -1, *values.shape[2:])[:, :channels]
    return np.ascontiguousarray(whole + 0.0, dtype=np.float32)


def require_rounding(block: int, rounding: str) -> None:
    """Refuse a block without channels and a rounding that nobody knows.

    Raises:
        UsageError: `fpga-block` or `fpga-rounding`.
    """
    if not 1 <= block <= LARGEST_BLOCK:
        raise UsageError(
            "fpga-block", f"a block has {block} channels; allowed are 1 to {LARGEST_BLOCK}"
        )
    if rounding not in ROUNDINGS:
        raise UsageError(
            "fpga-rounding", f"rounding {rounding!r} is not known; allowed: {', '.join(ROUNDINGS)}"
        )


def _into_blocks(values: _Doubles, block: int) -> _Doubles:
    """Return [N,G,B,...] of [N,C,...], zeros behind the last channel."""
    missing = -values.shape[1] % block
    padding = [(0, 0)] * values.ndim
    padding[1] = (0, missing)
    padded = np.pad(values, padding)
    return padded.reshape(values.shape[0], -1, block, *values.shape[2:])


def _halves(values: _Doubles) -> _Doubles:
    """Return binary16: 11 bits, nearest, ties to even; tiny after rounding is zero.

    IEEE 754-2019, s. 7.4 and 7.5, option "after rounding"; largest instead of infinite.
    """
    bounded = np.clip(values, -HALF_LARGEST, HALF_LARGEST)
    fraction, exponent = np.frexp(bounded)
    rounded = np.ldexp(np.rint(np.ldexp(fraction, HALF_BITS)), exponent - HALF_BITS)
    return np.where(np.abs(rounded) < 2.0**LEAST_EXPONENT, 0.0, rounded)


def _scalars(halves: _Doubles, form: Format, *, cut: bool) -> _Doubles:
    """Return what lies between layers: as many bits as a magnitude has, each its own exponent."""
    fraction, exponent = np.frexp(halves)
    magnitude = np.ldexp(np.abs(fraction), form.magnitude_bits)
    rounded = np.floor(magnitude if cut else magnitude + 0.5)
    scalars = np.copysign(np.ldexp(rounded, exponent - form.magnitude_bits), halves)
    bounded: _Doubles = np.clip(scalars, -form.largest, form.largest)
    return bounded


def _units(blocks: _Doubles, form: Format) -> _Doubles:
    """Return of each block what one of its mantissas counts, [N,G,1,...]."""
    largest = np.abs(blocks).max(axis=2, keepdims=True)
    _, above = np.frexp(np.clip(largest, 2.0**LEAST_EXPONENT, HALF_LARGEST))
    units: _Doubles = np.ldexp(1.0, above - form.magnitude_bits)
    return units


def _aligned(scalars: _Doubles, form: Format, rounding: Rounding) -> _Doubles:
    """Return scalars with the bits gone that their block's exponent shifts out."""
    units = _units(scalars, form)
    mantissas = scalars / units
    whole: _Doubles = np.trunc(mantissas) if rounding == "truncate" else np.rint(mantissas)
    return units * whole


def _aligned_at_once(blocks: _Doubles, form: Format) -> _Doubles:
    """Return values of 32 bits rounded to multiples of their block's unit."""
    units = _units(blocks, form)
    most = 2.0**form.magnitude_bits - 1
    least = -(most + 1) if form.twos_complement else -most
    mantissas: _Doubles = np.clip(np.rint(blocks / units), least, most)
    return units * mantissas
