"""Meters that are other programs: what they print is parsed, what they refuse is translated."""

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Final

from thorax.errors import DeviceError, PeerError
from thorax.power.meter import Meter, Reading
from thorax.power.sentinels import whole_watts

_TIMEOUT_S: Final = 20.0
"""A BMC that is asked over a network takes some 0.2 to 5 s (*assumed*)."""

_MOST_BYTES: Final = 1 << 20
"""That a program may print; `racadm getsensorinfo` of a large server has some 20 kB (*assumed*)."""
_PIECE_BYTES: Final = 1 << 16
_SHOWN: Final = 200

_REFUSALS: Final = re.compile(
    r"unauthori[sz]ed|permission denied|invalid user ?name|password|privilege|"
    r"host key verification|access denied|login failed",
    re.IGNORECASE,
)


def run(words: Sequence[str], *, timeout_s: float = _TIMEOUT_S, secret: str | None = None) -> str:
    """Return what a program printed.

    Args:
        words: the program, looked for on the path, and what it is told; never a password.
        timeout_s: after which it is ended, with all that it started.
        secret: a password, given as the content of the file whose name takes the place of the
            word `{secret}`; it is a pipe, so nothing is on disk, and nothing in a list of
            processes.

    Raises:
        DeviceError: `meter-absent` where there is no such program, `meter-permission` where it
            has no right to the hardware.
        PeerError: `meter-unreachable` after the time-out or where it fails, `meter-refused` where
            that is for want of a right, `meter-answer` where it prints without end.
    """
    program = shutil.which(words[0])
    if program is None:
        raise DeviceError(
            "meter-absent", f"{words[0]} is not on the path; install it where thorax runs"
        )
    read_end, write_end = os.pipe()
    try:
        os.write(write_end, f"{secret or ''}\n".encode())
        os.close(write_end)
        line = [word.replace("{secret}", f"/dev/fd/{read_end}") for word in (program, *words[1:])]
        deadline_s = time.perf_counter() + timeout_s
        status, out, error = _printed_by(line, read_end, deadline_s, words[0], timeout_s)
    except OSError as refused:
        raise DeviceError(
            "meter-absent", f"{program} cannot be started: {refused.strerror}; install it anew"
        ) from refused
    finally:
        os.close(read_end)
    if status:
        raise _failure(words[0], status, out, error)
    return out


def _printed_by(
    line: Sequence[str], passed: int, deadline_s: float, name: str, timeout_s: float
) -> tuple[int, str, str]:
    """Run a program in a group of its own, until it has said all, its time is over or it is much.

    Returns:
        Its status, what it printed, and what it printed to its standard error.
    """
    process = subprocess.Popen(
        line,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(passed,),
        start_new_session=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    try:
        out, error = _read_both(process, deadline_s, name)
        status = process.wait(max(0.0, deadline_s - time.perf_counter()))
    except (TimeoutError, subprocess.TimeoutExpired) as late:
        raise PeerError(
            "meter-unreachable",
            f"{name} did not answer within {timeout_s:g} s; is the BMC up and in reach?",
        ) from late
    finally:
        # What it started and left behind holds its pipes and asks on.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return status, out.decode("utf-8", "replace"), error.decode("utf-8", "replace")


def _read_both(
    process: subprocess.Popen[bytes], deadline_s: float, name: str
) -> tuple[bytes, bytes]:
    assert process.stdout is not None
    assert process.stderr is not None
    printed = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as waiting:
        for descriptor in printed:
            waiting.register(descriptor, selectors.EVENT_READ)
        while waiting.get_map():
            remaining_s = deadline_s - time.perf_counter()
            if remaining_s <= 0:
                raise TimeoutError
            for key, _ in waiting.select(remaining_s):
                piece = os.read(key.fd, _PIECE_BYTES)
                if not piece:
                    waiting.unregister(key.fd)
                printed[key.fd] += piece
            if sum(map(len, printed.values())) > _MOST_BYTES:
                raise PeerError(
                    "meter-answer",
                    f"{name} printed more than {_MOST_BYTES} bytes; is it that program?",
                )
    out, error = printed.values()
    return bytes(out), bytes(error)


def _failure(name: str, status: int, out: str, error: str) -> DeviceError | PeerError:
    lines = [line.strip() for line in error.splitlines()]
    last = next((line for line in reversed(lines) if line), out.strip())[-_SHOWN:]
    output = " ".join(lines) + out
    why = f"{name} failed with status {status}: {last or 'it said nothing'}"
    if "Could not open device" in output:
        return DeviceError(
            "meter-permission",
            f"{why}; ask as root where the driver ipmi_devintf is loaded, or over the network: "
            "ipmi:USER@HOST",
        )
    if "Invalid command" in output:
        return DeviceError("meter-absent", f"{why}; this BMC does not tell power by DCMI")
    if _REFUSALS.search(output):
        return PeerError(
            "meter-refused", f"{why}; check the user, the password or key, and its rights"
        )
    return PeerError(
        "meter-unreachable", f"{why}; is the BMC in reach, and are user and password right?"
    )


class _Program(Meter):
    """A meter that is asked by running a program, of whose words one may stand for a password."""

    def __init__(
        self,
        words: Sequence[str],
        watts: Callable[[str], float],
        timeout_s: float,
        password: str | None = None,
    ) -> None:
        self._words = words
        self._watts = watts
        self._timeout_s = timeout_s
        self._password = password
        self.read()

    def read(self) -> tuple[Reading, ...]:
        """Return the watts of now.

        Raises:
            DeviceError: `meter-absent` or `meter-permission`.
            PeerError: `meter-unreachable`, `meter-refused`, or `meter-answer`.
        """
        begin_s = time.perf_counter()
        printed = run(self._words, timeout_s=self._timeout_s, secret=self._password)
        at_s = (begin_s + time.perf_counter()) / 2
        return (Reading(at_s, (self._watts(printed),)),)


class Ipmi(_Program):
    """The whole machine, as its BMC tells it to `ipmitool dcmi power reading`.

    (DCMI specification 1.5, section 6.6.1, Get Power Reading: watts over the BMC's own sampling
    period, typically a second.)

    Args:
        host: of the BMC; None asks that of this computer through its driver.
        user: there.
        password: of the user; never put into the command line.
        port: UDP; None is the usual 623.
        interface: `lanplus` (IPMI 2.0) or `lan` (1.5).
        timeout_s: for one answer.

    Raises:
        DeviceError: `meter-absent` or `meter-permission`.
        PeerError: `meter-unreachable`, `meter-refused`, or `meter-answer`.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        user: str | None = None,
        password: str | None = None,
        port: int | None = None,
        interface: str = "lanplus",
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self.source = f"ipmi: DCMI of {host}" if host else "ipmi: DCMI"
        words = ["ipmitool"]
        if host:
            words += ["-I", interface, "-H", host, "-R", "2", "-N", "2"]
            words += ["-p", str(port)] if port else []
            words += ["-U", user] if user else []
            words += ["-f", "{secret}"] if password is not None else ["-P", ""]
        super().__init__([*words, "dcmi", "power", "reading"], dcmi_watts, timeout_s, password)


def dcmi_watts(printed: str) -> float:
    """Return the watts of what `ipmitool dcmi power reading` prints.

    Raises:
        PeerError: `meter-answer` where there are none or 0, or the BMC does not measure.
    """
    state = re.search(r"Power reading state is\s*:\s*(\S+)", printed)
    if state and state[1].lower() != "activated":
        raise PeerError(
            "meter-answer",
            f"the BMC's power reading is {state[1]}; activate it: ipmitool dcmi power activate",
        )
    watts = re.search(
        r"Instantaneous power reading\s*:\s*(\d{1,20}(?:\.\d{1,20})?)\s*Watts", printed
    )
    if not watts:
        raise PeerError(
            "meter-answer",
            f"ipmitool printed no instantaneous power but {_shown(printed)}; has this BMC DCMI?",
        )
    return whole_watts(float(watts[1]), "the BMC")


class Racadm(_Program):
    """The whole machine, as the iDRAC of a Dell server tells it to `racadm`.

    (Dell, iDRAC RACADM CLI guide: `getsensorinfo` and the group System.Power of `get`.) Of the two
    the first that answers with watts is asked from then on. A login is USER@HOST, asked through ssh
    with a key (no password is asked for); None runs racadm on this computer.

    Raises:
        DeviceError: `meter-absent`.
        PeerError: `meter-unreachable`, `meter-refused`, or `meter-answer`.
    """

    interval_s = 2.0

    def __init__(self, login: str | None = None, *, timeout_s: float = _TIMEOUT_S) -> None:
        self.source = f"racadm: {login}" if login else "racadm"
        before = (
            ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--", login] if login else []
        )
        try:
            super().__init__([*before, "racadm", "getsensorinfo"], racadm_watts, timeout_s)
        except PeerError as error:
            if error.code == "meter-refused":
                raise
            super().__init__([*before, "racadm", "get", "System.Power"], racadm_watts, timeout_s)


_RACADM: Final = (
    re.compile(
        r"^#?(?:System\.Power\.)?Realtime\.Power\s*=\s*(\d{1,20}(?:\.\d{1,20})?)\s*W?", re.MULTILINE
    ),
    re.compile(
        r"^[^\n]{0,80}?(?:System Board Pwr Consumption|SystemBoardPwrConsumption)"
        r"[^\S\n]+(?!N/?A\b)[A-Za-z-]+(?: (?!N/?A\b)[A-Za-z-]+)?"
        r"[^\S\n]+(\d{1,20}(?:\.\d{1,20})?)[^\S\n]*Watts",
        re.MULTILINE,
    ),
)


def racadm_watts(printed: str) -> float:
    """Return the watts of what `racadm get System.Power` or `racadm getsensorinfo` prints.

    The state of the sensor, Ok or Warning or what it is, is no part of its watts.

    Raises:
        PeerError: `meter-answer` where there are none.
    """
    for form in _RACADM:
        watts = form.search(printed)
        if watts:
            return whole_watts(float(watts[1]), "racadm")
    raise PeerError(
        "meter-answer",
        f"racadm printed no Realtime.Power and no System Board Pwr Consumption but "
        f"{_shown(printed)}; has this server a power sensor?",
    )


def _shown(printed: str) -> str:
    words = " ".join(printed.split())
    return repr(words[:80]) if words else "nothing"
