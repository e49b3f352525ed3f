"""An engine driven by MLPerf LoadGen: the times of its answers, and LoadGen's verdict.

LoadGen (github.com/mlcommons/inference, folder loadgen) decides when what is asked, and judges. An
exception that passes through it ends the process, and it cannot be told to stop: it runs on a
thread of its own, and what goes wrong is kept until it is through.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias

import mlperf_loadgen
import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.benchmark.measurement import Traffic
from thorax.devices.engine import INPUT, Engine
from thorax.devices.requests import request_failed
from thorax.results.benchmark import Scenario

DETAIL: Final = "mlperf_log_detail.txt"

_SCENARIOS: Final[Mapping[Scenario, str]] = {
    "offline": "Offline",
    "server": "Server",
    "single-stream": "SingleStream",
    "multi-stream": "MultiStream",
}
"""As LoadGen names them."""

_LOOK_S: Final = 0.25
"""How often progress is told and failures are looked for, seconds."""

_Query: TypeAlias = tuple[float, list[int], list[int]]
"""When it was asked, LoadGen's number of each sample, and the index of its image."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What the engine did, by its own clock: `time.perf_counter`, seconds.

    One row for each part of a query that was answered together.

    Attributes:
        asked_s: float64 [M], when LoadGen asked.
        begun_s: float64 [M], when the inference was started.
        done_s: float64 [M], when it was answered.
        images: int64 [M], of this part; others may have shared the inference.
    """

    asked_s: npt.NDArray[np.float64]
    begun_s: npt.NDArray[np.float64]
    done_s: npt.NDArray[np.float64]
    images: npt.NDArray[np.int64]

    @property
    def begin_s(self) -> float:
        """When the first image was asked for."""
        return float(self.asked_s.min())

    @property
    def window_s(self) -> float:
        """From the first question to the last answer, seconds."""
        return float(self.done_s.max()) - self.begin_s

    def latencies_s(self, *, queries: bool = False) -> npt.NDArray[np.float64]:
        """Return float64 [images] from question to answer; with `queries`, of each whole query."""
        if not queries:
            return np.repeat(self.done_s - self.asked_s, self.images)
        asked_s, query = np.unique(self.asked_s, return_inverse=True)
        done_s = np.zeros(len(asked_s))
        np.maximum.at(done_s, query, self.done_s)
        return np.asarray(done_s - asked_s)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One run of LoadGen.

    Attributes:
        trace: of the engine.
        figures: what LoadGen's detailed log says under `result_*`, `early_stopping*`, and of
            errors.
    """

    trace: Trace
    figures: Mapping[str, Any]

    @property
    def valid(self) -> bool:
        """LoadGen's verdict."""
        return bool(self.figures["result_validity"] == "VALID")

    def percentile_s(self, percent: float, *, queries: bool = False) -> float:
        """Return the latency that so many percent of the answers kept, as LoadGen has it."""
        of = "per_query_latency" if queries else "latency"
        return float(self.figures[f"result_{percent:.2f}_percentile_{of}_ns"]) / 1e9


def drive(
    engine: Engine,
    images: npt.NDArray[np.uint8],
    traffic: Traffic,
    *,
    logs: Path,
    on_progress: Callable[[int], None] | None = None,
) -> Run:
    """Let LoadGen ask an engine; return when the last answer is in.

    A query of fewer images than the engine's batch is filled up. LoadGen draws from the images,
    uint8 [N,1,S,S], writes its logs to a folder and reads an `audit.config` from it; `on_progress`
    is told now and then how many more were answered.

    Raises:
        DeviceError: `request-failed` with what the device said of the first failure.
    """
    under_test = _UnderTest(engine, images, traffic.scenario)
    ask = under_test.answer_at_once if under_test.alone else under_test.issue
    system = mlperf_loadgen.ConstructFastSUT(ask, under_test.flush)
    library = mlperf_loadgen.ConstructQSL(len(images), len(images), _nothing, _nothing)
    through = threading.Event()

    def ask_all() -> None:
        try:
            mlperf_loadgen.StartTestWithLogSettings(
                system, library, settings(traffic), log_settings(logs), str(logs / "audit.config")
            )
        finally:
            through.set()

    thread = threading.Thread(target=ask_all, name="loadgen")
    counted = 0
    try:
        under_test.begin()
        thread.start()
        # Not by `join`: Python 3.11 takes a thread for ended when Ctrl-C comes in its midst.
        while not through.wait(_LOOK_S) and under_test.error is None:
            counted = _count_new(under_test, counted, on_progress)
        _count_new(under_test, counted, on_progress)
    finally:
        # Of no effect when LoadGen is through; after Ctrl-C or a failure it is led to its end.
        under_test.end()
        while not through.is_set():
            under_test.give_up()
            with suppress(KeyboardInterrupt):
                through.wait(0.02)
        thread.join()
        under_test.join()
        mlperf_loadgen.DestroyFastSUT(system)
        mlperf_loadgen.DestroyQSL(library)
    if under_test.error is not None:
        raise under_test.error
    return Run(under_test.trace(), read_figures(logs / DETAIL))


def _count_new(
    under_test: "_UnderTest", counted: int, on_progress: Callable[[int], None] | None
) -> int:
    """Report the images of the records from a number on; return how many records there are."""
    new = under_test.records[counted:]
    if on_progress and new:
        on_progress(sum(record[3] for record in new))
    return counted + len(new)


class _UnderTest:
    """What LoadGen asks: a line of questions, and as many threads as the engine has streams.

    Where one image is asked at a time, `alone`, the asking thread answers it itself. A record is of
    a part of a query: when it was asked, begun and done, and its images.
    """

    def __init__(self, engine: Engine, images: npt.NDArray[np.uint8], scenario: Scenario) -> None:
        self.alone = scenario == "single-stream"
        self.records: list[tuple[float, float, float, int]] = []
        self.error: Exception | None = None
        self._engine = engine
        self._images = images
        # An array passed anew costs more than a tensor that stays.
        self._tensors = [ov.Tensor(image[None]) for image in images] if engine.batch == 1 else []
        self._timed = scenario == "server"
        self._line: SimpleQueue[_Query | None] = SimpleQueue()
        self._ended = self._flushed = False
        self._threads: list[threading.Thread] = []

    def begin(self) -> None:
        if not self.alone:
            self._threads = [
                threading.Thread(target=self._work, name="answer")
                for _ in range(self._engine.streams)
            ]
        for thread in self._threads:
            thread.start()

    def issue(self, ids: list[int], indices: list[int]) -> None:
        """Take a query; LoadGen calls it, and goes on at once."""
        now, batch = time.perf_counter(), self._engine.batch
        if self._ended and not self._timed:
            _complete(ids)
        elif len(ids) <= batch:
            self._line.put((now, ids, indices))
        else:
            for start in range(0, len(ids), batch):
                end = start + batch
                self._line.put((now, ids[start:end], indices[start:end]))

    def answer_at_once(self, ids: list[int], indices: list[int]) -> None:
        if not self._ended:
            try:
                self._answer([(time.perf_counter(), ids, indices)])
            except Exception as error:
                self._fail(error)
            else:
                return
        _complete(ids)

    def flush(self) -> None:
        self._flushed = True

    def end(self) -> None:
        """Begin nothing more."""
        self._ended = True
        for _ in self._threads:
            self._line.put(None)

    def give_up(self) -> None:
        """Answer what waits with nothing, so that LoadGen comes to its end.

        In the server scenario LoadGen sleeps until each arrival. What is withheld from it until the
        last was issued makes it stop early: too much waits for an answer.
        """
        if self._timed and not self._flushed:
            return
        with suppress(Empty):
            while True:
                if (query := self._line.get_nowait()) is not None:
                    _complete(query[1])

    def join(self) -> None:
        # What told them may have been taken out of the line with what waited there.
        self.end()
        for thread in self._threads:
            thread.join()

    def trace(self) -> Trace:
        asked_s, begun_s, done_s, images = zip(*self.records, strict=True)
        return Trace(np.array(asked_s), np.array(begun_s), np.array(done_s), np.array(images))

    def _work(self) -> None:
        while (first := self._line.get()) is not None:
            queries = [first]
            if not self._ended:
                self._fill(queries)
                try:
                    self._answer(queries)
                except Exception as error:
                    self._fail(error)
                else:
                    continue
            # Nobody answers these: `give_up` does.
            for query in queries:
                self._line.put(query)
            return

    def _fill(self, queries: list[_Query]) -> None:
        """Add what waits to a query as long as there is room in a batch; wait for nothing."""
        room = self._engine.batch - len(queries[0][1])
        with suppress(Empty):
            # Queries of the server scenario are of one image each, others come cut to the batch.
            while self._timed and room > 0:
                if (more := self._line.get_nowait()) is None:
                    self._line.put(None)
                    return
                queries.append(more)
                room -= 1

    def _answer(self, queries: list[_Query]) -> None:
        ids, indices = queries[0][1:]
        for _, more_ids, more_indices in queries[1:]:
            ids, indices = ids + more_ids, indices + more_indices
        with self._engine.lend() as lane:
            begun_s = time.perf_counter()
            lane.request.set_tensor(INPUT, self._tensor(indices))
            if self.alone:
                lane.request.infer(share_outputs=True)
            else:
                lane.request.start_async()
                lane.request.wait()
        done_s = time.perf_counter()
        for asked_s, part, _ in queries:
            self.records.append((asked_s, begun_s, done_s, len(part)))
        _complete(ids)

    def _tensor(self, indices: list[int]) -> ov.Tensor:
        if self._tensors:
            return self._tensors[indices[0]]
        filled = indices + [indices[0]] * (self._engine.batch - len(indices))
        return ov.Tensor(self._images[filled], shared_memory=True)

    def _fail(self, error: Exception) -> None:
        if self.error is None:
            self.error = request_failed(error) if isinstance(error, RuntimeError) else error
        self.end()


def _complete(ids: Sequence[int]) -> None:
    mlperf_loadgen.QuerySamplesComplete(
        [mlperf_loadgen.QuerySampleResponse(sample, 0, 0) for sample in ids]
    )


def _nothing(indices: list[int]) -> None:
    """All images are in memory from the start."""


def settings(traffic: Traffic) -> Any:  # noqa: ANN401 - LoadGen has no types
    """Return what LoadGen is told of the traffic."""
    test = mlperf_loadgen.TestSettings()
    test.scenario = getattr(mlperf_loadgen.TestScenario, _SCENARIOS[traffic.scenario])
    test.mode = mlperf_loadgen.TestMode.PerformanceOnly
    test.min_duration_ms = max(1, round(traffic.duration_s * 1e3))
    # Whether enough was asked to be sure of a percentile is judged all the same: early stopping.
    test.min_query_count = traffic.fewest_queries
    match traffic.scenario:
        case "offline":
            test.offline_expected_qps = traffic.images_per_s
        case "single-stream":
            test.single_stream_expected_latency_ns = max(1.0, 1e9 / traffic.images_per_s)
        case "multi-stream":
            test.multi_stream_samples_per_query = traffic.samples_per_query
            query_s = traffic.samples_per_query / traffic.images_per_s
            test.multi_stream_expected_latency_ns = max(1.0, query_s * 1e9)
        case "server":
            test.server_target_qps = traffic.images_per_s
            test.server_target_latency_ns = round(traffic.latency_limit_s * 1e9)
            test.server_max_async_queries = traffic.most_waiting
    return test


def log_settings(logs: Path) -> Any:  # noqa: ANN401 - LoadGen has no types
    """Return where LoadGen writes what it did."""
    output = mlperf_loadgen.LogOutputSettings()
    output.outdir = str(logs)
    log = mlperf_loadgen.LogSettings()
    log.log_output = output
    log.enable_trace = False
    return log


def read_figures(log: Path) -> dict[str, Any]:
    """Return what LoadGen found, by its own names, of its detail log."""
    figures: dict[str, Any] = {}
    for line in log.read_text("utf-8").splitlines():
        entry = json.loads(line.removeprefix(":::MLLOG "))
        key = str(entry["key"])
        if key == "error_runtime":
            figures.setdefault(key, str(entry["value"]))
        elif key.startswith(("result_", "early_stopping", "loadgen_version")):
            figures[key] = entry["value"]
    return figures
