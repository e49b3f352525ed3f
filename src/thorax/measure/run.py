"""How fast an artifact runs: offline and single-stream."""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax import __version__
from thorax.devices import timing
from thorax.devices.core import list_devices
from thorax.devices.engine import Engine
from thorax.devices.engine import compile as compile_artifact
from thorax.devices.modelled import Forecast
from thorax.errors import DataError, UsageError
from thorax.measure.forecast import forecast_engine
from thorax.preprocess import InputSpec, prepare
from thorax.radiograph import read

Scenario = Literal["offline", "single-stream"]
SCENARIOS: Final[tuple[Scenario, ...]] = ("offline", "single-stream")
WARM_UP_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of the time from starting one inference to its answer, seconds."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured window.

    Attributes:
        scenario: what was asked of the engine.
        images: answered within the window.
        begin_s: when the window began, by `time.perf_counter`: a meter's readings have the same.
        window_s: wall-clock length of the window, seconds.
        latency_s: of one inference.
        energy_j: over the window; None without a meter, never 0.
        energy_source: what measured it.
        simulated: whether a simulated device took part: its time is that of the emulation.
        valid: whether the run was long and steady enough to be told of.
        invalid_because: why not, one sentence each.
    """

    scenario: Scenario
    images: int
    begin_s: float
    window_s: float
    latency_s: Quantiles
    energy_j: float | None
    energy_source: str
    simulated: bool
    valid: bool = True
    invalid_because: tuple[str, ...] = ()

    @property
    def images_per_s(self) -> float:
        """Images / wall-clock window: the one definition of speed."""
        return self.images / self.window_s


def measure(
    engine: Engine,
    scenario: Scenario,
    *,
    duration_s: float = 10.0,
    images: Sequence[npt.NDArray[np.uint8]] = (),
    on_progress: Callable[[int], None] | None = None,
) -> Measurement:
    """Run an engine for a while and time it.

    Offline keeps every stream busy; single-stream sends the next image when the answer to the
    last one is in (MLPerf Inference, Reddi et al., ISCA 2020, table II). One second of warm-up is
    not counted.

    Args:
        engine: compiled for throughput (offline) or latency (single-stream).
        scenario: one of `SCENARIOS`.
        duration_s: length of the window; offline runs on until what was started is answered.
        images: uint8 [1,S,S] each, cycled; none means fixed noise of the right size.
        on_progress: told now and then how many more images were started.

    Raises:
        UsageError: `duration` when it is not above 0 or without end.
    """
    if not 0 < duration_s < math.inf:
        raise UsageError("duration", f"duration is {duration_s} s; it must be above 0 and end")
    batches = _batches(engine, images)
    run = _offline if scenario == "offline" else _single_stream
    run(engine, batches, WARM_UP_S, None)
    begin_s, window_s, latencies = run(engine, batches, duration_s, on_progress)
    p50, p90, p99 = (float(value) for value in np.quantile(latencies, [0.5, 0.9, 0.99]))
    return Measurement(
        scenario=scenario,
        images=len(latencies) * engine.batch,
        begin_s=begin_s,
        window_s=window_s,
        latency_s=Quantiles(p50, p90, p99),
        energy_j=None,
        energy_source="none",
        simulated=engine.simulated,
    )


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast an artifact is beside others.

    Attributes:
        latency_s: single-stream, median time to an answer, seconds.
        images_per_s: offline, all streams busy.
        modelled: what simulated cards would do, where there are any.
    """

    latency_s: float
    images_per_s: float
    modelled: Forecast | None = None


def side_by_side(engines: Sequence[Engine]) -> list[Speed]:
    """Return the speed of each artifact, measured in turns on the device it was compiled for.

    Medians over the rounds. Some two seconds an artifact: enough for a table, while `measure`
    runs as long as it is told and gives quantiles.

    Args:
        engines: compiled for throughput; each is compiled for latency as well.
    """
    quick = [compile_artifact(one.artifact, one.device, hint="latency") for one in engines]
    answers = timing.in_turns(quick, timing.answers_per_s, rounds=5, window_s=0.2)
    images = timing.in_turns(engines, timing.images_per_s, rounds=5, window_s=0.2)
    return [
        Speed(
            1 / float(np.median(own)),
            float(np.median(rate)),
            forecast_engine(engine, measure=True),
        )
        for own, rate, engine in zip(answers.T, images.T, engines, strict=True)
    ]


def read_images(paths: Sequence[Path], spec: InputSpec) -> list[npt.NDArray[np.uint8]]:
    """Return uint8 [1,S,S] of each radiograph, prepared, to `measure` with.

    Raises:
        DataError: `images-empty` when there is none.
        ImageError: for the first that cannot be read: a benchmark leaves nothing out.
    """
    if not paths:
        raise DataError("images-empty", "no radiograph to measure with; give a folder that has one")
    return [prepare(read(path), spec) for path in paths]


def _batches(
    engine: Engine, images: Sequence[npt.NDArray[np.uint8]]
) -> list[npt.NDArray[np.uint8]]:
    side = engine.artifact.card.input.side
    if not images:
        random = np.random.Generator(np.random.Philox(key=0))
        images = [random.integers(0, 256, (1, side, side), np.uint8) for _ in range(engine.batch)]
    return [
        np.stack([images[(start + offset) % len(images)] for offset in range(engine.batch)])
        for start in range(0, len(images), engine.batch)
    ]


def _offline(
    engine: Engine,
    batches: Sequence[npt.NDArray[np.uint8]],
    duration_s: float,
    on_progress: Callable[[int], None] | None,
) -> tuple[float, float, npt.NDArray[np.float64]]:
    def tell(inferences: int) -> None:
        assert on_progress is not None
        on_progress(inferences * engine.batch)

    load = timing.keep_busy(engine, batches, duration_s, tell if on_progress else None)
    return load.begin_s, load.window_s, load.latencies_s


def _single_stream(
    engine: Engine,
    batches: Sequence[npt.NDArray[np.uint8]],
    duration_s: float,
    on_progress: Callable[[int], None] | None,
) -> tuple[float, float, npt.NDArray[np.float64]]:
    latencies: list[float] = []
    told, told_s = 0, 0.0
    begin = time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < duration_s:
        start = time.perf_counter()
        engine.infer(batches[len(latencies) % len(batches)])
        latencies.append(time.perf_counter() - start)
        if on_progress and elapsed - told_s > 0.25:
            on_progress((len(latencies) - told) * engine.batch)
            told, told_s = len(latencies), elapsed
    return begin, time.perf_counter() - begin, np.array(latencies)


def document(
    engine: Engine, measurement: Measurement, modelled: Forecast | None = None
) -> dict[str, Any]:
    """Return the JSON document of `thorax benchmark`.

    Args:
        engine: what was measured.
        measurement: of it; of a simulated card, the time of the emulation.
        modelled: what simulated cards would do.
    """
    latency_ms = {key: value * 1e3 for key, value in asdict(measurement.latency_s).items()}
    return {
        "command": "benchmark",
        **describe(engine),
        "scenario": measurement.scenario,
        "streams": engine.streams,
        "batch": engine.batch,
        "valid": measurement.valid,
        "invalid_because": list(measurement.invalid_because),
        "images": measurement.images,
        "window_s": measurement.window_s,
        "images_per_s": measurement.images_per_s,
        "latency_ms": latency_ms,
        "power_w": None,
        "energy_j": measurement.energy_j,
        "images_per_s_per_w": None,
        "energy_source": measurement.energy_source,
        "modelled": modelled.document() if modelled else None,
        "environment": environment(),
    }


def describe(engine: Engine) -> dict[str, Any]:
    """Return what every document says of the engine it was measured on."""
    card = engine.artifact.card
    return {
        "model": card.name,
        "topology": card.topology,
        "digest": card.digest,
        "device": engine.device,
        "devices": list(engine.devices),
        "precision": engine.precision.value,
        "compute": engine.compute,
        "simulated": engine.simulated,
    }


def environment() -> dict[str, Any]:
    """Return what a reader needs to know of the machine and the software."""
    return {
        "devices": {
            device.name: device.full_name for device in list_devices() if not device.simulated
        },
        "processors": len(os.sched_getaffinity(0)),
        "openvino": ov.get_version(),
        "thorax": __version__,
    }
