"""Claim: under LoadGen, thorax is as fast as OpenVINO's own asynchronous queue used directly.

    python -m benchmarks.scenarios_against_async_queue ARTIFACT... [--rounds 5] [--seconds 3]

The reference is LoadGen around `ov.AsyncInferQueue`, the way an MLPerf backend of OpenVINO is
written: the query starts requests, their callback completes them. Both run the same compiled graph
by turns, with the same settings of LoadGen, and its figures are compared: offline samples per
second; server, at 82 % of the queue's offline rate, with the same arrivals for both, completed
samples per second and latencies, where a slower engine has a longer queue; and the highest rate of
which 99 % keep a limit of five inferences, tried on a grid of 2 % of the offline rate, the same
rates for both in turns. Goals, of the medians of the ratios of the rounds: offline 0.97; server
completed and highest rate 0.97 or more, p99 at most 1.10 (*chosen*: the 99th percentile of a few
hundred answers is no surer). Completed samples per second alone tell little: at a rate below that
of the engine they are the arrivals.
"""

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import mlperf_loadgen
import numpy as np
import openvino as ov

from benchmarks import result
from thorax import artifact
from thorax.benchmark import loadgen
from thorax.benchmark.measurement import Traffic
from thorax.devices import timing
from thorax.devices.engine import Engine, Single
from thorax.devices.engine import compile as compile_artifact

OFFLINE_GOAL: Final = 0.97
SERVER_GOAL: Final = 0.03
PART: Final = 0.82
P99_GOAL: Final = 1.10
GRID: Final = tuple(round(0.70 + 0.02 * step, 2) for step in range(16))
"""Of the offline rate, the rates among which the highest is looked for."""
PROBE_S: Final = 1.5
PERCENTS: Final = (50, 90, 99)
Drive = Callable[[Traffic], dict[str, float]]


def through_queue(engine: Engine, images: Any) -> Drive:  # noqa: ANN401
    """Return what drives `ov.AsyncInferQueue` on the graph of an engine."""
    assert isinstance(engine, Single)
    queue = ov.AsyncInferQueue(engine.compiled, engine.streams)

    def done(request: Any, asked: int) -> None:  # noqa: ANN401
        mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(asked, 0, 0)])

    def issue(ids: list[int], indices: list[int]) -> None:
        for one, index in zip(ids, indices, strict=True):
            queue.start_async({0: images[index : index + 1]}, one, share_inputs=True)

    queue.set_callback(done)

    def drive(traffic: Traffic) -> dict[str, float]:
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


def through_thorax(engine: Engine, images: Any) -> Drive:  # noqa: ANN401
    """Return what drives an engine as `thorax benchmark` does."""

    def drive(traffic: Traffic) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            return dict(loadgen.drive(engine, images, traffic, logs=Path(folder)).figures)

    return drive


def highest(drive: Drive, traffic: Traffic) -> float:
    """Return the highest part of a rate that keeps the limit, one of the grid or the step below."""
    low, high = -1, len(GRID)
    while high - low > 1:
        middle = (low + high) // 2
        rate = GRID[middle] * traffic.images_per_s
        kept = drive(replace(traffic, images_per_s=rate))["result_perf_constraints_met"]
        low, high = (middle, high) if kept else (low, middle)
    return GRID[low] if low >= 0 else GRID[0] - (GRID[1] - GRID[0])


def compare(path: Path, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Return both ways' figures, round by round, and the medians of their ratios."""
    made = artifact.load(path)
    engine = compile_artifact(made, "CPU", hint="throughput")
    side = made.card.input.side
    images = np.random.default_rng(0).integers(0, 256, (8, 1, side, side), np.uint8)
    ways = [through_thorax(engine, images), through_queue(engine, images)]
    busy = timing.keep_busy(engine, list(images[:, None]), 2.0)
    speed = busy.inferences / busy.window_s
    limit_s = 5 * float(np.median(busy.latencies_s))
    most = engine.streams + math.ceil(max(1.0, 4 * limit_s) * speed)
    offline = Traffic("offline", seconds, speed)
    keys = {
        "offline": "result_samples_per_second",
        "completed": "result_completed_samples_per_sec",
        **{f"p{one}": f"result_{one}.00_percentile_latency_ns" for one in PERCENTS},
    }
    found: dict[str, list[list[float]]] = {name: [[], []] for name in (*keys, "highest")}
    for number in range(rounds):
        for way in (0, 1) if number % 2 == 0 else (1, 0):
            figures = {**ways[way](offline)}
            found["offline"][way].append(figures[keys["offline"]])
    queue_rate = statistics.median(found["offline"][1])
    server = Traffic(
        "server", seconds, PART * queue_rate, latency_limit_s=limit_s, most_waiting=most
    )
    for number in range(rounds):
        for way in (0, 1) if number % 2 == 0 else (1, 0):
            figures = ways[way](server)
            for name in list(keys)[1:]:
                found[name][way].append(figures[keys[name]])
    for number in range(rounds):
        for way in (0, 1) if number % 2 == 0 else (1, 0):
            probe = replace(server, images_per_s=queue_rate, duration_s=min(PROBE_S, seconds))
            found["highest"][way].append(highest(ways[way], probe))
    ratios = {name: result.median_ratio(*both) for name, both in found.items()}
    return {
        "model": made.card.name,
        "side": side,
        "precision": made.card.precision.value,
        "streams": engine.streams,
        "rate": server.images_per_s,
        "latency_limit_ms": limit_s * 1e3,
        "thorax": {name: both[0] for name, both in found.items()},
        "async_queue": {name: both[1] for name, both in found.items()},
        "ratios": ratios,
        "reached": {
            "offline": ratios["offline"] >= OFFLINE_GOAL,
            "server": ratios["completed"] >= 1 - SERVER_GOAL
            and ratios["highest"] >= 1 - SERVER_GOAL
            and ratios["p99"] <= P99_GOAL,
        },
    }


def main() -> None:
    """Read argv, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each run")
    chosen = parser.parse_args()
    rows = [compare(path, rounds=chosen.rounds, seconds=chosen.seconds) for path in chosen.artifact]
    names = list(rows[0]["ratios"])
    table = [[str(row["model"]), *(f"{row['ratios'][name]:.3f}" for name in names)] for row in rows]
    written = result.write(
        "scenarios-against-async-queue",
        {"seconds": chosen.seconds, "rounds": chosen.rounds, "models": rows},
    )
    result.table("thorax over AsyncInferQueue, under LoadGen", ["median ratios", *names], table)
    print(written)


if __name__ == "__main__":
    main()
