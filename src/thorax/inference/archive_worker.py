"""Answers the shards of an archive: an engine of one thread a stream, here or in an actor.

Every engine is compiled with as many threads as streams, so each image is computed by one thread
whoever computes it: how many threads share a sum may change its last bits.
"""

import os
import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy.typing as npt
import openvino as ov

from thorax import __version__, artifact
from thorax.artifact import Artifact
from thorax.devices.arithmetic import arithmetic_of
from thorax.devices.engine import Engine, HostResources
from thorax.devices.engine import compile as compile_artifact
from thorax.devices.extensions import add_extensions
from thorax.devices.process_core import open_core
from thorax.errors import ThoraxError
from thorax.inference.archive_files import (
    PLAN,
    Head,
    Shard,
    begin,
    read_inputs,
    read_shard,
    write_shard,
)
from thorax.inference.archive_plan import extension_digest, read_plan, require_cards
from thorax.inference.classify import OnProgress
from thorax.inference.findings import findings_of
from thorax.inference.predictor import Predictor

ATTEMPTS: Final = 3
"""How often a shard is begun in one run before it is given up."""


@dataclass(frozen=True, slots=True)
class Job:
    """What actors compute, the same for all. Paths are absolute.

    `out` is the folder of the run, on a file system that all machines share, `plan` the SHA-256 of
    its plan, `model` the artifact folder and `card` the `answers_digest` of its card. The engine of
    each actor, of so many threads, must compute in `compute`. Names of inputs are relative to
    `folder`, None where none is. Extensions are as the command took them, with the digests of their
    files as `thorax.inference.archive_plan.extension_digest` has them. Versions must be there.
    """

    out: str
    plan: str
    model: str
    card: str
    compute: str
    threads: int
    folder: str | None
    extensions: tuple[str, ...] = ()
    extension_digests: tuple[str, ...] = ()
    thorax: str = __version__
    openvino: str = ov.__version__


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a shard.

    Of the images answered `failed` are those that could not be read. `attempt` is of this run, from
    1; `error` is why it was not answered, on one line; empty when it was.
    """

    shard: int
    images: int = 0
    failed: int = 0
    attempt: int = 1
    error: str = ""


def compile_pinned(loaded: Artifact, device: str, threads: int) -> Engine:
    """Compile for many answers a second; on a CPU by so many streams of one thread each."""
    if device != "CPU":
        return compile_artifact(loaded, device, hint="throughput")
    host = HostResources(threads)
    return compile_artifact(loaded, device, hint="throughput", streams=threads, host=host)


def answer(
    engine: Engine,
    out: Path,
    shard: Shard,
    *,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> Head:
    """Answer a shard and write it.

    The engine is compiled with batch 1, `out` is the folder of the run; `workers` files are in work
    at once, as `Predictor.stream` takes it, and `on_progress` is called with 1 for each image.

    Raises:
        DataError: `archive-damaged` when the list of inputs was changed.
        UsageError: `archive-other` when a card was programmed anew meanwhile; nothing is written.
    """
    rows = []
    for prediction in Predictor(engine).stream(read_inputs(out, shard), workers=workers):
        rows.append(findings_of(prediction, engine))
        if on_progress:
            on_progress(1)
    if engine.cards:
        require_cards(engine, arithmetic_of(engine.device))
    return write_shard(out, shard, rows, processor())


def processor() -> str:
    """Return what the CPU calls itself."""
    return str(open_core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


@dataclass(frozen=True, slots=True)
class Sight:
    """What a machine of a cluster has: its name and versions; and what it sees.

    `plan` is the SHA-256 of the plan it sees in the folder of the run; None where it sees none.
    """

    host: str
    thorax: str
    openvino: str
    plan: str | None


def look(job: Job) -> Sight:
    """Return what this machine has and sees."""
    path = Path(job.out) / PLAN
    try:
        plan = str(read_plan(path)["sha256"]) if path.is_file() else None
    except ThoraxError:
        plan = None
    return Sight(platform.node(), __version__, ov.__version__, plan)


class Actor:
    """One engine in a process of a cluster: a class for Ray Data's `map_batches`.

    An image is decoded and inferred by one thread, as many at a time as the actor has threads: what
    travels between processes is numbers of shards, not pixels. Nothing is raised: a refusal is
    the answer to every shard.
    """

    def __init__(self, job: Job) -> None:
        self._out = Path(job.out)
        self._threads = job.threads
        self._refusal = ""
        cv2.setNumThreads(job.threads)
        try:
            if job.folder is not None:
                os.chdir(job.folder)
            if (__version__, ov.__version__) != (job.thorax, job.openvino):
                self._refusal = f"{platform.node()} has Thorax {__version__}, not {job.thorax}"
            added = add_extensions(job.extensions)
            if tuple(map(extension_digest, added)) != job.extension_digests:
                self._refusal = f"{platform.node()} sees another --extension"
            loaded = artifact.load(Path(job.model))
            if loaded.card.answers_digest != job.card:
                self._refusal = f"{platform.node()} sees another model in {job.model}"
            self._engine = compile_pinned(loaded, "CPU", job.threads)
            if self._engine.compute != job.compute:
                self._refusal = f"{platform.node()} computes in {self._engine.compute}"
        except (ThoraxError, OSError) as error:
            self._refusal = f"{platform.node()}: {error}"

    def __call__(self, batch: dict[str, npt.NDArray[Any]]) -> dict[str, list[Any]]:
        """Answer shards: `number`, `offset`, `images` int64 [N], `sha256` and `plan` text [N]."""
        columns = [batch[name] for name in ("number", "offset", "images", "sha256", "plan")]
        reports = [
            self._run(Shard(int(number), int(offset), int(images), str(sha256), str(plan)))
            for number, offset, images, sha256, plan in zip(*columns, strict=True)
        ]
        return {
            name: [getattr(report, name) for report in reports]
            for name in ("shard", "images", "failed", "attempt", "error")
        }

    def _run(self, shard: Shard) -> Report:
        report = Report(shard.number)
        if self._refusal:
            return replace(report, error=self._refusal)
        if (written := read_shard(self._out, shard)) is not None:
            # An actor wrote it and died before it could say so.
            return replace(report, images=written[0].images, failed=written[0].failed)
        try:
            # Ray tries a shard again for as long as its actors die; how often is written down here.
            attempt = begin(self._out, shard)
            if attempt > ATTEMPTS:
                died = f"its actor died {ATTEMPTS} times"
                return replace(report, attempt=attempt, error=died)
            head = answer(self._engine, self._out, shard, workers=self._threads)
        except Exception as error:
            message = " ".join(str(error).split())
            return replace(report, error=f"{platform.node()}: {type(error).__name__}: {message}")
        return Report(shard.number, head.images, head.failed, attempt)
