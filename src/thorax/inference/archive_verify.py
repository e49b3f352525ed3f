"""Verification of an archive's folder: every file of it read from end to end."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from thorax.errors import DataError
from thorax.files.atomic import sha256
from thorax.files.documents import Piece, is_refusal, read_line
from thorax.inference.archive_files import (
    DIGEST,
    INPUTS,
    PLAN,
    RESULTS,
    SHARDS,
    Shard,
    cut,
    read_shard,
    whole,
)
from thorax.inference.archive_plan import read_plan

_AGAIN = "repeat the command that wrote it, which answers its images anew"


def is_archive(out: Path) -> bool:
    """Return whether a folder is that of an archive, by the names in it."""
    return (out / PLAN).is_file() and (out / SHARDS).is_dir()


def verify(out: Path) -> Iterator[Piece]:
    """Yield every file of an archive's folder; nothing is changed.

    A shard that was not answered yet is no piece; a run that goes on may lack the results.
    """
    try:
        plan = read_plan(out / PLAN)
    except DataError as error:
        yield Piece.of(out, PLAN, error.message)
        for path in _files(out):
            yield Piece.unknown(out, path, PLAN)
        return
    yield Piece.of(out, PLAN, None)
    listed = _content(out / INPUTS)
    if listed is None or hashlib.sha256(listed).hexdigest() != plan["inputs"]:
        yield Piece.of(out, INPUTS, "it is missing or not what was written; remove it, and repeat "
                     "the command that wrote it, which writes it anew")  # fmt: skip
        for path in _files(out)[1:]:
            yield Piece.unknown(out, path, INPUTS)
        return
    yield Piece.of(out, INPUTS, None)
    shards = cut(listed, plan["shard_size"], plan["sha256"])
    yield from _shards(out, shards)
    yield from _results(out, shards)


def _shards(out: Path, shards: list[Shard]) -> Iterator[Piece]:
    for shard in shards:
        name = f"{SHARDS}/{shard.number:06d}.jsonl"
        if (out / name).exists():
            yield Piece.of(out, name, None if read_shard(out, shard) else f"{_SHARD}; {_AGAIN}")
        begun = f"{SHARDS}/{shard.number:06d}.begun"
        if (content := _content(out / begun)) is not None:
            yield Piece.of(out, begun, _damage_of_lines(content))
    names = {f"{shard.number:06d}.jsonl" for shard in shards}
    for path in sorted((out / SHARDS).glob("*.jsonl")):
        if path.name not in names:
            yield Piece.of(
                out, f"{SHARDS}/{path.name}", "it is no shard of this archive; remove it"
            )


_SHARD = "it is not what was written, or of another run"


def _results(out: Path, shards: list[Shard]) -> Iterator[Piece]:
    """Compare the results with the shards that they were put together of, and with their digest."""
    if not (out / RESULTS).exists() and not (out / DIGEST).exists():
        return
    remedy = "repeat the command that wrote it, which puts it together anew"
    joined = hashlib.sha256()
    whole_shards = True
    for shard in shards:
        content = read_shard(out, shard)
        whole_shards = whole_shards and content is not None
        joined.update(content[1] if content else b"")
    digest = sha256(out / RESULTS) if (out / RESULTS).is_file() else ""
    stated = _content(out / DIGEST)
    expected = joined.hexdigest() if whole_shards else digest
    line = f"{expected}  {RESULTS}\n".encode()
    sound = digest == expected if whole_shards else stated == line
    yield Piece.of(out, RESULTS, None if sound else f"it is not what was written; {remedy}")
    yield Piece.of(
        out,
        DIGEST,
        None if stated == line else f"it is missing or not what was written; {remedy}",
    )


def _damage_of_lines(content: bytes) -> str | None:
    try:
        for line in content.splitlines(keepends=True):
            read_line(line)
    except ValueError:
        return "it is not what was written; repeat the command, which begins its shard anew"
    return None


def _files(out: Path) -> list[str]:
    """Return the names of all files that a plan or a list of inputs knows."""
    shards = sorted(path.name for path in (out / SHARDS).glob("*.jsonl"))
    names = [INPUTS, *(f"{SHARDS}/{name}" for name in shards), RESULTS, DIGEST]
    return [name for name in names if (out / name).exists()]


def _content(path: Path) -> bytes | None:
    try:
        return whole(path)
    except OSError as error:
        if is_refusal(error):
            raise
        return None
