"""A child process that answers requests: a JSON object and bytes there, the same back.

A child imports one module, says that it is ready, and answers one request after another. It ends
when its standard input closes, as it does when its parent dies. What a child may do is its own
business (`thorax.isolation.confinement`); how long a parent waits is the parent's. POSIX.
"""

import contextlib
import fcntl
import json
import os
import re
import selectors
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

_FRAME: Final = struct.Struct("<IQ")
_LONGEST_HEAD: Final = 1 << 20
_START_S: Final = 600.0
_PIECE_BYTES: Final = 1 << 20
_ROOT: Final = str(Path(__file__).resolve().parents[2])
_START: Final = (
    "import sys; _, root, module, *without = sys.argv; sys.modules.update(dict.fromkeys(without)); "
    "root in sys.path or sys.path.insert(0, root); "
    "from importlib import import_module; import_module(module).main()"
)
_KEPT: Final = re.compile(
    r"PATH|LD_LIBRARY_PATH|LANG|LANGUAGE|TZ|LC_(ALL|CTYPE|NUMERIC)"
    r"|(OMP|KMP|MKL|OPENBLAS|ONEDNN|OV|TBB|TF_CPP|TF_ENABLE|TF_NUM)_.*",
    re.DOTALL,
)
"""Variables of the environment that a child needs; others may be secrets."""


class ChildError(Exception):
    """A child that is of no use any more; the message says what became of it."""


class ChildStartError(ChildError):
    """A child that did not even begin: of no file's doing."""


class ChildTimeoutError(ChildError):
    """A child that did not answer in time, or used up its processor time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a child says: a JSON object, and bytes whose layout the object tells."""

    head: dict[str, Any]
    body: bytearray


class Child:
    """One child, whose module's `main()` calls `answer`; any failure leaves it dead, to be closed.

    It has some variables of the parent, those that libraries read, beside its own `environment`,
    and does not find the modules `without`.
    """

    def __init__(
        self, module: str, environment: Mapping[str, str], *, without: Sequence[str] = ()
    ) -> None:
        kept = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, _ROOT, module, *without],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**kept, **environment},
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

    def ask(
        self, head: dict[str, Any], data: bytes | memoryview, wall_s: float, most_bytes: int
    ) -> Answer:
        """Send a request, a JSON object and bytes for the child's handler, and return the answer.

        It is waited for `wall_s` seconds; a body of more than `most_bytes` is not accepted.

        Raises:
            ChildError: what became of the child.
        """
        if not self._ready:
            try:
                self._exchange([], time.perf_counter() + _START_S, 0)
            except ChildError as error:
                raise ChildStartError(f"did not start: it {error}") from error
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
                        raise ChildTimeoutError("took too long and was stopped")
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
                raise ChildError("answers nonsense")
            text, body = bytearray(head_bytes), bytearray(body_bytes)
            receive(memoryview(text))
            receive(memoryview(body))
        try:
            head = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ChildError("answers nonsense") from error
        if not isinstance(head, dict):
            raise ChildError("answers nonsense")
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

    def _obituary(self) -> ChildError:
        self._process.kill()
        status = self._process.wait()
        if status == -signal.SIGPROF:
            return ChildTimeoutError("used too much processor time")
        if status == -signal.SIGKILL:
            return ChildError("was killed, as the system does where memory runs out")
        return ChildError(f"ended with status {status}")

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


Handler = Callable[[dict[str, Any], bytes], tuple[dict[str, Any], Sequence[memoryview]]]


def answer(handler: Handler) -> None:
    """Be a child: answer requests with `handler` until standard input ends.

    The request may hold `cpu_s`: the kernel kills the child when one answer takes longer than
    that in processor time, which a loaded machine does not use up.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
        reply, body = handler(head, requests.read(data_bytes))
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(answers, reply, body)
        del reply, body


def _write(stream: IO[bytes], head: dict[str, Any], body: Sequence[memoryview]) -> None:
    text = json.dumps(head).encode()
    stream.write(_FRAME.pack(len(text), sum(piece.nbytes for piece in body)) + text)
    for piece in body:
        stream.write(piece)
    stream.flush()
