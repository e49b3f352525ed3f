"""Outputs that are streams: a terminal, a pipe, `/dev/null`, a descriptor of this process."""

import errno
import os
import re
import stat
from pathlib import Path


def open_stream(path: Path) -> int | None:
    """Return a descriptor of what is written to as a stream; None of a place for a file.

    Raises:
        OSError: it is a folder, a block device, a socket or a pipe that no program reads.
    """
    own = own_descriptor(path)
    if own is not None:
        return os.dup(own)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        kind = "a block device" if stat.S_ISBLK(mode) else "a socket"
        raise OSError(errno.EINVAL, f"it is {kind}", str(path))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise OSError(errno.ENXIO, "it is a pipe that no program reads", str(path)) from error
    os.set_blocking(descriptor, True)
    return descriptor


def own_descriptor(path: Path) -> int | None:
    """Return the number of this process's descriptor that a path such as /dev/stdout names."""
    for _ in range(8):
        place = Path(os.path.realpath(path.parent)) / path.name
        match = re.fullmatch(
            rf"/proc/{os.getpid()}(?:/task/\d+)?/fd/(\d+)|/dev/fd/(\d+)", str(place)
        )
        if match is not None:
            return int(match[1] or match[2])
        if not place.is_symlink():
            return None
        path = place.parent / place.readlink()
    return None
