"""Result documents as tables of text, the same on the terminal and in the report.

A document is what a command prints with `--json`: a mapping with a `command` key. Keys that are
absent or null are left out of a table, never filled in.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Document = Mapping[str, Any]

PRECISIONS: Final = ("fp32", "fp16", "bf16", "int8", "fp11")
"""From the reference to the boldest shortcut; tables keep this order."""


_AIRY: Final = 6
"""Columns up to which a table on the terminal is set with wide gaps."""


@dataclass(frozen=True, slots=True)
class Table:
    """Text in rows; the first column names the row, the others are read downwards.

    Attributes:
        title: what it shows, with units where all cells share one.
        columns: headings, with their units.
        rows: cells, each row as long as `columns`.
        simulated: for each row, whether its figures come from a model and not from a clock.
        note: what a reader must know, or "".
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    simulated: tuple[bool, ...] = ()
    note: str = ""


def rich_table(table: Table) -> "RichTable":
    """Return a table for a terminal of 100 columns; simulated rows are dim."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - 0.1 s that only a terminal needs
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = RichTable(
        title=table.title,
        caption=table.note or None,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 0 if len(table.columns) > _AIRY else 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for place, heading in enumerate(table.columns):
        prose = not place or any(" " in row[place] and "," in row[place] for row in table.rows)
        drawn.add_column(Text(heading), justify="left" if prose else "right")
    for place, row in enumerate(table.rows):
        dim = place < len(table.simulated) and table.simulated[place]
        drawn.add_row(*(Text(cell) for cell in row), style="dim" if dim else None)
    return drawn


def images_text(document: Document) -> str:
    """Return how many images of which split a document judges."""
    parts = [f"{document['images']:,} images"]
    if document.get("patients"):
        parts[0] += f" of {document['patients']:,} patients"
    if document.get("split"):
        parts.append(f"split {document['split']}")
    if document.get("simulated"):
        parts.append("on a simulated device, whose arithmetic is real")
    return ", ".join(parts)


def series_names(documents: Sequence[Document]) -> list[str]:
    """Return a short name for each document: its precision, and whatever else tells them apart."""
    keys = ["precision"]
    for key in ("device", "scenario", "model", "predictions", "store", "split", "streams"):
        names = [_joined(document, keys) for document in documents]
        if "" in names or len(set(names)) < len(names):
            values = {str(document.get(key)) for document in documents}
            if len(values) > 1 or "" in names:
                keys.append(key)
    names = [_joined(document, keys) or str(document["command"]) for document in documents]
    return [
        name if names.count(name) == 1 else f"{name} #{names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def in_order(documents: Iterable[Document]) -> list[Document]:
    """Return documents by precision, measured before simulated, otherwise as given."""

    def rank(document: Document) -> tuple[bool, int]:
        precision = str(document.get("precision", "")).lower()
        place = PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)
        return bool(document.get("simulated")), place

    return sorted(documents, key=rank)


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
            _text((one.get("latency_ms") or {}).get("p50"), ".2f"),
            rate_text(one.get("images_per_s")),
            _scaled(one.get("size_bytes"), 1e6, ".1f"),
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
            + (" ms: median of one answer alone. All timed in turns." if timed else ""),
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


def speed_table(documents: Sequence[Document]) -> Table:
    """Return speed and power, one row a document of `benchmark`."""
    powered = any(document.get("power_w") is not None for document in documents)
    meters = dict.fromkeys(
        str(document.get("energy_source"))
        for document in documents
        if document.get("power_w") is not None
    )
    rows = []
    for document in documents:
        latency = document.get("latency_ms") or {}
        reference = _reference(document, documents)
        rows.append(
            (
                str(document.get("precision", "")).upper(),
                str(document.get("device", "")),
                str(document.get("scenario", "")),
                _text(document.get("streams"), "d"),
                rate_text(document.get("images_per_s")),
                ""
                if reference is None
                else f"{document['images_per_s'] / reference['images_per_s']:.2f}",
                *(_text(latency.get(key), ".1f") for key in ("p50", "p90", "p99")),
                *(
                    (
                        _text(document.get("power_w"), ".1f"),
                        _text(document.get("images_per_s_per_w"), ".2f"),
                    )
                    if powered
                    else ()
                ),
                "modelled" if document.get("simulated") else "measured",
            )
        )
    columns = ("Precision", "Device", "Scenario", "Streams", "Images/s", "× FP32")
    latencies = ("p50 ms", "p90 ms", "p99 ms")
    power = ("W", "Img/s/W") if powered else ()
    return dense(
        Table(
            "Speed",
            (*columns, *latencies, *power, "How"),
            tuple(rows),
            tuple(bool(document.get("simulated")) for document in documents),
            f"Power from {', '.join(meters)}." if powered else "No power meter was read.",
        )
    )


def artifact_table(documents: Sequence[Document]) -> Table:
    """Return size, work and cost in AUROC, one row a document of `optimize`."""
    rows = [
        (
            str(document.get("precision", "")).upper(),
            _scaled(document.get("size_bytes"), 1e6, ".1f"),
            _scaled(document.get("parameters"), 1e6, ".2f"),
            _scaled(document.get("macs"), 1e9, ".3f"),
            _text(document.get("auroc_drop"), "+.4f"),
        )
        for document in documents
    ]
    columns = ("Precision", "Size MB", "Parameters 10⁶", "MACs 10⁹ / image", "AUROC drop")
    return dense(Table("Artifacts", columns, tuple(rows)))


def ports_table(document: Document) -> Table:
    """Return the inputs and outputs of the graph that a document of `mo` tells of."""
    rows = [
        (
            f"{kind} {port['name']}",
            "[" + ",".join("?" if axis < 0 else str(axis) for axis in port["shape"]) + "]",
            port["type"],
            port["layout"] or "",
            port["preprocessing"] or "",
        )
        for kind, key in (("in", "inputs"), ("out", "outputs"))
        for port in document[key]
    ]
    difference = document.get("difference")
    note = (
        "Not compared with the source: an open shape left nothing to run."
        if difference is None
        else f"Differs from the source by {difference:.1e} of an output's largest value; "
        f"computed by {document['compared_with']}."
    )
    columns = ("Port", "Shape", "Type", "Layout", "Done to it first")
    title = f"IR of a {document['framework']} model, {document['layers']} layers"
    return dense(Table(title, columns, tuple(rows), note=note))


def drop_table(document: Document) -> Table | None:
    """Return what a document of `optimize` says that each finding lost, or None without it."""
    drops = document.get("auroc_drop_by_finding") or {}
    if not drops or document.get("precision") == "fp32":
        return None
    rows = [(plain_name(name), interval_text(value, sign=True)) for name, value in drops.items()]
    rows.append(("Mean", interval_text(document["auroc_drop_interval"], sign=True)))
    return Table(
        f"AUROC of FP32 minus AUROC of {str(document['precision']).upper()}, same images",
        ("Finding", "Drop"),
        tuple(rows),
        note="In brackets: 95% interval, patients resampled, both graphs by the same.",
    )


def tried_table(documents: Sequence[Document]) -> Table | None:
    """Return what was judged before each artifact of `optimize` was chosen, or None."""
    rows = [
        (
            str(trial["precision"]).upper(),
            _text(len(trial["kept"]) or None, "d"),
            interval_text(
                dict(
                    zip(
                        ("value", "low", "high"),
                        (trial["auroc_drop"], *(trial["auroc_drop_interval"] or (None, None))),
                        strict=True,
                    )
                ),
                sign=True,
            ),
            _text(trial["speed"], ".2f"),
            _scaled(trial["size_bytes"], 1e6, ".1f"),
            f"chosen: {trial['reason']}" if trial["chosen"] else str(trial["reason"]),
        )
        for document in documents
        for trial in document.get("tried") or ()
    ]
    if not rows:
        return None
    columns = ("Precision", "Kept", "AUROC drop", "× FP32", "Size MB", "Why")
    notes = dict.fromkeys(str(one["why"]) for one in documents if one.get("why"))
    note = "Kept: layers left in floating point. × FP32: images per second, timed in turns."
    return dense(Table("Tried", columns, tuple(rows), note=" ".join((*notes, note))))


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


def check_tables(document: Document) -> list[Table]:
    """Return what `data check` found: leaks and copies where there are any, and label counts."""
    copies = [
        (kind, group)
        for kind, key in (("same file", "duplicates"), ("near copy", "near_duplicates"))
        for group in document[key]
    ]
    splits = list(document["splits"])
    findings = list(document["labels"][splits[0]]) if splits else []
    images = ", ".join(f"{count:,} {split}" for split, count in document["splits"].items())
    return [
        Table(
            "Patients in more than one split",
            ("Patient", "Splits"),
            tuple((leak["patient"], ", ".join(leak["splits"])) for leak in document["leaks"]),
        ),
        Table(
            "Images that are copies of each other",
            ("Images", "How alike", "Splits", "Across splits"),
            tuple(
                (
                    ", ".join(group["images"]),
                    kind,
                    ", ".join(sorted(set(group["splits"]))),
                    "yes" if group["across"] else "no",
                )
                for kind, group in copies
            ),
        ),
        Table(
            "Images that show each finding",
            ("Finding", *splits),
            tuple(
                (
                    plain_name(finding),
                    *(f"{document['labels'][split][finding]['positive']:,}" for split in splits),
                )
                for finding in findings
            ),
            note=f"{document['images']:,} images of {document['patients']:,} patients: {images}. "
            + ("No leak between splits." if document["clean"] else "The splits leak."),
        ),
    ]


def mean_interval(document: Document) -> Any:  # noqa: ANN401 - a mapping or a number
    """Return the mean AUROC of a document, with its bounds where it has them."""
    return document.get("mean_auroc_interval") or document.get("mean_auroc")


def plain_name(finding: str) -> str:
    """Return a finding as people write it."""
    return finding.replace("_", " ")


def interval_text(value: object, *, sign: bool = False) -> str:
    """Return "0.838 [0.832, 0.844]" of a mapping or a number; a dash where it is undefined."""
    parts = value if isinstance(value, Mapping) else {"value": value}
    form = "+.4f" if sign else ".3f"
    middle = _text(parts.get("value"), form)
    if not middle:
        return "–"
    low, high = _text(parts.get("low"), form), _text(parts.get("high"), form)
    return f"{middle} [{low}, {high}]" if low and high else middle


def rate_text(value: float | None) -> str:
    """Return images per second with three figures or more, "" where not known."""
    return _text(value, ",.0f" if value is not None and value >= 100 else ".3g")


def _reference(document: Document, documents: Sequence[Document]) -> Document | None:
    """Return the fp32 document that differs from this one in its precision alone."""
    alike = ("model_name", "device", "scenario", "simulated")
    same = [
        other
        for other in documents
        if str(other.get("precision", "")).lower() == "fp32"
        and other.get("images_per_s")
        and all(other.get(key) == document.get(key) for key in alike)
    ]
    return same[0] if len(same) == 1 and document.get("images_per_s") is not None else None


def _joined(document: Document, keys: Sequence[str]) -> str:
    parts = []
    for key in keys:
        value = document.get(key)
        if value is not None:
            text = str(value)
            parts.append(text.upper() if key == "precision" else text.rstrip("/").split("/")[-1])
    return " ".join(parts)


def _text(value: object, form: str) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return ""
    return format(value, form)


def _scaled(value: object, unit: float, form: str) -> str:
    return _text(value / unit if isinstance(value, int | float) else None, form)


def dense(table: Table) -> Table:
    """Return the table without columns that no row fills."""
    kept = [
        place
        for place in range(len(table.columns))
        if place == 0 or any(row[place] for row in table.rows)
    ]
    return Table(
        table.title,
        tuple(table.columns[place] for place in kept),
        tuple(tuple(row[place] for place in kept) for row in table.rows),
        table.simulated,
        table.note,
    )
