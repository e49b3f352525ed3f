"""Tables in the form that a data set has released, told by their columns."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from thorax.data import chexpert, folder, mimic, padchest, rsna, siim, vindr
from thorax.data.columns import PATIENT
from thorax.data.samples import AS_ITS_TABLES_SAY, ReadOptions, Source
from thorax.data.table import column_key, read_columns


class _Form(NamedTuple):
    """A released table: the keys of columns that it has, of those that it has not, its reader."""

    name: str
    columns: frozenset[str]
    read: Callable[[Path, Path, ReadOptions], Source]
    without: frozenset[str] = frozenset()


_FORMS: Final = (
    _Form(
        "chexpert",
        frozenset(("path", "frontallateral", "appa", "nofinding", "supportdevices")),
        lambda images, labels, options: chexpert.read(images, labels=[labels], options=options),
        frozenset(map(column_key, PATIENT)),
    ),
    _Form(
        "mimic",
        frozenset(("subjectid", "studyid", "nofinding", "supportdevices")),
        lambda images, labels, options: mimic.read(images, labels=labels, options=options),
    ),
    _Form(
        "padchest",
        frozenset(("imageid", "patientid", "projection", "labels")),
        lambda images, labels, options: padchest.read(images, labels=labels, options=options),
    ),
    _Form(
        "rsna",
        frozenset(("patientid", "x", "y", "width", "height", "target")),
        lambda images, labels, options: rsna.read(images, labels=labels, options=options),
    ),
    _Form(
        "vindr",
        frozenset(("imageid", "classname", "xmin", "ymin", "xmax", "ymax")),
        lambda images, labels, options: vindr.read(images, labels=[labels], options=options),
    ),
    _Form(
        "vindr",
        frozenset(("imageid", "radid", "nofinding")),
        lambda images, labels, options: vindr.read(images, labels=[labels], options=options),
    ),
    _Form(
        "siim",
        frozenset(("imageid", "encodedpixels")),
        lambda images, labels, options: siim.read(images, labels=labels, options=options),
    ),
)


def read(
    images: Path,
    *,
    labels: Path,
    boxes: Path | None = None,
    patient_from: str | None = None,
    options: ReadOptions = AS_ITS_TABLES_SAY,
) -> Source:
    """Return the labelled radiographs of a folder, as `folder.read`, or as its table's own reader.

    A table in a form that a data set has released is read as that data set's, and this is said;
    with boxes or patients that are given apart it is taken for any table.

    Raises:
        DataError, UsageError: as `folder.read`, or as what reads the data set.
    """
    columns = {column_key(column) for column in read_columns(labels)}
    for form in _FORMS:
        told = form.columns <= columns and not form.without & columns
        if told and boxes is None and patient_from is None:
            source = form.read(images, labels, options)
            said = f"{labels.name} has the form of that data set: read as `data import {form.name}`"
            return replace(source, conventions=(said, *source.conventions))
    return folder.read(
        images, labels=labels, boxes=boxes, patient_from=patient_from, options=options
    )
