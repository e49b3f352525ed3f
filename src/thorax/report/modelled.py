"""Time and power that simulated cards would have: tables apart from everything measured."""

from collections.abc import Mapping, Sequence
from typing import Final

from thorax.report.series import Document, fact, series_names
from thorax.report.table import Table, dense
from thorax.report.text import number_text, rate_text, scaled_text
from thorax.results.schema import Part
from thorax.results.shared import Modelled

MODELLED: Final = "modelled, not measured"


def modelled_part(result: Part | Document) -> Modelled | None:
    """Return what a result says that cards would do; None where it says nothing."""
    part = fact(result, "modelled")
    return Modelled.model_validate(part) if isinstance(part, Modelled | Mapping) else None


def modelled_table(results: Sequence[Part | Document]) -> Table | None:
    """Return time and power that were computed, a row a result that has any; None of none."""
    parts = [(result, part) for result in results if (part := modelled_part(result)) is not None]
    if not parts:
        return None
    shown = [result for result, _ in parts]
    named = all(fact(result, "precision") for result in shown)
    names = series_names(shown) if named else [str(fact(result, "model")) for result in shown]
    rows = tuple(
        (
            name,
            str(fact(result, "device") or ""),
            rate_text(part.images_per_s),
            scaled_text(part.latency_s, 1e-3, ".2f"),
            number_text(part.power_w, ".1f"),
            number_text(part.images_per_s_per_w, ".2f"),
            part.bound_by,
        )
        for name, (result, part) in zip(names, parts, strict=True)
    )
    columns = ("Network", "Device", "Images/s", "Latency ms", "W", "Img/s/W", "Slowest stage")
    return dense(
        Table(
            f"What the cards would do: {MODELLED}",
            columns,
            rows,
            (True,) * len(rows),
            " ".join(dict.fromkeys(part.source for _, part in parts)),
            modelled=True,
        )
    )
