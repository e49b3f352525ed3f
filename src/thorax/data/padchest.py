"""PadChest as BIMCV gives it out (Bustos et al., Medical Image Analysis 66, 2020).

PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv: `Labels` is a list as Python writes it, of the
authors' own 174 findings and 19 diagnoses; `Projection` is PA, AP, AP_horizontal, L, COSTAL or
EXCLUDE.
"""

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Final

from thorax.data.columns import PATIENT, age_of, image_column, names_in, sex_of
from thorax.data.files import locate, search
from thorax.data.folder import describe
from thorax.data.label_columns import (
    LabelTable,
    joined_labels,
    read_labels,
    require_names,
    vocabulary_of,
)
from thorax.data.samples import AS_ITS_TABLES_SAY, ReadOptions, Sample, Skipped, Source
from thorax.data.table import Table, read_table

_LABELS: Final = ("Labels",)


def read(images: Path, *, labels: Path, options: ReadOptions = AS_ITS_TABLES_SAY) -> Source:
    """Return the radiographs that PadChest's table labels, in its order.

    Args:
        images: the folder of the images, in folders 0 to 54 or not.
        labels: the table; one with a column a finding in place of `Labels` is read too.
        options: what the labels are; without, every finding that the table names, sorted.

    Left out are rows without labels (`label-missing`) or labelled `exclude` (`label-excluded`),
    projections other than PA and AP (`view-not-frontal`; AP_horizontal is AP), and what
    `files.locate` leaves out.

    Raises:
        DataError: when the table cannot be followed or no image is left.
    """
    table = read_table(labels)
    image, patient, column = image_column(table), table.need(PATIENT), table.find(_LABELS)
    label_table = _labels(table, column, options)
    described = describe(
        table,
        [cells[image] for cells in table.rows],
        [cells[patient] for cells in table.rows],
        label_table.rows,
    )
    rows: list[Sample | Skipped] = []
    for row, (age, sex), cells in zip(described, _persons(table), table.rows, strict=True):
        names = None if column is None else names_in(cells[column])
        if names == []:
            rows.append(Skipped(row.image, "label-missing", f"{labels.name} has no labels of it"))
        elif names is not None and "exclude" in names:
            why = "its authors label it `exclude`: it is no usable radiograph of a chest"
            rows.append(Skipped(row.image, "label-excluded", why))
        else:
            rows.append(replace(row, age=row.age if age is None else age, sex=row.sex or sex))
    located = locate(rows, search(images), labels, views=options.views)
    said = (
        "findings that an image's list does not name are negative; normal names none, and of "
        "`unchanged` alone all are unknown",
    )
    return Source(
        "padchest",
        label_table.label_set,
        located.rows,
        located.skipped,
        label_table.conventions if column is None else said,
        label_table.warnings,
    )


def _labels(table: Table, column: int | None, options: ReadOptions) -> LabelTable:
    if column is None:
        return read_labels(table, options)
    rows = [names_in(cells[column]) for cells in table.rows]
    require_names(chain.from_iterable(rows), table, column)
    vocabulary = vocabulary_of(name for row in rows for name in row)
    return joined_labels(rows, options, table, vocabulary=vocabulary)


def _persons(table: Table) -> list[tuple[int | None, str | None]]:
    """Return age at the study and sex of each row's patient, where the table says them."""
    columns = [
        table.find((name,)) for name in ("StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM")
    ]
    persons = []
    for cells in table.rows:
        study, birth, sex = ("" if column is None else cells[column] for column in columns)
        age = None
        if study[:4].isdigit() and birth[:4].isdigit():
            age = age_of(str(int(study[:4]) - int(birth[:4])))
        persons.append((age, sex_of(sex)))
    return persons
