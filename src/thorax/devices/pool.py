"""Inference requests of one or several compiled graphs: the least loaded graph is asked first."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import openvino as ov

from thorax.devices.requests import Request

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """Room for one inference at a time.

    Attributes:
        member: index of the compiled graph that it belongs to.
        request: what runs it.
    """

    member: int
    request: ov.InferRequest


Work: TypeAlias = Callable[[Lane, Request[Answer]], Answer]
"""Makes an answer with a lane; the request says whether it is still wanted."""


class Pool(Generic[Answer]):
    """Lanes that are lent to whoever has work, and a line for work that is not waited for.

    A lane of the graph with the smallest part of its lanes busy is lent first; of equals, the one
    that has been left alone longest.

    Args:
        members: the lanes of each compiled graph.
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
        the lane is free again: what they wait for still comes, and what they start too.

        Args:
            run: makes the answer with the lane it is given; what it starts there before a call of
                `cancel`, that call stops, and what it starts after one it is to stop itself.
            callback: called once with the request when it is done, cancelled or failed.
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
