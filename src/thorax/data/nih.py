"""ChestX-ray14 as the NIH Clinical Center gives it out (Wang et al., CVPR 2017)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from thorax.data.columns import IMAGE, SPLIT, names_in, split_of
from thorax.data.files import Search, report, require_rows, search
from thorax.data.folder import describe, read_boxes, row_name
from thorax.data.label_columns import LabelTable, joined_labels, read_labels
from thorax.data.names import name_parts
from thorax.data.samples import AS_ITS_TABLES_SAY, Box, ReadOptions, Sample, Skipped, Source
from thorax.data.split import by_patient
from thorax.data.table import Table, open_table, read_table
from thorax.errors import DataError
from thorax.labels import NIH14, LabelSet

BOX_FRAME: Final = (1024, 1024)
"""The 984 boxes were drawn on the released 1024 x 1024 images (README_ChestXray.pdf)."""

_NEEDED: Final = ("Image Index", "Patient ID")
_LISTS: Final = {"train_val_list.txt": None, "test_list.txt": "test"}
_TRAIN_VAL_FRACTIONS: Final = (0.875, 0.125, 0.0)
"""NIH lists train and val together; val is an eighth, as 10 % is of the usual 80 %."""


def rows(
    images: Path,
    *,
    labels: Path,
    split: Path | None = None,
    boxes: Path | None = None,
    label_set: LabelSet = NIH14,
    on_skip: Callable[[Skipped], None] | None = None,
) -> list[Sample]:
    """Return the radiographs under a folder as `read` does, with the labels of a known set.

    Without `on_skip`, which is told of everything left out, that is counted in the log.

    Raises:
        DataError: as `read`.
    """
    options = ReadOptions(findings=label_set, strict=True)
    source = read(images, labels=labels, split=split, boxes=boxes, options=options)
    report(source.skipped, images, on_skip)
    return list(source.rows)


def read(
    images: Path,
    *,
    labels: Path,
    split: Path | None = None,
    boxes: Path | None = None,
    options: ReadOptions = AS_ITS_TABLES_SAY,
) -> Source:
    """Return the radiographs under a folder that the NIH table labels, sorted by name.

    The table may name more images than are there. An image is found by its name without the
    ending, so a copy turned into JPEG is found too.

    Args:
        images: searched through all its folders.
        labels: Data_Entry_2017.csv or Data_Entry_2017_v2020.csv, plain or gzip.
        split: a table of `Image Index,split` (or `fold`); or NIH's train_val_list.txt or
            test_list.txt, or the folder of the two, which are then both read, and train_val is
            divided by patient.
        boxes: BBox_List_2017.csv, plain or gzip.
        options: what the labels are, the fourteen of NIH without.

    Left out are `label-missing` (no row in the table), `split-missing` (in no list), and what
    `files.search` lists.

    Raises:
        DataError: when a table cannot be followed or no image is left.
    """
    table = read_table(labels)
    image, patient = (table.need((name,)) for name in _NEEDED)
    labelled = _row_of_each(table, image)
    splits = None if split is None else _splits(split)
    label_table = _labels(table, options)
    box_lists = {} if boxes is None else _boxes(boxes, label_table.label_set)
    names, patients = ([cells[column] for cells in table.rows] for column in (image, patient))
    described = describe(table, names, patients, label_table.rows)
    listing = search(images)
    outcomes = [
        _outcome(path, None if number is None else described[number], stem, splits, labels)
        for stem, path in sorted(_by_stem(listing).items())
        for number in (labelled.get(stem),)
    ]
    listed = [
        replace(row, boxes=tuple(box_lists[stem]), box_frame=BOX_FRAME)
        if (stem := _stem(row.image)) in box_lists
        else row
        for row in outcomes
        if isinstance(row, Sample)
    ]
    skipped = [skip for skip in outcomes if isinstance(skip, Skipped)]
    skipped += listing.left_out((), labels, split, boxes, *_lists(split))
    require_rows(listed, skipped, images, labels)
    listed = listed if splits is None else _divided(listed)
    said = ("NIH's lists: of train_val an eighth of the patients is val",) if _lists(split) else ()
    return Source(
        "nih", label_table.label_set, tuple(listed), tuple(skipped), said, label_table.warnings
    )


def _labels(table: Table, options: ReadOptions) -> LabelTable:
    """Return the labels of rows: joined, as NIH has them, or of tables with a column a finding."""
    findings = table.find(("Finding Labels",))
    if findings is None:
        return read_labels(table, replace(options, findings=options.findings or NIH14))
    rows = [names_in(cells[findings]) for cells in table.rows]
    return joined_labels(rows, options, table, vocabulary=NIH14)


def _outcome(
    path: Path,
    row: Sample | None,
    stem: str,
    splits: Mapping[str, str | None] | None,
    labels: Path,
) -> Sample | Skipped:
    """Return what becomes of a file, whose row is None where the table has none."""
    if row is None:
        return Skipped(path.name, "label-missing", f"{labels.name} has no row for it")
    if splits is None:
        return replace(row, path=path)
    if stem not in splits:
        return Skipped(row.image, "split-missing", "it is in none of the splits")
    return replace(row, path=path, split=splits[stem])


def _row_of_each(table: Table, image: int) -> Mapping[str, int]:
    """Return the row of each image by its name without the ending."""
    labelled = {_stem(cells[image]): number for number, cells in enumerate(table.rows)}
    if len(labelled) != len(table.rows):
        raise DataError(
            "label-twice", f"{table.path.name} names an image twice; keep one row an image"
        )
    return labelled


def _divided(rows: list[Sample]) -> list[Sample]:
    """Return rows with a split each: those that NIH lists as train and val are divided."""
    splits = by_patient(rows, fractions=_TRAIN_VAL_FRACTIONS)
    return [replace(row, split=split) for row, split in zip(rows, splits, strict=True)]


def _stem(name: str) -> str:
    """Return the last part of a name without its ending, whatever that is."""
    last = name_parts(name)[-1:] or (name,)
    return last[0].rpartition(".")[0] or last[0]


def _by_stem(listing: Search) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    images = listing.root
    for path in listing.files:
        other = paths.setdefault(_stem(path.name), path)
        if other != path:
            raise DataError(
                "image-ambiguous",
                f"{path.stem} is there twice, as {other.relative_to(images)} and "
                f"{path.relative_to(images)}; give the folder that holds one of them",
            )
    return paths


def _splits(path: Path) -> dict[str, str | None]:
    """Return the split of each image name without its ending; None stands for train or val."""
    if lists := _lists(path):
        return _listed(lists)
    table = read_table(path)
    image, split = table.need(IMAGE), table.need(SPLIT)
    splits: dict[str, str | None] = {}
    for number, cells in enumerate(table.rows):
        where = f"{row_name(table, number)}, {cells[image]}"
        if not cells[split]:
            raise DataError(
                "split-unknown", f"{where}: split is empty; allowed are train, val, test"
            )
        found = split_of(cells[split], where)
        if splits.setdefault(_stem(cells[image]), found) != found:
            raise DataError(
                "split-twice", f"{where}: its image is in another split before; keep one row of it"
            )
    return splits


def _listed(lists: Sequence[Path]) -> dict[str, str | None]:
    """Return the split of each image of NIH's lists.

    Raises:
        DataError: `split-twice` for an image that lists of two splits name.
    """
    splits: dict[str, str | None] = {}
    for file in lists:
        split = _LISTS[file.name]
        for name in _names(file):
            if splits.setdefault(_stem(name), split) != split:
                raise DataError(
                    "split-twice",
                    f"{name} is in {' and in '.join(_LISTS)}; take it out of one of them",
                )
    return splits


def _lists(path: Path | None) -> list[Path]:
    """Return NIH's own two lists where a split is given by them."""
    if path is None or not (path.is_dir() or path.name in _LISTS):
        return []
    folder = path if path.is_dir() else path.parent
    return [folder / name for name in _LISTS]


def _names(path: Path) -> list[str]:
    try:
        with open_table(path) as lines:
            return [name for line in lines for name in line.split()]
    except DataError as error:
        if error.code == "table-too-large":
            raise
        raise DataError(
            "split-list-missing",
            f"{path} cannot be read; train_val_list.txt and test_list.txt must lie in one folder",
        ) from error


def _boxes(path: Path, label_set: LabelSet) -> dict[str, list[Box]]:
    table = read_table(path)
    image, finding = table.need(("Image Index",)), table.need(("Finding Label",))
    first = table.find(("Bbox [x", "x"))
    if first is None:
        first = table.need(("Bbox [x,y,w,h]",))
    # The header is `Bbox [x,y,w,h]`, unquoted: its commas make four columns of it.
    found = read_boxes(table, label_set, image, finding, range(first, first + 4))
    boxes: dict[str, list[Box]] = {}
    for name, lesions in found.items():
        boxes.setdefault(_stem(name), []).extend(lesions)
    return boxes
