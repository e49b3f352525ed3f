"""How fast artifacts are: a bar a network."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from thorax.report.figure import dressed, svg, wide_figure
from thorax.report.series import Series, name_series
from thorax.report.text import rate_text
from thorax.results.benchmark import BenchmarkResult


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
        SpeedBar(
            Series(series.name, series.precision, True, result),
            result,
            result.modelled.images_per_s,
        )
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
            axes.annotate(
                rate_text(rates[row]) + tail,
                (rates[row], row),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
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
