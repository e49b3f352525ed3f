"""RSNA Pneumonia Detection Challenge as Kaggle gives it out (Shih et al., Radiology AI 1(1), 2019).

stage_2_train_labels.csv has a row a box, or one without a box where `Target` is 0; `patientId`
names the image, and its patient. stage_2_detailed_class_info.csv says which of those without
pneumonia are normal.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from thorax.data.columns import BOX
from thorax.data.files import locate, search
from thorax.data.folder import require_box, splits_in
from thorax.data.label_columns import cell_reader, joined_labels
from thorax.data.samples import AS_ITS_TABLES_SAY, Box, ReadOptions, Sample, Source
from thorax.data.table import Table, read_table
from thorax.errors import DataError
from thorax.labels import NEGATIVE, POSITIVE, LabelSet

_PATIENT: Final = ("patientId",)
_PNEUMONIA: Final = "Pneumonia"
_ABNORMAL: Final = "Abnormal"
_CLASSES: Final = {"normal": False, "lung opacity": True, "no lung opacity / not normal": True}


def read(
    images: Path,
    *,
    labels: Path,
    classes: Path | None = None,
    options: ReadOptions = AS_ITS_TABLES_SAY,
) -> Source:
    """Return the radiographs of the challenge, in the order of its table.

    Args:
        images: stage_2_train_images.
        labels: stage_2_train_labels.csv.
        classes: stage_2_detailed_class_info.csv, which adds the finding `Abnormal`: positive but
            for the class `Normal`.
        options: what the labels are, `Pneumonia` (and `Abnormal`) without.

    Raises:
        DataError: `label-conflict` for an image that is positive in one row and negative in
            another, or `Lung Opacity` of a table and not of the other; `label-value` for a
            Target that is neither; `class-unknown`; `box-empty`; or as `files.locate`.
    """
    table = read_table(labels)
    targets, boxes = _targets(table)
    abnormal = None if classes is None else _abnormal(read_table(classes), targets)
    found = [[_PNEUMONIA] if positive else [] for positive in targets.values()]
    for names, sick in zip(found, abnormal or [False] * len(found), strict=True):
        names += [_ABNORMAL] if sick else []
    findings = (_PNEUMONIA,) if abnormal is None else (_PNEUMONIA, _ABNORMAL)
    label_table = joined_labels(found, options, table, vocabulary=LabelSet("rsna", findings))
    column = label_table.label_set.find(_PNEUMONIA)
    splits = splits_in(table, table.need(_PATIENT))
    rows = [
        Sample(
            image=image,
            path=Path(),
            patient=image,
            labels=values,
            split=splits.get(image),
            boxes=tuple(boxes.get(image, ())) if column is not None else (),
        )
        for image, values in zip(targets, label_table.rows, strict=True)
    ]
    located = locate(rows, search(images), labels, others=(classes,), views=options.views)
    said = ("Target is Pneumonia; each image is another patient, as its authors name them",)
    return Source(
        "rsna",
        label_table.label_set,
        located.rows,
        located.skipped,
        said,
        label_table.warnings,
    )


def _targets(table: Table) -> tuple[dict[str, bool], Mapping[str, list[Box]]]:
    """Return whether each image is positive, and its boxes in pixels of the image."""
    image, target = table.need(_PATIENT), table.need(("Target",))
    edges = [table.need((edge,)) for edge in BOX]
    read_cell = cell_reader(table, target)
    targets: dict[str, bool] = {}
    boxes: dict[str, list[Box]] = {}
    for number, cells in enumerate(table.rows):
        name, value = cells[image], read_cell(cells[target], number)
        if value not in (POSITIVE, NEGATIVE):
            raise DataError(
                "label-value",
                f"{table.path.name}, row {number + 1}: Target of {name!r} is {cells[target]!r}; "
                "allowed are 1 and 0",
            )
        positive = value == POSITIVE
        if targets.setdefault(name, positive) != positive:
            raise DataError(
                "label-conflict",
                f"{table.path.name}, row {number + 1}: {name!r} has Target {cells[target]} here "
                "and another before; keep one",
            )
        if positive:
            x, y, width, height = (table.number(number, edge) for edge in edges)
            require_box(table, number, width, height)
            boxes.setdefault(name, []).append(Box(_PNEUMONIA, x, y, width, height))
    return targets, boxes


def _abnormal(table: Table, targets: Mapping[str, bool]) -> list[bool]:
    """Return whether each image is of another class than `Normal`."""
    image, column = table.need(_PATIENT), table.need(("class",))
    classes: dict[str, str] = {}
    for number, cells in enumerate(table.rows):
        name = " ".join(cells[column].lower().split())
        if name not in _CLASSES:
            raise DataError(
                "class-unknown",
                f"{table.path.name}, row {number + 1}: class is {cells[column]!r}; allowed are "
                "Normal, Lung Opacity, No Lung Opacity / Not Normal",
            )
        if classes.setdefault(cells[image], name) != name:
            raise DataError(
                "label-conflict",
                f"{table.path.name}, row {number + 1}: {cells[image]!r} is {name!r} here and "
                "another class before; keep one",
            )
    for name, positive in targets.items():
        if name not in classes:
            raise DataError("class-missing", f"{table.path.name} has no class of {name!r}; add it")
        if (classes[name] == "lung opacity") != positive:
            raise DataError(
                "label-conflict",
                f"{table.path.name} calls {name!r} {classes[name]!r}, but its Target is "
                f"{int(positive)}; the two tables are not of one release",
            )
    return [_CLASSES[classes[name]] for name in targets]
