"""The settings that tuning tried, as a table."""

from typing import Final

from thorax.report.series import Document
from thorax.report.table import Table, dense
from thorax.report.text import number_text, rate_text

_STORED: Final = "The best of each artifact and device is in its card."
_NOT_STORED: Final = "No setting keeps it, and nothing is stored."


def tuning_table(document: Document) -> Table:
    """Return every setting that was tried, and which was chosen."""
    rows = document["tried"]
    tuned = document["tuned"]
    limit_ms = (tuned or document)["latency_limit_ms"]
    limit = "no limit of latency" if limit_ms is None else f"99 % within {limit_ms:g} ms"
    return dense(
        Table(
            "Settings tried in turns",
            (
                "Model",
                "Precision",
                "Device",
                "Streams",
                "Batch",
                "Images/s",
                "p50 ms",
                "p99 ms",
                "Why",
            ),
            tuple(
                (
                    row["model"],
                    row["precision"],
                    row["device"],
                    str(row["streams"]),
                    str(row["batch"]),
                    rate_text(row["images_per_s"]) if row["images_per_s"] is not None else "",
                    number_text(row["p50_ms"], ".1f"),
                    number_text(row["p99_ms"], ".1f"),
                    ("chosen: " if row["chosen"] else "") + row["reason"],
                )
                for row in rows
            ),
            tuple(bool(row["simulated"]) for row in rows),
            f"All streams busy, {limit}. {_STORED if tuned else _NOT_STORED}",
        )
    )
