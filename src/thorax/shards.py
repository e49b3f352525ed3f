"""An archive's answers on disk, a shard a file: what is there is never asked again.

The folder of a run is

    archive.json    what is run on what; another run is refused
    inputs.jsonl    the inputs in order, one JSON object each
    shards/         000000.jsonl, ...: a head {shard, images, failed, processor, sha256 of the rest}
                    and a row an image; 000000.begun: who began it, a line an attempt
    results.jsonl   the rows of all shards in the order of the inputs, once none is missing

A shard is a run of inputs. Its file appears whole, under its name, by renaming; who writes it a
second time writes the same bytes. So every input is in the result exactly once, however often a
process was killed and whoever answered twice.
"""

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import openvino as ov

from thorax import __version__
from thorax.answers import Row, csv_writer, writing
from thorax.artifact import Card
from thorax.errors import DataError, UsageError
from thorax.files import sha256, sync, write_bytes, write_text
from thorax.predict import Source, StoredImage

_FORMAT: Final = 1
_PLAN: Final = "archive.json"
_INPUTS: Final = "inputs.jsonl"
_SHARDS: Final = "shards"
_RESULTS: Final = "results.jsonl"
_LOG: Final = "ray.log"
_OURS: Final = (_PLAN, _INPUTS, _SHARDS, _RESULTS, _LOG)
_WORDS: Final = {"card": "the model", "inputs": "the list of inputs", "shard_size": "--shard-size"}
"""What people call the fields of a plan whose names do not say it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run on what: two runs of the same plan have the same answers.

    Attributes:
        card: `answers_digest` of the artifact's card, which has those of its graph and weights.
        precision: of the artifact.
        device: that computes.
        images: how many inputs there are.
        inputs: SHA-256 of their list, and of the tables of the stores in it.
        folder: that relative names are relative to; None where there are none.
        shard_size: inputs of a shard; the last may have fewer.
        openvino: version of it.
        thorax: version.
        format: of the folder.
    """

    card: str
    precision: str
    device: str
    images: int
    inputs: str
    folder: str | None
    shard_size: int
    openvino: str = ov.__version__
    thorax: str = __version__
    format: int = _FORMAT

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.images // self.shard_size)


@dataclass(frozen=True, slots=True)
class Shard:
    """A run of inputs.

    Attributes:
        number: its place, from 0.
        offset: of its first line in the list of inputs, bytes.
        images: how many inputs it has.
    """

    number: int
    offset: int
    images: int


@dataclass(frozen=True, slots=True)
class Head:
    """What a shard's file says of itself.

    Attributes:
        shard: its number.
        images: rows that follow.
        failed: those with an error.
        processor: what the CPU that answered calls itself.
        sha256: of the rows.
    """

    shard: int
    images: int
    failed: int
    processor: str
    sha256: str


def make_plan(
    card: Card, device: str, sources: Sequence[Source], shard_size: int
) -> tuple[Plan, bytes]:
    """Return the plan of a run, and the list of inputs as it is written."""
    lines = [json.dumps(_input(source)) for source in sources]
    listed = ("\n".join(lines) + "\n").encode("ascii")
    digest = hashlib.sha256(listed)
    for store in dict.fromkeys(one.store for one in sources if isinstance(one, StoredImage)):
        digest.update(sha256(store / "store.json").encode())
    places = (one.store if isinstance(one, StoredImage) else one for one in sources)
    relative = any(not place.is_absolute() for place in places)
    plan = Plan(
        card=card.answers_digest,
        precision=card.precision.value,
        device=device,
        images=len(sources),
        inputs=digest.hexdigest(),
        folder=str(Path.cwd()) if relative else None,
        shard_size=shard_size,
    )
    return plan, listed


@contextmanager
def open_archive(out: Path, plan: Plan, listed: bytes) -> Iterator[list[Shard]]:
    """Hold a folder for one run of a plan and yield all its shards.

    Args:
        out: the folder; made when it is not there.
        plan: of this run; one that the folder has already must be the same.
        listed: the list of inputs, as `make_plan` returned it.

    Raises:
        UsageError: `archive-other` when the folder has another plan, naming what differs;
            `archive-foreign` when it holds something else; `output-unwritable`.
        DataError: `archive-locked`, `archive-damaged`.
    """
    with writing(out):
        (out / _SHARDS).mkdir(parents=True, exist_ok=True)
    with _locked(out):
        if (out / _PLAN).exists():
            _require_same(out, plan)
        else:
            foreign = [
                one.name
                for one in out.iterdir()
                if one.name not in _OURS and not one.name.endswith(".partial")
            ]
            if foreign:
                raise UsageError(
                    "archive-foreign",
                    f"{out} holds {min(foreign)!r}, which is no part of an archive's answers; "
                    "give --out a folder of its own",
                )
            with writing(out):
                write_bytes(out / _INPUTS, listed)
                write_text(out / _PLAN, json.dumps(asdict(plan), indent=2) + "\n")
        _forget_attempts(out)
        yield _cut(plan, listed)


def missing(out: Path, shards: Iterable[Shard]) -> list[Shard]:
    """Return the shards that have no sound file yet; every file is read and verified."""
    return [shard for shard in shards if read_head(out, shard) is None]


def read_inputs(out: Path, shard: Shard) -> list[Source]:
    """Return the inputs of a shard."""
    with (out / _INPUTS).open("rb") as file:
        file.seek(shard.offset)
        return [_source(json.loads(file.readline())) for _ in range(shard.images)]


def begin(out: Path, shard: Shard) -> int:
    """Write down who begins a shard and return which attempt of this run it is, from 1."""
    line = json.dumps({"host": socket.gethostname(), "process": os.getpid()}) + "\n"
    path = _path(out, shard.number).with_suffix(".begun")
    with path.open("a", encoding="ascii") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return len(path.read_bytes().splitlines())


def write_shard(out: Path, shard: Shard, rows: Sequence[Row], processor: str) -> Head:
    """Write the answers of a shard durably: its file is there whole or not at all."""
    assert len(rows) == shard.images
    body = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode("ascii")
    failed = sum(row["error"] is not None for row in rows)
    digest = hashlib.sha256(body).hexdigest()
    head = Head(shard.number, len(rows), failed, processor, digest)
    path = _path(out, shard.number)
    write_bytes(path, json.dumps(asdict(head)).encode("ascii") + b"\n" + body)
    path.with_suffix(".begun").unlink(missing_ok=True)
    return head


def read_head(out: Path, shard: Shard) -> Head | None:
    """Return the head of a shard's file; None where it is missing or is not what was written."""
    read = _read(out, shard)
    return read[0] if read else None


@dataclass(frozen=True, slots=True)
class Assembled:
    """What the shards come to.

    Attributes:
        path: of the file with all rows.
        images: how many rows it has.
        failed: those with an error.
        processors: of all machines that answered, each kind once, sorted.
        rows: all, or the first ones.
    """

    path: Path
    images: int
    failed: int
    processors: tuple[str, ...]
    rows: list[Row]


def assemble(
    out: Path, shards: Sequence[Shard], card: Card, *, csv_path: Path | None, keep: int | None
) -> Assembled:
    """Write the rows of all shards in the order of the inputs, durably, and as a CSV if asked.

    Args:
        out: folder of the run; no shard is missing.
        shards: all of them.
        card: of the network that answered.
        csv_path: file to write findings to.
        keep: rows to return; None returns all.

    Raises:
        DataError: `archive-damaged` when a shard is gone or changed since it was written.
        UsageError: `output-unwritable`.
    """
    failed = 0
    processors: set[str] = set()
    kept: list[Row] = []
    temporary = out / f".{_RESULTS}.{os.getpid()}.partial"
    try:
        with csv_writer(csv_path, card) as write, writing(temporary), temporary.open("wb") as file:
            for shard in shards:
                read = _read(out, shard)
                if read is None:
                    raise DataError(
                        "archive-damaged",
                        f"{_path(out, shard.number)} was changed since it was written; "
                        "run the same again to answer its images anew",
                    )
                head, body = read
                failed += head.failed
                processors.add(head.processor)
                file.write(body)
                if csv_path is not None or keep is None or len(kept) < keep:
                    rows = [json.loads(line) for line in body.splitlines()]
                    for row in rows:
                        write(row)
                    kept += rows if keep is None else rows[: max(0, keep - len(kept))]
        with writing(temporary):
            sync(temporary)
            temporary.replace(out / _RESULTS)
            sync(out)
        _forget_attempts(out)
    finally:
        temporary.unlink(missing_ok=True)
    images = sum(shard.images for shard in shards)
    return Assembled(out / _RESULTS, images, failed, tuple(sorted(processors)), kept)


def plan_digest(out: Path) -> str | None:
    """Return the SHA-256 of the plan that a machine sees in a folder; None where it sees none."""
    path = out / _PLAN
    return sha256(path) if path.is_file() else None


def log_path(out: Path) -> Path:
    """Return the file that a run's Ray writes what it says to."""
    return out / _LOG


def _input(source: Source) -> dict[str, Any]:
    if isinstance(source, StoredImage):
        return {"store": str(source.store), "number": source.number, "name": source.name}
    return {"file": str(source)}


def _source(line: Mapping[str, Any]) -> Source:
    if "store" in line:
        return StoredImage(Path(line["store"]), line["number"], line["name"])
    return Path(line["file"])


def _path(out: Path, number: int) -> Path:
    return out / _SHARDS / f"{number:06d}.jsonl"


def _cut(plan: Plan, listed: bytes) -> list[Shard]:
    shards, offset = [], 0
    lines = listed.splitlines(keepends=True)
    for number in range(plan.shards):
        part = lines[number * plan.shard_size : (number + 1) * plan.shard_size]
        shards.append(Shard(number, offset, len(part)))
        offset += sum(map(len, part))
    return shards


def _read(out: Path, shard: Shard) -> tuple[Head, bytes] | None:
    try:
        first, _, body = _path(out, shard.number).read_bytes().partition(b"\n")
        head = Head(**json.loads(first))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    sound = (head.shard, head.images) == (shard.number, shard.images)
    return (head, body) if sound and hashlib.sha256(body).hexdigest() == head.sha256 else None


def _forget_attempts(out: Path) -> None:
    for begun in (out / _SHARDS).glob("*.begun"):
        begun.unlink()


def _require_same(out: Path, plan: Plan) -> None:
    try:
        found = json.loads((out / _PLAN).read_text("utf-8"))
        differing = [
            field.name for field in fields(plan) if found[field.name] != getattr(plan, field.name)
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            "archive-damaged", f"{out / _PLAN} cannot be read: {error}; remove the folder"
        ) from error
    if differing:
        said = (
            f"{_WORDS.get(name, name)} ({_short(found[name])} there, "
            f"{_short(getattr(plan, name))} here)"
            for name in differing
        )
        raise UsageError(
            "archive-other",
            f"{out} has answers of another run, which differs in {', '.join(said)}; "
            "repeat that run, or give another --out",
        )


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) == hashlib.sha256().digest_size * 2 else text


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the folder for this process alone; a killed process lets go of it."""
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                "archive-locked", f"another run is writing {out}; wait for it or stop it"
            ) from error
        yield
    finally:
        os.close(folder)


Advance = Callable[[int], None]
"""Told how many more images are answered."""
