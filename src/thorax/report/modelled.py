"""What the cards of a document would do: tables apart from everything that was measured."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from thorax.report.series import Document, series_names
from thorax.report.table import Table, dense
from thorax.report.text import number_text, rate_text, scaled_text

MODELLED: Final = "modelled, not measured"


def has_model(document: Document) -> bool:
    """Return whether a document says what cards would do."""
    return isinstance(document.get("modelled"), Mapping)


def alone_and_against(documents: Sequence[Document]) -> list[Document]:
    """Return documents of `validate`, each with those that it was compared with after it."""
    return [one for document in documents for one in (document, *(document.get("against") or ()))]


def modelled_table(documents: Sequence[Document]) -> Table | None:
    """Return time and power that were computed, a row a document that has any; None of none."""
    kept = [document for document in documents if has_model(document)]
    if not kept:
        return None
    rows = []
    told = all(document.get("precision") for document in kept)
    names = series_names(kept) if told else [str(document["model"]) for document in kept]
    for name, document in zip(names, kept, strict=True):
        figures: Mapping[str, Any] = document["modelled"]
        rows.append(
            (
                name,
                str(document.get("device", "")),
                rate_text(figures.get("images_per_s")),
                scaled_text(figures.get("latency_s"), 1e-3, ".2f"),
                number_text(figures.get("power_w"), ".1f"),
                number_text(figures.get("images_per_s_per_w"), ".2f"),
                str(figures.get("bound_by", "")),
            )
        )
    sources = dict.fromkeys(str(document["modelled"]["source"]) for document in kept)
    columns = ("Network", "Device", "Images/s", "Latency ms", "W", "Img/s/W", "Slowest stage")
    return dense(
        Table(
            f"What the cards would do: {MODELLED}",
            columns,
            tuple(rows),
            (True,) * len(rows),
            " ".join(sources),
            modelled=True,
        )
    )
