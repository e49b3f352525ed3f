"""A side in processes of its own: one that chooses how it is run, and a new one each turn.

What one side has set up (threads that spin, memory that is pinned) is not there when another is
measured. Where a library's memory comes to lie is decided once a process and worth some percent, so
turns of one process would agree with each other by more than they agree with the next process.
"""

import math
import multiprocessing
import os
import statistics
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final, TypeVar

from benchmarks.harness.side_by_side import Settings, Side, Turn

Choice = TypeVar("Choice")

PATIENCE_S: Final = 900.0
"""Until a side that does not answer is given up; a compiler may take minutes."""
PROBE_CALLS: Final = 10
PROBE_TURNS: Final = 2
"""Of each choice, and calls that each of them has at least."""

Measure = Callable[[float], Turn]
"""Runs for so many seconds."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A side as a process made it.

    Attributes:
        measure: how it is timed.
        batch: images of one call.
        choice: what it was found to be fastest with, handed to those who make it anew as `choice`;
            None where nothing is chosen.
        more: what else it chose or found.
    """

    measure: Measure
    batch: int = 1
    choice: object = None
    more: Mapping[str, Any] = field(default_factory=dict)


def timed(answer: Callable[[], object], images: int) -> Measure:
    """Return what calls again and again for so many seconds; each call answers so many images."""

    def measure(seconds: float) -> Turn:
        calls, used, begin = 0, time.process_time(), time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < seconds:
            answer()
            calls += 1
        return Turn(elapsed, time.process_time() - used, calls * images)

    return measure


def fastest(
    made: Mapping[Choice, Measure], batch: Callable[[Choice], int], *, seconds: float = 2.0
) -> Choice:
    """Return the choice of most images/s, each warmed up and then tried in turns.

    A window that holds few calls ends with processors that wait for the last of them, which counts
    against large batches: each holds `PROBE_CALLS` or more.

    Args:
        made: how each choice is timed.
        batch: images of a call of a choice.
        seconds: of each window, where they hold calls enough.
    """
    warm = {choice: measure(seconds / 2) for choice, measure in made.items()}
    rates: dict[Choice, list[float]] = {choice: [] for choice in made}
    for _ in range(PROBE_TURNS):
        for choice, measure in made.items():
            call_s = batch(choice) / (_rate(warm[choice]) or math.inf)
            rates[choice].append(_rate(measure(max(seconds, PROBE_CALLS * call_s))))
    return max(made, key=lambda choice: statistics.median(rates[choice]))


def _rate(turn: Turn) -> float:
    return (turn.images or 0) / turn.wall_s


class SideProcess:
    """A side whose processes are spawned: one now, which ends when it has chosen, and one a turn.

    Args:
        make: a function of a module, called in a process with `arguments`, and with `choice`, by
            name, once the first has chosen.
        arguments: of it.
        environment: variables that a process begins with beside those of this one.
        choice: what an earlier run found to be fastest; None lets the first process choose.
    """

    def __init__(
        self,
        make: Callable[..., Ready],
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        choice: object = None,
    ) -> None:
        self._make, self._arguments = make, arguments
        self._environment = dict(environment or {})
        self._choice = choice
        self.batch, self._choice, self.more = self._ask(None)

    batch: int
    more: Mapping[str, Any]

    def side(self, name: str, settings: Settings, seconds: float) -> Side:
        """Return it as a side of turns of so many seconds, each after the warm-up of `settings`."""
        words = (settings.warm_up_s, seconds)
        return Side(name, settings, lambda: Turn(*self._ask(words)))

    def _ask(self, words: tuple[float, float] | None) -> Any:  # noqa: ANN401 - of a pipe
        """Spawn a process, let it make the side, and return its turn; without words, its choice."""
        spawning = multiprocessing.get_context("spawn")
        own, theirs = spawning.Pipe()
        arguments = (theirs, self._make, self._arguments, self._choice, words)
        process = spawning.Process(target=_serve, args=arguments, daemon=True)
        kept = {key: os.environ.get(key) for key in self._environment}
        os.environ.update(self._environment)
        try:
            process.start()
        finally:
            for key, value in kept.items():
                os.environ.pop(key)
                if value is not None:
                    os.environ[key] = value
        theirs.close()
        try:
            if not own.poll(PATIENCE_S):
                process.kill()
                raise SystemExit(f"{self._call} did not answer within {PATIENCE_S:g} s")
            answer, error = own.recv()
        except EOFError:
            process.join()
            raise SystemExit(f"the process of {self._call} ended: {process.exitcode}") from None
        finally:
            own.close()
            process.join(20)
            if process.is_alive():
                process.kill()
                process.join()
        if error is not None:
            raise SystemExit(f"the process of {self._call} failed:\n{error}")
        return answer

    @property
    def _call(self) -> str:
        """Return what the process was asked to make, for people."""
        arguments = ", ".join(repr(argument) for argument in self._arguments)
        return f"{self._make.__name__}({arguments})"


def _serve(
    pipe: Connection,
    make: Callable[..., Ready],
    arguments: tuple[object, ...],
    choice: object,
    words: tuple[float, float] | None,
) -> None:
    try:
        ready = make(*arguments) if choice is None else make(*arguments, choice=choice)
        if words is None:
            pipe.send(((ready.batch, ready.choice, dict(ready.more)), None))
            return
        warm_up_s, seconds = words
        if warm_up_s:
            ready.measure(warm_up_s)
        turn = ready.measure(seconds)
        pipe.send(((turn.wall_s, turn.cpu_s, turn.images, dict(turn.more)), None))
    except BaseException:
        pipe.send((None, traceback.format_exc()))
