"""Memory of a process and its children, sampled while it works (Linux)."""

import os
import re
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

PARTS = {"VmHWM": "peak", "VmRSS": "resident", "RssAnon": "anonymous", "RssFile": "file"}


def memory_of(process: int) -> dict[str, int]:
    """Return resident, anonymous and file-backed bytes now and the peak of the first since start.

    From /proc/PID/status (proc_pid_status(5)); all 0 for a process that is gone. File-backed pages,
    libraries and memory maps, can be dropped by the kernel at any time; anonymous ones cannot.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text("utf-8")
    except OSError:
        status = ""
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB$", status, re.MULTILINE))
    return {name: int(found.get(key, 0)) * 1024 for key, name in PARTS.items()}


def children_of(process: int) -> list[int]:
    """Return its children and theirs; none for a process that is gone."""
    found = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            direct = [int(word) for word in task.read_text("utf-8").split()]
        except OSError:
            continue
        for child in direct:
            found += [child, *children_of(child)]
    return found


class Sampler:
    """Peaks of memory while the block runs.

    Attributes:
        process: whose.
        peak_bytes: `process`, resident, as the kernel keeps it; `anonymous` and `file`, the
            highest samples of its two parts; `children`, the highest sample of all together.
        every_s: time between samples, s.
    """

    def __init__(self, process: int | None = None, *, every_s: float = 0.02) -> None:
        self.process = os.getpid() if process is None else process
        self.every_s = every_s
        self.peak_bytes = {"process": 0, "children": 0, "anonymous": 0, "file": 0}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            own = memory_of(self.process)
            children = sum(memory_of(child)["resident"] for child in children_of(self.process))
            now = {
                "process": own["peak"],
                "children": children,
                "anonymous": own["anonymous"],
                "file": own["file"],
            }
            self.peak_bytes = {key: max(now[key], high) for key, high in self.peak_bytes.items()}
            if self._done.wait(self.every_s):
                return
