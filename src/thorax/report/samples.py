"""Classified images on a report page: their heat maps and the findings that scored highest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from thorax.labels import plain_name
from thorax.report.documents import file_name
from thorax.report.parts import Bar, Sample, Section
from thorax.report.pictures import embed_image
from thorax.report.series import Document
from thorax.report.table import Table

_SAMPLES: Final = 12
_BARS: Final = 4


def samples_section(documents: Sequence[Document]) -> Section | None:
    """Return heat maps and what could not be read of documents of `classify`."""
    results = [result for document in documents for result in document.get("results", [])]
    shown = _varied([result for result in results if result.get("heatmaps")])
    failed = [result for result in results if result.get("error")]
    if not shown and not failed:
        return None
    tables = []
    if failed:
        rows = tuple(
            (file_name(r["image"]), str(r["error"]["code"]), str(r["error"]["message"]))
            for r in failed[:20]
        )
        more = f"{len(failed) - 20:,} more are left out." if len(failed) > 20 else ""
        tables.append(Table("Not read", ("Image", "Code", "Message"), rows, note=more))
    text: tuple[str, ...] = ()
    if shown:
        text = (
            f"{len(shown)} of {len(results):,} classified images with the findings that scored"
            " highest; bold: above the operating point. Colour shows which cells of the last"
            " feature map speak for the finding.",
        )
    return Section(
        "samples",
        "Heat maps",
        text,
        tables=tuple(tables),
        samples=tuple(_sample(result) for result in shown),
        prose=True,
    )


def _varied(results: Sequence[Document]) -> list[Document]:
    """Return at most `_SAMPLES` results: one for each finding first, then as they come."""
    seen: set[str] = set()
    first: list[Document] = []
    rest: list[Document] = []
    for result in results:
        fresh = set(result.get("positive") or ()) - seen
        (first if fresh else rest).append(result)
        seen |= fresh
    return [*first, *rest][:_SAMPLES]


def _sample(result: Document) -> Sample:
    positive = set(result.get("positive") or ())
    ranked = sorted((result.get("findings") or {}).items(), key=lambda item: -item[1])
    # Of several heat maps the one of the finding that scored highest.
    path = next(result["heatmaps"][name] for name, _ in ranked if name in result["heatmaps"])
    picture = embed_image(Path(path))
    return Sample(
        file_name(result["image"]),
        picture,
        "" if picture else f"Heat map {file_name(path)} cannot be read.",
        tuple(
            Bar(plain_name(name), f"{value:.2f}", round(100 * value), name in positive)
            for name, value in ranked[:_BARS]
        ),
    )
