"""Labels of a table: which columns are findings, and what their cells become."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.data.columns import JOINED, finding_columns, names_in
from thorax.data.samples import Blank, Note, ReadOptions, Uncertain
from thorax.data.table import Table, column_key
from thorax.errors import DataError
from thorax.labels import (
    CHEXPERT,
    LABEL_SETS,
    NEGATIVE,
    POSITIVE,
    UNKNOWN,
    LabelSet,
    canonical,
    is_no_finding,
    known_finding,
    label_value,
    misspelt,
    nearest,
    set_of,
    with_point,
)

_AGAIN: Final = re.compile(r"(.+)\.\d+")
_UNCERTAIN: Final[Mapping[Uncertain, int]] = {
    "ones": POSITIVE,
    "zeros": NEGATIVE,
    "ignore": UNKNOWN,
}
_SAY_NOTHING: Final = frozenset({"normal", "exclude", "unchanged", "suboptimal study"})
"""Labels of PadChest that name no finding."""
_SHOWN: Final = 20
LONGEST_NAME: Final = 120
"""Characters of a joined finding; PadChest's longest has 46."""
MOST_FINDINGS: Final = 2_000
"""That a table may name; PadChest names 193."""


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Labels of a table's rows.

    Attributes:
        label_set: names of the K labels.
        rows: int8 [K] each.
        conventions: how cells were read, a sentence each.
        warnings: what is doubtful: names that may be misspelt, findings that no column labels.
    """

    label_set: LabelSet
    rows: Sequence[npt.NDArray[np.int8]]
    conventions: tuple[str, ...] = ()
    warnings: tuple[Note, ...] = ()


def is_chexpert(columns: Iterable[str]) -> bool:
    """Return whether columns are those of CheXpert's labeller, which MIMIC-CXR-JPG has too."""
    plain = {column.strip() for column in columns}
    return plain.issuperset((*CHEXPERT.findings, "No Finding"))


def blank_of(columns: Iterable[str], blank: Blank | None) -> int:
    """Return what a blank cell becomes: as asked, else as the authors of the table mean it.

    CheXpert's labeller leaves blank what a report does not mention, which its authors take for
    negative (Irvin et al., AAAI 2019, section 3.1; stanfordmlgroup/chexpert-labeler issue 9).
    """
    if blank is None:
        return NEGATIVE if is_chexpert(columns) else UNKNOWN
    return NEGATIVE if blank == "negative" else UNKNOWN


def read_labels(table: Table, options: ReadOptions) -> LabelTable:
    """Return the labels of all rows: findings joined in one cell, or a column a finding.

    Raises:
        DataError: `table-column-missing` without either, `table-column-twice`, `label-value`,
            `table-number`, `label-number`, `label-count`, or `label-unknown` for a joined finding
            that an asked-for set lacks.
    """
    joined = table.find(JOINED)
    if joined is not None:
        rows = [names_in(cells[joined]) for cells in table.rows]
        require_names(chain.from_iterable(rows), table, joined)
        labels = joined_labels(rows, options, table)
        blank = [number for number, names in enumerate(rows) if not names]
        if options.blank == "unknown":
            for number in blank:
                labels.rows[number][:] = UNKNOWN
        said = f"a blank cell of findings is {options.blank or 'negative'}: {len(blank):,} cells"
        return replace(
            labels,
            conventions=(said,) if blank else (),
            warnings=(*labels.warnings, *_beside(table, joined, options)),
        )
    return _column_labels(table, options)


def require_names(names: Iterable[str], table: Table, column: int) -> None:
    """Refuse a column of joined findings that holds something else.

    Raises:
        DataError: `label-number` for numbers: the column is of one finding, but not named for it;
            `label-text`; `label-count` for more names than a table of findings has.
    """
    unique: set[str] = set()
    where = f"{table.path.name}, column {table.columns[column]!r}"
    for name in names:
        unique.add(name)
        if _is_number(name):
            raise DataError(
                "label-number",
                f"{where} holds {name!r} where names of findings are joined by |; rename a column "
                "of 1 and 0 to the finding that it is of",
            )
        if len(name) > LONGEST_NAME:
            raise DataError(
                "label-text",
                f"{where} holds a name of {len(name):,} characters, {name[:40]!r}...; allowed are "
                f"{LONGEST_NAME}: join findings by |, or rename a column of text",
            )
        if len(unique) > MOST_FINDINGS:
            raise _too_many(where)


def _too_many(where: str) -> DataError:
    return DataError(
        "label-count",
        f"{where} names more than {MOST_FINDINGS:,} findings, the most that are read; rename a "
        "column of text, or leave it out",
    )


def _beside(table: Table, joined: int, options: ReadOptions) -> list[Note]:
    """Return what is to be said of columns of findings in a table that has them joined too."""
    others = [
        table.columns[column]
        for column in finding_columns(table)
        if known_finding(table.columns[column]) is not None
        or (
            options.findings is not None
            and options.findings.find(table.columns[column]) is not None
        )
    ]
    if not others:
        return []
    return [
        Note(
            "column-not-taken",
            f"labels are those that {table.columns[joined]!r} of {table.path.name} joins; its "
            f"columns {', '.join(map(repr, others[:_SHOWN]))} were not read: rename that column "
            "to read them in its place",
        )
    ]


def joined_labels(
    rows: Sequence[Sequence[str]],
    options: ReadOptions,
    table: Table,
    *,
    vocabulary: LabelSet | None = None,
) -> LabelTable:
    """Return labels of the findings that each row names; those it does not name are negative.

    Without an asked-for set it is the vocabulary, else the built-in one that has all of them, else
    those of the table, sorted. A `vocabulary` has all findings that the table could name: others
    of an asked-for set stay unknown. Named findings that an asked-for set lacks are left out, and
    told; what they may be misspellings of is unknown in that row.

    Raises:
        DataError: `label-unknown` for such a one where the options are strict, and for one that is
            not in the vocabulary.
    """
    names = dict.fromkeys(name for row in rows for name in row if not _is_silent(name))
    label_set = options.findings or vocabulary or set_that_has(names)
    foreign = dict.fromkeys(name for name in names if label_set.find(name) is None)
    if foreign and (options.strict or options.findings is None):
        label_set.index(next(iter(foreign)))
    warnings: list[Note] = []
    if options.findings is None and vocabulary is None:
        warnings += _misspelt(names)
        warnings += _in_one(names)
    if foreign:
        warnings.append(_not_taken(list(foreign), label_set, "findings"))
    silent = [
        place
        for place, name in enumerate(label_set.findings)
        if vocabulary is not None and vocabulary.find(name) is None
    ]
    if silent:
        findings = [label_set.findings[place] for place in silent]
        warnings.append(unlabelled(findings, table.path.name))
    if vocabulary is None and not options.strict:
        named = {label_set.find(name) for name in names}
        unnamed = [name for k, name in enumerate(label_set.findings) if k not in named]
        warnings += [_unnamed(unnamed, table)] if unnamed else []
    labels = []
    close = {name: _near(name, label_set) for name in foreign}
    for row in rows:
        values = joined_row([name for name in row if name not in foreign], label_set)
        values[silent] = UNKNOWN
        # What may be meant by a misspelt name is not there to be called absent.
        doubtful = [k for name in row for k in close.get(name, ()) if values[k] == NEGATIVE]
        values[doubtful] = UNKNOWN
        labels.append(values)
    return LabelTable(label_set, labels, (), tuple(warnings))


def _unnamed(findings: Sequence[str], table: Table) -> Note:
    return Note(
        "finding-unnamed",
        f"no row of {table.path.name} names {len(findings)} of the findings, which were taken for "
        f"negative in every image: {', '.join(findings[:_SHOWN])}; name with --findings what the "
        "table could have named",
    )


def joined_row(names: Sequence[str], label_set: LabelSet) -> npt.NDArray[np.int8]:
    """Return int8 [K]: 1 for every finding that a cell names and 0 for the rest.

    Where all that it says is `unchanged`, of a report that is not told, they are unknown.

    Raises:
        DataError: `label-unknown` for a name that is not in the set.
    """
    values = label_set.row(name for name in names if not _is_silent(name))
    if [name.casefold() for name in names] == ["unchanged"]:
        values[:] = UNKNOWN
    return values


def set_that_has(names: Iterable[str]) -> LabelSet:
    """Return the first built-in set that has all of these findings, else the set of them."""
    findings = [name for name in names if not _is_silent(name)]
    for known in LABEL_SETS.values():
        if all(known.find(name) is not None for name in findings):
            return known
    return vocabulary_of(findings)


def _is_silent(name: str) -> bool:
    """Return whether a name in a cell of findings names none."""
    return is_no_finding(name) or name.casefold() in _SAY_NOTHING


def vocabulary_of(names: Iterable[str]) -> LabelSet:
    """Return the set of these findings, each under the first of its names, sorted."""
    unique: dict[str, str] = {}
    for name in names:
        if not _is_silent(name):
            unique.setdefault(canonical(name), name)
    return set_of(tuple(unique[key] for key in sorted(unique)))


def _column_labels(table: Table, options: ReadOptions) -> LabelTable:
    columns = label_columns(table, options.findings)
    if not columns:
        known = options.findings.findings if options.findings else ("Cardiomegaly", "Nodule", "...")
        others = {name: nearest(name, known) for name in table.columns[:_SHOWN]}
        near = [f"{name!r} is close to {finding}" for name, finding in others.items() if finding]
        told = ": ".join((f"or give one column a finding ({', '.join(known)})", *near[:1]))
        table.need(JOINED, told)
    if len(columns) > MOST_FINDINGS:
        raise _too_many(table.path.name)
    label_set = options.findings or _set_of_columns(table, columns)
    places = _places(table, columns, label_set)
    blank, uncertain = blank_of(table.columns, options.blank), _UNCERTAIN[options.uncertain]
    values = np.full((len(table.rows), len(label_set)), UNKNOWN, np.int8)
    counts = {"blank": 0, "uncertain": 0}
    for column, place in places.items():
        read = cell_reader(table, column)
        for row, cells in enumerate(table.rows):
            value = read(cells[column], row)
            if value is None:
                counts["blank"] += 1
                values[row, place] = blank
            else:
                counts["uncertain"] += value == UNKNOWN
                values[row, place] = uncertain if value == UNKNOWN else value
    warnings = _healthy(table, label_set, values, set(places.values()))
    empty = [label_set.findings[k] for k in places.values() if (values[:, k] == UNKNOWN).all()]
    warnings += [_all_unknown(empty, table)] if empty else []
    return LabelTable(
        label_set,
        list(values),
        _conventions(counts, blank, options, table),
        (*warnings, *_about_columns(table, columns, label_set, options)),
    )


def _set_of_columns(table: Table, columns: Sequence[int]) -> LabelSet:
    """Return the set of the findings that columns are named for.

    Raises:
        DataError: `table-column-twice` for two that differ in nothing that counts.
    """
    seen: dict[str, str] = {}
    for name in (table.columns[column] for column in columns):
        # pandas calls the second column of a name `Edema.1`.
        again = _AGAIN.fullmatch(name)
        key = column_key(again[1] if again and column_key(again[1]) in seen else name)
        other = seen.setdefault(key, name)
        if other is not name:
            raise DataError(
                "table-column-twice",
                f"{table.path.name} has two columns for {other}, one of them {name!r}; keep one",
            )
    return set_of(tuple(seen.values()))


def label_columns(table: Table, label_set: LabelSet | None) -> list[int]:
    """Return the columns of findings: of the set, or of any name whose cells are all labels."""
    columns = list(finding_columns(table))
    if label_set is not None:
        return [column for column in columns if label_set.find(table.columns[column]) is not None]
    return [
        column
        for column in columns
        if not is_no_finding(table.columns[column])
        and (known_finding(table.columns[column]) is not None or _all_labels(table, column))
    ]


def _all_labels(table: Table, column: int) -> bool:
    """Return whether cells of a column are labels, and not all of them blank."""
    values = set()
    for cell in {cells[column] for cells in table.rows}:
        try:
            values.add(label_value(cell, table.separator))
        except ValueError:
            return False
    return bool(values - {None})


def _places(table: Table, columns: Sequence[int], label_set: LabelSet) -> dict[int, int]:
    places: dict[int, int] = {}
    for column in columns:
        place = label_set.index(table.columns[column])
        if place in places.values():
            raise DataError(
                "table-column-twice",
                f"{table.path.name} has two columns for {label_set.findings[place]}, one of "
                f"them {table.columns[column]!r}; keep one",
            )
        places[column] = place
    return places


def cell_reader(table: Table, column: int) -> Callable[[str, int], int | None]:
    """Return what reads the cells of a column: of a cell and its row 1, 0, -1, or None of blank."""
    known: dict[str, int | None] = {}

    def read(cell: str, row: int) -> int | None:
        if cell not in known:
            try:
                known[cell] = label_value(cell, table.separator)
            except ValueError:
                raise DataError(
                    "label-value"
                    if _is_number(with_point(cell, table.separator))
                    else "table-number",
                    f"{table.path.name}, row {row + 1}, column {table.columns[column]!r} is "
                    f"{cell!r}; allowed are 1, 0, -1 (uncertain), True, False, and nothing, nan or "
                    "NA (blank)",
                ) from None
        return known[cell]

    return read


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _healthy(
    table: Table, label_set: LabelSet, values: npt.NDArray[np.int8], labelled: Collection[int]
) -> list[Note]:
    """Make what the table labels of a row with `No Finding` negative; support devices are none."""
    columns = [k for k, name in enumerate(table.columns) if is_no_finding(name)]
    if not columns or label_set.find("No Finding") is not None:
        return []
    read = cell_reader(table, columns[0])
    rows = [row for row, cells in enumerate(table.rows) if read(cells[columns[0]], row) == POSITIVE]
    devices = label_set.find("Support Devices")
    places = [place for place in sorted(labelled) if place != devices]
    contradicted = int((values[np.ix_(rows, places)] == POSITIVE).any(axis=1).sum()) if rows else 0
    values[np.ix_(rows, places)] = NEGATIVE
    if not contradicted:
        return []
    return [
        Note(
            "no-finding-contradicted",
            f"{contradicted:,} rows of {table.path.name} have No Finding and a finding; all their "
            "findings were taken for negative",
        )
    ]


def _conventions(
    counts: Mapping[str, int], blank: int, options: ReadOptions, table: Table
) -> tuple[str, ...]:
    told = []
    if counts["blank"]:
        meaning = "negative" if blank == NEGATIVE else "unknown"
        why = ""
        if options.blank is None and is_chexpert(table.columns):
            why = ", as the authors of CheXpert's labeller mean it (not mentioned)"
        told.append(f"a blank cell is {meaning}{why}: {counts['blank']:,} cells")
    if counts["uncertain"]:
        meaning = {"ones": "positive", "zeros": "negative", "ignore": "unknown"}[options.uncertain]
        told.append(
            f"an uncertain label is {meaning} (--uncertain {options.uncertain}): "
            f"{counts['uncertain']:,} cells"
        )
    if any(is_no_finding(name) for name in table.columns):
        told.append("No Finding makes every finding but Support Devices negative")
    return tuple(told)


def _misspelt(names: Iterable[str]) -> Iterable[Note]:
    for name in names:
        near = misspelt(name)
        if near is not None:
            yield Note(
                "finding-misspelt",
                f"{name!r} is close to the finding {near} and is none; it is taken as a finding of "
                f"its own: rename it to {near}, or name what is meant with --findings",
            )


def _in_one(names: Iterable[str]) -> Iterable[Note]:
    """Yield what is to be said of names that seem to be several."""
    for name in names:
        parts = [part.strip() for part in re.split("[,;]", name)]
        known = next((part for part in parts if known_finding(part) is not None), None)
        if len(parts) > 1 and known:
            yield Note(
                "finding-joined",
                f"{name!r} holds the finding {known} and was taken for one finding; join findings "
                "by |",
            )


def _not_taken(names: Sequence[str], label_set: LabelSet, what: str) -> Note:
    near = {name: label_set.findings[k] for name in names for k in _near(name, label_set)}
    listed = ", ".join(
        f"{name!r}" + (f" (close to {near[name]})" if name in near else "")
        for name in names[:_SHOWN]
    )
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return Note(
        "finding-not-taken",
        f"{len(names)} {what} are not in label set {label_set.name} and were left out: "
        f"{listed}{more}",
    )


def _near(name: str, label_set: LabelSet) -> list[int]:
    near = misspelt(name)
    column = None if near is None else label_set.find(near)
    return [] if column is None else [column]


def _about_columns(
    table: Table, columns: Sequence[int], label_set: LabelSet, options: ReadOptions
) -> list[Note]:
    notes: list[Note] = []
    taken = set(columns)
    others = [
        table.columns[column]
        for column in finding_columns(table)
        if column not in taken and not is_no_finding(table.columns[column])
    ]
    if options.findings is None:
        notes += _misspelt(table.columns[column] for column in columns)
        if others:
            listed = ", ".join(map(repr, others[:_SHOWN]))
            notes.append(
                Note(
                    "column-not-taken",
                    f"{len(others)} columns of {table.path.name} hold no labels and were left out: "
                    f"{listed}",
                )
            )
        return notes
    if others:
        notes.append(_not_taken(others, label_set, f"columns of {table.path.name}"))
    labelled = {label_set.index(table.columns[column]) for column in columns}
    absent = [name for place, name in enumerate(label_set.findings) if place not in labelled]
    if absent:
        notes.append(unlabelled(absent, table.path.name))
    return notes


def _all_unknown(findings: Sequence[str], table: Table) -> Note:
    return Note(
        "finding-all-unknown",
        f"{table.path.name} says nothing of {len(findings)} findings that it has columns for, "
        f"which are unknown in every image: {', '.join(findings[:_SHOWN])}; drop the columns, or "
        "say with --blank negative that what is not mentioned is not there",
    )


def unlabelled(findings: Sequence[str], table: str) -> Note:
    """Return what is to be said of findings of an asked-for set that nothing labels."""
    return Note(
        "finding-unlabelled",
        f"{table} has no column for {len(findings)} findings, which stay unknown in every image: "
        f"{', '.join(findings)}",
    )
