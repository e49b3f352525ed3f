"""From optical density to grey levels, as a detector and its processing do it.

Quantum noise, the detector's blur, compression of the dynamic range, unsharp masking and a lookup
table that is fitted to the histogram of each exposure. All are drawn for the exposure, whatever it
shows: overall brightness and contrast of a phantom tell nothing of its findings.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from thorax.phantoms.canvas import Mask, Plane, Points, noise

_BINS: Final = 1024
_LOW, _HIGH = -0.5, 1.4
_BODY: Final = 0.08
_SHARES: Final = np.array([0, 0.02, 0.06, 0.12, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 1.0])
"""Shares of the image's area at which the lookup table meets its target."""
_GREYS: Final = np.array([12, 32, 54, 76, 95, 112, 128, 143, 157, 170, 184, 201, 222, 250]) / 255
"""Grey level, 0-1, that each share of the area stays below in the usual display of a chest."""


@dataclass(frozen=True, slots=True)
class Display:
    """What was chosen for one exposure.

    Attributes:
        grain: deviation of the quantum noise where a lung is, at 256 pixels; goes with the dose.
        tilt: float64 [2]: rise of the density across and down the field, the heel effect.
        compression: share of the coarse structure taken away, 0-1.
        sharpening: gain of the fine structure.
        gamma: power of the displayed greys; below 1 is brighter.
        contrast: how far greys move to the ends, 1 = unchanged.
        matching: how far the histogram is brought to its target, 1 = wholly.
        shutter: shares of the field that are black at left, top, right and bottom.
    """

    grain: float
    tilt: Points
    compression: float
    sharpening: float
    gamma: float
    contrast: float
    matching: float
    shutter: Points


def sample_display(rng: np.random.Generator) -> Display:
    """Draw the processing of one exposure."""
    return Display(
        grain=float(np.exp(rng.uniform(np.log(0.0012), np.log(0.0030)))),
        tilt=rng.normal(0, 0.045, 2),
        compression=rng.uniform(0.2, 0.5),
        sharpening=rng.uniform(0.2, 0.8),
        gamma=float(np.exp(rng.normal(0, 0.16))),
        contrast=float(np.exp(rng.normal(0, 0.12))),
        matching=rng.uniform(0.78, 0.98),
        shutter=rng.uniform(0.005, 0.05, 4) * (rng.random(4) < 0.1),
    )


def _coarse(picture: Plane, reach: float) -> Plane:
    """Return the picture blurred by a deviation in shares of the field, cheaply."""
    small = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), reach * 64, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, picture.shape, interpolation=cv2.INTER_LINEAR).astype(np.float32)


def _table(levels: npt.NDArray[np.uint16], display: Display) -> Mask:
    """Return uint8 [bins]: the grey of each level [n], so that the histogram is near its target."""
    counts = np.bincount(levels, minlength=_BINS).cumsum()
    knots = np.searchsorted(counts, _SHARES * counts[-1])
    knots[0] = min(knots[0], knots[1])
    knots = np.maximum.accumulate(knots + np.arange(len(knots)) * 1e-3)
    greys = _GREYS**display.gamma
    swing = np.tanh((greys - 0.5) * 2 * display.contrast) / np.tanh(display.contrast)
    grey = 0.5 + 0.5 * swing
    bins = np.arange(_BINS)
    matched = np.interp(bins, knots, grey)
    straight = np.interp(bins, knots[[1, -2]], grey[[1, -2]])
    mixed = display.matching * matched + (1 - display.matching) * straight
    return np.asarray(mixed * 255 + 0.5).astype(np.uint8)


def develop(picture: Plane, display: Display, rng: np.random.Generator) -> Mask:
    """Return uint8 [S, S]: the exposure as it is displayed.

    Quantum noise goes with the square root of the pixel's area and of the quanta that the body has
    let through.
    """
    side = len(picture)
    grain = np.float32(display.grain * min(side, 768) / 256)
    # The lookup table is for the body, as a processor finds it; the air beside it is black.
    body = picture[::2, ::2] > _BODY
    quanta = cv2.exp(picture * np.float32(1.6))
    picture = picture + cv2.multiply(noise(0, side, rng), quanta, scale=float(grain) / 1.6)
    at = (np.arange(side) + 0.5) / side - 0.5
    picture += (display.tilt[0] * at).astype(np.float32)
    picture += (display.tilt[1] * at).astype(np.float32)[:, None]
    picture -= np.float32(display.compression) * _coarse(picture, 0.09)
    sigma = max(0.5, 0.006 * side)
    soft = cv2.GaussianBlur(picture, (0, 0), sigma)
    # Sharpened, and in steps of the lookup table.
    step = (_BINS - 1) / (_HIGH - _LOW)
    gain = step * (1 + display.sharpening)
    lost = -step * display.sharpening
    sharp = cv2.addWeighted(picture, gain, soft, lost, -step * _LOW, dtype=cv2.CV_16U)
    levels = np.minimum(sharp, _BINS - 1).astype(np.uint16, copy=False)
    pixels: Mask = _table(levels[::2, ::2][body], display)[levels]
    # Left, top, right and bottom edge come first in turn.
    turned = (pixels.T, pixels, pixels.T[::-1], pixels[::-1])
    for share, edge in zip(display.shutter, turned, strict=True):
        edge[: round(share * side)] = 4
    return pixels
