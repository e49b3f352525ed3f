"""Harmless shadows over a chest: lines, tubes, leads, a pacemaker, markers, skin and clothes.

They are drawn from the exposure and its patient alone, never from the findings, which some of them
resemble: nipples look like nodules, a fold of skin like the line of a pneumothorax.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from thorax.phantoms.canvas import (
    AXIS,
    SOFT,
    SOFT_SIDE,
    Canvas,
    Mask,
    Plane,
    Points,
    curve,
    ramp,
    ribbons,
    spline,
    window,
)
from thorax.phantoms.chest import SIDES, SIGN, Chest, x_of


@dataclass(frozen=True, slots=True)
class Shape:
    """A line of a width, or a filled outline where the width is 0, in the patient frame.

    Its shade is the share of what dense metal takes, 0-255.
    """

    points: Points
    shade: int
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Shadows:
    """What lies over one chest.

    Attributes:
        devices: names of the devices, in the order of `DEVICES`.
        shapes: lines and outlines with sharp edges.
        soft: float32 [G, G], patient frame: density added softly.
    """

    devices: tuple[str, ...]
    shapes: tuple[Shape, ...]
    soft: Plane


NO_SHADOWS: Final = Shadows((), (), np.zeros((SOFT_SIDE, SOFT_SIDE), np.float32))
"""Nothing over the chest."""
NO_SHADOWS.soft.flags.writeable = False


def painted(shapes: Sequence[Shape], canvas: Canvas) -> Mask:
    """Return uint8 [S, S]: the shapes, the faintest below."""
    layer = canvas.blank()
    for shape in sorted(shapes, key=lambda s: s.shade):
        if shape.width:
            canvas.stroke(layer, shape.points, shape.width, shape.shade)
        else:
            canvas.fill(layer, shape.points, shape.shade)
    return layer


def _circle(centre: tuple[float, float], radius: float) -> Points:
    angle = ramp(0, 2 * np.pi, 17)
    return curve(np.cos(angle), np.sin(angle)) * radius + centre


def _leads(chest: Chest, rng: np.random.Generator) -> list[Shape]:
    """ECG electrodes: translucent pads with a small snap, and thin wires."""
    shapes = []
    for side in SIDES:
        for level in rng.uniform(0.02, 0.9, int(rng.integers(1, 3))):
            x, y = (
                float(x_of(side, rng.uniform(0.45, 1.1) * chest.half_width)),
                chest.height(side, level),
            )
            way = [(x, y), (x + rng.normal(0, 0.05), y + 0.10), (rng.uniform(0.25, 0.75), y + 0.35)]
            way.append((rng.uniform(0.1, 0.9), 1.2))
            shapes += [
                Shape(_circle((x, y), 0.021), 16),
                Shape(_circle((x, y), 0.007), 120),
                Shape(spline(way, 24), 62, 0.0026),
            ]
    return shapes


def _endotracheal_tube(chest: Chest, rng: np.random.Generator) -> list[Shape]:
    tip = chest.height(0, rng.uniform(0.14, 0.26))
    x = chest.middle - 0.004
    way = spline([(0.5, -0.1), (0.5, chest.apex * 0.5), (x, tip)], 12)
    wall = [way + np.array((u, 0.0)) for u in (-0.011, 0.011)]
    return [Shape(np.array(wall), 40, 0.003), Shape(way + np.array((0.007, 0.0)), 120, 0.0022)]


def _central_line(chest: Chest, rng: np.random.Generator) -> list[Shape]:
    side = int(rng.integers(2))
    tip = (chest.middle - 0.032, chest.height(0, rng.uniform(0.34, 0.5)))
    vena = (chest.middle - 0.034, chest.height(0, 0.2))
    if rng.random() < 0.5:  # by the jugular vein
        start = float(x_of(side, rng.uniform(0.06, 0.1)))
        way = [(start, -0.05), (start * 0.7 + 0.15, chest.apex - 0.01), vena, tip]
    else:  # below the clavicle
        way = [
            (float(x_of(side, 0.27)), chest.clavicle + 0.05),
            (float(x_of(side, 0.16)), chest.clavicle),
        ]
        way += [(float(x_of(side, 0.05)), chest.clavicle + 0.03), vena, tip]
    return [Shape(spline(way, 28), 100, 0.0036)]


def _nasogastric_tube(chest: Chest, rng: np.random.Generator) -> list[Shape]:
    m = chest.middle
    end = (m + chest.bubble[0], chest.dome[1] + rng.uniform(0.08, 0.16))
    way = [(0.495, -0.1), (m + 0.004, chest.height(0, 0.3)), (m + 0.012, chest.dome[1] - 0.03)]
    bend = (0.55 * m + 0.45 * end[0], 0.5 * (chest.dome[1] + end[1]) + 0.02)
    way += [(m + 0.018, chest.dome[1] + 0.01), bend, end]
    return [Shape(spline(way, 48), 95, 0.0036)]


def _pacemaker(chest: Chest, rng: np.random.Generator) -> list[Shape]:
    side = int(rng.random() < 0.85)
    x, y = (
        float(x_of(side, rng.uniform(0.68, 0.82) * chest.half_width)),
        chest.clavicle + rng.uniform(0.06, 0.10),
    )
    angle = ramp(0, 2 * np.pi, 25)[:-1]
    can = curve(np.cos(angle), np.sin(angle)) * (0.052, 0.046)
    can = can * (1 - 0.12 * np.cos(2 * angle) ** 2)[:, None] + (x, y)
    m = chest.middle
    base = max(chest.dome)
    way = [
        (x, y - 0.04),
        (x - SIGN[side] * 0.08, chest.clavicle),
        (m - 0.034, chest.height(0, 0.2)),
    ]
    way += [(m - 0.04, chest.height(0, 0.5))]
    atrium = spline([*way, (m - 0.055, base - 0.13), (m - 0.035, base - 0.17)], 32)
    ventricle = spline(
        [*way, (m - 0.02, base - 0.06), (m + 0.055 + 0.3 * (chest.ratio - 0.4), base - 0.025)], 36
    )
    shapes = [Shape(can, 190), Shape(_circle((x + 0.012, y + 0.008), 0.019), 235)]
    shapes += [Shape(ventricle, 110, 0.0034)]
    return shapes + ([Shape(atrium, 110, 0.0034)] if rng.random() < 0.6 else [])


def _sternal_wires(chest: Chest, rng: np.random.Generator) -> list[Shape]:
    loops = []
    for level in np.linspace(0.16, 0.72, int(rng.integers(5, 7))):
        centre = (chest.middle + rng.normal(0, 0.004), chest.height(0, float(level)))
        loops.append(_circle((0.0, 0.0), 1.0) * (rng.uniform(0.010, 0.014), 0.008) + centre)
    return [Shape(np.array(loops), 170, 0.0026)]


DEVICES: Final = {
    "ecg": (_leads, 0.08, 0.22),
    "endotracheal_tube": (_endotracheal_tube, 0.0, 0.22),
    "central_line": (_central_line, 0.04, 0.25),
    "nasogastric_tube": (_nasogastric_tube, 0.02, 0.2),
    "pacemaker": (_pacemaker, 0.07, 0.07),
    "sternal_wires": (_sternal_wires, 0.06, 0.06),
}
"""How each device is drawn, and how often in PA and in AP exposures."""


def _marker(canvas: Canvas, rng: np.random.Generator) -> list[Shape]:
    """A lead letter beside the shoulder that it names, or none."""
    if rng.random() > 0.7:
        return []
    side = int(rng.integers(2))
    size = rng.uniform(0.028, 0.042)
    corner = np.array([rng.uniform(0.03, 0.09), rng.uniform(0.03, 0.20)])
    if side:
        corner[0] = 1 - corner[0] - 0.6 * size
    letter: list[list[tuple[float, float]]] = [[(0, 0), (0, 1), (0.6, 1)]]
    if not side:
        bow = [(0.0, 1.0), (0, 0), (0.45, 0), (0.6, 0.12), (0.6, 0.38), (0.45, 0.5), (0, 0.5)]
        letter = [[*bow, (0.25, 0.5), (0.6, 1)]]
    shade = int(rng.integers(150, 256))
    return [Shape(canvas.unplace(np.array(s) * size + corner), shade, 0.18 * size) for s in letter]


def _edge(centre: Points, depth: float) -> Plane:
    """Return float32 [G, G]: a fold, sharp along a curve and fading beside it."""
    layer = SOFT.blank()
    beside = centre[::-1] + np.array((depth, 0.0))
    SOFT.fill(layer, np.concatenate((centre, beside)), 255)
    sharp = SOFT.plane(layer, 0.003)
    return np.asarray(np.maximum(0, sharp - SOFT.plane(layer, 0.45 * abs(depth))), np.float32)


def _soft(chest: Chest, rng: np.random.Generator, *, ap: bool) -> Plane:
    """Return float32 [G, G]: nipples, folds of skin, clothes and muscle."""
    plane = np.zeros((SOFT_SIDE, SOFT_SIDE), np.float32)
    dice = rng.random(4)
    if dice[0] < 0.15:
        level, reach = chest.height(0, rng.uniform(0.62, 0.85)), rng.uniform(0.5, 0.68)
        size, amount = rng.uniform(0.007, 0.010), rng.uniform(0.03, 0.06)
        for side in SIDES:
            x, y = float(x_of(side, reach * chest.half_width)), level + rng.normal(0, 0.006)
            rows, columns = window(y, 0.03), window(x, 0.03)
            far = ((AXIS[rows] - y)[:, None] ** 2 + (AXIS[columns] - x)[None] ** 2) / size**2
            plane[rows, columns] += np.exp(-far * far) * np.float32(amount)
    if dice[1] < (0.25 if ap else 0.06):
        side = int(rng.integers(2))
        u = np.array([0.95, 0.85, 0.72, 0.7]) * chest.half_width + rng.normal(0, 0.02)
        v = np.array([0.05, 0.35, 0.65, 1.05]) + rng.normal(0, 0.04)
        down = chest.apex + v * (chest.angle[side] - chest.apex)
        fold = spline(curve(x_of(side, u), down), 20)
        plane += np.float32(rng.uniform(0.03, 0.06)) * _edge(
            fold, SIGN[side] * -rng.uniform(0.04, 0.08)
        )
    if dice[2] < 0.15:
        layer = SOFT.blank()
        for _ in range(int(rng.integers(1, 4))):
            x, y = rng.uniform(0.1, 0.9), rng.uniform(0.3, 1.0)
            way = spline(
                [(x, y), (x + rng.normal(0, 0.1), y + 0.1), (x + rng.normal(0, 0.2), y + 0.25)], 10
            )
            SOFT.fill(layer, ribbons(way, rng.uniform(0.01, 0.03))[0], 255)
        plane += SOFT.plane(layer, 0.008, weight=rng.uniform(0.01, 0.03))
    # Broad haze of muscle, fat and scattered radiation.
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0.15, 0.85, 2)
        broad, high = rng.uniform(0.10, 0.24, 2)
        across = np.exp(-(((AXIS - np.float32(x)) / np.float32(broad)) ** 2))
        down = np.exp(-(((AXIS - np.float32(y)) / np.float32(high)) ** 2))
        plane += np.outer(down * np.float32(rng.normal(0, 0.035)), across)
    return plane


def sample_shadows(chest: Chest, canvas: Canvas, rng: np.random.Generator, *, ap: bool) -> Shadows:
    """Draw what lies over a chest, as it is without findings."""
    names, shapes = [], []
    for name, (shape, pa_share, ap_share) in DEVICES.items():
        if rng.random() < (ap_share if ap else pa_share):
            names.append(name)
            shapes += shape(chest, rng)
    shapes += _marker(canvas, rng)
    return Shadows(tuple(names), tuple(shapes), _soft(chest, rng, ap=ap))
