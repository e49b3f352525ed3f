"""What the chest of a phantom measures, and the outlines that follow from it.

Lengths are shares of the field, which is `FIELD_CM` wide; the patient's right is at low x. Sides
are 0 (patient's right) and 1 (left). A level is a share of the lung's height, 0 apex to 1 base.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from thorax.phantoms.canvas import Points, curve, ramp, spline

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
        return np.minimum(np.maximum((y - self.apex) / (self.angle[side] - self.apex), 0), 1)

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
        out = np.minimum(np.maximum((u - top) / (self.half_width - top), 0), 1)
        inner = np.maximum((top - u) / top, 0)
        dome, angle = self.dome[side], self.angle[side]
        return np.asarray(dome + (angle - dome) * out**2.3 + 0.035 * inner**2)

    # Findings and drawing ask for the same outlines several times a picture.
    @lru_cache(maxsize=16)  # noqa: B019
    def lung(self, side: int) -> Points:
        """Return float64 [n, 2]: the outline of one lung, the heart not cut out."""
        fall = ramp(0, 1, 22) ** 1.7
        y = self.apex + fall * (self.angle[side] - self.apex)
        u_out = self.lateral(side, y)
        width = self.half_width - self.mediastinum
        u_floor = self.half_width - width * ramp(0, 1, 18)[1:-1]
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
        return float(max(0.0, (SIGN[side] * (near[:, 0] - 0.5)).max()))


def x_of(side: int, u: Points | float) -> Points:
    """Return x at distances u from the midline, on one side."""
    return np.asarray(0.5 + SIGN[side] * np.asarray(u))


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
