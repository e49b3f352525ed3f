"""Documents of `thorax compare` as tables."""

from collections.abc import Mapping
from typing import Any, Final

from thorax.report.series import Document
from thorax.report.table import Table

TOP: Final = 20
"""Layers that a table shows unless all are asked for."""

_NAME: Final = 44


def compare_tables(document: Document, *, top: int | None = TOP) -> list[Table]:
    """Return what `thorax compare` found: layers, noisiest first, and outputs.

    Args:
        document: of `thorax compare`.
        top: how many layers are shown; None: all.
    """
    layers = document["layers"][:top]
    left = len(document["layers"]) - len(layers)
    unmatched = document["unmatched"]
    note = [f"{left:,} quieter layers: --all."] if left else []
    note.append("SQNR: all noise up to the layer. Own: the noise that the layer itself adds.")
    if unmatched:
        note.append(f"{len(unmatched):,} layers of the first are not in the second.")
    title = f"{document['model']} against {document['against']['model']}"
    return [
        Table(
            f"{title}: layers, noisiest first",
            ("Layer", "Type", "SQNR dB", "Own dB", "Max error"),
            tuple(
                (
                    _short(layer["name"]),
                    str(layer["type"]),
                    _decibels(layer["sqnr_db"]),
                    _decibels(layer["own_sqnr_db"]),
                    f"{layer['max_error']:.3g}",
                )
                for layer in layers
            ),
            note=" ".join(note),
        ),
        Table(
            "Outputs",
            ("Output", "SQNR dB", "Max error"),
            tuple(_output(entry) for entry in document["outputs"]),
        ),
    ]


def _output(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return entry["name"], _decibels(entry["sqnr_db"]), f"{entry['max_error']:.3g}"


def _decibels(value: float | None) -> str:
    """Return a figure, or "equal" where there is no noise."""
    return "equal" if value is None else f"{value:.1f}"


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"
