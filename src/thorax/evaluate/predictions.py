"""A predictions CSV and a labels CSV, matched image by image into arrays."""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.data.table import Table, column_key, open_table
from thorax.errors import DataError
from thorax.files.csv_cells import harmless
from thorax.labels import NEGATIVE, POSITIVE, UNKNOWN, LabelSet

_IMAGE: Final = ("imageindex", "image", "imageid", "imagename", "imagepath", "filename", "file")
_PATH: Final = ("path", "dicomid", "id")
_PATIENT: Final = ("patientid", "patient", "subjectid", "subject")
_JOINED: Final = ("findinglabels", "findings", "labels")
_SPLIT: Final = ("split", "fold", "subset")
_ABOUT: Final = {
    *(_IMAGE + _PATH + _PATIENT + _JOINED + _SPLIT),
    *("view", "viewposition", "age", "sex", "gender", "patientage", "patientgender", "patientsex"),
    *("followup", "nofinding"),
}
"""Columns that say something about an image but are no finding."""

_CELLS: Final = {
    **dict.fromkeys(("1", "1.0"), POSITIVE),
    **dict.fromkeys(("0", "0.0"), NEGATIVE),
    **dict.fromkeys(("", "-1", "-1.0", "nan"), UNKNOWN),
}


@dataclass(frozen=True, slots=True)
class Matched:
    """Predictions beside the truth, one row an image.

    Findings are K names, in the order of the label set or of the label columns, images N names as
    the labels CSV writes them. Labels are int8 [N,K], 1 / 0 / -1, probabilities float64 [N,K], 0-1;
    patients are N identifiers, or None where the labels CSV has no patient column. `ignored` are
    columns of the predictions CSV that name no labelled finding, `unused` predictions left out
    because they lie outside the split asked for.
    """

    findings: tuple[str, ...]
    images: tuple[str, ...]
    labels: npt.NDArray[np.int8] = field(repr=False)
    probability: npt.NDArray[np.float64] = field(repr=False)
    patients: tuple[str, ...] | None = field(repr=False)
    ignored: tuple[str, ...]
    unused: int


class _Rows:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = _read(path)
        first = next(self._rows, None)
        if first is None:
            raise DataError("table-empty", f"{path} has no header line; a CSV file is needed")
        self.columns = tuple(cell.strip() for cell in first[1])
        self.header = Table(path, self.columns, ())
        image = self.header.find((*_IMAGE, *_PATH))
        if image is None:
            raise DataError(
                "table-no-image-column",
                f"{path} has columns {', '.join(self.columns[:20])}; one must name the image:"
                " 'Image Index', 'image', 'filename' or 'path'",
            )
        self.image = image

    def finding_columns(self) -> list[int]:
        """Return the columns that say nothing of an image but what is found in it."""
        return [k for k, name in enumerate(self.columns) if column_key(name) not in _ABOUT]

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Yield line number and cells; every row is as wide as the header."""
        for line, cells in self._rows:
            if len(cells) != len(self.columns):
                raise DataError(
                    "table-row-width",
                    f"{self.path} line {line} has {len(cells)} cells, the header has"
                    f" {len(self.columns)}",
                )
            yield line, [cell.strip() for cell in cells]


class _Labels:
    """The labels CSV: findings joined by | in one column (NIH), or a column a finding."""

    def __init__(self, path: Path, label_set: LabelSet) -> None:
        table = _Rows(path)
        patient, joined = table.header.find(_PATIENT), table.header.find(_JOINED)
        columns = table.finding_columns()
        self.path = path
        self.set = (
            LabelSet(path.name, tuple(table.columns[k] for k in columns))
            if joined is None
            else label_set
        )
        self.images: dict[str, int] = {}
        self.names: list[str] = []
        self.patients: list[str] | None = None if patient is None else []
        self._cells: list[tuple[int, list[str]]] = []
        self._joined = joined is not None
        for line, cells in table:
            name = _image_name(path, line, cells[table.image])
            if self.images.setdefault(harmless(name), len(self.names)) != len(self.names):
                raise DataError("image-duplicate", f"{path} line {line} repeats image {name!r}")
            self.names.append(name)
            if self.patients is not None and patient is not None:
                if not cells[patient]:
                    raise DataError(
                        "patient-missing",
                        f"{path} line {line}: image {name!r} has no patient; fill in or drop"
                        f" column {table.columns[patient]!r}",
                    )
                self.patients.append(cells[patient])
            labels = cells[joined].split("|") if joined is not None else [cells[k] for k in columns]
            self._cells.append((line, labels))
        self._by_last_part: dict[str, int | None] = {}
        for name, row in self.images.items():
            last = _last_part(name)
            self._by_last_part[last] = None if last in self._by_last_part else row

    def row_of(self, image: str) -> int | None:
        """Return the row of an image by its full name, else by its unambiguous last part."""
        row = self.images.get(harmless(image))
        return self._by_last_part.get(_last_part(image)) if row is None else row

    def labels(self, row: int, columns: list[int]) -> npt.NDArray[np.int8]:
        """Return int8 [K] of one row, for the K columns of the set that are asked for."""
        line, cells = self._cells[row]
        if self._joined:
            try:
                return self.set.row(cells)[columns]
            except DataError as error:
                raise DataError(error.code, f"{self.path} line {line}: {error.message}") from None
        values = np.empty(len(columns), np.int8)
        for index, column in enumerate(columns):
            value = _CELLS.get(cells[column].lower())
            if value is None:
                raise DataError(
                    "label-invalid",
                    f"{self.path} line {line}, column {self.set.findings[column]!r} holds"
                    f" {cells[column]!r}; allowed are 1, 0, and -1 or empty for unknown",
                )
            values[index] = value
        return values


def match(
    predictions: Path,
    labels: Path,
    *,
    label_set: LabelSet,
    split: Path | None = None,
    subset: str = "test",
) -> Matched:
    """Read both files and bring them to one order.

    Args:
        predictions: CSV or CSV.gz with an image column and one column a finding, named `prob_X`
            or `X`; where any is named `prob_X`, only those count. A path stands for its last part
            where the labels CSV does not know the whole.
        labels: CSV or CSV.gz, either NIH's (`Image Index`, `Finding Labels` joined by |) or one
            column a finding of 1, 0 and -1 or empty (unknown). May hold more images.
        label_set: findings of a labels CSV of the first kind.
        split: CSV of image and split; then exactly the images of `subset` are scored.
        subset: name of the split to score.

    Raises:
        DataError: the file, line and value of whatever is missing, double, or not a probability.
    """
    truth = _Labels(labels, label_set)
    table = _Rows(predictions)
    columns, ignored = _columns_of_findings(table, truth.set)
    selected = None if split is None else _rows_of_subset(split, subset, truth)
    probability, unused = _probabilities(table, list(columns.values()), truth, selected)
    if selected is not None and len(probability) < len(selected):
        absent = sorted(truth.names[row] for row in selected - probability.keys())
        raise DataError(
            "predictions-missing",
            f"{predictions} lacks {len(absent)} of the {len(selected)} images of split {subset!r},"
            f" {absent[0]!r} first; predict them all",
        )
    if not probability:
        raise DataError("predictions-missing", f"{predictions} has a header but no predictions")
    findings = list(columns)
    return Matched(
        findings=tuple(truth.set.findings[k] for k in findings),
        images=tuple(truth.names[row] for row in probability),
        labels=np.stack([truth.labels(row, findings) for row in probability]),
        probability=np.array(list(probability.values()), np.float64),
        patients=None
        if truth.patients is None
        else tuple(truth.patients[row] for row in probability),
        ignored=ignored,
        unused=unused,
    )


def _probabilities(
    table: _Rows, columns: list[int], truth: _Labels, selected: set[int] | None
) -> tuple[dict[int, list[float]], int]:
    """Return the probabilities of each row of the labels, and how many others were passed over."""
    rows: dict[int, list[float]] = {}
    unused = 0
    for line, cells in table:
        name = _image_name(table.path, line, cells[table.image])
        row = truth.row_of(name)
        if row is None:
            raise DataError(
                "image-unlabelled",
                f"{table.path} line {line}: image {name!r} is not in {truth.path}, or in several"
                " folders of it; drop it or add its labels",
            )
        if selected is not None and row not in selected:
            unused += 1
            continue
        if row in rows:
            raise DataError("image-duplicate", f"{table.path} line {line} repeats image {name!r}")
        rows[row] = [_probability(table, line, k, cells[k]) for k in columns]
    return rows, unused


def _columns_of_findings(
    table: _Rows, findings: LabelSet
) -> tuple[dict[int, int], tuple[str, ...]]:
    """Return the predictions column of each label column, in label order, and what is neither."""
    prefixed = [k for k, name in enumerate(table.columns) if name.lower().startswith("prob_")]
    written = {harmless(name).strip(): name for name in findings.findings}
    columns: dict[int, int] = {}
    ignored = []
    for k in prefixed or table.finding_columns():
        name = re.sub("(?i)^prob_", "", table.columns[k])
        name = written.get(name, name)
        try:
            label = findings.index(name)
        except DataError:
            ignored.append(table.columns[k])
            continue
        if label in columns:
            raise DataError(
                "finding-duplicate",
                f"{table.path}: columns {table.columns[columns[label]]!r} and {table.columns[k]!r}"
                f" are both {findings.findings[label]!r}; keep one",
            )
        columns[label] = k
    if not columns:
        raise DataError(
            "predictions-no-findings",
            f"{table.path} has columns {', '.join(table.columns[:20])}; none is a finding of"
            f" {findings.name} ({', '.join(findings.findings[:20])}); name them prob_<finding>",
        )
    return dict(sorted(columns.items())), tuple(ignored)


def _rows_of_subset(path: Path, subset: str, truth: _Labels) -> set[int]:
    table = _Rows(path)
    column = table.header.find(_SPLIT)
    if column is None:
        raise DataError(
            "table-no-split-column",
            f"{path} has columns {', '.join(table.columns[:20])}; one must be named 'split'",
        )
    rows: set[int] = set()
    names: set[str] = set()
    for line, cells in table:
        names.add(cells[column])
        if cells[column] == subset:
            row = truth.row_of(cells[table.image])
            if row is None:
                raise DataError(
                    "image-unlabelled",
                    f"{path} line {line}: image {cells[table.image]!r} is not in {truth.path}",
                )
            rows.add(row)
    if not rows:
        allowed = ", ".join(sorted(names)[:10])
        raise DataError(
            "split-unknown", f"split {subset!r} is not in {path}; allowed are: {allowed or 'none'}"
        )
    return rows


def _probability(table: _Rows, line: int, column: int, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise DataError(
            "probability-invalid",
            f"{table.path} line {line}, column {table.columns[column]!r} holds {cell!r};"
            " a probability, 0 to 1, is needed (logits: apply the sigmoid first)",
        )
    return value


def _image_name(path: Path, line: int, cell: str) -> str:
    if not cell:
        raise DataError("image-missing", f"{path} line {line} names no image")
    return cell


def _last_part(name: str) -> str:
    return harmless(harmless(name).replace("\\", "/").rsplit("/", 1)[-1])


def _read(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each row that is not blank."""
    try:
        with open_table(path) as lines:
            reader = csv.reader(lines, strict=True)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
    except DataError as error:
        cause = error.__cause__
        why = getattr(cause, "strerror", None) or cause
        raise DataError(
            "table-unreadable", f"{path}: {why}; a CSV file in UTF-8, plain or gzipped, is needed"
        ) from error
