"""Documents of `thorax optimize` and `thorax mo` as tables."""

from collections.abc import Sequence

from thorax.labels import plain_name
from thorax.report.series import Document
from thorax.report.table import Table, dense
from thorax.report.text import interval_text, number_text, scaled_text


def artifact_table(documents: Sequence[Document]) -> Table:
    """Return size, work and cost in AUROC, one row a document of `optimize`."""
    rows = [
        (
            str(document.get("precision", "")).upper(),
            scaled_text(document.get("size_bytes"), 1e6, ".1f"),
            scaled_text(document.get("parameters"), 1e6, ".2f"),
            scaled_text(document.get("macs"), 1e9, ".3f"),
            number_text(document.get("auroc_drop"), "+.4f"),
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
        + (" Weights have 16 bits." if document.get("precision") == "fp16" else "")
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
            number_text(len(trial["kept"]) or None, "d"),
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
            number_text(trial["speed"], ".2f"),
            scaled_text(trial["size_bytes"], 1e6, ".1f"),
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
