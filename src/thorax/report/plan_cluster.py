"""Tables of what `thorax plan cluster` says: everything in them is modelled."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from thorax.report.modelled import MODELLED
from thorax.report.series import Document
from thorax.report.table import Table, dense
from thorax.report.text import number_text, rate_text

_PLACES: Final = {
    "compute": "Compute",
    "communication": "Exchange",
    "straggler": "Stragglers",
    "input": "Input",
    "evaluation": "Evaluation",
    "start_up": "Start-up",
}
_QUANTITIES: Final = {
    "time_to_train_s": "s",
    "epoch_s": "s an epoch",
    "images_per_s": "images/s",
    "efficiency": "efficiency",
    "energy_kwh": "kWh",
}


def cluster_plan_tables(document: Document) -> list[Table]:
    """Return the plan, where its time goes, and how the model meets what was published."""
    tables = [_plan(document), _places(document)]
    if document["predictions"]:
        tables.append(predictions_table(document["predictions"]))
    return tables


def duration_text(duration_s: float) -> str:
    """Return a duration in seconds, minutes or hours, three figures."""
    if duration_s < 120:
        return f"{duration_s:.3g} s"
    if duration_s < 7200:
        return f"{duration_s / 60:.3g} min"
    return f"{duration_s / 3600:,.3g} h" if duration_s < 3.6e6 else f"{duration_s / 3600:,.0f} h"


def stops_text(stop: Mapping[str, Any]) -> str:
    """Return in a sentence where scaling stops paying."""
    what = "Where the batch grows" if stop["scaling"] == "batch grows" else "With a shared batch"
    worth = float(stop["worth"])
    if stop["workers"] is None:
        return f"{what} doubling the workers pays throughout."
    return (
        f"{what} doubling {stop['workers']:,} workers no longer pays: it saves less than "
        f"{1 - 2**-worth:.0%} of the time and costs over {2 ** (1 - worth) - 1:.0%} more energy."
    )


def _plan(document: Document) -> Table:
    rows = document["rows"]
    epochs = next(text for text in reversed(document["sources"]) if text.startswith("epochs: "))
    told = [*map(stops_text, document["stops_paying"]), f"{epochs[0].upper()}{epochs[1:]}."]
    if rows[0]["energy_kwh"] is None:
        told.append("No energy: the watts of a node are not known; give --node-power.")
    if document.get("predictions_left_out"):
        left_out = str(document["predictions_left_out"])
        told.append(f"{left_out[0].upper()}{left_out[1:]}.")
    return dense(
        Table(
            f"{document['topology']} on {document['title']}: {MODELLED}",
            (
                "Workers", "Nodes", "Batch", "", "Images/s", "Efficiency", "Epochs", "Time",
                "kWh", "Cost",
            ),
            tuple(
                (
                    f"{row['workers']:,}",
                    f"{row['nodes']:,}",
                    f"{row['global_batch']:,.0f}",
                    "shared" if row["scaling"] == "batch shared" else "",
                    rate_text(row["images_per_s"]),
                    f"{row['efficiency']:.1%}",
                    f"{row['epochs']:.3g}",
                    duration_text(row["time_to_train_s"]),
                    number_text(row["energy_kwh"], ",.3g"),
                    number_text(row["cost"], ",.2f"),
                )
                for row in rows
            ),
            (True,) * len(rows),
            " ".join(told),
            modelled=True,
        )
    )  # fmt: skip


def _places(document: Document) -> Table:
    rows = document["rows"]
    return dense(
        Table(
            "Where the time goes, share of it (modelled)",
            ("Workers", "Batch", *_PLACES.values()),
            tuple(
                (
                    f"{row['workers']:,}",
                    f"{row['global_batch']:,.0f}",
                    *(
                        f"{share:.1%}" if (share := row["time_s"][key] / row["time_to_train_s"])
                        else ""
                        for key in _PLACES
                    ),
                )
                for row in rows
            ),
            (True,) * len(rows),
            _jitter_text(document),
            modelled=True,
        )
    )  # fmt: skip


def _jitter_text(document: Document) -> str:
    """Return what the column of stragglers rests on."""
    jitter = float(document["inputs"]["jitter"])
    if not jitter:
        return ""
    text = f"Stragglers: passes are taken to vary by {jitter:.0%} (one deviation)."
    if any(one.startswith("jitter: calibrated") for one in document["sources"]):
        text += " Found from a loss: it stands for any loss that grows like theirs."
    return text


def predictions_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return published figures beside a model's, with how many numbers it took from such rows."""
    kept = list(rows)
    free = sorted({int(row["free_numbers"]) for row in kept})
    return Table(
        f"Published and modelled, {' or '.join(map(str, free))} free numbers",
        ("Network", "Workers", "Batch", "", "Published", "Modelled", "Error", "Linear", "How"),
        tuple(
            (
                str(row["topology"]),
                f"{row['workers']:,}",
                f"{row['batch']:,}{'*' if row['batch_assumed'] else ''}",
                _QUANTITIES[row["quantity"]],
                _figure(row["published"]),
                _figure(row["modelled"]),
                "" if row["how"] == "calibrated" else f"{row['error']:+.1%}",
                f"{row['linear_error']:+z.1%}",
                str(row["how"]),
            )
            for row in kept
        ),
        tuple(row["how"] != "calibrated" for row in kept),
        "* assumed: the source gives no batch. A calibrated row is no prediction; an identity "
        "follows from another row by arithmetic alone. Linear: the error if ranks only added up "
        "from the first calibrated row on.",
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
