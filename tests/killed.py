"""Python code that is ended at any of its calls to the system, one after another."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

_COUNTED = """
import os, signal, sys
from pathlib import Path
left, folder, end = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
def counted(function):
    def call(*arguments, **named):
        global left
        left -= 1
        if left == -1 and end == "Ctrl-C":
            raise KeyboardInterrupt
        if left < 0 and end == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return function(*arguments, **named)
        finally:
            if left == -1 and end == "Ctrl-C after":
                raise KeyboardInterrupt
    return call
def count():
    for name in ("rename", "replace", "rmdir", "mkdir", "unlink", "link", "fsync", "open"):
        setattr(os, name, counted(getattr(os, name)))
"""


def end_at_call(script: str, folder: Path, calls: int, end: str = "kill") -> int:
    """Run a script that is ended before the call after so many; return its status."""
    command = [sys.executable, "-c", _COUNTED + script, str(calls), str(folder), end]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode


def ended_at_every_call(
    script: str, folder: Path, prepare: Callable[[Path], object], *, end: str = "kill"
) -> Iterator[Path]:
    """Run a script on a new folder again and again, ended one call later each time.

    Args:
        script: which calls `count()` when it has imported all, and knows its `folder`.
        folder: in which each run has its own.
        prepare: fills such a folder before the run.
        end: "kill", or "Ctrl-C" before or "Ctrl-C after" the call, whereupon the script cleans up.

    Yields:
        the folder of each run after it; the last one came to its end.
    """
    calls, status = 0, -signal.SIGKILL
    while status in (-signal.SIGKILL, -signal.SIGINT):
        place = folder / str(calls)
        place.mkdir()
        prepare(place)
        status = end_at_call(script, place, calls, end)
        yield place
        calls += 1
    assert status == 0
