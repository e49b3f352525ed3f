"""Result documents read from files: what the commands print with `--json`, and logs of runs."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from thorax.errors import DataError
from thorax.measure.training import LOG, read_run

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
            folder without results, or as `training.read_run`.
    """
    documents = []
    for path in paths:
        if path.is_dir():
            found = [_read(file) for file in sorted(path.glob("*.json"))]
            kept = [one for one in found if _command(one) in COMMANDS]
            if (path / LOG).is_file():
                # What `train` printed says which checkpoint was kept and what it reached.
                told: dict[str, Any] = next((one for one in kept if one["command"] == "train"), {})
                rest = [one for one in kept if one is not told]
                kept = [read_run(path) | told, *rest]
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
    return documents


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


_KINDS: Final = {list: "array", str: "string", int: "number", float: "number", bool: "boolean"}


def _read(path: Path) -> Any:  # noqa: ANN401 - what a file holds is judged by its command
    """Return what a JSON file holds, heat maps named where they lie."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            "report-unreadable", f"{path}: {error}; a JSON file in UTF-8 is needed"
        ) from error
    if _command(document) != "classify":
        return document
    try:
        for result in document.get("results") or ():
            maps = result.get("heatmaps") or {}
            if not maps.keys() <= result["findings"].keys():
                raise TypeError
            for finding, heatmap in maps.items():
                beside = path.parent / heatmap
                maps[finding] = str(beside if beside.exists() else heatmap)
    except (TypeError, AttributeError, KeyError) as error:
        raise DataError(
            "report-damaged", f"{path}: 'results' is not what classify prints; run it again"
        ) from error
    return document
