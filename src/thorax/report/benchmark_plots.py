"""How fast artifacts are: a bar a network."""

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from thorax.report.figure import dressed, svg, wide_figure
from thorax.report.modelled import modelled_part
from thorax.report.series import Document, Series, name_series
from thorax.report.text import rate_text


def speed_bars(documents: Sequence[Document]) -> list[Series]:
    """Return what devices at work measured, and after it what simulated cards would do.

    How long an emulation takes is no speed of anything: it is left to the table.
    """
    named = name_series(documents)
    measured = [one for one in named if one.document.get("images_per_s") and not one.simulated]
    modelled = [
        replace(one, simulated=True, document=one.document["modelled"])
        for one in named
        if modelled_part(one.document)
    ]
    return measured + modelled


def speed_plot(series: Sequence[Series]) -> str:
    """Return images per second, a bar a series; hatched bars are modelled."""
    rates = [float(one.document["images_per_s"]) for one in series]

    def draw() -> Figure:
        figure, axes = wide_figure(0.7 + 0.36 * len(series))
        for row, (one, colour, _) in enumerate(dressed(series)):
            axes.barh(
                row,
                rates[row],
                height=0.66,
                color="none" if one.simulated else colour,
                edgecolor=colour,
                hatch="////" if one.simulated else None,
            )
            tail = " (modelled)" if one.simulated else ""
            axes.annotate(
                rate_text(rates[row]) + tail,
                (rates[row], row),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set(xlabel="Images per second", xlim=(0, max(rates) * 1.18), ylim=(len(rates), -1))
        axes.set_yticks(range(len(series)), [one.name for one in series])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        return figure

    spoken = "; ".join(
        f"{one.name} {rate_text(rate)}{' modelled' if one.simulated else ''}"
        for one, rate in zip(series, rates, strict=True)
    )
    return svg("speed", f"Images per second: {spoken}.", draw)
