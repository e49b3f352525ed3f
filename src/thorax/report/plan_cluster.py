"""Tables of what `thorax plan cluster` computes: everything in them is modelled."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from thorax.report.modelled import MODELLED
from thorax.report.table import Table, dense
from thorax.report.text import duration_text, number_text, rate_text, sentence
from thorax.results.plan import ClusterPlan, PublishedRow, Quantity, RunTimes, ScalingStop

_TIMES: Final[Mapping[str, Callable[[RunTimes], float]]] = {
    "Compute": lambda times: times.compute,
    "Exchange": lambda times: times.communication,
    "Stragglers": lambda times: times.straggler,
    "Input": lambda times: times.input,
    "Evaluation": lambda times: times.evaluation,
    "Start-up": lambda times: times.start_up,
}
_QUANTITIES: Final[Mapping[Quantity, str]] = {
    "time_to_train_s": "s",
    "epoch_s": "s an epoch",
    "images_per_s": "images/s",
    "efficiency": "efficiency",
    "energy_kwh": "kWh",
}


def cluster_plan_tables(plan: ClusterPlan) -> list[Table]:
    """Return the plan, where its time goes, and how the model meets what was published."""
    tables = [_plan(plan), _times(plan)]
    if plan.predictions:
        tables.append(_published(plan.predictions))
    return tables


def stops_text(stop: ScalingStop) -> str:
    """Return in a sentence where scaling stops paying."""
    what = "Where the batch grows" if stop.scaling == "batch grows" else "With a shared batch"
    if stop.workers is None:
        return f"{what} doubling the workers pays throughout."
    return (
        f"{what} doubling {stop.workers:,} workers no longer pays: it saves less than "
        f"{1 - 2**-stop.worth:.0%} of the time and costs over {2 ** (1 - stop.worth) - 1:.0%} more "
        "energy."
    )


def _plan(plan: ClusterPlan) -> Table:
    epochs = next(text for text in reversed(plan.sources) if text.startswith("epochs: "))
    notes = [*map(stops_text, plan.stops_paying), sentence(epochs)]
    if plan.rows[0].energy_kwh is None:
        notes.append("No energy: the watts of a node are not known; give --node-power.")
    if plan.predictions_left_out:
        notes.append(sentence(plan.predictions_left_out))
    return dense(
        Table(
            f"{plan.topology} on {plan.title}: {MODELLED}",
            (
                "Workers", "Nodes", "Batch", "", "Images/s", "Efficiency", "Epochs", "Time",
                "kWh", "Cost",
            ),
            tuple(
                (
                    f"{row.workers:,}",
                    f"{row.nodes:,}",
                    f"{row.global_batch:,.0f}",
                    "shared" if row.scaling == "batch shared" else "",
                    rate_text(row.images_per_s),
                    f"{row.efficiency:.1%}",
                    f"{row.epochs:.3g}",
                    duration_text(row.time_to_train_s),
                    number_text(row.energy_kwh, ",.3g"),
                    number_text(row.cost, ",.2f"),
                )
                for row in plan.rows
            ),
            (True,) * len(plan.rows),
            " ".join(notes),
            modelled=True,
        )
    )  # fmt: skip


def _times(plan: ClusterPlan) -> Table:
    return dense(
        Table(
            "Where the time goes, share of it (modelled)",
            ("Workers", "Batch", *_TIMES),
            tuple(
                (
                    f"{row.workers:,}",
                    f"{row.global_batch:,.0f}",
                    *(
                        f"{share:.1%}" if (share := seconds(row.time_s) / row.time_to_train_s)
                        else ""
                        for seconds in _TIMES.values()
                    ),
                )
                for row in plan.rows
            ),
            (True,) * len(plan.rows),
            _jitter_text(plan),
            modelled=True,
        )
    )  # fmt: skip


def _jitter_text(plan: ClusterPlan) -> str:
    """Return what the column of stragglers rests on."""
    if not plan.jitter:
        return ""
    text = f"Stragglers: passes are taken to vary by {plan.jitter:.0%} (one deviation)."
    if any(source.startswith("jitter: calibrated") for source in plan.sources):
        text += " Found from a loss: it stands for any loss that grows like theirs."
    return text


def _published(rows: Sequence[PublishedRow]) -> Table:
    """Return published figures beside a model's, with how many numbers it took from such rows."""
    free = sorted({row.free_numbers for row in rows})
    return Table(
        f"Published and modelled, {' or '.join(map(str, free))} free numbers",
        ("Network", "Workers", "Batch", "", "Published", "Modelled", "Error", "Linear", "How"),
        tuple(
            (
                row.topology,
                f"{row.workers:,}",
                f"{row.batch:,}{'*' if row.batch_assumed else ''}",
                _QUANTITIES[row.quantity],
                _figure(row.published),
                _figure(row.modelled),
                "" if row.how == "calibrated" else f"{row.error:+.1%}",
                f"{row.linear_error:+z.1%}",
                row.how,
            )
            for row in rows
        ),
        tuple(row.how != "calibrated" for row in rows),
        "* assumed: the source gives no batch. A calibrated row is no prediction; an identity "
        "follows from another row by arithmetic alone. Linear: the error if ranks only added up "
        "from the first calibrated row on.",
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
