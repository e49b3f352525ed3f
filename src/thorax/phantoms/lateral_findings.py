"""The fourteen NIH findings as a lateral view shows them, with the box of every lesion.

A nodule or a lobe has the height of its frontal site; its depth is drawn with it.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from thorax.phantoms.canvas import Places, Points, curve, ramp, spline
from thorax.phantoms.chest import SIDES
from thorax.phantoms.lateral import Lateral
from thorax.phantoms.lesions import (
    Sheet,
    add_ball,
    airless,
    bronchograms,
    bullae,
    bump,
    cuffs,
    fluff,
    focus,
    net,
    patch,
    plate,
    radius_of,
    sac,
    size_of,
)
from thorax.phantoms.sampling import LOWER, MIDDLE, UPPER, Lesion, Site

_LEVELS: Final = {UPPER: (0.14, 0.34), MIDDLE: (0.42, 0.62), LOWER: (0.64, 0.86)}
_DEPTHS: Final = {UPPER: (-0.22, 0.25), MIDDLE: (-0.36, -0.05), LOWER: (0.10, 0.38)}
"""Where a lesion's centre may lie: middle lobe and lingula in front, lower lobes behind."""


class LateralSheet(Sheet):
    """A sheet over a chest that is seen from the side."""

    view: Lateral
    share = 0.5

    def draw(self, lesion: Lesion, rng: np.random.Generator) -> None:
        """Draw the signs of a lesion, and note its boxes."""
        _SIGNS[lesion.finding](self, lesion, rng)

    def visible(self, side: int) -> Places:
        """Return bool [G, G]: where one lung is, the heart not cut out."""
        layer = self.soft.blank()
        self.soft.fill(layer, self.view.lung(side), 255)
        return np.asarray(layer > 127)


def _spot(
    sheet: LateralSheet, site: Site, radius: float, rng: np.random.Generator
) -> tuple[float, float]:
    view = sheet.view
    low, high = _LEVELS[site.zone]
    y = view.chest.height(site.side, rng.uniform(low, high))
    z = rng.uniform(*_DEPTHS[site.zone])
    y = min(y, float(view.floor(site.side, np.array(z))) - radius - 0.01)
    front, back = float(view.front(np.array(y))), float(view.back(np.array(y)))
    x = min(max(float(view.at(z)), front + radius + 0.008), back - radius - 0.008)
    return x, y


def _round(sheet: LateralSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A ball, whose height is that of the frontal view's zone."""
    for site in lesion.sites:
        cm = size_of(lesion, rng)
        add_ball(sheet, lesion, _spot(sheet, site, radius_of(sheet, cm), rng), cm, rng)


def _cardiomegaly(sheet: LateralSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A heart that reaches the spine below and fills the space behind the breastbone."""
    sheet.box(lesion.finding, sheet.view.heart())


def _effusion(sheet: LateralSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Fluid in the deep angle behind, whose upper edge climbs at the back."""
    view = sheet.view
    for site in lesion.sites:
        side = site.side
        depth = 0.09 + 0.12 * lesion.contrast * rng.uniform(0.3, 1.0)
        corner = float(view.floor(side, np.array(0.48)))
        high = corner - depth
        z = ramp(0.0, 0.5, 24)
        surface = high + (corner - high) * (1 - (z / 0.5) ** 2.4) * 0.8
        base = view.floor(side, z) + 0.004
        wet = surface < base
        top = curve(np.minimum(view.at(z[wet]), view.back(surface[wet]) + 0.004), surface[wet])
        y = ramp(0, 1, 8) * (corner - high) + high
        wall = curve(view.back(y) + 0.004, y)
        bottom = curve(view.at(z[wet]), base[wet])[::-1]
        outline = np.concatenate((top, wall, bottom))
        sheet.shapes([outline], 0.45 + 0.4 * lesion.contrast, 0.0045)
        sheet.box(lesion.finding, outline)


def _infiltration(sheet: LateralSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Hazy patches of several ill-defined spots."""
    for site in lesion.sites:
        patch(sheet, lesion, _spot(sheet, site, 0.05, rng), sheet.visible(site.side), rng)


def _pneumonia(sheet: LateralSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """One fluffy focus of filled airspaces."""
    for site in lesion.sites:
        focus(sheet, lesion, _spot(sheet, site, 0.055, rng), sheet.visible(site.side), rng)


def major_fissure(view: Lateral, side: int) -> Points:
    """Return float64 [n, 2]: the oblique fissure, from high behind to the dome in front."""
    top = view.chest.height(side, 0.22)
    end = float(view.floor(side, np.array(-0.28)))
    hilum = view.hilum_of(side)
    return spline(
        [
            (float(view.at(0.46)), top),
            (hilum[0] + 0.02, hilum[1] + 0.05),
            (float(view.at(-0.28)), end),
        ],
        16,
    )


def _lobe(view: Lateral, site: Site) -> Points:
    """Return the outline of an upper, middle or lower lobe, which the fissures cut."""
    oblique = major_fissure(view, site.side)
    y = view.chest.height(site.side, view.chest.fissure)
    minor = np.array(
        [(view.hilum_of(site.side)[0], y), (float(view.front(np.array(y))) - 0.02, y + 0.01)]
    )
    if site.zone == LOWER:
        return np.concatenate(
            (
                oblique,
                np.array(
                    [
                        (float(view.at(0.6)), oblique[-1, 1] + 0.2),
                        (float(view.at(0.6)), oblique[0, 1]),
                    ]
                ),
            )
        )
    front = float(view.at(-0.7))
    if site.zone == MIDDLE:
        below = oblique[oblique[:, 1] > y]
        return np.concatenate((minor, np.array([(front, y), (front, below[-1, 1])]), below[::-1]))
    above = oblique[oblique[:, 1] < y]
    high = view.chest.apex - 0.05
    return np.concatenate(
        (above, minor, np.array([(front, y), (front, high), (oblique[0, 0], high)]))
    )


def _consolidation(sheet: LateralSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Most of a lobe filled, sharp at the fissures alone, with air bronchograms in it."""
    view = sheet.view
    for site in lesion.sites:
        layer = sheet.soft.blank()
        sheet.soft.fill(layer, _lobe(view, site), 255)
        centre = _spot(sheet, site, 0.09, rng)
        field = sheet.soft.plane(layer, 0.002) * np.minimum(
            1, 1.5 * bump(sheet, centre, 0.15, 0.15)
        )
        field *= np.clip(fluff(rng, 0.18), 0.5, 1.25)
        tubes = bronchograms(sheet, view.hilum_of(site.side), centre, 0.08, rng)
        amount = np.float32(0.1 + 0.45 * lesion.contrast)
        airless(sheet, np.asarray(np.clip(field, 0, 1) * amount, np.float32), tubes)
        sheet.box_of(lesion.finding, (field > 0.4) & sheet.visible(site.side))


def _atelectasis(sheet: LateralSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Plates above the dome behind, or a lobe that has shrunk against the breastbone."""
    view = sheet.view
    for site in lesion.sites:
        outlines = []
        if site.zone == UPPER:
            y = ramp(view.chest.height(site.side, 0.08), view.chest.height(site.side, 0.46), 12)
            front = view.front(y)
            # A lens: nothing is left where the fissure meets the front wall.
            thick = 0.075 * np.sin(np.pi * ramp(0, 1, 12)) ** 0.7
            outlines.append(
                np.concatenate((curve(front - 0.004, y), curve(front + thick, y)[::-1]))
            )
        else:
            for turn in range(2):
                z = rng.uniform(0.02, 0.24)
                y_low = float(view.floor(site.side, np.array(z)))
                centre = (float(view.at(z)), y_low - rng.uniform(0.03, 0.05) - 0.045 * turn)
                outlines.append(plate(sheet, centre, rng))
        sheet.shapes(outlines, 0.15 + 0.45 * lesion.contrast, 0.002)
        for outline in outlines:
            sheet.box(lesion.finding, outline)


def _edema(sheet: LateralSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Haze about the hila, blurred vessels, thick fissures, Kerley B lines in front."""
    view, c = sheet.view, lesion.contrast
    x, y = view.hilum_of(0)
    wing = bump(sheet, (x + 0.02, y + 0.03), rng.uniform(0.09, 0.12), rng.uniform(0.11, 0.15))
    field = np.clip(wing * fluff(rng, 0.3), 0, 1) * np.float32(0.08 + 0.27 * c)
    field *= sheet.visible(0)
    sheet.cloud(np.asarray(field, np.float32))
    sheet.box_of(lesion.finding, field > 0.5 * field.max())
    sheet.lines(major_fissure(view, 0), 0.0035, 0.03 + 0.05 * c)
    count = int(rng.integers(6, 10))
    level = view.chest.height(0, rng.uniform(0.5, 0.6)) + 0.019 * np.arange(count)
    wall = view.front(level) + 0.004
    ends = np.stack((wall, wall + rng.uniform(0.02, 0.035, count)), axis=-1)
    sheet.lines(
        np.stack((ends, np.stack((level, level + 0.004), axis=-1)), axis=-1),
        0.0028,
        0.03 + 0.06 * c,
    )
    cuffs(sheet, np.array((x, y)) + rng.normal(0, 0.03, (3, 2)), c, rng)
    sheet.hazy = 0.3 + 0.6 * c
    sheet.congestion = 0.3 + 0.7 * c


def _emphysema(sheet: LateralSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A barrel with flat domes and a clear space behind the breastbone; bullae."""
    centres = [_spot(sheet, Site(side, UPPER), 0.036, rng) for side in SIDES]
    for side in SIDES:
        sheet.box_of(lesion.finding, sheet.visible(side))
    bullae(sheet, centres, lesion.contrast, rng)


def _fibrosis(sheet: LateralSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A fine net of lines in the bases, densest behind."""
    view = sheet.view
    level = np.float32(view.chest.height(0, rng.uniform(0.55, 0.66)))
    base = np.clip((sheet.y - level) / np.float32(0.12), 0, 1)
    behind = np.clip((sheet.x - np.float32(view.at(-0.1))) / np.float32(0.3 * view.depth), 0.2, 1)
    weight = base * behind * np.clip(fluff(rng, 0.35), 0.2, 1.5)
    layer = sheet.canvas.blank()
    for side in SIDES:
        sheet.canvas.fill(layer, view.lung(side), 255)
    net(sheet, lesion, weight, sheet.canvas.plane(layer, 0.003), rng)
    sheet.box_of(lesion.finding, (base * behind > 0.4) & sheet.visible(lesion.sites[0].side))


def _pleural_thickening(sheet: LateralSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A band with an uneven inner edge along the back wall."""
    view = sheet.view
    for site in lesion.sites:
        first = rng.uniform(0.15, 0.45)
        y = view.chest.height(site.side, first) + ramp(0, 1, 24) * rng.uniform(0.15, 0.26)
        ripple = spline(np.column_stack((np.arange(7), rng.uniform(0.6, 1.2, 7))), 24)[:, 1]
        fade = np.minimum(1, 5 * np.minimum(ramp(0, 1, 24), 1 - ramp(0, 1, 24))) ** 0.6
        depth = (0.014 + 0.018 * lesion.contrast) * ripple * fade
        wall = view.back(y)
        outline = np.concatenate((curve(wall + 0.004, y), curve(wall - depth, y)[::-1]))
        sheet.shapes([outline], 0.25 + 0.3 * lesion.contrast, 0.002)
        sheet.box(lesion.finding, outline)


def _pneumothorax(sheet: LateralSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """The line of the visceral pleura below the apex and behind the breastbone, where air rises."""
    view = sheet.view
    for site in lesion.sites:
        outline = view.lung(site.side)
        anchor = np.array((float(view.at(0.15)), view.chest.height(site.side, 0.9)))
        scale = 0.95 - 0.11 * lesion.contrast * rng.uniform(0.5, 1.0)
        inner = anchor + scale * (outline - anchor)
        seen = (inner[:, 0] < anchor[0]) & (inner[:, 1] < view.chest.height(site.side, 0.7))
        # The outline begins at the apex and runs down in front: its end is behind the apex.
        behind = seen & (np.arange(len(seen)) > len(seen) / 2)
        front = np.concatenate((inner[behind], inner[seen & ~behind]))
        sheet.pleura(front, 0.0032, 0.05 + 0.08 * lesion.contrast)
        sheet.box(
            lesion.finding, np.concatenate((front, outline[outline[:, 1] < front[-1, 1]][:12]))
        )


def _hernia(sheet: LateralSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A rounded sac behind the heart with a level of air over fluid."""
    view = sheet.view
    z = rng.uniform(0.12, 0.2)
    y = float(view.floor(1, np.array(z)))
    sac(sheet, lesion, (float(view.at(z)), y + 0.01), rng)


_SIGNS: Final[dict[str, Callable[[LateralSheet, Lesion, np.random.Generator], None]]] = {
    "Atelectasis": _atelectasis,
    "Cardiomegaly": _cardiomegaly,
    "Effusion": _effusion,
    "Infiltration": _infiltration,
    "Mass": _round,
    "Nodule": _round,
    "Pneumonia": _pneumonia,
    "Pneumothorax": _pneumothorax,
    "Consolidation": _consolidation,
    "Edema": _edema,
    "Emphysema": _emphysema,
    "Fibrosis": _fibrosis,
    "Pleural_Thickening": _pleural_thickening,
    "Hernia": _hernia,
}
