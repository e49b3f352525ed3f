"""The DICOM grey-scale pipeline, stored values to what is shown, as one table.

Stored values have at most sixteen bits, so the whole chain is worked out once for each possible
value and the image only looks its values up. Order: Modality LUT or rescale, VOI LUT or window,
then MONOCHROME1 (PS3.4 section N.2).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.images.error_codes import image_error

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
_ROWS_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Lut:
    """A look-up table: `entries[v - first]`, clipped at both ends (PS3.3 C.11.1.1)."""

    first: int
    bits: int
    entries: npt.NDArray[np.uint16]

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16 or self.entries.size == 0:
            raise image_error("dicom-lut", f"{self.entries.size} entries of {self.bits} bits")
        if int(self.entries.max()) >= 1 << self.bits:
            raise image_error("dicom-lut", f"an entry does not fit the {self.bits} bits of the LUT")

    def __call__(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the entries for values, in the LUT's own numbers."""
        indices = np.clip(np.rint(values) - self.first, 0, self.entries.size - 1)
        return np.asarray(self.entries[indices.astype(np.intp)], np.float64)


@dataclass(frozen=True, slots=True)
class Window:
    """A window of values shown from black to white (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""

    center: float
    width: float
    function: str = "LINEAR"

    def __post_init__(self) -> None:
        least = 1.0 if self.function == "LINEAR" else 0.0
        if self.function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
            raise image_error(
                "dicom-window", "VOI LUT Function is not LINEAR, LINEAR_EXACT or SIGMOID"
            )
        if not (np.isfinite(self.center) and np.isfinite(self.width)):
            raise image_error("dicom-window", "Window Center and Width must be finite numbers")
        if self.width <= 0 or self.width < least:
            raise image_error(
                "dicom-window",
                f"Window Width is {self.width:g}; {self.function} allows "
                + (f"at least {least:g}" if least else "above 0"),
            )

    def __call__(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
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
class Chain:
    """The grey-scale attributes of one image.

    Attributes:
        bits: Bits Stored, 1-16.
        signed: whether Pixel Representation is two's complement.
        slope, intercept: rescale, used where there is no Modality LUT.
        modality: Modality LUT.
        voi: VOI LUT or window; None shows the whole range of values.
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
    voi: Lut | Window | None = None
    inverted: bool = False
    padding: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        extent = abs(self.slope) * 65536 + abs(self.intercept)
        if not (np.isfinite(extent) and self.slope != 0):
            raise image_error("dicom-rescale", "Rescale Slope must be finite and not 0")

    @property
    def contrast(self) -> str:
        """What set black and white: "voi-lut", "window", "stored" (full range) or "range"."""
        if self.voi is not None:
            return "voi-lut" if isinstance(self.voi, Lut) else "window"
        return "stored" if self.bits == 8 and self.modality is None else "range"

    def table(self, seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
        """Return what each stored bit pattern looks like: [2**bits], white = dense.

        uint8 (0-255) where every level of the patterns seen, bool [2**bits], is a whole number of
        255ths, so that eight bits stay the eight bits they were; float32 (0-1) else.
        """
        size = 1 << self.bits
        stored = np.arange(size, dtype=np.float64)
        if self.signed:
            stored[size // 2 :] -= size
        padded = np.zeros(size, np.bool_)
        if self.padding is not None:
            padded = (stored >= self.padding[0]) & (stored <= self.padding[1])
        rescaled = stored * self.slope + self.intercept
        values = rescaled if self.modality is None else self.modality(stored)
        levels = self._shown(values, seen & ~padded)
        if self.inverted:
            levels = 1 - levels
        levels[padded] = 0
        bytes_ = levels * 255
        whole = np.rint(bytes_)
        if np.abs(bytes_ - whole)[seen].max(initial=0) < 1e-9:
            return whole.astype(np.uint8)
        return levels.astype(np.float32)

    def _shown(
        self, values: npt.NDArray[np.float64], image: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float64]:
        if isinstance(self.voi, Window):
            return self.voi(values)
        if isinstance(self.voi, Lut):
            return self.voi(values) / ((1 << self.voi.bits) - 1)
        considered = values[image] if self.contrast == "range" else values
        low = considered.min(initial=np.inf)
        high = considered.max(initial=-np.inf)
        if not high > low:
            # One value alone, or padding alone, has neither black nor white.
            return np.full(values.shape, 0.5)
        return np.asarray(np.clip((values - low) / (high - low), 0, 1))


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
