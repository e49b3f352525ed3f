"""Python code that is killed between any two of its calls to the system, in turn."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

_COUNTED = """
import os, signal, sys
from pathlib import Path
left, folder = int(sys.argv[1]), Path(sys.argv[2])
def counted(function):
    def call(*arguments, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return call
def count():
    for name in ("rename", "replace", "rmdir", "mkdir", "unlink", "fsync", "open"):
        setattr(os, name, counted(getattr(os, name)))
"""


def killed_at_every_call(
    script: str, folder: Path, prepare: Callable[[Path], object]
) -> Iterator[Path]:
    """Run a script on a new folder again and again, killed one call later each time.

    Args:
        script: which calls `count()` when it has imported all, and knows its `folder`.
        folder: in which each run has its own.
        prepare: fills such a folder before the run.

    Yields:
        the folder of each run after it; the last one came to its end.
    """
    calls, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        place = folder / str(calls)
        place.mkdir()
        prepare(place)
        command = [sys.executable, "-c", _COUNTED + script, str(calls), str(place)]
        status = subprocess.run(command, check=False).returncode
        yield place
        calls += 1
    assert status == 0
