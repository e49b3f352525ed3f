"""Compare what lies on a disk with its digests, every file of a path from end to end.

Each kind of folder and document has its own digests; here they are told apart, read piece by piece
and summed up. Nothing is changed, and nothing is taken for sound that could not be compared.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from thorax import artifact
from thorax.data import store_verify
from thorax.data.store import is_store
from thorax.data.store_facts import partial_of
from thorax.errors import DataError, ModelError, UsageError, printable
from thorax.files.atomic import sha256
from thorax.files.documents import Piece, cannot_be_read, document_digest, parse_json, read_limited
from thorax.fpga import card as cards
from thorax.inference import archive_verify
from thorax.power import log
from thorax.results.benchmark import read_undamaged
from thorax.results.verification import Kind, VerificationResult, VerifiedPiece
from thorax.training import verify as runs

Progress = Callable[[int, int], None]

_GARBLED: Final = (
    ValueError, TypeError, KeyError, AttributeError, ArithmeticError, MemoryError,
    RecursionError,
)  # fmt: skip


def _result(path: Path, kind: Kind, pieces: tuple[Piece, ...]) -> VerificationResult:
    return VerificationResult(
        path=path,
        kind=kind,
        pieces=tuple(
            VerifiedPiece(
                name=piece.name,
                bytes=piece.size_bytes,
                status=_status(piece),
                damage=None if piece.damage is None else printable(piece.damage),
            )
            for piece in pieces
        ),
        damaged=tuple(piece.name for piece in pieces if _status(piece) == "damaged"),
        unknown=tuple(piece.name for piece in pieces if not piece.compared),
    )


def _status(piece: Piece) -> Literal["sound", "damaged", "unknown"]:
    if piece.damage is None:
        return "sound"
    return "damaged" if piece.compared else "unknown"


def verify(path: Path, on_progress: Progress | None = None) -> VerificationResult:
    """Read everything of a path and compare it with its digests.

    Args:
        path: a store or where an interrupted import was to make one, an artifact, a checkpoint or
            the folder of a run, an archive's folder, the state file of simulated cards, a power
            log, or a document with a digest; a file of such a folder stands for the folder.
        on_progress: called with (images read, images in all) of a store or an import.

    Raises:
        UsageError: `verify-unknown` when it is nothing that can be verified.
    """
    if path.is_file() and (kind := _kind_of_folder(path.parent)) is not None:
        result = _verify_as(kind, path.parent, on_progress)
        if path.name in (piece.name for piece in result.pieces):
            return result
    for candidate in (path, partial_of(path)) if path.name else (path,):
        kind = _kind_of_file(candidate) if candidate.is_file() else _kind_of_folder(candidate)
        if kind is not None:
            return _verify_as(kind, candidate, on_progress)
    what = "is nothing that Thorax wrote" if path.exists() else "is not there"
    raise UsageError(
        "verify-unknown",
        f"{path} {what}; allowed are a store, an interrupted import, an artifact, a checkpoint, a "
        "run, an archive, the state of simulated cards, a power log and a document with a digest",
    )


def _verify_as(kind: Kind, path: Path, on_progress: Progress | None) -> VerificationResult:
    try:
        pieces: tuple[Piece, ...] = tuple(_VERIFIERS[kind](path, on_progress))
    except OSError as error:
        name = Path(os.fsdecode(error.filename)).name if error.filename else path.name
        pieces = (Piece(name, 0, f"it {cannot_be_read(error)}"),)
    except _GARBLED as error:
        # A stranger may seal anything with a digest of its own.
        reason = f"{type(error).__name__}: {error}"
        pieces = (Piece(path.name, 0, f"it holds what no {kind} has ({reason[:200]}); remove it"),)
    return _result(path, kind, pieces)


def _kind_of_folder(path: Path) -> Kind | None:
    if store_verify.is_import(path):
        return "import"
    if is_store(path):
        return "store"
    if (path / artifact.CARD).is_file():
        return "artifact"
    if archive_verify.is_archive(path):
        return "archive"
    return "run" if runs.is_run(path) else None


def _kind_of_file(path: Path) -> Kind | None:
    """Tell a document by what it holds; one that cannot be read any more is a document still."""
    try:
        with path.open("rb") as file:
            beginning = file.read(4096)
    except OSError:
        return None
    if b'"format": "thorax power log' in beginning or b'"check": "' in beginning:
        return "power-log"
    document = _document(path)
    if {"format", "cards", "sha256"} <= document.keys():
        return "fpga-state"
    if document.get("command") == "benchmark":
        return "benchmark"
    return "document" if beginning.lstrip().startswith(b"{") else None


def _document(path: Path) -> Mapping[str, Any]:
    try:
        document = parse_json(read_limited(path))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _artifact(path: Path, _: Progress | None) -> Iterator[Piece]:
    """Yield the files of an artifact; what its card has to say of them cannot be had without it."""
    card = _document(path / artifact.CARD)
    remedy = "make the artifact again"
    if document_digest(card, "card_sha256") != card.get("card_sha256"):
        yield Piece.of(path, artifact.CARD, f"it is not what was written; {remedy}")
        for name in (artifact.XML, artifact.BIN):
            yield Piece.unknown(path, name, artifact.CARD)
        return
    digests = card.get("files")
    known = digests if isinstance(digests, dict) else {}
    bad = [
        name
        for name in (artifact.XML, artifact.BIN)
        if not (path / name).is_file() or sha256(path / name) != known.get(name)
    ]
    # What is not of the bytes, such as a card of another version, is for the reader to say.
    yield (
        Piece.of(path, artifact.CARD, None)
        if bad
        else _checked(path, artifact.CARD, lambda: artifact.load(path))
    )
    for name in (artifact.XML, artifact.BIN):
        damage = f"it is missing or not what was written; {remedy}"
        yield Piece.of(path, name, damage if name in bad else None)


def _file(check: Callable[[Path], object], path: Path, _: Progress | None) -> Iterator[Piece]:
    yield _checked(path.parent, path.name, partial(check, path))


def _require_digest(path: Path) -> None:
    document = _document(path)
    if document and "sha256" not in document:
        raise UsageError(
            "verify-undigested",
            f"{path} holds no digest of itself, so nothing can be said of it; those of "
            "thorax benchmark hold one",
        )
    if not document or document_digest(document) != document["sha256"]:
        raise DataError("verify-damaged", f"{path} is not what was written; take an unchanged copy")


_VERIFIERS: Final[Mapping[Kind, Callable[[Path, Progress | None], Iterable[Piece]]]] = {
    "store": store_verify.verify,
    "import": store_verify.verify_import,
    "artifact": _artifact,
    "run": lambda path, _: runs.verify(path),
    "archive": lambda path, _: archive_verify.verify(path),
    "fpga-state": partial(_file, cards.verify),
    "power-log": partial(_file, log.verify),
    "benchmark": partial(_file, read_undamaged),
    "document": partial(_file, _require_digest),
}


def _checked(folder: Path, name: str, check: Callable[[], object]) -> Piece:
    try:
        check()
    except (DataError, ModelError) as error:
        return Piece.of(folder, name, error.message)
    return Piece.of(folder, name, None)
