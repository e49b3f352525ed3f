"""Radiographs to findings through a compiled artifact: one way for every caller."""

import itertools
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thorax.artifact import Card
from thorax.devices.engine import Engine, Outputs
from thorax.devices.requests import Request
from thorax.errors import DataError, ImageError
from thorax.images.preprocess import prepare
from thorax.images.radiograph import Meaning, Radiograph, read
from thorax.inference.sources import STDIN, Source, StoredImage, ZippedImage, opened
from thorax.processors import processors


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
        meaning: what is known of the radiograph, and doubtful; None of an image of a store.
        error: code and message of what kept it from being read, None when all is well.
    """

    image: str
    findings: dict[str, float]
    positive: tuple[str, ...] = ()
    heatmap: npt.NDArray[np.float32] | None = None
    prepared: npt.NDArray[np.uint8] | None = None
    size: tuple[int, int] | None = None
    meaning: Meaning | None = None
    error: tuple[str, str] | None = None


class Predictor:
    """Findings of radiographs through one engine.

    The engine is compiled with any batch; a last one that is not full is padded. To `profile` is to
    add up the counters of every layer; the engine must be compiled with counters. With `identities`
    attributes of patients are read too.

    Example:
        >>> predictor = Predictor(compile(load(Path("model"))))  # doctest: +SKIP
        >>> predictor.predict(read("chest.png")).positive        # doctest: +SKIP
        ('Cardiomegaly',)
    """

    def __init__(self, engine: Engine, *, profile: bool = False, identities: bool = False) -> None:
        self.engine = engine
        self.identities = identities
        self.profile = profile
        self._card = engine.artifact.card

    def predict(self, radiograph: Radiograph) -> Prediction:
        """Return the findings of one radiograph."""
        return self._predict(_Prepared.of(radiograph, self._card, radiograph.source))

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
            meaning=prepared.meaning,
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
                pixels = np.ascontiguousarray(opened(source.store).images[source.number])
                side = self._card.input.side
                return _Prepared(str(source), (side, side), pixels[None])
            if isinstance(source, ZippedImage):
                radiograph = read(source.content(), patient=self.identities)
            elif source == STDIN:
                radiograph = read(sys.stdin.buffer, patient=self.identities)
            else:
                radiograph = read(source, patient=self.identities)
            return _Prepared.of(radiograph, self._card, str(source))
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
    meaning: Meaning | None = None

    @classmethod
    def of(cls, radiograph: Radiograph, card: Card, name: str) -> "_Prepared":
        return cls(name, radiograph.shape, prepare(radiograph, card.input), radiograph.meaning)


def calibrate(probability: npt.NDArray[np.float32], card: Card) -> npt.NDArray[np.float64]:
    """Return float64 [N,K] calibrated as the card says; findings it is silent on stay as they are.

    Probabilities are float32 [N,K], 0-1, as the network gives them.
    """
    calibrated = probability.astype(np.float64)
    for column, name in enumerate(card.labels):
        if card.calibration and name in card.calibration:
            calibrated[:, column] = card.calibration[name].apply(calibrated[:, column])
    return calibrated
