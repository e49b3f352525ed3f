"""Synthetic frontal chest radiographs with findings, boxes and patients: no patient's data.

A phantom is a pure function of (seed, index); its content does not depend on the side asked for.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
import numpy.typing as npt

from thorax.data.samples import Box
from thorax.data.table import lines_of
from thorax.errors import DataError, UsageError
from thorax.files.atomic import LockedError, is_ours, locked, sweep_folder, write_bytes
from thorax.labels import NIH14, NO_FINDING
from thorax.phantoms.anatomy import density, develop
from thorax.phantoms.canvas import SOFT_SIDE, Canvas, Points, spline, stream
from thorax.phantoms.chest import FIELD_CM, SIDES, Chest, sample_chest, x_of
from thorax.phantoms.dicom import encode_dicom
from thorax.phantoms.findings import SIGNS, Sheet
from thorax.phantoms.sampling import choose, plan, reshape, sign_stream
from thorax.processors import processors
from thorax.results.data import PhantomResult

_PATIENT, _POSE, _DEVICES, _PICTURE, _BLOCK = range(5)
_SMALLEST, _LARGEST = 16, 4096
_GROUPS: Final = ((1, 2, 3), (2, 1, 3), (3, 2, 1), (2, 2, 2), (1, 3, 2), (3, 3), (1, 1, 2, 2))
_BLOCK_SIZE: Final = 6
_CHUNK: Final = 32
_HEADERS: Final = {
    "labels.csv": ("image", "patient", "view", "findings"),
    "boxes.csv": ("image", "finding", "x", "y", "width", "height"),
}
_IMAGE_NAME: Final = re.compile(r"phantom_\d+_\d+\.(png|dcm)")


@dataclass(frozen=True, slots=True)
class Phantom:
    """One synthetic radiograph.

    Attributes:
        pixels: uint8 [S, S], white = dense; the field is `FIELD_CM` wide.
        patient: who it is of; neighbours in index may share one.
        view: "PA" or "AP".
        findings: NIH14 names, in that order; empty = no finding.
        boxes: one or more for every finding, in pixels of `pixels`.
    """

    pixels: npt.NDArray[np.uint8]
    patient: str
    view: Literal["PA", "AP"]
    findings: tuple[str, ...]
    boxes: tuple[Box, ...]


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
def _patient(seed: int, first: int) -> Chest:
    return sample_chest(stream(seed, first, _PATIENT))


def _pose(rng: np.random.Generator) -> Points:
    """Draw float64 [2, 3]: how the patient stands before the detector."""
    angle = np.deg2rad(rng.normal(0, 1.6))
    scale = rng.uniform(1.06, 1.22)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    about = np.array([0.5, 0.47])
    shift = about + rng.normal(0, (0.012, 0.012)) - turn @ about
    return np.column_stack((turn, shift))


def _stance(chest: Chest, rng: np.random.Generator, *, ap: bool) -> Chest:
    """Return the chest of one exposure: how deep the breath, and AP or PA.

    AP magnifies the heart, which lies in front, and a lying patient's domes stand higher; the
    cardiothoracic ratio of a healthy heart stays below 0.5 all the same.
    """
    breath = rng.uniform(-0.012, 0.014) - (0.014 if ap else 0.0)
    return replace(
        chest,
        dome=(chest.dome[0] + breath, chest.dome[1] + breath),
        angle=(chest.angle[0] + breath, chest.angle[1] + breath),
        ratio=chest.ratio * (1.045 if ap else 1.0),
        air=chest.air * rng.uniform(0.95, 1.05),
    )


def _circle(centre: tuple[float, float], radius: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 17)
    return np.column_stack((np.cos(angle), np.sin(angle))) * radius + centre


def _marker(canvas: Canvas, rng: np.random.Generator) -> list[tuple[float, Points]]:
    """Return the strokes of a lead letter beside the shoulder it names, or none."""
    if rng.random() > 0.7:
        return []
    side = int(rng.integers(2))
    size = rng.uniform(0.028, 0.042)
    corner = np.array([rng.uniform(0.03, 0.09), rng.uniform(0.03, 0.20)])
    if side:
        corner[0] = 1 - corner[0] - 0.6 * size
    letter: list[list[tuple[float, float]]] = [[(0, 0), (0, 1), (0.6, 1)]]
    if not side:
        bow = [(0.0, 1.0), (0, 0), (0.45, 0), (0.6, 0.12), (0.6, 0.38), (0.45, 0.5), (0, 0.5)]
        letter = [[*bow, (0.25, 0.5), (0.6, 1)]]
    return [(0.18 * size, canvas.unplace(np.array(s) * size + corner)) for s in letter]


def _devices(chest: Chest, rng: np.random.Generator) -> list[tuple[float, Points]]:
    """Return the strokes of ECG electrodes with their wires, and of a central line, or none."""
    strokes: list[tuple[float, Points]] = []
    if rng.random() < 0.22:
        for side in SIDES:
            u, y = rng.uniform(0.6, 1.15) * chest.half_width, rng.uniform(0.16, 0.8)
            x = float(x_of(side, u))
            way = [(x, y), (x + rng.normal(0, 0.08), y + 0.12), (rng.uniform(0.2, 0.8), y + 0.35)]
            way.append((rng.uniform(-0.1, 1.1), 1.15))
            strokes.append((0.0032, spline(way, 24)))
            strokes.append((0.004, _circle((x, y), 0.011)))
            strokes.append((0.007, _circle((x, y), 0.002)))
    if rng.random() < 0.1:
        side = int(rng.integers(2))
        start = float(x_of(side, rng.uniform(0.1, 0.2)))
        tip = (chest.middle - 0.04, chest.height(0, rng.uniform(0.42, 0.55)))
        way = [(start, -0.05), (start, chest.apex), (chest.middle - 0.035, chest.apex + 0.11), tip]
        strokes.append((0.0038, spline(way, 24)))
    return strokes


def draw(
    seed: int, index: int, *, side: int = 256, findings: Iterable[str] | None = None
) -> Phantom:
    """Draw one phantom; anatomy, pose, devices and noise do not depend on the findings.

    Seed and index, which collection and which of it, are 0 to 2**63 - 1, the pixels of a side 16 to
    4096. Findings that are given are drawn instead of those that the collection would have.

    Raises:
        UsageError: `phantom-seed` or `phantom-side` for a number out of range.
        DataError: `label-unknown` for a finding that is not in NIH14.

    Example:
        >>> phantom = draw(0, 2, side=128, findings=["Effusion"])
        >>> phantom.pixels.shape, phantom.findings
        ((128, 128), ('Effusion',))
    """
    _check(seed, index, side)
    if findings is None:
        names = choose(seed, index)
    else:
        wanted = NIH14.row(findings)
        names = tuple(name for name, on in zip(NIH14.findings, wanted, strict=True) if on)
    first = _first_of_patient(seed, index)
    rng = stream(seed, index, _POSE)
    ap = bool(rng.random() < 0.4)
    pose = _pose(rng)
    lesions = plan(seed, index, names)
    chest = _stance(_patient(seed, first), rng, ap=ap)
    centre, width = rng.uniform(0.40, 0.47), rng.uniform(0.165, 0.205)
    # Below this the lines of a sign would be thinner than their own brightness steps.
    canvas = Canvas(max(side, SOFT_SIDE), pose)
    hardware = stream(seed, index, _DEVICES)
    metal = _devices(chest, hardware) + _marker(canvas, hardware)
    chest = reshape(chest, lesions)
    sheet = Sheet(chest, canvas)
    for lesion in lesions:
        SIGNS[lesion.finding](sheet, lesion, sign_stream(seed, index, lesion.finding))
    noise_rng = stream(seed, index, _PICTURE)
    picture = density(chest, canvas, sheet, ap=ap, metal=metal, rng=noise_rng)
    pixels = develop(picture, canvas, noise_rng, centre=centre, width=width)
    if canvas.side != side:
        pixels = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)
    boxes = tuple(
        Box(b.finding, b.x * side, b.y * side, b.width * side, b.height * side) for b in sheet.boxes
    )
    return Phantom(pixels, f"phantom-{seed}-{first:06d}", "AP" if ap else "PA", names, boxes)


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


def _write_some(indices: range, *, out: Path, side: int, seed: int, dicom: bool) -> list[_Entry]:
    entries = []
    for index in indices:
        phantom = draw(seed, index, side=side)
        image = f"phantom_{seed}_{index:06d}.{'dcm' if dicom else 'png'}"
        data = (
            encode_dicom(
                phantom.pixels,
                patient=phantom.patient,
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
        dicom: write DX DICOM (12 bits) and not 8-bit PNG.
        workers: processes; None = one a core, and this process alone for a small count.
        on_progress: told after each few images how many are written.

    Raises:
        UsageError: `phantom-count`, `phantom-workers`, `phantom-seed`, `phantom-side` or
            `phantom-folder`.
        DataError: `phantom-locked` while another process draws there.
    """
    if count < 1:
        raise UsageError("phantom-count", f"count is {count} images; it must be at least 1")
    if workers is not None and workers < 1:
        raise UsageError("phantom-workers", f"workers is {workers}; it must be at least 1")
    _check(seed, count - 1, side)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out):
            _refuse_strangers(out)
            sweep_folder(out)
            # Images of another collection may follow: the old tables must not speak for them.
            (out / "labels.csv").unlink(missing_ok=True)
            task = partial(_write_some, out=out, side=side, seed=seed, dicom=dicom)
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
        (image, box.finding, *(f"{value:.2f}" for value in (box.x, box.y, box.width, box.height)))
        for image, phantom in entries
        for box in phantom.boxes
    )
    labels = (
        (image, phantom.patient, phantom.view, "|".join(phantom.findings) or NO_FINDING)
        for image, phantom in entries
    )
    for name, rows in (("boxes.csv", boxes), ("labels.csv", labels)):
        write_bytes(out / name, "".join(lines_of(_HEADERS[name], rows)).encode())
