"""Tables of what plans say: everything in them is modelled."""

from thorax.measure.modelled import MODELLED
from thorax.measure.tables import Document, Table, dense, number_text, rate_text

READINGS = {
    "additive": "Additive: the CPU computes too",
    "offload": "Off-load: the CPU only feeds the cards",
}
"""What the CPU does while cards compute, in words."""


def server_table(document: Document) -> Table:
    """Return what a server does and draws, a row a number of cards and a reading."""
    rows = document["rows"]
    return dense(
        Table(
            f"{document['full_name']}, {document['network']}: {MODELLED}",
            ("Reading", "Cards", "Images/s", "Times", "W", "Server img/s/W", "Marginal img/s/W"),
            tuple(
                (
                    str(row["reading"]),
                    str(row["cards"]),
                    rate_text(row["images_per_s"]),
                    number_text(row["speedup"], ".2f"),
                    number_text(row["power_w"], ".0f"),
                    number_text(row["images_per_s_per_w"], ".2f"),
                    number_text(row["marginal_images_per_s_per_w"], ".2f"),
                )
                for row in rows
            ),
            (True,) * len(rows),
            _note(document),
            modelled=True,
        )
    )


def _note(document: Document) -> str:
    told = [f"{READINGS[name]}." for name in READINGS if _has(document, name)]
    return " ".join(
        (
            *told,
            "Server: images/s of the whole server over its watts. Marginal: what the cards add to "
            "both. `--json` names the source of every constant.",
        )
    )


def _has(document: Document, reading: str) -> bool:
    return any(row["reading"] == reading for row in document["rows"])
