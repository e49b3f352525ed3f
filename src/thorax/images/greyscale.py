"""The DICOM grey-scale pipeline, stored values to what is shown, as one table.

Stored values have at most sixteen bits, so the whole chain is worked out once for each possible
value and the image only looks its values up. Order: Modality LUT or rescale, VOI LUT or window,
then MONOCHROME1 (PS3.4 section N.2).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
_ROWS_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Lut:
    """A look-up table: `entries[v - first]`, clipped at both ends (PS3.3 C.11.1.1)."""

    first: int
    entries: npt.NDArray[np.uint16]

    def __post_init__(self) -> None:
        assert self.entries.size

    @property
    def bits(self) -> int:
        """Bits that the largest entry needs: what viewers trust more than the LUT Descriptor."""
        return int(self.entries.max()).bit_length()

    def __call__(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the entries for values, in the LUT's own numbers."""
        indices = np.clip(np.rint(values) - self.first, 0, self.entries.size - 1)
        return np.asarray(self.entries[indices.astype(np.intp)], np.float64)

    def shown(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return 0-1: the entries as a share of the largest number of their bits."""
        return self(values) / ((1 << self.bits) - 1 or 1)


@dataclass(frozen=True, slots=True)
class Window:
    """A window of values shown from black to white (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    The function is LINEAR, LINEAR_EXACT or SIGMOID; center and width are finite, the width above 0,
    and of LINEAR at least 1.
    """

    center: float
    width: float
    function: str = "LINEAR"

    def __post_init__(self) -> None:
        assert self.width > 0
        assert self.width >= 1 or self.function != "LINEAR"

    def shown(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return 0-1."""
        if self.function == "SIGMOID":
            exponent = np.clip(-4 * (values - self.center) / self.width, -700, 700)
            return np.asarray(1 / (1 + np.exp(exponent)))
        if self.function == "LINEAR_EXACT":
            return np.clip((values - self.center) / self.width + 0.5, 0, 1)
        if self.width == 1:
            return (values > self.center - 0.5).astype(np.float64)
        return np.clip((values - (self.center - 0.5)) / (self.width - 1) + 0.5, 0, 1)


@dataclass(frozen=True, slots=True)
class Shown:
    """What each stored bit pattern looks like, and how that was found.

    Attributes:
        table: [2**bits], white = dense: uint8 (0-255) where every level of the patterns seen is a
            whole number of 255ths, so that eight bits stay the eight bits they were; float32 (0-1)
            else.
        contrast: what set black and white, as `thorax.images.radiograph.Meaning` has it.
        useless: which of `Chain.voi`, counted from 0, would have shown all of the image as black,
            as white, or as one grey, and were passed over for the next or for the range.
    """

    table: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    contrast: str
    useless: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """The grey-scale attributes of one image.

    Attributes:
        bits: Bits Stored, 1-16.
        signed: whether Pixel Representation is two's complement.
        slope, intercept: rescale, used where there is no Modality LUT; finite, the slope not 0.
        modality: Modality LUT.
        voi: VOI LUTs and windows, the first that shows something of the image is used (PS3.3
            C.11.2.1.2 calls them alternatives); without any the whole range of values is shown.
        presentation: Presentation LUT (PS3.3 C.11.6), of what is shown; its input is all its
            entries wide.
        inverted: whether the lowest value is white. MONOCHROME1 and a Presentation LUT Shape of
            INVERSE say the same thing (PS3.3 table C.8-71 demands the one with the other), so an
            image that has both is inverted once.
        padding: lowest and highest stored value of Pixel Padding (PS3.3 C.7.5.1.1.2): shown
            black whatever the polarity, and left out of the range.
    """

    bits: int
    signed: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    modality: Lut | None = None
    voi: tuple[Lut | Window, ...] = ()
    presentation: Lut | None = None
    inverted: bool = False
    padding: tuple[int, int] | None = None

    def show(self, seen: npt.NDArray[np.bool_]) -> Shown:
        """Return how an image is shown, of which `seen`, bool [2**bits], are the patterns in it."""
        size = 1 << self.bits
        stored = np.arange(size, dtype=np.float64)
        if self.signed:
            stored[size // 2 :] -= size
        padded = np.zeros(size, np.bool_)
        if self.padding is not None:
            padded = (stored >= self.padding[0]) & (stored <= self.padding[1])
        rescaled = stored * self.slope + self.intercept
        values = rescaled if self.modality is None else self.modality(stored)
        levels, contrast, useless = self._levels(values, seen & ~padded)
        if self.presentation is not None:
            levels = self.presentation.shown(levels * (self.presentation.entries.size - 1))
        if self.inverted:
            levels = 1 - levels
        levels[padded] = 0
        bytes_ = levels * 255
        whole = np.rint(bytes_)
        table: npt.NDArray[np.uint8] | npt.NDArray[np.float32] = levels.astype(np.float32)
        if np.abs(bytes_ - whole)[seen].max(initial=0) < 1e-9:
            table = whole.astype(np.uint8)
        return Shown(table, contrast, useless)

    def _levels(
        self, values: npt.NDArray[np.float64], image: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.float64], str, tuple[int, ...]]:
        considered = values[image]
        varied = considered.size > 0 and considered.min() < considered.max()
        useless: list[int] = []
        for number, voi in enumerate(self.voi):
            levels = voi.shown(values)
            if not varied or _shows_something(levels[image], voi):
                contrast = "voi-lut" if isinstance(voi, Lut) else "window"
                return levels, contrast, tuple(useless)
            useless.append(number)
        stored = self.bits == 8 and self.modality is None
        if stored:
            considered = values
        low = considered.min(initial=np.inf)
        high = considered.max(initial=-np.inf)
        contrast = "stored" if stored else "range"
        if not high > low:
            # One value alone, or padding alone, has neither black nor white.
            return np.full(values.shape, 0.5), contrast, tuple(useless)
        levels = np.asarray(np.clip((values - low) / (high - low), 0, 1))
        return levels, contrast, tuple(useless)


def _shows_something(levels: npt.NDArray[np.float64], voi: Lut | Window) -> bool:
    """Return whether levels, 0-1, are neither all black nor all white, nor of a LUT all the same.

    A sigmoid reaches neither, so that what rounds to them in eight bits counts.
    """
    low, high = levels.min(), levels.max()
    if isinstance(voi, Lut):
        return bool(high > low)
    margin = 1 / 510 if voi.function == "SIGMOID" else 0.0
    return bool(high > margin and low < 1 - margin)


def patterns_seen(codes: Codes, bits: int) -> npt.NDArray[np.bool_]:
    """Return bool [2**bits]: which bit patterns occur in the image."""
    seen = np.zeros(1 << bits, np.bool_)
    flat = codes.reshape(-1)
    for start in range(0, flat.size, _ROWS_AT_ONCE):
        seen[flat[start : start + _ROWS_AT_ONCE]] = True
    return seen


def look_up(
    codes: Codes, table: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    """Return `table[codes]`, a stretch at a time: NumPy widens indices to 64 bits."""
    shown = np.empty(codes.shape, table.dtype)
    flat, target = codes.reshape(-1), shown.reshape(-1)
    for start in range(0, flat.size, _ROWS_AT_ONCE):
        stretch = slice(start, start + _ROWS_AT_ONCE)
        np.take(table, flat[stretch], out=target[stretch], mode="clip")
    return shown
