"""Tables of what `thorax plan cluster` computes: everything in them is modelled."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from thorax.report.modelled import MODELLED
from thorax.report.table import Table, table_of
from thorax.report.text import duration_text, kinds_text, number_text, rate_text, sentence
from thorax.results.plan import (
    ClusterPlan,
    ClusterRow,
    Quantity,
    RunTimes,
    ScalingStop,
    is_fitted,
)

_TIMES: Final[Mapping[str, Callable[[RunTimes], float]]] = {
    "Compute": lambda run: run.compute,
    "Exchange": lambda run: run.communication,
    "Stragglers": lambda run: run.straggler,
    "Input": lambda run: run.input,
    "Evaluation": lambda run: run.evaluation,
    "Start-up": lambda run: run.start_up,
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
    if plan.compared:
        tables.append(_published(plan))
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
    if plan.compared_left_out:
        notes.append(sentence(plan.compared_left_out))
    if not plan.compared:
        # Beside published rows they stand with the rows.
        notes.append(_choices_text(plan))
    notes += [_nodes_text(plan), kinds_text(plan.sources)]
    return table_of(
        f"{plan.topology} on {plan.title}: {MODELLED}",
        plan.rows,
        {
            "Workers": lambda row: f"{row.workers:,}",
            "Nodes": lambda row: f"{row.nodes:,}",
            "Batch": lambda row: f"{row.global_batch:,.0f}",
            "": lambda row: "shared" if row.scaling == "batch shared" else "",
            "Images/s": lambda row: rate_text(row.images_per_s),
            "Efficiency": lambda row: f"{row.efficiency:.1%}",
            "Epochs": lambda row: f"{row.epochs:.3g}",
            "Time": lambda row: duration_text(row.time_to_train_s),
            "kWh": lambda row: number_text(row.energy_kwh, ",.3g"),
            "Cost": lambda row: number_text(row.cost, ",.2f"),
        },
        note=" ".join(filter(None, notes)),
        modelled=True,
    )


def _nodes_text(plan: ClusterPlan) -> str:
    """Return in a sentence how many workers share a node, and where that is known from."""
    each = plan.inputs.get("ranks_per_node")
    named = (text for text in reversed(plan.sources) if text.startswith("ranks_per_node: "))
    source = next(named, "")
    kind = source.removeprefix("ranks_per_node: ")
    return f"Workers a node: {each}{f' ({kind})' if kind else ''}."


def _times(plan: ClusterPlan) -> Table:
    return table_of(
        "Where the time goes, share of it (modelled)",
        plan.rows,
        {
            "Workers": lambda row: f"{row.workers:,}",
            "Batch": lambda row: f"{row.global_batch:,.0f}",
            **{name: partial(_share_text, part_s) for name, part_s in _TIMES.items()},
        },
        note=_jitter_text(plan),
        modelled=True,
    )


def _share_text(part_s: Callable[[RunTimes], float], row: ClusterRow) -> str:
    share = part_s(row.time_s) / row.time_to_train_s
    return f"{share:.1%}" if share else ""


def _jitter_text(plan: ClusterPlan) -> str:
    if not plan.jitter:
        return ""
    text = f"Stragglers: passes are taken to vary by {plan.jitter:.0%} (one deviation)."
    if is_fitted(plan.sources, "jitter"):
        text += " Found from a loss: it stands for any loss that grows like theirs."
    return text


def _published(plan: ClusterPlan) -> Table:
    rows = plan.compared
    free = sorted({row.free_numbers for row in rows})
    numbers = f"{' or '.join(map(str, free))} fitted number{'s' * (free != [1])}"
    count = len(plan.choices)
    chosen = f", {count} choice{'s' * (count != 1)}" if count else ""
    listed = f" {_choices_text(plan)}" if plan.choices else ""
    # A file that Thorax wrote holds no figures.
    published = "published rows, as the file says" if _of_file(plan) else "published rows"
    return table_of(
        f"Held against {published}: {numbers}{chosen}, all rows known beforehand",
        rows,
        {
            "Network": lambda row: row.topology,
            "Workers": lambda row: f"{row.workers:,}",
            "Batch": lambda row: f"{row.batch:,}{'*' if row.batch_assumed else ''}",
            "": lambda row: _QUANTITIES[row.quantity],
            "Published": lambda row: _figure(row.published),
            "Modelled": lambda row: _figure(row.modelled),
            "Error": lambda row: "" if row.how == "calibrated" else f"{row.error:+.1%}",
            "Linear": lambda row: f"{row.linear_error:+z.1%}",
            "How": lambda row: row.how,
        },
        note="* assumed: the source gives no batch. Calibrated: fitted to it; chosen: the form of "
        "the model was chosen with it known; known: written with it known; identity: follows from "
        f"another row by arithmetic alone.{listed} Linear: the error if ranks only added up from "
        "the first calibrated row on. Errors where a choice had not seen the system: "
        "docs/planning.md.",
        simulated=lambda row: row.how != "calibrated",
    )


def _choices_text(plan: ClusterPlan) -> str:
    """Return in a sentence what was decided about the model with published rows known."""
    if not plan.choices:
        return ""
    known = "known, as the file says" if _of_file(plan) else "known"
    return f"Chosen with all rows {known}: {'; '.join(plan.choices)}."


def _of_file(plan: ClusterPlan) -> bool:
    return any(source.startswith("file: ") for source in plan.sources)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
