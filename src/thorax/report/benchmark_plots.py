"""How fast artifacts are: a bar a network."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure

from thorax.report.benchmark import comparison_table, speed_table, tuning_table
from thorax.report.figure import dressed, note, svg, wide_figure
from thorax.report.modelled import MODELLED, modelled_tables
from thorax.report.optimize import artifact_table, flip_table, tried_table
from thorax.report.parts import Section
from thorax.report.power import power_table
from thorax.report.series import Series, name_series
from thorax.report.text import rate_text
from thorax.results.benchmark import BenchmarkResult, TuningResult
from thorax.results.optimize import OptimizeResult


@dataclass(frozen=True, slots=True)
class SpeedBar:
    """A rate that a result tells, measured or modelled."""

    series: Series
    result: BenchmarkResult
    images_per_s: float

    @property
    def modelled(self) -> bool:
        """Whether it was computed and not measured."""
        return self.series.simulated


def speed_bars(results: Sequence[BenchmarkResult]) -> list[SpeedBar]:
    """Return what devices at work measured, and after it what simulated cards would do.

    How long an emulation takes is no speed of anything: it is left to the table.
    """
    named = list(zip(name_series(results), results, strict=True))
    measured = [
        SpeedBar(series, result, result.images_per_s)
        for series, result in named
        if result.images_per_s and not result.simulated
    ]
    modelled = [
        SpeedBar(Series(series.name, series.precision, True), result, result.modelled.images_per_s)
        for series, result in named
        if result.modelled
    ]
    return measured + modelled


def speed_plot(bars: Sequence[SpeedBar]) -> str:
    """Return images per second, a bar a rate; hatched bars are modelled."""
    rates = [bar.images_per_s for bar in bars]

    def draw() -> Figure:
        figure, axes = wide_figure(0.7 + 0.36 * len(bars))
        for row, (series, colour, _) in enumerate(dressed([bar.series for bar in bars])):
            axes.barh(
                row,
                rates[row],
                height=0.66,
                color="none" if series.simulated else colour,
                edgecolor=colour,
                hatch="////" if series.simulated else None,
            )
            tail = " (modelled)" if series.simulated else ""
            note(axes, rate_text(rates[row]) + tail, (rates[row], row), (4, 0), va="center")
        axes.set(xlabel="Images per second", xlim=(0, max(rates) * 1.18), ylim=(len(rates), -1))
        axes.set_yticks(range(len(bars)), [bar.series.name for bar in bars])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        return figure

    spoken = "; ".join(
        f"{bar.series.name} {rate_text(bar.images_per_s)}{' modelled' if bar.modelled else ''}"
        for bar in bars
    )
    return svg("speed", f"Images per second: {spoken}.", draw)


def section(
    results: Sequence[BenchmarkResult], optimized: Sequence[OptimizeResult]
) -> Section | None:
    """Return speed and size, of `benchmark` and `optimize`."""
    bars = speed_bars(results)
    if not results and not optimized:
        return None
    plots = (Markup(speed_plot(bars)),) if bars else ()
    tables = [
        speed_table(results) if results else None,
        power_table(results),
        *modelled_tables(results),
        *(comparison_table(result.baseline) for result in results if result.baseline),
        *(tuning_table(result) for result in results if isinstance(result, TuningResult)),
        artifact_table(optimized) if optimized else None,
        flip_table(optimized),
        tried_table(optimized),
    ]
    text: tuple[str, ...] = ()
    if any(result.simulated for result in results):
        text = (
            f"Hatched bars and tables are {MODELLED}: time and power of a simulated card are"
            " computed from its architecture, not read from a clock or a meter. Rows in italics,"
            " marked emulated, are the wall time of the computer that emulates its arithmetic.",
        )
    kept = tuple(table for table in tables if table is not None)
    return Section("speed", "Speed and size", text, plots, kept)
