"""One phantom: a synthetic chest radiograph with findings and their boxes, no patient's data.

A phantom is a pure function of (seed, index); its content does not depend on the side asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

import cv2
import numpy as np
import numpy.typing as npt

from thorax.data.samples import Box
from thorax.errors import UsageError
from thorax.labels import NIH14
from thorax.phantoms.anatomy import Frontal
from thorax.phantoms.canvas import SOFT_SIDE, Canvas, Plane, Points, stream
from thorax.phantoms.chest import FIELD_CM, Chest, Patient, sample_patient
from thorax.phantoms.display import develop, sample_display
from thorax.phantoms.findings import FrontalSheet
from thorax.phantoms.lateral import sample_lateral
from thorax.phantoms.lateral_findings import LateralSheet
from thorax.phantoms.lesions import Sheet
from thorax.phantoms.projection import density
from thorax.phantoms.sampling import Lesion, choose, plan, reshape, sign_stream
from thorax.phantoms.shadows import NO_SHADOWS, sample_shadows
from thorax.phantoms.style import USUAL, Style

_PATIENT, _POSE, _DEVICES, _PICTURE, _BLOCK, _DEPTH, _PROCESSING = range(7)
_SMALLEST, _LARGEST = 16, 4096
_GROUPS: Final = ((1, 2, 3), (2, 1, 3), (3, 2, 1), (2, 2, 2), (1, 3, 2), (3, 3), (1, 1, 2, 2))
_BLOCK_SIZE: Final = 6


@dataclass(frozen=True, slots=True)
class Phantom:
    """One synthetic radiograph.

    Attributes:
        pixels: uint8 [S, S], white = dense; the field is `FIELD_CM` wide.
        patient: who it is of; neighbours in index may share one.
        age: of the patient, years.
        sex: of the patient.
        view: View Position: "PA" or "AP", or "LL", the left side at the detector.
        findings: NIH14 names, in that order; empty = no finding.
        subtleties: of each finding, 0 = plain, 1 = faintest.
        boxes: one or more for every finding, in pixels of `pixels`.
        devices: names of what has been put into or onto the patient.
    """

    pixels: npt.NDArray[np.uint8]
    patient: str
    age: int
    sex: Literal["F", "M"]
    view: Literal["PA", "AP", "LL"]
    findings: tuple[str, ...]
    subtleties: tuple[float, ...]
    boxes: tuple[Box, ...]
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exposure:
    """One phantom before its processing.

    Attributes:
        patient: who it is of, when healthy.
        first: first index that shows the patient.
        view: as in `Phantom`.
        lesions: its findings.
        sheet: the chest as the findings have left it, their signs and boxes.
        devices: as in `Phantom`.
        density: float32 [S, S], optical density, 0 = air outside.
    """

    patient: Patient
    first: int
    view: Literal["PA", "AP", "LL"]
    lesions: tuple[Lesion, ...]
    sheet: Sheet
    devices: tuple[str, ...]
    density: Plane


def spacing_mm(side: int) -> float:
    """Return the edge of one pixel of a phantom of this side, mm at the detector."""
    return 10 * FIELD_CM / side


def _first_of_patient(seed: int, index: int) -> int:
    """Return the first index that shows the same patient: blocks of six hold two to four."""
    block, place = divmod(index, _BLOCK_SIZE)
    groups = _GROUPS[int(stream(seed, block, _BLOCK).integers(len(_GROUPS)))]
    start = 0
    for size in groups:
        if place < start + size:
            break
        start += size
    return block * _BLOCK_SIZE + start


@lru_cache(maxsize=8)
def _patient(seed: int, first: int) -> Patient:
    return sample_patient(stream(seed, first, _PATIENT))


def _pose(rng: np.random.Generator) -> Points:
    """Draw float64 [2, 3]: how the patient stands before the detector."""
    angle = np.deg2rad(np.clip(rng.normal(0, 3.2), -8, 8))
    scale = rng.uniform(1.08, 1.36)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    about = np.array([0.5, 0.40])
    shift = about + np.clip(rng.normal(0, 0.035, 2), -0.07, 0.07) - turn @ about
    return np.column_stack((turn, shift))


def _stance(chest: Chest, rng: np.random.Generator, *, ap: bool) -> Chest:
    """Return the chest of one exposure: how deep the breath, and AP or PA.

    AP magnifies the heart, which lies in front, and a lying patient's domes stand higher; the
    cardiothoracic ratio of a healthy heart stays below 0.5 all the same.
    """
    breath = rng.uniform(-0.03, 0.025) - (0.012 if ap else 0.0)
    return replace(
        chest,
        dome=(chest.dome[0] + breath, chest.dome[1] + breath),
        angle=(chest.angle[0] + breath, chest.angle[1] + breath),
        ratio=chest.ratio * (1.04 if ap else 1.0),
        air=chest.air * rng.uniform(0.9, 1.1),
        middle=chest.middle + rng.uniform(-0.008, 0.008),
    )


def expose(
    seed: int, index: int, findings: Sequence[str], *, side: int, style: Style = USUAL
) -> Exposure:
    """Return a phantom with these findings before its processing, as `draw` takes it.

    Anatomy, pose, devices and harmless shadows do not depend on the findings.
    """
    first = _first_of_patient(seed, index)
    rng = stream(seed, index, _POSE)
    ap = bool(rng.random() < 0.4)
    # Below this the lines of a sign would be thinner than their own brightness steps.
    canvas = Canvas(max(side, SOFT_SIDE), _pose(rng))
    patient = _patient(seed, first)
    healthy = _stance(patient.chest, rng, ap=ap)
    lesions = plan(seed, index, findings, style.subtlety)
    chest = reshape(healthy, lesions)
    if style.view == "frontal":
        shadows = sample_shadows(healthy, canvas, stream(seed, index, _DEVICES), ap=ap)
        sheet: Sheet = FrontalSheet(Frontal(chest, ap), canvas)
    else:
        shadows = NO_SHADOWS
        inflated = max((s.contrast for s in lesions if s.finding == "Emphysema"), default=0.0)
        view = sample_lateral(chest, stream(seed, first, _DEPTH), inflated=inflated)
        sheet = LateralSheet(view, canvas)
    for lesion in lesions:
        sheet.draw(lesion, sign_stream(seed, index, lesion.finding))
    picture = density(sheet.view, canvas, sheet, shadows=shadows, rng=stream(seed, index, _PICTURE))
    position: Literal["PA", "AP", "LL"] = "LL" if style.view == "lateral" else "AP" if ap else "PA"
    return Exposure(patient, first, position, lesions, sheet, shadows.devices, picture)


def draw(
    seed: int,
    index: int,
    *,
    side: int = 256,
    findings: Iterable[str] | None = None,
    style: Style = USUAL,
) -> Phantom:
    """Draw one phantom; anatomy, pose, devices, noise and processing do not depend on the findings.

    Seed and index, which collection and which of it, are 0 to 2**63 - 1, the pixels of a side 16 to
    4096. Findings that are given are drawn instead of those that the collection would have.

    Raises:
        UsageError: `phantom-seed` or `phantom-side` for what is out of range.
        DataError: `label-unknown` for a finding that is not in NIH14.

    Example:
        >>> phantom = draw(0, 2, side=128, findings=["Effusion"])
        >>> phantom.pixels.shape, phantom.findings
        ((128, 128), ('Effusion',))
    """
    require_drawable(seed, index, side)
    if findings is None:
        names = choose(seed, index)
    else:
        wanted = NIH14.row(findings)
        names = tuple(name for name, on in zip(NIH14.findings, wanted, strict=True) if on)
    shot = expose(seed, index, names, side=side, style=style)
    rng = stream(seed, index, _PROCESSING)
    pixels = develop(shot.density, sample_display(rng), rng)
    if len(pixels) != side:
        pixels = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return Phantom(
        pixels=pixels,
        patient=f"phantom-{seed}-{shot.first:06d}",
        age=shot.patient.age,
        sex=shot.patient.sex,
        view=shot.view,
        findings=names,
        subtleties=tuple(lesion.subtlety for lesion in shot.lesions),
        boxes=tuple(
            Box(b.finding, b.x * side, b.y * side, b.width * side, b.height * side)
            for b in shot.sheet.boxes
        ),
        devices=shot.devices,
    )


def require_drawable(seed: int, index: int, side: int) -> None:
    """Refuse numbers that no phantom has.

    Raises:
        UsageError: `phantom-seed` or `phantom-side`.
    """
    for name, value in (("seed", seed), ("index", index)):
        if not 0 <= value < 2**63:
            raise UsageError("phantom-seed", f"{name} is {value}; allowed is 0 to 2**63 - 1")
    if not _SMALLEST <= side <= _LARGEST:
        raise UsageError(
            "phantom-side", f"side is {side} pixels; allowed is {_SMALLEST} to {_LARGEST}"
        )
