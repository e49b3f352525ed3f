"""What a projection of a chest has to offer, and what findings may do to its drawing."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from thorax.phantoms.canvas import SOFT_SIDE, Canvas, Mask, Plane, Points
from thorax.phantoms.chest import Chest


class View(Protocol):
    """A chest as it is seen from one direction; outlines are float64 [n, 2], patient frame."""

    @property
    def chest(self) -> Chest:
        """The measures of the chest."""

    @property
    def overlap(self) -> int:
        """How many lungs lie over each other."""

    @property
    def heart_share(self) -> float:
        """How much of the air the heart takes where it lies, 0-1."""

    def lung(self, side: int) -> Points:
        """Return the outline of one lung, the heart not cut out."""

    def heart(self) -> Points:
        """Return the outline of heart and great vessels."""

    def body(self) -> Points:
        """Return the outline of the body."""

    def hilum_of(self, side: int) -> tuple[float, float]:
        """Return the centre of one hilum."""

    def soft_tissue(self, rng: np.random.Generator) -> Plane:
        """Return float32 [G, G]: the density of everything soft, lungs as if solid."""

    def bones(self, canvas: Canvas, lungs: Mask) -> Plane:
        """Return float32 [S, S]: the density of the bones, less of it below the lungs."""


@dataclass(slots=True)
class Signs:
    """What findings do to the drawing, beside changing the chest's measures.

    Attributes:
        fill: float32 [G, G], 0-1, patient frame: share of the air replaced, soft signs.
        solid: float32 [S, S], 0-1: the same, signs with an edge; None = nothing.
        bare: uint8 [S, S], 255 where no lung markings are and the air is freest; None = nowhere.
        added: float32 [S, S]: density added last, air-fluid levels and thin lines; None = nothing.
        edge: float32 [S, S]: density of the visceral pleura, seen beside air; None = not seen.
        hazy: share of the vessels' sharpness lost, 0-1.
        congestion: how far blood has moved to the upper lobes, 0-1.
    """

    fill: Plane = field(default_factory=lambda: np.zeros((SOFT_SIDE, SOFT_SIDE), np.float32))
    solid: Plane | None = None
    bare: Mask | None = None
    added: Plane | None = None
    edge: Plane | None = None
    hazy: float = 0.0
    congestion: float = 0.0
