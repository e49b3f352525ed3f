"""A predictions CSV and a labels CSV, matched image by image into arrays."""

import csv
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thorax.data.columns import (
    BOX,
    JOINED,
    PATIENT,
    SPLIT,
    finding_columns,
    image_column,
    names_in,
    split_of,
)
from thorax.data.label_columns import blank_of, joined_row, require_names, set_that_has
from thorax.data.names import NameIndex, name_parts
from thorax.data.samples import ReadOptions
from thorax.data.table import Table, column_key, open_table, separated
from thorax.errors import DataError
from thorax.files.csv_cells import harmless
from thorax.labels import (
    NEGATIVE,
    POSITIVE,
    UNKNOWN,
    LabelSet,
    canonical,
    is_no_finding,
    label_value,
    nearest,
    with_point,
)


@dataclass(frozen=True, slots=True)
class Matched:
    """Predictions of one file or several beside the truth, one row an image.

    Findings are K names, in the order of the label set or of the label columns, images N names as
    the labels CSV writes them. Labels are int8 [N,K], 1 / 0 / -1; probabilities float64 [N,K], 0-1,
    one array a file; patients are N identifiers, or None where the labels CSV has no such column.
    `ignored` are columns of each predictions CSV that name no labelled finding, or one that another
    file lacks; `unpredicted` labelled findings that not all files have. Of images, `unused` is how
    many predictions of each file lie outside the split asked for, `unlabelled` how many are of
    images that the labels lack, `unshared` of images that another file lacks, and `unpredicted`
    how many labelled images, of the split if there is one, no prediction was scored for.
    """

    findings: tuple[str, ...]
    images: tuple[str, ...]
    labels: npt.NDArray[np.int8] = field(repr=False)
    probabilities: tuple[npt.NDArray[np.float64], ...] = field(repr=False)
    patients: tuple[str, ...] | None = field(repr=False)
    ignored: tuple[tuple[str, ...], ...]
    unpredicted: tuple[str, ...]
    unused: tuple[int, ...]
    unlabelled: tuple[int, ...]
    unshared: tuple[int, ...]
    unpredicted_images: int


class _Rows:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = _read(path)
        first = next(self._rows, None)
        if first is None:
            raise DataError("table-empty", f"{path} has no header line; a CSV file is needed")
        self.columns = tuple(cell.strip() for cell in first[1])
        self.header = Table(path, self.columns, (), first[2])
        try:
            self.image = image_column(self.header)
        except DataError as error:
            raise DataError(
                "table-no-image-column",
                f"{path} has columns {', '.join(self.columns[:20])}; one must name the image:"
                " 'Image Index', 'image', 'filename', 'path' or 'dicom_id'",
            ) from error

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Yield line number and cells; every row is as wide as the header."""
        for line, cells, _ in self._rows:
            if len(cells) != len(self.columns):
                raise DataError(
                    "table-row-width",
                    f"{self.path} line {line} has {len(cells)} cells, the header has"
                    f" {len(self.columns)}",
                )
            yield line, [cell.strip() for cell in cells]


class Truth:
    """The labels CSV: findings joined in one column (NIH, PadChest), or a column a finding."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        """Read the whole table; cells of findings are judged when they are asked for.

        Findings joined in one cell are of the set in `options`, or without of what they name.

        Raises:
            DataError: the file, line and value of whatever is missing or double.
        """
        table = _Rows(path)
        self.path, self._header = path, table.header
        self._options = options
        self._joined = table.header.find(JOINED)
        self._columns = list(finding_columns(table.header))
        self.names: list[str] = []
        self._patient = table.header.find(PATIENT)
        self.patients: list[str] | None = None if self._patient is None else []
        self._cells: list[tuple[int, list[str]]] = []
        self._take(table)
        self.set = self._label_set()
        self._index = NameIndex(self.names)

    def _take(self, table: _Rows) -> None:
        rows: dict[tuple[str, ...], int] = {}
        # A row a box, as RSNA's table has them, repeats image and labels.
        boxes = all(table.header.find((edge,)) is not None for edge in BOX)
        for line, cells in table:
            name = _image_name(self.path, line, cells[table.image])
            labels = (
                list(names_in(cells[self._joined]))
                if self._joined is not None
                else [cells[k] for k in self._columns]
            )
            row = rows.setdefault(name_parts(name), len(self.names))
            if row != len(self.names):
                if boxes and labels == self._cells[row][1]:
                    continue
                raise DataError(
                    "image-duplicate", f"{self.path} line {line} repeats image {name!r}"
                )
            self.names.append(name)
            if self.patients is not None and self._patient is not None:
                if not cells[self._patient]:
                    raise DataError(
                        "patient-missing",
                        f"{self.path} line {line}: image {name!r} has no patient; fill in or drop"
                        f" column {table.columns[self._patient]!r}",
                    )
                self.patients.append(cells[self._patient])
            self._cells.append((line, labels))

    def _label_set(self) -> LabelSet:
        if self._joined is None:
            columns = self._header.columns
            return LabelSet(self.path.name, tuple(columns[k] for k in self._columns))
        names = dict.fromkeys(name for _, cells in self._cells for name in cells)
        require_names(names, self._header, self._joined)
        return self._options.findings or set_that_has(names)

    def require_single(self, columns: Sequence[int]) -> None:
        """Refuse labels that have two columns for one of some findings.

        Raises:
            DataError: `table-column-twice`.
        """
        keys = Counter(map(column_key, self.set.findings))
        for name in (self.set.findings[k] for k in columns):
            if keys[column_key(name)] > 1:
                raise DataError(
                    "table-column-twice", f"{self.path} has two columns for {name}; keep one"
                )

    def row_of(self, image: str, where: str) -> int | None:
        """Return the row of an image, by its path or the end of it; None without one.

        Raises:
            DataError: `image-unlabelled`, which says where, for one that may be several.
        """
        rows = self._index.find(image)
        if len(rows) < 2:
            return rows[0] if rows else None
        first, second = (self.names[row] for row in rows)
        raise DataError(
            "image-unlabelled",
            f"{where}: image {image!r} may be {first!r} or {second!r} of {self.path}; "
            "write more of its path",
        )

    def labels(self, row: int, columns: Sequence[int]) -> npt.NDArray[np.int8]:
        """Return int8 [K] of one row, for the K columns of the set that are asked for."""
        line, cells = self._cells[row]
        if self._joined is not None:
            if not cells and self._options.blank == "unknown":
                return np.full(len(columns), UNKNOWN, np.int8)
            try:
                return joined_row(cells, self.set)[list(columns)]
            except DataError as error:
                raise DataError(error.code, f"{self.path} line {line}: {error.message}") from None
        healthy = self._is_healthy(line, cells)
        return np.array(
            [
                NEGATIVE
                if healthy and canonical(self.set.findings[column]) != "support devices"
                else self._value(line, column, cells[column])
                for column in columns
            ],
            np.int8,
        )

    def _is_healthy(self, line: int, cells: Sequence[str]) -> bool:
        """Return whether a row has `No Finding`, so that its findings are negative."""
        columns = [k for k, name in enumerate(self.set.findings) if is_no_finding(name)]
        return any(self._value(line, column, cells[column]) == POSITIVE for column in columns)

    def _value(self, line: int, column: int, cell: str) -> int:
        try:
            value = label_value(cell, self._header.separator)
        except ValueError:
            raise DataError(
                "label-invalid",
                f"{self.path} line {line}, column {self.set.findings[column]!r} holds"
                f" {cell!r}; allowed are 1, 0, -1 (uncertain), True, False, and nothing, nan or NA",
            ) from None
        if value is None:
            return blank_of(self._header.columns, self._options.blank)
        if value == UNKNOWN:
            return {"ones": POSITIVE, "zeros": NEGATIVE, "ignore": UNKNOWN}[self._options.uncertain]
        return value


def match(
    predictions: Sequence[Path],
    truth: Truth,
    *,
    split: Path | None = None,
    subset: str = "test",
    common: bool = False,
) -> Matched:
    """Bring predictions and truth to one order.

    Args:
        predictions: CSV or CSV.gz with an image column and one column a finding, named `prob_X`
            or `X`; where any is named `prob_X`, only those count. An image is matched by its path
            or the end of it, with its ending or without.
        truth: the labels; may have more images.
        split: CSV of image and split; then exactly the images of `subset` are scored.
        subset: name of the split to score.
        common: score the images that all have, where else one that lacks is refused.

    Raises:
        DataError: the file, line and value of whatever is missing, double, or not a probability.
    """
    files = [_Predictions.read(path, truth) for path in predictions]
    selected = None if split is None else _rows_of_subset(split, subset, truth)
    scored = [file.within(selected) for file in files]
    for file in files:
        if not common and file.strangers:
            line, name = file.strangers[0]
            raise DataError(
                "image-unlabelled",
                f"{file.path} line {line}: image {name!r} is not in {truth.path}; drop it, add its "
                "labels, or score only images that both have with --common",
            )
    rows = _shared_rows(files, scored, selected, truth, subset=subset, common=common)
    columns = [k for k in files[0].columns if all(k in file.columns for file in files)]
    truth.require_single(columns)
    if not columns:
        raise DataError(
            "predictions-no-findings",
            f"{' and '.join(str(file.path) for file in files)} have no labelled finding in common",
        )
    return Matched(
        findings=tuple(truth.set.findings[k] for k in columns),
        images=tuple(truth.names[row] for row in rows),
        labels=np.stack([truth.labels(row, columns) for row in rows]),
        probabilities=tuple(file.table(rows, columns) for file in files),
        patients=None if truth.patients is None else tuple(truth.patients[row] for row in rows),
        ignored=tuple(file.ignored_beside(columns, truth) for file in files),
        unpredicted=tuple(
            name
            for k, name in enumerate(truth.set.findings)
            if k not in columns and not is_no_finding(name)
        ),
        unused=tuple(
            len(file.rows) - len(inside) for file, inside in zip(files, scored, strict=True)
        ),
        unlabelled=tuple(len(file.strangers) for file in files),
        unshared=tuple(len(inside) - len(rows) for inside in scored),
        unpredicted_images=len(truth.names if selected is None else selected) - len(rows),
    )


def _shared_rows(
    files: Sequence["_Predictions"],
    scored: Sequence[Mapping[int, Sequence[float]]],
    selected: set[int] | None,
    truth: Truth,
    *,
    subset: str,
    common: bool,
) -> list[int]:
    """Return the rows of the labels that are scored, in the order of the first file."""
    for file, rows in zip(files, scored, strict=True):
        if not common and selected is not None and len(rows) < len(selected):
            absent = sorted(truth.names[row] for row in selected - rows.keys())
            raise DataError(
                "predictions-missing",
                f"{file.path} lacks {len(absent)} of the {len(selected)} images of split "
                f"{subset!r}, {absent[0]!r} first; predict them all, or score what is there with "
                "--common",
            )
        if not rows and not common:
            raise DataError("predictions-missing", f"{file.path} has a header but no predictions")
        other = set(rows) ^ set(scored[0])
        if other and not common:
            raise DataError(
                "predictions-differ",
                f"{files[0].path} and {file.path} are not of the same images: {len(other):,} are "
                f"in one of them only, {truth.names[min(other)]!r} first; a paired comparison "
                "needs the same in both: score those with --common",
            )
    shared = [row for row in scored[0] if all(row in rows for rows in scored)]
    if not shared:
        raise DataError(
            "predictions-missing",
            f"{' and '.join(str(file.path) for file in files)} and {truth.path} have no image in "
            "common; check that they belong together",
        )
    return shared


@dataclass(frozen=True, slots=True)
class _Predictions:
    """A predictions CSV.

    `columns` is its column of each column of the label set, in their order, `rows` the
    probabilities of each row of the labels in the order of the file, `strangers` line and name of
    images that the labels lack.
    """

    path: Path
    header: tuple[str, ...]
    columns: dict[int, int]
    ignored: tuple[str, ...]
    rows: dict[int, list[float]]
    strangers: list[tuple[int, str]]

    @classmethod
    def read(cls, path: Path, truth: Truth) -> "_Predictions":
        table = _Rows(path)
        columns, ignored = _columns_of_findings(table, truth.set)
        rows: dict[int, list[float]] = {}
        strangers: list[tuple[int, str]] = []
        for line, cells in table:
            name = _image_name(path, line, cells[table.image])
            row = truth.row_of(name, f"{path} line {line}")
            if row is None:
                strangers.append((line, name))
                continue
            if row in rows:
                raise DataError("image-duplicate", f"{path} line {line} repeats image {name!r}")
            rows[row] = [_probability(table, line, k, cells[k]) for k in columns.values()]
        return cls(path, table.columns, columns, ignored, rows, strangers)

    def within(self, selected: set[int] | None) -> dict[int, list[float]]:
        """Return the rows that are scored of a split."""
        if selected is None:
            return self.rows
        return {row: values for row, values in self.rows.items() if row in selected}

    def table(self, rows: Sequence[int], columns: Sequence[int]) -> npt.NDArray[np.float64]:
        """Return float64 [N,K] of N rows and K columns of the labels."""
        own = list(self.columns)
        places = [own.index(column) for column in columns]
        return np.array([self.rows[row] for row in rows], np.float64)[:, places]

    def ignored_beside(self, columns: Sequence[int], truth: Truth) -> tuple[str, ...]:
        """Return its columns that are not scored, those that another file lacks last."""
        others = [self.header[k] for column, k in self.columns.items() if column not in columns]
        return (*self.ignored, *others)


def _columns_of_findings(
    table: _Rows, findings: LabelSet
) -> tuple[dict[int, int], tuple[str, ...]]:
    """Return the predictions column of each label column, in label order, and what is neither."""
    prefixed = [k for k, name in enumerate(table.columns) if name.lower().startswith("prob_")]
    written = {harmless(name).strip(): name for name in findings.findings}
    columns: dict[int, int] = {}
    ignored = []
    if prefixed:
        unread = set(finding_columns(table.header)).difference(prefixed)
        ignored += [n for k in sorted(unread) if findings.find(n := table.columns[k]) is not None]
    for k in prefixed or finding_columns(table.header):
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
        near = _nearest(ignored[:20], findings)
        raise DataError(
            "predictions-no-findings",
            f"{table.path} has columns {', '.join(table.columns[:20])}; none is a finding of"
            f" {findings.name} ({', '.join(findings.findings[:20])}){near};"
            " name them prob_<finding>",
        )
    return dict(sorted(columns.items())), tuple(ignored)


def _nearest(columns: Sequence[str], findings: LabelSet) -> str:
    """Return which of some columns may be misspelt findings, in words; nothing of none."""
    near = {name: nearest(re.sub("(?i)^prob_", "", name), findings.findings) for name in columns}
    told = [f"{name!r} is close to {finding}" for name, finding in near.items() if finding]
    return f"; {', '.join(told)}" if told else ""


def _rows_of_subset(path: Path, subset: str, truth: Truth) -> set[int]:
    table = _Rows(path)
    column = table.header.find(SPLIT)
    if column is None:
        raise DataError(
            "table-no-split-column",
            f"{path} has columns {', '.join(table.columns[:20])}; one must be named 'split'",
        )
    rows: set[int] = set()
    names: set[str] = set()
    for line, cells in table:
        names.add(cells[column])
        if _same_split(cells[column], subset):
            row = truth.row_of(cells[table.image], f"{path} line {line}")
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


def _same_split(cell: str, subset: str) -> bool:
    """Return whether a cell names a split, under that name or another of train, val and test."""
    if cell == subset:
        return True
    try:
        split = split_of(cell, "")
        return split is not None and split == split_of(subset, "")
    except DataError:
        return False


def _probability(table: _Rows, line: int, column: int, cell: str) -> float:
    try:
        value = float(with_point(cell, table.header.separator))
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


def _read(path: Path) -> Iterator[tuple[int, list[str], str]]:
    """Yield line number, cells and what separates them of each row that is not blank."""
    try:
        with open_table(path) as text:
            separator, before, lines = separated(text)
            reader = csv.reader(lines, delimiter=separator, strict=True)
            for cells in reader:
                # Spreadsheets end a table with rows of separators alone.
                if any(cell.strip() for cell in cells):
                    yield before + reader.line_num, cells, separator
    except DataError as error:
        raise DataError("table-unreadable", error.message) from error
