"""An archive to findings, shard by shard: on this machine, or on a cluster of Ray.

Both ways write the same shards, so that a run that was stopped goes on where it was, either way.
"""

import importlib.util
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from thorax import artifact
from thorax.artifact import Artifact
from thorax.devices.core import simulates
from thorax.devices.describe import describe
from thorax.devices.engine import Engine
from thorax.devices.extensions import add_extensions
from thorax.devices.forecast import forecast_engine
from thorax.errors import PeerError, UsageError
from thorax.files.outputs import require_apart
from thorax.inference.archive_files import (
    LOG,
    Assembled,
    Shard,
    assemble,
    missing,
    open_archive,
)
from thorax.inference.archive_plan import Plan, arithmetic, make_plan
from thorax.inference.archive_worker import ATTEMPTS, Job, Report, answer, compile_pinned
from thorax.inference.classify import OnProgress, Tally, count_warnings, list_sources
from thorax.inference.findings import Memory, open_csv, read_of
from thorax.inference.ray_process import AUTO, Connected, drive
from thorax.inference.sources import STDIN, PassedOver, Source
from thorax.labels import INTENDED_USE
from thorax.processors import processors
from thorax.results.findings import SHOWN, ArchiveRun, ClassifyResult

_PROBE_S: Final = 5.0
"""How long a host may take to accept a connection."""


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """How an archive is classified, and what is written of it beside its folder.

    Attributes:
        device: as `thorax.devices.engine.compile` takes it; a cluster computes on CPUs.
        cluster: None for this process, "auto" for actors on this machine, or host:port of Ray.
        actors: how many on a cluster; None takes as many as there is room for.
        threads: of each actor, or of this process: None takes 1, or a thread a processor.
        shard_size: images of a shard, which is what a killed actor or run does again.
        extensions: custom layers, as `thorax.devices.extensions.add_extension` takes them.
        csv: file to write findings to.
        keep_all: return the findings of all images, not of the first hundred.
        follow_links: whether links to folders are followed.
    """

    device: str = "CPU"
    cluster: str | None = None
    actors: int | None = None
    threads: int | None = None
    shard_size: int = 256
    extensions: tuple[str, ...] = ()
    csv: Path | None = None
    keep_all: bool = True
    follow_links: bool = False

    @property
    def pinned_threads(self) -> int:
        """Threads of each actor, or of this process."""
        return self.threads or (processors() if self.cluster is None else 1)

    @property
    def wanted_actors(self) -> int | None:
        """Actors that a cluster is asked for."""
        if self.cluster == AUTO:
            return self.actors or max(1, processors() // self.pinned_threads)
        return self.actors


def classify_archive(
    model: Path,
    inputs: Sequence[Path],
    out: Path,
    options: ArchiveOptions = ArchiveOptions(),
    *,
    on_progress: OnProgress | None = None,
) -> ClassifyResult:
    """Run an archive through an artifact; what is in `out` already is not asked again.

    The rows are in the order of the inputs, each exactly once, and the same with and without a
    cluster on processors of one kind: each image is computed by one thread. The model is an
    artifact folder, inputs are files, folders of them, and stores; `out` is a folder of the run's
    own, which on a cluster all machines must see. `on_progress` is called with how many more images
    are answered.

    Raises:
        DataError, UsageError: as `thorax.inference.archive_files.open_archive`; `inputs-empty`,
            `cluster-device`, `cluster-address`.
        ModelError, DeviceError: as `thorax.artifact.load` and `thorax.devices.engine.compile`.
        PeerError: as `thorax.inference.ray_process.drive`, or `shard-failed` when shards were given
            up and all others are done.
    """
    loaded, sources, passed_over = _open(model, inputs, options)
    # What cannot be run is refused before Ray, and before anything is written.
    engine = compile_pinned(loaded, options.device, options.pinned_threads)
    computes = arithmetic(engine, add_extensions(options.extensions))
    plan, listed = make_plan(computes, sources, options.shard_size)
    memory = Memory(None if options.keep_all else SHOWN)
    with (
        open_archive(out, plan, listed) as shards,
        open_csv(options.csv, loaded.card.labels) as csv,
    ):
        remaining = missing(out, shards)
        job = _job(loaded, out, plan, options)
        run = _Run(out, on_progress)
        run.answer(engine, job, remaining, options)
        warnings: Counter[str] = Counter()
        archive = assemble(out, shards, [*csv, memory.write, partial(count_warnings, warnings)])
    return ClassifyResult(
        **dict(describe(engine)),
        streams=engine.streams,
        batch=engine.batch,
        tuned=None,
        tuned_because="--out computes each image by one thread, in a batch of its own",
        images=archive.images,
        failed=archive.failed,
        passed_over=tuple(passed_over.names),
        passed_over_reasons=dict(passed_over.reasons),
        warnings=dict(warnings),
        operating_points=dict(loaded.card.thresholds or {}),
        window_s=run.tally.window_s,
        images_per_s=run.images_per_s,
        modelled=forecast_engine(engine) if simulates(options.device) else None,
        cluster=_archive_run(run, options, archive, len(shards), len(remaining)),
        results=tuple(memory.findings),
        counters=(),
        intended_use=INTENDED_USE,
    )


def _open(
    model: Path, inputs: Sequence[Path], options: ArchiveOptions
) -> tuple[Artifact, list[Source], PassedOver]:
    if options.cluster is not None:
        _require_cluster(options.cluster, options.device)
    loaded = artifact.load(model)
    sources, passed_over = list_sources(
        inputs, loaded.card.input.side, follow_links=options.follow_links
    )
    if STDIN in sources:
        raise UsageError(
            "archive-stdin",
            "an archive may be run again, and standard input not: save it as a file",
        )
    require_apart(options.csv, *read_of(model, sources))
    return loaded, sources, passed_over


@dataclass(slots=True)
class _Run:
    """Answers shards, here or on a cluster, and counts what comes of them."""

    out: Path
    on_progress: OnProgress | None
    tally: Tally = field(default_factory=Tally)
    connected: Connected = field(default_factory=Connected)
    retries: int = 0

    @property
    def images_per_s(self) -> float | None:
        """None where all was answered before, which leaves nothing to be timed."""
        return self.tally.images_per_s if self.tally.images > self.tally.failed else None

    def answer(
        self, engine: Engine, job: Job, shards: Sequence[Shard], options: ArchiveOptions
    ) -> None:
        """Answer shards.

        Raises:
            PeerError: `shard-failed`, or as `drive`.
        """
        if options.cluster is None or not shards:
            begin_s = time.perf_counter()
            for shard in shards:
                head = answer(engine, self.out, shard, on_progress=self.on_progress)
                self.tally.count(head.images, head.failed)
            self.tally.window_s = time.perf_counter() - begin_s
            return
        with drive(job, shards, options.cluster, options.wanted_actors, self.out / LOG) as driven:
            self.connected, reports = driven
            begin_s = time.perf_counter()
            self._collect(reports)
            self.tally.window_s = time.perf_counter() - begin_s

    def _collect(self, reports: Iterator[Report]) -> None:
        lost: list[Report] = []
        for report in reports:
            self.retries += min(report.attempt, ATTEMPTS) - 1
            if report.error:
                lost.append(report)
                continue
            self.tally.count(report.images, report.failed)
            if self.on_progress:
                self.on_progress(report.images)
        if lost:
            first = min(lost, key=lambda report: report.shard)
            raise PeerError(
                "shard-failed",
                f"{len(lost)} shards were given up and all others are done; the first is shard "
                f"{first.shard}: {first.error}; run the same again to try them once more, the "
                f"answers so far are in {self.out}",
            )


def _archive_run(
    run: _Run, options: ArchiveOptions, archive: Assembled, shards: int, remaining: int
) -> ArchiveRun:
    return ArchiveRun(
        **asdict(run.connected),
        threads_per_actor=options.pinned_threads,
        shards=shards,
        shards_resumed=shards - remaining,
        retries=run.retries,
        processors=archive.processors,
        rows=str(archive.path),
    )


def _job(loaded: Artifact, out: Path, plan: Plan, options: ArchiveOptions) -> Job:
    return Job(
        out=str(out.absolute()),
        plan=plan.digest,
        model=str(loaded.path.absolute()),
        card=plan.arithmetic.card,
        compute=plan.arithmetic.compute,
        threads=options.pinned_threads,
        folder=plan.folder,
        extensions=options.extensions,
        extension_digests=plan.arithmetic.extensions,
    )


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
    address = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]|([^\s:/\[\]]+)):(\d{1,5})", cluster)
    if address is None or not 0 < int(address[3]) < 65536:
        raise UsageError(
            "cluster-address",
            f"--cluster is {cluster!r}; allowed are {AUTO!r}, which starts Ray on this machine, "
            "and host:port of the head that `ray start --head` named",
        )
    try:
        socket.create_connection((address[1] or address[2], int(address[3])), _PROBE_S).close()
    except OSError as error:
        raise PeerError(
            "cluster-unreachable",
            f"{cluster}: {error.strerror or error}; start Ray there with `ray start --head`, or "
            "use --cluster auto",
        ) from error
