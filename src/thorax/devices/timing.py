"""How fast compiled artifacts are beside each other: in turns, under the same conditions."""

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.devices.engine import INPUT, Engine

ROUNDS: Final = 7
WINDOW_S: Final = 0.3
WARM_UP_S: Final = 0.3

Rate = Callable[[Engine, float], float]


def in_turns(
    engines: Sequence[Engine],
    rate: Rate,
    *,
    rounds: int = ROUNDS,
    window_s: float = WINDOW_S,
) -> npt.NDArray[np.float64]:
    """Return float64 [rounds, engines] of what `rate` says of each engine in each round.

    A clock that drifts and a neighbour that wakes up hit all engines of a round alike, so that
    ratios within a round mean something where rates do not. Each round begins with the next engine.

    Args:
        engines: run one after another, never two at a time.
        rate: engine and window in seconds -> a rate, per second.
        rounds: how often each has its turn.
        window_s: length of a turn, seconds.
    """
    for engine in engines:
        rate(engine, WARM_UP_S)
    found = np.empty((rounds, len(engines)))
    for number in range(rounds):
        for place in range(len(engines)):
            turn = (place + number) % len(engines)
            found[number, turn] = rate(engines[turn], window_s)
    return found


def relative_rates(engines: Sequence[Engine]) -> tuple[float, ...]:
    """Return images per second of each engine over those of the first: the median of the rounds.

    Args:
        engines: compiled for throughput.
    """
    rates = in_turns(engines, images_per_s)
    return tuple(float(value) for value in np.median(rates / rates[:, :1], axis=0))


def images_per_s(engine: Engine, window_s: float) -> float:
    """Keep all streams of an engine busy with noise; return images / wall-clock window."""
    requests = ov.AsyncInferQueue(engine.compiled, engine.streams)
    image = ov.Tensor(_noise(engine))
    for request in requests:
        request.set_tensor(INPUT, image)
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < window_s:
        requests.start_async(share_inputs=True)
        done += engine.batch
    requests.wait_all()
    return done / (time.perf_counter() - begin)


def answers_per_s(engine: Engine, window_s: float) -> float:
    """Ask an engine one thing at a time; return 1 / the median time to an answer."""
    batch, taken = _noise(engine), []
    begin = time.perf_counter()
    while (start := time.perf_counter()) - begin < window_s:
        engine.infer(batch)
        taken.append(time.perf_counter() - start)
    return float(1 / np.median(taken))


def _noise(engine: Engine) -> npt.NDArray[np.uint8]:
    side = engine.artifact.card.input.side
    random = np.random.Generator(np.random.Philox(key=0))
    return random.integers(0, 256, (engine.batch, 1, side, side), np.uint8)
