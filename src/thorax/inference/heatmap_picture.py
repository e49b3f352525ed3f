"""Heat maps of findings: the peak of one, and a picture of it over the radiograph."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from thorax.artifact import HeatmapGrid
from thorax.images.preprocess import placement
from thorax.labels import INTENDED_USE

_COLOURS: Final = {"inferno": cv2.COLORMAP_INFERNO, "viridis": cv2.COLORMAP_VIRIDIS}
COLOUR_MAPS: Final = tuple(_COLOURS)
_TOP, _BOTTOM, _GAP, _BAR, _NUMBERS = 34, 28, 8, 14, 56
"""Pixels above and below the panels, between them, of the scale of colours and its numbers."""


def peak(cells: npt.NDArray[np.float32], grid: HeatmapGrid) -> tuple[float, float]:
    """Return (x, y) of the strongest evidence, in pixels of the prepared square.

    A parabola through the largest cell and its neighbours places the peak between cells. Cells are
    float32 [h,w], logits, and lie as the grid says.
    """
    row, column = np.unravel_index(int(np.argmax(cells)), cells.shape)
    return (
        grid.offset + grid.stride * (column + _vertex(cells[row], int(column))),
        grid.offset + grid.stride * (row + _vertex(cells[:, column], int(row))),
    )


def _vertex(line: npt.NDArray[np.float32], at: int) -> float:
    if not 0 < at < len(line) - 1:
        return 0.0
    left, middle, right = (float(value) for value in line[at - 1 : at + 2])
    bend = left - 2 * middle + right
    return 0.5 * (left - right) / bend if bend < 0 else 0.0


def to_source(
    point: tuple[float, float], height: int, width: int, side: int
) -> tuple[float, float]:
    """Return where a point of the prepared square lies on the source image, in its pixels."""
    square = placement(height, width, side)
    x = (point[0] + 0.5 - square.left) * width / square.width - 0.5
    y = (point[1] + 0.5 - square.top) * height / square.height - 0.5
    return (min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0))


def overlay(
    image: npt.NDArray[np.uint8],
    cells: npt.NDArray[np.float32],
    grid: HeatmapGrid,
    *,
    title: str,
    colours: str = "inferno",
    height: int = 512,
) -> npt.NDArray[np.uint8]:
    """Draw radiograph and evidence side by side, BGR uint8 [H,W,3].

    Each cell is one flat tile around the centre of its receptive field: the picture shows the
    resolution there is. Colours run from the least to the most evidence of this map, in logits,
    which the scale beside it names: cells of a sure network all but saturate as probabilities. The
    image, uint8 [S,S], is the prepared square, on which the cells, float32 [h,w], logits, lie as
    the grid says. The title is printed above; `colours` is one of `COLOUR_MAPS`, `height` the
    pixels of each panel.
    """
    large = cv2.resize(image, (height, height), interpolation=cv2.INTER_CUBIC)
    grey = np.asarray(cv2.cvtColor(large, cv2.COLOR_GRAY2BGR), np.uint8)
    bar = cv2.applyColorMap(
        np.linspace(255, 0, height).astype(np.uint8)[:, None].repeat(_BAR, axis=1),
        _COLOURS[colours],
    )
    left = 2 * (height + _GAP)
    canvas = np.full((_TOP + height + _BOTTOM, left + _BAR + _NUMBERS, 3), 16, np.uint8)
    rows = slice(_TOP, _TOP + height)
    canvas[rows, :height] = grey
    canvas[rows, height + _GAP : left - _GAP] = _mix(grey, cells, grid, image.shape[0], colours)
    canvas[rows, left : left + _BAR] = bar
    _write(canvas, title, (8, 23), 0.55)
    least, most = float(cells.min()), float(cells.max())
    for value, y in (
        (most, _TOP + 12),
        ((most + least) / 2, _TOP + height // 2 + 5),
        (least, _TOP + height - 2),
    ):
        _write(canvas, f"{value:+.3g}", (left + _BAR + 3, y), 0.38)
    _write(
        canvas,
        f"{INTENDED_USE} Evidence per cell in logits, not an outline of a lesion.",
        (8, _TOP + height + 19),
        0.42,
    )
    return canvas


def _mix(
    grey: npt.NDArray[np.uint8],
    cells: npt.NDArray[np.float32],
    grid: HeatmapGrid,
    side: int,
    colours: str,
) -> npt.NDArray[np.uint8]:
    """Return a radiograph under tiles of the colour of their cells, BGR uint8 [H,H,3]."""
    least, most = float(cells.min()), float(cells.max())
    level = (cells.astype(np.float64) - least) / max(most - least, 1e-6)
    height = grey.shape[0]
    centres = (np.arange(height) + 0.5) / (height / side) - 0.5
    nearest = np.rint((centres - grid.offset) / grid.stride).astype(int)
    rows, columns = (nearest.clip(0, count - 1) for count in cells.shape)
    tiles = np.rint(level[np.ix_(rows, columns)] * 255).astype(np.uint8)
    mixed = cv2.addWeighted(grey, 0.55, cv2.applyColorMap(tiles, _COLOURS[colours]), 0.45, 0)
    for edges, axis in ((np.flatnonzero(np.diff(rows)), 0), (np.flatnonzero(np.diff(columns)), 1)):
        index = (edges, slice(None)) if axis == 0 else (slice(None), edges)
        mixed[index] = (mixed[index] * 0.85).astype(np.uint8)
    return np.asarray(mixed, np.uint8)


def _write(canvas: npt.NDArray[np.uint8], text: str, at: tuple[int, int], size: float) -> None:
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (235, 235, 235), 1, cv2.LINE_AA)
