"""Tables in the form that a data set has released, told by their columns."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from thorax.data import folder, rsna, siim, vindr
from thorax.data.samples import AS_ITS_TABLES_SAY, ReadOptions, Source
from thorax.data.table import column_key, read_columns


class _Form(NamedTuple):
    """A table with a row a box, reader or mask: the keys of its columns, and what reads it."""

    name: str
    columns: frozenset[str]
    read: Callable[[Path, Path, ReadOptions], Source]


_FORMS: Final = (
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
    """Return the labelled radiographs of a folder, as `folder.read`, whatever a row of a table is.

    A table that has a row a box, reader or mask is read as its data set's own, and this is said;
    of boxes or patients that are given apart it is taken for one of a row an image.

    Raises:
        DataError, UsageError: as `folder.read`, or as what reads the data set.
    """
    columns = {column_key(column) for column in read_columns(labels)}
    for form in _FORMS:
        if form.columns <= columns and boxes is None and patient_from is None:
            source = form.read(images, labels, options)
            said = f"{labels.name} has the form of that data set: read as `data import {form.name}`"
            return replace(source, conventions=(said, *source.conventions))
    return folder.read(
        images, labels=labels, boxes=boxes, patient_from=patient_from, options=options
    )
