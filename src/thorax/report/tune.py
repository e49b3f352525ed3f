"""The settings that tuning tried, as a table."""

from typing import Final

from thorax.report.table import Table, dense
from thorax.report.text import number_text, rate_text
from thorax.results.benchmark import TuningResult

_STORED: Final = "The best of each artifact and device is in its card."
_NOT_STORED: Final = "No setting keeps it, and nothing is stored."
_COLUMNS: Final = (
    *("Model", "Precision", "Device", "Streams", "Batch"),
    *("Images/s", "p50 ms", "p99 ms", "Why"),
)


def tuning_table(result: TuningResult) -> Table:
    """Return every setting that was tried, and which was chosen."""
    limit_ms = (result.tuned or result).latency_limit_ms
    limit = "no limit of latency" if limit_ms is None else f"99 % within {limit_ms:g} ms"
    return dense(
        Table(
            "Settings tried in turns",
            _COLUMNS,
            tuple(
                (
                    setting.model,
                    setting.precision,
                    setting.device,
                    str(setting.streams),
                    str(setting.batch),
                    rate_text(setting.images_per_s),
                    number_text(setting.p50_ms, ".1f"),
                    number_text(setting.p99_ms, ".1f"),
                    ("chosen: " if setting.chosen else "") + setting.reason,
                )
                for setting in result.tried
            ),
            tuple(bool(setting.simulated) for setting in result.tried),
            f"All streams busy, {limit}. {_STORED if result.tuned else _NOT_STORED}",
        )
    )
