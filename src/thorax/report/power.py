"""Energy and power of documents as tables."""

from collections.abc import Sequence
from typing import Final

from thorax.power.sampler import EMULATED_RATE
from thorax.report.series import Document, precision_text
from thorax.report.table import Table, dense
from thorax.report.text import number_text

MODELLED_POWER: Final = "modelled, not measured"
"""What is said beside every figure of power that was computed."""

REPLAYED_POWER: Final = "replayed, read at another time"
"""What is said beside every figure of power that is not of the run it stands beside."""


def energy_table(document: Document) -> Table:
    """Return energy and mean power of each device, of `power watch` and `power energy`."""
    rows = [
        (
            name if one["counted"] else f"{name} (part)",
            number_text(one["energy_j"], ",.1f"),
            number_text(one["power_w"], ",.1f"),
        )
        for name, one in document["devices"].items()
    ]
    whole = ("sum", number_text(document["energy_j"], ",.1f"))
    rows.append((*whole, number_text(document["power_w"], ",.1f")))
    modelled = bool(document["modelled"])
    span = f"{document['readings']:,} readings in {document['duration_s']:.1f} s"
    return Table(
        f"Energy, {MODELLED_POWER}"
        if modelled
        else "Energy, replayed"
        if document.get("replayed")
        else "Energy",
        ("Device", "J", "W (mean)"),
        tuple(rows),
        (modelled,) * len(rows),
        f"From {document['energy_source']}: {span}."
        + (f" No energy: {document['energy_error']}." if document.get("energy_error") else ""),
        modelled=modelled,
    )


def power_table(documents: Sequence[Document]) -> Table | None:
    """Return power idle and under load and both efficiencies, of documents of `benchmark`.

    A row for the whole of each, and one for each of its devices where there are several. None
    where no meter was read.
    """
    rows: list[tuple[str, ...]] = []
    modelled: list[bool] = []
    sources: dict[str, None] = {}
    missing: dict[str, None] = {}
    for document in documents:
        detail = document.get("power")
        if not detail:
            continue
        name = f"{precision_text(document)} {document.get('device', '')}".strip()
        if document.get("energy_error"):
            missing[f"No energy of {name}: {document['energy_error']}."] = None
        if detail.get("load_w") is None:
            continue
        emulated = bool(document.get("simulated"))
        if emulated:
            missing[f"No images/s/W of {name}: {EMULATED_RATE}."] = None
        elif detail.get("marginal_error"):
            missing[f"No marginal images/s/W of {name}: {detail['marginal_error']}."] = None
        if detail.get("idle_error"):
            missing[f"No idle power of {name}: {detail['idle_error']}."] = None
        marks = [MODELLED_POWER] if detail["modelled"] else []
        marks += [REPLAYED_POWER] if detail.get("replayed") else []
        told = f" ({'; '.join(marks)})" if marks else ""
        sources[f"{document['energy_source']}{told}"] = None
        rows.append(
            (
                name,
                "whole, W replayed" if detail.get("replayed") else "whole",
                *(number_text(detail[key], ".1f") for key in ("idle_w", "load_w", "marginal_w")),
                number_text(document.get("energy_j"), ",.1f"),
                *(
                    "" if emulated else number_text(detail[key], ".3g")
                    for key in ("images_per_s_per_w", "marginal_images_per_s_per_w")
                ),
            )
        )
        devices = detail["devices"] if len(detail["devices"]) > 1 else {}
        for device, one in devices.items():
            watts = (number_text(one[key], ".1f") for key in ("idle_w", "load_w", "marginal_w"))
            rows.append(
                (name, device if one["counted"] else f"{device} (part)", *watts, "", "", "")
            )
        modelled += [bool(detail["modelled"])] * (1 + len(devices))
    if not rows and not missing:
        return None
    note = (
        "Whole: images/s over all watts; marginal: over what the load adds to idle." if rows else ""
    )
    return dense(
        Table(
            "Power" if not all(modelled) or not rows else f"Power, {MODELLED_POWER}",
            (
                *("Network", "Of", "Idle W", "Load W", "Marginal W"),
                *("J", "Img/s/W, whole", "marginal"),
            ),
            tuple(rows),
            tuple(modelled),
            " ".join(
                part
                for part in (f"From {', '.join(sources)}." if sources else "", note, *missing)
                if part
            ),
            modelled=bool(rows) and all(modelled),
        )
    )
