"""Pulmonary vessels: trees that leave each hilum, bend, fork and taper, the same for a patient."""

from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from thorax.phantoms.canvas import Canvas, Mask, Points, ramp, ribbons, spline, stream
from thorax.phantoms.chest import SIDES, SIGN
from thorax.phantoms.view import Signs, View

_MAIN, _STEPS = 10, 9
_KNOTS: Final = np.array([2, 3, 4, 5, 6])
"""Places of a branch that fork."""


def _shoots(
    rng: np.random.Generator, at: Points, way: Points, reach: Points, steps: int
) -> tuple[Points, Points]:
    """Return where curves run that leave points [..., 2] at angles, and their angles along them."""
    bend = rng.uniform(-0.5, 0.5, (*way.shape, 1))
    turn = way[..., None] + bend * ramp(0, 1, steps)
    step = (reach / (steps - 1))[..., None, None] * np.stack((np.cos(turn), np.sin(turn)), axis=-1)
    step[..., 0, :] = 0
    return np.asarray(at[..., None, :] + np.cumsum(step, axis=-2)), turn


@lru_cache(maxsize=8)
def _branches(tree: int) -> tuple[Points, Points, Points]:
    """Return how a patient's vessels run from each hilum: three orders [2, ..., n, 2], u and y."""
    rng = stream(tree, 0, 0)
    way = ramp(-1.45, 1.5, _MAIN) + rng.uniform(-0.13, 0.13, (2, _MAIN))
    reach = rng.uniform(0.75, 1.05, way.shape) * np.where(np.abs(way) < 0.6, 0.20, 0.25)
    hilum = np.zeros((2, _MAIN, 2))
    hilum[..., 1] = 0.04 * ramp(-1, 1, _MAIN)
    main, turn = _shoots(rng, hilum, way, reach, _STEPS)
    main[..., 1:, :] += np.cumsum(rng.normal(0, 0.0016, (2, _MAIN, _STEPS - 1, 2)), axis=-2)
    shape = (2, _MAIN, len(_KNOTS))
    side = (
        np.where(np.arange(len(_KNOTS)) % 2 == 0, 1.0, -1.0)
        * rng.choice((-1, 1), shape[:2])[..., None]
    )
    way = turn[..., _KNOTS] + side * rng.uniform(0.35, 0.9, shape)
    reach = reach[..., None] * rng.uniform(0.25, 0.5, shape)
    forks, turn = _shoots(rng, main[..., _KNOTS, :], way, reach, 6)
    shape_of_twigs = (*shape, 2)
    way = turn[..., (2, 4)] + np.array((1.0, -1.0)) * rng.uniform(0.4, 0.9, shape_of_twigs)
    twigs, _ = _shoots(
        rng,
        forks[..., (2, 4), :],
        way,
        reach[..., None] * rng.uniform(0.3, 0.55, shape_of_twigs),
        4,
    )
    return main, forks, twigs


def _at_hila(view: View, curves: Points) -> Points:
    """Return curves [2, ..., 2] about the hila where these are in the chest, as it is stretched."""
    chest = view.chest
    stretch = np.array((chest.half_width / 0.31, (chest.dome[0] - chest.apex) / 0.47))
    placed: Points = curves * stretch
    for side in SIDES:
        at = view.hilum_of(side)
        placed[side, ..., 0] = at[0] + SIGN[side] * placed[side, ..., 0]
        placed[side, ..., 1] += at[1]
    return placed


def _trunk(view: View, side: int) -> list[Points]:
    """Return the bands of one hilum: the descending artery, which tapers, and the upper vessels."""
    x, y = view.hilum_of(side)
    sign = SIGN[side]
    down = np.array(
        [(-0.018, -0.02), (0.004, -0.012), (0.018, 0.012), (0.026, 0.045), (0.034, 0.10)]
    )
    up = np.array([(-0.012, 0.004), (0.008, -0.012), (0.018, -0.035), (0.022, -0.075)])
    bands = []
    for way, start in ((down, 0.027), (up, 0.019)):
        centre = spline(way * (sign, 1.0) + (x, y), 10)
        bands += ribbons(centre, ramp(start, 0.35 * start, 10))
    return bands


def vessels(view: View, canvas: Canvas, signs: Signs) -> Mask:
    """Return uint8 [S, S]: the vascular markings, 255 = the widest; none where `signs.bare` is."""
    main, forks, twigs = (_at_hila(view, c) for c in _branches(view.chest.tree))
    layer = canvas.blank()
    half = _MAIN // 2
    # Standing, the lower lobes take most of the blood; congestion evens or reverses this.
    upper = 0.8 + 0.5 * signs.congestion
    lower = 1.0 - 0.1 * signs.congestion
    for part, share in ((slice(0, half), upper), (slice(half, _MAIN), lower)):
        canvas.stroke(layer, twigs[:, part].reshape(-1, 4, 2), 0.0022 * share, 90)
        canvas.stroke(layer, forks[:, part, :, 2:].reshape(-1, 4, 2), 0.0030 * share, 105)
        canvas.stroke(layer, main[:, part, 5:].reshape(-1, 4, 2), 0.0038 * share, 120)
    for part, share in ((slice(0, half), upper), (slice(half, _MAIN), lower)):
        canvas.stroke(layer, forks[:, part, :, :3].reshape(-1, 3, 2), 0.0046 * share, 130)
        canvas.stroke(layer, main[:, part, 2:6].reshape(-1, 4, 2), 0.0066 * share, 160)
        canvas.stroke(layer, main[:, part, :3].reshape(-1, 3, 2), 0.0098 * share, 195)
    for side in SIDES:
        for band in _trunk(view, side):
            canvas.fill(layer, band, 255)
    layer = canvas.blurred(layer, 0.0016 + 0.0035 * signs.hazy)
    if signs.bare is not None:
        layer = cv2.subtract(layer, signs.bare).astype(np.uint8, copy=False)
    return layer
