"""A folder of phantoms: images, a table of their labels, and one of their boxes."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import cv2

from thorax.data.table import lines_of
from thorax.errors import DataError, UsageError
from thorax.files.atomic import LockedError, is_ours, locked, sweep_folder, write_bytes
from thorax.labels import NO_FINDING
from thorax.phantoms.dicom import Subject, encode_dicom
from thorax.phantoms.phantom import Phantom, draw, require_drawable, spacing_mm
from thorax.phantoms.style import USUAL, Style
from thorax.processors import processors
from thorax.results.data import PhantomResult

_CHUNK: Final = 32
_HEADERS: Final = {
    "labels.csv": ("image", "patient", "view", "age", "sex", "findings"),
    "boxes.csv": ("image", "finding", "x", "y", "width", "height", "subtlety"),
}
_PHANTOM: Final = re.compile(r"phantom_\d+_\d+(_lateral)?\.(png|dcm)")


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the tables say of one image: its row of labels, and one a box."""

    image: str
    labels: tuple[object, ...]
    boxes: tuple[tuple[object, ...], ...]

    @classmethod
    def of(cls, image: str, phantom: Phantom) -> "_Rows":
        findings = "|".join(phantom.findings) or NO_FINDING
        subtlety = dict(zip(phantom.findings, phantom.subtleties, strict=True))
        return cls(
            image,
            (image, phantom.patient, phantom.view, phantom.age, phantom.sex, findings),
            tuple(
                (
                    image,
                    box.finding,
                    *(f"{value:.2f}" for value in (box.x, box.y, box.width, box.height)),
                    f"{subtlety[box.finding]:.3f}",
                )
                for box in phantom.boxes
            ),
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
            mine = _PHANTOM.fullmatch(path.name) is not None or is_ours(path.name)
        if not mine:
            raise UsageError(
                "phantom-folder",
                f"{folder} holds {path.name!r}, which is no phantom's; name another folder",
            )


def _write_some(
    indices: range, *, out: Path, side: int, seed: int, style: Style, dicom: bool
) -> list[_Rows]:
    rows = []
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
        rows.append(_Rows.of(image, phantom))
    return rows


def _written(
    task: Callable[[range], list[_Rows]], chunks: list[range], workers: int
) -> Iterator[list[_Rows]]:
    """Yield every chunk's rows in order, at most a few chunks ahead of who reads them."""
    if workers == 1:
        yield from map(task, chunks)
        return
    left = iter(chunks)
    # Spawned, not forked: a fork of a process with threads (cv2, torch) may deadlock.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(task, chunk) for chunk in islice(left, 2 * workers)]
        while running:
            rows = running.pop(0).result()
            running += [pool.submit(task, chunk) for chunk in islice(left, 1)]
            yield rows


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

    Written again with the same arguments, every file is byte-identical. Phantoms that the folder
    held before and that are not of this collection are removed. The tables come last and whole, so
    a folder with `labels.csv` is complete and holds no other phantoms.

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
        UsageError: `phantom-count`, `phantom-workers`, `phantom-seed`, `phantom-side` or
            `phantom-folder`.
        DataError: `phantom-locked` while another process draws there.
    """
    if count < 1:
        raise UsageError("phantom-count", f"count is {count} images; it must be at least 1")
    if workers is not None and workers < 1:
        raise UsageError("phantom-workers", f"workers is {workers}; it must be at least 1")
    require_drawable(seed, count - 1, side)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out):
            _refuse_strangers(out)
            sweep_folder(out)
            # Images of another collection may follow: the old tables must not speak for them.
            (out / "labels.csv").unlink(missing_ok=True)
            task = partial(_write_some, out=out, side=side, seed=seed, style=style, dicom=dicom)
            rows = _all_written(task, count, workers, on_progress)
            _remove_others(out, {row.image for row in rows})
            _write_tables(out, rows)
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
        images=len(rows), labels=str(out / "labels.csv"), boxes=str(out / "boxes.csv")
    )


def _all_written(
    task: Callable[[range], list[_Rows]],
    count: int,
    workers: int | None,
    on_progress: Callable[[int], None] | None,
) -> list[_Rows]:
    chunks = [range(i, min(i + _CHUNK, count)) for i in range(0, count, _CHUNK)]
    # A process takes about a second to start: as long as a few hundred small images.
    default = 1 if len(chunks) < 8 else processors()
    rows: list[_Rows] = []
    for some in _written(task, chunks, min(workers or default, len(chunks))):
        rows += some
        if on_progress is not None:
            on_progress(len(rows))
    return rows


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove the images of a collection that was drawn into the folder before."""
    for path in folder.iterdir():
        if _PHANTOM.fullmatch(path.name) and path.name not in names:
            path.unlink()


def _write_tables(out: Path, rows: list[_Rows]) -> None:
    boxes = [box for row in rows for box in row.boxes]
    labels = [row.labels for row in rows]
    for name, lines in (("boxes.csv", boxes), ("labels.csv", labels)):
        write_bytes(out / name, "".join(lines_of(_HEADERS[name], lines)).encode())
