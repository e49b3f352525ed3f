"""How runs were trained: a line a run, their schedules as a table, their course as plots."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thorax.report.figure import WIDTH, svg
from thorax.report.parts import Section
from thorax.report.series import COLOURS
from thorax.report.table import Table
from thorax.report.text import interval_text, rate_text
from thorax.results.training import CurvePoint, EpochRecord, LoggedEpoch, Schedule, TrainingRecord

_SCHEDULE: Final[Mapping[str, Callable[[Schedule], object]]] = {
    "Decay": lambda schedule: schedule.kind,
    "Global batch": lambda schedule: schedule.batch,
    "Epochs": lambda schedule: schedule.epochs,
    "Updates an epoch": lambda schedule: schedule.steps_per_epoch,
    "Updates": lambda schedule: schedule.steps,
    "Updates of warm-up": lambda schedule: schedule.warmup_steps,
    "Learning rate at the start": lambda schedule: schedule.start,
    "Highest learning rate": lambda schedule: schedule.peak,
    "Learning rate at the end": lambda schedule: schedule.end,
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
        parts.append(f"mean AUROC {interval_text(record.mean_auroc)}, validation split")
    elif record.history:
        last = record.history[-1]
        reached = interval_text(last.val_mean_auroc)
        parts.append(f"mean AUROC {reached}, validation split, after epoch {last.epoch}")
    return ", ".join(parts)


def _steps_done(record: TrainingRecord) -> int:
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
        (label, *(_figure(fact(schedule)) for _, schedule in scheduled))
        for label, fact in _SCHEDULE.items()
        if any(fact(schedule) is not None for _, schedule in scheduled)
    ]
    settings = _settings([record for record, _ in scheduled])
    return Table("Resolved schedule", ("", *names), (*rows, *settings))


def _settings(records: Sequence[TrainingRecord]) -> list[tuple[str, ...]]:
    """Return the optimizer and every setting that is not the same in all runs, a row each."""
    rows = []
    for key in dict.fromkeys(key for record in records for key in record.recipe):
        values = [record.recipe.get(key, "") for record in records]
        if key in _ALWAYS or len(set(values)) > 1:
            rows.append((key, *(value[:40] for value in values)))
    return rows


def _figure(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value or "")


_Figure: TypeAlias = Callable[[EpochRecord | CurvePoint], float | None]

_RATE: Final = "Learning rate"
_SPEED: Final = "Images per second"
_PANELS: Final[Mapping[str, _Figure]] = {
    "Training loss": lambda at: at.loss,
    "Validation mean AUROC": lambda at: at.val_mean_auroc if isinstance(at, EpochRecord) else None,
    _RATE: lambda at: at.learning_rate,
    _SPEED: lambda at: at.images_per_s,
}


def training_plot(
    history: Sequence[EpochRecord], curve: Sequence[CurvePoint] = (), *, number: int = 0
) -> str:
    """Return loss, validation AUROC, learning rate and speed over epochs, those that there are.

    A dot is an epoch of `history`, a line runs through the stretches of `curve` or, without any,
    through the dots. `number` tells several on one page apart.
    """
    panels = [
        (label, along, dots)
        for label, figure in _PANELS.items()
        if [*(along := _points(curve, figure)), *(dots := _points(history, figure))]
    ]
    across = min(2, len(panels) or 1)
    down = math.ceil(len(panels) / across)

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH / 2 * across, 2.7 * down), layout="constrained")
        for index, (label, along, dots) in enumerate(panels):
            axes = figure.add_subplot(down, across, index + 1)
            colour = COLOURS[(0, 2, 3, 1)[index]]
            if along:
                x, y = zip(*along, strict=True)
                axes.plot(x, y, color=colour, lw=1.2, alpha=0.6)
            # The rate of an epoch is that of its last update, which the line has already.
            if dots and not (along and label == _RATE):
                x, y = zip(*dots, strict=True)
                axes.plot(x, y, "o" if along else "o-", color=colour, lw=1.5, ms=3.5)
            axes.set(xlabel="Epoch", ylabel=label)
            if label in (_RATE, _SPEED):
                axes.set_ylim(0, 1.08 * max(value for _, value in [*along, *dots]) or None)
                axes.yaxis.set_major_formatter("{x:,g}")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid()
        return figure

    names = ", ".join(label for label, _, _ in panels)
    return svg(f"training{number}", f"Over epochs: {names}.", draw)


def _points(
    entries: Sequence[EpochRecord] | Sequence[CurvePoint], figure: _Figure
) -> list[tuple[float, float]]:
    figures = [(entry.epoch, figure(entry)) for entry in entries]
    return [(epoch, value) for epoch, value in figures if value is not None]


def section(records: Sequence[TrainingRecord]) -> Section:
    """Return how runs went, of `train`."""
    lines = [run_line(record) for record in records]
    for record in records:
        lines += record.schedule.warnings if record.schedule else ()
    plots = tuple(
        training_plot(record.history, record.curve, number=index)
        for index, record in enumerate(records)
        if record.history or record.curve
    )
    table = schedule_table(records)
    return Section(
        "training",
        "Training",
        tuple(line for line in lines if line),
        plots,
        (table,) if table else (),
    )
