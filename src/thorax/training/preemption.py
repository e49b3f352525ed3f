"""Ending a run early without losing what it did: a signal, then a checkpoint, then an exit.

Batch systems warn before they take a machine away: Slurm by a signal of one's choice, Kubernetes
and systemd by SIGTERM. All ranks stop after the same update, whichever of them was warned.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

PREEMPTED: Final = 75
"""Exit status of a run that was asked to stop: EX_TEMPFAIL of sysexits.h, try again later."""

_HEEDED: Final = (signal.SIGTERM, signal.SIGUSR1)
_ECHO_S: Final = 5.0
"""A signal that a batch system sends to all processes comes a second time through torchrun."""


class PreemptedError(Exception):
    """A run that stopped because it was asked to; not a mistake.

    Attributes:
        step: updates done, all of them in the checkpoint.
        steps: of the whole run.
        reason: who asked.
        checkpoint: folder that was written.
    """

    def __init__(self, step: int, steps: int, reason: str, checkpoint: Path) -> None:
        super().__init__(f"stopped after update {step} of {steps}")
        self.step = step
        self.steps = steps
        self.reason = reason
        self.checkpoint = checkpoint


@dataclass
class Stop:
    """A wish to end a run early.

    Attributes:
        reason: who wished it in this process, None as long as nobody did.
        agreed: whether all ranks know of it, and will end after this update.
    """

    reason: str | None = None
    agreed: bool = False

    def ask(self, reason: str) -> None:
        """Wish to end after the update under way; from any thread."""
        self.reason = reason

    def heeded(self) -> AbstractContextManager[None]:
        """Return a context in which wishes from outside are heard; here there are none."""
        return nullcontext()


class SignalStop(Stop):
    """Ending after SIGTERM or SIGUSR1; a second one ends the process at once."""

    def __init__(self, say: Callable[[str], None], *, launched: bool) -> None:
        """Make the wish of a process.

        A person is told by `say` what happens; a launcher, if one started it, may repeat a signal.
        """
        super().__init__()
        self._say = say
        self._launched = launched

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Return a context in which the signals are heard; only of the main thread."""
        # Python runs handlers between two of its own instructions: an update may take minutes.
        # The number of a signal is written to this pipe at once, and a thread reads it there.
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        thread = threading.Thread(target=self._listen, args=(reader,), daemon=True)
        thread.start()
        pipe = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, _leave_to_thread) for number in _HEEDED}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(pipe)
            os.close(writer)
            thread.join()
            os.close(reader)

    def _listen(self, reader: int) -> None:
        first_s = 0.0
        while byte := os.read(reader, 1):
            if byte[0] not in _HEEDED:
                continue
            name = signal.Signals(byte[0]).name
            if self.reason is None:
                first_s = time.monotonic()
                self.ask(name)
                self._say(f"{name}: stopping after this update; a second signal ends at once")
            elif not self._launched or time.monotonic() - first_s > _ECHO_S:
                self._say(f"{name}: ended at once; --resume goes on from the last checkpoint")
                os._exit(128 + byte[0])


def _leave_to_thread(number: int, frame: FrameType | None) -> None:
    """Do nothing: without a handler the signal would end the process."""
