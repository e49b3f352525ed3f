"""Any folder of radiographs with a CSV of labels, the phantoms' among them."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.data.columns import (
    AGE,
    IMAGE,
    PATIENT,
    SEX,
    SPLIT,
    age_of,
    image_column,
    sex_of,
    split_of,
    strange_views,
    views,
)
from thorax.data.files import locate, report, search
from thorax.data.label_columns import is_chexpert, read_labels
from thorax.data.names import NameIndex
from thorax.data.samples import AS_ITS_TABLES_SAY, Box, Note, ReadOptions, Sample, Skipped, Source
from thorax.data.table import Table, read_table
from thorax.errors import DataError, UsageError
from thorax.labels import NIH14, LabelSet

HEADER: Final = "header"
"""Says in place of a pattern that DICOM headers name the patients."""
CHEXPERT_PATIENT: Final = r"(?:^|[/\\\\])(patient\d+)[/\\\\]"
"""Where CheXpert's paths hold the patient."""


def rows(
    images: Path,
    *,
    labels: Path,
    boxes: Path | None = None,
    patient_from: str | None = None,
    label_set: LabelSet = NIH14,
    on_skip: Callable[[Skipped], None] | None = None,
) -> list[Sample]:
    """Return the labelled radiographs of a folder as `read` does, with the labels of a known set.

    Without `on_skip`, which is told of everything left out, that is counted in the log.

    Raises:
        DataError, UsageError: as `read`.
    """
    options = ReadOptions(findings=label_set, strict=True)
    source = read(images, labels=labels, boxes=boxes, patient_from=patient_from, options=options)
    report(source.skipped, images, on_skip)
    return list(source.rows)


def read(
    images: Path,
    *,
    labels: Path,
    boxes: Path | None = None,
    patient_from: str | None = None,
    options: ReadOptions = AS_ITS_TABLES_SAY,
) -> Source:
    """Return the labelled radiographs of a folder, in the order of the table.

    Columns are found by their names: image (image, path, Image Index, filename, ...), patient,
    optionally split, view, age and sex, and either findings joined by `|` or one column a finding
    with 1, 0, -1 or nothing; the last two mean unknown, unless the table is one of CheXpert's
    labeller, whose authors take nothing for negative. Findings are those of the table, or of the
    set in `options`; one that has no column is unknown.

    Args:
        images: the folder; a name in the table is a path in it, or its end (`NameIndex`).
        labels: the table.
        boxes: a table of image, finding, x, y, width, height in the image's own pixels.
        patient_from: regular expression whose first group (or whole match) in the image's path is
            the patient, for a table without a patient column; `.*` states that no two images
            share a patient; `header` leaves patients to `headers.complete`.
        options: which findings, and what uncertain and blank labels become.

    Left out are `label-missing` (a file the table does not have), `image-missing` (no such file),
    `view-not-frontal`, and what `search` lists.

    Raises:
        DataError: when the table cannot be followed, names a file outside the folder, or leaves
            no image.
        UsageError: `patient-pattern` for a `patient_from` that is no regular expression.
    """
    table = read_table(labels)
    listing = search(images)
    image = image_column(table)
    if patient_from is None and table.find(PATIENT) is None and is_chexpert(table.columns):
        patient_from = CHEXPERT_PATIENT
    patients = _patients(table, image, patient_from)
    label_table = read_labels(table, options)
    box_lists = {} if boxes is None else _boxes(boxes, label_table.label_set)
    names = [cells[image] for cells in table.rows]
    lesions, warnings = boxes_by_row(names, box_lists, boxes)
    described = describe(table, names, patients, label_table.rows, lesions)
    located = locate(described, listing, labels, others=(boxes,), views=options.views)
    return Source(
        "folder",
        label_table.label_set,
        located.rows,
        located.skipped,
        label_table.conventions,
        (*label_table.warnings, *warnings, *_about_views(table)),
    )


def describe(
    table: Table,
    names: Sequence[str],
    patients: Sequence[str],
    labels: Sequence[npt.NDArray[np.int8]],
    boxes: Mapping[int, tuple[Box, ...]] | None = None,
) -> list[Sample]:
    """Return a sample for each row of a table, without its file.

    Names, patients, labels int8 [K], and boxes by row, are given; split, view, age and sex are read
    where the table has columns of them.
    """
    splits, ages, sexes = (table.find(of) for of in (SPLIT, AGE, SEX))
    return [
        Sample(
            image=names[number],
            path=Path(),
            patient=patients[number],
            labels=labels[number],
            split=None if splits is None else split_of(cells[splits], row_name(table, number)),
            view=view,
            boxes=(boxes or {}).get(number, ()),
            age=None if ages is None else age_of(cells[ages]),
            sex=None if sexes is None else sex_of(cells[sexes]),
        )
        for number, (cells, view) in enumerate(zip(table.rows, views(table), strict=True))
    ]


def _about_views(table: Table) -> list[Note]:
    strange = strange_views(table)
    if not strange:
        return []
    return [
        Note(
            "view-unknown",
            f"{table.path.name} has views that are not known here and were taken for frontal: "
            f"{', '.join(map(repr, strange[:10]))}; write PA, AP or LATERAL",
        )
    ]


def row_name(table: Table, row: int) -> str:
    """Return where a row is, for messages."""
    return f"{table.path.name}, row {row + 1}"


def splits_in(table: Table, image: int) -> dict[str, str | None]:
    """Return the split of each image in a table of several rows an image; nothing if it has none.

    Raises:
        DataError: `split-unknown`, or `split-twice` for an image whose rows are in several.
    """
    column = table.find(SPLIT)
    splits: dict[str, str | None] = {}
    for number, cells in enumerate(() if column is None else table.rows):
        split = split_of(cells[column or 0], row_name(table, number))
        if splits.setdefault(cells[image], split) != split:
            raise DataError(
                "split-twice",
                f"{row_name(table, number)}: {cells[image]!r} is in another split before; keep one",
            )
    return splits


def _patients(table: Table, image: int, pattern: str | None) -> list[str]:
    if pattern == HEADER:
        return [""] * len(table.rows)
    if pattern is None:
        column = table.need(
            PATIENT,
            "splits are by patient: add that column, or say with --patient-from PATTERN where the "
            "image's path holds the patient ('.*' where every image is another patient), or with "
            f"--patient-from {HEADER} that DICOM headers do",
        )
        names = [cells[column] for cells in table.rows]
    else:
        names = patients_in([cells[image] for cells in table.rows], pattern)
    for cells, name in zip(table.rows, names, strict=True):
        if not name:
            raise DataError(
                "patient-missing",
                f"{table.path.name} gives no patient for {cells[image]!r}"
                + (f" by {pattern!r}" if pattern else "")
                + "; every image needs one",
            )
    return names


def patients_in(names: Sequence[str], pattern: str) -> list[str]:
    """Return what the first group of a pattern, or all of it, matches in each name, or "".

    Raises:
        UsageError: `patient-pattern`.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            "patient-pattern", f"{pattern!r} is no regular expression: {error}"
        ) from error
    matches = [expression.search(name) for name in names]
    return [
        "" if match is None else (match.group(1 if expression.groups else 0) or "")
        for match in matches
    ]


def boxes_by_row(
    names: Sequence[str], boxes: Mapping[str, Sequence[Box]], table: Path | None
) -> tuple[dict[int, tuple[Box, ...]], list[Note]]:
    """Return the boxes of each row of labels, by the name of its image, and what has no row.

    Raises:
        DataError: `image-ambiguous` for boxes that may be of several rows.
    """
    index = NameIndex(names if boxes else ())
    lesions: dict[int, list[Box]] = {}
    strangers = []
    for name, found in boxes.items():
        matches = index.find(name)
        if len(matches) > 1:
            raise DataError(
                "image-ambiguous",
                f"the boxes of {name!r} may be of {names[matches[0]]!r} or {names[matches[1]]!r}; "
                "name the images alike in both tables",
            )
        if matches:
            lesions.setdefault(matches[0], []).extend(found)
        else:
            strangers.append(name)
    by_row = {row: tuple(found) for row, found in lesions.items()}
    return by_row, [] if table is None else boxes_without_image(strangers, table)


def boxes_without_image(images: Sequence[str], table: Path) -> list[Note]:
    """Return what is to be said of images that only a table of boxes names."""
    if not images:
        return []
    return [
        Note(
            "box-without-image",
            f"{table.name} has boxes of {len(images):,} images that the labels do not name, "
            f"{images[0]!r} first",
        )
    ]


def _boxes(path: Path, label_set: LabelSet) -> dict[str, list[Box]]:
    table = read_table(path)
    image, finding = table.need(IMAGE), table.need(("finding", "Finding Label", "label"))
    edges = [table.need((name,)) for name in ("x", "y", "width", "height")]
    return read_boxes(table, label_set, image, finding, edges)


def require_box(table: Table, row: int, width: float, height: float, what: str = "a box") -> None:
    """Refuse a box, or what a row says of the image that it was drawn on, of no pixels.

    Raises:
        DataError: `box-empty`.
    """
    if width <= 0 or height <= 0:
        raise DataError(
            "box-empty",
            f"{row_name(table, row)}: {what} of {width} x {height} pixels; both must be above 0",
        )


def read_boxes(
    table: Table, label_set: LabelSet, image: int, finding: int, edges: Sequence[int]
) -> dict[str, list[Box]]:
    """Return the boxes of each image; their findings bear the label set's own names.

    The columns are those of the image, of the finding, and of x, y, width and height.

    Raises:
        DataError: `box-empty`, `table-number` or `label-unknown`.
    """
    found: dict[str, list[Box]] = {}
    for number, cells in enumerate(table.rows):
        x, y, width, height = (table.number(number, column) for column in edges)
        require_box(table, number, width, height)
        name = label_set.findings[label_set.index(cells[finding])]
        found.setdefault(cells[image], []).append(Box(name, x, y, width, height))
    return found
