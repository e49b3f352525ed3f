"""The fourteen NIH findings, each drawn as its textbook sign, with the box of every lesion.

Signs follow Hansell et al., "Fleischner Society: glossary of terms for thoracic imaging",
Radiology 246 (2008), and Goodman, "Felson's Principles of Chest Roentgenology".
"""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from thorax.data.samples import Box
from thorax.phantoms.anatomy import AXIS, Signs
from thorax.phantoms.canvas import (
    SOFT,
    SOFT_SIDE,
    Canvas,
    Plane,
    Points,
    curve,
    noise,
    ramp,
    ribbons,
    spline,
    texture,
    window,
)
from thorax.phantoms.chest import FIELD_CM, SIDES, SIGN, Chest, x_of
from thorax.phantoms.sampling import LOWER, MIDDLE, UPPER, Lesion, Site

_LEVELS: Final = {UPPER: (0.16, 0.36), MIDDLE: (0.40, 0.62), LOWER: (0.66, 0.86)}
"""Where the centre of a lesion may lie in each zone, 0 = apex, 1 = costophrenic angle."""


class Sheet(Signs):
    """What the signs of one phantom add up to, and their boxes in shares of the image."""

    soft = SOFT
    x, y = AXIS[None], AXIS[:, None]

    def __init__(self, chest: Chest, canvas: Canvas) -> None:
        super().__init__()
        self.chest = chest
        self.canvas = canvas
        self.boxes: list[Box] = []
        self._lung: dict[int, npt.NDArray[np.bool_]] = {}

    def visible(self, side: int) -> npt.NDArray[np.bool_]:
        """Return bool [G, G]: where one lung is seen beside the heart."""
        if side not in self._lung:
            layer = self.soft.blank()
            self.soft.fill(layer, self.chest.lung(side), 255)
            self.soft.fill(layer, self.chest.heart(), 0)
            self._lung[side] = layer > 127
        return self._lung[side]

    def cloud(self, field: Plane) -> None:
        """Replace air softly; float32 [G, G], 0-1."""
        self.fill = np.asarray(1 - (1 - self.fill) * (1 - field), np.float32)

    def block(self, field: Plane) -> None:
        """Replace air with an edge; float32 [S, S], 0-1."""
        self.solid = field if self.solid is None else 1 - (1 - self.solid) * (1 - field)

    def shapes(self, outlines: list[Points], opacity: float, blur: float) -> Plane:
        """Replace air inside several outlines at once and return what was painted."""
        layer = self.canvas.blank()
        for outline in outlines:
            self.canvas.fill(layer, outline, 255)
        field = self.canvas.plane(layer, blur)
        self.block(field * np.float32(opacity))
        return field

    def add(self, field: Plane) -> None:
        """Add density; float32 [S, S]."""
        self.added = field if self.added is None else self.added + field

    def lines(self, curves: Points, width: float, amount: float, blur: float = 0.0008) -> None:
        """Add thin dense lines."""
        layer = self.canvas.blank()
        self.canvas.stroke(layer, curves, width, 255)
        self.add(self.canvas.plane(layer, blur) * np.float32(amount))

    def box(self, finding: str, points: Points) -> None:
        """Note the box around patient-frame points [n, 2], cut at the image's edges."""
        placed = np.clip(self.canvas.place(points.reshape(-1, 2)), 0, 1)
        (left, top), (right, bottom) = placed.min(0), placed.max(0)
        if right > left and bottom > top:
            self.boxes.append(Box(finding, left, top, right - left, bottom - top))

    def box_of(self, finding: str, mask: npt.NDArray[np.bool_]) -> None:
        """Note the box around a bool [G, G] mask of the patient frame; empty notes nothing."""
        rows = np.flatnonzero(mask.any(axis=1))
        if len(rows):
            lines = mask[rows]
            left = lines.argmax(axis=1)
            right = SOFT_SIDE - 1 - lines[:, ::-1].argmax(axis=1)
            ends = np.concatenate((left, right)) + 0.5
            self.box(finding, curve(ends, np.concatenate((rows, rows)) + 0.5) / SOFT_SIDE)


def _spot(sheet: Sheet, site: Site, radius: float, rng: np.random.Generator) -> tuple[float, float]:
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


def _blob(radius: float, wobble: float, rng: np.random.Generator) -> Points:
    """Return an outline around the origin, [40, 2], whose radius wavers by a share of itself."""
    angle = ramp(0, 2 * np.pi, 41)[:-1]
    wave = np.zeros(40)
    for order in (2, 3, 4):
        wave += rng.normal() * np.sin(order * angle + rng.uniform(0, 6.28)) / order
    wave *= wobble / max(1e-9, float(np.abs(wave).max()))
    return curve(np.cos(angle), np.sin(angle)) * (radius * (1 + wave))[:, None]


def _round(sheet: Sheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A nodule: round, well-defined, under 3 cm; or a mass: round or lobulated, over 3 cm."""
    cm, wobble = (4.2, 5.4 + 1.6 * lesion.severity), 0.10
    if lesion.finding == "Nodule":
        cm, wobble = (1.5 + 0.6 * lesion.severity, 2.75), 0.05
    outlines = []
    for site in lesion.sites:
        radius = rng.uniform(*cm) / 2 / FIELD_CM / sheet.canvas.scale
        outlines.append(_blob(radius, wobble, rng) + _spot(sheet, site, radius, rng))
        sheet.box(lesion.finding, outlines[-1])
    field = sheet.shapes(outlines, 0.72 + 0.28 * lesion.severity, 0.0028)
    sheet.add(field * np.float32(0.07 + 0.06 * lesion.severity))


def _cardiomegaly(sheet: Sheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Cardiothoracic ratio above 0.5; the chest was reshaped, here is the heart's box."""
    outline = sheet.chest.heart()
    low = max(sheet.chest.dome)
    high = sheet.chest.apex + 0.44 * (low - sheet.chest.apex)
    part = outline[(outline[:, 1] > high) & (outline[:, 1] < low + 0.02)]
    sheet.box(lesion.finding, part)


def _effusion(sheet: Sheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """White base whose upper edge climbs to the side: the meniscus; the angle is blunted."""
    chest = sheet.chest
    for site in lesion.sites:
        side = site.side
        depth = 0.08 + 0.23 * lesion.severity * rng.uniform(0.55, 1.0)
        high = chest.angle[side] - depth
        out = float(chest.lateral(side, np.array(high)))
        low = chest.dome[side] + 0.03 - 0.35 * max(0.0, depth - 0.1)
        low = max(low, high + 0.03)
        u = np.linspace(chest.mediastinum, out, 24)
        share = (u - u[0]) / (out - u[0])
        surface = low - (low - high) * share ** (2.2 + 2.5 * (1 - lesion.severity))
        base = chest.floor(side, u) + 0.006
        wet = surface < base
        y_wall = np.linspace(high, chest.angle[side], 10)
        wall = curve(x_of(side, chest.lateral(side, y_wall) + 0.006), y_wall)
        u_base = np.linspace(chest.half_width, u[wet][0], 16)
        bottom = curve(x_of(side, u_base), chest.floor(side, u_base) + 0.008)
        top = curve(x_of(side, u[wet]), surface[wet])
        outline = np.concatenate((top, wall, bottom))
        field = sheet.shapes([outline], 0.97, 0.004)
        sheet.add(field * np.float32(0.07))
        sheet.box(lesion.finding, outline)


def _pneumothorax(sheet: Sheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A dark rim without markings between the chest wall and a thin pleural line."""
    chest = sheet.chest
    for site in lesion.sites:
        outline = chest.lung(site.side)
        anchor = np.array(
            [float(x_of(site.side, chest.mediastinum)), chest.height(site.side, 0.93)]
        )
        keep = 0.895 - 0.19 * lesion.severity * rng.uniform(0.6, 1.0)
        inner = anchor + keep * (outline - anchor)
        above = inner[inner[:, 1] < anchor[1] - 0.03]
        rim = sheet.canvas.blank()
        small = sheet.soft.blank()
        for canvas, layer in ((sheet.canvas, rim), (sheet.soft, small)):
            canvas.fill(layer, outline, 255)
            canvas.fill(layer, inner, 0)
            canvas.fill(layer, np.array([[-1.0, anchor[1]], [2, anchor[1]], [2, 3], [-1, 3]]), 0)
            canvas.fill(layer, chest.heart(), 0)
        sheet.bare = rim if sheet.bare is None else cv2.max(sheet.bare, rim).astype(np.uint8)
        sheet.shapes([inner], 0.14 + 0.6 * (0.895 - keep), 0.004)
        count = int((above[:, 1] < above[:, 1].max()).sum())
        edge = np.roll(above, 6, axis=0)[: max(12, min(count, 24))]
        sheet.lines(edge, 0.0045, 0.16)
        sheet.box_of(lesion.finding, small > 127)


def _pleural_thickening(sheet: Sheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A dense band with an uneven inner edge along the side wall, or a cap over the apex."""
    chest = sheet.chest
    for site in lesion.sites:
        thick = 0.027 + 0.024 * lesion.severity
        if rng.random() < 0.75:
            first = rng.uniform(0.18, 0.36)
            last = first + rng.uniform(0.32, 0.5)
            q = ramp(0, 1, 24)
            y = chest.height(site.side, first) + q * (last - first) * (
                chest.angle[site.side] - chest.apex
            )
            ripple = spline(np.column_stack((np.arange(7), rng.uniform(0.65, 1.15, 7))), 24)[:, 1]
            depth = thick * ripple * np.minimum(1, 5 * np.minimum(q, 1 - q)) ** 0.6
            wall = chest.lateral(site.side, y)
            outline = np.concatenate(
                (
                    curve(x_of(site.side, wall + 0.004), y),
                    curve(x_of(site.side, wall - depth), y)[::-1],
                )
            )
        else:
            lung = chest.lung(site.side)
            cap = lung[lung[:, 1] < chest.height(site.side, 0.13)]
            cap = cap[np.argsort(cap[:, 0])]
            under = cap[::-1].copy()
            under[:, 1] += 1.5 * thick * rng.uniform(0.75, 1.15, len(under))
            outline = np.concatenate((cap, under))
        field = sheet.shapes([outline], 0.95, 0.0022)
        sheet.add(field * np.float32(0.08 + 0.05 * lesion.severity))
        sheet.box(lesion.finding, outline)


def _bell(values: Plane, centre: float, width: float) -> Plane:
    return np.asarray(np.exp(-(((values - np.float32(centre)) / np.float32(width)) ** 2)))


def _bump(sheet: Sheet, centre: tuple[float, float], wide: float, high: float) -> Plane:
    return _bell(sheet.y, centre[1], high) * _bell(sheet.x, centre[0], wide)


def _pneumonia(sheet: Sheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """One round fluffy airspace focus in one lung, ill-defined, densest in its middle."""
    for site in lesion.sites:
        radius = rng.uniform(0.070, 0.094)
        centre = _spot(sheet, site, 0.8 * radius, rng)
        bump = _bump(sheet, centre, 0.95 * radius, 0.95 * radius * rng.uniform(0.9, 1.2))
        fluff = bump * (1 + 0.28 * noise(1, SOFT_SIDE, rng))
        field = np.clip((fluff - 0.2) / 0.6, 0, 1) * np.float32(0.62 + 0.32 * lesion.severity)
        sheet.cloud(np.asarray(field * (np.sign(sheet.x - 0.5) == (-1, 1)[site.side]), np.float32))
        near = (field > 0.4 * field.max()) & sheet.visible(site.side)
        sheet.box_of(lesion.finding, near)


def _infiltration(sheet: Sheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Patches of several small faint ill-defined spots, in both lungs."""
    for site in lesion.sites:
        centre = _spot(sheet, site, 0.07, rng)
        rows, columns = window(centre[1], 0.17), window(centre[0], 0.15)
        patch = np.zeros_like(sheet.fill)
        part = patch[rows, columns]
        for turn in rng.permutation(6)[: rng.integers(4, 7)]:
            angle = turn * np.pi / 3 + rng.uniform(-0.3, 0.3)
            reach = rng.uniform(0.03, 0.06)
            spot = (centre[0] + reach * np.cos(angle), centre[1] + 1.2 * reach * np.sin(angle))
            wide = rng.uniform(0.017, 0.024)
            high = wide * rng.uniform(0.8, 1.25)
            peak = rng.uniform(0.75, 1.1) * (0.50 + 0.3 * lesion.severity)
            across = _bell(sheet.x[:, columns], spot[0], wide)
            down = _bell(sheet.y[rows], spot[1], high) * np.float32(peak)
            np.maximum(part, down * across, out=part)
        patch *= sheet.visible(site.side)
        sheet.cloud(patch)
        sheet.box_of(lesion.finding, patch > 0.35 * patch.max())


def _lobe(chest: Chest, site: Site, rng: np.random.Generator) -> Callable[[Plane, Plane], Plane]:
    """Draw the lobe of a zone of a lung, which a fissure cuts straight.

    Returns:
        how dense it is at points of the chest, 0-1.
    """
    upward = site.zone == UPPER
    tilt = np.float32(rng.uniform(-0.06, 0.06) + (0.18 if site.zone == LOWER else 0.0))
    share = {UPPER: 0.40, MIDDLE: 0.42, LOWER: 0.60}[site.zone] + rng.uniform(-0.03, 0.03)
    fissure = np.float32(chest.height(site.side, share))
    end = chest.height(site.side, {UPPER: 0.02, MIDDLE: 0.66, LOWER: 0.97}[site.zone])
    spread = np.float32(0.03 if site.zone != LOWER else 0.02)
    edge = np.float32(rng.uniform(0.8, 1.0) * chest.half_width)

    def density(x: Plane, y: Plane) -> Plane:
        u = np.float32(SIGN[site.side]) * (x - np.float32(0.5))
        below = y - fissure - tilt * (u - np.float32(0.15))
        cut = np.clip((-below if upward else below) * np.float32(220) + 0.5, 0, 1)
        far = (y - np.float32(end)) if upward else (np.float32(end) - y)
        cut *= np.clip(far / spread * 0.5 + 0.5, 0, 1)
        cut *= np.clip((edge - u) / np.float32(0.03) + 0.5, 0, 1)
        return np.asarray(cut * (u > 0), np.float32)

    return density


def _consolidation(sheet: Sheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Dense lobe cut straight by a fissure, with dark air bronchograms running through it."""
    chest = sheet.chest
    for site in lesion.sites:
        side = site.side
        density = _lobe(chest, site, rng)
        x, y = sheet.canvas.coordinates()
        lobe = density(x, y) * np.float32(0.62 + 0.33 * lesion.severity)
        tubes = sheet.canvas.blank()
        q = ramp(0, 1, 8)
        target = chest.height(side, {UPPER: 0.2, MIDDLE: 0.55, LOWER: 0.82}[site.zone])
        start = (chest.mediastinum + 0.03, chest.height(side, 0.45))
        for share in (0.2, 0.5, 0.8):
            goal = (
                chest.half_width * (0.35 + 0.5 * share),
                target
                + (0.5 - share) * 0.14 * (1 if site.zone == UPPER else -1)
                + rng.uniform(-0.02, 0.02),
            )
            u = start[0] + (goal[0] - start[0]) * q
            v = start[1] + (goal[1] - start[1]) * q + rng.uniform(-0.03, 0.03) * np.sin(np.pi * q)
            tube = curve(x_of(side, u), v)
            sheet.canvas.stroke(tubes, tube, 0.0072, 255)
            fork = tube[4] + (tube[-1] - tube[4]) * q[:, None]
            fork[:, 1] += rng.choice((-1.0, 1.0)) * 0.05 * q
            sheet.canvas.stroke(tubes, fork, 0.006, 230)
        lobe *= 1 - np.float32(0.75) * sheet.canvas.plane(tubes, 0.0015)
        sheet.block(lobe)
        sheet.box_of(lesion.finding, (density(sheet.x, sheet.y) > 0.3) & sheet.visible(side))


def _atelectasis(sheet: Sheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Plates of collapsed lung over a raised dome; the chest was reshaped by volume loss."""
    chest = sheet.chest
    plates = []
    for site in lesion.sites:
        floor = chest.dome[site.side]
        for step in range(1 + int(rng.random() < 0.6)):
            length = rng.uniform(0.12, 0.19)
            u = rng.uniform(0.16, 0.2) * chest.half_width / 0.32 + 0.5 * length * np.linspace(
                -1, 1, 10
            )
            u = u + max(0.0, chest.heart_border(site.side, floor - 0.05) * 0.6 - u[0])
            tilt = rng.uniform(-0.18, 0.18)
            y = floor - rng.uniform(0.035, 0.055) - 0.055 * step + tilt * (u - u.mean())
            y -= rng.uniform(0, 0.08) * (u - u.mean()) ** 2 / 0.02
            thick = rng.uniform(0.015, 0.019) + 0.008 * lesion.severity
            taper = thick * np.sin(np.linspace(0.35, np.pi - 0.35, 10)) ** 0.6
            (plate,) = ribbons(curve(x_of(site.side, u), y), taper)
            plates.append(plate)
            sheet.box(lesion.finding, plate)
    field = sheet.shapes(plates, 0.65 + 0.33 * lesion.severity, 0.0018)
    sheet.add(field * np.float32(0.05))


def _edema(sheet: Sheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Bat-wing haze around both hila, blurred vessels, short Kerley B lines at the bases."""
    chest = sheet.chest
    kerley = []
    for side in SIDES:
        u = chest.mediastinum + rng.uniform(0.055, 0.075)
        centre = (float(x_of(side, u)), chest.height(side, rng.uniform(0.46, 0.54)))
        wing = _bump(sheet, centre, 0.09, 0.17) * (1 + 0.12 * noise(1, SOFT_SIDE, rng))
        field = np.clip(wing, 0, 1) * np.float32(0.56 + 0.32 * lesion.severity)
        field *= np.sign(sheet.x - 0.5) == (-1, 1)[side]
        sheet.cloud(np.asarray(field, np.float32))
        sheet.box_of(lesion.finding, (field > 0.5 * field.max()) & sheet.visible(side))
        count = int(rng.integers(5, 8))
        y = chest.height(side, 0.70) + 0.024 * np.arange(count) + rng.uniform(-0.004, 0.004, count)
        out = chest.lateral(side, y) - 0.006
        length = rng.uniform(0.03, 0.045, count)
        ends = np.stack((x_of(side, out), x_of(side, out - length)), axis=-1)
        kerley.append(np.stack((ends, np.stack((y, y + 0.002), axis=-1)), axis=-1))
    sheet.lines(np.concatenate(kerley), 0.004, 0.06 + 0.05 * lesion.severity)
    sheet.cloud(np.full_like(sheet.fill, 0.05 + 0.06 * lesion.severity))
    sheet.hazy = 0.5 + 0.5 * lesion.severity


def _emphysema(sheet: Sheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """Dark, long lungs over flat domes with a narrow heart; the chest was reshaped. Bullae too."""
    for side in SIDES:
        if rng.random() < 0.5:
            radius = rng.uniform(0.03, 0.05)
            centre = _spot(sheet, Site(side, UPPER), radius, rng)
            ring = _blob(radius, 0.08, rng) + centre
            sheet.lines(np.concatenate((ring, ring[:1])), 0.003, 0.05)
        sheet.box_of(lesion.finding, sheet.visible(side))


def _fibrosis(sheet: Sheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A net of coarse lines in the bases, densest outside; the domes were raised."""
    chest = sheet.chest
    net = texture(2, sheet.canvas.side, rng)
    x, y = sheet.canvas.coordinates()
    top = rng.uniform(0.50, 0.60)
    weight = np.zeros_like(net)
    for site in lesion.sites:
        level = chest.height(site.side, top)
        sign = np.float32(SIGN[site.side])

        def region(x: Plane, y: Plane, *, level: float = level, sign: np.float32 = sign) -> Plane:
            base = np.clip((y - np.float32(level)) / np.float32(0.10), 0, 1)
            return np.asarray(base * (sign * (x - np.float32(0.5)) > 0), np.float32)

        weight += region(x, y)
        sheet.cloud(region(sheet.x, sheet.y) * np.float32(0.16 + 0.14 * lesion.severity))
        sheet.box_of(lesion.finding, (region(sheet.x, sheet.y) > 0.4) & sheet.visible(site.side))
    layer = sheet.canvas.blank()
    for side in SIDES:
        sheet.canvas.fill(layer, chest.lung(side), 255)
    sheet.canvas.fill(layer, chest.heart(), 70)
    weight *= sheet.canvas.plane(layer, 0.003)
    sheet.add(weight * net * np.float32(0.05 + 0.035 * lesion.severity))


def _hernia(sheet: Sheet, lesion: Lesion, rng: np.random.Generator) -> None:
    """A round shadow behind the heart, above the diaphragm, with a level of air over fluid."""
    chest = sheet.chest
    radius = 0.048 + 0.03 * lesion.severity * rng.uniform(0.6, 1.0)
    centre = np.array(
        [chest.middle + rng.uniform(-0.015, 0.05), min(chest.dome) - radius * 0.75 - 0.005]
    )
    outline = _blob(radius, 0.05, rng) * (1.0, 0.92) + centre
    whole = sheet.shapes([outline], 0.9, 0.002)
    pocket = sheet.canvas.blank()
    level = centre[1] + rng.uniform(-0.15, 0.25) * radius
    inner = centre + (outline - centre) * 0.86
    sheet.canvas.fill(pocket, np.column_stack((inner[:, 0], np.minimum(inner[:, 1], level))), 255)
    gas = sheet.canvas.plane(pocket, 0.0018)
    sheet.add(np.float32(0.07) * whole - np.float32(0.17 + 0.12 * lesion.severity) * gas)
    sheet.box(lesion.finding, outline)


SIGNS: Final[dict[str, Callable[[Sheet, Lesion, np.random.Generator], None]]] = {
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
"""Draw a finding onto a sheet, and note its boxes."""
