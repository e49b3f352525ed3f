"""What every source of labelled radiographs answers: rows of path, patient and labels."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Images(Protocol):
    """Prepared images, uint8 [N,S,S], of which a row is read when it is asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, S, S)."""

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""

    def __getitem__(self, rows: Any, /) -> npt.NDArray[np.uint8]:  # noqa: ANN401
        """Return uint8 [S,S] of one row, or uint8 [M,S,S] of M."""

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Box:
    """Where a lesion is, in pixels of the image it belongs to; (x, y) is the upper left corner."""

    finding: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled radiograph of a source.

    Attributes:
        image: the name it goes by in tables, unique in its source.
        path: the file to decode.
        patient: opaque identifier; splits never cut through a patient.
        labels: int8 [K], 1 / 0 / -1 (unknown).
        split: "train", "val" or "test" where the source says; None leaves it to `split`.
        view: "PA", "AP" or None.
        boxes: lesion boxes in pixels of the file's own image, or of `box_frame` where that is set.
        box_frame: (height, width) of the image the boxes were drawn on, None = the file's own.
    """

    image: str
    path: Path
    patient: str
    labels: npt.NDArray[np.int8] = field(repr=False)
    split: str | None = None
    view: str | None = None
    boxes: tuple[Box, ...] = ()
    box_frame: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """One image that was left out, and why: listed for the user, never fatal.

    Fields as of `thorax.results.data.SkippedImage`.
    """

    image: str
    code: str
    message: str
