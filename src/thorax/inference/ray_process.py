"""Ray's process as its parent sees it: started, given a job, listened to, and ended.

`thorax.inference.ray_driver` is what runs in it.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from thorax.errors import PeerError
from thorax.files.outputs import writing
from thorax.inference.archive_files import Shard
from thorax.inference.archive_worker import Job, Report

AUTO: Final = "auto"
"""Ray on this machine alone, started for the run."""

_CONNECT_S: Final = 60.0
"""How long a cluster may take to be joined."""

_START_S: Final = 180.0
"""How long Ray may take to start here: on a busy machine its processes are slow to come."""

_END_S: Final = 30.0
"""How long Ray may take to end."""

_DRIVER: Final = "thorax.inference.ray_driver"


@dataclass(frozen=True, slots=True)
class Connected:
    """The cluster that was joined.

    The address is None for this process alone; `nodes` are machines, `actors` answer.
    """

    address: str | None = None
    nodes: int = 1
    actors: int = 1


@contextmanager
def drive(
    job: Job, shards: Sequence[Shard], cluster: str, actors: int | None, log: Path
) -> Iterator[tuple[Connected, Iterator[Report]]]:
    """Start Ray's process and yield the cluster that it joined, and the report of each shard.

    The cluster is "auto", or host:port of Ray; without a number of actors as many are taken as
    there is room for. `log` is a file for what Ray says; it stays when something went wrong.

    Raises:
        PeerError: `cluster-start`, `cluster-unreachable`, `cluster-failed`, or what the process
            failed of: `cluster-refused`, `cluster-version`, `cluster-folder`, `cluster-room`.
    """
    with _folder(cluster) as folder:
        request = {
            "job": asdict(job),
            "shards": [asdict(shard) for shard in shards],
            "address": None if cluster == AUTO else cluster,
            "actors": actors,
            "folder": folder,
        }
        driver = _Driver(cluster, log)
        try:
            driver.send(request)
            events = driver.events()
            connected = Connected(**next(events))
            yield connected, (Report(**event) for event in events)
            driver.finish()
        finally:
            driver.end()


class _Driver:
    """Ray's process: it takes one job, and tells events, one JSON object a line."""

    def __init__(self, cluster: str, log: Path) -> None:
        self._cluster, self._log = cluster, log
        with writing(log):
            # A link that someone put there is not followed.
            log.unlink(missing_ok=True)
            opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONSAFEPATH": "1"}
        if cluster == AUTO:
            # Nobody else here must run anything there, or need a file in ~/.ray.
            token = secrets.token_hex(32)
            environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        with os.fdopen(opened, "wb") as errors:
            self._process = subprocess.Popen(
                # -P: nothing of the folder that the command was typed in is imported.
                [sys.executable, "-P", "-m", _DRIVER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # Ctrl-C is for this process, which ends that one in good order.
                start_new_session=True,
                env=environment,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input: IO[str] = self._process.stdin
        self._output: IO[str] = self._process.stdout
        self._late = threading.Event()
        self._timer = threading.Timer(_START_S if cluster == AUTO else _CONNECT_S, self._give_up)
        self._timer.start()

    def _give_up(self) -> None:
        self._late.set()
        self._process.kill()

    def send(self, request: object) -> None:
        # One that died already says so by telling nothing.
        with suppress(BrokenPipeError):
            self._input.write(json.dumps(request) + "\n")
            self._input.flush()

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what is told: first of the cluster, then of each shard."""
        for line in self._output:
            event = json.loads(line)
            kind = event.pop("event")
            if kind == "done":
                return
            if kind == "failed":
                raise PeerError(event["code"], event["message"])
            self._timer.cancel()
            yield event
        raise self._silence()

    def _silence(self) -> PeerError:
        """Return the error of a process that ended without a word."""
        if self._late.is_set() and self._cluster == AUTO:
            return PeerError(
                "cluster-start",
                f"Ray did not start on this machine within {_START_S:.0f} s; {self._log} has what "
                "it said, and without --cluster the same run needs no Ray",
            )
        if self._late.is_set():
            return PeerError(
                "cluster-unreachable",
                f"{self._cluster} accepts connections but did not answer as Ray does within "
                f"{_CONNECT_S:.0f} s; name the port that `ray start --head` told, 6379 as a rule",
            )
        return PeerError(
            "cluster-failed",
            f"Ray's process ended before its time; {self._log} says why, and the same command goes "
            "on where this one stopped",
        )

    def finish(self) -> None:
        """Let the process end in good order; its log is of no more use."""
        self._input.close()
        self._process.wait(_END_S)
        self._log.unlink()

    def end(self) -> None:
        """Ask the process to end, and make it."""
        self._timer.cancel()
        with suppress(OSError):
            self._input.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()


@contextmanager
def _folder(cluster: str) -> Iterator[str | None]:
    """Yield a folder for a Ray that is started here; None for one that runs elsewhere.

    At the end it is removed, and what a Ray that was killed left running is killed.
    """
    if cluster != AUTO:
        yield None
        return
    # Sockets lie below it, and the name of a socket has 107 bytes at most.
    folder = tempfile.mkdtemp(prefix="ray-thorax-", dir="/tmp")
    try:
        yield folder
    finally:
        _clear(Path(folder))


def _clear(folder: Path) -> None:
    """Kill what a Ray that was killed left running, and remove its folder.

    Its processes are known by the folder, which all were told: other Rays here are left alone.
    """
    named = str(folder).encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(process.name) != os.getpid() and (
                named in (process / "cmdline").read_bytes()
                or b"THORAX_RAY=" + named in (process / "environ").read_bytes()
            ):
                os.kill(int(process.name), signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
