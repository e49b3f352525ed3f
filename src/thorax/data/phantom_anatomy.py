"""The chest of a phantom: what it measures and how its normal parts are drawn.

Lengths are shares of the field, which is `FIELD_CM` wide; the patient's right is at low x. Sides
are 0 (patient's right) and 1 (left). A level is a share of the lung's height, 0 apex to 1 base.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from thorax.data.phantom_canvas import (
    SOFT_SIDE,
    UNPOSED,
    Canvas,
    Mask,
    Plane,
    Points,
    noise,
    ribbon,
    spline,
    stream,
)

FIELD_CM: Final = 38.0
SIDES: Final = (0, 1)
_SIGN: Final = (-1.0, 1.0)

# What one part adds to the optical density picture, soft tissue of a chest being about 0.5.
_AIR: Final = 0.33
_RIB_BACK: Final = 0.105
_RIB_FRONT: Final = 0.06
_CLAVICLE: Final = 0.12
_VESSEL: Final = 0.17
_METAL: Final = 0.55


@dataclass(frozen=True, slots=True)
class Chest:
    """The measures of one chest, as a patient has them or as findings have changed them.

    Attributes:
        half_width: inner half-width of the thorax at its widest.
        apex: y of the lung apices.
        dome: y of the top of each hemidiaphragm.
        angle: y of each costophrenic angle.
        mediastinum: half-width of the upper mediastinum.
        ratio: cardiothoracic ratio.
        middle: x of the midline of heart and mediastinum.
        knob: size of the aortic knob.
        air: how dark the lungs are, 1 = usual.
        vessels: strength of the vascular markings, 1 = usual.
        wall: soft tissue beside the ribs.
        rib_slope: how far the back ribs fall from spine to side.
        rib_phase: where the first rib sits, share of the rib spacing.
        clavicle: y of the inner end of the clavicles.
        spine_bend: lateral bend of the spine.
        breasts: density of the breast shadows; 0 = none.
        bubble: (offset, width, height) of the gastric air bubble.
        bone: density of the bones, 1 = usual.
        tree: seed of the vascular tree.
    """

    half_width: float
    apex: float
    dome: tuple[float, float]
    angle: tuple[float, float]
    mediastinum: float
    ratio: float
    middle: float
    knob: float
    air: float
    vessels: float
    wall: float
    rib_slope: float
    rib_phase: float
    clavicle: float
    spine_bend: float
    breasts: float
    bubble: tuple[float, float, float]
    bone: float
    tree: int

    def height(self, side: int, level: float) -> float:
        """Return y at a level of one lung, 0 = apex, 1 = costophrenic angle."""
        return self.apex + level * (self.angle[side] - self.apex)

    def _share(self, side: int, y: Points) -> Points:
        return np.clip((y - self.apex) / (self.angle[side] - self.apex), 0, 1)

    def lateral(self, side: int, y: Points) -> Points:
        """Return the distance of the chest wall from x = 0.5 at heights y."""
        left = 1 - self._share(side, y)
        start = 0.4 * self.half_width
        return np.asarray(start + (self.half_width - start) * (1 - left**2) ** 0.55)

    def medial(self, side: int, y: Points) -> Points:
        """Return the distance of the lung's inner border from x = 0.5, the heart aside."""
        left = 1 - self._share(side, y)
        start = 0.4 * self.half_width
        return np.asarray(start - (start - self.mediastinum) * (1 - left**6) ** 0.5)

    def floor(self, side: int, u: Points) -> Points:
        """Return y of the diaphragm at distances u from x = 0.5."""
        top = 0.52 * self.half_width
        out = np.clip((u - top) / (self.half_width - top), 0, 1)
        inner = np.clip((top - u) / top, 0, 1)
        dome, angle = self.dome[side], self.angle[side]
        return np.asarray(dome + (angle - dome) * out**2.3 + 0.035 * inner**2)

    def lung(self, side: int) -> Points:
        """Return float64 [n, 2]: the outline of one lung, the heart not cut out."""
        return _lung_outline(self, side)

    def heart(self) -> Points:
        """Return float64 [n, 2]: the outline of heart and great vessels."""
        return _heart_outline(self)

    def _lung(self, side: int) -> Points:
        fall = np.linspace(0, 1, 22) ** 1.7
        y = self.apex + fall * (self.angle[side] - self.apex)
        u_out = self.lateral(side, y)
        u_floor = np.linspace(self.half_width, self.mediastinum, 18)[1:-1]
        y_in = y[::-1]
        u_in = self.medial(side, y_in)
        low = y_in > self.floor(side, u_in)
        u = np.concatenate((u_out, u_floor, u_in[~low]))
        v = np.concatenate((y, self.floor(side, u_floor), y_in[~low]))
        return np.column_stack((0.5 + _SIGN[side] * u, v))

    def _heart(self) -> Points:
        whole = 2 * self.ratio * self.half_width
        right, left = 0.35 * whole, 0.65 * whole
        high, low = self.apex, max(self.dome)
        k, m = self.knob, self.mediastinum

        def at(level: float) -> float:
            return high + level * (low - high)

        controls = [
            (m * 0.75, at(0.0)),
            (m * 0.8, at(0.18)),
            (m + k, at(0.27)),
            (m + 0.8 * k, at(0.34)),
            (m * 1.0, at(0.395)),
            (m * 1.22, at(0.46)),
            (m + 0.30 * (left - m), at(0.60)),
            (m + 0.78 * (left - m), at(0.76)),
            (left, at(0.905)),
            (left * 0.95, at(1.0)),
            (left * 0.6, at(1.09)),
            (0.0, at(1.12)),
            (-right * 0.75, at(1.06)),
            (-right * 0.96, at(0.93)),
            (-right, at(0.80)),
            (-right * 0.82, at(0.66)),
            (-m * 0.95, at(0.5)),
            (-m * 0.9, at(0.3)),
            (-m * 0.75, at(0.0)),
        ]
        outline = spline(controls, 76, closed=True)
        return np.asarray(outline + np.array([self.middle, 0.0]))

    def heart_border(self, side: int, y: float) -> float:
        """Return the distance of the heart's border from x = 0.5 at one height."""
        outline = self.heart()
        near = outline[np.abs(outline[:, 1] - y) < 0.03]
        if not len(near):
            return self.mediastinum
        return float(max(0.0, (_SIGN[side] * (near[:, 0] - 0.5)).max()))


# Findings and drawing ask for the same outlines several times a picture.
@lru_cache(maxsize=16)
def _lung_outline(chest: Chest, side: int) -> Points:
    return chest._lung(side)


@lru_cache(maxsize=8)
def _heart_outline(chest: Chest) -> Points:
    return chest._heart()


@lru_cache(maxsize=8)
def _body_outline(chest: Chest) -> Points:
    return _body(chest)


def x_of(side: int, u: Points | float) -> Points:
    """Return x at distances u from the midline, on one side."""
    return np.asarray(0.5 + _SIGN[side] * np.asarray(u))


def _both(half: Points) -> Points:
    """Return float64 [2, n, 2] from distances and heights [n, 2]: the curve on either side."""
    u, y = half[:, 0], half[:, 1]
    return np.stack((np.column_stack((0.5 - u, y)), np.column_stack((0.5 + u, y))))


def sample_chest(rng: np.random.Generator) -> Chest:
    """Draw the chest of one patient."""
    half_width = rng.uniform(0.295, 0.345)
    apex = rng.uniform(0.12, 0.16)
    dome = apex + rng.uniform(0.49, 0.55)
    lift = rng.uniform(0.008, 0.028)
    fall = rng.uniform(0.075, 0.105)
    return Chest(
        half_width=half_width,
        apex=apex,
        dome=(dome, dome + lift),
        angle=(dome + fall, dome + lift + fall * rng.uniform(0.9, 1.05)),
        mediastinum=rng.uniform(0.052, 0.066),
        ratio=rng.uniform(0.40, 0.465),
        middle=0.5 + rng.normal(0, 0.003),
        knob=rng.uniform(0.012, 0.03),
        air=rng.uniform(0.92, 1.06),
        vessels=rng.uniform(0.75, 1.15),
        wall=rng.uniform(0.035, 0.085),
        rib_slope=rng.uniform(0.035, 0.085),
        rib_phase=rng.uniform(-0.3, 0.3),
        clavicle=rng.uniform(0.175, 0.215),
        spine_bend=rng.normal(0, 0.006),
        breasts=rng.uniform(0.03, 0.085) if rng.random() < 0.5 else 0.0,
        bubble=(rng.uniform(0.11, 0.19), rng.uniform(0.02, 0.045), rng.uniform(0.012, 0.03)),
        bone=rng.uniform(0.8, 1.2),
        tree=int(rng.integers(0, 2**32)),
    )


def _ribs(chest: Chest) -> tuple[Points, Points]:
    """Return the centre lines [ribs, n, 2] of the ribs' back and front arcs."""
    q = np.linspace(0, 1, 12)
    back, front = [], []
    for side in SIDES:
        rib = np.arange(10.0)
        spacing = (chest.angle[side] - chest.apex) / 9.0
        start = chest.apex + spacing * (rib + 0.45 + chest.rib_phase)
        drop = chest.rib_slope * (0.5 + 0.09 * rib)
        end = start + drop
        reach = (chest.lateral(side, end) + 0.006)[:, None]
        u = 0.028 + (reach - 0.028) * q
        y = start[:, None] - 0.018 * np.sin(np.pi * q) + drop[:, None] * q**2.2
        back.append(np.stack((x_of(side, u), y), axis=-1))
        rib = rib[1:7, None]
        reach, end = reach[1:7], end[1:7, None]
        u = reach - np.minimum(0.9, 0.5 + 0.05 * rib) * (reach - 0.05) * q**1.3
        y = end + (0.05 + 0.016 * rib) * np.sin(q * np.pi / 2)
        front.append(np.stack((x_of(side, u), y), axis=-1))
    return np.concatenate(back), np.concatenate(front)


def _vascular_tree(chest: Chest) -> list[tuple[float, Points]]:
    """Return curves by width: branches that leave each hilum, bend, fork and taper."""
    rng = stream(chest.tree, 0, 0)
    count, steps = 11, 8
    sign = np.array(_SIGN)[:, None, None]
    angle = np.linspace(-1.3, 1.4, count) + rng.uniform(-0.16, 0.16, (2, count))
    length = rng.uniform(0.6, 1.0, (2, count)) * np.where(angle < 0, 0.23, 0.27)
    turn = angle[..., None] + np.cumsum(rng.normal(0, 0.16, (2, count, steps)), axis=-1)
    turn += rng.uniform(-0.12, 0.12, (2, count, 1)) * np.arange(steps)
    step = (length / (steps - 1))[..., None] * (np.arange(steps) > 0)
    u = np.cumsum(np.cos(turn) * step, axis=-1) + chest.mediastinum + 0.014
    y = np.cumsum(np.sin(turn) * step * 1.15, axis=-1)
    y += np.array([[[chest.height(0, 0.46)]], [[chest.height(1, 0.43)]]])
    main = np.stack((chest.middle + sign * u, y), axis=-1)
    knots = np.array([2, 3, 5])
    q = np.linspace(0, 1, 6)
    shape = (2, count, len(knots))
    way = turn[..., knots] + rng.choice((-1.0, 1.0), shape) * rng.uniform(0.4, 0.9, shape)
    arc = way[..., None] + rng.uniform(-0.9, 0.9, shape)[..., None] * q
    reach = (length[..., None] * rng.uniform(0.22, 0.5, shape))[..., None] * q
    fork_u = u[..., knots][..., None] + np.cos(arc) * reach
    fork_y = y[..., knots][..., None] + np.sin(arc) * reach
    forks = np.stack((chest.middle + sign[..., None] * fork_u, fork_y), axis=-1)
    return [
        (0.0027, forks[:, :, 1:].reshape(-1, len(q), 2)),
        (0.0036, np.concatenate((forks[:, :, 0, :4], main[:, :, 4:]), axis=1)),
        (0.0055, main[:, :, 2:5]),
        (0.0085, main[:, :, :3]),
    ]


def _body(chest: Chest) -> Points:
    """Return the outline of neck, shoulders and trunk."""
    trunk = chest.half_width + chest.wall + 0.02
    top = chest.apex
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
    right = np.column_stack((0.5 - u, y))
    left = np.column_stack((0.5 + u[::-1], y[::-1]))
    return np.concatenate((spline(right, 50), spline(left, 50)))


_AXIS: Final[Plane] = ((np.arange(SOFT_SIDE) + 0.5) / SOFT_SIDE).astype(np.float32)
"""Centres of the soft grid, which lies in the patient frame, unposed."""


def _bell(values: Plane, width: float) -> Plane:
    return np.asarray(np.exp(-((values / np.float32(width)) ** 2)), np.float32)


def _step(values: Plane, width: float) -> Plane:
    return np.asarray(0.5 + 0.5 * np.tanh(values / np.float32(width)), np.float32)


def _near(centre: float, reach: float) -> slice:
    """Return the soft grid's indices within reach of a place."""
    return slice(
        max(0, int((centre - reach) * SOFT_SIDE)), min(SOFT_SIDE, int((centre + reach) * SOFT_SIDE))
    )


def _disc(
    rows: slice, columns: slice, centre: tuple[float, float], size: tuple[float, float], soft: float
) -> Plane:
    """Return a window of the soft grid, 0-1: a soft-edged ellipse."""
    x = (_AXIS[columns] - np.float32(centre[0])) / np.float32(size[0])
    y = (_AXIS[rows] - np.float32(centre[1])) / np.float32(size[1])
    return _step(1 - np.sqrt(x[None] ** 2 + y[:, None] ** 2), soft)


def _spine(chest: Chest, strip: slice) -> Plane:
    y = _AXIS[:, None]
    off = _AXIS[strip] - np.float32(0.5) - np.float32(chest.spine_bend) * np.sin(y * np.float32(5))
    block = np.cos(y * np.float32(2 * np.pi / 0.052))
    column = np.exp(-((off / np.float32(0.03)) ** 4))
    pedicle = _bell(np.abs(off) - np.float32(0.019), 0.006) * _step(block, 0.3)
    column *= np.float32(0.055) + np.float32(0.018) * block
    return np.asarray((column + np.float32(0.05) * pedicle) * chest.bone, np.float32)


def soft_tissue(chest: Chest, *, ap: bool, rng: np.random.Generator) -> Plane:
    """Return float32 [G, G], patient frame: the density of everything soft, lungs as if solid."""
    soft = Canvas(SOFT_SIDE, UNPOSED)
    outline = soft.blank()
    soft.fill(outline, _body_outline(chest), 255)
    dome = sum(chest.dome) / 2
    y, off = _AXIS, _AXIS - np.float32(chest.middle)
    one = np.ones_like(y)
    down = [
        one,
        0.43 + 0.20 * _step(y - np.float32(dome + 0.03), 0.06),
        -0.10 * _step(np.float32(chest.apex - 0.03) - y, 0.03),
        0.07 * _bell(y - np.float32(chest.apex + 0.02), 0.11),
        -0.13 * _step(np.float32(chest.height(0, 0.4)) - y, 0.012),
    ]
    across = [
        0.17 * _bell(off, 0.09),
        one,
        _bell(off, 0.5),
        _step(np.abs(off) - np.float32(0.2), 0.06),
        _bell(off - np.float32(0.002), 0.0135) ** 2,
    ]
    thick = np.asarray(np.stack(down, axis=1) @ np.stack(across), np.float32)
    strip = _near(0.5, 0.06)
    thick[:, strip] += _spine(chest, strip)
    if chest.breasts:
        level = chest.height(0, 0.78)
        above = np.clip((y - np.float32(level - 0.16)) / np.float32(0.2), 0, 1) * chest.breasts
        for side in SIDES:
            centre = (float(x_of(side, 0.56 * chest.half_width)), level)
            rows, columns = _near(level, 0.2), _near(centre[0], 0.22)
            disc = _disc(rows, columns, centre, (0.155, 0.135), 0.07)
            thick[rows, columns] += disc * above[rows, None]
    plates = soft.blank()
    # A PA patient rolls the shoulder blades off the lungs; lying down (AP) they stay over them.
    inner = chest.half_width * (0.66 if ap else 0.98)
    outer = inner + 0.135
    blade = [(outer, 0.02), (inner + 0.01, 0.07), (inner, 0.14), (inner + 0.06, 0.34)]
    blade += [(inner + 0.085, 0.33), (outer + 0.01, 0.12)]
    soft.fill(plates, _both(np.array(blade) + np.array((0.0, chest.apex))), 255)
    thick += soft.plane(plates, 0.006, weight=0.05 * chest.bone)
    offset, width, height = chest.bubble
    level = float(chest.floor(1, np.array(offset))) + 0.022 + height
    rows, columns = _near(level, 0.08), _near(0.5 + offset, 0.1)
    thick[rows, columns] -= 0.2 * _disc(rows, columns, (0.5 + offset, level), (width, height), 0.22)
    thick *= soft.plane(outline, 0.022)
    coarse = rng.standard_normal((9, 9), np.float32) * np.float32(0.012)
    uneven = cv2.resize(coarse, (SOFT_SIDE, SOFT_SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(thick + uneven, np.float32)


def _bones(chest: Chest, canvas: Canvas, lungs: Mask) -> Plane:
    """Return the density of ribs and shoulder girdle; below the lungs scatter washes ribs out."""
    back, front = _ribs(chest)
    layer = canvas.blank()
    canvas.fill(layer, ribbon(back, 0.021), 255)
    canvas.fill(layer, ribbon(back, 0.012), 150)
    arcs = canvas.blank()
    taper = np.linspace(0.019, 0.025, front.shape[1])
    canvas.fill(arcs, ribbon(front, taper), 255)
    canvas.fill(arcs, ribbon(front, taper - 0.009), 170)
    whole = _RIB_BACK + _RIB_FRONT + _CLAVICLE
    ribs = cv2.addWeighted(layer, _RIB_BACK / whole, arcs, _RIB_FRONT / whole, 0)
    ribs = cv2.multiply(ribs, cv2.max(lungs, np.full_like(lungs, 102)), scale=1 / 255)
    c = chest.clavicle
    half = [(0.034, c), (0.12, c - 0.02), (0.22, c - 0.05), (0.31, c - 0.075), (0.41, c - 0.07)]
    collar = _both(spline(half, 14))
    shaft = _both(spline([(0.455, c - 0.01), (0.49, c + 0.08), (0.53, c + 0.25)], 7))
    wide = np.linspace(0.027, 0.022, 14)
    girdle = canvas.blank()
    canvas.fill(girdle, ribbon(collar, wide), 255)
    canvas.fill(girdle, ribbon(shaft, 0.062), 255)
    canvas.fill(girdle, ribbon(collar, wide - 0.010), 165)
    canvas.fill(girdle, ribbon(shaft, 0.045), 165)
    bones = cv2.addWeighted(ribs, 1, girdle, _CLAVICLE / whole, 0).astype(np.uint8, copy=False)
    return canvas.plane(bones, 0.0022, weight=whole * chest.bone)


@dataclass(frozen=True, slots=True)
class Signs:
    """What findings do to the drawing, beside changing the chest's measures.

    Attributes:
        fill: float32 [G, G], 0-1, patient frame: share of the air replaced, soft signs.
        solid: float32 [S, S], 0-1: the same, signs with an edge; None = nothing.
        bare: uint8 [S, S], 255 where no lung markings are and the air is freest; None = nowhere.
        added: float32 [S, S]: density added last, air-fluid levels and thin lines; None = nothing.
        hazy: share of the vessels' sharpness lost, 0-1.
    """

    fill: Plane
    solid: Plane | None
    bare: Mask | None
    added: Plane | None
    hazy: float


def density(
    chest: Chest,
    canvas: Canvas,
    signs: Signs,
    *,
    ap: bool,
    metal: Sequence[tuple[float, Points]],
    rng: np.random.Generator,
) -> Plane:
    """Return float32 [S, S]: the optical density of the whole picture, 0 = air outside."""
    picture = canvas.posed(soft_tissue(chest, ap=ap, rng=rng))
    layer = canvas.blank()
    for side in SIDES:
        canvas.fill(layer, chest.lung(side), 255)
    lungs = canvas.blurred(layer, 0.0032)
    layer = canvas.blank()
    canvas.fill(layer, chest.heart(), 255)
    heart = canvas.plane(layer, 0.003)
    keep = 1 + np.float32(0.035) * noise(1, SOFT_SIDE, rng)
    keep *= (1 - signs.fill) * np.float32(1 / 255)
    air = canvas.posed(np.asarray(keep, np.float32))
    air *= lungs
    air *= 1 - np.float32(0.9) * heart
    if signs.solid is not None:
        air *= 1 - signs.solid
    layer = canvas.blank()
    for (width, curves), shade in zip(_vascular_tree(chest), (165, 200, 225, 255), strict=True):
        canvas.stroke(layer, curves, width, shade)
    if signs.bare is not None:
        layer = cv2.subtract(layer, signs.bare).astype(np.uint8, copy=False)
        air *= 1 + canvas.plane(signs.bare, weight=0.22)
    vessels = canvas.plane(layer, 0.0018 + 0.004 * signs.hazy, weight=_VESSEL * chest.vessels)
    vessels -= np.float32(_AIR * chest.air)
    vessels *= air
    heart *= np.float32(0.05)
    picture += heart
    picture += vessels
    picture += _bones(chest, canvas, lungs)
    if signs.added is not None:
        picture += signs.added
    layer = canvas.blank()
    canvas.fill(layer, _body_outline(chest), 255)
    picture *= canvas.plane(layer)
    if metal:
        layer = canvas.blank()
        for width, curves in metal:
            canvas.stroke(layer, curves, width, 255)
        picture += canvas.plane(layer, weight=_METAL)
    return picture


def develop(
    picture: Plane, canvas: Canvas, rng: np.random.Generator, *, centre: float, width: float
) -> Mask:
    """Return uint8 [S, S]: the picture through a sigmoid display curve, with noise.

    Quantum noise goes with the square root of the pixel's area, as a detector's does.
    """
    grain = 0.0065 * min(canvas.side, 768) / 256
    curve = np.multiply(noise(0, canvas.side, rng), np.float32(-grain))
    curve -= picture
    curve += np.float32(centre)
    curve *= np.float32(1 / width)
    cv2.exp(curve, curve)
    curve += 1
    np.divide(np.float32(255), curve, out=curve)
    curve += np.float32(0.5)
    return curve.astype(np.uint8)
