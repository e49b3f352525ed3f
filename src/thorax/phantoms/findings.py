"""The fourteen NIH findings, each drawn as its textbook sign, with the box of every lesion.

Signs follow Hansell et al., "Fleischner Society: glossary of terms for thoracic imaging",
Radiology 246 (2008), and Goodman, "Felson's Principles of Chest Roentgenology".
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from thorax.phantoms.canvas import SOFT_SIDE, Plane, curve, noise, ramp, spline
from thorax.phantoms.chest import SIDES, SIGN, Chest, x_of
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

_LEVELS: Final = {UPPER: (0.16, 0.36), MIDDLE: (0.40, 0.62), LOWER: (0.66, 0.86)}
"""Where the centre of a lesion may lie in each zone, 0 = apex, 1 = costophrenic angle."""


class FrontalSheet(Sheet):
    """A sheet over a chest that is seen from the front."""

    @property
    def chest(self) -> Chest:
        """The measures of the chest, as findings have left them."""
        return self.view.chest

    def draw(self, lesion: Lesion, rng: np.random.Generator) -> None:
        """Draw the signs of a lesion, and note its boxes."""
        _SIGNS[lesion.finding](self, lesion, rng)


def _spot(
    sheet: FrontalSheet, site: Site, radius: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Return a centre inside the seen part of a zone, a radius away from its borders."""
    chest = sheet.chest
    low, high = _LEVELS[site.zone]
    y = chest.height(site.side, rng.uniform(low, high))
    share = rng.random()
    inner = max(
        float(chest.medial(site.side, np.array(y))), chest.heart_border(site.side, y)
    ) + min(radius, 0.04)
    outer = float(chest.lateral(site.side, np.array(y))) - radius - 0.008
    u = inner + share * (outer - inner) if outer > inner else (inner + outer) / 2
    lowest = float(chest.floor(site.side, np.array(u))) - radius - 0.012
    return float(x_of(site.side, u)), min(y, lowest)


def _round(sheet: FrontalSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A nodule, a ball under 3 cm, or a mass, a lobulated ball over 3 cm: ribs show through."""
    for site in lesion.sites:
        cm = size_of(lesion, rng)
        add_ball(sheet, lesion, _spot(sheet, site, radius_of(sheet, cm), rng), cm, rng)


def _cardiomegaly(sheet: FrontalSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Cardiothoracic ratio above 0.5; the chest was reshaped, here is the heart's box."""
    outline = sheet.chest.heart()
    low = max(sheet.chest.dome)
    high = sheet.chest.apex + 0.44 * (low - sheet.chest.apex)
    part = outline[(outline[:, 1] > high) & (outline[:, 1] < low + 0.02)]
    sheet.box(lesion.finding, part)


def _effusion(sheet: FrontalSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Fluid whose upper edge climbs to the side, the meniscus; the angle is blunted."""
    chest = sheet.chest
    for site in lesion.sites:
        side = site.side
        depth = 0.065 + 0.14 * lesion.contrast * rng.uniform(0.4, 1.0)
        high = chest.angle[side] - depth
        out = float(chest.lateral(side, np.array(high)))
        low = chest.dome[side] + 0.035 - 0.5 * max(0.0, depth - 0.09)
        low = max(low, high + 0.03)
        u = np.linspace(chest.mediastinum, out, 24)
        share = (u - u[0]) / (out - u[0])
        surface = low - (low - high) * share ** rng.uniform(2.6, 4.5)
        base = chest.floor(side, u) + 0.006
        wet = surface < base
        y_wall = np.linspace(high, chest.angle[side], 10)
        wall = curve(x_of(side, chest.lateral(side, y_wall) + 0.006), y_wall)
        u_base = np.linspace(0.95 * chest.half_width, u[wet][0], 16)
        bottom = curve(x_of(side, u_base), chest.floor(side, u_base) + 0.008)
        top = curve(x_of(side, u[wet]), surface[wet])
        outline = np.concatenate((top, wall, bottom))
        sheet.shapes([outline], 0.55 + 0.42 * lesion.contrast, 0.0045)
        sheet.box(lesion.finding, outline)


def _pneumothorax(sheet: FrontalSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A rim without markings between the chest wall and the thin line of the visceral pleura."""
    chest = sheet.chest
    for site in lesion.sites:
        outline = chest.lung(site.side)
        anchor = np.array([float(x_of(site.side, chest.mediastinum)), chest.height(site.side, 0.9)])
        scale = 0.94 - 0.16 * lesion.contrast * rng.uniform(0.5, 1.0)
        inner = anchor + scale * (outline - anchor)
        rim = sheet.canvas.blank()
        small = sheet.soft.blank()
        below = anchor[1] - 0.02
        for canvas, layer in ((sheet.canvas, rim), (sheet.soft, small)):
            canvas.fill(layer, outline, 255)
            canvas.fill(layer, inner, 0)
            canvas.fill(layer, np.array([[-1.0, below], [2, below], [2, 3], [-1, 3]]), 0)
            canvas.fill(layer, chest.heart(), 0)
        sheet.markings(rim)
        edge = inner[: 1 + int((inner[:22, 1] < below).sum())]
        medial = inner[22:][::-1]
        edge = np.concatenate((medial[medial[:, 1] < chest.height(site.side, 0.16)][::-1], edge))
        sheet.pleura(edge, 0.0026, 0.06 + 0.09 * lesion.contrast)
        sheet.box_of(lesion.finding, small > 127)


def _pleural_thickening(sheet: FrontalSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A band with an uneven inner edge along the side wall, or a cap over the apex."""
    chest = sheet.chest
    for site in lesion.sites:
        thick = (0.018 + 0.022 * lesion.contrast) * rng.uniform(0.8, 1.2)
        q = ramp(0, 1, 24)
        ripple = spline(np.column_stack((np.arange(7), rng.uniform(0.75, 1.15, 7))), 24)[:, 1]
        fade = np.minimum(1, 5 * np.minimum(q, 1 - q)) ** 0.6
        if rng.random() < 0.7:
            first, last = rng.uniform(0.15, 0.4), rng.uniform(0.35, 0.5)
            share = first + q * last
            # Only as far as it can be told from the diaphragm.
            y = chest.apex + np.minimum(share, 0.9) * (chest.angle[site.side] - chest.apex)
            wall = curve(x_of(site.side, chest.lateral(site.side, y) + 0.004), y)
        else:
            thick *= 0.85
            end = rng.uniform(0.10, 0.16) * (chest.angle[site.side] - chest.apex)
            outline = chest.lung(site.side)
            cap = outline[outline[:, 1] < chest.apex + end]
            # From the mediastinum over the apex down the wall.
            medial = len(chest.lung(site.side)) - np.argmax(outline[::-1, 1] > chest.apex + end)
            cap = np.concatenate(
                (outline[medial:], cap[: np.argmax(outline[:, 1] > end + chest.apex)])
            )
            steps = np.linspace(0, len(cap) - 1, 24)
            wall = np.column_stack(
                [np.interp(steps, np.arange(len(cap)), cap[:, axis]) for axis in (0, 1)]
            )
        centre = (float(x_of(site.side, 0.5 * chest.half_width)), chest.height(site.side, 0.5))
        inward = np.array(centre) - wall
        if wall[:, 1].min() > chest.apex + 0.05:
            inward[:, 1] = 0
        inward /= np.hypot(*inward.T)[:, None]
        inner = wall + inward * (thick * ripple * fade)[:, None]
        outline = np.concatenate((wall, inner[::-1]))
        # Some of the air, and less dense than the wall that it lies on.
        sheet.shapes([outline], 0.35 + 0.45 * lesion.contrast, 0.0042)
        sheet.box(lesion.finding, outline)


def _pneumonia(sheet: FrontalSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """One fluffy focus of filled airspaces in one lung."""
    for site in lesion.sites:
        centre = _spot(sheet, site, 0.055, rng)
        focus(sheet, lesion, centre, sheet.visible(site.side), rng)


def _infiltration(sheet: FrontalSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Hazy patches of several ill-defined spots, in both lungs."""
    for site in lesion.sites:
        centre = _spot(sheet, site, 0.06, rng)
        patch(sheet, lesion, centre, sheet.visible(site.side), rng)


def _lobe(
    chest: Chest, site: Site, fissure: float, rng: np.random.Generator
) -> Callable[[Plane, Plane], Plane]:
    """Draw the lobe of a zone of a lung: sharp at its fissure, fading everywhere else.

    The minor fissure is the right lung's alone. That of the left runs obliquely to the beam, which
    shows no edge from the front.

    Returns:
        how dense it is at points of the chest, 0-1.
    """
    upward = site.zone == UPPER
    tilt = np.float32(rng.uniform(-0.05, 0.10) + (0.16 if site.zone == LOWER else 0.0))
    level = np.float32(chest.height(site.side, fissure))
    reach = np.float32(rng.uniform(0.13, 0.2) if site.zone != LOWER else rng.uniform(0.18, 0.26))
    inner, outer = chest.mediastinum + 0.02, chest.half_width
    centre = np.float32(rng.uniform(0.45, 0.65) * (outer - inner) + inner)
    wide = np.float32(rng.uniform(0.55, 0.85) * (outer - inner))
    bow = np.float32(rng.uniform(-0.02, 0.03))

    def density(x: Plane, y: Plane) -> Plane:
        u = np.float32(SIGN[site.side]) * (x - np.float32(chest.middle))
        below = y - level - tilt * (u - np.float32(0.15)) - bow * (u / np.float32(0.3)) ** 2
        far = -below if upward else below
        cut = np.clip(far * np.float32(14 if site.side else 170) + 0.5, 0, 1)
        cut *= np.exp(-(np.maximum(0, far / reach - np.float32(0.25)) ** 2) * np.float32(2.2))
        cut *= np.exp(-(np.abs((u - centre) / wide) ** 3))
        return np.asarray(cut * (u > 0), np.float32)

    return density


_FISSURE: Final = {MIDDLE: 0.47, LOWER: 0.60}
"""Level of the fissure that ends each zone's lobe above; the upper lobe ends at the chest's own."""


def _consolidation(sheet: FrontalSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Most of a lobe filled, sharp at the minor fissure alone, with air bronchograms in it."""
    chest = sheet.chest
    for site in lesion.sites:
        level = _FISSURE.get(site.zone, chest.fissure) + rng.uniform(-0.03, 0.03)
        lobe = _lobe(chest, site, level, rng)
        field = lobe(sheet.x, sheet.y) * np.clip(fluff(rng, 0.18), 0.5, 1.25)
        y = chest.height(site.side, {UPPER: 0.26, MIDDLE: 0.56, LOWER: 0.76}[site.zone])
        target = (float(x_of(site.side, 0.68 * chest.half_width)), y)
        tubes = bronchograms(sheet, chest.hilum_of(site.side), target, 0.10, rng)
        amount = np.float32(0.3 + 0.55 * lesion.contrast)
        airless(sheet, np.asarray(np.clip(field, 0, 1) * amount, np.float32), tubes)
        sheet.box_of(lesion.finding, (field > 0.25) & sheet.visible(site.side))


def _atelectasis(sheet: FrontalSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A collapsed lobe against the mediastinum, or plates above the dome, and loss of volume.

    The chest was reshaped: dome, hilum, fissure and midline have moved towards the site.
    """
    for site in lesion.sites:
        if site.zone == UPPER or rng.random() < 0.4:
            _collapse(sheet, lesion, site, rng)
        else:
            _plates(sheet, lesion, site, rng)


def _collapse(sheet: FrontalSheet, lesion: Lesion, site: Site, rng: np.random.Generator) -> None:
    """A wedge from the hilum to apex or base, whose outer edge is a bowed fissure."""
    chest, side = sheet.chest, site.side
    x, y = chest.hilum_of(side)
    m = chest.middle
    q = ramp(0, 1, 14)
    if site.zone == UPPER:
        # The fissure ends at the wall: no air is left between them.
        level = chest.height(side, rng.uniform(0.10, 0.17))
        end = np.array((float(x_of(side, chest.lateral(side, np.array(level)) + 0.004)), level))
        begin = np.array((x, y - 0.015))
    else:
        u = chest.mediastinum + rng.uniform(0.08, 0.12)
        end = np.array((float(x_of(side, u)), float(chest.floor(side, np.array(u))) + 0.004))
        begin = np.array((x - SIGN[side] * 0.008, y + 0.01))
    edge = begin + (end - begin) * q[:, None]
    edge[:, 0] += SIGN[side] * 0.014 * np.sin(np.pi * q)
    if site.zone == UPPER:
        edge[:, 1] -= 0.03 * np.sin(np.pi * q)
        rest = [(end[0], chest.apex - 0.02), (m, chest.apex - 0.02), (m, begin[1])]
    else:
        rest = [(m, end[1] + 0.02), (m, begin[1])]
    outline = np.concatenate((edge, np.array(rest)))
    sheet.shapes([outline], 0.35 + 0.5 * lesion.contrast, 0.0022)
    small = sheet.soft.blank()
    sheet.soft.fill(small, outline, 255)
    lung = sheet.soft.blank()
    sheet.soft.fill(lung, chest.lung(side), 255)
    sheet.box_of(lesion.finding, (small > 127) & (lung > 127))


def _plates(sheet: FrontalSheet, lesion: Lesion, site: Site, rng: np.random.Generator) -> None:
    chest = sheet.chest
    floor = chest.dome[site.side]
    inner = 0.6 * chest.heart_border(site.side, floor - 0.05)
    plates = []
    for step in range(2 + int(rng.random() < 0.5)):
        u = max(inner + 0.07, rng.uniform(0.14, 0.2) * chest.half_width / 0.32)
        y = floor - rng.uniform(0.03, 0.05) - 0.042 * step
        plates.append(plate(sheet, (float(x_of(site.side, u)), y), rng))
        sheet.box(lesion.finding, plates[-1])
    sheet.shapes(plates, 0.2 + 0.5 * lesion.contrast, 0.0026)


def _edema(sheet: FrontalSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Haze about both hila, blurred and redistributed vessels, cuffs, Kerley B lines."""
    chest, c = sheet.chest, lesion.contrast
    kerley, bronchi = [], []
    for side in SIDES:
        x, y = chest.hilum_of(side)
        centre = (x + SIGN[side] * rng.uniform(0.04, 0.065), y + rng.uniform(0.0, 0.05))
        wing = bump(sheet, centre, rng.uniform(0.06, 0.085), rng.uniform(0.10, 0.15))
        field = np.clip(wing * fluff(rng, 0.3), 0, 1) * np.float32(0.06 + 0.20 * c)
        field *= np.sign(sheet.x - np.float32(chest.middle)) == SIGN[side]
        sheet.cloud(np.asarray(field, np.float32))
        sheet.box_of(lesion.finding, (field > 0.5 * field.max()) & sheet.visible(side))
        count = int(rng.integers(6, 10))
        level = chest.height(side, rng.uniform(0.60, 0.68)) + 0.019 * np.arange(count)
        level += rng.uniform(-0.004, 0.004, count)
        out = chest.lateral(side, level) - 0.002
        length = rng.uniform(0.014, 0.036, count)
        ends = np.stack((x_of(side, out), x_of(side, out - length)), axis=-1)
        kerley.append(np.stack((ends, np.stack((level, level + 0.003), axis=-1)), axis=-1))
        for _ in range(2):
            bronchi.append((x + SIGN[side] * rng.uniform(0.02, 0.06), y + rng.uniform(-0.05, 0.07)))
    sheet.lines(np.concatenate(kerley), 0.0026, 0.035 + 0.05 * c)
    cuffs(sheet, np.array(bronchi), c, rng)
    sheet.hazy = 0.3 + 0.6 * c
    sheet.congestion = 0.3 + 0.7 * c


def _emphysema(sheet: FrontalSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Flat domes and few vessels, for which the chest was reshaped; bullae and uneven air."""
    centres = []
    for side in SIDES:
        for _ in range(int(rng.integers(1, 3))):
            zone = UPPER if rng.random() < 0.75 else MIDDLE
            centres.append(_spot(sheet, Site(side, zone), 0.036, rng))
        uneven = -0.12 * lesion.contrast * np.clip(noise(1, SOFT_SIDE, rng), -0.5, 2)
        sheet.fill += np.asarray(uneven * sheet.visible(side), np.float32)
        sheet.box_of(lesion.finding, sheet.visible(side))
    bullae(sheet, centres, lesion.contrast, rng)


def _fibrosis(sheet: FrontalSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A fine net of lines in the bases, densest outside, and the domes a little raised."""
    chest = sheet.chest
    top = rng.uniform(0.52, 0.64)
    weight = np.zeros_like(sheet.fill)
    for site in lesion.sites:
        u = np.float32(SIGN[site.side]) * (sheet.x - np.float32(0.5))
        level = np.float32(chest.height(site.side, top))
        base = np.clip((sheet.y - level) / np.float32(0.12), 0, 1) * (u > 0)
        outer = np.clip(u / np.float32(chest.half_width) * 1.6 - 0.35, 0.12, 1)
        weight += base * outer * np.clip(fluff(rng, 0.35), 0.2, 1.5)
        sheet.box_of(lesion.finding, (base > 0.4) & sheet.visible(site.side))
    layer = sheet.canvas.blank()
    for side in SIDES:
        sheet.canvas.fill(layer, chest.lung(side), 255)
    sheet.canvas.fill(layer, chest.heart(), 25)
    net(sheet, lesion, weight, sheet.canvas.plane(layer, 0.003), rng)


def _hernia(sheet: FrontalSheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A rounded sac behind the heart, above the diaphragm, with a level of air over fluid."""
    chest = sheet.chest
    sac(sheet, lesion, (chest.middle + rng.uniform(-0.02, 0.045), min(chest.dome)), rng)


_SIGNS: Final[dict[str, Callable[[FrontalSheet, Lesion, np.random.Generator], None]]] = {
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
