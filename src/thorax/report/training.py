"""How a run was trained: its log read as plain JSON, its schedule as a table.

A run folder needs no torch to be reported on, and no checkpoint: its log says everything.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from thorax.errors import DataError
from thorax.files.documents import parse_toml, read_limited, read_line
from thorax.report.series import Document
from thorax.report.table import Table
from thorax.report.text import interval_text, rate_text

LOG: Final = "train.jsonl"
RECIPE: Final = "recipe.toml"

_MOST_BYTES: Final = 1 << 28
_SHOWN_VALUE: Final = 40

_POINTS: Final = 400
"""Of a curve; a plot shows no more."""

_SCHEDULE: Final = {
    "kind": "Decay",
    "batch": "Global batch",
    "epochs": "Epochs",
    "steps_per_epoch": "Updates an epoch",
    "steps": "Updates",
    "warmup_steps": "Updates of warm-up",
    "start": "Learning rate at the start",
    "peak": "Highest learning rate",
    "end": "Learning rate at the end",
}


_ALWAYS: Final = ("optimizer.kind", "optimizer.weight_decay")
"""Settings of a recipe that are shown though all runs have the same."""


def read_run(run: Path) -> dict[str, Any]:
    """Return what the log of a run says, with the keys of a document of `train` and some more.

    `run` (name of the folder), `finished`, `starts` (1 and one for each time it was resumed),
    `recipe` (settings by dotted name), `schedule` and `ranks` where it says so, and `curve`: means
    over stretches of updates, their end in epochs as `epoch`. What an interrupted run logged past
    the update that it was resumed from was trained again and is left out. A last line that is still
    being written is, too.

    Raises:
        DataError: `training-log-damaged` for a line that is no event of a run, or a recipe that
            cannot be read.
    """
    start: dict[str, Any] = {}
    curve: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    starts, finished = 0, False
    for number, line in _whole_lines(run / LOG):
        try:
            event = read_line(line.encode())
            finished = event["event"] == "end"
            match event["event"]:
                case "start":
                    start, starts, done = event, starts + 1, int(event["resumed_step"])
                    curve = [entry for entry in curve if entry["step"] <= done]
                    history = [entry for entry in history if entry["step"] <= done]
                case "step":
                    curve.append(_numbers(event, "step", "loss", "learning_rate"))
                case "epoch":
                    history.append(event | _numbers(event, "step", "epoch"))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise DataError(
                "training-log-damaged",
                f"{run / LOG}, line {number}: {type(error).__name__}: {error}; it is no event of a "
                "training run; delete the line or restore the file",
            ) from error
    said = {key: start[key] for key in _SAID if start.get(key) is not None}
    return {
        "command": "train",
        "run": Path(os.path.realpath(run)).name,
        "finished": finished,
        "starts": starts,
        **said,
        **_recipe(run / RECIPE),
        **_speed(history),
        "history": history,
        "curve": _thinned(_in_epochs(curve, start, history)),
    }


_SAID: Final = ("topology", "precision", "device", "ranks", "threads", "steps", "schedule")


def _recipe(path: Path) -> dict[str, Any]:
    """Return the settings of a run by dotted name; nothing where it has no recipe."""
    if not path.exists():
        return {}
    try:
        return {"recipe": _dotted(parse_toml(read_limited(path)))}
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            "training-log-damaged", f"{path}: {said}; restore the file, or remove it"
        ) from error


def _dotted(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            settings |= _dotted(value, f"{prefix}{key}.")
        else:
            settings[f"{prefix}{key}"] = value
    return settings


def run_line(document: Document) -> str:
    """Return in a line what was trained, how far, how fast and how well."""
    parts = [str(document[key]) for key in ("run", "topology") if document.get(key)]
    if document.get("steps") is not None:
        steps = f"{document['steps']:,} steps"
        if not document.get("finished", True):
            done = max((round(entry["step"]) for entry in _entries(document)), default=0)
            steps = f"not finished, {done:,} of {steps}"
        parts.append(steps)
    if document.get("starts", 1) > 1:
        times = document["starts"] - 1
        parts.append(f"resumed {'once' if times == 1 else f'{times} times'}")
    if document.get("ranks"):
        parts.append("1 rank" if document["ranks"] == 1 else f"{document['ranks']:,} ranks")
    if document.get("precision"):
        where = f" on {str(document['device']).upper()}" if document.get("device") else ""
        parts.append(str(document["precision"]).upper() + where)
    if document.get("images_per_s"):
        parts.append(f"{rate_text(document['images_per_s'])} images/s")
    if document.get("data_wait") is not None:
        parts.append(f"data wait {document['data_wait']:.1%}")
    if document.get("mean_auroc") is not None:
        parts.append(f"mean AUROC {interval_text(document['mean_auroc'])}")
    elif history := document.get("history"):
        reached = interval_text(history[-1].get("val_mean_auroc"))
        parts.append(f"mean AUROC {reached} after epoch {history[-1]['epoch']}")
    return ", ".join(parts)


def schedule_table(documents: Sequence[Document]) -> Table | None:
    """Return the resolved schedules, a column a run, and below them how else the runs differ.

    None when no document has one.
    """
    kept = [document for document in documents if document.get("schedule")]
    if not kept:
        return None
    names = [str(one.get("run") or one.get("topology") or "run") for one in kept]
    schedules = [document["schedule"] for document in kept]
    rows = [
        (label, *(_figure(schedule.get(key)) for schedule in schedules))
        for key, label in _SCHEDULE.items()
        if any(schedule.get(key) is not None for schedule in schedules)
    ]
    return Table("Resolved schedule", ("", *names), (*rows, *_settings(kept)))


def _settings(documents: Sequence[Document]) -> list[tuple[str, ...]]:
    """Return the optimizer and every setting that is not the same in all runs, a row each."""
    recipes = [document.get("recipe") or {} for document in documents]
    rows = []
    for key in dict.fromkeys(key for recipe in recipes for key in recipe):
        values = [str(recipe.get(key, "")) for recipe in recipes]
        if key in _ALWAYS or len(set(values)) > 1:
            rows.append((key, *(value[:_SHOWN_VALUE] for value in values)))
    return rows


def _whole_lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = read_limited(path, _MOST_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            "training-log-damaged", f"{path}: {said}; a log in UTF-8 is needed"
        ) from error
    whole, _, _ = text.rpartition("\n")
    yield from enumerate(whole.split("\n") if whole else (), start=1)


def _numbers(event: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return the event if those keys are numbers; what was not finite is null in a log."""
    for key in keys:
        if not isinstance(event[key], int | float) and not (key == "loss" and event[key] is None):
            raise TypeError(f"{key} is {event[key]!r}, not a number")
    return dict(event)


def _entries(document: Document) -> Sequence[Mapping[str, Any]]:
    return [*document.get("history", ()), *document.get("curve", ())]


def _speed(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return images per second and the share of waiting over all epochs."""
    timed = [entry for entry in history if entry.get("train_s") and entry.get("images")]
    if not timed:
        return {}
    elapsed = math.fsum(entry["train_s"] for entry in timed)
    waited = math.fsum(entry["train_s"] * (entry.get("data_wait") or 0.0) for entry in timed)
    images = sum(entry["images"] for entry in timed)
    return {"images_per_s": images / elapsed, "data_wait": waited / elapsed}


def _in_epochs(
    curve: Sequence[Mapping[str, Any]],
    start: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return the curve against epochs done; empty when nothing says how many updates one has."""
    per_epoch = (start.get("schedule") or {}).get("steps_per_epoch")
    if not per_epoch and history:
        per_epoch = history[0]["step"] / history[0]["epoch"]
    if not per_epoch:
        return []
    return [{**entry, "epoch": entry["step"] / per_epoch} for entry in curve]


def _thinned(curve: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return at most `_POINTS` points: means of neighbours, at the last of them."""
    size = math.ceil(len(curve) / _POINTS) or 1
    thin = []
    for begin in range(0, len(curve), size):
        group = curve[begin : begin + size]
        point = dict(group[-1])
        for key in ("loss", "images_per_s", "data_wait"):
            values = [entry[key] for entry in group if entry.get(key) is not None]
            point[key] = math.fsum(values) / len(values) if values else None
        thin.append(point)
    return thin


def _figure(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value or "")
