"""Speed of compiled artifacts beside each other: in turns, under the same conditions."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.devices.engine import INPUT, Engine

ROUNDS: Final = 7
WINDOW_S: Final = 0.3
WARM_UP_S: Final = 0.3

_TELL_S: Final = 0.25
"""How long nothing is told of progress, seconds."""

Rate = Callable[[Engine, float], float]


def in_turns(
    engines: Sequence[Engine],
    rate: Rate,
    *,
    rounds: int = ROUNDS,
    window_s: float = WINDOW_S,
) -> npt.NDArray[np.float64]:
    """Return float64 [rounds, engines] of what `rate` says of each engine in each round.

    A clock that drifts and a neighbour that wakes up reach all engines of a round, so that ratios
    within a round mean something where rates do not; under load those of a busy machine. Each round
    begins with the next engine. Engines run one after another, never two at a time, each `rounds`
    turns of `window_s`, seconds; `rate` takes an engine and a window in seconds, and returns a
    rate, per second.
    """
    for engine in engines:
        rate(engine, WARM_UP_S)
    rates = np.empty((rounds, len(engines)))
    for number in range(rounds):
        for index in range(len(engines)):
            turn = (index + number) % len(engines)
            rates[number, turn] = rate(engines[turn], window_s)
    return rates


def relative_rates(engines: Sequence[Engine]) -> tuple[float, ...]:
    """Return images per second of each engine over those of the first: the median of the rounds.

    The engines are compiled for throughput.
    """
    rates = in_turns(engines, images_per_s)
    return tuple(float(value) for value in np.median(rates / rates[:, :1], axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """Inferences of an engine all of whose streams were kept busy.

    Seconds: `begin_s` the first start, by `time.perf_counter`, `window_s` wall clock from there to
    the last answer, and `latencies_s`, float64 [inferences], of each from its start to its answer.
    """

    begin_s: float
    window_s: float
    latencies_s: npt.NDArray[np.float64]

    @property
    def inferences(self) -> int:
        """How many were made; of `batch` images each."""
        return len(self.latencies_s)


def keep_busy(
    engine: Engine,
    batches: Sequence[npt.NDArray[np.uint8]],
    window_s: float,
    on_progress: Callable[[int], None] | None = None,
) -> Load:
    """Start the next inference wherever one ends, on every stream of every member of an engine.

    The engine is compiled for throughput; batches, uint8 [N,1,S,S] each with N = `engine.batch`,
    are cycled. Nothing is started after `window_s`, and what was started is waited for;
    `on_progress` is told now and then how many more inferences were made.
    """
    # Where there are fewer batches than streams, each stream keeps its own: passing arrays anew
    # costs a copy and a lock an image.
    fixed = len(batches) <= engine.streams
    turns = itertools.count(engine.streams)
    begun: list[float] = []
    ready = threading.Barrier(engine.streams, lambda: begun.append(time.perf_counter()))
    latencies_s: list[list[float]] = [[] for _ in range(engine.streams)]

    def drive(stream: int) -> float:
        with engine.lend() as lane:
            ready.wait()
            lane.request.set_tensor(INPUT, ov.Tensor(batches[stream % len(batches)]))
            fed = None
            while (now := time.perf_counter()) - begun[0] < window_s or not latencies_s[stream]:
                lane.request.start_async(fed, share_inputs=True)
                lane.request.wait()
                latencies_s[stream].append(lane.request.latency / 1e3)
                if not fixed:
                    fed = {0: batches[next(turns) % len(batches)]}
            return now

    with ThreadPoolExecutor(engine.streams) as pool:
        running = [pool.submit(drive, stream) for stream in range(engine.streams)]
        reported = 0
        while on_progress and wait(running, _TELL_S).not_done:
            done = sum(map(len, latencies_s))
            if done > reported:
                on_progress(done - reported)
            reported = done
        ends = [future.result() for future in running]
    latencies = np.array([latency_s for stream in latencies_s for latency_s in stream])
    return Load(begun[0], max(ends) - begun[0], latencies)


def images_per_s(engine: Engine, window_s: float) -> float:
    """Keep all streams of an engine busy with noise; return images / wall-clock window."""
    load = keep_busy(engine, [_noise(engine)], window_s)
    return load.inferences * engine.batch / load.window_s


def answers_per_s(engine: Engine, window_s: float) -> float:
    """Ask an engine one thing at a time; return 1 / the median time to an answer."""
    batch, times_s = _noise(engine), []
    begin = time.perf_counter()
    while (start := time.perf_counter()) - begin < window_s:
        engine.infer(batch)
        times_s.append(time.perf_counter() - start)
    return float(1 / np.median(times_s))


def noise_batch(images: int, side: int) -> npt.NDArray[np.uint8]:
    """Return uint8 [images,1,side,side] of noise, always the same, to time an engine by."""
    random = np.random.Generator(np.random.Philox(key=0))
    return random.integers(0, 256, (images, 1, side, side), np.uint8)


def _noise(engine: Engine) -> npt.NDArray[np.uint8]:
    return noise_batch(engine.batch, engine.artifact.card.input.side)
