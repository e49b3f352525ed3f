"""Which streams, batch, precision and device answer most images within a limit of latency."""

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax import __version__
from thorax.artifact import Artifact, Tuning, hold, keep_tuning, load
from thorax.benchmark.measurement import Measurement, benchmark_result
from thorax.devices import timing
from thorax.devices.describe import hardware
from thorax.devices.engine import Engine
from thorax.devices.engine import compile as compile_artifact
from thorax.errors import DeviceError, ModelError, UsageError
from thorax.processors import processors
from thorax.results.benchmark import Latency, TriedSetting, TuningResult

BATCHES: Final = (1, 2, 4, 8)
ROUNDS: Final = 5

_ALIKE: Final = 0.98
"""Settings within 2 % of the fastest are as fast: of them the soonest to answer is chosen."""


@dataclass(slots=True, eq=False)
class TuningTrial:
    """One setting and what it answered, as `TriedSetting` has it.

    Attributes:
        engine: None where it could not be compiled.
        rates: images per second of each round.
        latencies_s: of each inference.
        begin_s: of its last round, by `time.perf_counter`.
        images: counted in all rounds.
        window_s: of all rounds together, seconds.
    """

    artifact: Artifact
    device: str
    streams: int
    batch: int
    engine: Engine | None = None
    rates: list[float] = field(default_factory=list)
    latencies_s: list[npt.NDArray[np.float64]] = field(default_factory=list)
    begin_s: float = 0.0
    images: int = 0
    window_s: float = 0.0
    reason: str = ""
    chosen: bool = False

    @property
    def images_per_s(self) -> float:
        """The median of the rounds."""
        return float(np.median(self.rates))

    def quantile_s(self, part: float) -> float:
        """Return the latency that a part of the inferences kept, seconds."""
        return float(np.quantile(np.concatenate(self.latencies_s), part))

    def result(self) -> TriedSetting:
        """Return what the result says of it."""
        ran = bool(self.rates)
        return TriedSetting(
            model=self.artifact.card.name,
            precision=self.artifact.card.precision.value,
            device=self.device,
            streams=self.streams,
            batch=self.batch,
            images_per_s=self.images_per_s if ran else None,
            p50_ms=self.quantile_s(0.5) * 1e3 if ran else None,
            p99_ms=self.quantile_s(0.99) * 1e3 if ran else None,
            simulated=self.engine.simulated if self.engine else None,
            chosen=self.chosen,
            reason=self.reason,
        )


def tune(
    artifacts: Sequence[Artifact],
    devices: Sequence[str],
    *,
    latency_limit_s: float | None = None,
    duration_s: float = 10.0,
    on_progress: Callable[[int], None] | None = None,
) -> list[TuningTrial]:
    """Measure every setting in turns, and choose the best; `store` keeps it in the cards.

    Streams are 1, 2, 4 and so on up to the processors; batches are `BATCHES`. All streams are kept
    busy; the latency is that of an inference from its start, so the limit bounds what an image
    takes once it is begun. What cannot be compiled is listed with the reason.

    Artifacts are of one network, of several precisions. `latency_limit_s` is what 99 % of the
    inferences are to keep; None is no limit. Each setting is measured for `duration_s` in all its
    turns, and `on_progress` is called with 1 for each of them. Of all settings, which are returned,
    one is chosen, or none where none keeps the limit.

    Raises:
        UsageError: `latency-limit` when it is not above 0 or without end, `duration`, `tune-other`
            when the artifacts are not of one network.
        DeviceError, ModelError: when no setting compiles, as the first that does not.
    """
    _require_one_network(artifacts)
    if not 0 < duration_s < float("inf"):
        raise UsageError("duration", f"duration is {duration_s:g}; it must be above 0 and end")
    if latency_limit_s is not None and not 0 < latency_limit_s < float("inf"):
        limit_ms = latency_limit_s * 1e3
        raise UsageError("latency-limit", f"limit is {limit_ms:g} ms; it must be above 0 and end")
    settings = _compile_all(artifacts, devices)
    compiled = [setting for setting in settings if setting.engine is not None]
    for round_number in range(ROUNDS):
        for index in range(len(compiled)):
            _turn(compiled[(index + round_number) % len(compiled)], duration_s / ROUNDS)
            if on_progress:
                on_progress(1)
    _judge(compiled, latency_limit_s)
    return settings


@contextmanager
def locked(artifacts: Sequence[Artifact]) -> Iterator[None]:
    """Lock the cards of artifacts for this process alone, from before the sweep to its result.

    Raises:
        ModelError: `artifact-locked` when another process tunes one of them, `artifact-unwritable`.
    """
    distinct = {os.path.realpath(artifact.path): artifact for artifact in artifacts}
    with ExitStack() as cards:
        # In one order everywhere: of two sweeps over the same artifacts one gets them all.
        for path in sorted(distinct):
            cards.enter_context(hold(distinct[path]))
        yield


def _require_one_network(artifacts: Sequence[Artifact]) -> None:
    first = artifacts[0]
    for other in artifacts[1:]:
        differing = [
            name
            for name in ("topology", "labels", "input")
            if getattr(first.card, name) != getattr(other.card, name)
        ]
        if differing:
            raise UsageError(
                "tune-other",
                f"{other.path} ({other.card.topology}) is another network than {first.path} "
                f"({first.card.topology}), with another {' and another '.join(differing)}; only "
                "precisions of one network are tuned beside each other: tune each alone",
            )


def count_settings(artifacts: Sequence[Artifact], devices: Sequence[str]) -> int:
    """Return how many settings there are to try."""
    return len(artifacts) * len(devices) * len(_streams()) * len(BATCHES)


def _streams() -> list[int]:
    count = processors()
    return sorted({1 << power for power in range(count.bit_length())} | {count})


def _compile_all(artifacts: Sequence[Artifact], devices: Sequence[str]) -> list[TuningTrial]:
    settings, first = [], None
    for artifact, device, streams, batch in itertools.product(
        artifacts, devices, _streams(), BATCHES
    ):
        setting = TuningTrial(artifact, device, streams, batch)
        try:
            setting.engine = compile_artifact(
                artifact, device, hint="throughput", streams=streams, batch=batch
            )
        except (DeviceError, ModelError) as error:
            setting.reason = f"{error.code}: {error.message}"
            first = first or error
        settings.append(setting)
    if first and not any(setting.engine for setting in settings):
        raise first
    return settings


def _turn(setting: TuningTrial, window_s: float) -> None:
    assert setting.engine is not None
    side = setting.artifact.card.input.side
    random = np.random.Generator(np.random.Philox(key=0))
    noise = random.integers(0, 256, (setting.batch, 1, side, side), np.uint8)
    if not setting.rates:
        timing.keep_busy(setting.engine, [noise], min(timing.WARM_UP_S, window_s))
    load = timing.keep_busy(setting.engine, [noise], window_s)
    setting.rates.append(load.inferences * setting.batch / load.window_s)
    setting.latencies_s.append(load.latencies_s)
    setting.begin_s = load.begin_s
    setting.images += load.inferences * setting.batch
    setting.window_s += load.window_s


def _judge(settings: Sequence[TuningTrial], limit_s: float | None) -> None:
    within = _within(settings, limit_s)
    for setting in settings:
        late = setting not in within
        setting.reason = "above the limit of latency" if late else "fewer images per second"
    if not within:
        return
    best = _best(within)
    best.chosen, best.reason = True, "most images per second"
    if limit_s is not None:
        best.reason += " within the limit"
    if best.images_per_s < max(setting.images_per_s for setting in within):
        best.reason += ", to 2 %; answers sooner"


def store(settings: Sequence[TuningTrial], limit_s: float | None) -> None:
    """Store the best setting of each artifact and device in its card, as each may be asked alone.

    Within `locked` nothing is lost that another process stores meanwhile. The settings are those
    that `tune` returned for this limit.

    Raises:
        UsageError: `latency-limit` when no setting keeps it.
        ModelError: `artifact-unwritable`.
    """
    measured = [setting for setting in settings if setting.rates]
    within = _within(measured, limit_s)
    if not within:
        soonest = _soonest(measured)
        raise UsageError(
            "latency-limit",
            f"no setting keeps {(limit_s or 0) * 1e3:g} ms; the soonest, {soonest.streams} streams "
            f"of {soonest.batch}, took {soonest.quantile_s(0.99) * 1e3:.3g} ms; allow more",
        )
    groups: dict[tuple[int, str], list[TuningTrial]] = {}
    for setting in within:
        groups.setdefault((id(setting.artifact), setting.device), []).append(setting)
    for alike in groups.values():
        best = _best(alike)
        # Read anew: the card may hold what was found for another device a moment ago.
        keep_tuning(load(best.artifact.path), to_tuning(best, limit_s))


def _within(settings: Sequence[TuningTrial], limit_s: float | None) -> list[TuningTrial]:
    most_s = math.inf if limit_s is None else limit_s
    return [setting for setting in settings if setting.quantile_s(0.99) <= most_s]


def _soonest(settings: Sequence[TuningTrial]) -> TuningTrial:
    return min(settings, key=lambda setting: setting.quantile_s(0.99))


def _best(settings: Sequence[TuningTrial]) -> TuningTrial:
    fastest = max(setting.images_per_s for setting in settings)
    return _soonest([s for s in settings if s.images_per_s >= _ALIKE * fastest])


def to_tuning(setting: TuningTrial, limit_s: float | None) -> Tuning:
    """Return what a card keeps of a setting."""
    assert setting.engine is not None
    return Tuning(
        device=setting.device,
        hardware=hardware(setting.device),
        processors=processors(),
        streams=setting.streams,
        batch=setting.batch,
        latency_limit_ms=None if limit_s is None else limit_s * 1e3,
        images_per_s=setting.images_per_s,
        p99_ms=setting.quantile_s(0.99) * 1e3,
        simulated=setting.engine.simulated,
        measured=f"{datetime.now(UTC):%Y-%m-%d}",
        thorax=__version__,
        openvino=ov.get_version(),
    )


def tuning_result(settings: Sequence[TuningTrial], limit_s: float | None) -> TuningResult:
    """Return the result of `thorax tune`: the measurement of the chosen setting, and all settings.

    Where none was chosen it is that of the soonest, and `tuned` is null.
    """
    chosen = next((setting for setting in settings if setting.chosen), None)
    best = chosen or _soonest([setting for setting in settings if setting.rates])
    assert best.engine is not None
    measurement = Measurement(
        scenario="offline",
        images=best.images,
        begin_s=best.begin_s,
        window_s=best.window_s,
        latency_ms=Latency(
            p50=best.quantile_s(0.5) * 1e3,
            p90=best.quantile_s(0.9) * 1e3,
            p99=best.quantile_s(0.99) * 1e3,
        ),
    )
    fields = benchmark_result(best.engine, measurement).model_dump(exclude_unset=True)
    return TuningResult.read(
        {
            **fields,
            "images_per_s": best.images_per_s,
            # No rule of LoadGen was asked for, and none was kept or broken.
            "valid": None,
            "latency_limit_ms": None if limit_s is None else limit_s * 1e3,
            "tuned": to_tuning(chosen, limit_s) if chosen else None,
            "tried": tuple(setting.result() for setting in settings),
        }
    )
