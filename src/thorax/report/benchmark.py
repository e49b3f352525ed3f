"""How fast artifacts are: tables and plots of `thorax benchmark`."""

from collections.abc import Sequence

from thorax.report.series import EMULATED, Document, precision_text
from thorax.report.table import Table, dense
from thorax.report.text import number_text, rate_text


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
