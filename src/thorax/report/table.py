"""A table of text, the same on a terminal and in the page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from rich.console import Group

RowT = TypeVar("RowT")

_COLUMNS: Final = 100
"""Width of the terminal that tables and their notes are made for."""

_AIRY: Final = 6
"""Columns up to which a table on the terminal is set with wide gaps."""

_LEAST_PROSE: Final = 20
"""Columns that a cell of prose is left at least."""


@dataclass(frozen=True, slots=True)
class Table:
    """Text in rows; the first column names the row, the others are read downwards.

    Attributes:
        title: what it shows, with units where all cells share one.
        simulated: for each row, whether its figures come from a model, or from the emulation of a
            simulated device, and not from a device at work.
        note: what a reader must know, or "".
        modelled: whether no figure in it was measured, which a page then marks.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    simulated: tuple[bool, ...] = ()
    note: str = ""
    modelled: bool = False


def rich_table(table: Table) -> "Group":
    """Return a table for a terminal of 100 columns; simulated rows are dim.

    Title and note are as wide as that, however narrow the table. Cells are broken where there is
    prose in them, intervals and names only where nothing else gives way.
    """
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - 0.1 s that only a terminal needs
    from rich.console import Group  # noqa: PLC0415
    from rich.constrain import Constrain  # noqa: PLC0415
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = RichTable(
        box=SIMPLE_HEAD,
        padding=(0, 0 if len(table.columns) > _AIRY else 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    whole = _fits(table)
    for column, heading in enumerate(table.columns):
        prose = _is_prose(table, column)
        drawn.add_column(
            Text(heading),
            justify="left" if prose or not column else "right",
            no_wrap=whole and not prose,
        )
    for number, row in enumerate(table.rows):
        dim = number < len(table.simulated) and table.simulated[number]
        drawn.add_row(*(Text(cell) for cell in row), style="dim" if dim else None)
    parts: list[RichTable | Constrain] = [drawn]
    if table.title:
        parts.insert(0, Constrain(Text(table.title, style="table.title"), _COLUMNS))
    if table.note:
        parts.append(Constrain(Text(table.note, style="table.caption"), _COLUMNS))
    return Group(*parts)


def _is_prose(table: Table, column: int) -> bool:
    """Return whether a column holds words that may be broken over lines."""
    cells = [row[column] for row in table.rows]
    return bool(column) and any(
        cell.count(" ") > 1 and "[" not in cell and not cell[:1].isdigit() for cell in cells
    )


def _fits(table: Table) -> bool:
    """Return whether all but the prose has its column on one line."""
    gap = 1 if len(table.columns) > _AIRY else 2
    width = 0
    for column, heading in enumerate(table.columns):
        lines = [
            line
            for text in (heading, *(row[column] for row in table.rows))
            for line in text.splitlines()
        ]
        longest = max(map(len, lines), default=0)
        width += gap + (min(longest, _LEAST_PROSE) if _is_prose(table, column) else longest)
    return width <= _COLUMNS


def dense(table: Table) -> Table:
    """Return the table without columns that no row fills."""
    filled = [
        column
        for column in range(len(table.columns))
        if column == 0 or any(row[column] for row in table.rows)
    ]
    return replace(
        table,
        columns=tuple(table.columns[column] for column in filled),
        rows=tuple(tuple(row[column] for column in filled) for row in table.rows),
    )


def table_of(
    title: str,
    rows: Sequence[RowT],
    columns: Mapping[str, Callable[[RowT], str]],
    *,
    note: str = "",
    simulated: Callable[[RowT], bool] | None = None,
    modelled: bool = False,
) -> Table:
    """Return a table with a row for each of some things, without columns that no row fills.

    Columns have, by heading, what a cell says of its row. `simulated` tells whether the figures of
    a row come from a model, as all do of a `modelled` table, in which none was measured.
    """
    return dense(
        Table(
            title,
            tuple(columns),
            tuple(tuple(cell(row) for cell in columns.values()) for row in rows),
            tuple(simulated(row) if simulated else modelled for row in rows),
            note,
            modelled,
        )
    )
