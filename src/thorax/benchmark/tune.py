"""Which streams, batch, precision and device answer most images within a limit of latency."""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax import __version__
from thorax.artifact import Artifact, Tuning, hold, keep_tuning, load
from thorax.benchmark.run import Measurement, Quantiles
from thorax.benchmark.run import document as describe_run
from thorax.devices import timing
from thorax.devices.engine import Engine
from thorax.devices.engine import compile as compile_artifact
from thorax.devices.settings import hardware
from thorax.errors import DeviceError, ModelError, UsageError
from thorax.processors import processors

BATCHES: Final = (1, 2, 4, 8)
ROUNDS: Final = 5

_ALIKE: Final = 0.98
"""Settings within 2 % of the fastest are as fast: of them the soonest to answer is chosen."""


@dataclass(slots=True, eq=False)
class Tried:
    """One setting.

    Attributes:
        artifact: what was compiled.
        device: for which.
        streams: inferences side by side.
        batch: images of one inference.
        engine: None where it could not be compiled.
        rates: images per second of each round.
        latencies_s: of each inference.
        begin_s: of its last round, by `time.perf_counter`.
        images: counted in all rounds.
        window_s: of all rounds together, seconds.
        reason: why it was chosen or not.
        chosen: whether it is the best of all.
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

    def row(self) -> dict[str, Any]:
        """Return what the document says of it."""
        ran = bool(self.rates)
        return {
            "model": self.artifact.card.name,
            "precision": self.artifact.card.precision.value,
            "device": self.device,
            "streams": self.streams,
            "batch": self.batch,
            "images_per_s": self.images_per_s if ran else None,
            "p50_ms": self.quantile_s(0.5) * 1e3 if ran else None,
            "p99_ms": self.quantile_s(0.99) * 1e3 if ran else None,
            "simulated": self.engine.simulated if self.engine else None,
            "chosen": self.chosen,
            "reason": self.reason,
        }


def tune(
    artifacts: Sequence[Artifact],
    devices: Sequence[str],
    *,
    latency_limit_s: float | None = None,
    duration_s: float = 10.0,
    on_progress: Callable[[int], None] | None = None,
) -> list[Tried]:
    """Measure every setting in turns, and choose the best; `keep` stores it.

    Streams are 1, 2, 4 and so on up to the processors; batches are `BATCHES`. All streams are kept
    busy; the latency is that of an inference from its start, so the limit bounds what an image
    takes once it is begun. What cannot be compiled is listed with the reason.

    Args:
        artifacts: of one network, of several precisions.
        devices: as `thorax.devices.engine.compile` takes them.
        latency_limit_s: which 99 % of the inferences are to keep; None is no limit.
        duration_s: that each setting is measured for in all its turns.
        on_progress: called with 1 for each turn of a setting.

    Returns:
        All that was tried; one is chosen, or none where none keeps the limit.

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
    tried = _compile_all(artifacts, devices)
    runs = [one for one in tried if one.engine is not None]
    for number in range(ROUNDS):
        for place in range(len(runs)):
            _turn(runs[(place + number) % len(runs)], duration_s / ROUNDS)
            if on_progress:
                on_progress(1)
    _judge(runs, latency_limit_s)
    return tried


@contextmanager
def held(artifacts: Sequence[Artifact]) -> Iterator[None]:
    """Hold the cards of artifacts for this process alone, from before the sweep to its result.

    Raises:
        ModelError: `artifact-locked` when another process tunes one of them, `artifact-unwritable`.
    """
    distinct = {os.path.realpath(one.path): one for one in artifacts}
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


def settings(artifacts: Sequence[Artifact], devices: Sequence[str]) -> int:
    """Return how many settings there are to try."""
    return len(artifacts) * len(devices) * len(_streams()) * len(BATCHES)


def _streams() -> list[int]:
    count = processors()
    return sorted({1 << power for power in range(count.bit_length())} | {count})


def _compile_all(artifacts: Sequence[Artifact], devices: Sequence[str]) -> list[Tried]:
    tried, first = [], None
    for artifact, device, streams, batch in itertools.product(
        artifacts, devices, _streams(), BATCHES
    ):
        one = Tried(artifact, device, streams, batch)
        try:
            one.engine = compile_artifact(
                artifact, device, hint="throughput", streams=streams, batch=batch
            )
        except (DeviceError, ModelError) as error:
            one.reason = f"{error.code}: {error.message}"
            first = first or error
        tried.append(one)
    if first and not any(one.engine for one in tried):
        raise first
    return tried


def _turn(one: Tried, window_s: float) -> None:
    assert one.engine is not None
    side = one.artifact.card.input.side
    random = np.random.Generator(np.random.Philox(key=0))
    noise = random.integers(0, 256, (one.batch, 1, side, side), np.uint8)
    if not one.rates:
        timing.keep_busy(one.engine, [noise], min(timing.WARM_UP_S, window_s))
    made = timing.keep_busy(one.engine, [noise], window_s)
    one.rates.append(made.inferences * one.batch / made.window_s)
    one.latencies_s.append(made.latencies_s)
    one.begin_s = made.begin_s
    one.images += made.inferences * one.batch
    one.window_s += made.window_s


def _judge(runs: Sequence[Tried], limit_s: float | None) -> None:
    within = _within(runs, limit_s)
    for one in runs:
        late = one not in within
        one.reason = "above the limit of latency" if late else "fewer images per second"
    if not within:
        return
    best = _best(within)
    best.chosen, best.reason = True, "most images per second"
    if limit_s is not None:
        best.reason += " within the limit"
    if best.images_per_s < max(one.images_per_s for one in within):
        best.reason += ", to 2 %; answers sooner"


def keep(tried: Sequence[Tried], limit_s: float | None) -> None:
    """Store the best setting of each artifact and device in its card, as each may be asked alone.

    Within `held` nothing is lost that another process stores meanwhile.

    Args:
        tried: what `tune` returned.
        limit_s: as `tune` was told.

    Raises:
        UsageError: `latency-limit` when no setting keeps it.
        ModelError: `artifact-unwritable`.
    """
    runs = [one for one in tried if one.rates]
    within = _within(runs, limit_s)
    if not within:
        soonest = _soonest(runs)
        raise UsageError(
            "latency-limit",
            f"no setting keeps {(limit_s or 0) * 1e3:g} ms; the soonest, {soonest.streams} streams "
            f"of {soonest.batch}, took {soonest.quantile_s(0.99) * 1e3:.3g} ms; allow more",
        )
    for artifact, device in dict.fromkeys((id(one.artifact), one.device) for one in within):
        own = [one for one in within if (id(one.artifact), one.device) == (artifact, device)]
        _keep(_best(own), limit_s)


def _within(runs: Sequence[Tried], limit_s: float | None) -> list[Tried]:
    return [one for one in runs if limit_s is None or one.quantile_s(0.99) <= limit_s]


def _soonest(runs: Sequence[Tried]) -> Tried:
    return min(runs, key=lambda one: one.quantile_s(0.99))


def _best(runs: Sequence[Tried]) -> Tried:
    fastest = max(one.images_per_s for one in runs)
    alike = [one for one in runs if one.images_per_s >= _ALIKE * fastest]
    return min(alike, key=lambda one: one.quantile_s(0.99))


def _keep(one: Tried, limit_s: float | None) -> None:
    # Read anew: the card may hold what was found for another device a moment ago.
    keep_tuning(load(one.artifact.path), to_tuning(one, limit_s))


def to_tuning(one: Tried, limit_s: float | None) -> Tuning:
    """Return what a card keeps of a setting."""
    assert one.engine is not None
    return Tuning(
        device=one.device,
        hardware=hardware(one.device),
        processors=processors(),
        streams=one.streams,
        batch=one.batch,
        latency_limit_ms=None if limit_s is None else limit_s * 1e3,
        images_per_s=one.images_per_s,
        p99_ms=one.quantile_s(0.99) * 1e3,
        simulated=one.engine.simulated,
        measured=f"{datetime.now(UTC):%Y-%m-%d}",
        thorax=__version__,
        openvino=ov.get_version(),
    )


def document(tried: Sequence[Tried], limit_s: float | None) -> dict[str, Any]:
    """Return the JSON document of `thorax benchmark --tune`: that of the chosen, and all tried.

    Where none was chosen it is that of the soonest, and `tuned` is null.
    """
    chosen = next((one for one in tried if one.chosen), None)
    best = chosen or _soonest([one for one in tried if one.rates])
    assert best.engine is not None
    found = Measurement(
        scenario="offline",
        images=best.images,
        begin_s=best.begin_s,
        window_s=best.window_s,
        latency_s=Quantiles(*(best.quantile_s(part) for part in (0.5, 0.9, 0.99))),
        energy_j=None,
        energy_source="none",
        simulated=best.engine.simulated,
    )
    return {
        **describe_run(best.engine, found),
        "images_per_s": best.images_per_s,
        # No rule of LoadGen was asked for, and none was kept or broken.
        "valid": None,
        "latency_limit_ms": None if limit_s is None else limit_s * 1e3,
        "tuned": to_tuning(chosen, limit_s).model_dump(mode="json") if chosen else None,
        "tried": [one.row() for one in tried],
    }
