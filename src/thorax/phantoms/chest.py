"""What the chest of a phantom measures, and the outlines that follow from it.

Lengths are shares of the field, which is `FIELD_CM` wide; the patient's right is at low x. Sides
are 0 (patient's right) and 1 (left). A level is a share of the lung's height, 0 apex to 1 base.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np

from thorax.phantoms.canvas import Levels, Points, curve, ramp, spline

FIELD_CM: Final = 38.0
SIDES: Final = (0, 1)
SIGN: Final = (-1.0, 1.0)
"""Which way x goes from the midline, by side."""


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
        apex_left: share of the heart's width that lies left of the midline.
        middle: x of the midline of heart and mediastinum.
        knob: size of the aortic knob.
        air: how dark the lungs are, 1 = usual.
        vessels: strength of the vascular markings, 1 = usual.
        wall: soft tissue beside the ribs.
        rib_slope: how far the back ribs fall from spine to side.
        rib_phase: where the first rib sits, share of the rib spacing.
        clavicle: y of the inner end of the clavicles.
        spine_bend: lateral bend of the spine.
        breasts: density of the breast shadow on either side; 0 = none.
        breast_level: y of their lower edge, and their half-width.
        bubble: (offset, width, height) of the gastric air bubble.
        bone: density of the bones, 1 = usual.
        tree: seed of the vascular tree.
        fissure: level of the minor fissure at the right hilum.
        hilum: how far each hilum is pulled down, share of the field.
    """

    half_width: float
    apex: float
    dome: tuple[float, float]
    angle: tuple[float, float]
    mediastinum: float
    ratio: float
    apex_left: float
    middle: float
    knob: float
    air: float
    vessels: float
    wall: float
    rib_slope: float
    rib_phase: float
    clavicle: float
    spine_bend: float
    breasts: tuple[float, float]
    breast_level: tuple[float, float]
    bubble: tuple[float, float, float]
    bone: float
    tree: int
    fissure: float = 0.46
    hilum: tuple[float, float] = (0.0, 0.0)

    def height(self, side: int, level: float) -> float:
        """Return y at a level of one lung, 0 = apex, 1 = costophrenic angle."""
        return self.apex + level * (self.angle[side] - self.apex)

    def _share(self, side: int, y: Levels) -> Points:
        share = (y - self.apex) / (self.angle[side] - self.apex)
        return np.asarray(np.minimum(np.maximum(share, 0), 1), np.float64)

    def lateral(self, side: int, y: Levels) -> Points:
        """Return the distance of the chest wall from x = 0.5 at heights y."""
        share = self._share(side, y)
        left = np.maximum(0, 1 - share / 0.72)
        start = 0.36 * self.half_width
        waist = 1 - 0.07 * np.maximum(0, (share - 0.72) / 0.28) ** 2
        return np.asarray((start + (self.half_width - start) * (1 - left**2) ** 0.5) * waist)

    def medial(self, side: int, y: Points) -> Points:
        """Return the distance of the lung's inner border from x = 0.5, the heart aside."""
        left = 1 - self._share(side, y)
        start = 0.36 * self.half_width
        return np.asarray(start - (start - self.mediastinum) * (1 - left**5) ** 0.5)

    def floor(self, side: int, u: Points) -> Points:
        """Return y of the diaphragm at distances u from x = 0.5."""
        top, edge = 0.50 * self.half_width, 0.93 * self.half_width
        out = np.minimum(np.maximum((u - top) / (edge - top), 0), 1)
        inner = np.maximum((top - u) / top, 0)
        dome, angle = self.dome[side], self.angle[side]
        return np.asarray(dome + (angle - dome) * out**2.3 + 0.035 * inner**2)

    def hilum_of(self, side: int) -> tuple[float, float]:
        """Return the centre of one hilum; the left lies higher."""
        y = self.height(side, 0.44 - 0.045 * side) + self.hilum[side]
        return self.middle + SIGN[side] * (self.mediastinum + 0.012), y

    # Findings and drawing ask for the same outlines several times a picture.
    @lru_cache(maxsize=16)  # noqa: B019
    def lung(self, side: int) -> Points:
        """Return float64 [n, 2]: the outline of one lung, the heart not cut out."""
        fall = ramp(0, 1, 22) ** 1.7
        y = self.apex + fall * (self.angle[side] - self.apex)
        u_out = self.lateral(side, y)
        edge = 0.93 * self.half_width
        u_floor = edge - (edge - self.mediastinum) * ramp(0, 1, 18)[1:-1]
        y_in = y[::-1]
        u_in = self.medial(side, y_in)
        low = y_in > self.floor(side, u_in)
        u = np.concatenate((u_out, u_floor, u_in[~low]))
        v = np.concatenate((y, self.floor(side, u_floor), y_in[~low]))
        return curve(0.5 + SIGN[side] * u, v)

    @lru_cache(maxsize=8)  # noqa: B019
    def heart(self) -> Points:
        """Return float64 [n, 2]: the outline of heart and great vessels."""
        whole = 2 * self.ratio * self.half_width
        right, left = (1 - self.apex_left) * whole, self.apex_left * whole
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
        return float(max(0.0, (SIGN[side] * (near[:, 0] - 0.5)).max()))


def x_of(side: int, u: Points | float) -> Points:
    """Return x at distances u from the midline, on one side."""
    return np.asarray(0.5 + SIGN[side] * np.asarray(u))


@dataclass(frozen=True, slots=True)
class Patient:
    """Who a radiograph is of: sex, age in years, and the chest as it is when healthy."""

    sex: Literal["F", "M"]
    age: int
    chest: Chest

    @property
    def years(self) -> float:
        """How old the chest looks, 0 = young, 1 = very old."""
        return min(1.0, max(0.0, (self.age - 30) / 60))


def sample_patient(rng: np.random.Generator) -> Patient:
    """Draw a patient: build, breath and age vary so widely that no place in the field is fixed."""
    female = bool(rng.random() < 0.5)
    age = int(np.clip(rng.normal(55, 18), 18, 95))
    old = min(1.0, max(0.0, (age - 30) / 60))
    half_width = rng.uniform(0.25, 0.345) * (0.965 if female else 1.03)
    apex = rng.uniform(0.115, 0.17)
    dome = apex + rng.uniform(0.40, 0.54)
    lift = rng.uniform(-0.012, 0.038)
    fall = rng.uniform(0.045, 0.10)
    breast = rng.uniform(0.015, 0.10) if female else 0.0
    if not female and rng.random() < 0.15:
        breast = rng.uniform(0.01, 0.035)
    sides = breast * rng.uniform(0.85, 1.15, 2) * (rng.random(2) > 0.03)
    chest = Chest(
        half_width=half_width,
        apex=apex,
        dome=(dome, dome + lift),
        angle=(dome + fall, dome + lift + fall * rng.uniform(0.85, 1.12)),
        mediastinum=rng.uniform(0.046, 0.066),
        ratio=rng.uniform(0.385, 0.465),
        apex_left=rng.uniform(0.58, 0.72),
        middle=0.5 + float(np.clip(rng.normal(0, 0.012), -0.026, 0.026)),
        knob=rng.uniform(0.006, 0.02) + 0.014 * old,
        air=rng.uniform(0.85, 1.12),
        vessels=rng.uniform(0.5, 1.05),
        wall=rng.uniform(0.03, 0.10),
        rib_slope=rng.uniform(0.03, 0.09),
        rib_phase=rng.uniform(-0.4, 0.4),
        clavicle=apex + rng.uniform(0.035, 0.075),
        spine_bend=rng.normal(0, 0.006 + 0.006 * old),
        breasts=(float(sides[0]), float(sides[1])),
        breast_level=(rng.uniform(0.72, 1.02), rng.uniform(0.10, 0.15)),
        bubble=(rng.uniform(0.09, 0.19), rng.uniform(0.03, 0.075), rng.uniform(0.012, 0.04)),
        bone=rng.uniform(0.85, 1.25) - 0.25 * old,
        tree=int(rng.integers(0, 2**32)),
        fissure=rng.uniform(0.44, 0.53),
    )
    return Patient("F" if female else "M", age, chest)
