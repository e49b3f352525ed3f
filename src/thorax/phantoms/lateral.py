"""The normal parts of a chest as they are seen from its left side; it looks to the left.

The chest's measures are those of the frontal view, and x is depth: the breastbone lies at low x,
the spine at high x. Both lungs lie over each other.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np

from thorax.phantoms.anatomy import bell, disc, step
from thorax.phantoms.canvas import (
    AXIS,
    SOFT,
    Canvas,
    Levels,
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
from thorax.phantoms.chest import SIDES, Chest

_FRONT = spline(
    [
        (0, -0.06),
        (0.06, -0.22),
        (0.2, -0.34),
        (0.45, -0.45),
        (0.75, -0.5),
        (1.0, -0.47),
        (1.4, -0.4),
    ],
    48,
)
_BACK = spline(
    [(0, 0.10), (0.05, 0.25), (0.2, 0.40), (0.45, 0.49), (0.75, 0.5), (1.0, 0.46), (1.4, 0.36)],
    48,
)
"""Front and back wall of the thorax: share of the height from apex to dome, share of the depth."""
_PEAK = -0.12
"""Where the domes are highest, share of the depth from the middle."""


def _heart_controls(k: float) -> Points:
    """Return the heart's outline: shares of the depth, and heights above the dome."""
    return np.array(
        [
            (-0.26 - 0.06 * k, -0.27),
            (-0.36, -0.20),
            (-0.45, -0.11),
            (-0.46, -0.01),
            (-0.34, 0.03),
            (-0.08, 0.035),
            (0.00 + 0.08 * k, -0.01),
            (0.01 + 0.115 * k, -0.07),
            (0.00 + 0.08 * k, -0.13),
            (-0.02 + 0.03 * k, -0.20),
            (-0.06, -0.27),
            (-0.16, -0.31),
        ]
    )


@dataclass(frozen=True, slots=True)
class Lateral:
    """A chest seen from its left side.

    Attributes:
        chest: its measures.
        depth: inner depth of the thorax, share of the field.
    """

    chest: Chest
    depth: float
    overlap: Literal[2] = 2
    heart_share: float = 0.5

    def at(self, z: Points | float) -> Points:
        """Return x at a share of the depth from the middle, -0.5 breastbone, 0.5 back."""
        return np.asarray(0.5 + np.asarray(z) * self.depth)

    def _level(self, y: Levels) -> Points:
        return np.asarray((y - self.chest.apex) / (min(self.chest.dome) - self.chest.apex))

    def front(self, y: Levels) -> Points:
        """Return x of the lungs' front border at heights y."""
        return self.at(np.interp(self._level(y), _FRONT[:, 0], _FRONT[:, 1]))

    def back(self, y: Levels) -> Points:
        """Return x of the lungs' back border at heights y."""
        return self.at(np.interp(self._level(y), _BACK[:, 0], _BACK[:, 1]))

    def floor(self, side: int, z: Points) -> Points:
        """Return y of a dome at shares z of the depth: deepest behind."""
        fall = self.chest.angle[side] - self.chest.dome[side]
        behind = np.maximum(0, (z - _PEAK) / (0.5 - _PEAK))
        before = np.maximum(0, (_PEAK - z) / (0.5 + _PEAK))
        return np.asarray(self.chest.dome[side] + 1.5 * fall * behind**2 + 0.6 * fall * before**2)

    @lru_cache(maxsize=16)  # noqa: B019
    def lung(self, side: int) -> Points:
        """Return the outline of one lung, the heart not cut out."""
        q = ramp(0, 1, 30)
        y = self.chest.apex + q * (self.chest.angle[side] + 0.05 - self.chest.apex)
        front, back = self.front(y), self.back(y)
        z = ramp(-0.48, 0.48, 30)
        bottom = self.floor(side, z)
        before = y < self.floor(side, (front - 0.5) / self.depth)
        behind = y < self.floor(side, (back - 0.5) / self.depth)
        return np.concatenate(
            (
                curve(front[before], y[before]),
                curve(self.at(z), bottom)[self._inside(self.at(z), bottom)],
                curve(back[behind], y[behind])[::-1],
            )
        )

    def _inside(self, x: Points, y: Points) -> Points:
        return np.asarray((x > self.front(y)) & (x < self.back(y)))

    @lru_cache(maxsize=8)  # noqa: B019
    def heart(self) -> Points:
        """Return the outline of the heart, which lies on the dome behind the breastbone."""
        k = (self.chest.ratio - 0.30) / 0.12
        controls = _heart_controls(k) * (self.depth, 1.0) + (0.5, min(self.chest.dome))
        return np.asarray(spline(controls, 60, closed=True))

    def body(self) -> Points:
        """Return the outline of neck, breast, back and belly."""
        a, d, wall = self.chest.apex, self.depth, self.chest.wall
        front = [(-0.09, -0.3), (-0.10, a - 0.05), (-0.34 * d - wall, a + 0.06)]
        front += [
            (-0.52 * d - wall, a + 0.30),
            (-0.55 * d - wall, a + 0.6),
            (-0.5 * d - wall, 1.25),
        ]
        back = [(0.10, -0.3), (0.16, a - 0.06), (0.5 * d + wall, a + 0.08)]
        back += [(0.54 * d + wall, a + 0.35), (0.5 * d + wall, a + 0.62), (0.42 * d + wall, 1.25)]
        centre = np.array((0.5, 0.0))
        outline: Points = np.concatenate((spline(front, 30), spline(back, 30)[::-1])) + centre
        return outline

    def hilum_of(self, side: int) -> tuple[float, float]:
        """Return the centre of one hilum: the left lies behind and above the right."""
        y = self.chest.height(0, 0.43 - 0.03 * side) + 0.5 * sum(self.chest.hilum)
        return float(self.at(-0.02 + 0.07 * side)), y

    def spine(self, y: Points) -> Points:
        """Return x of the vertebral bodies' middle at heights y."""
        bow = 0.06 + 2 * abs(self.chest.spine_bend)
        return self.at(0.30 + bow * np.sin(np.pi * np.clip(self._level(y), 0, 1.2)))

    def soft_tissue(self, rng: np.random.Generator) -> Plane:
        """Return float32 [G, G]: the density of everything soft, lungs as if solid."""
        chest, y = self.chest, AXIS
        dome = min(chest.dome)
        belly, arms = rng.uniform(0.12, 0.24), rng.uniform(0.10, 0.22)
        down = np.stack(
            (
                0.44 + belly * step(y - np.float32(dome + 0.05), 0.05),
                arms * bell(y - np.float32(chest.apex - 0.03), 0.09),
            ),
            axis=1,
        )
        across = np.stack((np.ones_like(y), bell(y - np.float32(0.5), 0.3)))
        thick = np.asarray(down @ across, np.float32)
        thick += self._spine_column()
        breast = max(chest.breasts)
        if breast:
            centre = (float(self.at(-0.5)) - 0.02, chest.height(0, chest.breast_level[0]) - 0.05)
            rows, columns = window(centre[1], 0.16), window(centre[0], 0.14)
            thick[rows, columns] += breast * disc(rows, columns, centre, (0.09, 0.10), 0.12)
        width, height = chest.bubble[1:]
        centre = (float(self.at(0.08)), float(self.floor(1, np.array(0.08))) + 0.02 + height)
        rows, columns = window(centre[1], 0.1), window(centre[0], 0.12)
        gas = disc(rows, columns, centre, (width, height), 0.16)
        gas *= step(np.float32(centre[1] + 0.3 * height) - y[rows], 0.003)[:, None]
        thick[rows, columns] -= np.float32(rng.uniform(0.05, 0.18)) * gas
        thick += self._great_vessels()
        outline = SOFT.blank()
        SOFT.fill(outline, self.body(), 255)
        thick *= SOFT.plane(outline, 0.022)
        return thick + upsampled(rng.standard_normal((9, 9), np.float32) * np.float32(0.022))

    def _spine_column(self) -> Plane:
        """Return float32 [G, G]: vertebral bodies, which grow darker downwards over the lungs."""
        y = AXIS.astype(np.float64)
        off = AXIS[None] - self.spine(y).astype(np.float32)[:, None]
        body = np.exp(-((off / np.float32(0.036)) ** 6))
        block = 0.62 + 0.38 * step(np.cos(AXIS * np.float32(2 * np.pi / 0.062)) + 0.6, 0.3)
        fade = 0.24 - 0.09 * step(AXIS - np.float32(self.chest.height(0, 0.45)), 0.2)
        process = bell(off - np.float32(0.062), 0.018) * np.float32(0.4)
        return np.asarray((body + process) * (block * fade * self.chest.bone)[:, None], np.float32)

    def _great_vessels(self) -> Plane:
        """Return float32 [G, G]: the aortic arch and its way down; the trachea taken out."""
        chest = self.chest
        dome = min(chest.dome)
        layer = SOFT.blank()
        top = chest.height(0, 0.27)
        arch = [(-0.20, dome - 0.26), (-0.16, top + 0.05), (-0.02, top), (0.14, top + 0.05)]
        arch += [(0.22, chest.height(0, 0.5)), (0.25, dome + 0.02)]
        way = spline([(float(self.at(z)), y) for z, y in arch], 24)
        SOFT.fill(layer, ribbons(way, 0.042 + chest.knob)[0], 255)
        aorta = SOFT.plane(layer, 0.006, weight=0.045)
        layer = SOFT.blank()
        x, y = self.hilum_of(0)
        tube = spline(
            [(0.5, -0.2), (0.5 + 0.02 * self.depth, chest.apex), (x + 0.01, y - 0.01)], 10
        )
        SOFT.fill(layer, ribbons(tube, 0.034)[0], 255)
        return aorta - SOFT.plane(layer, 0.004, weight=0.05)

    def bones(self, canvas: Canvas, lungs: Mask) -> Plane:
        """Return float32 [S, S]: ribs of both sides, breastbone and shoulder blades."""
        chest = self.chest
        q = ramp(0, 1, 12)
        layer = canvas.blank()
        for side in SIDES:
            # The right ribs lie farther from the detector and are magnified.
            grown = 1.0 + 0.05 * (1 - side)
            for rib in range(9):
                share = 0.02 + 0.105 * rib + 0.02 * side
                start = chest.height(side, share)
                end = start + (0.12 + 0.012 * rib)
                x = self.back(np.array(start)) + 0.008
                goal = self.front(np.array(end)) + (0.03 + 0.012 * rib) * self.depth
                u = x + (goal - x) * q
                v = start + (end - start) * q**1.15 - 0.012 * np.sin(np.pi * q)
                centre = curve(0.5 + (u - 0.5) * grown, v)
                rim, core = ribbons(centre, 0.017, 0.010)
                band = canvas.blank() if rib % 2 else layer
                canvas.fill(band, rim, 150)
                canvas.fill(band, core, 105, crisp=False)
                if rib % 2:
                    layer = cv2.max(layer, band).astype(np.uint8, copy=False)
        shown = cv2.max(lungs, np.full_like(lungs, 70))
        ribs: Mask = cv2.multiply(layer, shown, scale=1 / 255).astype(np.uint8, copy=False)
        y = ramp(chest.apex + 0.03, min(chest.dome) - 0.03, 16)
        sternum = curve(self.front(y) - 0.012, y)
        blade_y = ramp(chest.apex - 0.03, chest.height(0, 0.42), 8)
        blade = curve(self.back(blade_y) - 0.02 + 0.02 * np.sin(9 * blade_y), blade_y)
        canvas.fill(ribs, ribbons(sternum, 0.02)[0], 190)
        canvas.stroke(ribs, np.stack((blade, blade + np.array((-0.05, 0.01)))), 0.006, 130)
        return canvas.plane(ribs, 0.0022, weight=0.075 * chest.bone)


def sample_lateral(chest: Chest, rng: np.random.Generator, *, inflated: float) -> Lateral:
    """Draw how deep a chest is; inflation, 0-1, makes a barrel of it."""
    share = rng.uniform(1.28, 1.5) + 0.16 * inflated
    return Lateral(chest, chest.half_width * share)
