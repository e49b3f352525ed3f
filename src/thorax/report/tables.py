"""Result documents as tables of text, the same on the terminal and in the report.

A document is what a command prints with `--json`: a mapping with a `command` key. Keys that are
absent or null are left out of a table, never filled in.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from thorax.labels import plain_name

if TYPE_CHECKING:
    from rich.console import Group

Document = Mapping[str, Any]

PRECISIONS: Final = ("fp32", "fp16", "bf16", "int8", "fp11")
"""From the reference to the boldest shortcut; tables keep this order."""

EMULATED: Final = (
    "Emulated: wall time of this computer at the arithmetic of a simulated card; it says nothing "
    "of how fast the card is."
)
"""What a reader must know of the measured rows of a simulated device."""

_COLUMNS: Final = 100
"""Width of the terminal that tables and their notes are made for."""

_AIRY: Final = 6
"""Columns up to which a table on the terminal is set with wide gaps."""

_LEAST_PROSE: Final = 20
"""Columns that a cell of prose is left at least."""


@dataclass(frozen=True, slots=True)
class Table:
    """Text in rows; the first column names the row, the others are read downwards.

    Attributes:
        title: what it shows, with units where all cells share one.
        columns: headings, with their units.
        rows: cells, each row as long as `columns`.
        simulated: for each row, whether its figures come from a model, or from the emulation of a
            simulated device, and not from a device at work.
        note: what a reader must know, or "".
        modelled: whether no figure in it was measured, which a page then marks.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    simulated: tuple[bool, ...] = ()
    note: str = ""
    modelled: bool = False


def rich_table(table: Table) -> "Group":
    """Return a table for a terminal of 100 columns; simulated rows are dim.

    Title and note are as wide as that, however narrow the table. Cells are broken where there is
    prose in them, intervals and names only where nothing else gives way.
    """
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - 0.1 s that only a terminal needs
    from rich.console import Group  # noqa: PLC0415
    from rich.constrain import Constrain  # noqa: PLC0415
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = RichTable(
        box=SIMPLE_HEAD,
        padding=(0, 0 if len(table.columns) > _AIRY else 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    whole = _fits(table)
    for place, heading in enumerate(table.columns):
        prose = _is_prose(table, place)
        drawn.add_column(
            Text(heading),
            justify="left" if prose or not place else "right",
            no_wrap=whole and not prose,
        )
    for place, row in enumerate(table.rows):
        dim = place < len(table.simulated) and table.simulated[place]
        drawn.add_row(*(Text(cell) for cell in row), style="dim" if dim else None)
    parts: list[RichTable | Constrain] = [drawn]
    if table.title:
        parts.insert(0, Constrain(Text(table.title, style="table.title"), _COLUMNS))
    if table.note:
        parts.append(Constrain(Text(table.note, style="table.caption"), _COLUMNS))
    return Group(*parts)


def _is_prose(table: Table, place: int) -> bool:
    """Return whether a column holds words that may be broken over lines."""
    cells = [row[place] for row in table.rows]
    return bool(place) and any(
        cell.count(" ") > 1 and "[" not in cell and not cell[:1].isdigit() for cell in cells
    )


def _fits(table: Table) -> bool:
    """Return whether all but the prose has its place on one line."""
    gap = 1 if len(table.columns) > _AIRY else 2
    width = 0
    for place, heading in enumerate(table.columns):
        lines = [
            line
            for text in (heading, *(row[place] for row in table.rows))
            for line in text.splitlines()
        ]
        longest = max(map(len, lines), default=0)
        width += gap + (min(longest, _LEAST_PROSE) if _is_prose(table, place) else longest)
    return width <= _COLUMNS


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


def _power_is_modelled(document: Document) -> bool:
    return bool((document.get("power") or {}).get("modelled"))


def _power_is_replayed(document: Document) -> bool:
    return bool((document.get("power") or {}).get("replayed"))


def _power_text(document: Document, key: str, form: str) -> str:
    """Return a figure of power, marked where it was computed or is of another time."""
    over_watts = document.get("simulated") and key.endswith("_per_w")
    text = "" if over_watts else number_text(document.get(key), form)
    mark = "*" * _power_is_modelled(document) + "†" * _power_is_replayed(document)
    return f"{text}{mark}" if text else text


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
                precision_text(document),
                str(document.get("device", "")),
                _scenario_text(document),
                number_text(document.get("streams"), "d"),
                rate_text(document.get("images_per_s")),
                ""
                if reference is None
                else f"{document['images_per_s'] / reference['images_per_s']:.2f}",
                *(number_text(latency.get(key), ".1f") for key in ("p50", "p90", "p99")),
                *(
                    (
                        _power_text(document, "power_w", ".1f"),
                        _power_text(document, "images_per_s_per_w", ".3g"),
                    )
                    if powered
                    else ()
                ),
                ("emulated" if document.get("simulated") else "measured")
                + (", INVALID" if document.get("valid") is False else ""),
            )
        )
    power_note = f"Power from {', '.join(meters)}." if powered else "No power meter was read."
    if any(_power_is_modelled(document) for document in documents):
        power_note += " * modelled, not measured."
    if any(_power_is_replayed(document) for document in documents):
        power_note += " † replayed, read at another time."
    emulated = any(document.get("simulated") for document in documents)
    columns = ("Precision", "Device", "Scenario", "Streams", "Images/s", "× FP32")
    power = ("W", "Img/s/W") if powered else ()
    return dense(
        Table(
            "Speed",
            (*columns, "p50 ms", "p90 ms", "p99 ms", *power, "How"),
            tuple(rows),
            tuple(bool(document.get("simulated")) for document in documents),
            " ".join([power_note, *([EMULATED] if emulated else [])]),
        )
    )


def _scenario_text(document: Document) -> str:
    rate = document.get("scheduled_images_per_s")
    return str(document.get("scenario", "")) + (f" at {rate_text(rate)}/s" if rate else "")


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


def interval_text(value: object, *, sign: bool = False) -> str:
    """Return "0.838 [0.832, 0.844]" of a mapping or a number; a dash where it is undefined."""
    parts = value if isinstance(value, Mapping) else {"value": value}
    form = "+.4f" if sign else ".3f"
    middle = number_text(parts.get("value"), form)
    if not middle:
        return "–"
    low, high = number_text(parts.get("low"), form), number_text(parts.get("high"), form)
    return f"{middle} [{low}, {high}]" if low and high else middle


def rate_text(value: float | None) -> str:
    """Return images per second with three figures or more, "" where not known."""
    return number_text(value, ",.0f" if value is not None and value >= 100 else ".3g")


def _reference(document: Document, documents: Sequence[Document]) -> Document | None:
    """Return the fp32 document that differs from this one in its precision alone.

    An emulation has none: what it stores, it computes in the arithmetic of a card.
    """
    if document.get("simulated"):
        return None
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
            told = (
                precision_text(document) if key == "precision" else text.rstrip("/").split("/")[-1]
            )
            parts.append(told)
    return " ".join(parts)


def precision_text(document: Document) -> str:
    """Return how weights are stored and, of a simulated card, what it computes in: FP32 as FP11.

    Of a pool in which a device without a card answers too, "FP32 as FP11 or FP32".
    """
    stored = str(document.get("precision", "")).upper()
    parts = str(document.get("compute", "")).split("+")
    told = "/".join(part for part in parts if part[:2] == "fp").upper()
    if told and _answers_without_card(str(document.get("device", ""))):
        others = (_FLOATS.get(part, part.upper()) for part in parts if part[:2] != "fp")
        return f"{stored} as {' or '.join([told, *others])}"
    return f"{stored} as {told}" if told and told != stored else stored


_FLOATS: Final = {"f32": "FP32", "f16": "FP16"}
"""Element types of OpenVINO by the names that precisions have."""


def _answers_without_card(device: str) -> bool:
    """Return whether a pool has a member that is no card; `HETERO:` takes what follows it."""
    kind, _, rest = device.partition(":")
    alone, *split = rest.split("HETERO:")
    members = [one for one in (*alone.split(","), *split) if one.strip(", ")]
    return kind == "MULTI" and any("FPGA" not in one for one in members)


def number_text(value: object, form: str) -> str:
    """Return a finite number in a form, "" for anything else."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return ""
    return format(value, form)


def scaled_text(value: object, unit: float, form: str) -> str:
    """Return a number in a unit, "" for what is no number."""
    return number_text(value / unit if isinstance(value, int | float) else None, form)


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
        table.modelled,
    )
