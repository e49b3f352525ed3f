"""What stands where an output is to be: a stream, a file of a mode and owner, something else."""

import contextlib
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
        try:
            return os.dup(own)
        except OverflowError as error:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), str(path)) from error
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


def require_regular(path: Path) -> None:
    """Refuse what stands where a file is to be and is none, or is a link to one.

    Raises:
        OSError: as it says.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise OSError(errno.EINVAL, "it is no regular file; name another place", str(path))


def take_mode_and_owner(path: Path, old: Path) -> None:
    """Give a new file the mode and owner of the one that it will replace, where there is one.

    Raises:
        OSError: that one belongs to another user, or the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        keep_mode_and_owner(old, descriptor)
    finally:
        os.close(descriptor)


def keep_mode_and_owner(target: Path, descriptor: int) -> None:
    """Give an open file the mode and owner of another, where that is there.

    Raises:
        OSError: it belongs to another user, or the disk refuses.
    """
    try:
        old = target.stat()
    except FileNotFoundError:
        return
    new = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except PermissionError as error:
            raise PermissionError(
                errno.EPERM, "it belongs to another user or group", str(target)
            ) from error
    os.fchmod(descriptor, old.st_mode & 0o777)
