"""Results read from files: what the commands print with `--json`, and logs of training runs."""

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
    *("train", "optimize", "validate", "score", "data baseline", "benchmark", "classify"),
    *("demo", "sharpness"),
    *("analyze", "compare", "partition", "fpga analyze", "fpga search", "fpga explore"),
    *("power watch", "power energy", "plan server", "plan cluster", "doctor cluster"),
)
"""Commands whose results a report shows, in the order in which it tells of them."""


def read_results(paths: Iterable[Path]) -> list[Result]:
    """Read results.

    Paths are JSON files, and folders whose JSON files that hold a `command` of `COMMANDS` are read
    in the order of their names; the folder of a training run also gives its log. Heat maps named
    relative to a file are found there.

    Raises:
        DataError: `report-unreadable`, `report-not-a-result` or `report-damaged` for a file,
            `report-empty` for a folder without results, `report-picture` for a heat map that is
            none of its document, `baseline-damaged` for a benchmark that was changed, or as
            `results.training.read_run`.
    """
    results: list[Result] = []
    runs: dict[int, Path] = {}
    for path in paths:
        if not path.is_dir():
            results.append(_read_file(path))
            continue
        if (path / LOG).is_file():
            runs[len(results)] = Path(os.path.realpath(path))
        results += _read_folder(path)
    _name_apart(results, runs)
    return results


def _read_file(path: Path) -> Result:
    document = _read(path)
    if _command(document) not in COMMANDS:
        raise DataError(
            "report-not-a-result",
            f"{path} {_what(document)}; a report is made from what {', '.join(COMMANDS)} print"
            " with --json",
        )
    return _parse(document, path)


def _read_folder(folder: Path) -> list[Result]:
    """Return the results in a folder, that of its log first."""
    documents = [(_read(file), file) for file in sorted(folder.glob("*.json"))]
    results = [
        _parse(document, file) for document, file in documents if _command(document) in COMMANDS
    ]
    if (folder / LOG).is_file():
        # What `train` printed says which checkpoint was kept and what it reached.
        printed = next((result for result in results if result.command == "train"), None)
        others = [result for result in results if result is not printed]
        results = [_run(folder, printed), *others]
    if not results:
        raise DataError(
            "report-empty",
            f"{folder} holds no result of {', '.join(COMMANDS)}; write them there with"
            " --json > FILE.json",
        )
    return results


def _run(folder: Path, printed: Result | None) -> TrainingRecord:
    """Return what the log of a run says, and over it what `train` printed of it."""
    record = read_run(folder)
    if printed is None:
        return record
    return record.model_copy(
        update={name: getattr(printed, name) for name in printed.model_fields_set}
    )


def _name_apart(results: list[Result], runs: Mapping[int, Path]) -> None:
    """Give runs of one name, by index and folder, so much of where they lie that they differ."""
    names = {index: path.name for index, path in runs.items()}
    for depth in range(2, max((len(path.parts) for path in runs.values()), default=0)):
        shared = Counter(names.values())
        alike = {index: path for index, path in runs.items() if shared[names[index]] > 1}
        if len(set(alike.values())) < 2:
            break
        names |= {index: "/".join(path.parts[-depth:]) for index, path in alike.items()}
    for index, name in names.items():
        results[index] = results[index].model_copy(update={"run": name})


def _command(document: object) -> str | None:
    name = document.get("command") if isinstance(document, dict) else None
    return name if isinstance(name, str) else None


def _what(document: object) -> str:
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
    try:
        return parse_json(read_limited(path, _MOST_BYTES))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)[:_SHOWN]
        raise DataError(
            "report-unreadable", f"{path}: {reason}; a JSON file in UTF-8 is needed"
        ) from error


def _parse(document: dict[str, Any], path: Path) -> Result:
    """Return the result that a document of a file is, heat maps named where they lie."""
    if document["command"] == "benchmark" and "sha256" in document:
        require_undamaged(document, str(path))
    try:
        result = parse_result(document)
    except DataError as error:
        raise DataError(error.code, f"{path}: {error.message}") from error
    return place_pictures(result, path) if isinstance(result, ClassifyResult) else result
