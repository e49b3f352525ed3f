"""Files and folders that are there whole or not at all, written by one process at a time.

Whatever a person names as an output goes through `new_file`: a regular file is replaced by
renaming, keeps its mode and owner, and is never seen half written; a terminal, a pipe or
`/dev/null` is written to as the stream that it is; everything else is refused. Errors are those
of the system, which a caller translates into its own code.
"""

import atexit
import contextlib
import ctypes
import errno
import fcntl
import hashlib
import io
import os
import re
import secrets
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, TextIO

from thorax.files.places import keep_mode_and_owner, open_stream, own_descriptor

_PARTIAL: Final = ".partial"
_RETIRED: Final = ".old"
_HIDDEN: Final = re.compile(r"\.(.+)\.\d+\.[0-9a-f]{16}\.(?:partial|old)", re.DOTALL)
_TEMPORARY: Final = "thorax"
_LOCK: Final = ".lock"
_NO_LOCK: Final = "what stands in the place of its lock is no lock of Thorax; remove it"
_LONGEST_HOLDER: Final = 300
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_NO_EXCHANGE: Final = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)
_NO_LOCKS: Final = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
_unfinished: Final[set[Path]] = set()
"""What this process is writing. A signal may fall between any two steps, before the block that
would remove it or while that does: what is left here goes when the process ends."""


class LockedError(BlockingIOError):
    """A lock that another process holds.

    The `holder` is told in words: process, host, command and since when, as far as is known.
    """

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(errno.EWOULDBLOCK, f"{holder} is writing it", str(path))
        self.holder = holder


def write_bytes(path: Path, content: bytes, *, swept: bool = False) -> None:
    """Write a file whole and durably, or to a stream; see `new_file`."""
    with new_file(path, swept=swept) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole and durably, or to a stream; see `new_file`.

    What UTF-8 has not, such as bytes of a file name that are none of it, is written escaped.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


@contextmanager
def new_file(path: Path, *, swept: bool = False) -> Iterator[IO[bytes]]:
    """Yield a file to write, which takes its name only when the block succeeds.

    A link is followed, and the file that it names is replaced; mode and owner of a file that is
    there stay. Character devices, pipes with a reader and `/dev/stdout` are written to directly. In
    a folder that `sweep_folder` swept already, one of many files is not looked for among all once
    more.

    Raises:
        OSError: `path` is a folder, a block device or a socket, a pipe that no one reads, a file
            that may not be written or belongs to another user; or the disk refuses.
    """
    stream = open_stream(path)
    if stream is not None:
        with os.fdopen(stream, "wb") as file:
            yield file
        return
    target = _target(path)
    partial, descriptor = _new_partial(target, swept=swept)
    try:
        with os.fdopen(descriptor, "wb") as file:
            keep_mode_and_owner(target, descriptor)
            yield file
            file.flush()
            os.fsync(descriptor)
            partial.replace(target)
    finally:
        _discard(partial)
    sync(target.parent)


@contextmanager
def new_text(path: Path, *, errors: str = "strict") -> Iterator[TextIO]:
    """Yield a UTF-8 text file to write, line ends as they are given; see `new_file`.

    What becomes of characters that UTF-8 has not is said by `errors`, as `open` takes it.
    """
    with new_file(path) as file:
        text = io.TextIOWrapper(file, "utf-8", errors=errors, newline="", write_through=True)
        try:
            yield text
            text.flush()
        finally:
            text.detach()


def require_place(path: Path) -> None:
    """Refuse early what `new_file` would refuse late; nothing is written.

    A pipe is not opened, as whoever reads it would see it end.

    Raises:
        OSError: as `new_file`.
    """
    if path.is_fifo():
        return
    stream = open_stream(path)
    if stream is not None:
        os.close(stream)
        return
    target = _target(path)
    partial, descriptor = _new_partial(target)
    try:
        keep_mode_and_owner(target, descriptor)
    finally:
        os.close(descriptor)
        _discard(partial)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `out` only when the block succeeds.

    A folder that stands there is exchanged in one step, so that a kill at any moment leaves the
    old one or the new one. What killed processes left beside it is removed first.

    Raises:
        OSError: when the disk refuses.
    """
    out = Path(os.path.realpath(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    recover(out)
    with _held_folder(out) as staging:
        yield staging
        sync(staging)
        _take_place(staging, out)
        sync(out.parent)


def recover(out: Path) -> None:
    """Put back a folder that a kill left under another name, and sweep what nobody works on.

    Raises:
        OSError: when the disk refuses.
    """
    out = Path(os.path.realpath(out))
    for retired in _leftovers(out, _RETIRED):
        with _abandoned(retired) as nobodys:
            if nobodys and out.exists():
                _remove(retired)
            elif nobodys:
                retired.rename(out)
    sweep(out)


def sweep(path: Path) -> None:
    """Remove half-written files and folders for `path` whose process is gone."""
    for partial in _leftovers(path, _PARTIAL):
        with _abandoned(partial) as nobodys:
            if nobodys:
                _remove(partial)


def sweep_folder(folder: Path) -> None:
    """Remove half-written files and folders within a folder whose process is gone."""
    for entry in list(folder.iterdir()):
        if entry.name.endswith(_PARTIAL) and (meant := meant_by(entry.name)) is not None:
            sweep(folder / meant)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder of this process alone that is removed afterwards, by a later one if killed."""
    place = Path(tempfile.gettempdir()) / _TEMPORARY
    for folder in _leftovers(place, _PARTIAL):
        with contextlib.suppress(OSError):
            if not folder.is_symlink() and folder.is_dir() and folder.lstat().st_uid == os.getuid():
                with _abandoned(folder) as nobodys:
                    if nobodys:
                        _remove(folder)
    with _held_folder(place, 0o700) as folder:
        yield folder


@contextmanager
def locked(path: Path, *, wait: bool = False, beside: bool = False) -> Iterator[None]:
    """Hold a folder or file, there or not, for this process alone; a killed process lets go of it.

    The lock is a file, `.lock` in a folder and `.NAME.lock` beside a file, or `beside` a folder
    that is about to be exchanged, which says who holds it and is removed afterwards; file systems
    of clusters lock files where they lock no folders. To `wait` is for the holder to let go.

    Raises:
        LockedError: another process holds it.
        OSError: the place cannot be written, or its file system has no locks.
    """
    if beside:
        path = Path(os.path.realpath(path))
    inside = path.is_dir() and not beside
    lock = path / _LOCK if inside else path.with_name(f".{_short(path.name)}{_LOCK}")
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(lock, flags, 0o666)
        except OSError as error:
            if error.errno in (errno.EISDIR, errno.ELOOP, errno.ENXIO):
                raise OSError(errno.EEXIST, _NO_LOCK, str(lock)) from error
            raise
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            os.close(descriptor)
            raise OSError(errno.EEXIST, _NO_LOCK, str(lock))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            holder = os.pread(descriptor, _LONGEST_HOLDER, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise LockedError(path, holder or "another process") from error
        except BaseException:
            os.close(descriptor)
            raise
        # The holder before may have removed the file that this one waited for.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), lock.lstat()):
                break
        os.close(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _holder().encode(errors="backslashreplace"), 0)
        yield
    finally:
        # A folder that was exchanged meanwhile may hold the lock of another process.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), lock.lstat()):
                lock.unlink()
        os.close(descriptor)


def is_ours(name: str) -> bool:
    """Return whether a name within a folder is of a lock or of something half written."""
    return (name[:1] == "." and name.endswith(_LOCK)) or meant_by(name) is not None


def meant_by(name: str) -> str | None:
    """Return whose place something half written or taken away was for, by its name; else None."""
    match = _HIDDEN.fullmatch(name)
    return match[1] if match else None


def is_stdout(path: Path) -> bool:
    """Return whether a path, such as /dev/stdout, names this process's standard output."""
    return own_descriptor(path) == 1


def sync(path: Path) -> None:
    """Force a file, or which files a folder has, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text, without holding the file in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _holder() -> str:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:120]
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return f"process {os.getpid()} on {socket.gethostname()} ({command}, {since})"


def _target(path: Path) -> Path:
    """Return the regular file, there or to be, that a path leads to.

    In a folder where everyone may write, a link of another user is not followed, as Linux does
    with fs.protected_symlinks.
    """
    place = path.absolute()
    if place.is_symlink():
        folder = place.parent.stat()
        shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
        if shared and place.lstat().st_uid not in (os.geteuid(), folder.st_uid):
            raise PermissionError(
                errno.EACCES, "it is another user's link in a shared folder", str(path)
            )
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, "its links lead nowhere", str(path))
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it may not be written", str(path))
    return target


def _short(name: str) -> str:
    """Return the beginning of a name that leaves room for what is put around it, in bytes."""
    return os.fsdecode(os.fsencode(name)[:200])


def _partial_name(name: str) -> str:
    return f".{_short(name)}.{os.getpid()}.{secrets.token_hex(8)}{_PARTIAL}"


def _partial_of(target: Path) -> Path:
    """Return a new name beside a target, which is noted before anything has it."""
    partial = target.with_name(_partial_name(target.name))
    _unfinished.add(partial)
    return partial


def _discard(partial: Path) -> None:
    _remove(partial)
    _unfinished.discard(partial)


@atexit.register
def _discard_unfinished() -> None:
    """Remove what this process, and not one it was forked from, left half written."""
    for partial in list(_unfinished):
        if f".{os.getpid()}." in partial.name:
            with contextlib.suppress(OSError):
                _discard(partial)


def _new_partial(target: Path, *, swept: bool = False) -> tuple[Path, int]:
    """Return a new file beside a target, and its descriptor; a lock says that it is in use."""
    if not swept:
        sweep(target)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        partial = _partial_of(target)
        descriptor = os.open(partial, flags, 0o666)
        if _hold(descriptor, partial):
            return partial, descriptor
        os.close(descriptor)
        _discard(partial)


def _hold(descriptor: int, path: Path) -> bool:
    """Lock what was just made; False when another process swept it before that.

    A file system without locks keeps what is left until someone removes it by hand.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def _held_folder(target: Path, mode: int = 0o777) -> Iterator[Path]:
    """Yield a new folder beside a target that nobody sweeps, and remove what is left of it."""
    while True:
        folder = _partial_of(target)
        folder.mkdir(mode)
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if _hold(descriptor, folder):
                break
            os.close(descriptor)
        _discard(folder)
    try:
        yield folder
    finally:
        _discard(folder)
        os.close(descriptor)


def _leftovers(path: Path, ending: str) -> list[Path]:
    """Return what stands beside a path under the names of its half-written forms, latest last."""
    try:
        hidden = [entry for entry in path.parent.iterdir() if entry.name.endswith(ending)]
        found = [entry for entry in hidden if meant_by(entry.name) == _short(path.name)]
        return sorted(found, key=lambda entry: entry.lstat().st_mtime_ns)
    except OSError:
        return []


@contextmanager
def _abandoned(path: Path) -> Iterator[bool]:
    """Yield whether the process that wrote a file or folder is gone, and hold it if so."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        abandoned = False
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            abandoned = True
        yield abandoned
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a file, or a folder however deep: what lies deeper is brought up to be removed.

    What cannot be removed stays.
    """
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    folders = [path]
    for folder in folders:
        with contextlib.suppress(OSError):
            for entry in list(os.scandir(folder)):
                with contextlib.suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        Path(entry).unlink()
                    elif folder == path:
                        folders.append(folder / entry.name)
                    else:
                        folders.append(Path(entry).rename(path / secrets.token_hex(8)))
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _take_place(staging: Path, out: Path) -> None:
    if not out.exists():
        staging.rename(out)
        return
    if _exchange(staging, out):
        return
    retired = out.parent / (_partial_name(out.name).removesuffix(_PARTIAL) + _RETIRED)
    held = os.open(out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        out.rename(retired)
        try:
            staging.rename(out)
        except OSError:
            retired.rename(out)
            raise
        _remove(retired)
    finally:
        os.close(held)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step; False where the system or file system cannot."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return False
    places = (_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second))
    failed = library.renameat2(*places, _RENAME_EXCHANGE) != 0
    if failed and (number := ctypes.get_errno()) not in _NO_EXCHANGE:
        raise OSError(number, os.strerror(number), str(second))
    return not failed
