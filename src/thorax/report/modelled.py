"""Time and power that simulated cards would have: tables apart from everything measured."""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from thorax.report.series import series_names
from thorax.report.table import Table, table_of
from thorax.report.text import number_text, rate_text, scaled_text
from thorax.results.accuracy import Measured
from thorax.results.benchmark import BenchmarkResult
from thorax.results.findings import ClassifyResult
from thorax.results.partition import PartitionResult
from thorax.results.shared import Engine, Modelled, WithOthers

MODELLED: Final = "modelled, not measured"

MayBeModelled: TypeAlias = BenchmarkResult | ClassifyResult | Measured | PartitionResult
"""What says what simulated cards would do, where there are any."""


def modelled_table(results: Sequence[MayBeModelled]) -> Table | None:
    """Return time and power that were computed, a row a result that has any; None of none."""
    parts = [(result, result.modelled) for result in results if result.modelled]
    if not parts:
        return None
    engines = [result for result, _ in parts if isinstance(result, Engine)]
    # A split is of a network, in whatever precision.
    whole = len(engines) < len(parts)
    names = [result.model for result, _ in parts] if whole else series_names(engines)
    return table_of(
        f"What the cards would do: {MODELLED}",
        [(name, result, part) for name, (result, part) in zip(names, parts, strict=True)],
        {
            "Network": lambda row: row[0],
            "Device": lambda row: row[1].device,
            "Images/s": lambda row: rate_text(row[2].images_per_s),
            "Latency ms": lambda row: scaled_text(row[2].latency_s, 1e-3, ".2f"),
            "+ others ms": lambda row: _others(row[2], lambda part: f"{part.latency_s * 1e3:.2f}"),
            "+ others img/s": lambda row: _others(
                row[2], lambda part: rate_text(part.images_per_s)
            ),
            "W": lambda row: number_text(row[2].power_w, ".1f"),
            "Img/s/W": lambda row: number_text(row[2].images_per_s_per_w, ".2f"),
            "Slowest stage": lambda row: row[2].bound_by,
        },
        note=" ".join(
            [
                *dict.fromkeys(part.source for _, part in parts),
                *([_MIXED] if any(part.with_others for _, part in parts) else []),
            ]
        ),
        modelled=True,
    )


_MIXED: Final = (
    "+ others: modelled time of the cards and measured time of the layers of other devices put "
    "together, which differs from run to run; all else is of the cards alone."
)


def _others(part: Modelled, text: Callable[[WithOthers], str]) -> str:
    return text(part.with_others) if part.with_others else ""
