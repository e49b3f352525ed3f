"""Synthetic chest radiographs with findings, boxes and patients: no patient's data.

A phantom is a pure function of (seed, index); its content does not depend on the side asked for.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import cv2
import numpy as np
import numpy.typing as npt

from thorax.data.samples import Box
from thorax.data.table import lines_of
from thorax.errors import DataError, UsageError
from thorax.files.atomic import LockedError, is_ours, locked, sweep_folder, write_bytes
from thorax.labels import NIH14, NO_FINDING
from thorax.phantoms.anatomy import Frontal
from thorax.phantoms.canvas import SOFT_SIDE, Canvas, Plane, Points, stream
from thorax.phantoms.chest import FIELD_CM, Chest, Patient, sample_patient
from thorax.phantoms.dicom import Subject, encode_dicom
from thorax.phantoms.display import develop, sample_display
from thorax.phantoms.findings import FrontalSheet
from thorax.phantoms.lateral import sample_lateral
from thorax.phantoms.lateral_findings import LateralSheet
from thorax.phantoms.lesions import Sheet
from thorax.phantoms.projection import density
from thorax.phantoms.sampling import SUBTLETY, Lesion, choose, plan, reshape, sign_stream
from thorax.phantoms.shadows import NO_SHADOWS, sample_shadows
from thorax.processors import processors
from thorax.results.data import PhantomResult

_PATIENT, _POSE, _DEVICES, _PICTURE, _BLOCK, _DEPTH, _PROCESSING = range(7)
_SMALLEST, _LARGEST = 16, 4096
_GROUPS: Final = ((1, 2, 3), (2, 1, 3), (3, 2, 1), (2, 2, 2), (1, 3, 2), (3, 3), (1, 1, 2, 2))
_BLOCK_SIZE: Final = 6
_CHUNK: Final = 32
_HEADERS: Final = {
    "labels.csv": ("image", "patient", "view", "age", "sex", "findings"),
    "boxes.csv": ("image", "finding", "x", "y", "width", "height", "subtlety"),
}
_IMAGE_NAME: Final = re.compile(r"phantom_\d+_\d+(_lateral)?\.(png|dcm)")

ViewName: TypeAlias = Literal["frontal", "lateral"]


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


@dataclass(frozen=True, slots=True)
class Style:
    """How the phantoms of a collection are drawn.

    Attributes:
        view: frontal (PA or AP) or lateral.
        subtlety: range that the subtleties of lesions are drawn from, evenly: within 0, plain, to
            1, faintest.
    """

    view: ViewName = "frontal"
    subtlety: tuple[float, float] = SUBTLETY

    def check(self) -> None:
        """Refuse a range that is none.

        Raises:
            UsageError: `phantom-subtlety`, `phantom-view`.
        """
        low, high = self.subtlety
        if not 0 <= low <= high <= 1:
            raise UsageError(
                "phantom-subtlety",
                f"subtlety is {low:g} to {high:g}; allowed is a number or a range within 0 to 1",
            )
        if self.view not in get_args(ViewName):
            raise UsageError(
                "phantom-view",
                f"view is {self.view!r}; allowed are {', '.join(get_args(ViewName))}",
            )


def subtlety_range(text: str) -> tuple[float, float]:
    """Return what is written as a number, 0.3, or as a range, 0-0.5.

    Raises:
        UsageError: `phantom-subtlety` for what is neither.
    """
    low, _, high = text.partition("-")
    try:
        return float(low), float(high or low)
    except ValueError as error:
        raise UsageError(
            "phantom-subtlety",
            f"subtlety is {text!r}; allowed is a number or a range within 0 to 1, as 0.3 or 0-0.5",
        ) from error


USUAL: Final = Style()
"""The style of collections that ask for no other."""


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
        UsageError: `phantom-seed`, `phantom-side`, `phantom-subtlety` or `phantom-view` for what is
            out of range.
        DataError: `label-unknown` for a finding that is not in NIH14.

    Example:
        >>> phantom = draw(0, 2, side=128, findings=["Effusion"])
        >>> phantom.pixels.shape, phantom.findings
        ((128, 128), ('Effusion',))
    """
    _check(seed, index, side)
    style.check()
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


def _check(seed: int, index: int, side: int) -> None:
    for name, value in (("seed", seed), ("index", index)):
        if not 0 <= value < 2**63:
            raise UsageError("phantom-seed", f"{name} is {value}; allowed is 0 to 2**63 - 1")
    if not _SMALLEST <= side <= _LARGEST:
        raise UsageError(
            "phantom-side", f"side is {side} pixels; allowed is {_SMALLEST} to {_LARGEST}"
        )


def _refuse_strangers(folder: Path) -> None:
    """Leave a folder alone whose files, tables of labels above all, are somebody else's."""
    for path in sorted(folder.iterdir()):
        if path.name in _HEADERS and path.is_file():
            with path.open("rb") as file:
                mine = file.readline(200).decode(errors="replace").strip() == ",".join(
                    _HEADERS[path.name]
                )
        else:
            mine = _IMAGE_NAME.fullmatch(path.name) is not None or is_ours(path.name)
        if not mine:
            raise UsageError(
                "phantom-folder",
                f"{folder} holds {path.name!r}, which is no phantom's; name another folder",
            )


_NO_PIXELS: Final = np.empty((0, 0), np.uint8)
_Entry = tuple[str, Phantom]
"""Name of an image written, and the phantom without its pixels."""


def _write_some(
    indices: range, *, out: Path, side: int, seed: int, style: Style, dicom: bool
) -> list[_Entry]:
    entries = []
    for index in indices:
        phantom = draw(seed, index, side=side, style=style)
        lateral = "_lateral" if style.view == "lateral" else ""
        image = f"phantom_{seed}_{index:06d}{lateral}.{'dcm' if dicom else 'png'}"
        data = (
            encode_dicom(
                phantom.pixels,
                subject=Subject(phantom.patient, phantom.age, phantom.sex),
                view=phantom.view,
                spacing_mm=spacing_mm(side),
                seed=seed,
                index=index,
            )
            if dicom
            else cv2.imencode(".png", phantom.pixels, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()
        )
        write_bytes(out / image, data, swept=True)
        entries.append((image, replace(phantom, pixels=_NO_PIXELS)))
    return entries


def _written(
    task: Callable[[range], list[_Entry]], chunks: list[range], workers: int
) -> Iterator[list[_Entry]]:
    """Yield every chunk's entries in order, at most a few chunks ahead of who reads them."""
    if workers == 1:
        yield from map(task, chunks)
        return
    left = iter(chunks)
    # Spawned, not forked: a fork of a process with threads (cv2, torch) may deadlock.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(task, chunk) for chunk in islice(left, 2 * workers)]
        while running:
            entries = running.pop(0).result()
            running += [pool.submit(task, chunk) for chunk in islice(left, 1)]
            yield entries


def write(
    out: Path,
    *,
    count: int,
    side: int,
    seed: int,
    style: Style = USUAL,
    dicom: bool = False,
    workers: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> PhantomResult:
    """Write phantoms 0 to count - 1 with `labels.csv` and `boxes.csv`.

    Written again with the same arguments, every file is byte-identical. The tables come last and
    whole, so a folder with `labels.csv` is complete.

    Args:
        out: folder, made if absent; one that holds anything but phantoms is left alone.
        count: images, at least 1.
        side: pixels of each edge.
        seed: which collection.
        style: view and subtlety.
        dicom: write DX DICOM (12 bits) and not 8-bit PNG.
        workers: processes; None = one a core, and this process alone for a small count.
        on_progress: told after each few images how many are written.

    Raises:
        UsageError: `phantom-count`, `phantom-workers`, `phantom-seed`, `phantom-side`,
            `phantom-subtlety`, `phantom-view` or `phantom-folder`.
        DataError: `phantom-locked` while another process draws there.
    """
    if count < 1:
        raise UsageError("phantom-count", f"count is {count} images; it must be at least 1")
    if workers is not None and workers < 1:
        raise UsageError("phantom-workers", f"workers is {workers}; it must be at least 1")
    _check(seed, count - 1, side)
    style.check()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out):
            _refuse_strangers(out)
            sweep_folder(out)
            # Images of another collection may follow: the old tables must not speak for them.
            (out / "labels.csv").unlink(missing_ok=True)
            task = partial(_write_some, out=out, side=side, seed=seed, style=style, dicom=dicom)
            entries = _all_written(task, count, workers, on_progress)
            _write_tables(out, entries)
    except LockedError as error:
        raise DataError(
            "phantom-locked", f"{out} is being drawn into by {error.holder}; wait for it or stop it"
        ) from error
    except OSError as error:
        raise UsageError(
            "phantom-folder",
            f"{out} cannot be written ({error.strerror or error}); name another folder",
        ) from error
    return PhantomResult(
        images=len(entries), labels=str(out / "labels.csv"), boxes=str(out / "boxes.csv")
    )


def _all_written(
    task: Callable[[range], list[_Entry]],
    count: int,
    workers: int | None,
    on_progress: Callable[[int], None] | None,
) -> list[_Entry]:
    chunks = [range(i, min(i + _CHUNK, count)) for i in range(0, count, _CHUNK)]
    # A process takes about a second to start: as long as a few hundred small images.
    default = 1 if len(chunks) < 8 else processors()
    entries: list[_Entry] = []
    for some in _written(task, chunks, min(workers or default, len(chunks))):
        entries += some
        if on_progress is not None:
            on_progress(len(entries))
    return entries


def _write_tables(out: Path, entries: list[_Entry]) -> None:
    boxes = (
        (
            image,
            box.finding,
            *(f"{value:.2f}" for value in (box.x, box.y, box.width, box.height)),
            f"{phantom.subtleties[phantom.findings.index(box.finding)]:.3f}",
        )
        for image, phantom in entries
        for box in phantom.boxes
    )
    labels = (
        (
            image,
            phantom.patient,
            phantom.view,
            phantom.age,
            phantom.sex,
            "|".join(phantom.findings) or NO_FINDING,
        )
        for image, phantom in entries
    )
    for name, rows in (("boxes.csv", boxes), ("labels.csv", labels)):
        write_bytes(out / name, "".join(lines_of(_HEADERS[name], rows)).encode())
