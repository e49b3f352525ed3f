"""Any folder of radiographs with a CSV of labels, CheXpert's and the phantoms' among them."""

import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.data.samples import Box, Sample, Skipped
from thorax.data.table import Table, read_table
from thorax.errors import DataError, UsageError
from thorax.files.atomic import is_ours
from thorax.labels import NEGATIVE, NIH14, POSITIVE, UNKNOWN, LabelSet

logger = logging.getLogger(__name__)

_HIDDEN: Final = "names that begin with a point are hidden and not looked at; rename it"
IMAGE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".dcm", ".dicom"})

_IMAGE = ("image", "path", "Image Index", "filename", "file", "image path", "file path", "image id")
_PATIENT = ("patient", "Patient ID", "subject", "subject id")
_FINDINGS = ("findings", "Finding Labels", "labels", "finding", "label")
_SPLIT = ("split", "fold", "subset")
_VIEW = ("view", "View Position", "AP/PA")
_PROJECTION = ("Frontal/Lateral",)
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "": None,
}
_LATERAL: Final = "its table calls it a lateral view; only frontal views are learned from"
_SIDE_VIEWS = frozenset({"LATERAL", "L", "LL", "RL", "LLO", "RLO"})


def rows(
    images: Path,
    *,
    labels: Path,
    boxes: Path | None = None,
    patient_from: str | None = None,
    label_set: LabelSet = NIH14,
    on_skip: Callable[[Skipped], None] | None = None,
) -> list[Sample]:
    """Return the labelled radiographs of a folder, in the order of the table.

    Columns are found by their names: image (image, path, Image Index, filename, ...), patient,
    optionally split and view, and either findings joined by `|` or one column a finding with 1, 0,
    -1 or nothing; the last two mean unknown, as in CheXpert (Irvin et al., AAAI 2019). A finding
    of the set that has no column is unknown; a column that means nothing here is ignored.

    Args:
        images: the folder; a path in the table is relative to it, a bare name is searched in it.
        labels: the table.
        boxes: a table of image, finding, x, y, width, height in the image's own pixels.
        patient_from: regular expression whose first group (or whole match) in the image's path is
            the patient, for a table without a patient column; `.*` states that no two images
            share a patient.
        label_set: what the labels are.
        on_skip: told of everything left out: `label-missing` (a file the table does not have),
            `image-missing` (no such file), `view-not-frontal`, and what `search` lists. Without
            it they are counted in the log.

    Raises:
        DataError: when the table cannot be followed, names a file outside the folder, or leaves
            no image.
        UsageError: `patient-pattern` for a `patient_from` that is no regular expression.
    """
    table = read_table(labels)
    listing = search(images)
    patients = _patients(table, table.need(_IMAGE), patient_from)
    values = _labels(table, label_set)
    box_lists = {} if boxes is None else _boxes(boxes, label_set)
    seen: set[Path] = set()
    outcomes = list(_outcomes(table, listing, patients, values, seen))
    frontal = [
        replace(sample, boxes=tuple(box_lists.get(sample.image, ())))
        for sample in outcomes
        if isinstance(sample, Sample)
    ]
    skipped = [skip for skip in outcomes if isinstance(skip, Skipped)]
    skipped += listing.without_row(seen, labels, boxes)
    return finish(frontal, skipped, images, labels, on_skip)


def _outcomes(
    table: Table,
    listing: "Search",
    patients: Sequence[str],
    values: Sequence[npt.NDArray[np.int8]],
    seen: set[Path],
) -> Iterator[Sample | Skipped]:
    """Yield what becomes of each row of a table; the files that rows name are added to `seen`."""
    finder = _Finder(listing.root, listing.files)
    image_column, split_column = table.need(_IMAGE), table.find(_SPLIT)
    views = _views(table)
    for number, cells in enumerate(table.rows):
        name = cells[image_column]
        path = finder.path(name)
        if path is None:
            yield _missing(name, listing, listing.root)
            continue
        if path in seen:
            raise DataError(
                "label-twice", f"{table.path.name} has {name!r} twice; keep one row an image"
            )
        seen.add(path)
        if views[number] in _SIDE_VIEWS:
            yield Skipped(name, "view-not-frontal", _LATERAL)
            continue
        yield Sample(
            image=name,
            path=path,
            patient=patients[number],
            labels=values[number],
            split=_split(table, number, split_column),
            view=views[number] if views[number] in ("PA", "AP") else None,
        )


def _views(table: Table) -> list[str]:
    """Return the view of each row; LATERAL where its projection is."""
    view_column, projection_column = table.find(_VIEW), table.find(_PROJECTION)
    views = []
    for cells in table.rows:
        view = cells[view_column].upper() if view_column is not None else ""
        if projection_column is not None and cells[projection_column].upper() == "LATERAL":
            view = "LATERAL"
        views.append(view)
    return views


@dataclass(frozen=True, slots=True)
class Search:
    """What is below a folder; names that begin with a dot are left out.

    Attributes:
        root: the folder.
        files: what is an image by its name, sorted.
        others: all other files, sorted.
        closed: folders that are not searched, with the reason: `folder-unreadable`, or
            `folder-linked` for a link to a folder, which may lead anywhere, back to here too.
    """

    root: Path
    files: tuple[Path, ...]
    others: tuple[Path, ...]
    closed: tuple[Skipped, ...]

    def without_row(
        self, used: Collection[Path], labels: Path, boxes: Path | None
    ) -> list[Skipped]:
        """Return the images that no row of a table names, and what no row can be of."""
        return [
            *(
                Skipped(
                    path.relative_to(self.root).as_posix(),
                    "label-missing",
                    f"{labels.name} has no row",
                )
                for path in self.files
                if path not in used
            ),
            *self.left_out(used, labels, boxes),
        ]

    def left_out(self, used: Collection[Path], *tables: Path | None) -> list[Skipped]:
        """Return what no row can be of: `closed`, and `file-unsupported` for the other files.

        Files in `used` are rows by whatever name; tables that describe the source are no images.
        """
        known = {os.path.realpath(table) for table in tables if table is not None}
        reason = f"by its name it is no image ({', '.join(sorted(IMAGE_SUFFIXES))})"
        return [
            *self.closed,
            *(
                Skipped(path.relative_to(self.root).as_posix(), "file-unsupported", reason)
                for path in self.others
                if path not in used and os.path.realpath(path) not in known
            ),
        ]


def search(folder: Path) -> Search:
    """Return what is below a folder, and which parts of it cannot be looked into.

    Raises:
        DataError: `folder-missing`, for a folder that cannot be read too.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where it may not look
        raise DataError("folder-missing", f"{folder} is no folder; give the folder of the images")
    files: list[Path] = []
    others: list[Path] = []
    closed: list[Skipped] = []

    def tell(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise DataError(
                "folder-missing",
                f"{folder} cannot be read: {error.strerror}; give a folder that can",
            ) from error
        name = Path(error.filename).relative_to(folder).as_posix()
        closed.append(Skipped(name, "folder-unreadable", f"it cannot be read: {error.strerror}"))

    for base, folders, names in os.walk(folder, onerror=tell):
        images = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
        for name in (*folders, *images):
            if name.startswith(".") and not is_ours(name):
                hidden = Path(base, name).relative_to(folder).as_posix()
                closed.append(Skipped(hidden, "name-hidden", _HIDDEN))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(base, name) for name in folders):
            # Path.is_symlink raises where it may not look.
            if os.path.islink(path):  # noqa: PTH114
                reason = "links to folders are not followed; give the folder itself too"
                closed.append(Skipped(path.relative_to(folder).as_posix(), "folder-linked", reason))
        for path in (Path(base, name) for name in names if not name.startswith(".")):
            (files if path.suffix.lower() in IMAGE_SUFFIXES else others).append(path)
    closed.sort(key=lambda skip: skip.image)
    return Search(folder, tuple(sorted(files)), tuple(sorted(others)), tuple(closed))


def _missing(name: str, listing: Search, images: Path) -> Skipped:
    """Say why there is no file for a row: for all that can be known, it may not be readable."""
    unreadable = [skip for skip in listing.closed if skip.code == "folder-unreadable"]
    path = Path(os.path.normpath(name))
    for skip in unreadable:
        if any(
            part.is_relative_to(skip.image) for part in (path, Path(*path.parts[1:])) if part.parts
        ):
            return Skipped(name, "folder-unreadable", f"its folder {skip.image}: {skip.message}")
    note = f", of which {len(unreadable)} folders cannot be read" if unreadable else ""
    return Skipped(name, "image-missing", f"{name} is not in {images.name}{note}")


def finish(
    found: list[Sample],
    skipped: list[Skipped],
    images: Path,
    labels: Path,
    on_skip: Callable[[Skipped], None] | None,
) -> list[Sample]:
    """Report what a source left out and return what it found.

    Raises:
        DataError: `source-empty` when nothing was found.
    """
    if on_skip is not None:
        for skip in skipped:
            on_skip(skip)
    elif skipped:
        logger.warning("%d images of %s were left out", len(skipped), images.name)
    if not found:
        raise DataError(
            "source-empty",
            f"no image under {images} has a row in {labels.name}; "
            f"{len(skipped)} were left out; check that the two belong together",
        )
    return found


class _Finder:
    """Files of one folder, by path or by a bare name that is there once."""

    def __init__(self, root: Path, files: Iterable[Path]) -> None:
        self.root = root
        self.files = frozenset(files)
        self.by_name: dict[str, list[Path]] = {}
        for path in self.files:
            self.by_name.setdefault(path.name, []).append(path)

    def path(self, name: str) -> Path | None:
        inside = Path(os.path.normpath(self.root / name))
        root = Path(os.path.normpath(self.root))
        if not name or "\0" in name or not inside.is_relative_to(root) or inside == root:
            raise DataError(
                "path-outside",
                f"the table names {name!r}, which is not a file inside {self.root}; "
                "write paths relative to the folder of the images",
            )
        relative = inside.relative_to(root)
        # CheXpert's paths begin with the name of the folder that holds them.
        tail = Path(*relative.parts[1:]) if relative.parts[0] == root.name else relative
        for candidate in (self.root / relative, self.root / tail):
            # Path.is_file raises for a name that is too long, or where it may not look.
            if candidate in self.files or (
                candidate != self.root and os.path.isfile(candidate)  # noqa: PTH113
            ):
                return candidate
        if len(relative.parts) > 1:
            return None
        matches = self.by_name.get(relative.name, [])
        if len(matches) > 1:
            raise DataError(
                "image-ambiguous",
                f"{name!r} is {len(matches)} files under {self.root}, among them "
                f"{matches[0].relative_to(self.root)} and {matches[1].relative_to(self.root)}; "
                "write its path or give the folder that holds one of them",
            )
        return matches[0] if matches else None


def _patients(table: Table, image_column: int, pattern: str | None) -> list[str]:
    if pattern is None:
        column = table.need(
            _PATIENT,
            "splits are by patient: add that column, or say with --patient-from PATTERN where the "
            "image's path holds the patient ('.*' where every image is another patient)",
        )
        names = [cells[column] for cells in table.rows]
    else:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise UsageError(
                "patient-pattern", f"{pattern!r} is no regular expression: {error}"
            ) from error
        found = [expression.search(cells[image_column]) for cells in table.rows]
        names = [
            "" if match is None else (match.group(1 if expression.groups else 0) or "")
            for match in found
        ]
    for cells, name in zip(table.rows, names, strict=True):
        if not name:
            raise DataError(
                "patient-missing",
                f"{table.path.name} gives no patient for {cells[image_column]!r}"
                + (f" by {pattern!r}" if pattern else "")
                + "; every image needs one",
            )
    return names


def _labels(table: Table, label_set: LabelSet) -> list[npt.NDArray[np.int8]]:
    joined = table.find(_FINDINGS)
    if joined is not None:
        return [label_set.row(cells[joined].split("|")) for cells in table.rows]
    columns: dict[int, int] = {}
    for column, name in enumerate(table.columns):
        finding = _finding(name, label_set)
        if finding is None:
            continue
        if finding in columns.values():
            raise DataError(
                "table-column-twice",
                f"{table.path.name} has two columns for {label_set.findings[finding]}, one of "
                f"them {name!r}; keep one",
            )
        columns[column] = finding
    if not columns:
        table.need(_FINDINGS, f"or give one column a finding ({', '.join(label_set.findings)})")
    values = np.full((len(table.rows), len(label_set)), UNKNOWN, np.int8)
    for number in range(len(table.rows)):
        for column, finding in columns.items():
            values[number, finding] = _value(table, number, column)
    return list(values)


def _finding(column: str, label_set: LabelSet) -> int | None:
    try:
        return label_set.index(column)
    except DataError:
        return None


def _value(table: Table, row: int, column: int) -> int:
    if not table.rows[row][column]:
        return UNKNOWN
    value = table.number(row, column)
    if value not in (POSITIVE, NEGATIVE, UNKNOWN):
        raise DataError(
            "label-value",
            f"{table.path.name}, row {row + 1}, column {table.columns[column]!r} is {value}; "
            "allowed are 1, 0, -1 (unknown) and nothing (unknown)",
        )
    return int(value)


def _split(table: Table, row: int, column: int | None) -> str | None:
    if column is None:
        return None
    cell = table.rows[row][column]
    if cell.lower() not in _SPLIT_NAMES:
        raise DataError(
            "split-unknown",
            f"{table.path.name}, row {row + 1}: split is {cell!r}; allowed are train, val, test "
            "and nothing (chosen by patient)",
        )
    return _SPLIT_NAMES[cell.lower()]


def _boxes(path: Path, label_set: LabelSet) -> dict[str, list[Box]]:
    table = read_table(path)
    image, finding = table.need(_IMAGE), table.need(("finding", "Finding Label", "label"))
    edges = [table.need((name,)) for name in ("x", "y", "width", "height")]
    return read_boxes(table, label_set, image, finding, edges)


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
        if width <= 0 or height <= 0:
            raise DataError(
                "box-empty",
                f"{table.path.name} has a box of {width} x {height} pixels; both must be above 0",
            )
        name = label_set.findings[label_set.index(cells[finding])]
        found.setdefault(cells[image], []).append(Box(name, x, y, width, height))
    return found
