"""Work on untrusted bytes in a child process that may crash, hang or eat memory without harm.

A child imports one module, says that it is ready, and answers one request after another. It is
limited in memory and processor time by the operating system, in wall-clock time by its parent,
writes no files, and ends when its standard input closes, as it does when its parent dies. POSIX.
"""

import atexit
import contextlib
import fcntl
import json
import os
import resource
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from thorax.errors import ImageError
from thorax.refusals import REFUSALS, refuse

ADDRESS_SPACE_BYTES: Final = 1536 << 20
"""Limit on a child's address space; about 300 MB of it are libraries."""

_FRAME: Final = struct.Struct("<IQ")
_LONGEST_HEAD: Final = 65536
_START_S: Final = 60.0
_PIECE_BYTES: Final = 1 << 20
_RETIRE_BYTES: Final = 512 << 20
# pydicom imports `requests`, where it is installed, only to download examples: 80 ms for nothing.
_START_CHILD: Final = (
    "import sys; sys.modules['requests'] = None; root = sys.argv[1]; "
    "root in sys.path or sys.path.insert(0, root); "
    "from importlib import import_module; import_module(sys.argv[2]).main()"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a child says: a JSON object, and bytes whose layout the object tells."""

    head: dict[str, Any]
    body: bytearray


Handler = Callable[[dict[str, Any], bytes], tuple[dict[str, Any], list[memoryview]]]


class _Worker:
    """One child. Any failure leaves it dead; the caller must then drop it."""

    def __init__(self, module: str) -> None:
        root = str(Path(__file__).resolve().parents[1])
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START_CHILD, root, module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        self._ready = False
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input: IO[bytes] = self._process.stdin
        self._output: IO[bytes] = self._process.stdout
        for pipe in (self._input, self._output):
            os.set_blocking(pipe.fileno(), False)
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                # Linux: a wider pipe means fewer turns; where it is refused, it is narrow.
                with contextlib.suppress(OSError):
                    fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIECE_BYTES)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def ask(self, head: dict[str, Any], data: bytes, wall_s: float, most_bytes: int) -> Answer:
        """Send a request and return the answer, or raise what became of the child."""
        if not self._ready:
            self._exchange([], time.perf_counter() + _START_S, 0)
            self._ready = True
        text = json.dumps(head).encode()
        pieces = [memoryview(_FRAME.pack(len(text), len(data)) + text), memoryview(data)]
        return self._exchange(pieces, time.perf_counter() + wall_s, most_bytes)

    def _exchange(self, pieces: list[memoryview], deadline: float, most_bytes: int) -> Answer:
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            if pieces:
                selector.register(self._input, selectors.EVENT_WRITE)

            def receive(target: memoryview) -> None:
                while len(target):
                    left = deadline - time.perf_counter()
                    events = selector.select(left) if left > 0 else []
                    if not events:
                        raise refuse("image-timeout", "decoding took too long and was stopped")
                    for key, _ in events:
                        if key.fileobj is self._input:
                            if not self._send(pieces):
                                selector.unregister(self._input)
                            continue
                        count = os.readv(self._output.fileno(), [target])
                        if not count:
                            raise self._obituary()
                        target = target[count:]

            frame = bytearray(_FRAME.size)
            receive(memoryview(frame))
            head_bytes, body_bytes = _FRAME.unpack(frame)
            if head_bytes > _LONGEST_HEAD or body_bytes > most_bytes:
                raise refuse("dicom-decoder-crashed", "the decoding process answers nonsense")
            text, body = bytearray(head_bytes), bytearray(body_bytes)
            receive(memoryview(text))
            receive(memoryview(body))
        try:
            head = json.loads(text)
        except ValueError as error:
            raise refuse(
                "dicom-decoder-crashed", "the decoding process answers nonsense"
            ) from error
        if not isinstance(head, dict):
            raise refuse("dicom-decoder-crashed", "the decoding process answers nonsense")
        return Answer(head, body)

    def _send(self, pieces: list[memoryview]) -> bool:
        """Send what the pipe takes now; False when nothing is left to be sent."""
        try:
            sent = os.write(self._input.fileno(), pieces[0][:_PIECE_BYTES])
        except BrokenPipeError:
            return False
        pieces[0] = pieces[0][sent:]
        if not pieces[0]:
            del pieces[0]
        return bool(pieces)

    def _obituary(self) -> ImageError:
        self._process.kill()
        status = self._process.wait()
        if status == -signal.SIGPROF:
            return refuse("image-timeout", "decoding used too much processor time")
        return refuse("dicom-decoder-crashed", f"the decoding process ended with status {status}")

    def close(self) -> None:
        """End the child at once."""
        self._process.kill()
        self._process.wait()
        self._input.close()
        self._output.close()

    def disown(self) -> None:
        """Forget a child that belongs to the process this one was forked from."""
        self._input.close()
        self._output.close()
        self._process.returncode = 0


class Sandbox:
    """Children of one module, as many as threads that ask at the same time; started when needed.

    Example:
        >>> sandbox = Sandbox("thorax.dicom")
        >>> sandbox.children
        ()
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._registered = False

    @property
    def children(self) -> tuple[int, ...]:
        """The process ids of the children that wait for work."""
        return tuple(worker.pid for worker in self._idle)

    def ask(self, head: dict[str, Any], data: bytes, *, wall_s: float, most_bytes: int) -> Answer:
        """Have a child answer a request.

        Args:
            head: a JSON object for the child's handler.
            data: bytes for the handler.
            wall_s: the child is killed when it has not answered after so many seconds.
            most_bytes: the longest body that is accepted as an answer.

        Raises:
            ImageError: what the handler refused, `image-timeout`, or `dicom-decoder-crashed`.
        """
        worker = self._take()
        try:
            answer = worker.ask(head, data, wall_s, most_bytes)
        except BaseException as error:
            worker.close()
            if isinstance(error, ImageError):
                # The next file should not wait for imports.
                self._give(_Worker(self._module))
            raise
        if answer.head.pop("retire", False):
            worker.close()
        else:
            self._give(worker)
        refusal = answer.head.get("refusal")
        if refusal is not None:
            code, message = refusal
            if code not in REFUSALS:
                raise refuse("dicom-decoder-crashed", "the decoding process answers nonsense")
            raise refuse(code, str(message))
        return answer

    def close(self) -> None:
        """End all children that wait for work."""
        with self._lock:
            workers, self._idle = self._idle, []
        for worker in workers:
            worker.close()

    def _take(self) -> _Worker:
        with self._lock:
            if not self._registered:
                atexit.register(self.close)
                os.register_at_fork(after_in_child=self._forget)
                self._registered = True
            if self._idle:
                return self._idle.pop()
        return _Worker(self._module)

    def _give(self, worker: _Worker) -> None:
        with self._lock:
            self._idle.append(worker)

    def _forget(self) -> None:
        """After a fork, leave the children to the process that started them."""
        self._lock = threading.Lock()
        workers, self._idle = self._idle, []
        for worker in workers:
            worker.disown()


def serve(handler: Handler) -> None:
    """Be a child: answer requests with `handler` until standard input ends.

    The request may hold `cpu_s`: the kernel kills the child when one answer takes longer than
    that in processor time, which a loaded machine does not use up.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = (
        ADDRESS_SPACE_BYTES if most == resource.RLIM_INFINITY else min(most, ADDRESS_SPACE_BYTES)
    )
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    # Native code prints to descriptor 1, which must not reach the parent as an answer.
    answers = os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    requests = sys.stdin.buffer
    _write(answers, {}, [])
    while True:
        frame = requests.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            return
        head_bytes, data_bytes = _FRAME.unpack(frame)
        head = json.loads(requests.read(head_bytes))
        signal.setitimer(signal.ITIMER_PROF, float(head.get("cpu_s", 0)))
        reply: dict[str, Any]
        body: list[memoryview] = []
        try:
            reply, body = handler(head, requests.read(data_bytes))
        except ImageError as error:
            reply = {"refusal": [error.code, error.message]}
        except MemoryError:
            reply = {"refusal": ["image-memory", "decoding needs too much memory"], "retire": True}
        signal.setitimer(signal.ITIMER_PROF, 0)
        if _resident_bytes() > _RETIRE_BYTES:
            reply["retire"] = True
        _write(answers, reply, body)
        del reply, body


def _write(stream: IO[bytes], head: dict[str, Any], body: list[memoryview]) -> None:
    text = json.dumps(head).encode()
    stream.write(_FRAME.pack(len(text), sum(piece.nbytes for piece in body)) + text)
    for piece in body:
        stream.write(piece)
    stream.flush()


def _resident_bytes() -> int:
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    return 0
