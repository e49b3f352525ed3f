"""How a run was trained: what `thorax train` prints, and what the log of a run says.

A run folder needs no torch to be read, and no checkpoint: its log says everything.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ConfigDict, ValidationError

from thorax.errors import DataError
from thorax.files.documents import document_digest, parse_toml, read_limited, read_line
from thorax.results.schema import Part, Result, first_problem

LOG: Final = "train.jsonl"
RECIPE: Final = "recipe.toml"

_MOST_BYTES: Final = 1 << 28
_POINTS: Final = 400
"""Of a curve; a plot shows no more."""


class EpochRecord(Part):
    """One epoch of a run."""

    model_config = ConfigDict(strict=True)

    epoch: int | float
    """Its number, from 1."""
    loss: float | None = None
    """Mean of its updates, nats; null where it was not finite."""
    val_mean_auroc: float | None = None
    """On the validation split, over the labels defined, 0-1."""
    learning_rate: float | None = None
    """Of its last update."""
    images: int | float | None = None
    """Trained on by all ranks."""
    train_s: float | None = None
    """Wall clock of loading, forward, backward and update."""
    images_per_s: float | None = None
    data_wait: float | None = None
    """Share of that time spent waiting for images, 0-1."""
    validate_s: float | None = None
    """Wall clock of the validation."""


class LoggedEpoch(EpochRecord):
    """One epoch as a line of a log."""

    step: int | float
    """Updates done."""


class LoggedStep(Part):
    """Some updates of a run as a line of its log: means since the line before."""

    model_config = ConfigDict(strict=True)

    step: int | float
    """Updates done."""
    loss: float | None
    """Nats; null where it was not finite."""
    learning_rate: float
    """Of the last update."""
    images_per_s: float | None = None
    data_wait: float | None = None
    """Share of the time spent waiting for images, 0-1."""


class CurvePoint(LoggedStep):
    """Some updates of a run against the epochs done."""

    epoch: float


class Schedule(Part):
    """A schedule in numbers."""

    kind: str | None = None
    batch: int | None = None
    """Images an update, over all ranks."""
    epochs: int | None = None
    steps_per_epoch: int | None = None
    """Updates an epoch."""
    steps: int | None = None
    """Updates of the whole run."""
    warmup_steps: int | None = None
    """Updates of the climb; the last one has the peak."""
    start: int | float | None = None
    """Learning rate of the first update."""
    peak: int | float | None = None
    """Highest learning rate."""
    end: int | float | None = None
    """Learning rate of the last update."""
    warnings: tuple[str, ...] = ()
    """What is likely wrong with the run."""


class LoggedStart(Part):
    """The first line of a run's log, and that of each resumption."""

    resumed_step: int
    """Updates done before."""
    topology: str | None = None
    precision: str | None = None
    device: str | None = None
    ranks: int | None = None
    threads: int | None = None
    steps: int | None = None
    """Updates of the whole run."""
    schedule: Schedule | None = None


class TrainResult(Result):
    """A run that was trained to its end."""

    command: Literal["train"] = "train"
    checkpoint: Path
    """Folder of the kept checkpoint."""
    topology: str
    """Of the network."""
    epoch: int
    """The epoch the kept checkpoint was written after."""
    steps: int
    """Updates of the whole run."""
    ranks: int
    """That trained, at the end."""
    images_per_s: float
    """Images / wall-clock of the training windows: loading, forward, backward and update, without
    validation and saving; of all epochs, resumed or not, and all ranks."""
    mean_auroc: float
    """Of the kept checkpoint on the validation split, over the labels defined. With keep = "best"
    it was chosen by this number, which is therefore optimistic."""
    auroc: Mapping[str, float | None]
    """By label; null where the validation split lacks a class."""
    history: tuple[EpochRecord, ...]
    """One entry an epoch, as in the checkpoint's card."""

    def sealed(self) -> "SealedTrainResult":
        """Return the result with its SHA-256, by which damage to it is found."""
        return SealedTrainResult(**dict(self), sha256=document_digest(self.document()))


class SealedTrainResult(TrainResult):
    """What a run folder keeps of it."""

    sha256: str
    """Of the document without this field, canonical."""


class TrainingRecord(Result):
    """A training run as far as it has come: what the command printed, and what its log says."""

    command: Literal["train"] = "train"
    checkpoint: Path | None = None
    topology: str | None = None
    epoch: int | None = None
    steps: int | None = None
    ranks: int | None = None
    images_per_s: float | None = None
    mean_auroc: float | None = None
    auroc: Mapping[str, float | None] = {}
    history: tuple[EpochRecord, ...] = ()
    """These as `TrainResult` has them; what follows is read from the folder, and never printed."""
    run: str | None = None
    """Name of the folder."""
    finished: bool = True
    starts: int = 1
    """1, and one for each time it was resumed."""
    precision: str | None = None
    """Arithmetic of convolutions."""
    device: str | None = None
    threads: int | None = None
    """Of one operation."""
    schedule: Schedule | None = None
    recipe: Mapping[str, str] = {}
    """Settings by dotted name."""
    data_wait: float | None = None
    """Share of the training time spent waiting for images, 0-1."""
    curve: tuple[CurvePoint, ...] = ()
    """Means over stretches of updates."""


def read_run(run: Path) -> TrainingRecord:
    """Read a run from its log.

    What an interrupted run logged past the update that it was resumed from was trained again and is
    left out. A last line that is still being written is, too.

    Raises:
        DataError: `training-log-damaged` for a line that is no event of a run, or a recipe that
            cannot be read.
    """
    start: LoggedStart | None = None
    curve: list[LoggedStep] = []
    history: list[LoggedEpoch] = []
    starts, finished = 0, False
    for number, line in _whole_lines(run / LOG):
        try:
            event = read_line(line.encode())
            finished = event["event"] == "end"
            match event["event"]:
                case "start":
                    start, starts = LoggedStart.read(event), starts + 1
                    done = start.resumed_step
                    curve = [entry for entry in curve if entry.step <= done]
                    history = [entry for entry in history if entry.step <= done]
                case "step":
                    curve.append(LoggedStep.read(event))
                case "epoch":
                    history.append(LoggedEpoch.read(event))
        except (ValueError, TypeError, KeyError) as error:
            reason = first_problem(error) if isinstance(error, ValidationError) else error
            raise DataError(
                "training-log-damaged",
                f"{run / LOG}, line {number}: {type(error).__name__}: {reason}; it is no event of "
                "a training run; delete the line or restore the file",
            ) from error
    images_per_s, data_wait = _speed(history)
    stated = dict(start or ())
    stated.pop("resumed_step", None)
    return TrainingRecord(
        **{name: value for name, value in stated.items() if value is not None},
        images_per_s=images_per_s,
        history=tuple(history),
        run=Path(os.path.realpath(run)).name,
        finished=finished,
        starts=starts,
        recipe=_recipe(run / RECIPE),
        data_wait=data_wait,
        curve=tuple(_thinned(_in_epochs(curve, start, history))),
    )


def _recipe(path: Path) -> dict[str, str]:
    """Return the settings of a run by dotted name; nothing where it has no recipe."""
    if not path.exists():
        return {}
    try:
        return dict(_dotted(parse_toml(read_limited(path))))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            "training-log-damaged", f"{path}: {reason}; restore the file, or remove it"
        ) from error


def _dotted(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _whole_lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = read_limited(path, _MOST_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            "training-log-damaged", f"{path}: {reason}; a log in UTF-8 is needed"
        ) from error
    whole, _, _ = text.rpartition("\n")
    yield from enumerate(whole.split("\n") if whole else (), start=1)


def _speed(history: Sequence[EpochRecord]) -> tuple[float | None, float | None]:
    timed = [
        (entry.train_s, entry.images, entry.data_wait or 0.0)
        for entry in history
        if entry.train_s and entry.images
    ]
    if not timed:
        return None, None
    elapsed_s = math.fsum(seconds for seconds, _, _ in timed)
    waited_s = math.fsum(seconds * wait for seconds, _, wait in timed)
    images = sum(count for _, count, _ in timed)
    return images / elapsed_s, waited_s / elapsed_s


def _in_epochs(
    curve: Sequence[LoggedStep], start: LoggedStart | None, history: Sequence[LoggedEpoch]
) -> list[CurvePoint]:
    """Return the curve against epochs done; empty when nothing says how many updates one has."""
    schedule = start.schedule if start else None
    per_epoch: float | None = schedule.steps_per_epoch if schedule else None
    if not per_epoch and history:
        per_epoch = history[0].step / history[0].epoch
    if not per_epoch:
        return []
    return [CurvePoint(**dict(entry), epoch=entry.step / per_epoch) for entry in curve]


def _thinned(curve: Sequence[CurvePoint]) -> Iterator[CurvePoint]:
    """Yield at most `_POINTS` points: means of neighbours, at the last of them."""
    size = math.ceil(len(curve) / _POINTS) or 1
    for begin in range(0, len(curve), size):
        group = curve[begin : begin + size]
        yield group[-1].model_copy(
            update={
                "loss": _mean(point.loss for point in group),
                "images_per_s": _mean(point.images_per_s for point in group),
                "data_wait": _mean(point.data_wait for point in group),
            }
        )


def _mean(values: Iterator[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None
