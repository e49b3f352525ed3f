"""How the parts of a chest are summed in a projection.

The picture is optical density: parts add up and air takes away.
"""

from typing import Final

import cv2
import numpy as np

from thorax.phantoms.canvas import SOFT_SIDE, Canvas, Mask, Plane, noise, painted_rows
from thorax.phantoms.chest import SIDES
from thorax.phantoms.shadows import Shadows, painted
from thorax.phantoms.vessels import vessels
from thorax.phantoms.view import Signs, View

# What one part adds to the density, soft tissue of a chest being about 0.5.
_AIR: Final = 0.33
_VESSEL: Final = 0.10
_METAL: Final = 0.42


def _lungs(view: View, canvas: Canvas) -> Mask:
    """Return uint8 [S, S]: 255 where there is as much air as a lung in front view has."""
    layer = canvas.blank()
    for side in SIDES:
        if view.overlap == 1:
            canvas.fill(layer, view.lung(side), 255)
        else:
            lung = canvas.blank()
            canvas.fill(lung, view.lung(side), 255 // view.overlap)
            layer += lung
    return layer


def density(
    view: View,
    canvas: Canvas,
    signs: Signs,
    *,
    shadows: Shadows,
    rng: np.random.Generator,
) -> Plane:
    """Return float32 [S, S]: the optical density of the whole picture, 0 = air outside."""
    chest = view.chest
    soft = view.soft_tissue(rng)
    soft += shadows.soft
    picture = canvas.posed(soft)
    lungs = canvas.blurred(_lungs(view, canvas), 0.0026)
    layer = canvas.blank()
    canvas.fill(layer, view.heart(), 255)
    heart = canvas.plane(layer, 0.0035)
    keep = 1 + np.float32(0.03) * noise(1, SOFT_SIDE, rng)
    keep *= (1 - signs.fill) * np.float32(1 / 255)
    # Above and below the lungs there is no air and no vessel to add.
    rows = painted_rows(lungs)
    air = canvas.posed(np.asarray(keep, np.float32), max(1, rows.stop))[rows]
    outside = None if signs.bare is None else canvas.plane(signs.bare)
    if outside is not None:
        # What fills lung does not fill the air beside it.
        air += outside[rows] * (np.float32(1.12 / 255) - air)
    air *= lungs[rows].astype(np.float32)
    air *= 1 - np.float32(view.heart_share) * heart[rows]
    if signs.solid is not None:
        air *= 1 - signs.solid[rows]
    layer = vessels(view, canvas, signs)[rows]
    marks = canvas.plane(layer, weight=_VESSEL * chest.vessels)
    marks -= np.float32(_AIR * chest.air)
    marks *= air
    heart *= np.float32(0.05)
    picture += heart
    picture[rows] += marks
    picture += view.bones(canvas, lungs)
    if signs.added is not None:
        picture += signs.added if outside is None else signs.added * (1 - outside)
    if signs.edge is not None:
        picture += signs.edge
    layer = canvas.blank()
    canvas.fill(layer, view.body(), 255)
    cv2.multiply(picture, layer, picture, scale=1 / 255, dtype=cv2.CV_32F)
    if shadows.shapes:
        picture += canvas.plane(painted(shadows.shapes, canvas), weight=_METAL)
    return picture
