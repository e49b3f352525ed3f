"""Pictures of plans, as SVG that is legible in light and in dark; "modelled" stands on each."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from thorax.files.atomic import write_text
from thorax.report.figure import COLOURS, INK, WIDTH, svg
from thorax.report.partition_drawing import require_svg
from thorax.report.plan_server import within_text
from thorax.report.series import Document
from thorax.report.text import rate_text

_INKS: Final = (
    "<style>svg{color:#3d3d3d;background:#fff}"
    "@media(prefers-color-scheme:dark){svg{color:#d0d0d0;background:#16181c;"
    "--s0:#56a8e8;--s1:#e29ac4;--s2:#f08a3c;--s3:#2fc08f;--s4:#f0b93a;--s5:#8ecdf5}}</style>"
)
"""Of a picture that stands alone; within the report, the page's own inks hold."""

_NAMES: Final = {
    "additive": "additive: CPU computes too",
    "offload": "off-load: CPU only feeds cards",
}
_COLOUR: Final = {"additive": COLOURS[0], "offload": COLOURS[2]}
_MARK: Final = {"additive": "o", "offload": "s"}
_PALE: Final = 0.35
_QUANTILES: Final = (("p99", COLOURS[2]), ("p90", COLOURS[1]), ("p50", COLOURS[0]))


def write_picture(drawn: str, path: Path) -> None:
    """Write a drawn `<svg>` as a file of its own, whose colours follow the reader's.

    Raises:
        UsageError: `plot-format` for a name that does not end in `.svg`.
    """
    require_svg(path)
    alone = re.sub(r"(<svg [^>]*>)", rf"\1{_INKS}", drawn, count=1)
    write_text(path, f'<?xml version="1.0" encoding="utf-8"?>\n{alone}\n')


def server_plot(document: Document, *, number: int = 0) -> str:
    """Return throughput, watts and both efficiencies against the number of cards."""

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.5), layout="constrained")
        panels: Sequence[Axes] = figure.subplots(1, 3)
        _throughput(panels[0], document)
        _watts(panels[1], document)
        _efficiency(panels[2], document)
        _finish(figure, document, (*_reading_keys(document), *_part_keys(), *_metric_keys()))
        return figure

    return svg(f"plan-server{number}", _spoken(document), draw)


def throughput_plot(document: Document, *, number: int = 0) -> str:
    """Return throughput and watts of a server, side by side, against the number of cards."""

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.7), layout="constrained")
        panels: Sequence[Axes] = figure.subplots(1, 2)
        _throughput(panels[0], document)
        _watts(panels[1], document)
        _finish(figure, document, (*_reading_keys(document), *_part_keys()))
        return figure

    return svg(f"plan-throughput{number}", _spoken(document), draw)


def efficiency_plot(document: Document, *, number: int = 0) -> str:
    """Return images/s/W of the whole server and of what the cards add, side by side."""

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.5), layout="constrained")
        panels: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
        _bars(panels[0], document, "images_per_s_per_w", None, ".2f")
        panels[0].set_ylabel("Images/s/W of the whole server")
        _bars(panels[1], document, "marginal_images_per_s_per_w", None, ".2f")
        panels[1].set_ylabel("Images/s/W, marginal: what cards add")
        panels[1].tick_params(labelleft=True)
        # Shared and begun at zero, the axis would end where the first panel does.
        panels[0].set_ylim(0, 1.12 * _most(document))
        _finish(figure, document, _reading_keys(document))
        return figure

    return svg(f"plan-efficiency{number}", _spoken(document), draw)


def latency_plot(document: Document, *, number: int = 0) -> str:
    """Return latency against load of a document with a `curve`, a panel a reading."""
    curve: Sequence[Mapping[str, Any]] = document["curve"]
    readings = list(dict.fromkeys(str(row["reading"]) for row in curve))

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
        panels = figure.subplots(1, len(readings), squeeze=False, sharey=True)[0]
        for axes, reading in zip(panels, readings, strict=True):
            _latency(axes, document, [row for row in curve if row["reading"] == reading])
        panels[0].set_ylabel("Latency, ms, logarithmic")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
        figure.suptitle(_title(document), fontsize=10)
        return figure

    told = "; ".join(
        f"{row['reading']} {row['images_per_s']:.0f} images/s p99 {row['latency_ms']['p99']:.1f} ms"
        for row in curve
        if row["latency_ms"]
    )
    return svg(f"plan-latency{number}", f"Modelled latency against load: {told}.", draw)


def _latency(axes: Axes, document: Document, curve: Sequence[Mapping[str, Any]]) -> None:
    known = [row for row in curve if row["latency_ms"] is not None]
    reading, cards = str(curve[0]["reading"]), curve[0]["cards"]
    for key, colour in _QUANTILES:
        spread = [row["latency_ms_range"][key] for row in known]
        axes.fill_between(
            [row["images_per_s"] for row in known],
            [low for low, _ in spread],
            [high for _, high in spread],
            color=colour,
            alpha=_PALE,
            lw=0,
        )
        axes.plot(
            [row["images_per_s"] for row in known],
            [row["latency_ms"][key] for row in known],
            "o-",
            color=colour,
            lw=1.5,
            ms=3.5,
            label=key,
        )
    own = next(
        row for row in document["rows"] if (row["reading"], row["cards"]) == (reading, cards)
    )
    most = own["capacity_images_per_s"]
    axes.axvline(most, color=INK, lw=1.0, ls="--")
    axes.annotate(
        f"can do {rate_text(most)}",
        (most, 0),
        xycoords=("data", "axes fraction"),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        va="bottom",
    )
    limit, within = document["latency_limit_ms"], own["images_per_s_within_limit"]
    if limit is not None:
        axes.axhline(limit, color=INK, lw=0.8, ls=":")
        if within is not None:
            ends = own["images_per_s_within_limit_range"]
            axes.plot(ends, [limit] * 2, "-", color=INK, lw=3)
            axes.plot([within], [limit], "D", color=INK, ms=6)
            axes.annotate(
                f"{within_text(own)} with p99 within {limit:g} ms",
                (within, limit),
                xytext=(-6, 6),
                textcoords="offset points",
                ha="right",
            )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_formatter(
        FuncFormatter(lambda v, _: f"{v:,g}" if f"{v:e}"[0] in "25" else "")
    )
    axes.set(xlabel="Images that arrive a second", xlim=(0, most * 1.03))
    axes.set_title(f"{_NAMES[reading]}, {cards} card{'' if cards == 1 else 's'}")
    axes.grid(which="both")
    axes.tick_params(which="both", labelleft=True)


def _throughput(axes: Axes, document: Document) -> None:
    share = _share(document)
    _bars(axes, document, "images_per_s", share, ",.0f")
    axes.set_ylabel("Images per second")


def _share(document: Document) -> str | None:
    """Return which key says the CPU's part of a bar; at a given load none does."""
    return "cpu_images_per_s" if document["offered_images_per_s"] is None else None


def _watts(axes: Axes, document: Document) -> None:
    _bars(axes, document, "power_w", "host_w", ",.0f")
    axes.set_ylabel("Watts of the whole server")


def _bars(axes: Axes, document: Document, key: str, below: str | None, form: str) -> None:
    """Draw a bar a number of cards and a reading; its lower part, of the CPU, paler."""
    readings = _readings(document)
    width = 0.84 / len(readings)
    counts = sorted({row["cards"] for row in document["rows"]})
    panels = len(axes.figure.axes)
    size = 8.5 - 1.0 * (panels > 2) - 1.0 * (len(counts) * len(readings) > 6)
    for place, reading in enumerate(readings):
        shift = (place - (len(readings) - 1) / 2) * width
        for row in document["rows"]:
            if row["reading"] != reading or row[key] is None:
                continue
            x = counts.index(row["cards"]) + shift
            base = _base(row, below)
            colour = _COLOUR[reading]
            axes.bar(x, base, width * 0.92, color=colour, alpha=_PALE)
            axes.bar(x, row[key] - base, width * 0.92, bottom=base, color=colour)
            axes.annotate(
                f"{row[key]:{form}}",
                (x, row[key]),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=size,
            )
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_xlabel("Cards")
    axes.set_xlim(-0.6, len(counts) - 0.4)
    axes.margins(y=0.1)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)


def _base(row: Mapping[str, Any], below: str | None) -> float:
    if below is None:
        return 0.0
    if below == "host_w":
        return float(row["power_w"] - row["cards_power_w"])
    return float(row[below])


def _efficiency(axes: Axes, document: Document) -> None:
    for reading in _readings(document):
        rows = [row for row in document["rows"] if row["reading"] == reading]
        for key, line, fill in (
            ("images_per_s_per_w", "-", _COLOUR[reading]),
            ("marginal_images_per_s_per_w", ":", "none"),
        ):
            known = [row for row in rows if row[key] is not None]
            axes.plot(
                [row["cards"] for row in known],
                [row[key] for row in known],
                _MARK[reading] + line,
                color=_COLOUR[reading],
                markerfacecolor=fill,
                lw=1.5,
                ms=5 if reading == "additive" else 8,
            )
    axes.set(xlabel="Cards", ylabel="Images per second per watt")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid()


def _most(document: Document) -> float:
    """Return the highest images/s/W of either kind, 1 without any."""
    keys = ("images_per_s_per_w", "marginal_images_per_s_per_w")
    return max((row[key] for row in document["rows"] for key in keys if row[key]), default=1.0)


def _readings(document: Document) -> list[str]:
    return list(dict.fromkeys(str(row["reading"]) for row in document["rows"]))


def _reading_keys(document: Document) -> list[Patch | Line2D]:
    return [Patch(color=_COLOUR[name], label=_NAMES[name]) for name in _readings(document)]


def _part_keys() -> list[Patch | Line2D]:
    return [Patch(color=INK, alpha=_PALE, label="pale: CPU and host, full: cards")]


def _metric_keys() -> list[Patch | Line2D]:
    return [
        Line2D([], [], color=INK, marker="o", label="whole server"),
        Line2D([], [], color=INK, marker="o", ls=":", markerfacecolor="none",
               label="marginal: what cards add"),
    ]  # fmt: skip


def _finish(figure: Figure, document: Document, keys: Sequence[Patch | Line2D]) -> None:
    figure.suptitle(_title(document), fontsize=10)
    figure.legend(handles=list(keys), loc="outside lower center", ncols=min(3, len(keys)))


def _title(document: Document) -> str:
    return f"{document['full_name']}, {document['network']}: modelled, not measured"


def _spoken(document: Document) -> str:
    told = "; ".join(
        f"{row['cards']} cards {row['reading']} {row['images_per_s']:.0f} images/s"
        + (f" {row['power_w']:.0f} W" if row["power_w"] is not None else "")
        for row in document["rows"]
    )
    return f"Modelled, {document['full_name']}: {told}."
