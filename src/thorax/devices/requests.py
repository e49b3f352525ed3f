"""A request that is answered in its own time: waited for, asked about, cancelled, called back."""

import logging
import threading
from collections.abc import Callable
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from thorax.errors import DeviceError, last_line

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class Stoppable(Protocol):
    """What runs a request and can be told to stop, as `ov.InferRequest` can."""

    def cancel(self) -> None:
        """Stop at the next layer, if it is still running."""


class Status(StrEnum):
    """Where a request stands; the last three are answers, and final."""

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

    Attributes:
        status: where it stands.
        stopped: whether it was asked to be given up.
    """

    def __init__(self, callback: Callable[["Request[Answer]"], object] | None = None) -> None:
        self.status = Status.WAITING
        self._callback = callback
        self._answer: Answer | None = None
        self._error: Exception | None = None
        self._runner: Stoppable | None = None
        self.stopped = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: int | None = None

    @property
    def called_back(self) -> bool:
        """Whether something is to be called with the answer."""
        return self._callback is not None

    def wait(self, timeout_s: float | None = None) -> Status:
        """Wait for the answer, and until the callback is through; return the status.

        Args:
            timeout_s: how long at most, seconds; 0 only asks, None waits for ever.
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

    def begin(self, runner: Stoppable) -> bool:
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
    said = DeviceError("request-failed", last_line(error))
    said.__cause__ = error
    return said
