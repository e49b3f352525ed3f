"""The normal parts of a chest as they are seen from the front."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import cv2
import numpy as np

from thorax.phantoms.canvas import (
    AXIS,
    SOFT,
    Canvas,
    Mask,
    Plane,
    Points,
    curve,
    ramp,
    ribbons,
    spline,
    upsampled,
    window,
)
from thorax.phantoms.chest import SIDES, Chest, x_of

# What one part adds to the optical density picture, soft tissue of a chest being about 0.5.
_RIB_BACK: Final = 0.058
_RIB_FRONT: Final = 0.036
_CLAVICLE: Final = 0.09
_AIRWAY: Final = 0.085


def both(half: Points) -> Points:
    """Return float64 [2, n, 2] from distances and heights [n, 2]: the curve on either side."""
    pair = np.empty((2, *half.shape))
    pair[0, :, 0] = 0.5 - half[:, 0]
    pair[1, :, 0] = 0.5 + half[:, 0]
    pair[..., 1] = half[:, 1]
    return pair


def _ribs(chest: Chest) -> tuple[Points, Points]:
    """Return the centre lines [ribs, n, 2] of the ribs' back and front arcs."""
    q = ramp(0, 1, 10)
    rib = np.arange(10.0)
    drop = chest.rib_slope * (0.5 + 0.09 * rib)
    back, front = np.empty((2, 10, 10, 2)), np.empty((2, 6, 10, 2))
    droop, fall = 0.018 * np.sin(np.pi * q), drop[:, None] * q**2.2
    some = rib[1:7, None]
    inward, down = np.minimum(0.9, 0.5 + 0.05 * some), (0.05 + 0.016 * some) * np.sin(q * np.pi / 2)
    bend = q**1.3
    for side in SIDES:
        spacing = (chest.angle[side] - chest.apex) / 9.0
        start = chest.apex + spacing * (rib + 0.45 + chest.rib_phase)
        end = start + drop
        reach = (chest.lateral(side, end) + 0.006)[:, None]
        back[side, ..., 0] = x_of(side, 0.028 + (reach - 0.028) * q)
        back[side, ..., 1] = start[:, None] - droop + fall
        reach = reach[1:7]
        front[side, ..., 0] = x_of(side, reach - inward * (reach - 0.05) * bend)
        front[side, ..., 1] = end[1:7, None] + down
    return back.reshape(20, 10, 2), front.reshape(12, 10, 2)


@lru_cache(maxsize=8)
def _body(half_width: float, wall: float, top: float) -> Points:
    """Return the outline of neck, shoulders and trunk, which a patient keeps."""
    trunk = half_width + wall + 0.02
    half = [
        (0.115, -0.2),
        (0.115, top - 0.09),
        (0.17, top - 0.045),
        (0.33, top - 0.01),
        (0.48, top + 0.05),
        (0.62, top + 0.16),
        (0.66, top + 0.34),
        (0.56, top + 0.36),
        (trunk + 0.075, top + 0.27),
        (trunk + 0.012, top + 0.33),
        (trunk - 0.004, top + 0.43),
        (trunk + 0.01, top + 0.62),
        (trunk + 0.02, 1.2),
    ]
    u, y = np.array(half).T
    right = curve(0.5 - u, y)
    left = curve(0.5 + u[::-1], y[::-1])
    return np.concatenate((spline(right, 50), spline(left, 50)))


@lru_cache(maxsize=8)
def _body_weight(half_width: float, wall: float, top: float) -> Plane:
    """Return float32 [G, G], 0-1: how thick the body is towards its edges; not to be changed."""
    outline = SOFT.blank()
    SOFT.fill(outline, _body(half_width, wall, top), 255)
    weight = SOFT.plane(outline, 0.022)
    weight.flags.writeable = False
    return weight


def bell(values: Plane, width: float) -> Plane:
    """Return a Gaussian of values about 0."""
    return np.asarray(np.exp(-((values / np.float32(width)) ** 2)), np.float32)


def step(values: Plane, width: float) -> Plane:
    """Return a soft step, 0-1, of values about 0."""
    return np.asarray(0.5 + 0.5 * np.tanh(values / np.float32(width)), np.float32)


def disc(
    rows: slice, columns: slice, centre: tuple[float, float], size: tuple[float, float], soft: float
) -> Plane:
    """Return a window of the soft grid, 0-1: a soft-edged ellipse."""
    x = (AXIS[columns] - np.float32(centre[0])) / np.float32(size[0])
    y = (AXIS[rows] - np.float32(centre[1])) / np.float32(size[1])
    return step(1 - np.sqrt(x[None] ** 2 + y[:, None] ** 2), soft)


def _spine(chest: Chest, strip: slice) -> Plane:
    y = AXIS[:, None]
    off = AXIS[strip] - np.float32(0.5) - np.float32(chest.spine_bend) * np.sin(y * np.float32(5))
    block = np.cos(y * np.float32(2 * np.pi / 0.052))
    column = np.exp(-((off / np.float32(0.03)) ** 4))
    pedicle = bell(np.abs(off) - np.float32(0.019), 0.006) * step(block, 0.3)
    column *= np.float32(0.055) + np.float32(0.008) * block
    return np.asarray((column + np.float32(0.025) * pedicle) * chest.bone, np.float32)


def _airway(chest: Chest) -> Plane:
    """Return float32 [G, G], 0-1: trachea and main bronchi, which are dark in the mediastinum."""
    layer = SOFT.blank()
    m, carina = chest.middle, chest.height(0, 0.33)
    lean = 0.006 + 0.2 * (chest.knob - 0.01)
    tube = spline([(0.5, -0.1), (0.5 + 0.3 * (m - 0.5), chest.apex - 0.02), (m - lean, carina)], 8)
    SOFT.fill(layer, ribbons(tube, 0.031)[0], 255)
    for side in SIDES:
        x, y = chest.hilum_of(side)
        way = spline(
            [(m - lean, carina - 0.006), (0.5 * (m + x), carina + 0.025 + 0.01 * side), (x, y)], 6
        )
        SOFT.fill(layer, ribbons(way, ramp(0.024, 0.012, 6))[0], 200)
    return SOFT.plane(layer, 0.004)


def _gas(chest: Chest, *, erect: bool) -> tuple[slice, slice, Plane]:
    """Return the gastric bubble below the left dome, 0-1: level below when the patient stands."""
    offset, width, height = chest.bubble
    top = float(chest.floor(1, np.array(offset))) + 0.014
    rows, columns = window(top + height, 0.1), window(0.5 + offset, 0.12)
    bubble = disc(rows, columns, (0.5 + offset, top + height), (width, height), 0.16)
    if erect:
        bubble = bubble * step(np.float32(top + 1.3 * height) - AXIS[rows], 0.003)[:, None]
    return rows, columns, bubble


def _soft_tissue(chest: Chest, *, ap: bool, rng: np.random.Generator) -> Plane:
    """Return float32 [G, G], patient frame: the density of everything soft, lungs as if solid."""
    dome = sum(chest.dome) / 2
    y, off = AXIS, AXIS - np.float32(chest.middle)
    one = np.ones_like(y)
    belly, neck = rng.uniform(0.10, 0.26), rng.uniform(0.08, 0.18)
    down = [
        one,
        0.43 + belly * step(y - np.float32(dome + 0.03), 0.06),
        -0.10 * step(np.float32(chest.apex - 0.03) - y, 0.03),
        0.07 * bell(y - np.float32(chest.apex + 0.02), 0.11),
    ]
    across = [
        neck * bell(off, 0.085),
        one,
        bell(off, 0.5),
        step(np.abs(off) - np.float32(0.2), 0.06),
    ]
    thick = np.asarray(np.stack(down, axis=1) @ np.stack(across), np.float32)
    strip = window(0.5, 0.06)
    thick[:, strip] += _spine(chest, strip)
    low, wide = chest.breast_level
    for side in SIDES:
        if chest.breasts[side]:
            level = chest.height(side, low)
            centre = (float(x_of(side, 0.56 * chest.half_width)), level - 0.06)
            rows, columns = window(centre[1], 0.22), window(centre[0], 0.24)
            above = np.clip((y[rows] - np.float32(level - 0.2)) / np.float32(0.2), 0, 1) ** 1.5
            breast = disc(rows, columns, centre, (wide, 0.12), 0.09)
            thick[rows, columns] += (
                breast * np.asarray(above * chest.breasts[side], np.float32)[:, None]
            )
    plates = SOFT.blank()
    # A PA patient rolls the shoulder blades off the lungs; lying down (AP) they stay over them.
    inner = chest.half_width * (rng.uniform(0.6, 0.85) if ap else rng.uniform(0.8, 1.05))
    outer = inner + 0.135
    blade = [(outer, 0.02), (inner + 0.01, 0.07), (inner, 0.14), (inner + 0.06, 0.34)]
    blade += [(inner + 0.085, 0.33), (outer + 0.01, 0.12)]
    SOFT.fill(plates, both(np.array(blade) + np.array((0.0, chest.apex))), 255)
    thick += SOFT.plane(plates, 0.010, weight=0.04 * chest.bone)
    rows, columns, bubble = _gas(chest, erect=not ap)
    thick[rows, columns] -= np.float32(rng.uniform(0.05, 0.2)) * bubble
    thick -= np.float32(_AIRWAY) * _airway(chest)
    thick *= _body_weight(chest.half_width, chest.wall, chest.apex)
    # Muscle, fat and folds that no two people share.
    coarse = rng.standard_normal((9, 9), np.float32) * np.float32(0.022)
    return thick + upsampled(coarse)


def _bones(chest: Chest, canvas: Canvas, lungs: Mask) -> Plane:
    """Return the density of ribs and shoulder girdle; below the lungs scatter washes ribs out."""
    back, front = _ribs(chest)
    layer = canvas.blank()
    rim, core = ribbons(back, 0.021, 0.012)
    canvas.fill(layer, rim, 255)
    canvas.fill(layer, core, 150, crisp=False)
    arcs = canvas.blank()
    taper = ramp(0.019, 0.025, front.shape[1])
    rim, core = ribbons(front, taper, taper - 0.009)
    canvas.fill(arcs, rim, 255)
    canvas.fill(arcs, core, 170, crisp=False)
    whole = _RIB_BACK + _RIB_FRONT + _CLAVICLE
    ribs = cv2.addWeighted(layer, _RIB_BACK / whole, arcs, _RIB_FRONT / whole, 0)
    ribs = cv2.multiply(ribs, cv2.max(lungs, np.full_like(lungs, 70)), scale=1 / 255)
    c = chest.clavicle
    half = [(0.034, c), (0.12, c - 0.02), (0.22, c - 0.05), (0.31, c - 0.075), (0.41, c - 0.07)]
    collar = both(spline(half, 14))
    shaft = both(spline([(0.455, c - 0.01), (0.49, c + 0.08), (0.53, c + 0.25)], 7))
    wide = ramp(0.027, 0.022, 14)
    girdle = canvas.blank()
    rim, core = ribbons(collar, wide, wide - 0.010)
    outer, inner = ribbons(shaft, 0.062, 0.045)
    canvas.fill(girdle, rim, 255)
    canvas.fill(girdle, outer, 255)
    canvas.fill(girdle, core, 165, crisp=False)
    canvas.fill(girdle, inner, 165, crisp=False)
    bones = cv2.addWeighted(ribs, 1, girdle, _CLAVICLE / whole, 0).astype(np.uint8, copy=False)
    return canvas.plane(bones, 0.0022, weight=whole * chest.bone)


@dataclass(frozen=True, slots=True)
class Frontal:
    """A chest seen from the front: of one that lies on its back (AP), or stands (PA)."""

    chest: Chest
    ap: bool
    overlap: Literal[1] = 1
    heart_share: float = 0.87

    def lung(self, side: int) -> Points:
        """Return the outline of one lung, the heart not cut out."""
        return self.chest.lung(side)

    def heart(self) -> Points:
        """Return the outline of heart and great vessels."""
        return self.chest.heart()

    def body(self) -> Points:
        """Return the outline of neck, shoulders and trunk."""
        return _body(self.chest.half_width, self.chest.wall, self.chest.apex)

    def hilum_of(self, side: int) -> tuple[float, float]:
        """Return the centre of one hilum."""
        return self.chest.hilum_of(side)

    def soft_tissue(self, rng: np.random.Generator) -> Plane:
        """Return float32 [G, G]: the density of everything soft, lungs as if solid."""
        return _soft_tissue(self.chest, ap=self.ap, rng=rng)

    def bones(self, canvas: Canvas, lungs: Mask) -> Plane:
        """Return float32 [S, S]: ribs and shoulder girdle; below the lungs ribs are washed out."""
        return _bones(self.chest, canvas, lungs)
