"""PNG, JPEG or DICOM bytes to a `Radiograph`; every decoding rule lives here."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Meaning:
    """What is known of a radiograph beside its pixels; None where the file does not say.

    Attributes:
        format: "png", "jpeg" or "dicom".
        view: "PA", "AP", "LATERAL", ... as in View Position (0018,5101).
        modality: "CR", "DX", ... (0008,0060).
        body_part: Body Part Examined (0018,0015).
        laterality: "L", "R", ... (0020,0060) or (0020,0062).
        spacing_mm: row and column spacing of `pixels`, mm.
        bits: significant bits of the stored values.
    """

    format: str
    view: str | None = None
    modality: str | None = None
    body_part: str | None = None
    laterality: str | None = None
    spacing_mm: tuple[float, float] | None = None
    bits: int = 8


class Radiograph:
    """One frontal image, white = dense, with what is known about it.

    Made from uint8 [H,W] (0-255) or float32 [H,W] (0-1); either is kept as it is, because most
    files are 8-bit and a copy in float costs more than decoding saves.
    """

    __slots__ = ("_values", "meaning", "source")

    def __init__(
        self,
        pixels: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
        meaning: Meaning,
        source: str,
    ) -> None:
        self._values = pixels
        self.meaning = meaning
        self.source = source

    @property
    def pixels(self) -> npt.NDArray[np.float32]:
        """float32 [H,W], 0-1, white = dense."""
        if self._values.dtype == np.uint8:
            return self._values.astype(np.float32) / np.float32(255)
        return self._values.astype(np.float32, copy=False)

    @property
    def grey8(self) -> npt.NDArray[np.uint8]:
        """uint8 [H,W], 0-255: `pixels` rounded to eight bits, half up."""
        if self._values.dtype == np.uint8:
            return self._values.astype(np.uint8, copy=False)
        return (self._values * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def read(source: Path | str | bytes) -> Radiograph:
    """Read one radiograph."""
    raise NotImplementedError
