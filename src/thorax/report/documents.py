"""Result documents read from files: what the commands print with `--json`, and logs of runs."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from thorax.errors import DataError
from thorax.files.documents import parse_json, read_limited
from thorax.report.pictures import place_pictures
from thorax.report.training import LOG, read_run
from thorax.results.benchmark import require_undamaged

COMMANDS: Final = (
    *("train", "optimize", "validate", "score", "benchmark", "classify", "demo", "sharpness"),
    *("analyze", "compare", "partition", "fpga analyze", "fpga search", "fpga explore"),
    *("power watch", "power energy", "plan server", "plan cluster", "doctor cluster"),
)
"""Commands whose documents a report shows."""


def load(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Read result documents.

    Args:
        paths: JSON files, and folders whose JSON files that hold a `command` of `COMMANDS` are
            read in the order of their names; the folder of a training run also gives its log.
            Heat maps named relative to a file are found there.

    Raises:
        DataError: `report-unreadable` or `report-not-a-result` for a file, `report-empty` for a
            folder without results, `report-picture` for a heat map that is none of its document,
            `baseline-damaged` for a benchmark that was changed, or as `training.read_run`.
    """
    documents = []
    runs: list[tuple[dict[str, Any], Path]] = []
    for path in paths:
        if path.is_dir():
            found = [_read(file) for file in sorted(path.glob("*.json"))]
            kept = [one for one in found if _command(one) in COMMANDS]
            if (path / LOG).is_file():
                # What `train` printed says which checkpoint was kept and what it reached.
                told: dict[str, Any] = next((one for one in kept if one["command"] == "train"), {})
                rest = [one for one in kept if one is not told]
                run = read_run(path) | told
                runs.append((run, Path(os.path.realpath(path))))
                kept = [run, *rest]
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
    _name_apart(runs)
    return documents


def _name_apart(runs: Sequence[tuple[dict[str, Any], Path]]) -> None:
    """Give runs of one name so much of where they lie that they differ."""
    for depth in range(2, max((len(path.parts) for _, path in runs), default=0)):
        names = [run["run"] for run, _ in runs]
        alike = [(run, path) for run, path in runs if names.count(run["run"]) > 1]
        if len({path for _, path in alike}) < 2:
            return
        for run, path in alike:
            run["run"] = "/".join(path.parts[-depth:])


def file_name(value: object) -> str:
    """Return the last part of a path: where files lay on a machine is nobody's business."""
    return str(value).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def _command(document: object) -> str | None:
    """Return which command printed a document; None of one that does not say."""
    name = document.get("command") if isinstance(document, dict) else None
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
        place_pictures(document, path)
    return document
