"""How runs were trained: a line a run, and their schedules as a table."""

from collections.abc import Sequence
from typing import Final

from thorax.report.table import Table
from thorax.report.text import interval_text, rate_text
from thorax.results.training import LoggedEpoch, TrainingRecord

_SHOWN_VALUE: Final = 40

_SCHEDULE: Final = {
    "kind": "Decay",
    "batch": "Global batch",
    "epochs": "Epochs",
    "steps_per_epoch": "Updates an epoch",
    "steps": "Updates",
    "warmup_steps": "Updates of warm-up",
    "start": "Learning rate at the start",
    "peak": "Highest learning rate",
    "end": "Learning rate at the end",
}


_ALWAYS: Final = ("optimizer.kind", "optimizer.weight_decay")
"""Settings of a recipe that are shown though all runs have the same."""


def run_line(record: TrainingRecord) -> str:
    """Return in a line what was trained, how far, how fast and how well."""
    parts = [text for text in (record.run, record.topology) if text]
    if record.steps is not None:
        steps = f"{record.steps:,} steps"
        if not record.finished:
            steps = f"not finished, {_steps_done(record):,} of {steps}"
        parts.append(steps)
    if record.starts > 1:
        times = record.starts - 1
        parts.append(f"resumed {'once' if times == 1 else f'{times} times'}")
    if record.ranks:
        parts.append("1 rank" if record.ranks == 1 else f"{record.ranks:,} ranks")
    if record.precision:
        where = f" on {record.device.upper()}" if record.device else ""
        parts.append(record.precision.upper() + where)
    if record.images_per_s:
        parts.append(f"{rate_text(record.images_per_s)} images/s")
    if record.data_wait is not None:
        parts.append(f"data wait {record.data_wait:.1%}")
    if record.mean_auroc is not None:
        parts.append(f"mean AUROC {interval_text(record.mean_auroc)}")
    elif record.history:
        last = record.history[-1]
        reached = interval_text(last.val_mean_auroc)
        parts.append(f"mean AUROC {reached} after epoch {last.epoch}")
    return ", ".join(parts)


def _steps_done(record: TrainingRecord) -> int:
    """Return how far a run has come by its log."""
    logged = [point.step for point in record.curve]
    logged += [epoch.step for epoch in record.history if isinstance(epoch, LoggedEpoch)]
    return max(map(round, logged), default=0)


def schedule_table(records: Sequence[TrainingRecord]) -> Table | None:
    """Return the resolved schedules, a column a run, and below them how else the runs differ.

    None when no run has one.
    """
    scheduled = [(record, record.schedule) for record in records if record.schedule]
    if not scheduled:
        return None
    names = [record.run or record.topology or "run" for record, _ in scheduled]
    rows = [
        (label, *(_figure(getattr(schedule, key)) for _, schedule in scheduled))
        for key, label in _SCHEDULE.items()
        if any(getattr(schedule, key) is not None for _, schedule in scheduled)
    ]
    settings = _settings([record for record, _ in scheduled])
    return Table("Resolved schedule", ("", *names), (*rows, *settings))


def _settings(records: Sequence[TrainingRecord]) -> list[tuple[str, ...]]:
    """Return the optimizer and every setting that is not the same in all runs, a row each."""
    rows = []
    for key in dict.fromkeys(key for record in records for key in record.recipe):
        values = [record.recipe.get(key, "") for record in records]
        if key in _ALWAYS or len(set(values)) > 1:
            rows.append((key, *(value[:_SHOWN_VALUE] for value in values)))
    return rows


def _figure(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value or "")
