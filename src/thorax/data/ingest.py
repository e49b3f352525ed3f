"""Decode rows into one file of pixels: in parallel, resumable after any interruption.

Pixels are written to their place and forced to disk before a line of the journal says so; a run
that is killed loses the images since the last such moment, no more. What the journal says is
believed where its line and the pixels behind it are those that were written; the rest is decoded
again. `pwrite` and not a memory map: dirty mapped pages count as this process's memory, and a full
disk is an error, not a bus error.
"""

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Final

from thorax.data.samples import Sample, Skipped
from thorax.data.store_pixels import Decoded, holds, opened_regular, read_journal
from thorax.errors import ImageError
from thorax.files.atomic import sha256, write_bytes
from thorax.files.documents import checked_line
from thorax.images import radiograph
from thorax.images.preprocess import InputSpec, prepare
from thorax.processors import processors

_SYNC_IMAGES: Final = 256
_SYNC_S: Final = 5.0
_MOST_WORKERS: Final = 8
_UPDATED: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW


def decode(
    rows: Sequence[Sample],
    spec: InputSpec,
    *,
    pixels: Path,
    journal: Path,
    workers: int | None,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[dict[int, Decoded], list[Skipped]]:
    """Decode the rows the journal does not have and return all that are decoded, and the failures.

    Args:
        rows: row n goes to bytes n*S*S of `pixels`; a file that cannot be read leaves zeros there.
        spec: only `side` matters.
        pixels: the file to fill.
        journal: a checked line for each image that is safely in it.
        workers: threads, None = one a processor, 8 at most; each holds one decoded image.
        on_progress: called with (images done, images in all) from the calling thread.

    Raises:
        OSError: when the disk refuses.
    """
    failed: dict[int, Skipped] = {}
    count = workers or min(processors(), _MOST_WORKERS)
    with opened_regular(pixels, _UPDATED) as target, opened_regular(journal, _UPDATED):
        told = read_journal(journal)
        if told.bad:
            write_bytes(journal, b"".join(told.lines))
        done = {
            number: item for number, item in told.done.items() if holds(target, item, spec.side)
        }
    with opened_regular(pixels, _UPDATED) as target, opened_regular(journal, _UPDATED) as log:
        os.ftruncate(target, len(rows) * spec.side * spec.side)
        os.lseek(log, 0, os.SEEK_END)
        unsaved: list[Decoded] = []
        saved_s = time.perf_counter()
        for number, result in _each(rows, done, spec, target, count):
            if isinstance(result, Skipped):
                failed[number] = result
            else:
                unsaved.append(result)
            if len(unsaved) >= _SYNC_IMAGES or time.perf_counter() - saved_s > _SYNC_S:
                _save(target, log, unsaved, done)
                saved_s = time.perf_counter()
            if on_progress is not None:
                on_progress(len(done) + len(unsaved) + len(failed), len(rows))
        _save(target, log, unsaved, done)
    return done, [failed[number] for number in sorted(failed)]


def _each(
    rows: Sequence[Sample], done: Mapping[int, Decoded], spec: InputSpec, target: int, workers: int
) -> Iterator[tuple[int, Decoded | Skipped]]:
    """Yield the outcome of each row that is not done, in order, few of them in flight."""
    # A copy: the caller adds to `done` while this runs.
    todo = [number for number in range(len(rows)) if number not in done]
    waiting: deque[tuple[int, Future[Decoded | Skipped]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for number in todo:
            waiting.append((number, pool.submit(_decode, rows[number], number, spec, target)))
            if len(waiting) >= 4 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _decode(row: Sample, number: int, spec: InputSpec, target: int) -> Decoded | Skipped:
    try:
        image = radiograph.read(row.path)
        square = prepare(image, spec)
        digest = _source_digest(row.path)
    except ImageError as error:
        return Skipped(row.image, error.code, error.message)
    height, width = image.grey8.shape if row.boxes else (0, 0)
    pixels = hashlib.sha256(square.data).hexdigest()
    view, offset = square.data.cast("B"), number * spec.side * spec.side
    while view:
        written = os.pwrite(target, view, offset)
        view, offset = view[written:], offset + written
    warnings = tuple(dict.fromkeys(warning.code for warning in image.meaning.warnings))
    return Decoded(number, digest, height, width, pixels, warnings)


def _source_digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise ImageError("image-unreadable", f"{path.name}: {error.strerror}") from error


def _save(target: int, log: int, unsaved: list[Decoded], done: dict[int, Decoded]) -> None:
    os.fdatasync(target)
    view = memoryview("".join(checked_line(asdict(item)) for item in unsaved).encode())
    while view:
        view = view[os.write(log, view) :]
    os.fsync(log)
    done.update((item.number, item) for item in unsaved)
    unsaved.clear()
