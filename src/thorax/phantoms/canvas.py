"""Drawing in unit coordinates, so that a phantom is the same picture at any side.

A point (x, y) of the patient frame is a share of the field: (0, 0) upper left, (1, 1) lower right.
A `Canvas` maps it through the pose onto pixels; a second canvas of a fixed side takes everything
soft, which keeps drawing fast and its content independent of the side asked for.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final, TypeAlias, cast

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random.bit_generator import ISeedSequence

Points: TypeAlias = npt.NDArray[np.float64]
Levels: TypeAlias = npt.NDArray[np.floating]
Plane: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.uint8]
Places: TypeAlias = npt.NDArray[np.bool_]

SOFT_SIDE: Final = 128
_SHIFT: Final = 6
_TILE: Final = 512


class _Key(ISeedSequence):
    """Hands Philox its key as it is; Philox(key=...) asks the system for entropy it drops."""

    def __init__(self, seed: int, index: int) -> None:
        self._words = np.array((seed, index), np.uint64)

    def generate_state(self, n_words: int, dtype: object = np.uint64) -> npt.NDArray[np.uint64]:
        return self._words


def stream(seed: int, index: int, purpose: int) -> np.random.Generator:
    """Return the random stream of one purpose for one index: counter-based, so order-free."""
    # numpy takes any ISeedSequence here; its stubs name one of them only.
    key = cast(np.random.SeedSequence, _Key(seed, index))
    counter = np.array((0, 0, 0, purpose), np.uint64)
    return np.random.Generator(np.random.Philox(key, counter=counter))


@cache
def ramp(start: float, stop: float, count: int) -> Points:
    """Return float64 [count], evenly spaced and shared: not to be written into."""
    values = np.linspace(start, stop, count)
    values.flags.writeable = False
    return values


def curve(x: npt.NDArray[np.floating], y: npt.NDArray[np.floating] | float) -> Points:
    """Return float64 [..., 2] from x [...] and y."""
    points = np.empty((*x.shape, 2))
    points[..., 0] = x
    points[..., 1] = y
    return points


@cache
def _spline_basis(controls: int, samples: int, closed: bool) -> Points:
    """Return float64 [samples, controls]: Catmull-Rom weights, evenly spaced in parameter."""
    spans = controls if closed else controls - 1
    basis = np.zeros((samples, controls))
    for row, position in enumerate(np.linspace(0, spans, samples, endpoint=not closed)):
        span = min(int(position), spans - 1)
        t = position - span
        weights = (
            (-t + 2 * t**2 - t**3) / 2,
            (2 - 5 * t**2 + 3 * t**3) / 2,
            (t + 4 * t**2 - 3 * t**3) / 2,
            (t**3 - t**2) / 2,
        )
        for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
            knot = span + offset
            knot = knot % controls if closed else min(max(knot, 0), controls - 1)
            basis[row, knot] += weight
    return basis


def spline(
    controls: Sequence[tuple[float, float]] | Points, samples: int, *, closed: bool = False
) -> Points:
    """Return float64 [samples, 2]: a Catmull-Rom curve through the control points."""
    return _spline_basis(len(controls), samples, closed) @ np.asarray(controls, np.float64)


def upsampled(coarse: Plane) -> Plane:
    """Return float32 [G, G]: a smooth surface through a coarse square grid."""
    basis = _spline_basis(len(coarse), SOFT_SIDE, closed=False)
    return np.asarray(basis @ coarse @ basis.T, np.float32)


def ribbons(centre: Points, *widths: Points | float) -> list[Points]:
    """Return float64 [..., 2n, 2] for each width: outlines of bands around curves [..., n, 2]."""
    along = np.empty_like(centre)
    along[..., 1:-1, :] = centre[..., 2:, :] - centre[..., :-2, :]
    along[..., 0, :] = centre[..., 1, :] - centre[..., 0, :]
    along[..., -1, :] = centre[..., -1, :] - centre[..., -2, :]
    length = np.hypot(along[..., 0], along[..., 1]) + 1e-9
    steps = along.shape[-2]
    bands = []
    for width in widths:
        across = along[..., ::-1] * (width / 2 / length)[..., None]
        across[..., 0] *= -1
        band = np.empty((*along.shape[:-2], 2 * steps, 2))
        np.add(centre, across, out=band[..., :steps, :])
        np.subtract(centre, across, out=band[..., : steps - 1 : -1, :])
        bands.append(band)
    return bands


@cache
def _noise_tile(purpose: int) -> Plane:
    """Return float32 [1024, 1024]: a seamless tile, zero mean, unit deviation, 2 x 2 times.

    0: quantum noise after the detector's blur. 1: clouds, many scales. 2: a net of thin lines.
    """
    white = stream(0x7A0, 0, purpose).standard_normal((_TILE, _TILE), np.float32)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(_TILE), np.fft.fftfreq(_TILE)))
    if purpose == 0:
        shape = np.exp(-((frequency / 0.35) ** 2))
    elif purpose == 1:
        shape = 1 / np.maximum(frequency, 3 / _TILE) ** 1.4 * (frequency < 0.25)
    else:
        # One unit of the field is one tile: a mesh of about 1/35 of the field is 14 lattice px.
        shape = np.exp(-(((frequency - 0.055) / 0.022) ** 2))
    shape[0, 0] = 0
    tile = np.fft.ifft2(np.fft.fft2(white) * shape).real
    tile /= tile.std()
    if purpose == 2:
        tile = np.exp(-((tile / 0.5) ** 2))
        tile = (tile - tile.mean()) / tile.std()
    return np.tile(tile.astype(np.float32), (2, 2))


def noise(purpose: int, side: int, rng: np.random.Generator) -> Plane:
    """Return float32 [side, side] cut from a tile at a random place; per pixel, wrapping."""
    x, y = (int(value) for value in rng.integers(0, _TILE, 2))
    tile = _noise_tile(purpose)
    if side <= _TILE:
        return tile[y : y + side, x : x + side]
    rows = np.arange(y, y + side) % _TILE
    columns = np.arange(x, x + side) % _TILE
    return np.ascontiguousarray(tile[rows][:, columns])


def texture(purpose: int, side: int, rng: np.random.Generator) -> Plane:
    """Return float32 [side, side]: one whole tile over the field, the same content at any side."""
    return resize(noise(purpose, _TILE, rng), side)


def resize(plane: Plane, side: int) -> Plane:
    """Return the square plane at another side."""
    if plane.shape[0] == side:
        return plane
    shrink = plane.shape[0] > side
    return cv2.resize(
        plane, (side, side), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
    ).astype(np.float32, copy=False)


def window(centre: float, reach: float) -> slice:
    """Return the soft grid's indices within reach of a place."""
    low, high = int((centre - reach) * SOFT_SIDE), int((centre + reach) * SOFT_SIDE)
    return slice(max(0, low), min(SOFT_SIDE, high))


def painted_rows(layer: Mask) -> slice:
    """Return the rows from the first to the last that is not blank; 0 to 0 if all are."""
    _, top, _, height = cv2.boundingRect(layer)
    return slice(top, top + height)


class Canvas:
    """One posed drawing surface.

    It has so many pixels a side; its pose, float64 [2, 3], leads from patient frame to image frame,
    both in shares of the field.
    """

    __slots__ = ("_matrix", "pose", "scale", "side")

    def __init__(self, side: int, pose: Points) -> None:
        self.side = side
        self.pose = pose
        self.scale = float(np.sqrt(abs(np.linalg.det(pose[:, :2]))))
        fixed = pose * (side << _SHIFT)
        fixed[:, 2] -= 0.5 * (1 << _SHIFT)
        self._matrix = fixed

    def place(self, points: Points) -> Points:
        """Return points of the patient frame [..., 2] as shares of the image."""
        return np.asarray(points @ self.pose[:, :2].T + self.pose[:, 2])

    def unplace(self, points: Points) -> Points:
        """Return the patient-frame points that land on these shares of the image [..., 2]."""
        return np.asarray((points - self.pose[:, 2]) @ np.linalg.inv(self.pose[:, :2]).T)

    def coordinates(self) -> tuple[Plane, Plane]:
        """Return float32 [S, S] twice: the patient-frame x and y of every pixel centre."""
        inverse = np.linalg.inv(self.pose[:, :2])
        centres = (np.arange(self.side) + 0.5) / self.side
        across = (centres - self.pose[0, 2])[None]
        down = (centres - self.pose[1, 2])[:, None]
        x, y = (
            (row[0] * across).astype(np.float32) + (row[1] * down).astype(np.float32)
            for row in inverse
        )
        return x, y

    def posed(self, plane: Plane, rows: int | None = None) -> Plane:
        """Return float32 [S, S]: a square plane of the patient frame as the image shows it.

        With `rows`, only as many rows of it from the top, which are the same.
        """
        ratio = self.side / plane.shape[0]
        matrix = self.pose.copy()
        matrix[:, :2] *= ratio
        # Pixel centres lie half a pixel in, on either side.
        matrix[:, 2] = self.side * self.pose[:, 2] + 0.5 * matrix[:, :2].sum(1) - 0.5
        return cv2.warpAffine(
            plane,
            matrix,
            (self.side, self.side if rows is None else rows),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float32, copy=False)

    def blank(self) -> Mask:
        """Return uint8 [S, S] of zeros."""
        return np.zeros((self.side, self.side), np.uint8)

    def _fixed(self, points: Points) -> list[cv2.typing.MatLike]:
        """Return OpenCV fixed-point pixel coordinates of curves [n, 2] or [..., n, 2]."""
        places = cv2.transform(points.reshape(-1, 1, 2), self._matrix)
        pixels = places.astype(np.int32).reshape(points.shape)
        return [pixels] if pixels.ndim == 2 else list(pixels.reshape(-1, *pixels.shape[-2:]))

    def fill(self, layer: Mask, polygons: Points, value: int, *, crisp: bool = True) -> None:
        """Paint polygons [n, 2] or [..., n, 2]; not crisp is faster, for what is blurred after."""
        line = cv2.LINE_AA if crisp else cv2.LINE_8
        cv2.fillPoly(layer, self._fixed(polygons), value, line, _SHIFT)

    def stroke(self, layer: Mask, curves: Points, width: float, value: int) -> None:
        """Draw curves [n, 2] or [..., n, 2] of a width in shares of the field.

        Below a pixel the line keeps one pixel and loses brightness, so that its weight in the
        picture does not depend on the side.
        """
        pixels = width * self.scale * self.side
        thickness = max(1, round(pixels))
        shade = max(1, min(255, round(value * min(1.0, pixels / thickness))))
        cv2.polylines(layer, self._fixed(curves), False, shade, thickness, cv2.LINE_AA, _SHIFT)

    def blurred(self, layer: Mask, blur: float) -> Mask:
        """Return the layer blurred by a deviation in shares of the field."""
        sigma = blur * self.side
        rows = painted_rows(layer) if sigma >= 0.3 else slice(0)
        if rows.stop == 0:
            return layer
        reach = max(1, round(2.5 * sigma))
        # Only what is painted is worth the work; twice the reach keeps the cut's edges blank.
        rows = slice(max(0, rows.start - 2 * reach), rows.stop + 2 * reach)
        blurred = np.zeros_like(layer)
        cv2.GaussianBlur(layer[rows], (2 * reach + 1, 2 * reach + 1), sigma, blurred[rows])
        return blurred

    def plane(self, layer: Mask, blur: float = 0.0, *, weight: float = 1.0) -> Plane:
        """Return float32 [S, S], 0 to weight, blurred by a deviation in shares of the field."""
        plane = self.blurred(layer, blur).astype(np.float32)
        plane *= np.float32(weight / 255)
        return plane


SOFT: Final = Canvas(SOFT_SIDE, np.array([[1.0, 0, 0], [0, 1, 0]]))
"""The canvas of everything soft: the patient frame itself, unposed."""

AXIS: Final[Plane] = ((np.arange(SOFT_SIDE) + 0.5) / SOFT_SIDE).astype(np.float32)
"""Centres of the soft canvas's pixels in the patient frame."""
