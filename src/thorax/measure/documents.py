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
)


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
            found = [_result(file) for file in sorted(path.glob("*.json"))]
            kept = [one for one in found if one is not None]
            if (path / LOG).is_file():
                # What `train` printed says which checkpoint was kept and what it reached.
                told = next((one for one in kept if one["command"] == "train"), {})
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
        one = _result(path)
        if one is None:
            raise DataError(
                "report-not-a-result",
                f"{path} has no key 'command' of {', '.join(COMMANDS)}; give what they print with"
                " --json",
            )
        documents.append(one)
    return documents


def _result(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            "report-unreadable", f"{path}: {error}; a JSON file in UTF-8 is needed"
        ) from error
    if not isinstance(document, dict) or document.get("command") not in COMMANDS:
        return None
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
