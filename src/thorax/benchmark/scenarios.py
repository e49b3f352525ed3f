"""How fast an engine is under the traffic of each scenario, and whether the run counts."""

import errno
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.benchmark.baseline import Compare
from thorax.benchmark.confidence import cut
from thorax.benchmark.latency import latency_ms
from thorax.benchmark.loadgen import DETAIL, Run, drive
from thorax.benchmark.measurement import SCENARIOS, Measurement, Traffic, benchmark_result
from thorax.devices import timing
from thorax.devices.engine import Engine, Hint
from thorax.devices.forecast import forecast_engine
from thorax.errors import UsageError, unwritable
from thorax.files.atomic import temporary_folder, write_bytes
from thorax.power.sampler import Sampler
from thorax.results.benchmark import BenchmarkResult, Probe, Scenario

WARM_UP_S: Final = 1.0
_MOST_S: Final = 86_400.0
_MOST_QUERIES: Final = 20_000_000
"""LoadGen keeps all of a run in memory, some hundred bytes each."""
_MOST_SAMPLES: Final = 65_536
LATENCY_LIMIT_S: Final = 0.1
"""LoadGen's own default for the server scenario."""

_NOISE: Final = 8
"""Images of noise, where none are given."""

_READY: Final[Mapping[Scenario, float]] = {
    "offline": 1.15,
    "server": 1.0,
    "single-stream": 2.0,
    "multi-stream": 2.0,
}
"""How much faster than in its warm-up an engine may be without running out of what to answer.

*Assumed*. LoadGen adds a tenth, offline, and makes twice as many queries as are expected, in the
streams; offline it all has to be answered, in the streams it is only made."""

SERVER_QUERIES: Final = 459
"""The least of which LoadGen is sure that 99 % kept the limit, none being late: n with
0.99^n <= 1 % (its early stopping, at 99 % of confidence). With one late it takes 662."""

_BEHIND_S: Final = 1.0
_BEHIND_LIMITS: Final = 4
"""A server run ends early once an engine never idle would take so many seconds, and so many limits,
to answer all that wait: it will not catch up."""

_PROBE_S: Final = 1.0
_PROBE_IMAGES: Final = 300
"""Length of the run of a rate that is tried: its 99th percentile is of three images or more."""

_NEAR: Final = 0.03
"""Relative distance of a rate that kept the limit from one that did not, to be content with."""

_BACK_OFF: Final = 0.95
_BACK_OFFS: Final = 4
"""How far and how often the rate found is lowered when the whole run does not keep the limit."""


HINTS: Final[Mapping[Scenario, Hint]] = {
    "offline": "throughput",
    "server": "throughput",
    "single-stream": "latency",
    "multi-stream": "throughput",
}
"""What to compile for."""


@dataclass(frozen=True, slots=True)
class ScenarioOptions:
    """What an engine is measured under, as `Traffic` has it.

    Attributes:
        rate: of arrivals, images per second, server; None looks for the highest that keeps the
            limit, by halving, each in a short run, and measures that.
        logs: folder for LoadGen's logs of the run that is counted; None keeps none.

    Raises:
        UsageError: `duration`, `rate`, `samples-per-query` or `latency-limit` when it is not above
            0 or without end, or more than a run can be of.
    """

    scenario: Scenario
    duration_s: float = 10.0
    samples_per_query: int = 8
    rate: float | None = None
    latency_limit_s: float = LATENCY_LIMIT_S
    logs: Path | None = None

    def __post_init__(self) -> None:
        for code, value, unit in (
            ("duration", self.duration_s, " s"),
            ("rate", 1.0 if self.rate is None else self.rate, " queries/s"),
            ("samples-per-query", self.samples_per_query, ""),
            ("latency-limit", self.latency_limit_s * 1e3, " ms"),
        ):
            if not 0 < value < math.inf:
                raise UsageError(code, f"{code} is {value:g}{unit}; it must be above 0 and end")
        if self.duration_s > _MOST_S:
            raise UsageError(
                "duration", f"duration is {self.duration_s:g} s; at most {_MOST_S:,.0f} is a day"
            )
        if self.samples_per_query > _MOST_SAMPLES:
            raise UsageError(
                "samples-per-query",
                f"samples-per-query is {self.samples_per_query}; at most {_MOST_SAMPLES} are asked "
                "at once",
            )
        if self.scenario == "server" and self.rate is not None:
            _require_bounded(self.rate, self.duration_s)


def _require_bounded(rate: float, duration_s: float) -> None:
    """Refuse a server run of more queries than memory holds, or that takes more than a day."""
    if rate * duration_s > _MOST_QUERIES:
        raise UsageError(
            "rate",
            f"{rate:g} queries/s for {duration_s:g} s are more than the {_MOST_QUERIES:,} "
            "queries of a run; give a lower --rate or a shorter --duration",
        )
    if rate * _MOST_S < SERVER_QUERIES:
        raise UsageError(
            "rate",
            f"the {SERVER_QUERIES} queries that a verdict needs take more than a day at {rate:g} "
            "queries/s; give a higher --rate",
        )


def parse_scenario(
    name: str, *, rate: float | None = None, latency_limit_ms: float | None = None
) -> Scenario:
    """Return the scenario of a name, if the options given are of it.

    Raises:
        UsageError: `scenario`, or `option-unused` for an option that another scenario has.
    """
    scenario = next((scenario for scenario in SCENARIOS if scenario == name), None)
    if scenario is None:
        allowed = ", ".join(SCENARIOS)
        raise UsageError("scenario", f"scenario is {name!r}; allowed are {allowed}")
    if scenario != "server" and not rate is latency_limit_ms is None:
        raise UsageError(
            "option-unused",
            f"--rate and --latency-limit-ms are of the server scenario, not of {scenario}; leave "
            "them out, or add --scenario server",
        )
    return scenario


def run_scenario(
    engine: Engine,
    options: ScenarioOptions,
    *,
    images: Sequence[npt.NDArray[np.uint8]] = (),
    on_progress: Callable[[int], None] | None = None,
    on_longer: Callable[[str], None] | None = None,
) -> Measurement:
    """Run an engine for a while under the traffic of MLPerf LoadGen and time it.

    One second of warm-up is not counted. The verdict is LoadGen's, for the duration asked for:
    enough images for the percentile it judges, the latency limit kept. That a run is too short for
    MLPerf's rules, which ask for 600 s, is nobody's fault here. A server run goes on until
    `SERVER_QUERIES` were asked, which at a low rate takes longer than `duration_s`. Should an
    engine answer all that was made ready before the time is over, as it was faster than in its
    warm-up, it is asked once more, at the rate measured.

    Args:
        engine: compiled for latency (single-stream) or throughput (the others).
        options: the traffic.
        images: uint8 [1,S,S] each; none means fixed noise of the right size.
        on_progress: told now and then how many more images were answered.
        on_longer: told, in a line, what takes longer than was asked for.

    Raises:
        UsageError: `latency-limit` when no rate keeps it; `output-unwritable`.
        DeviceError: `request-failed`.
    """
    stack = _stack(engine, images)
    pace = _warm_up(engine, stack, options.scenario)
    traffic = _traffic(engine, options, pace)
    notify = on_longer or (lambda _: None)
    with _folder(options.logs) as folder:
        run_traffic = partial(drive, engine, stack, logs=folder, on_progress=on_progress)
        if options.scenario != "server":
            traffic, run = _run_once_more(run_traffic, traffic, notify)
            return _measurement(traffic, run, ())
        probes: list[Probe] = []
        rate = options.rate
        if rate is None:
            _require_reach(pace, options.latency_limit_s)
            rate = _highest_rate(engine, stack, traffic, probes)
        traffic = replace(traffic, images_per_s=rate, fewest_queries=SERVER_QUERIES)
        if rate * options.duration_s < SERVER_QUERIES:
            notify(
                f"{SERVER_QUERIES} queries, which LoadGen needs for its verdict, take "
                f"{SERVER_QUERIES / rate:.3g} s at {rate:.4g} images per second, longer than "
                f"the {options.duration_s:g} s asked for"
            )
        traffic, run = _run_backing_off(run_traffic, traffic, probes)
    return _measurement(traffic, run, tuple(probes))


def benchmark(
    engine: Engine,
    options: ScenarioOptions,
    *,
    images: Sequence[npt.NDArray[np.uint8]] = (),
    meter: AbstractContextManager[Sampler] | None = None,
    progress: AbstractContextManager[Callable[[int], None]] | None = None,
    compare: Compare | None = None,
    on_longer: Callable[[str], None] | None = None,
) -> BenchmarkResult:
    """Return the result of a run as `run_scenario` makes it, with what a meter read meanwhile.

    Progress is shown after the meter's time of rest; `compare` is as `baseline.open_baseline` makes
    it.

    Raises:
        UsageError, DeviceError: as `run_scenario` and `compare`.
    """
    with meter or nullcontext() as sampler, progress or nullcontext() as advance:
        measurement = run_scenario(
            engine, options, images=images, on_progress=advance, on_longer=on_longer
        )
    begin_s = measurement.begin_s
    energy = sampler.energy(begin_s, begin_s + measurement.window_s) if sampler else None
    result = benchmark_result(engine, measurement, forecast_engine(engine, measure=True), energy)
    if compare is not None:
        result = result.model_copy(update={"baseline": compare(result)})
    return result.digested()


def _traffic(engine: Engine, options: ScenarioOptions, pace: "_Pace") -> Traffic:
    behind_s = max(_BEHIND_S, _BEHIND_LIMITS * options.latency_limit_s)
    return Traffic(
        options.scenario,
        options.duration_s,
        pace.images_per_s * _READY[options.scenario],
        options.samples_per_query,
        options.latency_limit_s,
        most_waiting=engine.streams * engine.batch + math.ceil(behind_s * pace.images_per_s),
    )


_RunTraffic = Callable[[Traffic], Run]


def _run_once_more(
    run_traffic: _RunTraffic, traffic: Traffic, notify: Callable[[str], None]
) -> tuple[Traffic, Run]:
    """Run a scenario, and again should the engine be through before the time is over."""
    run = run_traffic(traffic)
    if run.figures["result_min_duration_met"]:
        return traffic, run
    notify("the engine was faster than in its warm-up: measuring once more")
    rate = float(run.trace.images.sum()) / run.trace.window_s
    traffic = replace(traffic, images_per_s=rate * _READY[traffic.scenario])
    return traffic, run_traffic(traffic)


def _run_backing_off(
    run_traffic: _RunTraffic, traffic: Traffic, probes: list[Probe]
) -> tuple[Traffic, Run]:
    """Run the server scenario, slower where a rate that was found does not keep the limit."""
    run = run_traffic(traffic)
    for _ in range(_BACK_OFFS if probes else 0):
        if _keeps_limit(run):
            break
        probes.append(_probe(run, traffic))
        traffic = replace(traffic, images_per_s=_BACK_OFF * traffic.images_per_s)
        run = run_traffic(traffic)
    return traffic, run


def _stack(engine: Engine, images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Return uint8 [N,1,S,S] to draw from."""
    if images:
        return np.stack(images)
    side = engine.artifact.card.input.side
    random = np.random.Generator(np.random.Philox(key=0))
    return random.integers(0, 256, (_NOISE, 1, side, side), np.uint8)


@dataclass(frozen=True, slots=True)
class _Pace:
    """What an engine did in its warm-up: the shortest time to an answer, and answers a second."""

    images_per_s: float
    shortest_s: float


def _warm_up(engine: Engine, stack: npt.NDArray[np.uint8], scenario: Scenario) -> _Pace:
    turns = np.arange(len(stack) * engine.batch).reshape(-1, engine.batch) % len(stack)
    batches = [stack[turn] for turn in turns]
    if scenario != "single-stream":
        load = timing.keep_busy(engine, batches, WARM_UP_S)
        images_per_s = load.inferences * engine.batch / load.window_s
        return _Pace(images_per_s, float(load.latencies_s.min()))
    begin, taken = time.perf_counter(), list[float]()
    while (start := time.perf_counter()) - begin < WARM_UP_S:
        engine.infer(batches[len(taken) % len(batches)])
        taken.append(time.perf_counter() - start)
    return _Pace(1 / min(taken), min(taken))


def _require_reach(pace: _Pace, latency_limit_s: float) -> None:
    if pace.shortest_s > latency_limit_s:
        raise UsageError(
            "latency-limit",
            f"an answer takes {pace.shortest_s * 1e3:.3g} ms at the least on this device; the "
            f"limit is {latency_limit_s * 1e3:g} ms; allow more",
        )


@contextmanager
def _folder(logs: Path | None) -> Iterator[Path]:
    if logs is None:
        with temporary_folder() as folder:
            yield folder
        return
    try:
        logs.mkdir(parents=True, exist_ok=True)
        for entry in logs.glob("mlperf_log_*"):
            if not entry.is_file():
                raise OSError(errno.EINVAL, f"{entry.name} in it is no file")
        write_bytes(logs / DETAIL, b"")
    except OSError as error:
        raise unwritable(logs, error) from error
    yield logs


def _highest_rate(
    engine: Engine, stack: npt.NDArray[np.uint8], traffic: Traffic, probes: list[Probe]
) -> float:
    """Return the highest rate that keeps the latency limit in a short run, adding what was tried.

    `traffic` is at the rate that no queue would survive: that of an engine never idle.
    """
    low, high = 0.0, traffic.images_per_s
    rate = high / 2
    while True:
        length_s = min(traffic.duration_s, max(_PROBE_S, _PROBE_IMAGES / rate))
        attempt = replace(traffic, images_per_s=rate, duration_s=length_s)
        with _folder(None) as folder:
            probe = _probe(drive(engine, stack, attempt, logs=folder), attempt)
        probes.append(probe)
        low, high = (rate, high) if probe.kept else (low, rate)
        if high - low <= _NEAR * high and low:
            return low
        if not low and rate < traffic.images_per_s / 50:
            raise UsageError(
                "latency-limit",
                f"at {rate:.3g} images per second 99 % of the answers still took up to "
                f"{probe.p99_ms:.3g} ms; the limit is {traffic.latency_limit_s * 1e3:g} ms; "
                "allow more",
            )
        rate = (low + high) / 2 if low else high / 2


def _keeps_limit(run: Run) -> bool:
    return bool(run.figures["result_perf_constraints_met"])


def _probe(run: Run, traffic: Traffic) -> Probe:
    return Probe(
        rate=traffic.images_per_s, p99_ms=run.percentile_s(99) * 1e3, kept=_keeps_limit(run)
    )


def _measurement(traffic: Traffic, run: Run, probes: tuple[Probe, ...]) -> Measurement:
    trace = run.trace
    since = trace.begun_s if traffic.scenario == "offline" else trace.asked_s
    scheduled = run.figures.get("result_scheduled_samples_per_sec")
    return Measurement(
        scenario=traffic.scenario,
        images=int(trace.images.sum()),
        begin_s=trace.begin_s,
        window_s=trace.window_s,
        latency_ms=latency_ms(traffic.scenario, run),
        valid=run.valid,
        invalid_because=() if run.valid else tuple(_reasons(traffic, run)),
        traffic=traffic,
        scheduled_images_per_s=None if scheduled is None else float(scheduled),
        probes=probes,
        loadgen=run.figures,
        slices=cut(trace.begin_s, trace.done_s, trace.images, trace.done_s - since),
    )


def _reasons(traffic: Traffic, run: Run) -> Iterator[str]:
    figures = run.figures
    if "Too many outstanding" in figures.get("error_runtime", ""):
        yield (
            f"stopped early: at {traffic.images_per_s:.4g} images per second more and more images "
            "waited for an answer; lower the rate"
        )
    elif not figures["result_min_duration_met"]:
        yield (
            f"took {run.trace.window_s:.3g} s of {traffic.duration_s:.3g} s: the engine was faster "
            "each time than the time before; measure longer"
        )
    if not figures.get("result_perf_constraints_met", True):
        yield (
            f"99 % of the answers took up to {run.percentile_s(99) * 1e3:.3g} ms; the limit is "
            f"{traffic.latency_limit_s * 1e3:g} ms"
        )
    elif not figures["early_stopping_met"]:
        match = re.search(r"at least (\d+) (more )?queries", figures["early_stopping_result"])
        count = figures["result_query_count"]
        needed = (int(match[1]) + (count if match[2] else 0)) if match else None
        more = f"; {needed:,} are needed" if needed else ""
        yield f"{count:,} queries are too few to be sure of the percentile{more}; measure longer"
