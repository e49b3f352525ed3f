"""Time and power that simulated cards would have: tables apart from everything measured."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from thorax.report.series import Document, series_names
from thorax.report.table import Table, dense
from thorax.report.text import number_text, rate_text, scaled_text
from thorax.results.schema import Result
from thorax.results.shared import Modelled

MODELLED: Final = "modelled, not measured"


def modelled_part(result: Result | Document) -> Modelled | None:
    """Return what a result says of simulated cards, None where none took part."""
    part = result.get("modelled")
    return Modelled.model_validate(part) if isinstance(part, Mapping) else None


def alone_and_against(documents: Sequence[Document]) -> list[Document]:
    """Return documents of `validate`, each with those that it was compared with after it."""
    return [one for document in documents for one in (document, *(document.get("against") or ()))]


def modelled_table(results: Sequence[Result] | Sequence[Document]) -> Table | None:
    """Return modelled time and power, a row a result that has a `modelled`; None of none."""
    parts = [(result, part) for result in results if (part := modelled_part(result)) is not None]
    if not parts:
        return None
    with_cards: list[Any] = [result for result, _ in parts]
    if all(result.get("precision") for result in with_cards):
        names = series_names(with_cards)
    else:
        names = [str(result["model"]) for result in with_cards]
    rows = tuple(
        (
            name,
            str(result.get("device", "")),
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
