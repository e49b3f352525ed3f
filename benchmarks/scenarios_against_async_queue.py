"""Claim: under LoadGen, thorax is as fast as OpenVINO's own asynchronous queue used directly.

    python -m benchmarks.scenarios_against_async_queue --work FOLDER [--turns 6] [--seconds 3]

The reference is LoadGen around `ov.AsyncInferQueue`, the way an MLPerf backend of OpenVINO is
written: the query starts requests, their callback completes them; its images are tensors that stay,
as those of `thorax benchmark` are. It is OpenVINO's queue of Python with a callback of Python, so
its processor time stands beside its speed. Both run the same graph, compiled anew for each turn, in
one process, with the same settings of LoadGen, whose figures are compared: ResNet-50 in fp32 and
int8, both at each side.

- offline: samples per second.
- server, at a part of the offline rate of the slower of both that a queue can keep, with a limit of
  ten inferences and with the same arrivals for both: latencies, and how often LoadGen called each
  valid. Each run has the 459 queries or more that its verdict needs. Completed samples per second
  are the arrivals, and no speed.
- highest: the highest part of that offline rate that LoadGen calls valid, of a grid, by halving, in
  runs of 459 queries. It goes far beyond the offline rate, as a short run ends before its queue is
  long. Where some turn ends at the top of the grid, or none of it is valid, there is no ratio.

What takes longer than a few minutes is left out, and that is written.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import mlperf_loadgen
import numpy as np
import numpy.typing as npt
import openvino as ov

from benchmarks.harness import result
from benchmarks.harness.side_by_side import (
    Comparison,
    Settings,
    Side,
    SideBySide,
    Turn,
    add_options,
    read_options,
)
from benchmarks.subjects import make_artifact
from thorax import artifact
from thorax.artifact import Artifact, Precision
from thorax.benchmark import loadgen
from thorax.benchmark.measurement import Traffic
from thorax.benchmark.scenarios import SERVER_QUERIES
from thorax.devices import timing
from thorax.devices.engine import Engine, Single
from thorax.devices.engine import compile as compile_artifact

OFFLINE_GOAL: Final = 0.97
LATENCY_GOAL: Final = 1.10
PART: Final = 0.7
"""Of the offline rate, in the server scenario."""
LIMIT: Final = 10
"""Inferences that the latency limit lasts."""
GRID: Final = tuple(round(0.50 + 0.01 * step, 2) for step in range(112))
"""Parts of the offline rate, to 1.61."""
WARM_UP_S: Final = 0.5
LONGEST_S: Final = 12.0
"""Of a server run; the search for the highest rate has runs of a quarter of it at most."""
PERCENTS: Final = (50, 90, 99)
SIDES: Final = (64, 224)
WAYS: Final = ("thorax", "queue")
Drive = Callable[[Traffic], Mapping[str, Any]]


def through_queue(engine: Engine, images: npt.NDArray[np.uint8]) -> Drive:
    """Return what drives `ov.AsyncInferQueue` on the graph of an engine."""
    assert isinstance(engine, Single)
    queue = ov.AsyncInferQueue(engine.compiled, engine.streams)
    tensors = [ov.Tensor(images[index : index + 1].copy()) for index in range(len(images))]

    def done(request: object, asked: int) -> None:
        mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(asked, 0, 0)])

    def issue(ids: list[int], indices: list[int]) -> None:
        for one, index in zip(ids, indices, strict=True):
            queue.start_async({0: tensors[index]}, one)

    queue.set_callback(done)

    def drive(traffic: Traffic) -> Mapping[str, Any]:
        system = mlperf_loadgen.ConstructFastSUT(issue, lambda: None)
        library = mlperf_loadgen.ConstructQSL(
            len(images), len(images), lambda _: None, lambda _: None
        )
        with tempfile.TemporaryDirectory() as folder:
            mlperf_loadgen.StartTestWithLogSettings(
                system,
                library,
                loadgen.settings(traffic),
                loadgen.log_settings(Path(folder)),
                f"{folder}/audit.config",
            )
            figures = loadgen.read_figures(Path(folder) / loadgen.DETAIL)
        queue.wait_all()
        mlperf_loadgen.DestroyFastSUT(system)
        mlperf_loadgen.DestroyQSL(library)
        return figures

    return drive


def through_thorax(engine: Engine, images: npt.NDArray[np.uint8]) -> Drive:
    """Return what drives an engine as `thorax benchmark` does."""

    def drive(traffic: Traffic) -> Mapping[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            return loadgen.drive(engine, images, traffic, logs=Path(folder)).figures

    return drive


@dataclass(frozen=True, slots=True)
class Model:
    """One artifact and the two ways to drive it.

    Attributes:
        name: of its sides, "int8_64" of 64 pixels.
        ways: by name, each of which compiles the artifact and returns what drives it.
        settings: of both.
        streams: that infer side by side.
        latency_s: of an inference with all streams busy, median.
    """

    name: str
    ways: Mapping[str, Callable[[], Drive]]
    settings: Settings
    streams: int
    latency_s: float


def open_model(made: Artifact) -> Model:
    """Compile an artifact and time it."""
    side = made.card.input.side
    images = np.random.default_rng(0).integers(0, 256, (8, 1, side, side), np.uint8)

    def compiled(seconds: float = WARM_UP_S) -> tuple[Engine, timing.Load]:
        # Compiled for each turn: where its memory comes to lie is worth some percent.
        engine = compile_artifact(made, "CPU", hint="throughput")
        return engine, timing.keep_busy(engine, list(images[:, None]), seconds)

    engine, busy = compiled(2.0)
    ways = {
        "thorax": lambda: through_thorax(compiled()[0], images),
        "queue": lambda: through_queue(compiled()[0], images),
    }
    settings = Settings(
        threads=int(result.hardware()["processors"]),
        precision=made.card.precision.value,
        side=side,
        input="uint8 tensors that stay, 8 in turn",
        warm_up_s=WARM_UP_S,
        process="shared",
        more={"streams": engine.streams},
    )
    return Model(
        f"{made.card.precision.value}_{side}",
        ways,
        settings,
        engine.streams,
        float(np.median(busy.latencies_s)),
    )


def run_offline(drive: Drive, seconds: float, images_per_s: float) -> Turn:
    """Return one offline run: the samples over LoadGen's own time."""
    used = time.process_time()
    figures = drive(Traffic("offline", seconds, images_per_s))
    rate = float(figures["result_samples_per_second"])
    # LoadGen asks for a tenth more than the rate that it was told.
    images = math.ceil(1.1 * seconds * images_per_s)
    return Turn(images / rate, time.process_time() - used, images)


def run_server(drive: Drive, traffic: Traffic) -> Turn:
    """Return one server run: its latencies, and whether LoadGen called it valid."""
    used, begin = time.process_time(), time.perf_counter()
    figures = drive(traffic)
    more = {
        f"p{percent}_s": figures[f"result_{percent}.00_percentile_latency_ns"] / 1e9
        for percent in PERCENTS
    }
    valid = float(figures["result_validity"] == "VALID")
    return Turn(
        time.perf_counter() - begin,
        time.process_time() - used,
        int(figures["result_query_count"]),
        {**more, "valid": valid},
    )


def run_highest(drive: Drive, traffic: Traffic) -> Turn:
    """Return the highest part of a rate, of the grid, that LoadGen calls valid; 0 for none."""
    used, begin, low, high = time.process_time(), time.perf_counter(), -1, len(GRID)
    while high - low > 1:
        middle = (low + high) // 2
        figures = drive(replace(traffic, images_per_s=GRID[middle] * traffic.images_per_s))
        kept = figures["result_validity"] == "VALID"
        low, high = (middle, high) if kept else (low, middle)
    part = GRID[low] if low >= 0 else 0.0
    return Turn(
        time.perf_counter() - begin, time.process_time() - used, None, {"highest_part": part}
    )


def no_ratio(parts: Sequence[float]) -> str | None:
    """Return why highest parts, of every turn of both ways, give no ratio; None where they do."""
    if min(parts) < GRID[0]:
        return f"in some turn no rate from {GRID[0]:.0%} of the offline rate on was valid"
    if max(parts) >= GRID[-1]:
        return f"in some turn {GRID[-1]:.0%} of the offline rate, the highest tried, was valid"
    return None


class Scenarios:
    """The runs of one model in all scenarios."""

    def __init__(self, bench: SideBySide, model: Model) -> None:
        self._bench, self._model = bench, model
        self.facts: dict[str, Any] = {}

    def run(self) -> list[Comparison]:
        """Take all turns and return what may be compared."""
        model, seconds = self._model, self._bench.options.seconds
        speed = model.streams / model.latency_s
        self._turns("offline", lambda drive: run_offline(drive, seconds, speed))
        rate = min(self._median(way) for way in WAYS)
        limit_s = LIMIT * model.latency_s
        most = model.streams + math.ceil(max(1.0, 4 * limit_s) * speed)
        server = Traffic(
            "server", seconds, PART * rate, latency_limit_s=limit_s, most_waiting=most,
            fewest_queries=SERVER_QUERIES,
        )  # fmt: skip
        self.facts = {
            "side": model.settings.side,
            "precision": model.settings.precision,
            "streams": model.streams,
            "rate": server.images_per_s,
            "part_of_offline": PART,
            "latency_limit_ms": limit_s * 1e3,
            "left_out": {},
        }
        return [self._offline(), *self._server(server), *self._highest(server, rate)]

    def _turns(self, scenario: str, measure: Callable[[Drive], Turn]) -> None:
        self._bench.take_turns(
            [
                Side(
                    f"{way}_{self._model.name}_{scenario}",
                    self._model.settings,
                    lambda opened=opened: measure(opened()),  # type: ignore[misc]
                )
                for way, opened in self._model.ways.items()
            ]
        )

    def _rows(self, way: str, scenario: str) -> list[dict[str, Any]]:
        return self._bench.turns[f"{way}_{self._model.name}_{scenario}"]

    def _median(self, way: str) -> float:
        rows = self._rows(way, "offline")
        return float(statistics.median(row["images"] / row["wall_s"] for row in rows))

    def _comparison(self, scenario: str, quantity: str, meaning: str) -> Comparison:
        first, second = (f"{way}_{self._model.name}_{scenario}" for way in WAYS)
        title, label = self._model.name.replace("_", " at "), _LABELS.get(quantity, quantity)
        return Comparison(
            f"{'server' if scenario == 'highest' else scenario}, {title} px, {label}",
            first,
            second,
            f"{meaning} The queue is that of OpenVINO's Python with a callback of Python; what "
            "both take of the processors stands beside.",
            quantity=quantity,
            label=label,
        )

    def _offline(self) -> Comparison:
        plain = self._comparison(
            "offline",
            "images/s",
            "Samples a second of LoadGen's offline scenario by the engine of Thorax, over those by "
            "ov.AsyncInferQueue on the same graph.",
        )
        return replace(plain, goal=OFFLINE_GOAL)

    def _server(self, traffic: Traffic) -> list[Comparison]:
        if SERVER_QUERIES / traffic.images_per_s > LONGEST_S:
            self._leave_out("server", SERVER_QUERIES / traffic.images_per_s)
            return []
        self._turns("server", lambda drive: run_server(drive, traffic))
        self.facts["valid_turns"] = {
            way: sum(row["valid"] for row in self._rows(way, "server")) for way in WAYS
        }
        return [
            replace(
                self._comparison(
                    "server",
                    f"p{percent}_s",
                    f"Latency that {percent} % of the answers kept, of the same arrivals at "
                    f"{PART:.0%} of the offline rate: Thorax over ov.AsyncInferQueue.",
                ),
                goal=LATENCY_GOAL if percent == 99 else None,
            )
            for percent in PERCENTS
        ]

    def _highest(self, traffic: Traffic, rate: float) -> list[Comparison]:
        if SERVER_QUERIES / traffic.images_per_s > LONGEST_S / 4:
            self._leave_out("highest", SERVER_QUERIES / traffic.images_per_s)
            return []
        probe = replace(traffic, images_per_s=rate, duration_s=0.1)
        self._turns("highest", lambda drive: run_highest(drive, probe))
        parts = {way: [row["highest_part"] for row in self._rows(way, "highest")] for way in WAYS}
        self.facts["highest_grid"] = list(GRID)
        why = no_ratio([part for found in parts.values() for part in found])
        if why is not None:
            self.facts["left_out"]["highest ratio"] = why
            return []
        return [
            replace(
                self._comparison(
                    "highest",
                    "highest_part",
                    "Highest rate of arrivals that LoadGen calls valid in runs of "
                    f"{SERVER_QUERIES} queries: Thorax over ov.AsyncInferQueue.",
                ),
                goal=OFFLINE_GOAL,
            )
        ]

    def _leave_out(self, scenario: str, run_s: float) -> None:
        self.facts["left_out"][scenario] = f"a run of {SERVER_QUERIES} queries takes {run_s:.0f} s"


_LABELS: Final = {
    "p50_s": "median latency",
    "p90_s": "latency of 90 %",
    "p99_s": "latency of 99 %",
    "highest_part": "highest valid rate",
}


def main() -> None:
    """Read argv, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--sides", type=int, nargs="+", default=list(SIDES), help="pixels")
    parser.add_argument("--precisions", type=Precision, nargs="+", default=list(_PRECISIONS))
    add_options(parser, turns=6, seconds=3)
    chosen = result.parse_args(parser)
    bench = SideBySide("scenarios_against_async_queue", read_options(chosen))
    bench.require_quiet()
    comparisons, models = [], {}
    for side in chosen.sides:
        made = make_artifact.make(
            chosen.work / f"side-{side}", "resnet50", side=side, count=80, precisions=_PRECISIONS
        )
        for path, precision in zip(made, _PRECISIONS, strict=True):
            if precision not in chosen.precisions:
                continue
            scenarios = Scenarios(bench, open_model(artifact.load(path)))
            comparisons += scenarios.run()
            models[f"{precision.value}_{side}"] = scenarios.facts
    packages = ("thorax", "openvino", "mlcommons-loadgen", "numpy")
    bench.write(comparisons, {"models": models}, packages=packages)


_PRECISIONS: Final = (Precision.FP32, Precision.INT8)


if __name__ == "__main__":
    main()
