"""Inference requests that are answered in their own time, and the pool of lanes that runs them.

A request is waited for, asked about, cancelled or called back. Of several compiled graphs the least
loaded is asked first.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar

import openvino as ov

from thorax.errors import DeviceError, last_line

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class Status(StrEnum):
    """State of a request; the last three are answers, and final."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether the request has been answered."""
        return self not in (Status.WAITING, Status.RUNNING)


class Request(Generic[Answer]):
    """One piece of work and its one answer: done, cancelled or failed.

    Made by `Engine.start`; every method may be called from any thread, and from the callback.
    `status` is where it stands, `stopped` whether it was asked to be given up, and `called_back`
    whether something is to be called with the answer.
    """

    def __init__(self, callback: Callable[["Request[Answer]"], object] | None = None) -> None:
        self.status = Status.WAITING
        self.called_back = callback is not None
        self._callback = callback
        self._answer: Answer | None = None
        self._error: Exception | None = None
        self._runner: ov.InferRequest | None = None
        self.stopped = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: int | None = None

    def wait(self, timeout_s: float | None = None) -> Status:
        """Wait for the answer, and until the callback is through; return the status.

        It takes `timeout_s` at most, seconds; 0 only asks, None waits for ever.
        """
        if threading.get_ident() != self._thread:
            self._ended.wait(timeout_s)
        return self.status

    def result(self) -> Answer:
        """Wait for the answer and return it.

        Raises:
            DeviceError: `request-cancelled`, or `request-failed` with what the device said.
            Exception: whatever the callback raised, though the answer is there.
        """
        self.wait()
        if self._error is not None:
            raise self._error
        assert self._answer is not None
        return self._answer

    def cancel(self) -> None:
        """Ask for the request to be given up.

        One that waits is cancelled at once. One that runs is stopped at its next layer, or is done
        before that; one that is answered stays as it is. `wait` says which.
        """
        with self._lock:
            self.stopped = True
            if self._runner is not None:
                self._runner.cancel()
            waiting = self.status is Status.WAITING
            if waiting:
                self._settle(Status.CANCELLED, error=_cancelled())
        if waiting:
            self.end()

    def begin(self, runner: ov.InferRequest) -> bool:
        """Take the request out of the line; False when it was cancelled meanwhile."""
        with self._lock:
            if self.status is not Status.WAITING:
                return False
            self.status, self._runner = Status.RUNNING, runner
            return True

    def done(self, answer: Answer) -> None:
        """Answer a request that runs."""
        with self._lock:
            self._settle(Status.DONE, answer=answer)

    def failed(self, error: Exception) -> None:
        """Answer a request that runs with what went wrong; cancelled when that was asked for."""
        with self._lock:
            if self.stopped and isinstance(error, RuntimeError):
                self._settle(Status.CANCELLED, error=_cancelled())
            elif isinstance(error, RuntimeError):
                self._settle(Status.FAILED, error=request_failed(error))
            else:
                self._settle(Status.FAILED, error=error)

    def _settle(
        self, status: Status, *, answer: Answer | None = None, error: Exception | None = None
    ) -> None:
        assert not self.status.final
        self.status, self._answer, self._error, self._runner = status, answer, error, None

    def end(self) -> None:
        """Call back with the answer, and let those go who wait for it."""
        self._thread = threading.get_ident()
        try:
            if self._callback is not None:
                self._callback(self)
        except Exception as error:
            # Whoever asks for the result is told; nobody may ask.
            logger.exception("the callback of a request that is %s failed", self.status)
            self._error = self._error or error
        finally:
            # A callback often holds the request, and the request its callback.
            self._thread = self._callback = None
            self._ended.set()


def _cancelled() -> DeviceError:
    return DeviceError("request-cancelled", "the request was cancelled; start another")


def request_failed(error: RuntimeError) -> DeviceError:
    """Return what to tell of a request that OpenVINO could not answer: `request-failed`."""
    failure = DeviceError("request-failed", last_line(error))
    failure.__cause__ = error
    return failure


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """Room for one inference at a time.

    `member` is the index of the compiled graph that it belongs to, `request` what runs it.
    """

    member: int
    request: ov.InferRequest


Work: TypeAlias = Callable[[Lane, Request[Answer]], Answer]
"""Makes an answer with a lane; the request says whether it is still wanted."""


class Pool(Generic[Answer]):
    """Lanes that are lent to whoever has work, and a line for work that is not waited for.

    A lane of the graph with the smallest part of its lanes busy is lent first; of equals, the one
    that has been left alone longest. `members` are the lanes of each compiled graph.
    """

    def __init__(self, members: Sequence[Sequence[ov.InferRequest]]) -> None:
        self._idle = [
            deque(Lane(member, request) for request in requests)
            for member, requests in enumerate(members)
        ]
        self._lanes = [len(lanes) for lanes in self._idle]
        self._last = [-1] * len(members)
        self._lent = 0
        self._change = threading.Condition()
        self._line: deque[tuple[Request[Answer], Work[Answer]]] = deque()
        self._workers = 0

    def __len__(self) -> int:
        """Return how many inferences can be under way."""
        return sum(self._lanes)

    @contextmanager
    def lend(self) -> Iterator[Lane]:
        """Lend a lane, waiting for one if need be."""
        with self._change:
            self._change.wait_for(lambda: any(self._idle))
            member = min(
                (member for member, idle in enumerate(self._idle) if idle),
                key=lambda member: (
                    -len(self._idle[member]) / self._lanes[member],
                    self._last[member],
                ),
            )
            lane = self._idle[member].popleft()
            self._lent += 1
            self._last[member] = self._lent
        try:
            yield lane
        finally:
            with self._change:
                self._idle[member].append(lane)
                self._change.notify()

    def start(
        self,
        run: Work[Answer],
        callback: Callable[[Request[Answer]], object] | None = None,
    ) -> Request[Answer]:
        """Put work in the line and return at once; it is run in the order it came.

        Threads are there only while something is in the line. Callbacks are called from them, when
        the lane is free again: what they wait for still comes, and what they start too. `run` makes
        the answer with the lane it is given; what it starts there before a call of `cancel`, that
        call stops, and what it starts after one it is to stop itself. `callback` is called once
        with the request when it is done, cancelled or failed.
        """
        request = Request(callback)
        with self._change:
            self._line.append((request, run))
        try:
            self._hire()
        except RuntimeError:
            # No thread can be had. Those that are there will see to it; without any, nobody will.
            if not self._workers:
                request.cancel()
                raise
        return request

    def _hire(self) -> None:
        with self._change:
            if self._workers >= len(self) or not self._line:
                return
            self._workers += 1
        try:
            threading.Thread(target=self._work, name="request").start()
        except RuntimeError:
            with self._change:
                self._workers -= 1
            raise

    def _work(self) -> None:
        while self._serve():
            pass

    def _serve(self) -> bool:
        """Answer the next request of the line; False when this thread is needed no more."""
        with self._change:
            if not self._line:
                self._workers -= 1
                return False
        with self.lend() as lane:
            with self._change:
                taken = self._line.popleft() if self._line else None
            if taken is None:
                return True
            request, run = taken
            if not request.begin(lane.request):
                return True
            try:
                request.done(run(lane, request))
            except Exception as error:
                request.failed(error)
        if not request.called_back:
            request.end()
            return True
        # A callback may take its time, and wait for others: another takes this one's place.
        with self._change:
            self._workers -= 1
        with suppress(RuntimeError):
            self._hire()
        request.end()
        with self._change:
            needed = self._workers < len(self) and bool(self._line)
            self._workers += needed
        return needed
