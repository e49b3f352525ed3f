"""What `thorax classify` found, and what its layers cost, as tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from thorax.artifact import INTENDED_USE
from thorax.labels import plain_name
from thorax.report.modelled import modelled_table
from thorax.report.series import Document
from thorax.report.table import Table, dense
from thorax.report.text import rate_text

SHOWN: Final = 100
"""Rows of the table for people; JSON and CSV have all."""
_NAMED: Final = 3
"""Files passed over that the table names; JSON has all."""


def findings_tables(document: Document, *, counters: bool = True) -> list[Table]:
    """Return what a person is shown of `classify`; without `counters`, they are left out."""
    rows = document["results"]
    tables = [
        Table(
            "Findings at or above their operating point",
            ("Image", "Findings"),
            tuple((Path(row["image"]).name, _sentence(row)) for row in rows[:SHOWN]),
            note=f"{_summary(document)}. {INTENDED_USE}",
        )
    ]
    if modelled := modelled_table([document]):
        tables.append(modelled)
    if counters:
        members = dict.fromkeys(counter["member"] for counter in document["counters"])
        tables += [
            _counter_table(
                [counter for counter in document["counters"] if counter["member"] == member],
                document.get("batch", 1),
            )
            for member in members
        ]
    return tables


def _summary(document: Document) -> str:
    """Return how many images were answered, how fast, on what, and what was left out."""
    images, rows = document["images"], document["results"]
    note = f"{images:,} image{'' if images == 1 else 's'}, "
    if document["images_per_s"] is not None:
        note += f"{rate_text(document['images_per_s'])} images/s, "
    note += f"{document['precision']} on {document['device']}"
    if document["simulated"]:
        note += f", emulated in {document['compute']}"
    if document.get("tuned"):
        note += f", {document['streams']} streams of {document['batch']} as tuned"
    if document["failed"]:
        note += f"; {document['failed']:,} could not be read"
    if passed_over := document["passed_over"]:
        names = [Path(name).name for name in passed_over[:_NAMED]]
        more = ", ..." if len(passed_over) > _NAMED else ""
        note += f"; {len(passed_over):,} that are no images passed over: "
        note += ", ".join(names) + more
    cluster = document["cluster"]
    if images > len(rows):
        where = cluster["rows"] if cluster else "--csv or --json"
        note += f"; the first {len(rows)} shown, {where} has all"
    if cluster:
        note += (
            f"; {cluster['shards']:,} shards, {cluster['shards_resumed']:,} of them there before"
        )
        if cluster["address"]:
            note += (
                f", actors: {cluster['actors']}, threads of each: {cluster['threads_per_actor']}"
            )
    return note


def _sentence(row: Document) -> str:
    if row["error"]:
        return f"could not be read: {row['error']['code']}"
    findings = row["findings"]
    if row["positive"]:
        return ", ".join(f"{plain_name(name)} {findings[name]:.2f}" for name in row["positive"])
    likeliest = max(findings, key=findings.__getitem__)
    return f"none (likeliest: {plain_name(likeliest)} {findings[likeliest]:.2f})"


def _counter_table(counters: Sequence[Document], batch: int) -> Table:
    """Return what ran, in order; a share is that of the times of the same origin.

    Args:
        counters: of one engine, not of several that share the work; not empty.
        batch: images of the inferences that were measured.
    """
    ran = [counter for counter in counters if counter["status"] == "EXECUTED"]
    totals = {
        origin: sum(
            counter["real_ms"]
            for counter in ran
            if counter["origin"] == origin and counter["part_of"] is None
        )
        for origin in dict.fromkeys(counter["origin"] for counter in ran)
    }
    rows = [
        (
            _row_name(counter),
            counter["device"] or "",
            counter["type"],
            counter["kernel"],
            f"{counter['real_ms']:.3f}",
            f"{counter['real_ms'] / totals[counter['origin']]:.1%}"
            if totals[counter["origin"]]
            else "",
            counter["origin"],
        )
        for counter in ran
    ]
    rows += [
        (f"Total {origin}", "", "", "", f"{total:.3f}", "", origin)
        for origin, total in totals.items()
    ]
    notes = []
    if batch > 1:
        notes.append(f"Measured on {batch} images at a time.")
    if "modelled" in totals:
        notes.append("Modelled: computed from the architecture of the card, not read from a clock.")
    whose = f" on {counters[0]['member']}" if counters[0]["member"] else ""
    return dense(
        Table(
            f"What every layer cost{whose}, mean per image",
            ("Layer", "Device", "Type", "Kernel", "ms", "Share", "How"),
            tuple(rows),
            tuple(row[-1] == "modelled" for row in rows),
            " ".join(notes),
        )
    )


def _row_name(counter: Document) -> str:
    name = str(counter["layer"])
    if counter["part_of"] is not None:
        return f"   {name}"
    return name if counter["subgraph"] is None else f"{counter['subgraph']}: {name}"
