"""Whether a checkpoint or the folder of a run is still what was written, without torch.

Every file of a run knows its digest or has it told by a neighbour: `checkpoint.json` and
`begun.json` hold their own, the weights' are in the card and the recipe's in `begun.json`, each
line of the log ends in a check, and TensorBoard's records have checksums.
"""

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from thorax.errors import ModelError
from thorax.files import atomic
from thorax.files.documents import Piece, document_digest, parse_json, read_limited, read_line
from thorax.results.training import LOG, RECIPE
from thorax.training.card import (
    BEGUN,
    CARD,
    OPTIMIZER,
    WEIGHTS,
    newest_first,
    read_begun,
    read_card,
    require_digest,
)

RESULT: Final = "train.json"
EVENTS: Final = "tensorboard"

_POLYNOMIAL: Final = 0x82F63B78
"""Of CRC-32C, bits reversed (RFC 3720, section B.4)."""

_MOST_BYTES: Final = 1 << 28
"""Of a log or an event file; a run of a million updates writes less."""


def is_run(path: Path) -> bool:
    """Return whether a folder is that of a run, or a checkpoint."""
    return any((path / name).is_file() for name in (CARD, BEGUN)) or bool(newest_first(path))


def verify(path: Path) -> Iterator[Piece]:
    """Yield every file of a checkpoint folder, or of a run's, with what is wrong with it.

    Raises:
        ModelError: `checkpoint-missing` for a folder that is neither.
    """
    if (path / CARD).is_file():
        yield from _checkpoint(path, "")
        return
    if not is_run(path):
        raise ModelError(
            "checkpoint-missing", f"{path} holds no checkpoint ({CARD}), nor a run with one"
        )
    yield from _beginning(path)
    if (path / LOG).is_file():
        lines = damaged_lines(path / LOG)
        shown = ", ".join(map(str, lines[:3])) + (" ..." if len(lines) > 3 else "")
        damage = f"lines {shown} are not what was written; delete them, only curves lose by it"
        yield Piece.of(path, LOG, damage if lines else None)
    if (path / RESULT).is_file():
        yield Piece.of(path, RESULT, _result_damage(path / RESULT))
    for events in sorted((path / EVENTS).glob("events.out.tfevents.*")):
        yield Piece.of(path, f"{EVENTS}/{events.name}", _events_damage(events))
    kept: set[str] = set()
    for folder in newest_first(path):
        yield from _checkpoint(path, f"{folder.name}/")
        with contextlib.suppress(ModelError):
            kept.add(read_card(folder).kept)
    for name in sorted(kept - {"", *(folder.name for folder in newest_first(path))}):
        yield Piece(name, 0, "the run's result is missing; restore it, or train again")


def damaged_lines(path: Path) -> list[int]:
    """Return the numbers of the lines of a log, from 1, that are not what was written.

    A last line without its end was cut off by a kill, and is left out.
    """
    damaged = []
    lines = read_limited(path, _MOST_BYTES).splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if line.endswith(b"\n"):
            try:
                read_line(line)
            except ValueError:
                damaged.append(number)
    return damaged


def _beginning(run: Path) -> Iterator[Piece]:
    if not (run / BEGUN).is_file():
        yield Piece(BEGUN, 0, "it is missing, so that the run cannot be resumed; restore it")
        return
    try:
        begun = read_begun(run)
    except ModelError as error:
        yield Piece.of(run, BEGUN, error.message)
        return
    yield Piece.of(run, BEGUN, None)
    assert begun is not None
    same = (run / RECIPE).is_file() and atomic.sha256(run / RECIPE) == begun.recipe_sha256
    yield Piece.of(run, RECIPE, None if same else "it is not what was written; --resume repairs it")


def _checkpoint(root: Path, prefix: str) -> Iterator[Piece]:
    folder = root / prefix
    try:
        card = read_card(folder)
    except ModelError as error:
        yield Piece.of(root, prefix + CARD, error.message)
        for name in (WEIGHTS, OPTIMIZER):
            yield Piece.unknown(root, prefix + name, CARD)
        return
    yield Piece.of(root, prefix + CARD, None)
    for name, digest in ((WEIGHTS, card.weights_sha256), (OPTIMIZER, card.optimizer_sha256)):
        damage = None
        try:
            require_digest(folder / name, digest)
        except ModelError as error:
            damage = error.message
        yield Piece.of(root, prefix + name, damage)


def _result_damage(path: Path) -> str | None:
    remedy = "`thorax train` with --resume writes it again"
    try:
        document = parse_json(read_limited(path, _MOST_BYTES))
    except ValueError as error:
        return f"it cannot be read: {error}; {remedy}"
    if isinstance(document, dict) and document.get("sha256") == document_digest(document):
        return None
    return f"it is not what was written; {remedy}"


def _events_damage(path: Path) -> str | None:
    """Return what is wrong with an event file; a last record that a kill cut off is not."""
    content = memoryview(read_limited(path, _MOST_BYTES))
    place = 0
    while place + 12 <= len(content):
        length, check = struct.unpack_from("<QI", content, place)
        if _masked_crc(content[place : place + 8]) != check:
            return f"the record at byte {place} is not what was written; delete the file"
        end = place + 12 + length + 4
        if end > len(content):
            return None
        (check,) = struct.unpack_from("<I", content, end - 4)
        if _masked_crc(content[place + 12 : end - 4]) != check:
            return f"the record at byte {place} is not what was written; delete the file"
        place = end
    return None


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE: Final = _table()


def _masked_crc(data: memoryview) -> int:
    """Return the CRC-32C of bytes, masked as TensorFlow's record_writer does it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
