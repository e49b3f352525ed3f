"""What is said of the speed of an artifact; artifacts beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax import __version__
from thorax.benchmark.confidence import UNCUT, Slices
from thorax.devices import timing
from thorax.devices.card_model import Forecast
from thorax.devices.core import list_devices
from thorax.devices.engine import Engine
from thorax.devices.engine import compile as compile_artifact
from thorax.devices.forecast import forecast_engine
from thorax.errors import DataError
from thorax.images.preprocess import InputSpec, prepare
from thorax.images.radiograph import read
from thorax.power.sampler import EMULATED_RATE, Energy, efficiency
from thorax.processors import processors

Scenario = Literal["offline", "server", "single-stream", "multi-stream"]
SCENARIOS: Final[tuple[Scenario, ...]] = ("offline", "server", "single-stream", "multi-stream")


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
class Quantiles:
    """Of a latency, seconds."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True, slots=True)
class Probe:
    """A rate of arrivals that was tried.

    Attributes:
        images_per_s: the rate.
        p99_s: the latency that 99 % of the answers kept, seconds.
        kept: whether that is within the limit.
    """

    images_per_s: float
    p99_s: float
    kept: bool


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured window.

    Attributes:
        scenario: what was asked of the engine.
        images: answered within the window.
        begin_s: when the window began, by `time.perf_counter`: a meter's readings have the same.
        window_s: wall-clock length of the window, seconds.
        latency_s: single-stream of an image, multi-stream of a query, from the question to the
            answer; server from the scheduled arrival to the answer; offline of one inference, from
            its start.
        energy_j: over the window, of a meter's `Energy`; None without one, never 0.
        energy_source: the meter; "none" without one.
        simulated: whether a simulated device took part: its time is that of the emulation.
        valid: whether the run was long and steady enough to be told of.
        invalid_because: why not, one sentence each.
        traffic: what was asked.
        scheduled_images_per_s: how fast the images arrived, server.
        probes: what was tried to find the rate, in order, server.
        loadgen: figures of LoadGen's own log.
        slices: the window in parts, which tell how sure its rate is.
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
    traffic: Traffic | None = None
    scheduled_images_per_s: float | None = None
    probes: tuple[Probe, ...] = ()
    loadgen: Mapping[str, Any] | None = None
    slices: Slices = UNCUT

    @property
    def images_per_s(self) -> float:
        """Images / wall-clock window: the one definition of speed."""
        return self.images / self.window_s

    @property
    def power_w(self) -> float | None:
        """Mean power of the window; None without a meter."""
        return None if self.energy_j is None else self.energy_j / self.window_s


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

    Medians over the rounds. Some two seconds an artifact: enough for a table, while
    `thorax.benchmark.scenarios.measure` runs as long as it is told and gives quantiles.

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


def document(
    engine: Engine,
    measurement: Measurement,
    modelled: Forecast | None = None,
    energy: Energy | None = None,
) -> dict[str, Any]:
    """Return the JSON document of `thorax benchmark`.

    Args:
        engine: what was measured.
        measurement: of it; of a simulated card, the time of the emulation.
        modelled: what simulated cards would do.
        energy: what a meter says of the window of the measurement.
    """
    if energy:
        measurement = replace(measurement, energy_j=energy.energy_j, energy_source=energy.source)
    latency_ms = {key: value * 1e3 for key, value in asdict(measurement.latency_s).items()}
    return {
        "command": "benchmark",
        **describe(engine),
        "scenario": measurement.scenario,
        "streams": engine.streams,
        "batch": engine.batch,
        "valid": measurement.valid,
        "invalid_because": list(measurement.invalid_because),
        **(_asked(measurement.traffic, measurement) if measurement.traffic else {}),
        "images": measurement.images,
        "window_s": measurement.window_s,
        "images_per_s": measurement.images_per_s,
        "latency_ms": latency_ms,
        "slices": {
            "images_per_s": list(measurement.slices.images_per_s),
            "latency_p99_ms": [value * 1e3 for value in measurement.slices.p99_s],
        },
        "power_w": measurement.power_w,
        "energy_j": measurement.energy_j,
        **_efficiency(measurement, emulated=engine.simulated),
        "energy_source": measurement.energy_source,
        **(
            energy.document(measurement.images_per_s, emulated=engine.simulated)
            if energy
            else {"power": None}
        ),
        "modelled": modelled.result().model_dump(mode="json") if modelled else None,
        "environment": environment(),
    }


def _efficiency(measurement: Measurement, *, emulated: bool) -> dict[str, Any]:
    """Return images per second and watt; of an emulation the reason why there are none."""
    if measurement.power_w is None or not emulated:
        return {"images_per_s_per_w": efficiency(measurement.images_per_s, measurement.power_w)}
    return {"images_per_s_per_w": None, "efficiency_error": EMULATED_RATE}


def _asked(traffic: Traffic, measurement: Measurement) -> dict[str, Any]:
    server = traffic.scenario == "server"
    return {
        "duration_s": traffic.duration_s,
        "samples_per_query": traffic.samples_per_query
        if traffic.scenario == "multi-stream"
        else None,
        "rate": traffic.images_per_s if server else None,
        "scheduled_images_per_s": measurement.scheduled_images_per_s,
        "latency_limit_ms": traffic.latency_limit_s * 1e3 if server else None,
        "probes": [
            {"rate": one.images_per_s, "p99_ms": one.p99_s * 1e3, "kept": one.kept}
            for one in measurement.probes
        ],
        "loadgen": dict(measurement.loadgen or {}),
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
        "processors": processors(),
        "openvino": ov.get_version(),
        "thorax": __version__,
    }
