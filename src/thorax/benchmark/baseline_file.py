"""The document of an earlier benchmark, read to be compared with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from thorax.benchmark.confidence import FEWEST
from thorax.errors import DataError
from thorax.files.documents import document_digest, parse_json, read_limited

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Slices(BaseModel):
    images_per_s: list[_Positive]
    latency_p99_ms: list[_Positive]


class _Environment(BaseModel):
    devices: dict[str, str] | None = None
    processors: int | None = None


class _Read(BaseModel):
    """What is compared of an earlier document; keys that it lacks are not compared."""

    command: Literal["benchmark"]
    images_per_s: _Positive
    scenario: str
    device: str
    devices: list[str] | None = None
    latency_ms: dict[str, _Positive | None] | None = None
    slices: _Slices | None = None
    images_per_s_per_w: _Positive | None = None
    power: dict[str, Any] | None = None
    energy_source: str | None = None
    invalid_because: list[str] | None = None
    environment: _Environment | None = None


def digested(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of `thorax benchmark` with its SHA-256, by which damage to it is found."""
    return {**document, "sha256": document_digest(document)}


def verify(path: Path) -> dict[str, Any]:
    """Return a document of `thorax benchmark`, if it is what was printed.

    Raises:
        DataError: `baseline-unreadable`, or `baseline-damaged`.
    """
    try:
        document = parse_json(read_limited(path))
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            "baseline-unreadable",
            f"{path}: {said}; give what `thorax benchmark --json` printed, or an artifact",
        ) from error
    require_undamaged(document, str(path))
    return dict(document)


def require_undamaged(document: object, name: str) -> None:
    """Refuse what is no document of `thorax benchmark`, or not as it was printed.

    Raises:
        DataError: `baseline-not-a-benchmark`, or `baseline-damaged`.
    """
    if not isinstance(document, dict) or document.get("command") != "benchmark":
        raise DataError(
            "baseline-not-a-benchmark",
            f"{name} is no document of `thorax benchmark` (command: it says another); give what it"
            " printed with --json, or an artifact",
        )
    if "sha256" not in document:
        raise DataError(
            "baseline-damaged",
            f"{name} has no sha256, so that nobody can tell whether it is what was measured; "
            "measure it anew with this Thorax",
        )
    try:
        sound = document_digest(document) == document["sha256"]
    except RecursionError:
        # Nothing that was printed is nested so deeply.
        sound = False
    if not sound:
        raise DataError(
            "baseline-damaged",
            f"{name} was changed after it was printed (SHA-256 differs); take an unchanged copy, or"
            " measure it anew",
        )


def read_baseline(path: Path) -> dict[str, Any]:
    """Return the document of an earlier `thorax benchmark --json`.

    Raises:
        DataError: `baseline-unreadable`, `baseline-damaged` for one that is not as it was printed,
            `baseline-not-a-benchmark` for another document or one whose figures are none, or
            `baseline-no-slices` for one that tells no spread: whatever
            were lost against it, no loss would be sure.
    """
    document = verify(path)
    try:
        read = _Read.model_validate(document, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            "baseline-not-a-benchmark",
            f"{path} is no document of `thorax benchmark` ({where or 'all of it'}: {first['msg']});"
            " give what it printed with --json, or an artifact",
        ) from error
    if read.slices is None or len(read.slices.images_per_s) < FEWEST:
        raise DataError(
            "baseline-no-slices",
            f"{path} has fewer than {FEWEST} slices of its window, so that no loss against it is "
            "ever sure; measure it anew, with a longer --duration where answers were few, or give "
            "its artifact",
        )
    return document
