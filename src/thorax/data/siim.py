"""SIIM-ACR Pneumothorax Segmentation as Kaggle gives it out (2019): train-rle.csv.

`EncodedPixels` is -1 without a pneumothorax, else a mask: pairs of how many pixels to skip since
the last run and how long the next is, down the columns of the 1024 x 1024 image. A row is a mask,
so that an image may have several. `ImageId` is the SOP Instance UID, which names the file.
"""

from pathlib import Path
from typing import Final

from thorax.data.files import locate, search
from thorax.data.folder import HEADER, patients_in, splits_in
from thorax.data.label_columns import joined_labels
from thorax.data.samples import AS_ITS_TABLES_SAY, Box, ReadOptions, Sample, Source
from thorax.data.table import Table, read_table
from thorax.errors import DataError
from thorax.labels import LabelSet

SIDE: Final = 1024
"""Of the images, and so of the masks, pixels."""

_IMAGE: Final = ("ImageId",)
_PNEUMOTHORAX: Final = "Pneumothorax"
_NO_MASK: Final = frozenset({"-1", "-1.0"})


def read(
    images: Path,
    *,
    labels: Path,
    patient_from: str = HEADER,
    options: ReadOptions = AS_ITS_TABLES_SAY,
) -> Source:
    """Return the radiographs that SIIM's table labels, in the order in which it names them.

    A mask becomes the box around it.

    Args:
        images: dicom-images-train, with its folders of studies and series, or copies of the files.
        labels: train-rle.csv, or stage_2_train.csv.
        patient_from: regular expression that finds the patient in the image's name; `header` leaves
            patients to `headers.complete`.
        options: what the labels are, `Pneumothorax` without.

    Raises:
        DataError: `mask-damaged`, or as `files.locate`.
    """
    table = read_table(labels)
    boxes = _boxes(table)
    names = list(boxes)
    found = [[_PNEUMOTHORAX] if masks else [] for masks in boxes.values()]
    vocabulary = LabelSet("siim", (_PNEUMOTHORAX,))
    label_table = joined_labels(found, options, table, vocabulary=vocabulary)
    labelled = label_table.label_set.find(_PNEUMOTHORAX) is not None
    splits = splits_in(table, table.need(_IMAGE))
    patients = [""] * len(names)
    if patient_from != HEADER:
        patients = patients_in(names, patient_from)
    rows = [
        Sample(
            image=name,
            path=Path(),
            patient=patient,
            labels=values,
            split=splits.get(name),
            boxes=tuple(boxes[name]) if labelled else (),
            box_frame=(SIDE, SIDE) if boxes[name] else None,
        )
        for name, patient, values in zip(names, patients, label_table.rows, strict=True)
    ]
    located = locate(rows, search(images), labels, views=options.views)
    return Source(
        "siim",
        label_table.label_set,
        located.rows,
        located.skipped,
        ("a mask is Pneumothorax, and the box around it",),
        label_table.warnings,
    )


def _boxes(table: Table) -> dict[str, list[Box]]:
    """Return the boxes of each image, none without a pneumothorax."""
    image, mask = table.need(_IMAGE), table.need(("EncodedPixels",))
    boxes: dict[str, list[Box]] = {}
    for number, cells in enumerate(table.rows):
        masks = boxes.setdefault(cells[image], [])
        if cells[mask] in _NO_MASK:
            continue
        try:
            masks.append(mask_box(cells[mask]))
        except ValueError as error:
            raise DataError(
                "mask-damaged",
                f"{table.path.name}, row {number + 1}: the mask of {cells[image]!r} {error}; "
                f"allowed are -1, and pairs of pixels to skip and to set of {SIDE} x {SIDE}",
            ) from error
    return boxes


def mask_box(mask: str, side: int = SIDE) -> Box:
    """Return the box around a mask of relative runs down the columns of a square image.

    Raises:
        ValueError: it holds no pairs of numbers, or more pixels than the image.

    Example:
        >>> mask_box("5 2 3 2", side=4)
        Box(finding='Pneumothorax', x=1.0, y=1.0, width=2.0, height=3.0)
    """
    try:
        numbers = [int(word) for word in mask.split()]
    except ValueError as error:
        raise ValueError("is no list of whole numbers") from error
    if not numbers or len(numbers) % 2 or min(numbers) < 0:
        raise ValueError("is no list of pairs of numbers of 0 or more")
    position = 0
    left, top, right, bottom = side, side, 0, 0
    for skipped, run in zip(numbers[::2], numbers[1::2], strict=True):
        position += skipped
        end = position + run
        if run:
            first, last = position // side, (end - 1) // side
            whole = last > first
            left, right = min(left, first), max(right, last + 1)
            top = 0 if whole else min(top, position % side)
            bottom = side if whole else max(bottom, (end - 1) % side + 1)
        position = end
    if position > side * side or right <= left:
        raise ValueError(f"sets no pixel of the image, or ends at {position} of {side * side}")
    return Box(_PNEUMOTHORAX, float(left), float(top), float(right - left), float(bottom - top))
