"""How good networks are: AUROC, its cost, ROC curves, reliability, pointing; tables and plots."""

from collections.abc import Sequence

from thorax.labels import plain_name
from thorax.report.series import EMULATED, Document, images_text, mean_interval, series_names
from thorax.report.table import Table, dense
from thorax.report.text import interval_text, number_text, rate_text, scaled_text


def auroc_table(documents: Sequence[Document], *, confidence: float = 0.95) -> Table:
    """Return AUROC per finding, one column a document of `validate` or `score`."""
    names = series_names(documents)
    findings = list(dict.fromkeys(name for document in documents for name in document["auroc"]))
    rows = []
    for finding in findings:
        cells = [document["auroc"].get(finding) or {} for document in documents]
        positives = sorted({cell["positives"] for cell in cells if "positives" in cell})
        rows.append(
            (
                plain_name(finding),
                " / ".join(f"{count:,}" for count in positives),
                *(interval_text(cell) for cell in cells),
            )
        )
    rows.append(("Mean", "", *(interval_text(mean_interval(document)) for document in documents)))
    bounded = any("[" in cell for row in rows for cell in row)
    return Table(
        "AUROC per finding",
        ("Finding", "Positives", *names),
        tuple(rows),
        note=f"In brackets: {confidence:.0%} interval, patients resampled." if bounded else "",
    )


def cost_table(document: Document) -> Table | None:
    """Return what each artifact of `validate --against` costs and brings, or None for one alone."""
    against = document.get("against") or []
    if not against:
        return None
    everyone = [document, *against]
    names = _names_against(document, against)
    rows = tuple(
        (
            name,
            interval_text(mean_interval(one)),
            interval_text(one["mean_difference"], sign=True) if "mean_difference" in one else "",
            number_text((one.get("latency_ms") or {}).get("p50"), ".2f"),
            rate_text(one.get("images_per_s")),
            scaled_text(one.get("size_bytes"), 1e6, ".1f"),
            str(one.get("compute", "")),
        )
        for name, one in zip(names, everyone, strict=True)
    )
    columns = ("Artifact", "Mean AUROC", f"minus {names[0]}", "ms", "Images/s", "MB", "Floats in")
    timed = any(one.get("images_per_s") for one in everyone)
    return dense(
        Table(
            f"What each artifact costs and brings: {images_text(document)}",
            columns,
            rows,
            tuple(bool(one.get("simulated")) for one in everyone),
            "In brackets: 95% interval, patients resampled, the difference paired."
            + (" ms: median of one answer alone. All timed in turns." if timed else "")
            + (f" {EMULATED}" if timed and any(one.get("simulated") for one in everyone) else ""),
        )
    )


def _names_against(document: Document, against: Sequence[Document]) -> list[str]:
    """Return a short name for what was validated and each that it was compared with."""
    shared = {key: document.get(key) for key in ("command", "store", "split")}
    return series_names([document, *({**one, **shared} for one in against)])


def difference_table(document: Document) -> Table | None:
    """Return the paired differences of `validate --against`, or None without them."""
    against = document.get("against") or []
    if not against:
        return None
    names = _names_against(document, against)
    rows = [
        (
            plain_name(name),
            *(interval_text(one["difference"].get(name), sign=True) for one in against),
        )
        for name in against[0]["difference"]
    ]
    rows.append(("Mean", *(interval_text(one["mean_difference"], sign=True) for one in against)))
    whose = f" of {names[1]}" if len(against) == 1 else ""
    return Table(
        f"AUROC{whose} minus AUROC of {names[0]}, same images",
        ("Finding", *(("Difference",) if whose else names[1:])),
        tuple(rows),
        note="Paired: both see the same resampled patients.",
    )


def pointing_table(documents: Sequence[Document]) -> Table:
    """Return how often heat-map peaks lie in lesion boxes, one column a document of `validate`."""
    names = series_names(documents)
    findings = list(dict.fromkeys(name for document in documents for name in document["pointing"]))
    rows = []
    for finding in findings:
        found = [document["pointing"].get(finding) or {} for document in documents]
        rows.append(
            (
                plain_name(finding),
                *(
                    f"{cell['rate']:.0%} ({cell['hits']:,} of {cell['total']:,})"
                    if cell.get("total")
                    else "–"
                    for cell in found
                ),
            )
        )
    return Table(
        "Pointing game",
        ("Finding", *names),
        tuple(rows),
        note="Share of heat maps whose peak lies inside a lesion box of the finding.",
    )
