"""What a report page is made of: tiles, sections, and the samples in them."""

from dataclasses import dataclass
from typing import Final

from thorax.report.modelled import MODELLED
from thorax.report.table import Table

COMPUTED: Final = (
    f"Everything here is {MODELLED}: computed from constants whose sources a plan names."
)
"""Paragraph of a section of plans."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the summary; one that was computed and not measured is marked."""

    name: str
    value: str
    detail: str = ""
    modelled: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """One finding of a sample."""

    finding: str
    value: str
    percent: int
    positive: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """One classified image; `picture` is a data URI, or "" and `missing` says why."""

    image: str
    picture: str
    missing: str
    bars: tuple[Bar, ...]

    @property
    def spoken(self) -> str:
        """What the bars show, in words."""
        return ", ".join(f"{bar.finding} {bar.value}" for bar in self.bars)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what belongs under it.

    Attributes:
        anchor: its name in links.
        text: paragraphs.
        plots: `<svg>` elements, which are shown as they are.
        prose: whether the tables hold words and not figures.
        leads: whether the tables come before the plots and may be as wide as the page.
        download: data URI of the table as CSV, or "".
    """

    anchor: str
    title: str
    text: tuple[str, ...] = ()
    plots: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    samples: tuple[Sample, ...] = ()
    prose: bool = False
    leads: bool = False
    download: str = ""
