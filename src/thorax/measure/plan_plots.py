"""Pictures of plans, as SVG that is legible in light and in dark; "modelled" stands on each."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thorax.durable import write_text
from thorax.errors import UsageError
from thorax.measure.plots import COLOURS, WIDTH, svg
from thorax.measure.tables import Document

_INKS: Final = (
    "<style>svg{color:#3d3d3d;background:#fff}"
    "@media(prefers-color-scheme:dark){svg{color:#d0d0d0;background:#16181c;"
    "--s0:#56a8e8;--s1:#e29ac4;--s2:#f08a3c;--s3:#2fc08f;--s4:#f0b93a;--s5:#8ecdf5}}</style>"
)
"""Of a picture that stands alone; within the report, the page's own inks hold."""

_SHORT: Final = {"additive": "additive (CPU computes too)", "offload": "off-load (CPU feeds)"}
_MARKS: Final = {"additive": "o-", "offload": "s--"}
_INK: Final = {"additive": 0, "offload": 2}


def write_picture(drawn: str, path: Path) -> None:
    """Write a drawn `<svg>` as a file of its own, whose colours follow the reader's.

    Raises:
        UsageError: `plan-figure` for a name that does not end in `.svg`.
    """
    if path.suffix.lower() != ".svg":
        raise UsageError("plan-figure", f"--figure is {path.name}; give a name that ends in .svg")
    alone = re.sub(r"(<svg [^>]*>)", rf"\1{_INKS}", drawn, count=1)
    write_text(path, f'<?xml version="1.0" encoding="utf-8"?>\n{alone}\n')


def server_plot(document: Document, *, number: int = 0) -> str:
    """Return throughput, watts and both efficiencies against the number of cards."""

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        panels: Sequence[Axes] = figure.subplots(1, 4)
        wanted = (
            ("images_per_s", "Images per second"),
            ("power_w", "Watts of the server"),
            ("images_per_s_per_w", "Images/s/W, whole server"),
            ("marginal_images_per_s_per_w", "Images/s/W, marginal"),
        )
        for axes, (key, label) in zip(panels, wanted, strict=True):
            for reading in dict.fromkeys(str(row["reading"]) for row in document["rows"]):
                rows = [
                    row
                    for row in document["rows"]
                    if row["reading"] == reading and row[key] is not None
                ]
                axes.plot(
                    [row["cards"] for row in rows],
                    [row[key] for row in rows],
                    _MARKS[reading],
                    color=COLOURS[_INK[reading]],
                    lw=1.5,
                    ms=4.5,
                    label=_SHORT[reading],
                )
            axes.set(xlabel="Cards", ylabel=label)
            axes.set_ylim(bottom=0)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid()
        figure.suptitle(f"{document['full_name']}, {document['network']}: modelled", fontsize=10)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2)
        return figure

    spoken = "; ".join(
        f"{row['cards']} cards {row['reading']} {row['images_per_s']:.0f} images/s"
        for row in document["rows"]
    )
    return svg(f"plan-server{number}", f"Modelled, {document['full_name']}: {spoken}.", draw)
