"""Limits that a process takes upon itself before it touches what a stranger wrote.

`limit` sets resource limits, which every POSIX system has. `isolate` takes away, for good, what a
reader of files does not need: network, other processes, and all files but those named; by Landlock
and seccomp where Linux has them, so that code that a damaged library is made to run finds nothing
to reach. Sources: landlock(7), seccomp(2), Linux UAPI headers.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION_3: Final = 0x20080522
_READ_ANY_FILE: Final = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: root's files may be those of others."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULESET_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_O_PATH: Final = 0o10000000

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE: Final = 1 << 14
_FILE_RIGHTS: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | 1 << 15
"""Rights that a rule on a file, not a folder, may give; the last is ioctl on devices."""
_FS_RIGHTS: Final[Mapping[int, int]] = MappingProxyType(
    {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
)
"""Rights on files that each version of Landlock knows, from the version on."""
_NET_SINCE, _NET_RIGHTS = 4, 0b11
_SCOPE_SINCE, _SCOPES = 6, 0b11
"""No abstract Unix sockets and no signals to the outside."""

_ARCHITECTURES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
)
"""AUDIT_ARCH of a machine, and the column of `_DENIED` that has its numbers."""

_DENIED: Final[Mapping[str, tuple[int | None, int | None]]] = MappingProxyType(
    {
        "socket": (41, 198),
        "connect": (42, 203),
        "bind": (49, 200),
        "listen": (50, 201),
        "fork": (57, None),
        "vfork": (58, None),
        "execve": (59, 221),
        "execveat": (322, 281),
        "kill": (62, 129),
        "tkill": (200, 130),
        "rt_sigqueueinfo": (129, 138),
        "rt_tgsigqueueinfo": (297, 240),
        "pidfd_open": (434, 434),
        "pidfd_getfd": (438, 438),
        "pidfd_send_signal": (424, 424),
        "ptrace": (101, 117),
        "process_vm_readv": (310, 270),
        "process_vm_writev": (311, 271),
        "setrlimit": (160, 164),
        "mount": (165, 40),
        "umount2": (166, 39),
        "pivot_root": (155, 41),
        "chroot": (161, 51),
        "unshare": (272, 97),
        "setns": (308, 268),
        "init_module": (175, 105),
        "finit_module": (313, 273),
        "kexec_load": (246, 104),
        "reboot": (169, 142),
        "open_by_handle_at": (304, 265),
        "bpf": (321, 280),
        "perf_event_open": (298, 241),
        "userfaultfd": (323, 282),
        "keyctl": (250, 219),
        "add_key": (248, 217),
        "io_uring_setup": (425, 425),
        "chmod": (90, None),
        "fchmod": (91, 52),
        "fchmodat": (268, 53),
        "chown": (92, None),
        "lchown": (94, None),
        "fchown": (93, 55),
        "fchownat": (260, 54),
        "setxattr": (188, 5),
        "lsetxattr": (189, 6),
        "mknod": (133, None),
        "mknodat": (259, 33),
        "fchmodat2": (452, 452),
        "fsetxattr": (190, 7),
        "setxattrat": (463, 463),
        "removexattr": (197, 14),
        "lremovexattr": (198, 15),
        "fremovexattr": (199, 16),
        "removexattrat": (466, 466),
        "file_setattr": (469, 469),
        "utime": (132, None),
        "utimes": (235, None),
        "futimesat": (261, None),
        "utimensat": (280, 88),
        "setpriority": (141, 140),
        "ioprio_set": (251, 30),
        "sched_setscheduler": (144, 119),
        "sched_setparam": (142, 118),
        "sched_setattr": (314, 274),
        "fsopen": (430, 430),
        "fsmount": (432, 432),
        "move_mount": (429, 429),
        "open_tree": (428, 428),
        "clock_settime": (227, 112),
        "settimeofday": (164, 170),
        "sethostname": (170, 161),
        "syslog": (103, 116),
        "shmget": (29, 194),
        "msgget": (68, 186),
        "semget": (64, 190),
        "mq_open": (240, 180),
        "socketpair": (53, 199),
        "sendto": (44, 206),
        "sendmsg": (46, 211),
        "sendmmsg": (307, 269),
        # Before its third version Landlock lets files be cut off that may only be read.
        "truncate": (76, 45),
        # Memory that RLIMIT_DATA does not count.
        "memfd_create": (319, 279),
        "memfd_secret": (447, 447),
        "shmat": (30, 196),
        "capset": (126, 91),
    }
)
"""Calls that reading a file never needs, by their numbers on x86-64 and on 64-bit Arm."""
_SECCOMP: Final = (317, 277)
_CLONE: Final = (56, 220)
_CLONE3: Final = 435
_TGKILL: Final = (234, 131)
_PRLIMIT: Final = (302, 261)
_SET_AFFINITY: Final = (203, 122)
_MMAP: Final = (9, 222)
_OPEN: Final[tuple[int | None, ...]] = (2, None)
_OPENAT: Final[tuple[int | None, ...]] = (257, 56)
_OPENAT2: Final = 437
_FCNTL: Final = (72, 25)
_SIGNAL_OTHERS: Final = (8, 10, 15)
"""F_SETOWN, F_SETSIG and F_SETOWN_EX of fcntl: a signal to another process."""
_CLONE_THREAD: Final = 0x10000
_MAP_SHARED, _MAP_ANONYMOUS, _MAP_GROWSDOWN = 0x01, 0x20, 0x100
_SET_FILTER, _ALL_THREADS = 1, 1

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _ANSWER = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_FOREIGN_NUMBERS: Final = 0x40000000
"""Where the numbers of x32 begin, a second way to every call of x86-64."""


BASE_BYTES: Final = 4 << 30
GROWTH: Final = 10
"""A reader of a model may take so many bytes, and so many times the size of the files: they are
held as the framework's weights, as OpenVINO's, as those that a second library runs, and packed by
each."""
THREAD_BYTES: Final = 16 << 20
WRITTEN_BYTES, WRITTEN_GROWTH = 64 << 20, 4
"""What it may write of the same network; INT8 may become FP32."""

CPU_S: Final = 60.0
CPU_S_PER_BYTE: Final = 1 / (4 << 20)
MOST_S: Final = 3600.0
"""Of processor time and of waiting, however large a file is."""
_BLOCK_BYTES: Final = 512
"""In which st_blocks counts."""
WALL_S: Final = 300.0
"""Of reading, compiling or running once, for a small file and two processors."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a process may take to read a model that a stranger wrote.

    Bytes are those of memory that it writes to and of the longest file that it may write, seconds
    those of processor time and of wall-clock time.
    """

    data_bytes: int
    file_bytes: int
    cpu_s: float
    wall_s: float

    @classmethod
    def of(cls, size: int, processors: int) -> "Allowance":
        """Return what files of so many bytes may take on so many processors."""
        return cls(
            data_bytes=BASE_BYTES + GROWTH * size + THREAD_BYTES * processors,
            file_bytes=WRITTEN_BYTES + WRITTEN_GROWTH * size,
            cpu_s=min(MOST_S, (CPU_S + size * CPU_S_PER_BYTE) * max(1.0, processors / 2)),
            wall_s=min(MOST_S, WALL_S + size * CPU_S_PER_BYTE),
        )


def occupied_bytes(path: Path) -> int:
    """Return the bytes that a file holds, without those that it only claims to have."""
    found = path.stat()
    return min(found.st_size, found.st_blocks * _BLOCK_BYTES)


def path_of_python(*, own_code: bool = False) -> list[str]:
    """Return where this process finds modules, for a child that is to find the same libraries.

    The current folder is left out, as all of what is returned may be read by the child, unless the
    user's own code is to be found too.
    """
    here = os.path.realpath(Path.cwd())
    return [place for place in sys.path if place and (own_code or os.path.realpath(place) != here)]


def limit(
    *, data_bytes: int | None = None, space_bytes: int | None = None, file_bytes: int = 0
) -> None:
    """Limit what this process may take; it leaves no core file behind.

    Limited are memory that it writes to, its address space, files that are mapped with it, None
    leaving either open, and the longest file that it may write.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for which, wanted in (
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_DATA, data_bytes),
        (resource.RLIMIT_AS, space_bytes),
    ):
        if wanted is None:
            continue
        _, most = resource.getrlimit(which)
        chosen = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(which, (chosen, chosen))


def isolate(*, readable: Iterable[Path] = (), writable: Iterable[Path] = ()) -> tuple[str, ...]:
    """Give up network, other processes and all files but these, for good.

    Python, its packages, the system's libraries and what it tells of itself stay readable, as
    files, and folders with all that is in them, that are named; in writable folders files may be
    made, read, changed and removed. Returned is what the kernel gave, of "landlock" and "seccomp".
    """
    if not sys.platform.startswith("linux"):
        return ()
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return ()
    _keep_capabilities(library, _READ_ANY_FILE)
    given = []
    if _restrict_files(library, (*_own_files(), *readable), tuple(writable)):
        given.append("landlock")
    if _refuse_calls(library):
        given.append("seccomp")
    return tuple(given)


def _keep_capabilities(library: ctypes.CDLL, kept: int) -> None:
    """Give up what root may do and others may not, but for a set of capabilities."""
    head, sets = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0), ctypes.create_string_buffer(24)
    if library.capget(head, sets) == 0:
        # Effective, permitted and inheritable, 32 bits each; then the same for higher ones.
        effective, permitted, *_ = struct.unpack("<6I", sets.raw)
        library.capset(head, struct.pack("<6I", effective & kept, permitted & kept, 0, 0, 0, 0))


def _own_files() -> list[Path]:
    """Return what Python and native libraries read of the system."""
    places = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path]
    places += ["/usr", "/lib", "/lib64", "/bin", "/opt/lib", "/etc/ld.so.cache", "/etc/localtime"]
    places += [f"/proc/{name}" for name in ("self", "cpuinfo", "meminfo", "stat", "sys")]
    places += ["/etc/mime.types", "/etc/ssl/openssl.cnf", "/sys", "/dev/urandom"]
    places += ["/dev/random", "/dev/zero", "/dev/null"]
    return [Path(place) for place in places if place]


def _restrict_files(
    library: ctypes.CDLL, readable: Iterable[Path], writable: Iterable[Path]
) -> bool:
    version = library.syscall(_CREATE_RULESET, None, 0, _RULESET_VERSION)
    if version < 1:
        return False
    handled = _FS_RIGHTS[max(since for since in _FS_RIGHTS if since <= version)]
    net = _NET_RIGHTS if version >= _NET_SINCE else 0
    scoped = _SCOPES if version >= _SCOPE_SINCE else 0
    sizes = {True: 24, False: 16 if version >= _NET_SINCE else 8}
    attributes = struct.pack("<QQQ", handled, net, scoped)[: sizes[version >= _SCOPE_SINCE]]
    ruleset = library.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    try:
        reading = _EXECUTE | _READ_FILE | _READ_DIR
        for path in readable:
            _allow(library, ruleset, path, reading & handled)
        _allow(library, ruleset, Path(os.devnull), (_READ_FILE | _WRITE_FILE) & handled)
        for path in writable:
            _allow(library, ruleset, path, handled)
        return bool(library.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(library: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, _O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _FILE_RIGHTS
        rule = struct.pack("<Qi", rights, place)
        library.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(place)


def _refuse_calls(library: ctypes.CDLL) -> bool:
    machine = _ARCHITECTURES.get(platform.machine())
    if machine is None or sys.maxsize < 1 << 32:
        return False
    program = _filter(*machine, os.getpid())
    text = b"".join(struct.pack("<HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(text)
    head = struct.pack("<H6xQ", len(program), ctypes.addressof(buffer))
    return bool(library.syscall(_SECCOMP[machine[1]], _SET_FILTER, _ALL_THREADS, head) == 0)


_Instruction = tuple[int, int, int, int]
"""Of classic BPF: code, jump if, jump if not, operand."""
_REFUSED: Final[_Instruction] = (_ANSWER, 0, 0, _REFUSE | errno.EPERM)
_ABSENT: Final[_Instruction] = (_ANSWER, 0, 0, _REFUSE | errno.ENOSYS)
_ALLOWED: Final[_Instruction] = (_ANSWER, 0, 0, _ALLOW)


def _argument(index: int, high: bool = False) -> _Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index + 4 * high)


def _filter(architecture: int, column: int, process: int) -> list[_Instruction]:
    return [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, architecture),
        _REFUSED,
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _FOREIGN_NUMBERS),
        _REFUSED,
        *_processes(column, process),
        *_memory_and_files(column),
        *(
            line
            for numbers in _DENIED.values()
            if (number := numbers[column]) is not None
            for line in ((_EQUAL, 0, 1, number), _REFUSED)
        ),
        _ALLOWED,
    ]


def _processes(column: int, process: int) -> list[_Instruction]:
    """Return the filter of calls that make, end, place and limit processes."""
    return [
        # Threads are made by clone where there is no clone3; processes by neither.
        (_EQUAL, 0, 1, _CLONE3),
        _ABSENT,
        (_EQUAL, 0, 4, _CLONE[column]),
        _argument(0),
        (_ANY_BIT, 0, 1, _CLONE_THREAD),
        _ALLOWED,
        _REFUSED,
        # A process may end itself, as abort() does.
        (_EQUAL, 0, 4, _TGKILL[column]),
        _argument(0),
        (_EQUAL, 0, 1, process),
        _ALLOWED,
        _REFUSED,
        # Threads place themselves on processors; 0 is the caller.
        (_EQUAL, 0, 4, _SET_AFFINITY[column]),
        _argument(0),
        (_EQUAL, 0, 1, 0),
        _ALLOWED,
        _REFUSED,
        # Limits may be asked for and not set.
        (_EQUAL, 0, 6, _PRLIMIT[column]),
        _argument(2),
        (_EQUAL, 0, 3, 0),
        _argument(2, high=True),
        (_EQUAL, 0, 1, 0),
        _ALLOWED,
        _REFUSED,
    ]


def _memory_and_files(column: int) -> list[_Instruction]:
    """Return the filter of calls that map memory, open files and change what is open."""
    lines = [
        # RLIMIT_DATA does not count memory that could be shared, or grow as a stack does.
        (_EQUAL, 0, 6, _MMAP[column]),
        _argument(3),
        (_ANY_BIT, 2, 0, _MAP_GROWSDOWN),
        (_ANY_BIT, 0, 2, _MAP_ANONYMOUS),
        (_ANY_BIT, 0, 1, _MAP_SHARED),
        _REFUSED,
        _ALLOWED,
        (_EQUAL, 0, 1, _OPENAT2),
        _ABSENT,
        (_EQUAL, 0, 6, _FCNTL[column]),
        _argument(1),
        *((_EQUAL, len(_SIGNAL_OTHERS) - number, 0, which)
          for number, which in enumerate(_SIGNAL_OTHERS)),
        _ALLOWED,
        _REFUSED,
    ]  # fmt: skip
    # To open for reading and cut off at once asks for no right to write.
    for numbers, flags in ((_OPEN, 1), (_OPENAT, 2)):
        if (opens := numbers[column]) is not None:
            lines += [
                (_EQUAL, 0, 5, opens),
                _argument(flags),
                (_ANY_BIT, 0, 2, os.O_TRUNC),
                (_ANY_BIT, 1, 0, os.O_WRONLY | os.O_RDWR),
                _REFUSED,
                _ALLOWED,
            ]
    return lines
