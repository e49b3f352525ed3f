"""What every source of labelled radiographs answers: rows of path, patient and labels."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from thorax.labels import LabelSet

Uncertain = Literal["ones", "zeros", "ignore"]
"""What becomes of a label that its table calls uncertain; `ignore` leaves it unknown (U-Ones,
U-Zeros and U-Ignore of Irvin et al., AAAI 2019, section 3.1)."""
Blank = Literal["negative", "unknown"]
"""What becomes of a cell of a finding that holds nothing."""
Views = Literal["frontal", "all"]
"""Which views are taken; what no table or header calls another is taken for frontal."""


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
        view: "PA", "AP", another View Position where all are taken, or None.
        boxes: lesion boxes in pixels of the file's own image, or of `box_frame` where that is set.
        box_frame: (height, width) of the image the boxes were drawn on, None = the file's own.
        age: of the patient, whole years.
        sex: "F", "M", "O" or None.
        frontal: whether a header that calls the image no frontal view leaves it out.
    """

    image: str
    path: Path
    patient: str
    labels: npt.NDArray[np.int8] = field(repr=False)
    split: str | None = None
    view: str | None = None
    boxes: tuple[Box, ...] = ()
    box_frame: tuple[int, int] | None = None
    age: int | None = None
    sex: str | None = None
    frontal: bool = True


@dataclass(frozen=True, slots=True)
class Skipped:
    """One image that was left out, and why: listed for the user, never fatal.

    Fields as of `thorax.results.data.SkippedImage`.
    """

    image: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Note:
    """What is doubtful in how a source was read, told and not fatal.

    Fields as of `thorax.results.shared.ReadWarning`.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a source is read.

    Attributes:
        findings: what the labels are to be; None = what the source's own tables have.
        uncertain: what an uncertain label becomes.
        blank: what an empty cell becomes; None = what the authors of the tables mean by it.
        views: which views are taken.
        strict: whether a finding in a cell that `findings` lack is refused, or told and left out.
    """

    findings: LabelSet | None = None
    uncertain: Uncertain = "ignore"
    blank: Blank | None = None
    views: Views = "frontal"
    strict: bool = False


AS_ITS_TABLES_SAY: Final = ReadOptions()
"""What nobody asked for otherwise."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a data set holds: labelled radiographs, and how its tables were read.

    Attributes:
        name: of its kind, such as "nih".
        label_set: names of the K labels of the rows.
        rows: the radiographs, in the order of the table.
        skipped: what was left out, with the reason.
        conventions: how labels, splits and patients were read, a sentence each.
        warnings: what is doubtful in it.
    """

    name: str
    label_set: LabelSet
    rows: tuple[Sample, ...]
    skipped: tuple[Skipped, ...] = ()
    conventions: tuple[str, ...] = ()
    warnings: tuple[Note, ...] = ()
