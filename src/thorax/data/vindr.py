"""VinDr-CXR as PhysioNet and Kaggle give it out (Nguyen et al., Scientific Data 9:429, 2022).

Tables of boxes (annotations_*.csv; Kaggle's train.csv) have a row a reader and finding, with
`No finding` for none; tables of images (image_labels_*.csv) a row a reader and a column a finding.
Three readers saw each image of train, and agreed on each of test, whose tables name none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from thorax.data.columns import finding_columns
from thorax.data.files import locate, search
from thorax.data.folder import boxes_without_image, require_box, splits_in
from thorax.data.label_columns import cell_reader, joined_labels, vocabulary_of
from thorax.data.samples import AS_ITS_TABLES_SAY, Box, Note, ReadOptions, Sample, Source
from thorax.data.split import by_patient
from thorax.data.table import Table, read_table
from thorax.errors import DataError
from thorax.labels import NEGATIVE, POSITIVE, LabelSet, canonical, is_no_finding

Readers = Literal["any", "majority", "all"]
"""How many readers of an image must see a finding: `any` makes the union of them, which users of
Kaggle's table take; with `majority` the paper counts labels (Table 3)."""

_RULES: Final[Mapping[Readers, Callable[[int, int], bool]]] = {
    "any": lambda votes, readers: votes > 0,
    "majority": lambda votes, readers: 2 * votes > readers,
    "all": lambda votes, readers: votes == readers,
}
_IMAGE: Final = ("image_id",)
_READER: Final = ("rad_id",)
_EDGES: Final = ("x_min", "y_min", "x_max", "y_max")
_DRAWN: Final = (0.875, 0.125, 0.0)
"""Shares of train and val among images of train, where those of test are given."""


@dataclass(slots=True)
class _Reading:
    """What readers saw in one image: readers, readers by finding, and boxes by finding."""

    readers: set[str] = field(default_factory=set)
    votes: dict[str, set[str]] = field(default_factory=dict)
    boxes: dict[str, list[Box]] = field(default_factory=dict)
    frame: tuple[int, int] | None = None
    test: bool = False


def read(
    images: Path,
    *,
    labels: Sequence[Path],
    boxes: Sequence[Path] = (),
    readers: Readers = "any",
    options: ReadOptions = AS_ITS_TABLES_SAY,
) -> Source:
    """Return the radiographs that VinDr-CXR's tables label, in the order in which they name them.

    Args:
        images: the folder of the DICOM files, or of copies of them.
        labels: tables of one kind, such as image_labels_train.csv and image_labels_test.csv.
        boxes: tables of boxes, for labels that have none; of findings that the labels have.
        readers: how many of the readers of an image must see a finding.
        options: what the labels are; without, every finding of the tables.

    Raises:
        DataError: when a table cannot be followed or no image is left.
    """
    readings: dict[str, _Reading] = {}
    names: dict[str, None] = {}
    tables = [read_table(path) for path in labels]
    for table in tables:
        names |= dict.fromkeys(_take(table, readings))
    own = set(map(canonical, names))
    warnings: list[Note] = []
    for path in boxes:
        table = read_table(path)
        _take_boxes(table, readings, own, votes=False)
        image = table.need(_IMAGE)
        strangers = dict.fromkeys(c[image] for c in table.rows if c[image] not in readings)
        warnings += boxes_without_image(list(strangers), path)
    rule = _RULES[readers]
    seen = [
        [name for name in names if rule(len(reading.votes.get(name, ())), len(reading.readers))]
        for reading in readings.values()
    ]
    vocabulary = _vocabulary(tables[0], names)
    label_table = joined_labels(seen, options, tables[0], vocabulary=vocabulary)
    rows = [
        _sample(image, readings[image], found, values, label_table.label_set)
        for image, found, values in zip(readings, seen, label_table.rows, strict=True)
    ]
    given: dict[str, str | None] = {}
    for table in tables:
        given |= splits_in(table, table.need(_IMAGE))
    rows, said = _placed(rows, given)
    located = locate(
        rows, search(images), labels[0], others=(*labels[1:], *boxes), views=options.views
    )
    votes = f"a finding is positive that {readers} of an image's readers saw (--readers {readers})"
    return Source(
        "vindr",
        label_table.label_set,
        located.rows,
        located.skipped,
        (votes, "each image is another patient: the tables name none", *said),
        (*label_table.warnings, *warnings),
    )


def _sample(
    image: str,
    reading: _Reading,
    found: Sequence[str],
    labels: npt.NDArray[np.int8],
    label_set: LabelSet,
) -> Sample:
    """Return an image in which readers have found findings; their names and labels int8 [K]."""
    split = "test" if reading.test else None
    boxes = _boxes_of(reading, found, label_set)
    return Sample(image, Path(), image, labels, split, boxes=boxes, box_frame=reading.frame)


def _take(table: Table, readings: dict[str, _Reading]) -> Iterator[str]:
    """Add what a table of labels says; yield the findings that it could name."""
    before = set(readings)
    by_row = table.find(("class_name",))
    if by_row is not None:
        names = dict.fromkeys(cells[by_row] for cells in table.rows)
        _take_boxes(table, readings, {canonical(name) for name in names}, votes=True)
        yield from (name for name in names if not is_no_finding(name))
    else:
        yield from _take_columns(table, readings)
    if "test" in table.path.name.lower():
        for image in readings.keys() - before:
            readings[image].test = True


def _take_columns(table: Table, readings: dict[str, _Reading]) -> list[str]:
    """Add a table of a row an image and reader, and a column a finding; return the findings."""
    image, reader = table.need(_IMAGE), table.find(_READER)
    columns = [
        column for column in finding_columns(table) if not is_no_finding(table.columns[column])
    ]
    cells_of = {column: cell_reader(table, column) for column in columns}
    for number, cells in enumerate(table.rows):
        reading = readings.setdefault(cells[image], _Reading())
        who = "" if reader is None else cells[reader]
        if who in reading.readers:
            raise DataError(
                "label-twice",
                f"{table.path.name}, row {number + 1}: {cells[image]!r} is read twice by "
                f"{who or 'nobody named'}; keep one row",
            )
        reading.readers.add(who)
        for column, read_cell in cells_of.items():
            value = read_cell(cells[column], number)
            if value not in (POSITIVE, NEGATIVE):
                raise DataError(
                    "label-value",
                    f"{table.path.name}, row {number + 1}, column {table.columns[column]!r} is "
                    f"{cells[column]!r}; allowed are 1 and 0: a reader saw it or not",
                )
            if value == POSITIVE:
                reading.votes.setdefault(_finding(table.columns[column]), set()).add(who)
    return [_finding(table.columns[column]) for column in columns]


def _finding(name: str) -> str:
    """Return the name in train of what the table of test calls `Other disease`."""
    return "Other diseases" if canonical(name) == "other disease" else name


def _take_boxes(
    table: Table, readings: dict[str, _Reading], findings: set[str], *, votes: bool
) -> None:
    """Add a table of a row a reader and finding, as far as it is of these findings.

    Without votes, boxes alone are taken, of images that other tables label.
    """
    image, name = table.need(_IMAGE), table.need(("class_name",))
    reader, edges = table.find(_READER), [table.need((edge,)) for edge in _EDGES]
    size = [table.find((side,)) for side in ("height", "width")]
    for number, cells in enumerate(table.rows):
        reading = readings.get(cells[image]) or _Reading()
        who, finding = "" if reader is None else cells[reader], cells[name]
        if votes:
            readings[cells[image]] = reading
            reading.readers.add(who)
        if is_no_finding(finding) or canonical(finding) not in findings:
            continue
        if votes:
            reading.votes.setdefault(finding, set()).add(who)
        if not cells[edges[0]] or cells[edges[0]].lower() == "nan":
            continue
        left, top, right, bottom = (table.number(number, edge) for edge in edges)
        box = Box(finding, left, top, right - left, bottom - top)
        require_box(table, number, box.width, box.height)
        reading.boxes.setdefault(finding, []).append(box)
        if None not in size:
            # Tables of resized copies say of what size the image was that the box was drawn on.
            height, width = (table.number(number, side) for side in size if side is not None)
            require_box(table, number, int(width), int(height), "an image")
            reading.frame = (int(height), int(width))


def _vocabulary(table: Table, names: Mapping[str, None]) -> LabelSet:
    """Return the findings of tables: of a column each in their order, else sorted by name."""
    if table.find(("class_name",)) is None:
        return LabelSet("vindr", tuple(names))
    return LabelSet("vindr", vocabulary_of(names).findings)


def _boxes_of(reading: _Reading, found: Sequence[str], label_set: LabelSet) -> tuple[Box, ...]:
    """Return the boxes of findings that are positive, under the names of the label set."""
    columns = {canonical(name): label_set.find(name) for name in found}
    return tuple(
        Box(label_set.findings[column], box.x, box.y, box.width, box.height)
        for name, boxes in reading.boxes.items()
        if (column := columns.get(canonical(name))) is not None
        for box in boxes
    )


def _placed(
    rows: Sequence[Sample], given: Mapping[str, str | None]
) -> tuple[list[Sample], tuple[str, ...]]:
    """Return rows in splits, and what is to be said of them.

    Splits that tables give, by image, count. Where they give none, and images of train and of test
    are there, train is divided into train and val.
    """
    if given:
        return [replace(row, split=given.get(row.image)) for row in rows], ()
    if {row.split for row in rows} != {"test", None}:
        return [replace(row, split=None) for row in rows], ()
    splits = by_patient(rows, fractions=_DRAWN)
    placed = [replace(row, split=split) for row, split in zip(rows, splits, strict=True)]
    return placed, ("test is VinDr's; val is an eighth of its train",)
