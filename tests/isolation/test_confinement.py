"""A process that gave something up does not get it back."""

import subprocess
import sys
from pathlib import Path

import pytest

from thorax.isolation.confinement import isolate

SCRIPT = """
import fcntl, os, pathlib, resource, socket, subprocess, sys, threading
from thorax.isolation import confinement
secret, model, scratch = map(pathlib.Path, sys.argv[1:4])
confinement.limit(data_bytes=1 << 30, file_bytes=1 << 16)
given = confinement.isolate(readable=[model], writable=[scratch])
import ctypes
def mapped(flags):
    library = ctypes.CDLL(None)
    library.mmap.restype = ctypes.c_ssize_t
    assert library.mmap(None, ctypes.c_size_t(1 << 20), 3, flags, -1, ctypes.c_ssize_t(0)) != -1
def rights():
    status = pathlib.Path('/proc/self/status').read_text()
    return int(status.split('CapEff:')[1].split()[0], 16)
def call(*arguments):
    return ctypes.CDLL(None).syscall(*arguments)
{action}
"""

REFUSED = {
    "read another file": "secret.read_text()",
    "list another folder": "os.listdir(secret.parent)",
    "write another file": "secret.write_text('x')",
    "write the model": "(model / 'weights').write_text('x')",
    "make a file beside": "(secret.parent / 'new').write_text('x')",
    "remove a file": "secret.unlink()",
    "rename a file": "secret.rename(scratch / 'x')",
    "link a file": "os.link(secret, scratch / 'x'); (scratch / 'x').read_text()",
    "read through a link": "(scratch / 'x').symlink_to(secret); (scratch / 'x').read_text()",
    "change a mode": "os.chmod(secret, 0o777)",
    "change a mode by the newer call": "assert call(452, -100, os.fsencode(secret), 0o777, 0) == 0",
    "change times": "os.utime(secret, (1, 1))",
    "remove an attribute": "os.removexattr(secret, 'user.a')",
    "slow the parent down": "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
    "place the parent": "os.sched_setaffinity(os.getppid(), {0})",
    "share memory with others": "assert call(29, 1234, 4096, 0o1600) >= 0",
    "change an owner": "os.chown(secret, 1, 1)",
    "truncate": "os.truncate(secret, 0)",
    "truncate the model": "os.truncate(model / 'weights', 0)",
    "truncate by opening for reading": "os.open(model / 'weights', os.O_RDONLY | os.O_TRUNC)",
    "open by the newer call": "assert call(437, -100, os.fsencode(model), None, 0) >= 0",
    "a pair of sockets": "socket.socketpair()",
    "a signal by a pipe": "fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, os.getppid())",
    "another signal by a pipe": "fcntl.fcntl(os.pipe()[0], fcntl.F_SETSIG, 9)",
    "connect": "socket.create_connection(('127.0.0.1', 9))",
    "a datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "a Unix socket": "socket.socket(socket.AF_UNIX)",
    "run a program": "subprocess.run(['/bin/true'])",
    "become a program": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork()",
    "spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "signal the parent": "os.kill(os.getppid(), 0)",
    "read the parent": "open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
    "raise a limit": "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))",
    "raise a limit by prlimit": "resource.prlimit(0, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))",
    "a long file": "(scratch / 'long').write_bytes(bytes(1 << 20))",
    "much memory": "bytearray(2 << 30)",
    "memory without a limit": "import mmap; mmap.mmap(-1, 4096)",
    "memory that grows as a stack": "mapped(0x100 | 0x22)",
    "a file in memory": "os.memfd_create('x')",
    "a right of root": "assert rights() > 6",
    "a new root": "os.chroot(scratch)",
    "a new name space": "os.unshare(os.CLONE_NEWUSER) if hasattr(os, 'unshare') else os.fork()",
    "a device": "os.mknod(scratch / 'device', 0o60600, os.makedev(8, 0))",
}

REFUSALS = ("PermissionError", "OSError", "ValueError", "MemoryError", "AssertionError")

ALLOWED = {
    "read the model": "assert (model / 'weights').read_text() == 'weights'",
    "memory as a library takes it": "mapped(0x22)",
    "cut off a result": "open(scratch / 'r', 'wb').close(); open(scratch / 'r', 'r+b').truncate()",
    "ask of a descriptor": "fcntl.fcntl(0, fcntl.F_GETFL)",
    "write a result": "(scratch / 'result').write_text('x')",
    "replace a result": "(scratch / 'a').write_text('x'); os.replace(scratch / 'a', scratch / 'b')",
    "threads": "t = threading.Thread(target=int); t.start(); t.join()",
    "place itself on processors": "os.sched_setaffinity(0, os.sched_getaffinity(0))",
    "ask for limits": "resource.getrlimit(resource.RLIMIT_AS)",
    "import": "import sqlite3, numpy, openvino; openvino.Core().available_devices",
    "memory of its own": "import mmap; mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE)",
    "ask for time and chance": "os.urandom(8); import time; time.localtime()",
}


def run(tmp_path: Path, action: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "home").mkdir()
    for name in ("model", "scratch"):
        (tmp_path / name).mkdir()
    (tmp_path / "home" / "secret").write_text("secret")
    (tmp_path / "model" / "weights").write_text("weights")
    places = [str(tmp_path / name) for name in ("home/secret", "model", "scratch")]
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(action=action), *places],
        capture_output=True,
        text=True,
        check=False,
    )


def test_this_kernel_can_isolate() -> None:
    script = "from thorax.isolation import confinement; print(*confinement.isolate())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    if done.stdout.split() != ["landlock", "seccomp"]:
        pytest.skip(f"the kernel gives {done.stdout.strip() or 'neither Landlock nor seccomp'}")


@pytest.mark.parametrize("action", REFUSED.values(), ids=REFUSED.keys())
def test_what_was_given_up_is_refused(tmp_path: Path, action: str) -> None:
    test_this_kernel_can_isolate()
    done = run(tmp_path, action)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(REFUSALS), last
    assert (tmp_path / "home" / "secret").read_text() == "secret"
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["secret"]


@pytest.mark.parametrize("action", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_a_reader_needs_is_left(tmp_path: Path, action: str) -> None:
    done = run(tmp_path, action)
    assert done.returncode == 0, done.stderr


def test_another_system_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert isolate() == ()
