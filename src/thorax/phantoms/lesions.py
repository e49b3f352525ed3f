"""What lesions are made of in either view: balls, foci, patches, plates, nets, sacs, and boxes."""

from typing import ClassVar

import cv2
import numpy as np

from thorax.data.samples import Box
from thorax.phantoms.canvas import (
    AXIS,
    SOFT,
    SOFT_SIDE,
    Canvas,
    Mask,
    Places,
    Plane,
    Points,
    curve,
    noise,
    ramp,
    ribbons,
    texture,
    window,
)
from thorax.phantoms.chest import FIELD_CM
from thorax.phantoms.sampling import Lesion
from thorax.phantoms.view import Signs, View


class Sheet(Signs):
    """What the signs of one phantom add up to, and their boxes in shares of the image."""

    soft = SOFT
    share: ClassVar[float] = 1.0
    """Of the air that lies along a ray, how much is in the lung of a lesion."""
    x, y = AXIS[None], AXIS[:, None]

    def __init__(self, view: View, canvas: Canvas) -> None:
        super().__init__()
        self.view = view
        self.canvas = canvas
        self.boxes: list[Box] = []
        self._lung: dict[int, Places] = {}

    def draw(self, lesion: Lesion, rng: np.random.Generator) -> None:
        """Draw the signs of a lesion, and note its boxes."""
        raise NotImplementedError

    def visible(self, side: int) -> Places:
        """Return bool [G, G]: where one lung is seen beside the heart."""
        if side not in self._lung:
            layer = self.soft.blank()
            self.soft.fill(layer, self.view.lung(side), 255)
            self.soft.fill(layer, self.view.heart(), 0)
            self._lung[side] = layer > 127
        return self._lung[side]

    def cloud(self, field: Plane) -> None:
        """Replace air softly; float32 [G, G], 0-1."""
        self.fill = np.asarray(1 - (1 - self.fill) * (1 - field), np.float32)

    def block(self, field: Plane) -> None:
        """Replace air with an edge; float32 [S, S], 0-1."""
        self.solid = field if self.solid is None else 1 - (1 - self.solid) * (1 - field)

    def shapes(self, outlines: list[Points], opacity: float, blur: float) -> Plane:
        """Replace air inside several outlines at once and return what was painted."""
        layer = self.canvas.blank()
        for outline in outlines:
            self.canvas.fill(layer, outline, 255)
        field = self.canvas.plane(layer, blur)
        self.block(field * np.float32(opacity))
        return field

    def add(self, field: Plane) -> None:
        """Add density; float32 [S, S]."""
        field = field * np.float32(self.share)
        self.added = field if self.added is None else self.added + field

    def markings(self, mask: Mask) -> None:
        """Take the lung markings away where a uint8 [S, S] mask is 255, and free the air there."""
        self.bare = mask if self.bare is None else cv2.max(self.bare, mask).astype(np.uint8)

    def lines(self, curves: Points, width: float, amount: float, blur: float = 0.0008) -> None:
        """Add thin dense lines."""
        self.add(self._lines(curves, width, blur) * np.float32(amount))

    def pleura(self, curves: Points, width: float, amount: float) -> None:
        """Add the line of the visceral pleura, which stays where markings are taken away."""
        self.edge = self._lines(curves, width, 0.0008) * np.float32(amount)

    def _lines(self, curves: Points, width: float, blur: float) -> Plane:
        layer = self.canvas.blank()
        self.canvas.stroke(layer, curves, width, 255)
        return self.canvas.plane(layer, blur)

    def box(self, finding: str, points: Points) -> None:
        """Note the box around patient-frame points [n, 2], cut at the image's edges."""
        placed = np.clip(self.canvas.place(points.reshape(-1, 2)), 0, 1)
        (left, top), (right, bottom) = placed.min(0), placed.max(0)
        if right > left and bottom > top:
            self.boxes.append(Box(finding, left, top, right - left, bottom - top))

    def box_of(self, finding: str, mask: Places) -> None:
        """Note the box around a bool [G, G] mask of the patient frame; empty notes nothing."""
        rows = np.flatnonzero(mask.any(axis=1))
        if len(rows):
            lines = mask[rows]
            left = lines.argmax(axis=1)
            right = SOFT_SIDE - 1 - lines[:, ::-1].argmax(axis=1)
            ends = np.concatenate((left, right)) + 0.5
            self.box(finding, curve(ends, np.concatenate((rows, rows)) + 0.5) / SOFT_SIDE)


def blob(radius: float, wobble: float, rng: np.random.Generator) -> Points:
    """Return an outline around the origin, [40, 2], whose radius wavers by a share of itself."""
    angle = ramp(0, 2 * np.pi, 41)[:-1]
    wave = np.zeros(40)
    for order in (2, 3, 4):
        wave += rng.normal() * np.sin(order * angle + rng.uniform(0, 6.28)) / order
    wave *= wobble / max(1e-9, float(np.abs(wave).max()))
    return curve(np.cos(angle), np.sin(angle)) * (radius * (1 + wave))[:, None]


def bell(values: Plane, centre: float, width: float) -> Plane:
    """Return a Gaussian of values about a centre."""
    return np.asarray(np.exp(-(((values - np.float32(centre)) / np.float32(width)) ** 2)))


def bump(sheet: Sheet, centre: tuple[float, float], wide: float, high: float) -> Plane:
    """Return float32 [G, G]: a Gaussian bump."""
    return bell(sheet.y, centre[1], high) * bell(sheet.x, centre[0], wide)


def fluff(rng: np.random.Generator, amount: float) -> Plane:
    """Return float32 [G, G] about 1: how unevenly airspaces fill."""
    return np.asarray(1 + np.float32(amount) * noise(1, SOFT_SIDE, rng))


def _ball(
    canvas: Canvas,
    centre: tuple[float, float],
    radius: float,
    rng: np.random.Generator,
    wobble: float,
) -> tuple[slice, slice, Plane]:
    """Return a window of the canvas and, in it, 0-1, the thickness of a slightly uneven ball."""
    x, y = canvas.place(np.array(centre)) * canvas.side
    r = radius * canvas.scale * canvas.side
    reach = 1.35 * r + 2
    rows = slice(max(0, int(y - reach)), min(canvas.side, int(y + reach) + 1))
    columns = slice(max(0, int(x - reach)), min(canvas.side, int(x + reach) + 1))
    across = (np.arange(columns.start, columns.stop) + 0.5 - x)[None] / r
    down = (np.arange(rows.start, rows.stop) + 0.5 - y)[:, None] / r
    far = across**2 + down**2
    angle = np.arctan2(down, across)
    edge = np.ones_like(far)
    for order in (2, 3, 5):
        edge += wobble / order * np.cos(order * angle + rng.uniform(0, 6.28)) * rng.uniform(0.4, 1)
    ball = np.sqrt(np.maximum(0, 1 - far / edge**2)).astype(np.float32)
    sigma = max(0.35, 0.0022 * canvas.side)
    return rows, columns, cv2.GaussianBlur(ball, (0, 0), sigma).astype(np.float32)


def bronchograms(
    sheet: Sheet,
    start: tuple[float, float],
    target: tuple[float, float],
    spread: float,
    rng: np.random.Generator,
) -> Plane:
    """Return float32 [S, S], 0-1: branching air that runs from a hilum into filled lung."""
    tubes = sheet.canvas.blank()
    begin = np.array(start)
    q = ramp(0, 1, 8)[:, None]
    for share in (-0.6, 0.0, 0.6):
        goal = np.array((target[0], target[1] + share * spread)) + rng.normal(0, 0.012, 2)
        tube = begin + (goal - begin) * q
        tube[:, 1] += rng.uniform(-0.02, 0.02) * np.sin(np.pi * q[:, 0])
        sheet.canvas.stroke(tubes, tube[2:5], 0.0064, 255)
        sheet.canvas.stroke(tubes, tube[4:], 0.0046, 215)
        fork = tube[4] + (tube[-1] - tube[4]) * q
        fork[:, 1] += rng.choice((-1.0, 1.0)) * 0.035 * q[:, 0]
        sheet.canvas.stroke(tubes, fork, 0.0036, 190)
    return sheet.canvas.plane(tubes, 0.0020)


def airless(sheet: Sheet, field: Plane, tubes: Plane) -> None:
    """Fill float32 [G, G], 0-1, but for the airways in it."""
    block = sheet.canvas.posed(field)
    block *= 1 - np.float32(0.5) * tubes
    sheet.block(block)


def add_ball(
    sheet: Sheet, lesion: Lesion, centre: tuple[float, float], cm: float, rng: np.random.Generator
) -> None:
    """Add a ball so many centimetres across and its box: ribs and vessels show through."""
    nodule = lesion.finding == "Nodule"
    radius = radius_of(sheet, cm)
    rows, columns, ball = _ball(sheet.canvas, centre, radius, rng, 0.06 if nodule else 0.22)
    # Little of the lung's 0.33: a ball is a part of its depth.
    amount = (0.25 if nodule else 0.29) * lesion.contrast * rng.uniform(0.85, 1.1)
    field = np.zeros((sheet.canvas.side, sheet.canvas.side), np.float32)
    field[rows, columns] = ball * np.float32(amount)
    sheet.add(field)
    angle = ramp(0, 2 * np.pi, 33)
    reach = radius * (1.0 if nodule else 1.04)
    sheet.box(lesion.finding, reach * curve(np.cos(angle), np.sin(angle)) + centre)


def radius_of(sheet: Sheet, cm: float) -> float:
    """Return the radius, in the patient frame, of what is so many cm across at the detector."""
    return cm / 2 / FIELD_CM / sheet.canvas.scale


def size_of(lesion: Lesion, rng: np.random.Generator) -> float:
    """Draw the diameter of a nodule, under 3 cm, or of a mass, over 3 cm."""
    return rng.uniform(1.7, 2.85) if lesion.finding == "Nodule" else rng.uniform(3.4, 6.2)


def focus(
    sheet: Sheet,
    lesion: Lesion,
    centre: tuple[float, float],
    where: Places,
    rng: np.random.Generator,
) -> None:
    """Fill one fluffy focus of airspaces, ill-defined, densest in its middle; and its box.

    Where it may lie is bool [G, G].
    """
    radius = rng.uniform(0.055, 0.09)
    bulge = bump(sheet, centre, radius, radius * rng.uniform(0.8, 1.25)) * fluff(rng, 0.4)
    field = np.clip((bulge - 0.2) / 0.6, 0, 1) * np.float32(0.45 + 0.5 * lesion.contrast) * where
    field *= np.float32(sheet.share)
    sheet.cloud(np.asarray(field, np.float32))
    sheet.box_of(lesion.finding, field > 0.2 * field.max())


def patch(
    sheet: Sheet,
    lesion: Lesion,
    centre: tuple[float, float],
    where: Places,
    rng: np.random.Generator,
) -> None:
    """Fill a hazy patch of several small ill-defined spots, within bool [G, G]; and its box."""
    rows, columns = window(centre[1], 0.17), window(centre[0], 0.15)
    field = np.zeros_like(sheet.fill)
    part = field[rows, columns]
    for turn in rng.permutation(7)[: rng.integers(4, 8)]:
        angle = turn * np.pi * 2 / 7 + rng.uniform(-0.3, 0.3)
        reach = rng.uniform(0.015, 0.055)
        spot = (centre[0] + reach * np.cos(angle), centre[1] + 1.2 * reach * np.sin(angle))
        wide = rng.uniform(0.016, 0.030)
        high = wide * rng.uniform(0.8, 1.25)
        peak = rng.uniform(0.7, 1.1) * (0.15 + 0.38 * lesion.contrast)
        across = bell(sheet.x[:, columns], spot[0], wide)
        down = bell(sheet.y[rows], spot[1], high) * np.float32(peak)
        np.maximum(part, down * across, out=part)
    field *= np.clip(fluff(rng, 0.35), 0.3, 1.6) * where * np.float32(sheet.share)
    sheet.cloud(np.asarray(field, np.float32))
    sheet.box_of(lesion.finding, field > 0.35 * field.max())


def plate(sheet: Sheet, centre: tuple[float, float], rng: np.random.Generator) -> Points:
    """Return the outline of a plate of collapsed lung, slightly bent and tilted."""
    length = rng.uniform(0.10, 0.17)
    u = 0.5 * length * ramp(-1, 1, 10)
    v = rng.uniform(-0.2, 0.2) * u - rng.uniform(0, 0.08) * u**2 / 0.02
    taper = rng.uniform(0.012, 0.018) * np.sin(ramp(0.35, np.pi - 0.35, 10)) ** 0.6
    return ribbons(curve(u, v) + centre, taper)[0]


def sac(
    sheet: Sheet, lesion: Lesion, centre: tuple[float, float], rng: np.random.Generator
) -> None:
    """Add a rounded sac with a level of air over fluid, and its box.

    Over the heart its gas is dark. In lung only wall and fluid are seen, which take air's place.
    """
    radius = rng.uniform(0.045, 0.07)
    middle = np.array(centre) - (0.0, radius * 0.7 + 0.005)
    outline = blob(radius, 0.07, rng) * (1.0, 0.9) + middle
    layer = sheet.canvas.blank()
    sheet.canvas.fill(layer, outline, 255)
    whole = sheet.canvas.plane(layer, 0.0035)
    pocket = sheet.canvas.blank()
    level = middle[1] + rng.uniform(-0.2, 0.15) * radius
    inner = middle + (outline - middle) * 0.88
    sheet.canvas.fill(pocket, np.column_stack((inner[:, 0], np.minimum(inner[:, 1], level))), 255)
    gas = sheet.canvas.plane(pocket, 0.0024)
    c = np.float32(0.25 + 0.75 * lesion.contrast)
    if sheet.view.overlap == 1:
        sheet.add(c * (np.float32(0.045) * whole - np.float32(0.16) * gas))
    else:
        sheet.block(c * np.float32(sheet.share) * np.maximum(0, whole - gas))
    sheet.box(lesion.finding, outline)


def net(
    sheet: Sheet, lesion: Lesion, weight: Plane, lungs: Plane, rng: np.random.Generator
) -> None:
    """Add a net of fine lines with some haze: float32 [G, G] says how dense, [S, S] where."""
    sheet.cloud(np.asarray(np.clip(weight, 0, 1) * (0.05 + 0.10 * lesion.contrast), np.float32))
    field = sheet.canvas.posed(np.asarray(weight, np.float32))
    field *= lungs
    field *= texture(2, sheet.canvas.side, rng)
    sheet.add(field * np.float32(0.02 + 0.055 * lesion.contrast))


def bullae(
    sheet: Sheet, centres: list[tuple[float, float]], c: float, rng: np.random.Generator
) -> None:
    """Take the markings out of round thin-walled places."""
    bare = sheet.canvas.blank()
    rings = []
    for centre in centres:
        ring = blob(rng.uniform(0.022, 0.05), 0.12, rng) + centre
        sheet.canvas.fill(bare, ring, 255)
        rings.append(np.vstack((ring, ring[:1])))
    sheet.markings(sheet.canvas.blurred(bare, 0.006))
    sheet.lines(np.array(rings), 0.0022, 0.012 + 0.022 * c)


def cuffs(sheet: Sheet, at: Points, c: float, rng: np.random.Generator) -> None:
    """Draw rings around bronchi that are seen end-on, at points [n, 2]."""
    angle = ramp(0, 2 * np.pi, 13)
    radius = rng.uniform(0.006, 0.009, (len(at), 1, 1))
    rings = radius * curve(np.cos(angle), np.sin(angle)) + at[:, None]
    sheet.lines(rings, 0.0036, 0.025 + 0.04 * c)
