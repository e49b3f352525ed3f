"""Decoding of untrusted image bytes in child processes, which may crash, hang or eat memory.

A child is limited in memory and processor time by the operating system, in wall-clock time by its
parent, writes no files, and reaches neither network nor other processes where the kernel can see
to that.
"""

import atexit
import contextlib
import os
import resource
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from thorax.errors import ImageError
from thorax.images.error_codes import REFUSALS, image_error
from thorax.isolation import child, confinement
from thorax.isolation.child import Answer, Child, ChildError, ChildTimeoutError, Handler

ADDRESS_SPACE_BYTES: Final = 1536 << 20
"""Limit on a child's address space; about 300 MB of it are libraries."""

NONSENSE: Final = "the decoding process answers nonsense"
_RETIRE_BYTES: Final = 512 << 20
_ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_WITHOUT: Final = ("requests",)
"""pydicom imports it, where it is installed, only to download examples: 80 ms for nothing."""


class Sandbox:
    """Children of one module, as many as threads that ask at the same time; started when needed.

    A child that dies on a file is told by the code `crash`.

    Example:
        >>> sandbox = Sandbox("thorax.images.dicom")
        >>> sandbox.children
        ()
    """

    def __init__(self, module: str, *, crash: str = "dicom-decoder-crashed") -> None:
        self._module = module
        self._crash = crash
        self._idle: list[Child] = []
        self._lock = threading.Lock()
        self._registered = False

    @property
    def children(self) -> tuple[int, ...]:
        """The process ids of the children that wait for work."""
        return tuple(worker.pid for worker in self._idle)

    def ask(self, head: dict[str, Any], data: bytes, *, wall_s: float, most_bytes: int) -> Answer:
        """Have a child answer a request, a JSON object and bytes for its handler.

        It is killed when it has not answered after `wall_s` seconds; a body of more than
        `most_bytes` is not accepted.

        Raises:
            ImageError: what the handler refused, `image-timeout`, or the code of a crash.
        """
        worker = self._take()
        try:
            answer = worker.ask(head, data, wall_s, most_bytes)
        except BaseException as error:
            worker.close()
            if not isinstance(error, ChildError):
                raise
            # The next file should not wait for imports.
            self._give(self._start())
            if isinstance(error, ChildTimeoutError):
                raise image_error("image-timeout", f"decoding {error}") from error
            raise image_error(self._crash, f"the decoding process {error}") from error
        if answer.head.pop("retire", False):
            worker.close()
        else:
            self._give(worker)
        refusal = answer.head.get("refusal")
        if refusal is not None:
            code, message = refusal if isinstance(refusal, list) and len(refusal) == 2 else ("", "")
            if not isinstance(code, str) or code not in REFUSALS:
                raise image_error(self._crash, NONSENSE)
            raise image_error(code, str(message))
        return answer

    def close(self) -> None:
        """End all children that wait for work."""
        with self._lock:
            workers, self._idle = self._idle, []
        for worker in workers:
            worker.close()

    def _take(self) -> Child:
        with self._lock:
            if not self._registered:
                atexit.register(self.close)
                os.register_at_fork(after_in_child=self._forget)
                self._registered = True
            if self._idle:
                return self._idle.pop()
        return self._start()

    def _start(self) -> Child:
        return Child(self._module, _ONE_THREAD, without=_WITHOUT)

    def _give(self, worker: Child) -> None:
        with self._lock:
            self._idle.append(worker)

    def _forget(self) -> None:
        """After a fork, leave the children to the process that started them."""
        self._lock = threading.Lock()
        workers, self._idle = self._idle, []
        for worker in workers:
            worker.disown()


def serve(handler: Handler) -> None:
    """Be a child: answer requests with `handler`, within limits; see `child.answer`."""
    confinement.limit(space_bytes=ADDRESS_SPACE_BYTES)
    confinement.isolate()

    def guarded(head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], Sequence[memoryview]]:
        reply: dict[str, Any]
        body: Sequence[memoryview] = []
        try:
            reply, body = handler(head, data)
        except ImageError as error:
            reply = {"refusal": [error.code, error.message]}
        except MemoryError:
            reply = {"refusal": ["image-memory", "decoding needs too much memory"], "retire": True}
        if _resident_bytes() > _RETIRE_BYTES:
            reply["retire"] = True
        return reply, body

    child.answer(guarded)


def _resident_bytes() -> int:
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    return 0
