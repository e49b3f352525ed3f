"""Which findings a phantom has, how plain each is, where it lies, and what it does to the chest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from thorax.labels import NIH14
from thorax.phantoms.canvas import stream
from thorax.phantoms.chest import SIDES, Chest

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
        severity: 0 = barely there, 1 = plain.
        sites: where it lies; empty where its place is fixed.
    """

    finding: str
    severity: float
    sites: tuple[Site, ...]


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
    "Atelectasis": (LOWER,),
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
    if finding in ("Effusion", "Fibrosis", "Atelectasis"):
        both = more < {"Effusion": 0.25, "Fibrosis": 0.7, "Atelectasis": 0.2}[finding]
        return (2, True) if both else (1, False)
    if finding == "Infiltration":
        return 3 + int(more < 0.4), True
    if finding in ("Mass", "Nodule"):
        return 1 + int(more < 0.25) + int(finding == "Nodule" and more < 0.08), False
    return 1, False


def plan(seed: int, index: int, findings: Iterable[str]) -> tuple[Lesion, ...]:
    """Return the lesions of these findings, in NIH14 order."""
    wanted = set(findings)
    taken: set[Site] = set()
    sites: dict[str, tuple[Site, ...]] = {}
    severities = {}
    for finding in (*_ZONES, *(name for name in NIH14.findings if name not in _ZONES)):
        if finding not in wanted:
            continue
        rng = stream(seed, index, _PLACES + _COLUMN[finding])
        severities[finding] = float(1 - 0.85 * rng.beta(1.0, 2.9))
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
        Lesion(name, severities[name], sites[name]) for name in NIH14.findings if name in wanted
    )


def reshape(chest: Chest, lesions: Sequence[Lesion]) -> Chest:
    """Return the chest as the lesions leave it: heart size, domes, inflation, midline."""
    dome, angle = list(chest.dome), list(chest.angle)
    for lesion in lesions:
        s = lesion.severity
        if lesion.finding == "Cardiomegaly":
            chest = replace(chest, ratio=0.535 + 0.125 * s + 0.3 * (chest.ratio - 0.43))
        elif lesion.finding == "Emphysema":
            for side in SIDES:
                fall = angle[side] - dome[side]
                dome[side] += 0.03 + 0.04 * s
                angle[side] = dome[side] + fall * (0.65 - 0.3 * s)
            chest = replace(
                chest,
                ratio=chest.ratio * (0.88 - 0.12 * s),
                air=chest.air * (1.08 + 0.14 * s),
                vessels=chest.vessels * (0.75 - 0.3 * s),
                rib_slope=chest.rib_slope * 0.6,
            )
        elif lesion.finding == "Atelectasis":
            for site in lesion.sites:
                dome[site.side] -= 0.025 + 0.045 * s
                shift = (0.006 + 0.012 * s) * (1 if site.side else -1)
                chest = replace(chest, middle=chest.middle + shift)
        elif lesion.finding == "Fibrosis":
            for site in lesion.sites:
                dome[site.side] -= 0.01 + 0.025 * s
    return replace(chest, dome=(dome[0], dome[1]), angle=(angle[0], angle[1]))
