"""An archive's answers on disk, a shard a file: what is there is never asked again.

The folder of a run is

    archive.json    what is run on what (`thorax.inference.archive_plan`); another run is refused
    inputs.jsonl    the inputs in order, one JSON object each
    shards/         000000.jsonl, ...: a head {shard, images, failed, processor, plan, sha256 of the
                    rest} and a row an image; 000000.begun: who began it, a line an attempt
    results.jsonl   the rows of all shards in the order of the inputs, once none is missing
    results.sha256  its SHA-256, as `sha256sum -c` takes it

A shard is a run of inputs. Its file appears whole, under its name, by renaming; who writes it a
second time writes the same bytes. So every input is in the result exactly once, however often a
process was killed and whoever answered twice.

Every byte is under a digest: the plan holds its own and that of the inputs, a shard's lines are
compared with its digest by whoever reads them, and a shard's head has a check of itself, the digest
of the plan and that of the rows.
"""

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from thorax.errors import DataError, UsageError
from thorax.files.atomic import (
    LockedError,
    is_ours,
    locked,
    new_file,
    sweep_folder,
    write_bytes,
    write_text,
)
from thorax.files.documents import checked_line, read_limited, read_line
from thorax.files.outputs import writing
from thorax.inference.archive_plan import Plan, require_same
from thorax.inference.findings import Sink, json_line, parse_line
from thorax.inference.sources import Source, StoredImage, ZippedImage
from thorax.results.findings import Findings

PLAN: Final = "archive.json"
INPUTS: Final = "inputs.jsonl"
SHARDS: Final = "shards"
RESULTS: Final = "results.jsonl"
DIGEST: Final = "results.sha256"
LOG: Final = "ray.log"
"""What Ray says in a run."""
_OURS: Final = (PLAN, INPUTS, SHARDS, RESULTS, DIGEST, LOG)


@dataclass(frozen=True, slots=True)
class Shard:
    """A run of inputs.

    `number` is its place, from 0, `offset` that of its first line in the list of inputs, bytes, and
    `sha256` of its lines there, one for each of so many images; `plan` is the SHA-256 of the plan.
    """

    number: int
    offset: int
    images: int
    sha256: str
    plan: str


@dataclass(frozen=True, slots=True)
class Head:
    """What a shard's file says of itself.

    `images` rows follow, `failed` of them with an error, and `sha256` is of them; `processor` is
    what the CPU that answered calls itself, `plan` the SHA-256 of the plan that it was answered by.
    """

    shard: int
    images: int
    failed: int
    processor: str
    plan: str
    sha256: str


@contextmanager
def open_archive(out: Path, plan: Plan, listed: bytes) -> Iterator[list[Shard]]:
    """Hold a folder for one run of a plan and yield all its shards.

    The folder is made when it is not there; a plan that it has already must be the same. `listed`
    is the list of inputs, as `make_plan` returned it.

    Raises:
        UsageError: `archive-other` when the folder has another plan, naming what differs;
            `archive-foreign` when it holds something else; `output-unwritable`.
        DataError: `archive-locked`, `archive-damaged`.
    """
    fresh = not any((out / SHARDS).glob("*.jsonl"))
    if fresh and out.is_dir() and not (out / PLAN).exists():
        _require_empty(out)
    with writing(out):
        (out / SHARDS).mkdir(parents=True, exist_ok=True)
    with _locked(out):
        if (out / PLAN).exists():
            require_same(out / PLAN, plan)
        elif fresh:
            _require_empty(out)
        with writing(out / INPUTS):
            if (out / INPUTS).exists() and whole(out / INPUTS) != listed:
                raise _damaged_inputs(out / INPUTS)
        with writing(out):
            sweep_folder(out / SHARDS)
            if not (out / INPUTS).exists():
                write_bytes(out / INPUTS, listed)
            if not (out / PLAN).exists():
                write_text(out / PLAN, plan.text())
            _forget_attempts(out)
        yield cut(listed, plan.shard_size, plan.digest)


def _require_empty(out: Path) -> None:
    names = [path.name for path in out.iterdir()]
    foreign = [name for name in names if name not in _OURS and not is_ours(name)]
    if foreign:
        raise UsageError(
            "archive-foreign",
            f"{out} holds {min(foreign)!r}, which is no part of an archive's answers; "
            "give --out a folder of its own",
        )


def _damaged_inputs(path: Path) -> DataError:
    return DataError(
        "archive-damaged",
        f"{path} is not what was written; remove that file, and the same command writes it anew",
    )


def missing(out: Path, shards: Iterable[Shard]) -> list[Shard]:
    """Return the shards that have no sound file yet; every file is read and verified."""
    return [shard for shard in shards if read_shard(out, shard) is None]


def read_inputs(out: Path, shard: Shard) -> list[Source]:
    """Return the inputs of a shard.

    Raises:
        DataError: `archive-damaged` when they are not what the plan was made of.
        OSError: when the list cannot be read.
    """
    if not (out / INPUTS).is_file():
        raise _damaged_inputs(out / INPUTS)
    with (out / INPUTS).open("rb") as file:
        file.seek(shard.offset)
        lines = [file.readline() for _ in range(shard.images)]
    if hashlib.sha256(b"".join(lines)).hexdigest() != shard.sha256:
        raise _damaged_inputs(out / INPUTS)
    return [_source(json.loads(line)) for line in lines]


def begin(out: Path, shard: Shard) -> int:
    """Write down who begins a shard and return which attempt of this run it is, from 1.

    Raises:
        DataError: `archive-damaged` when what others wrote down was changed.
    """
    line = checked_line({"host": socket.gethostname(), "process": os.getpid()})
    path = _path(out, shard.number).with_suffix(".begun")
    with path.open("a", encoding="ascii") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    try:
        return len([read_line(line) for line in path.read_bytes().splitlines(keepends=True)])
    except ValueError as error:
        raise DataError(
            "archive-damaged",
            f"{path} is not what was written; repeat the command, which begins its shard anew",
        ) from error


def write_shard(out: Path, shard: Shard, rows: Sequence[Findings], processor: str) -> Head:
    """Write the findings of a shard durably: its file is there whole or not at all."""
    assert len(rows) == shard.images
    body = "".join(map(json_line, rows)).encode("ascii")
    failed = sum(row.error is not None for row in rows)
    digest = hashlib.sha256(body).hexdigest()
    head = Head(shard.number, len(rows), failed, processor, shard.plan, digest)
    path = _path(out, shard.number)
    write_bytes(path, checked_line(asdict(head)).encode("ascii") + body, swept=True)
    path.with_suffix(".begun").unlink(missing_ok=True)
    return head


@dataclass(frozen=True, slots=True)
class Assembled:
    """What the shards come to.

    `path` is of the file with all rows, one an image, `failed` of them with an error; `processors`
    are of all machines that answered, each kind once, sorted.
    """

    path: Path
    images: int
    failed: int
    processors: tuple[str, ...]


def assemble(out: Path, shards: Sequence[Shard], sinks: Sequence[Sink]) -> Assembled:
    """Write the rows of all shards in the order of the inputs, durably.

    No shard is missing from the folder of the run, `out`; each sink gets every row.

    Raises:
        DataError: `archive-damaged` when a shard is gone or changed since it was written.
        UsageError: `output-unwritable`.
    """
    failed = 0
    processors: set[str] = set()
    digest = hashlib.sha256()
    with writing(out / RESULTS):
        (out / DIGEST).unlink(missing_ok=True)
        with new_file(out / RESULTS) as file:
            for shard in shards:
                read = read_shard(out, shard)
                if read is None:
                    raise DataError(
                        "archive-damaged",
                        f"{_path(out, shard.number)} is not what was written; "
                        "run the same again to answer its images anew",
                    )
                head, body = read
                failed += head.failed
                processors.add(head.processor)
                file.write(body)
                digest.update(body)
                for line in body.splitlines():
                    row = parse_line(line)
                    for sink in sinks:
                        sink(row)
        write_text(out / DIGEST, f"{digest.hexdigest()}  {RESULTS}\n")
        _forget_attempts(out)
    images = sum(shard.images for shard in shards)
    return Assembled(out / RESULTS, images, failed, tuple(sorted(processors)))


def _source(line: Mapping[str, Any]) -> Source:
    if "store" in line:
        return StoredImage(Path(line["store"]), line["number"], line["name"])
    if "archive" in line:
        return ZippedImage(Path(line["archive"]), line["member"])
    return Path(line["file"])


def _path(out: Path, number: int) -> Path:
    return out / SHARDS / f"{number:06d}.jsonl"


def cut(listed: bytes, shard_size: int, plan: str) -> list[Shard]:
    """Return all shards of a list of inputs, by the size of a shard and the digest of a plan."""
    shards, offset = [], 0
    lines = listed.splitlines(keepends=True)
    for number, begin in enumerate(range(0, len(lines), shard_size)):
        part = b"".join(lines[begin : begin + shard_size])
        count = min(shard_size, len(lines) - begin)
        shards.append(Shard(number, offset, count, hashlib.sha256(part).hexdigest(), plan))
        offset += len(part)
    return shards


def read_shard(out: Path, shard: Shard) -> tuple[Head, bytes] | None:
    """Return a shard's head and rows; None where it is missing or is not what was written."""
    try:
        first, _, body = whole(_path(out, shard.number)).partition(b"\n")
        head = Head(**read_line(first))
    except (OSError, ValueError, TypeError):
        return None
    same = (head.shard, head.images, head.plan) == (shard.number, shard.images, shard.plan)
    sound = same and hashlib.sha256(body).hexdigest() == head.sha256
    return (head, body) if sound else None


def whole(path: Path) -> bytes:
    """Return what a file of an archive holds; a pipe in its place is not waited for.

    Raises:
        OSError: as `thorax.files.documents.read_limited`.
    """
    return read_limited(path, path.stat().st_size)


def _forget_attempts(out: Path) -> None:
    for begun in (out / SHARDS).glob("*.begun"):
        begun.unlink()


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        with writing(out):
            try:
                stack.enter_context(locked(out))
            except LockedError as error:
                raise DataError(
                    "archive-locked", f"{error.holder} is writing {out}; wait for it or stop it"
                ) from error
        yield
