"""Time and power that simulated cards would have: tables apart from everything measured.

What adds a measured time to a modelled one is neither, and has a table of its own.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from thorax.report.series import series_names
from thorax.report.table import Table, table_of
from thorax.report.text import number_text, rate_text, scaled_text
from thorax.results.accuracy import Measured
from thorax.results.benchmark import BenchmarkResult
from thorax.results.findings import ClassifyResult
from thorax.results.partition import PartitionResult
from thorax.results.shared import Engine, Modelled

MODELLED: Final = "modelled, not measured"
SUMS: Final = "Cards and other devices together: sums of modelled and of measured time"
"""Title of the table whose figures are of both kinds."""

MayBeModelled: TypeAlias = BenchmarkResult | ClassifyResult | Measured | PartitionResult
"""What says what simulated cards would do, where there are any."""


def modelled_tables(results: Sequence[MayBeModelled]) -> list[Table]:
    """Return what was computed of cards, and apart from it the sums with what was measured."""
    tables = (modelled_table(results), sums_table(results))
    return [table for table in tables if table is not None]


def modelled_table(results: Sequence[MayBeModelled]) -> Table | None:
    """Return time and power that were computed, a row a result that has any; None of none."""
    rows = _rows(results)
    if not rows:
        return None
    return table_of(
        f"What the cards would do: {MODELLED}",
        rows,
        {
            "Network": lambda row: row[0],
            "Device": lambda row: row[1].device,
            "Images/s": lambda row: rate_text(row[2].images_per_s),
            "Latency ms": lambda row: scaled_text(row[2].latency_s, 1e-3, ".2f"),
            "W": lambda row: number_text(row[2].power_w, ".1f"),
            "Img/s/W": lambda row: number_text(row[2].images_per_s_per_w, ".2f"),
            "Slowest stage": lambda row: row[2].bound_by,
        },
        note=" ".join(dict.fromkeys(part.source for _, _, part in rows)),
        modelled=True,
    )


def sums_table(results: Sequence[MayBeModelled]) -> Table | None:
    """Return what cards, modelled, and other devices, measured here, make together; None of none.

    No figure in it is modelled alone or measured.
    """
    rows = [
        (name, result, part.plus_measured)
        for name, result, part in _rows(results)
        if part.plus_measured
    ]
    if not rows:
        return None
    return table_of(
        SUMS,
        rows,
        {
            "Network": lambda row: row[0],
            "Device": lambda row: row[1].device,
            "Images/s": lambda row: rate_text(row[2].images_per_s),
            "Latency ms": lambda row: scaled_text(row[2].latency_s, 1e-3, ".2f"),
            "Slowest stage": lambda row: row[2].bound_by,
        },
        note="Time of the cards as modelled above plus the time that layers of other devices took "
        "on this machine: it differs from run to run, and no such system was run.",
        simulated=lambda _: True,
    )


def _rows(results: Sequence[MayBeModelled]) -> list[tuple[str, MayBeModelled, Modelled]]:
    """Return name, result and what is modelled of each result that has any."""
    parts = [(result, result.modelled) for result in results if result.modelled]
    engines = [result for result, _ in parts if isinstance(result, Engine)]
    # A split is of a network, in whatever precision.
    whole = len(engines) < len(parts)
    names = [result.model for result, _ in parts] if whole else series_names(engines)
    return [(name, result, part) for name, (result, part) in zip(names, parts, strict=True)]
