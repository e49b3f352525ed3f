"""Radiographs to findings through a compiled artifact: one way for every caller."""

import functools
import itertools
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.artifact import Card
from thorax.data.store import Store, is_store, open_store
from thorax.devices.engine import Engine, Outputs
from thorax.devices.requests import Request
from thorax.errors import DataError, ImageError
from thorax.files.atomic import is_ours
from thorax.images.preprocess import prepare
from thorax.images.radiograph import Radiograph, read
from thorax.processors import processors

_SUFFIXES: Final = {".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".dic", ""}
_PICTURES: Final = frozenset(
    (".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".j2k", ".jls", ".jxl", ".heic", ".avif")
)
"""Endings of pictures of other formats: somebody expects an answer for them, and gets an error."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Findings of one image, or why it could not be read.

    Attributes:
        image: the path or name given.
        findings: calibrated probability of each finding, 0-1, in label order; empty on error.
        positive: findings at or above their operating point; empty without operating points.
        heatmap: float32 [K,h,w], logits a cell, where the network has such a head.
        prepared: uint8 [1,S,S], what the network was fed.
        size: (height, width) of the radiograph, pixels.
        error: code and message of what kept it from being read, None when all is well.
    """

    image: str
    findings: dict[str, float]
    positive: tuple[str, ...] = ()
    heatmap: npt.NDArray[np.float32] | None = None
    prepared: npt.NDArray[np.uint8] | None = None
    size: tuple[int, int] | None = None
    error: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of a store, prepared already; its text is the store's path and its name there.

    `store` is the folder of the store, `number` the row of its table, `name` what the image goes by
    in it.
    """

    store: Path
    number: int
    name: str

    def __str__(self) -> str:
        return str(self.store / self.name)


Source = Path | StoredImage
"""Where a radiograph is read from: a file, or a store."""


class Predictor:
    """Findings of radiographs through one engine.

    The engine is compiled with any batch; a last one that is not full is padded. To `profile` is to
    add up the counters of every layer; the engine must be compiled with counters.

    Example:
        >>> predictor = Predictor(compile(load(Path("model"))))  # doctest: +SKIP
        >>> predictor.predict(read("chest.png")).positive        # doctest: +SKIP
        ('Cardiomegaly',)
    """

    def __init__(self, engine: Engine, *, profile: bool = False) -> None:
        self.engine = engine
        self.profile = profile
        self._card = engine.artifact.card

    def predict(self, radiograph: Radiograph) -> Prediction:
        """Return the findings of one radiograph."""
        return self._predict(_Prepared.of(radiograph, self._card))

    def _predict(self, prepared: "_Prepared") -> Prediction:
        outputs = self.engine.infer(prepared.pixels[None], profile=self.profile)
        return self._answer(prepared, outputs)

    def _answer(self, prepared: "_Prepared", outputs: Outputs, row: int = 0) -> Prediction:
        values = calibrate(outputs.probability[row : row + 1], self._card)[0]
        findings = dict(zip(self._card.labels, map(float, values), strict=True))
        thresholds = self._card.thresholds or {}
        return Prediction(
            image=prepared.image,
            findings=findings,
            positive=tuple(
                name
                for name, value in findings.items()
                if name in thresholds and value >= thresholds[name]
            ),
            heatmap=None if outputs.heatmap is None else outputs.heatmap[row],
            prepared=prepared.pixels,
            size=prepared.size,
        )

    def predict_file(self, source: Source) -> Prediction:
        """Return the findings of one file; a file that cannot be read is an answer too."""
        prepared = self._read(source)
        return prepared if isinstance(prepared, Prediction) else self._predict(prepared)

    def stream(
        self, paths: Iterable[Source], *, workers: int | None = None
    ) -> Iterator[Prediction]:
        """Yield the findings of many files in their order, in bounded memory.

        Each worker decodes, prepares, starts its own request and waits for it, so decoding of one
        file overlaps inference of another and never more files are in memory than twice the
        workers, times the batch of the engine: each worker takes so many files, and the last batch
        is filled up with an image that is not answered. Paths are any number of files, and of
        images of stores; `workers` is None for one more than there are streams or processors, which
        keeps every processor busy while answers are collected.
        """
        available = processors()
        count = workers or max(self.engine.streams, available) + 1
        waiting: deque[Future[list[Prediction]]] = deque()
        coming = iter(paths)
        with ThreadPoolExecutor(count, thread_name_prefix="predict") as pool:
            try:
                while group := list(itertools.islice(coming, self.engine.batch)):
                    waiting.append(pool.submit(self._predict_together, group))
                    if len(waiting) >= 2 * count:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _predict_together(self, paths: Sequence[Source]) -> list[Prediction]:
        """Return the findings of as many files as a batch has room for, in their order."""
        if self.engine.batch == 1:
            return [self.predict_file(path) for path in paths]
        images = [self._read(path) for path in paths]
        prepared = [image for image in images if isinstance(image, _Prepared)]
        if not prepared:
            return [image for image in images if isinstance(image, Prediction)]
        batch = prepared + prepared[-1:] * (self.engine.batch - len(prepared))
        outputs = self.engine.infer(
            np.stack([image.pixels for image in batch]), profile=self.profile
        )
        rows = iter(range(len(prepared)))
        return [
            image if isinstance(image, Prediction) else self._answer(image, outputs, next(rows))
            for image in images
        ]

    def stream_async(self, paths: Iterable[Source], *, requests: int) -> Iterator[Prediction]:
        """Yield the findings of many files in their order, some requests being in flight.

        The requests are started and waited for from the caller's thread alone, as OpenVINO's
        classification_sample_async did it; other threads decode what comes next, one file for each
        processor. The answers are those of `stream`. Paths are as of `stream`; at most `requests`
        are started and not yet yielded.
        """
        available = processors()
        coming: deque[Future[_Prepared | Prediction]] = deque()
        started: deque[tuple[_Prepared, Request[Outputs]] | Prediction] = deque()

        def start() -> None:
            prepared = coming.popleft().result()
            if isinstance(prepared, Prediction):
                started.append(prepared)
                return
            request = self.engine.start(prepared.pixels[None], profile=self.profile)
            started.append((prepared, request))

        def answer() -> Prediction:
            if isinstance(first := started.popleft(), Prediction):
                return first
            prepared, request = first
            return self._answer(prepared, request.result())

        with ThreadPoolExecutor(available, thread_name_prefix="predict") as pool:
            try:
                for path in paths:
                    coming.append(pool.submit(self._read, path))
                    if len(coming) > available:
                        if len(started) >= requests:
                            yield answer()
                        start()
                while coming or started:
                    while coming and len(started) < requests:
                        start()
                    yield answer()
            finally:
                for future in coming:
                    future.cancel()
                _end([entry[1] for entry in started if isinstance(entry, tuple)])

    def _read(self, source: Source) -> "_Prepared | Prediction":
        try:
            if isinstance(source, StoredImage):
                pixels = np.ascontiguousarray(_opened(source.store).images[source.number])
                side = self._card.input.side
                return _Prepared(str(source), (side, side), pixels[None])
            return _Prepared.of(read(source), self._card)
        except (ImageError, DataError) as error:
            return Prediction(str(source), {}, error=(error.code, error.message))


def _end(requests: Sequence[Request[Outputs]]) -> None:
    """Cancel requests whose answers nobody takes, and wait until none of them runs."""
    for request in requests:
        request.cancel()
    for request in requests:
        request.wait()


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A radiograph as the network takes it, without its own pixels."""

    image: str
    size: tuple[int, int]
    pixels: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, radiograph: Radiograph, card: Card) -> "_Prepared":
        return cls(radiograph.source, radiograph.shape, prepare(radiograph, card.input))


def calibrate(probability: npt.NDArray[np.float32], card: Card) -> npt.NDArray[np.float64]:
    """Return float64 [N,K] calibrated as the card says; findings it is silent on stay as they are.

    Probabilities are float32 [N,K], 0-1, as the network gives them.
    """
    calibrated = probability.astype(np.float64)
    for column, name in enumerate(card.labels):
        if card.calibration and name in card.calibration:
            calibrated[:, column] = card.calibration[name].apply(calibrated[:, column])
    return calibrated


def find_sources(
    inputs: Sequence[Path], side: int, passed_over: list[Path] | None = None
) -> Iterator[Source]:
    """Yield what `find_files` does, and of each store named its images in the order of its table.

    `side` is that of the images that the network takes, pixels; of `passed_over` see `find_files`.

    Raises:
        DataError: as `thorax.data.store.open_store`.
        UsageError: `store-side` for a store of images of another size.
    """
    for path in inputs:
        if not _holds(is_store, path):
            yield from find_files([path], passed_over)
            continue
        store = _opened(path)
        store.require_side(side)
        yield from (StoredImage(path, number, name) for number, name in enumerate(store.names))


@functools.lru_cache(maxsize=8)
def _opened(path: Path) -> Store:
    return open_store(path)


def _holds(test: Callable[[Path], bool], path: Path) -> bool:
    """Return what a test says; False where nobody may look, which whoever reads it is told."""
    try:
        return test(path)
    except OSError:
        return False


def find_files(inputs: Sequence[Path], passed_over: list[Path] | None = None) -> Iterator[Path]:
    """Yield the files named, and below each folder named what may be a radiograph, sorted.

    In a folder a file counts by its name: PNG, JPEG and DICOM endings, none, or a number, as in
    files named by their UID; and under any other name when it begins as one of these formats does.
    What cannot be looked at is yielded too, so that whoever reads it is told why: folders and files
    that the system does not let be read, links to folders, which are not followed, and links in
    circles; and pictures of formats that are not read. What is hidden, by a name that begins with a
    point, is passed over. `passed_over` gets the files of a folder that are nothing of all this,
    such as tables, and what is hidden, a folder as one.
    """
    for path in inputs:
        # The folders that are open, each with what is left of it.
        waiting = [_entries(path) if _holds(Path.is_dir, path) else iter([path])]
        while waiting:
            entry = next(waiting[-1], None)
            if entry is None:
                waiting.pop()
            elif isinstance(entry, Path):
                yield entry
            elif entry.name.startswith("."):
                if passed_over is not None and not is_ours(entry.name):
                    passed_over.append(Path(entry.path))
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(_entries(Path(entry.path)))
            elif _may_be_a_radiograph(Path(entry.path)):
                yield Path(entry.path)
            elif passed_over is not None:
                passed_over.append(Path(entry.path))


def _entries(folder: Path) -> "Iterator[os.DirEntry[str] | Path]":
    """Yield what is in a folder, sorted, or the folder itself when it cannot be read."""
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    yield from entries


def _may_be_a_radiograph(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES or suffix in _PICTURES or re.fullmatch(r"\.\d+", suffix):
        return True
    try:
        mode = path.stat().st_mode
        # Of a link to a folder nobody knows what is behind it; a pipe is no file.
        return stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and _begins_as_an_image(path))
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _begins_as_an_image(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(132)
    return head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")) or head[128:] == b"DICM"
