"""How the normal parts of a phantom's chest are drawn, and how all is summed and developed.

The picture is optical density: parts add up, air takes away, and a sigmoid curve displays it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from thorax.phantoms.canvas import (
    SOFT,
    SOFT_SIDE,
    Canvas,
    Mask,
    Plane,
    Points,
    curve,
    noise,
    painted_rows,
    ramp,
    ribbons,
    spline,
    stream,
    upsampled,
    window,
)
from thorax.phantoms.chest import SIDES, SIGN, Chest, x_of

# What one part adds to the optical density picture, soft tissue of a chest being about 0.5.
_AIR: Final = 0.33
_RIB_BACK: Final = 0.105
_RIB_FRONT: Final = 0.06
_CLAVICLE: Final = 0.12
_VESSEL: Final = 0.17
_METAL: Final = 0.55


# Which of a branch's places fork.
_KNOTS: Final = np.array([2, 3, 5])


def _both(half: Points) -> Points:
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
def _branches(tree: int) -> tuple[Points, Points, Points, Points]:
    """Return how a patient's vessels run: u and y of the branches, then of forks off these."""
    rng = stream(tree, 0, 0)
    count, steps = 11, 8
    angle = ramp(-1.3, 1.4, count) + rng.uniform(-0.16, 0.16, (2, count))
    length = rng.uniform(0.6, 1.0, (2, count)) * np.where(angle < 0, 0.23, 0.27)
    turn = angle[..., None] + np.cumsum(rng.normal(0, 0.16, (2, count, steps)), axis=-1)
    turn += rng.uniform(-0.12, 0.12, (2, count, 1)) * np.arange(steps)
    step = (length / (steps - 1))[..., None] * (np.arange(steps) > 0)
    u = np.cumsum(np.cos(turn) * step, axis=-1)
    y = np.cumsum(np.sin(turn) * step * 1.15, axis=-1)
    q = ramp(0, 1, 6)
    shape = (2, count, len(_KNOTS))
    way = turn[..., _KNOTS] + (2.0 * rng.integers(0, 2, shape) - 1.0) * rng.uniform(0.4, 0.9, shape)
    arc = way[..., None] + rng.uniform(-0.9, 0.9, shape)[..., None] * q
    reach = (length[..., None] * rng.uniform(0.22, 0.5, shape))[..., None] * q
    return u, y, np.cos(arc) * reach, np.sin(arc) * reach


def _vascular_tree(chest: Chest) -> list[tuple[float, Points]]:
    """Return curves by width: branches that leave each hilum, bend, fork and taper."""
    u, y, fork_u, fork_y = _branches(chest.tree)
    sign = np.array(SIGN)[:, None, None]
    u = u + chest.mediastinum + 0.014
    y = y + np.array([[[chest.height(0, 0.46)]], [[chest.height(1, 0.43)]]])
    main = curve(chest.middle + sign * u, y)
    fork_u = u[..., _KNOTS][..., None] + fork_u
    fork_y = y[..., _KNOTS][..., None] + fork_y
    forks = curve(chest.middle + sign[..., None] * fork_u, fork_y)
    return [
        (0.0027, forks[:, :, 1:].reshape(-1, forks.shape[-2], 2)),
        (0.0036, np.concatenate((forks[:, :, 0, :4], main[:, :, 4:]), axis=1)),
        (0.0055, main[:, :, 2:5]),
        (0.0085, main[:, :, :3]),
    ]


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


AXIS: Final[Plane] = ((np.arange(SOFT_SIDE) + 0.5) / SOFT_SIDE).astype(np.float32)
"""Centres of the soft grid, which lies in the patient frame, unposed."""


def _bell(values: Plane, width: float) -> Plane:
    return np.asarray(np.exp(-((values / np.float32(width)) ** 2)), np.float32)


def _step(values: Plane, width: float) -> Plane:
    return np.asarray(0.5 + 0.5 * np.tanh(values / np.float32(width)), np.float32)


def _disc(
    rows: slice, columns: slice, centre: tuple[float, float], size: tuple[float, float], soft: float
) -> Plane:
    """Return a window of the soft grid, 0-1: a soft-edged ellipse."""
    x = (AXIS[columns] - np.float32(centre[0])) / np.float32(size[0])
    y = (AXIS[rows] - np.float32(centre[1])) / np.float32(size[1])
    return _step(1 - np.sqrt(x[None] ** 2 + y[:, None] ** 2), soft)


def _spine(chest: Chest, strip: slice) -> Plane:
    y = AXIS[:, None]
    off = AXIS[strip] - np.float32(0.5) - np.float32(chest.spine_bend) * np.sin(y * np.float32(5))
    block = np.cos(y * np.float32(2 * np.pi / 0.052))
    column = np.exp(-((off / np.float32(0.03)) ** 4))
    pedicle = _bell(np.abs(off) - np.float32(0.019), 0.006) * _step(block, 0.3)
    column *= np.float32(0.055) + np.float32(0.018) * block
    return np.asarray((column + np.float32(0.05) * pedicle) * chest.bone, np.float32)


def soft_tissue(chest: Chest, *, ap: bool, rng: np.random.Generator) -> Plane:
    """Return float32 [G, G], patient frame: the density of everything soft, lungs as if solid."""
    dome = sum(chest.dome) / 2
    y, off = AXIS, AXIS - np.float32(chest.middle)
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
    strip = window(0.5, 0.06)
    thick[:, strip] += _spine(chest, strip)
    if chest.breasts:
        level = chest.height(0, 0.78)
        above = np.clip((y - np.float32(level - 0.16)) / np.float32(0.2), 0, 1) * chest.breasts
        for side in SIDES:
            centre = (float(x_of(side, 0.56 * chest.half_width)), level)
            rows, columns = window(level, 0.2), window(centre[0], 0.22)
            disc = _disc(rows, columns, centre, (0.155, 0.135), 0.07)
            thick[rows, columns] += disc * above[rows, None]
    plates = SOFT.blank()
    # A PA patient rolls the shoulder blades off the lungs; lying down (AP) they stay over them.
    inner = chest.half_width * (0.66 if ap else 0.98)
    outer = inner + 0.135
    blade = [(outer, 0.02), (inner + 0.01, 0.07), (inner, 0.14), (inner + 0.06, 0.34)]
    blade += [(inner + 0.085, 0.33), (outer + 0.01, 0.12)]
    SOFT.fill(plates, _both(np.array(blade) + np.array((0.0, chest.apex))), 255)
    thick += SOFT.plane(plates, 0.006, weight=0.05 * chest.bone)
    offset, width, height = chest.bubble
    level = float(chest.floor(1, np.array(offset))) + 0.022 + height
    rows, columns = window(level, 0.08), window(0.5 + offset, 0.1)
    thick[rows, columns] -= 0.2 * _disc(rows, columns, (0.5 + offset, level), (width, height), 0.22)
    thick *= _body_weight(chest.half_width, chest.wall, chest.apex)
    coarse = rng.standard_normal((9, 9), np.float32) * np.float32(0.012)
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
    ribs = cv2.multiply(ribs, cv2.max(lungs, np.full_like(lungs, 102)), scale=1 / 255)
    c = chest.clavicle
    half = [(0.034, c), (0.12, c - 0.02), (0.22, c - 0.05), (0.31, c - 0.075), (0.41, c - 0.07)]
    collar = _both(spline(half, 14))
    shaft = _both(spline([(0.455, c - 0.01), (0.49, c + 0.08), (0.53, c + 0.25)], 7))
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


@dataclass(slots=True)
class Signs:
    """What findings do to the drawing, beside changing the chest's measures.

    Attributes:
        fill: float32 [G, G], 0-1, patient frame: share of the air replaced, soft signs.
        solid: float32 [S, S], 0-1: the same, signs with an edge; None = nothing.
        bare: uint8 [S, S], 255 where no lung markings are and the air is freest; None = nowhere.
        added: float32 [S, S]: density added last, air-fluid levels and thin lines; None = nothing.
        hazy: share of the vessels' sharpness lost, 0-1.
    """

    fill: Plane = field(default_factory=lambda: np.zeros((SOFT_SIDE, SOFT_SIDE), np.float32))
    solid: Plane | None = None
    bare: Mask | None = None
    added: Plane | None = None
    hazy: float = 0.0


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
    # Above and below the lungs there is no air and no vessel to add.
    rows = painted_rows(lungs)
    air = canvas.posed(np.asarray(keep, np.float32), max(1, rows.stop))[rows]
    air *= lungs[rows].astype(np.float32)
    air *= 1 - np.float32(0.9) * heart[rows]
    if signs.solid is not None:
        air *= 1 - signs.solid[rows]
    layer = canvas.blank()
    for (width, curves), shade in zip(_vascular_tree(chest), (165, 200, 225, 255), strict=True):
        canvas.stroke(layer, curves, width, shade)
    if signs.bare is not None:
        layer = cv2.subtract(layer, signs.bare).astype(np.uint8, copy=False)
        air *= 1 + canvas.plane(signs.bare[rows], weight=0.36)
    layer = canvas.blurred(layer, 0.0018 + 0.004 * signs.hazy)[rows]
    vessels = canvas.plane(layer, weight=_VESSEL * chest.vessels)
    vessels -= np.float32(_AIR * chest.air)
    vessels *= air
    heart *= np.float32(0.05)
    picture += heart
    picture[rows] += vessels
    if signs.solid is not None:
        solid = (signs.solid[rows] * 130).astype(np.uint8)
        cv2.subtract(lungs[rows], solid, lungs[rows])
    picture += _bones(chest, canvas, lungs)
    if signs.added is not None:
        picture += signs.added
    layer = canvas.blank()
    canvas.fill(layer, _body(chest.half_width, chest.wall, chest.apex), 255)
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
