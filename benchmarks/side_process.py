"""A side in a process of its own that stays: made once, asked for one turn at a time.

Between turns it waits for a word and computes nothing, so that what one side has set up (threads
that spin, memory that is pinned) is not there when another is measured.
"""

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from benchmarks.side_by_side import Settings, Side, Turn

Choice = TypeVar("Choice")

Measure = Callable[[float], Turn]
"""Runs for so many seconds."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A side as its process made it: how it is measured, and what it chose or found."""

    measure: Measure
    batch: int = 1
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


def fastest(made: Mapping[Choice, Measure], *, seconds: float = 2.0) -> tuple[Choice, Measure]:
    """Return the choice of most images/s and its measurement, each tried once after a warm-up.

    A window that holds few calls ends with processors that wait for the last of them, which counts
    against large batches.
    """

    def rate(choice: Choice) -> float:
        made[choice](seconds / 2)
        turn = made[choice](seconds)
        return (turn.images or 0) / turn.wall_s

    choice = max(made, key=rate)
    return choice, made[choice]


class SideProcess(AbstractContextManager["SideProcess"]):
    """A side whose process is spawned, and ends with this.

    Args:
        make: a function of a module, called in the process with `arguments`.
        arguments: of it.
        environment: variables that the process begins with beside those of this one.
    """

    def __init__(
        self,
        make: Callable[..., Ready],
        *arguments: object,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._own, theirs = spawning.Pipe()
        self._process = spawning.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        kept = {key: os.environ.get(key) for key in environment or {}}
        os.environ.update(environment or {})
        try:
            self._process.start()
        finally:
            for key, value in kept.items():
                os.environ.pop(key)
                if value is not None:
                    os.environ[key] = value
        theirs.close()
        batch, more = self._ask(None)
        self.batch: int = batch
        self.more: Mapping[str, Any] = more

    def side(self, name: str, settings: Settings, seconds: float) -> Side:
        """Return it as a side of turns of so many seconds, each after the warm-up of `settings`."""
        words = (settings.warm_up_s, seconds)
        return Side(name, settings, lambda: Turn(*self._ask(words)))

    def _ask(self, words: object) -> Any:  # noqa: ANN401 - what a pipe hands over
        if words is not None:
            self._own.send(words)
        try:
            answer, error = self._own.recv()
        except EOFError:
            raise SystemExit(f"the process of a side ended: {self._process.exitcode}") from None
        if error is not None:
            raise SystemExit(f"the process of a side failed:\n{error}")
        return answer

    def close(self) -> None:
        """End the process."""
        self._own.close()
        self._process.join(20)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(pipe: Connection, make: Callable[..., Ready], arguments: tuple[object, ...]) -> None:
    try:
        ready = make(*arguments)
        pipe.send(((ready.batch, dict(ready.more)), None))
        while True:
            warm_up_s, seconds = pipe.recv()
            if warm_up_s:
                ready.measure(warm_up_s)
            turn = ready.measure(seconds)
            pipe.send(((turn.wall_s, turn.cpu_s, turn.images, dict(turn.more)), None))
    except EOFError:
        return
    except BaseException:
        pipe.send((None, traceback.format_exc()))
