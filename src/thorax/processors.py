"""How many processors this program may use: what it is bound to, and what its container pays for.

A container or a job of a cluster is held to processor time by control groups, which a count of
processors does not show: with more threads than that they take turns at standing still.
"""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_ROOT: Final = Path("/")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
"""How mountinfo writes blanks and backslashes."""


def processors(root: Path = _ROOT) -> int:
    """Return how many processors this program may use, 1 or more.

    The affinity that Linux, a launcher or a cpuset gave it, and no more than its control groups
    allow, rounded up as Java and Go round: the smallest limit along the path counts, be it of
    version 2 (`cpu.max`) or 1 (`cpu.cfs_quota_us`).

    Args:
        root: folder that stands for /, of a test.

    Example:
        >>> processors() >= 1
        True
    """
    bound = len(os.sched_getaffinity(0))
    limit = quota(root)
    return bound if limit is None else max(1, min(bound, math.ceil(limit)))


def quota(root: Path = _ROOT) -> float | None:
    """Return the processors' worth of time that control groups allow, None without a limit.

    Args:
        root: folder that stands for /, of a test.
    """
    limits = [limit for folder in _groups(root) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def group(root: Path = _ROOT) -> str:
    """Return what tells the control groups of this program from those of another."""
    return _text(root / "proc/self/cgroup")


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of this program's control groups, and of those above, in any order."""
    paths = dict(_memberships(root))
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or len(kinds) < 3 or kinds[0] not in ("cgroup", "cgroup2"):
            continue
        if kinds[0] == "cgroup" and "cpu" not in kinds[2].split(","):
            continue
        path = paths.get("" if kinds[0] == "cgroup2" else "cpu")
        if path is not None:
            yield from _folders(root, _plain(fields[4]), _plain(fields[3]), path)


def _memberships(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the path of this program in version 2, under "", and in version 1, under "cpu"."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield "", path
        elif "cpu" in controllers.split(","):
            yield "cpu", path


def _folders(root: Path, mount: str, shown: str, path: str) -> Iterator[Path]:
    """Yield the folders from a mount, which shows the groups from `shown` on, down to a path."""
    folder = root / mount.lstrip("/")
    yield folder
    try:
        below = PurePosixPath(path).relative_to(shown)
    except ValueError:
        # A container sees its own group alone, under whatever name the host gave it.
        return
    for part in below.parts:
        if part == "..":
            return
        folder /= part
        yield folder


def _limit(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split()
    if not words:
        words = [_text(folder / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    try:
        allowed, period = (int(word) for word in words)
    except ValueError:
        # "max", or no file.
        return None
    return allowed / period if allowed > 0 and period > 0 else None


def _plain(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
