"""What a report page shows of splits between devices, overlays and falling precision."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from thorax.report.fpga import explore_table
from thorax.report.fpga_estimates import analyze_tables, area_table, totals_table
from thorax.report.partition import partition_tables
from thorax.report.series import Document
from thorax.report.table import Table

FPGA_COMMANDS: Final = ("partition", "fpga analyze", "fpga search", "fpga explore")
"""Commands whose documents have tables here."""


def fpga_tables(by_command: Mapping[str, Sequence[Document]]) -> list[Table]:
    """Return the tables of documents, those in which nothing was measured marked as such.

    Args:
        by_command: documents of each of `FPGA_COMMANDS`; a command without any may be absent.
    """
    splits = [
        _named(table, document)
        for document in by_command.get("partition", ())
        for table in partition_tables(document)
        if table is not None
    ]
    overlays = [
        replace(table, modelled=True)
        for name in ("fpga analyze", "fpga search")
        for document in by_command.get(name, ())
        for table in (
            analyze_tables(document)
            if name == "fpga analyze"
            else (totals_table(document), area_table(document))
        )
    ]
    explored = [explore_table(document) for document in by_command.get("fpga explore", ())]
    return [*splits, *overlays, *explored]


def split_texts(documents: Sequence[Document]) -> list[str]:
    """Return a line a document of `partition`: what it is of, and how much is simulated."""
    return [
        f"{one['model']} on {one['device']}, "
        + ("cards simulated: their times are modelled." if one["simulated"] else "no card in it.")
        for one in documents
    ]


def _named(table: Table, document: Document) -> Table:
    """Return the table of a split with its network and device string in the title."""
    return replace(table, title=f"{document['model']} on {document['device']}: {table.title}")
