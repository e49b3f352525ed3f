"""Which findings a phantom has, how plain each is, where it lies, and what it does to the chest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from thorax.labels import NIH14
from thorax.phantoms.canvas import stream
from thorax.phantoms.chest import SIDES, SIGN, Chest

NORMAL_SHARE: Final = 0.28
"""Share of phantoms drawn healthy outright; chance adds about 0.06 to it."""

PREVALENCE: Final = {
    "Atelectasis": 0.13,
    "Cardiomegaly": 0.13,
    "Effusion": 0.14,
    "Infiltration": 0.14,
    "Mass": 0.11,
    "Nodule": 0.14,
    "Pneumonia": 0.12,
    "Pneumothorax": 0.12,
    "Consolidation": 0.12,
    "Edema": 0.12,
    "Emphysema": 0.13,
    "Fibrosis": 0.13,
    "Pleural_Thickening": 0.12,
    "Hernia": 0.11,
}
"""Share of all phantoms that has each finding, before contradictions are settled."""

_CONTRADICTS: Final = {"Emphysema": ("Cardiomegaly", "Edema", "Fibrosis")}
"""A hyperinflated chest cannot show these; one of the two goes, by a fair coin."""

UPPER, MIDDLE, LOWER, WALL = range(4)

SUBTLETY: Final = (0.0, 0.5)
"""Range of a collection's subtleties, which are drawn evenly from it."""

_LABELS, _PLACES, _STROKES = 16, 32, 64
_COLUMN: Final = {name: column for column, name in enumerate(NIH14.findings)}


@dataclass(frozen=True, slots=True)
class Site:
    """A part of one lung: side 0 = patient's right, 1 = left; zone UPPER, MIDDLE, LOWER or WALL."""

    side: int
    zone: int


@dataclass(frozen=True, slots=True)
class Lesion:
    """One finding to be drawn.

    Attributes:
        finding: its NIH14 name.
        subtlety: 0 = plain, 1 = faintest.
        sites: where it lies; empty where its place is fixed.
    """

    finding: str
    subtlety: float
    sites: tuple[Site, ...]

    @property
    def contrast(self) -> float:
        """How strong its signs are, 1 = plain."""
        return 1 - 0.85 * self.subtlety


def sign_stream(seed: int, index: int, finding: str) -> np.random.Generator:
    """Return the stream that draws one finding's sign: alike whatever else is drawn."""
    return stream(seed, index, _STROKES + _COLUMN[finding])


def choose(seed: int, index: int) -> tuple[str, ...]:
    """Draw the findings of one phantom, in NIH14 order."""
    rng = stream(seed, index, _LABELS)
    normal = rng.random() < NORMAL_SHARE
    dice = rng.random(len(NIH14))
    coins = rng.random(len(NIH14))
    if normal:
        return ()
    chosen = {
        name
        for name, die in zip(NIH14.findings, dice, strict=True)
        if die < PREVALENCE[name] / (1 - NORMAL_SHARE)
    }
    for name, others in _CONTRADICTS.items():
        for other in others:
            if name in chosen and other in chosen:
                chosen.discard(name if coins[_COLUMN[other]] < 0.5 else other)
    return tuple(name for name in NIH14.findings if name in chosen)


_ZONES: Final = {
    "Effusion": (LOWER,),
    "Consolidation": (UPPER, MIDDLE, LOWER),
    "Atelectasis": (LOWER, UPPER),
    "Fibrosis": (LOWER,),
    "Mass": (UPPER, MIDDLE, LOWER),
    "Pneumonia": (UPPER, MIDDLE, LOWER),
    "Pneumothorax": (WALL,),
    "Pleural_Thickening": (WALL,),
    "Nodule": (UPPER, MIDDLE, LOWER),
    "Infiltration": (UPPER, MIDDLE, LOWER),
}
"""Zones a finding may take, the greedier findings first: a zone goes to one while any is free."""


def _sites(finding: str, rng: np.random.Generator) -> tuple[int, bool]:
    """Return how many sites a finding takes and whether they lie in both lungs."""
    more = rng.random()
    if finding in ("Effusion", "Fibrosis"):
        both = more < {"Effusion": 0.25, "Fibrosis": 0.7}[finding]
        return (2, True) if both else (1, False)
    if finding == "Infiltration":
        return 3 + int(more < 0.4), True
    if finding in ("Mass", "Nodule"):
        return 1 + int(more < 0.25) + int(finding == "Nodule" and more < 0.08), False
    return 1, False


def plan(
    seed: int, index: int, findings: Iterable[str], subtlety: tuple[float, float] = SUBTLETY
) -> tuple[Lesion, ...]:
    """Return the lesions of these findings, in NIH14 order, of subtleties within a range."""
    wanted = set(findings)
    taken: set[Site] = set()
    sites: dict[str, tuple[Site, ...]] = {}
    low, high = subtlety
    subtleties = {}
    for finding in (*_ZONES, *(name for name in NIH14.findings if name not in _ZONES)):
        if finding not in wanted:
            continue
        rng = stream(seed, index, _PLACES + _COLUMN[finding])
        subtleties[finding] = float(low + (high - low) * rng.random())
        if finding not in _ZONES:
            sites[finding] = ()
            continue
        count, both = _sites(finding, rng)
        options = [Site(side, zone) for side in SIDES for zone in _ZONES[finding]]
        order = [options[i] for i in rng.permutation(len(options))]
        order.sort(key=lambda site: site in taken)
        if both:
            other = next(site for site in order if site.side != order[0].side)
            order = [order[0], other, *(s for s in order[1:] if s is not other)]
        sites[finding] = tuple(order[:count])
        taken.update(sites[finding])
    return tuple(
        Lesion(name, subtleties[name], sites[name]) for name in NIH14.findings if name in wanted
    )


def _emphysematous(chest: Chest, c: float) -> Chest:
    """Return the chest inflated: flat domes, a narrow heart, more air, few vessels, level ribs."""
    dome, angle = list(chest.dome), list(chest.angle)
    for side in SIDES:
        fall = angle[side] - dome[side]
        dome[side] += 0.012 + 0.018 * c
        angle[side] = dome[side] + fall * (0.5 - 0.2 * c)
    return replace(
        chest,
        dome=(dome[0], dome[1]),
        angle=(angle[0], angle[1]),
        ratio=chest.ratio * (0.96 - 0.06 * c),
        vessels=chest.vessels * (0.7 - 0.3 * c),
        air=chest.air * (1.03 + 0.09 * c),
        rib_slope=chest.rib_slope * (0.8 - 0.3 * c),
    )


def _collapsed(chest: Chest, site: Site, c: float) -> Chest:
    """Return the chest after loss of volume: dome, midline, hilum and fissure move to its site."""
    side, upper = site.side, site.zone == UPPER
    pull = 0.015 + 0.025 * c
    dome, hilum = list(chest.dome), list(chest.hilum)
    dome[side] -= pull * (0.5 if upper else 1.0)
    hilum[side] += pull * (-0.8 if upper else 0.9)
    return replace(
        chest,
        dome=(dome[0], dome[1]),
        hilum=(hilum[0], hilum[1]),
        middle=chest.middle + SIGN[side] * (0.010 + 0.016 * c),
        fissure=chest.fissure + (0 if side else (-1.6 if upper else 0.8) * pull / 0.6),
    )


def reshape(chest: Chest, lesions: Sequence[Lesion]) -> Chest:
    """Return the chest as the lesions leave it: heart size, domes, inflation, midline."""
    for lesion in lesions:
        c = lesion.contrast
        if lesion.finding == "Cardiomegaly":
            chest = replace(chest, ratio=0.512 + 0.065 * c + 0.3 * (chest.ratio - 0.42))
        elif lesion.finding == "Emphysema":
            chest = _emphysematous(chest, c)
        elif lesion.finding == "Atelectasis":
            for site in lesion.sites:
                chest = _collapsed(chest, site, c)
        elif lesion.finding == "Edema":
            chest = replace(chest, vessels=chest.vessels * (1.0 + 0.2 * c))
        elif lesion.finding == "Fibrosis":
            lift = [0.012 * c * (side in {s.side for s in lesion.sites}) for side in SIDES]
            dome = (chest.dome[0] - lift[0], chest.dome[1] - lift[1])
            chest = replace(chest, dome=dome)
    return chest
