"""How runs went over epochs: loss, AUROC, learning rate and speed."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from thorax.report.figure import COLOURS, WIDTH, svg
from thorax.report.parts import Section
from thorax.report.training import run_line, schedule_table
from thorax.results.training import CurvePoint, EpochRecord, TrainingRecord

_PANELS = (
    ("loss", "Training loss"),
    ("val_mean_auroc", "Validation mean AUROC"),
    ("learning_rate", "Learning rate"),
    ("images_per_s", "Images per second"),
)


def training_plot(
    history: Sequence[EpochRecord], curve: Sequence[CurvePoint] = (), *, number: int = 0
) -> str:
    """Return loss, validation AUROC, learning rate and speed over epochs, those that there are.

    A dot is an epoch of `history`, a line runs through the stretches of `curve` or, without any,
    through the dots. `number` tells several on one page apart.
    """
    panels = [
        (key, label, along, dots)
        for key, label in _PANELS
        if [*(along := _points(curve, key)), *(dots := _points(history, key))]
    ]
    across = min(2, len(panels) or 1)
    down = math.ceil(len(panels) / across)

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH / 2 * across, 2.7 * down), layout="constrained")
        for index, (key, label, along, dots) in enumerate(panels):
            axes = figure.add_subplot(down, across, index + 1)
            colour = COLOURS[(0, 2, 3, 1)[index]]
            if along:
                x, y = zip(*along, strict=True)
                axes.plot(x, y, color=colour, lw=1.2, alpha=0.6)
            # The rate of an epoch is that of its last update, which the line has already.
            if dots and not (along and key == "learning_rate"):
                x, y = zip(*dots, strict=True)
                axes.plot(x, y, "o" if along else "o-", color=colour, lw=1.5, ms=3.5)
            axes.set(xlabel="Epoch", ylabel=label)
            if key in {"learning_rate", "images_per_s"}:
                axes.set_ylim(0, 1.08 * max(value for _, value in [*along, *dots]) or None)
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid()
        return figure

    names = ", ".join(label for _, label, _, _ in panels)
    return svg(f"training{number}", f"Over epochs: {names}.", draw)


def _points(
    entries: Sequence[EpochRecord] | Sequence[CurvePoint], key: str
) -> list[tuple[float, float]]:
    """Return a figure over epochs, where there is one."""
    figures = [(entry.epoch, getattr(entry, key, None)) for entry in entries]
    return [(epoch, value) for epoch, value in figures if value is not None]


def section(records: Sequence[TrainingRecord]) -> Section | None:
    """Return how runs went, of `train`."""
    if not records:
        return None
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
