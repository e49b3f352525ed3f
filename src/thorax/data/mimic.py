"""MIMIC-CXR-JPG as PhysioNet gives it out (Johnson et al., arXiv:1901.07042, version 2.0.0).

Labels are by study (`-chexpert.csv.gz`, `-negbio.csv.gz`), views by image (`-metadata.csv.gz`),
and so are the official splits (`-split.csv.gz`). A table that somebody joined of them is read too.
Labels are those of CheXpert's labeller, and read as its authors mean them; see `label_columns`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from thorax.data.columns import PATIENT, SPLIT, VIEW, split_of
from thorax.data.files import locate, search
from thorax.data.folder import describe, row_name
from thorax.data.label_columns import LabelTable, read_labels
from thorax.data.samples import AS_ITS_TABLES_SAY, ReadOptions, Sample, Skipped, Source
from thorax.data.table import Table, read_table
from thorax.errors import DataError
from thorax.labels import MIMIC, UNKNOWN

_IMAGE: Final = ("dicom_id", "path", "image", "file path")
_STUDY: Final = ("study_id",)


def read(
    images: Path,
    *,
    labels: Path,
    metadata: Path | None = None,
    split: Path | None = None,
    options: ReadOptions = AS_ITS_TABLES_SAY,
) -> Source:
    """Return the radiographs of MIMIC-CXR-JPG, in the order of the table that names images.

    Args:
        images: the folder of the data set, or `files` in it.
        labels: by study; or a table of labels by image that has a `dicom_id` or a `path`.
        metadata: by image; None = the released one beside the labels, if they are by study.
        split: by image; None = the released one beside the labels, if there is one.
        options: what the labels are, MIMIC's thirteen without.

    Left out are studies without labels (`label-missing`), images in no split (`split-missing`),
    views other than PA and AP (`view-not-frontal`; `view-unknown` where nothing is said), and what
    `files.locate` leaves out.

    Raises:
        DataError: `mimic-metadata` without a table of images, `label-twice` for a study or image
            that two rows of one table are of, or as `files.locate`.
    """
    if options.findings is None:
        options = replace(options, findings=MIMIC)
    table = read_table(labels)
    label_table = read_labels(table, options)
    if table.find(_IMAGE) is None:
        metadata = metadata or _beside(labels, "metadata")
        if metadata is None:
            raise DataError(
                "mimic-metadata",
                f"{labels.name} has labels by study and names no image; give --metadata "
                "mimic-cxr-2.0.0-metadata.csv.gz, or put it beside the labels",
            )
    if split is None and table.find(SPLIT) is None:
        split = _beside(labels, "split")
    image_table = table if metadata is None else read_table(metadata)
    rows = _rows(image_table, table, label_table, options)
    if split is not None:
        rows = _split(rows, read_table(split))
    located = locate(rows, search(images), labels, others=(metadata, split), views=options.views)
    said = [f"images are those of {path.name}" for path in (metadata,) if path]
    said += [f"splits are those of {path.name}; validate is val" for path in (split,) if path]
    return Source(
        "mimic",
        label_table.label_set,
        located.rows,
        located.skipped,
        (*label_table.conventions, *said),
        label_table.warnings,
    )


def _beside(labels: Path, what: str) -> Path | None:
    """Return the released table of a kind in the folder of the labels."""
    for ending in ("csv.gz", "csv"):
        path = labels.with_name(f"mimic-cxr-2.0.0-{what}.{ending}")
        if path.is_file():
            return path
    return None


def _rows(
    image_table: Table, table: Table, label_table: LabelTable, options: ReadOptions
) -> list[Sample | Skipped]:
    """Return the images of a table with the labels of their studies, and why others have none."""
    image, patient = image_table.need(_IMAGE), image_table.need(PATIENT)
    label_rows: list[int | None] = list(range(len(image_table.rows)))
    if image_table is not table:
        study, own = table.need(_STUDY), image_table.need(_STUDY)
        by_study = _row_of_each(table, study)
        label_rows = [by_study.get(cells[own]) for cells in image_table.rows]
    unlabelled = np.full(len(label_table.label_set), UNKNOWN, np.int8)
    described = describe(
        image_table,
        [cells[image] for cells in image_table.rows],
        [cells[patient] for cells in image_table.rows],
        [unlabelled if number is None else label_table.rows[number] for number in label_rows],
    )
    unsaid = image_table.find(VIEW) is not None and options.views == "frontal"
    rows: list[Sample | Skipped] = []
    for row, number in zip(described, label_rows, strict=True):
        if number is None:
            why = f"{table.path.name} has no labels of its study"
            rows.append(Skipped(row.image, "label-missing", why))
        elif row.view is None and unsaid:
            why = "its table does not say which view it is; --views all takes every one"
            rows.append(Skipped(row.image, "view-unknown", why))
        else:
            rows.append(row)
    return rows


def _row_of_each(table: Table, column: int) -> dict[str, int]:
    """Return the row of each study or image that a column names.

    Raises:
        DataError: `label-twice` for one that two rows name.
    """
    rows: dict[str, int] = {}
    for number, cells in enumerate(table.rows):
        other = rows.setdefault(cells[column], number)
        if other != number:
            raise DataError(
                "label-twice",
                f"{table.path.name} has {table.columns[column]} {cells[column]!r} twice, in rows "
                f"{other + 1} and {number + 1}; keep one row of it",
            )
    return rows


def _split(rows: list[Sample | Skipped], table: Table) -> list[Sample | Skipped]:
    """Return rows in the splits of a table, and which of them it does not have."""
    image, split = table.need(_IMAGE), table.need(SPLIT)
    splits = {
        name: split_of(table.rows[number][split], row_name(table, number))
        for name, number in _row_of_each(table, image).items()
    }
    placed: list[Sample | Skipped] = []
    for row in rows:
        if isinstance(row, Skipped):
            placed.append(row)
        elif row.image in splits:
            placed.append(replace(row, split=splits[row.image]))
        else:
            why = f"{table.path.name} does not have it"
            placed.append(Skipped(row.image, "split-missing", why))
    return placed
