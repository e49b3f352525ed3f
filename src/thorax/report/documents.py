"""Result documents read from files: what the commands print with `--json`, and logs of runs."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from thorax.errors import DataError
from thorax.files.documents import parse_json, read_limited
from thorax.results.benchmark import require_undamaged
from thorax.results.findings import ClassifyResult
from thorax.results.pictures import place_pictures
from thorax.results.read import parse_result
from thorax.results.schema import Result
from thorax.results.training import LOG, TrainingRecord, read_run

COMMANDS: Final = (
    *("train", "optimize", "validate", "score", "benchmark", "classify", "demo", "sharpness"),
    *("analyze", "compare", "partition", "fpga analyze", "fpga search", "fpga explore"),
    *("power watch", "power energy", "plan server", "plan cluster", "doctor cluster"),
)
"""Commands whose documents a report shows."""


def load(paths: Iterable[Path]) -> list[Result | dict[str, Any]]:
    """Read result documents.

    Args:
        paths: JSON files, and folders whose JSON files that hold a `command` of `COMMANDS` are
            read in the order of their names; the folder of a training run also gives its log.
            Heat maps named relative to a file are found there.

    Raises:
        DataError: `report-unreadable` or `report-not-a-result` for a file, `report-empty` for a
            folder without results, `report-picture` for a heat map that is none of its document,
            `baseline-damaged` for a benchmark that was changed, or as `results.training.read_run`.
    """
    documents: list[Result | dict[str, Any]] = []
    runs: dict[int, Path] = {}
    for path in paths:
        if path.is_dir():
            found = [_read(file) for file in sorted(path.glob("*.json"))]
            kept = [one for one in found if _command(one) in COMMANDS]
            if (path / LOG).is_file():
                # What `train` printed says which checkpoint was kept and what it reached.
                printed = next((one for one in kept if one["command"] == "train"), None)
                runs[len(documents)] = Path(os.path.realpath(path))
                kept = [_run(path, printed), *(one for one in kept if one is not printed)]
            if not kept:
                raise DataError(
                    "report-empty",
                    f"{path} holds no result of {', '.join(COMMANDS)}; write them there with"
                    " --json > FILE.json",
                )
            documents += kept
            continue
        one = _read(path)
        if _command(one) not in COMMANDS:
            raise DataError(
                "report-not-a-result",
                f"{path} {_what(one)}; a report is made from what {', '.join(COMMANDS)} print with"
                " --json",
            )
        documents.append(one)
    _name_apart(documents, runs)
    return documents


def _run(folder: Path, printed: dict[str, Any] | None) -> TrainingRecord:
    """Return what the log of a run says, and over it what `train` printed of it."""
    record = read_run(folder)
    if printed is None:
        return record
    result = parse_result(printed)
    return record.model_copy(
        update={name: getattr(result, name) for name in result.model_fields_set}
    )


def _name_apart(documents: list[Result | dict[str, Any]], runs: Mapping[int, Path]) -> None:
    """Give runs of one name so much of where they lie that they differ.

    Args:
        documents: in which the runs are replaced.
        runs: folder of each document that is a run, by its place.
    """
    for depth in range(2, max((len(path.parts) for path in runs.values()), default=0)):
        names = {place: documents[place]["run"] for place in runs}
        shared = Counter(names.values())
        alike = {place: path for place, path in runs.items() if shared[names[place]] > 1}
        if len(set(alike.values())) < 2:
            return
        for place, path in alike.items():
            record = documents[place]
            assert isinstance(record, TrainingRecord)
            documents[place] = record.model_copy(update={"run": "/".join(path.parts[-depth:])})


def file_name(value: object) -> str:
    """Return the last part of a path: where files lay on a machine is nobody's business."""
    return str(value).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def _command(document: object) -> str | None:
    """Return which command printed a document; None of one that does not say."""
    name = document.get("command") if isinstance(document, dict | Result) else None
    return name if isinstance(name, str) else None


def _what(document: object) -> str:
    """Return what a foreign document is instead of a result."""
    if not isinstance(document, dict):
        return f"holds a JSON {_KINDS.get(type(document), 'value')} and no object"
    if "command" not in document:
        return "has no key 'command'"
    return f"is of command {document['command']!r}"


_MOST_BYTES: Final = 1 << 28
"""Of a document: `classify` prints some 700 bytes an image."""

_SHOWN: Final = 200

_KINDS: Final = {list: "array", str: "string", int: "number", float: "number", bool: "boolean"}


def _read(path: Path) -> Any:  # noqa: ANN401 - what a file holds is judged by its command
    """Return what a JSON file holds, heat maps named where they lie."""
    try:
        document = parse_json(read_limited(path, _MOST_BYTES))
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)[:_SHOWN]
        raise DataError(
            "report-unreadable", f"{path}: {said}; a JSON file in UTF-8 is needed"
        ) from error
    if _command(document) == "benchmark" and "sha256" in document:
        require_undamaged(document, str(path))
    if _command(document) == "classify":
        try:
            result = parse_result(document)
        except DataError as error:
            raise DataError(error.code, f"{path}: {error.message}") from error
        assert isinstance(result, ClassifyResult)
        return place_pictures(result, path)
    return document
