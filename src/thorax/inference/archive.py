"""An archive to findings, shard by shard: on this machine, or on a cluster of Ray.

Both ways write the same shards, so that a run that was stopped goes on where it was, either way.
"""

import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final

from thorax import artifact
from thorax.artifact import Artifact
from thorax.benchmark.run import describe
from thorax.devices.core import simulates
from thorax.devices.extensions import add_extensions
from thorax.devices.forecast import forecast_engine
from thorax.errors import PeerError, UsageError
from thorax.inference.archive_files import (
    Advance,
    Shard,
    assemble,
    log_path,
    missing,
    open_archive,
)
from thorax.inference.archive_plan import Plan, arithmetic, make_plan
from thorax.inference.archive_worker import ATTEMPTS, Job, Report, answer, compile_pinned
from thorax.inference.classify import SHOWN, Classification, nothing_in
from thorax.inference.findings import csv_writer, read_of, require_apart, writing
from thorax.inference.predictor import find_sources
from thorax.processors import processors

AUTO: Final = "auto"
"""Ray on this machine alone, started for the run."""

_PROBE_S: Final = 5.0
"""How long a host may take to accept a connection."""

_CONNECT_S: Final = 60.0
"""How long a cluster may take to be joined."""

_START_S: Final = 180.0
"""How long Ray may take to start here: on a busy machine its processes are slow to come."""

_END_S: Final = 30.0
"""How long Ray may take to end."""

_DRIVER: Final = "thorax.inference.ray_driver"


def classify_archive(
    model: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    device: str = "CPU",
    cluster: str | None = None,
    actors: int | None = None,
    threads: int | None = None,
    shard_size: int = 256,
    extensions: Sequence[str] = (),
    csv_path: Path | None = None,
    keep_all: bool = True,
    on_progress: Advance | None = None,
) -> Classification:
    """Run an archive through an artifact; what is in `out` already is not asked again.

    The rows are in the order of the inputs, each exactly once, and the same with and without a
    cluster on processors of one kind: each image is computed by one thread.

    Args:
        model: artifact folder.
        inputs: files, folders of them, and stores.
        out: folder of the run, of its own; on a cluster all machines must see it.
        device: as `thorax.devices.engine.compile` takes it; a cluster computes on CPUs.
        cluster: None for this process, "auto" for actors on this machine, or host:port of Ray.
        actors: how many on a cluster; None takes as many as there is room for.
        threads: of each actor, or of this process: None takes 1, or a thread a processor.
        shard_size: images of a shard, which is what a killed actor or run does again.
        extensions: custom layers, as `thorax.devices.extensions.add_extension` takes them.
        csv_path: file to write findings to.
        keep_all: return the rows of all images, not of the first hundred.
        on_progress: called with how many more images are answered.

    Raises:
        DataError: `inputs-empty`, or as `thorax.inference.archive_files.open_archive`.
        ModelError, DeviceError: as `thorax.artifact.load` and `thorax.devices.engine.compile`.
        PeerError: `cluster-unreachable`, `cluster-refused`, `cluster-version`, `cluster-folder`,
            `cluster-room`, `cluster-start`, `cluster-failed`, or `shard-failed` when shards were
            given up and all others are done.
        UsageError: as `thorax.inference.archive_files.open_archive`; `cluster-device`,
            `cluster-address`.
    """
    if cluster is not None:
        _require_cluster(cluster, device)
    loaded = artifact.load(model)
    passed_over: list[Path] = []
    sources = list(find_sources(inputs, loaded.card.input.side, passed_over))
    if not sources:
        raise nothing_in(inputs)
    require_apart(csv_path, *read_of(model, sources))
    available = processors()
    if threads is None:
        threads = available if cluster is None else 1
    # The engine is what a plan and a document are about, and what cannot be run is refused before
    # Ray and before anything is written.
    engine = compile_pinned(loaded, device, threads)
    computes = arithmetic(engine, add_extensions(extensions))
    plan, listed = make_plan(computes, sources, shard_size)
    with (
        open_archive(out, plan, listed) as shards,
        csv_writer(csv_path, loaded.card) as write,
    ):
        left = missing(out, shards)
        result = Classification(
            {
                **describe(engine),
                "streams": engine.streams,
                "batch": engine.batch,
                "tuned": None,
                "tuned_because": "--out computes each image by one thread, in a batch of its own",
            },
            passed_over=tuple(map(str, passed_over)),
        )
        facts = {
            "address": None,
            "nodes": 1,
            "actors": 1,
            "threads_per_actor": threads,
            "shards": len(shards),
            "shards_resumed": len(shards) - len(left),
            "retries": 0,
        }
        if cluster is None:
            begin_s = time.perf_counter()
            for shard in left:
                head = answer(engine, out, shard, on_progress=on_progress)
                result.answered += head.images - head.failed
            result.window_s = time.perf_counter() - begin_s
        elif left:
            job = _job(loaded, out, threads, plan, extensions)
            if cluster == AUTO:
                actors = actors or max(1, available // threads)
            with _driven(job, left, cluster, actors, log_path(out)) as events:
                connected = next(events)
                facts |= {name: connected[name] for name in ("address", "nodes", "actors")}
                begin_s = time.perf_counter()
                facts["retries"] = _collect(events, result, out, on_progress)
                result.window_s = time.perf_counter() - begin_s
        keep = None if keep_all else SHOWN
        whole = assemble(out, shards, write=write, keep=keep)
    result.images, result.failed, result.rows = whole.images, whole.failed, whole.rows
    found = forecast_engine(engine) if simulates(device) else None
    result.modelled = found.result().model_dump(mode="json") if found else None
    result.cluster = {**facts, "processors": list(whole.processors), "rows": str(whole.path)}
    return result


def _require_cluster(cluster: str, device: str) -> None:
    if importlib.util.find_spec("ray") is None:
        raise ModuleNotFoundError("no module named 'ray'", name="ray")
    if device != "CPU":
        raise UsageError(
            "cluster-device",
            f"-d is {device!r}; actors of a cluster compute on CPU alone: leave --cluster away to "
            "use other devices of this machine, with --out resumable too",
        )
    if cluster == AUTO:
        return
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]|([^\s:/\[\]]+)):(\d{1,5})", cluster)
    if found is None or not 0 < int(found[3]) < 65536:
        raise UsageError(
            "cluster-address",
            f"--cluster is {cluster!r}; allowed are {AUTO!r}, which starts Ray on this machine, "
            "and host:port of the head that `ray start --head` named",
        )
    try:
        socket.create_connection((found[1] or found[2], int(found[3])), _PROBE_S).close()
    except OSError as error:
        raise PeerError(
            "cluster-unreachable",
            f"{cluster}: {error.strerror or error}; start Ray there with `ray start --head`, or "
            "use --cluster auto",
        ) from error


def _job(loaded: Artifact, out: Path, threads: int, plan: Plan, extensions: Sequence[str]) -> Job:
    return Job(
        out=str(out.absolute()),
        plan=plan.digest,
        model=str(loaded.path.absolute()),
        card=plan.arithmetic.card,
        compute=plan.arithmetic.compute,
        threads=threads,
        folder=plan.folder,
        extensions=tuple(extensions),
        extension_digests=plan.arithmetic.extensions,
    )


def _collect(
    events: Iterator[dict[str, Any]],
    result: Classification,
    out: Path,
    on_progress: Advance | None,
) -> int:
    """Wait for all shards and return how often one was begun again.

    Raises:
        PeerError: `shard-failed`.
    """
    retries = 0
    lost: list[Report] = []
    for event in events:
        report = Report(**event)
        retries += min(report.attempt, ATTEMPTS) - 1
        if report.error:
            lost.append(report)
            continue
        result.answered += report.images - report.failed
        if on_progress:
            on_progress(report.images)
    if lost:
        first = min(lost, key=lambda report: report.shard)
        raise PeerError(
            "shard-failed",
            f"{len(lost)} shards were given up and all others are done; the first is shard "
            f"{first.shard}: {first.error}; run the same again to try them once more, the answers "
            f"so far are in {out}",
        )
    return retries


@contextmanager
def _driven(
    job: Job, left: Sequence[Shard], cluster: str, actors: int | None, log: Path
) -> Iterator[Iterator[dict[str, Any]]]:
    """Start Ray's process and yield what it tells: first of the cluster, then of each shard.

    Its log stays when something went wrong.

    Raises:
        PeerError: what it failed of.
    """
    # Sockets lie below it, and the name of a socket has 107 bytes at most.
    folder = tempfile.mkdtemp(prefix="ray-thorax-", dir="/tmp") if cluster == AUTO else None
    asked = {
        "job": asdict(job),
        "shards": [asdict(shard) for shard in left],
        "address": None if cluster == AUTO else cluster,
        "actors": actors,
        "folder": folder,
    }
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONSAFEPATH": "1"}
    if cluster == AUTO:
        # Whoever else is on this machine must not run anything there, nor need a file in ~/.ray.
        token = secrets.token_hex(32)
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    with writing(log):
        # A link that someone put there is not followed.
        log.unlink(missing_ok=True)
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with os.fdopen(said, "wb") as said_there:
        driver = subprocess.Popen(
            # -P: nothing of the folder that the command was typed in is imported.
            [sys.executable, "-P", "-m", _DRIVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said_there,
            text=True,
            # Ctrl-C is for this process, which ends that one in good order.
            start_new_session=True,
            env=environment,
        )
    assert driver.stdin is not None
    assert driver.stdout is not None
    late = threading.Event()

    def give_up() -> None:
        late.set()
        driver.kill()

    timer = threading.Timer(_START_S if cluster == AUTO else _CONNECT_S, give_up)
    timer.start()
    try:
        # One that died already says so by telling nothing.
        with suppress(BrokenPipeError):
            driver.stdin.write(json.dumps(asked) + "\n")
            driver.stdin.flush()
        yield _events(driver.stdout, timer, late, cluster, log)
        driver.stdin.close()
        driver.wait(_END_S)
        log.unlink()
    finally:
        timer.cancel()
        _end(driver)
        if folder:
            _clear(Path(folder))


def _events(
    told: IO[str],
    timer: threading.Timer,
    late: threading.Event,
    cluster: str,
    log: Path,
) -> Iterator[dict[str, Any]]:
    for line in told:
        event = json.loads(line)
        kind = event.pop("event")
        if kind == "done":
            return
        if kind == "failed":
            raise PeerError(event["code"], event["message"])
        timer.cancel()
        yield event
    if late.is_set() and cluster == AUTO:
        raise PeerError(
            "cluster-start",
            f"Ray did not start on this machine within {_START_S:.0f} s; {log} has what it said, "
            "and without --cluster the same run needs no Ray",
        )
    if late.is_set():
        raise PeerError(
            "cluster-unreachable",
            f"{cluster} accepts connections but did not answer as Ray does within "
            f"{_CONNECT_S:.0f} s; name the port that `ray start --head` told, 6379 as a rule",
        )
    raise PeerError(
        "cluster-failed",
        f"Ray's process ended before its time; {log} says why, and the same command goes on where "
        "this one stopped",
    )


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


def _end(driver: "subprocess.Popen[str]") -> None:
    """Ask Ray's process to end, and make it."""
    assert driver.stdin is not None
    assert driver.stdout is not None
    with suppress(OSError):
        driver.stdin.close()
    try:
        driver.wait(_END_S)
    except subprocess.TimeoutExpired:
        driver.kill()
        driver.wait()
    driver.stdout.close()
