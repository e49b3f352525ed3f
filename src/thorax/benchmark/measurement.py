"""One measured window of an engine, as a result; artifacts beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thorax.benchmark.confidence import UNCUT
from thorax.devices import timing
from thorax.devices.describe import describe, environment
from thorax.devices.engine import Engine
from thorax.devices.engine import compile as compile_artifact
from thorax.devices.forecast import forecast_engine
from thorax.errors import DataError
from thorax.images.preprocess import InputSpec, prepare
from thorax.images.radiograph import read
from thorax.power.sampler import Energy, efficiency
from thorax.results.benchmark import BenchmarkResult, Latency, Probe, Scenario, Slices
from thorax.results.energy import EMULATED_RATE
from thorax.results.shared import Modelled

SCENARIOS: Final[tuple[Scenario, ...]] = ("offline", "server", "single-stream", "multi-stream")
_TURN_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is asked of an engine (MLPerf Inference, Reddi et al., ISCA 2020, table II).

    Attributes:
        scenario: "offline", all at once; "server", one image a query, at times of a Poisson
            process; "single-stream" and "multi-stream", the next query, of one image and of
            several, when the last is answered.
        duration_s: length of the window at least, seconds.
        images_per_s: in the server scenario the rate of arrivals; in the others no less than what
            the engine can do, which settles how much is made ready for it.
        samples_per_query: images of a query, multi-stream.
        latency_limit_s: which 99 % of the answers are to keep, server.
        most_waiting: images that may wait for an answer; beyond, a server run is ended early.
        fewest_queries: that are asked though the window is over.
    """

    scenario: Scenario
    duration_s: float
    images_per_s: float
    samples_per_query: int = 8
    latency_limit_s: float = 0.1
    most_waiting: int = 1000
    fewest_queries: int = 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured window, as `BenchmarkResult` has it.

    Attributes:
        begin_s: when the window began, by `time.perf_counter`: a meter's readings have the same.
        latency_ms: single-stream of an image, multi-stream of a query, from the question to the
            answer; server from the scheduled arrival to the answer; offline of one inference, from
            its start.
        traffic: what was asked.
    """

    scenario: Scenario
    images: int
    begin_s: float
    window_s: float
    latency_ms: Latency
    valid: bool = True
    invalid_because: tuple[str, ...] = ()
    traffic: Traffic | None = None
    scheduled_images_per_s: float | None = None
    probes: tuple[Probe, ...] = ()
    loadgen: Mapping[str, Any] = field(default_factory=dict)
    slices: Slices = UNCUT

    @property
    def images_per_s(self) -> float:
        """Images / wall-clock window: the one definition of speed."""
        return self.images / self.window_s


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast an artifact is beside others.

    Attributes:
        latency_ms: single-stream, median time to an answer, seconds.
        images_per_s: offline, all streams busy.
        modelled: what simulated cards would do, where there are any.
    """

    latency_s: float
    images_per_s: float
    modelled: Modelled | None = None


def side_by_side(engines: Sequence[Engine]) -> list[Speed]:
    """Return the speed of each artifact, measured in turns on the device it was compiled for.

    Medians over the rounds. Some two seconds an artifact: enough for a table, while
    `thorax.benchmark.scenarios.run_scenario` runs as long as it is told and gives quantiles.
    Engines are compiled for throughput; each is compiled for latency as well.
    """
    quick = [compile_artifact(engine.artifact, engine.device, hint="latency") for engine in engines]
    answers = timing.in_turns(quick, timing.answers_per_s, rounds=5, window_s=_TURN_S)
    images = timing.in_turns(engines, timing.images_per_s, rounds=5, window_s=_TURN_S)
    return [
        Speed(
            1 / float(np.median(answered)),
            float(np.median(rate)),
            forecast_engine(engine, measure=True),
        )
        for answered, rate, engine in zip(answers.T, images.T, engines, strict=True)
    ]


def read_images(paths: Sequence[Path], spec: InputSpec) -> list[npt.NDArray[np.uint8]]:
    """Return uint8 [1,S,S] of each radiograph, prepared, to measure with.

    Raises:
        DataError: `images-empty` when there is none.
        ImageError: for the first that cannot be read: a benchmark leaves nothing out.
    """
    if not paths:
        raise DataError("images-empty", "no radiograph to measure with; give a folder that has one")
    return [prepare(read(path), spec) for path in paths]


def benchmark_result(
    engine: Engine,
    measurement: Measurement,
    modelled: Modelled | None = None,
    energy: Energy | None = None,
) -> BenchmarkResult:
    """Return the result of `thorax benchmark`, with what cards would do and a meter says.

    Of a simulated card the measurement is the time of the emulation.
    """
    rate = measurement.images_per_s
    energy = energy or Energy("none", False, measurement.window_s, None)
    emulated = engine.simulated and energy.load_w is not None
    result = BenchmarkResult(
        **dict(describe(engine)),
        scenario=measurement.scenario,
        streams=engine.streams,
        batch=engine.batch,
        valid=measurement.valid,
        invalid_because=measurement.invalid_because,
        images=measurement.images,
        window_s=measurement.window_s,
        images_per_s=rate,
        latency_ms=measurement.latency_ms,
        slices=measurement.slices,
        power_w=energy.load_w,
        energy_j=energy.energy_j,
        images_per_s_per_w=None if emulated else efficiency(rate, energy.load_w),
        energy_source=energy.source,
        power=energy.power_result(rate, emulated=engine.simulated),
        modelled=modelled,
        environment=environment(),
    )
    result = result.stating(
        efficiency_error=EMULATED_RATE if emulated else None, energy_error=energy.error
    )
    return result if measurement.traffic is None else _with_traffic(result, measurement)


def _with_traffic(result: BenchmarkResult, measurement: Measurement) -> BenchmarkResult:
    """Return it with what was asked, and what LoadGen says of that."""
    traffic = measurement.traffic
    assert traffic is not None
    server = traffic.scenario == "server"
    several = traffic.scenario == "multi-stream"
    asked = {
        "duration_s": traffic.duration_s,
        "samples_per_query": traffic.samples_per_query if several else None,
        "rate": traffic.images_per_s if server else None,
        "scheduled_images_per_s": measurement.scheduled_images_per_s,
        "latency_limit_ms": traffic.latency_limit_s * 1e3 if server else None,
        "probes": measurement.probes,
        "loadgen": dict(measurement.loadgen),
    }
    return result.model_copy(update=asked)
