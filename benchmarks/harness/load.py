"""Load that others put on the processors while something is measured.

All that the processors did, time that a hypervisor gave to other machines (steal) among it, less
what this process and its descendants used, as a share of all processors over the window. Of its
descendants are those that let go of their parent, as the workers of Ray do: `adopt` makes them
children of this process.
"""

import ctypes
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

ALLOWED: Final = 0.10
"""Share of all processors that others may use in a run that is written."""

QUIET_S: Final = 2.0
"""How long the machine is watched before anything is measured."""

_PR_SET_CHILD_SUBREAPER: Final = 36
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_BUSY: Final = (0, 1, 2, 5, 6, 7)
"""Of the first line of /proc/stat: user, nice, system, irq, softirq, steal (proc(5))."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Clocks at one moment, seconds.

    Attributes:
        at_s: monotonic clock.
        busy_s: time that all processors together were busy, or stolen from this machine.
        own_s: processor time of this process, its living descendants and those it waited for.
    """

    at_s: float
    busy_s: float
    own_s: float


Read = Callable[[], Reading]


@dataclass(frozen=True, slots=True)
class Load:
    """Processor time of others over windows.

    Attributes:
        others_s: what they used, seconds.
        capacity_s: what all processors had, seconds.
    """

    others_s: float = 0.0
    capacity_s: float = 0.0

    @classmethod
    def between(cls, before: Reading, after: Reading, processors: int) -> Self:
        """Return the load of one window; counters of 10 ms make no load below 0."""
        used_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
        return cls(max(0.0, used_s), (after.at_s - before.at_s) * processors)

    def __add__(self, other: "Load") -> "Load":
        return Load(self.others_s + other.others_s, self.capacity_s + other.capacity_s)

    @property
    def share(self) -> float:
        """Part of all processors, 0-1."""
        return self.others_s / self.capacity_s if self.capacity_s else 0.0


def adopt() -> None:
    """Become the parent of descendants that lose theirs, until this process ends (prctl(2)).

    What those used that end stays counted, as nobody waits for them before this process ends. Lost
    is that of processes whose parent ignores their end: it counts as load of others, but for
    `Unwaited`.

    Raises:
        SystemExit: the system does not let it.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        why = os.strerror(ctypes.get_errno())
        raise SystemExit(f"processes that lose their parent cannot be counted here: {why}")


def read() -> Reading:
    """Return the clocks of now."""
    fields = Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:]
    busy = sum(int(fields[index]) for index in _BUSY)
    # One that ends between the two counts twice, as our own, rather than as load of others.
    descendants_s = _descendants_s(os.getpid())
    own = os.times()
    waited_for = own.children_user + own.children_system
    return Reading(
        time.monotonic(), busy / _TICKS, own.user + own.system + waited_for + descendants_s
    )


def watch(seconds: float, processors: int) -> Load:
    """Return the load of a window in which this process sleeps."""
    before = read()
    time.sleep(seconds)
    return Load.between(before, read(), processors)


def require(claim: str, share: float, when: str, allowed: float = ALLOWED) -> None:
    """Refuse a result for the record beside others who use more than is allowed.

    Args:
        claim: what is measured.
        share: of all processors that others used.
        when: they did, in words.
        allowed: share that they may use.

    Raises:
        SystemExit: they used more.
    """
    if not share <= allowed:
        raise SystemExit(
            f"{claim}: others used {share:.0%} of the processors {when} and {allowed:.0%} is "
            "allowed; end what runs besides, or --rehearsal FOLDER for a result that is not for "
            "the record; none was written for it"
        )


class Watch:
    """Load of others beside what is measured once, from now on.

    Args:
        claim: what is measured.
        rehearsal: folder for a result that is not for the record, whatever the load.
        read: returns the clocks.

    Raises:
        SystemExit: others use more than is allowed before it begins.
    """

    def __init__(self, claim: str, rehearsal: Path | None, *, read: Read = read) -> None:
        self._claim, self._rehearsal, self._read = claim, rehearsal, read
        self._processors = len(os.sched_getaffinity(0))
        adopt()
        if rehearsal is None:
            require(claim, watch(QUIET_S, self._processors).share, "before it")
        self._before = read()

    def facts(self) -> dict[str, float]:
        """Return the load until now, as result files have it.

        Raises:
            SystemExit: it was more than is allowed.
        """
        share = Load.between(self._before, self._read(), self._processors).share
        if self._rehearsal is None:
            require(self._claim, share, "beside it")
        return {"others_share": round(share, 4), "allowed_share": ALLOWED}


class Unwaited:
    """Processor time of descendants that end while their parent ignores it (SIGCHLD).

    The kernel forgets it. Here it is seen every `INTERVAL_S` while they live, in a thread; what a
    process uses after it was last seen is lost.
    """

    INTERVAL_S: Final = 0.25

    def __init__(self) -> None:
        self._lost_ticks = 0
        self._seen: dict[int, _Process] = {}
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def read(self) -> Reading:
        """Return the clocks of now, what would be lost among our own."""
        self._look()
        reading = read()
        return replace(reading, own_s=reading.own_s + self._lost_ticks / _TICKS)

    def _watch(self) -> None:
        while not self._ended.wait(self.INTERVAL_S):
            self._look()

    def _look(self) -> None:
        with self._lock:
            now = _descendants(os.getpid())
            for number, process in self._seen.items():
                if number not in now and process.parent_ignores:
                    self._lost_ticks += process.ticks
            self._seen = now


@dataclass(frozen=True, slots=True)
class _Process:
    """Processor time of a process and of those it waited for, and whether its parent waits."""

    ticks: int
    parent_ignores: bool


def _descendants_s(root: int) -> float:
    """Return the processor time, s, of living descendants and of what those waited for."""
    return sum(process.ticks for process in _descendants(root).values()) / _TICKS


def _descendants(root: int) -> dict[int, _Process]:
    """Return the living descendants of a process by their numbers."""
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name of a program may hold blanks and brackets.
            fields = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        children[int(fields[1])].append(int(folder.name))
        ticks[int(folder.name)] = sum(map(int, fields[11:15]))
    found: dict[int, _Process] = {}
    line = [root]
    while line:
        parent = line.pop()
        ignores = bool(children[parent]) and _ignores_ends(parent)
        for process in children[parent]:
            found[process] = _Process(ticks[process], ignores)
            line.append(process)
    return found


def _ignores_ends(process: int) -> bool:
    """Return whether a process ignores SIGCHLD, so that nobody waits for its children (proc(5))."""
    try:
        status = Path(f"/proc/{process}/status").read_text("utf-8", "replace")
    except OSError:
        return False
    mask = next(line for line in status.splitlines() if line.startswith("SigIgn:")).split()[1]
    return bool(int(mask, 16) >> (signal.SIGCHLD - 1) & 1)
