"""Whether what lies on a disk is still what was written: `thorax verify`."""

from pathlib import Path
from typing import Final, Literal

from thorax.errors import DataError, ModelError
from thorax.results.schema import Part, Result

Kind = Literal[
    "store", "import", "artifact", "run", "archive",
    "fpga-state", "power-log", "benchmark", "document",
]  # fmt: skip

_MODELS: Final = ("artifact", "run")
"""Kinds whose damage is that of a model: status 4, and not 3."""


class VerifiedPiece(Part):
    """One file of what was verified."""

    name: str
    bytes: int
    """Of the file."""
    status: Literal["sound", "damaged", "unknown"]
    """Unknown where what knows its digest is damaged."""
    damage: str | None
    """What is wrong with it, and what to do."""


class VerificationResult(Result):
    """What `thorax verify` read of a path."""

    command: Literal["verify"] = "verify"
    path: Path
    """What was verified."""
    kind: Kind
    pieces: tuple[VerifiedPiece, ...]
    """Its files."""
    damaged: tuple[str, ...]
    """Names of the pieces that are not what was written."""
    unknown: tuple[str, ...]
    """Names of the pieces that cannot be compared, as what knows them is damaged."""

    def require_sound(self) -> None:
        """Refuse a path of which a piece is damaged, naming the first.

        Raises:
            DataError: `verify-damaged`.
            ModelError: `verify-damaged` for an artifact, a checkpoint or a run.
        """
        if not self.damaged:
            return
        first = next(piece for piece in self.pieces if piece.status == "damaged")
        count, unknown = len(self.damaged), len(self.unknown)
        beside = f", {unknown} cannot be compared" if unknown else ""
        verb = "is" if count == 1 else "are"
        kind = ModelError if self.kind in _MODELS else DataError
        raise kind(
            "verify-damaged",
            f"{self.path}: {count} of {len(self.pieces)} pieces {verb} not what was "
            f"written{beside}; {first.name}: {first.damage}",
        )
