"""Sharpness of finished runs: which images, which checkpoints, and the document of the command."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from thorax.data.store import Store
from thorax.errors import DataError, UsageError
from thorax.landscape.paths import line, plane
from thorax.landscape.sharpness import CAVEAT, SharpnessSettings, evaluations, measure
from thorax.landscape.surface import Subset, draw
from thorax.training import checkpoint, memory
from thorax.training.card import Card
from thorax.training.checkpoint import Checkpoint
from thorax.training.prepare import identity
from thorax.training.schedules import scaled_peak

_LINE_POINTS: Final = 25
_PLANE_POINTS: Final = 21


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is to be measured, read and checked.

    Attributes:
        checkpoints: one run, or two to be compared.
        store: both were trained on.
        train: images of the training split.
        val: images of the validation split, for the line between two.
        settings: how.
        landscape: whether to draw the plane around each.
    """

    checkpoints: tuple[Checkpoint, ...]
    store: Store
    train: Subset
    val: Subset
    settings: SharpnessSettings
    landscape: bool

    @property
    def images(self) -> int:
        """Images that will be gone through, at most, but for line searches on the manifold."""
        each = evaluations(self.settings) + 1
        each += 2 * _PLANE_POINTS**2 if self.landscape else 0
        between = 3 * len(self.train) + 2 * len(self.val) if len(self.checkpoints) > 1 else 0
        return each * len(self.train) * len(self.checkpoints) + _LINE_POINTS * between


def prepare(
    run: Path,
    store: Store,
    settings: SharpnessSettings,
    *,
    against: Path | None = None,
    landscape: bool = False,
) -> Task:
    """Read the kept checkpoints and draw the images.

    Raises:
        UsageError: `store-side`, `store-labels` or `sharpness-topology`.
        DataError: `sharpness-data` for a store the runs were not trained on, or `split-empty`.
        ModelError: as `checkpoint.load`.
    """
    checkpoints = tuple(checkpoint.load(path) for path in (run, against) if path is not None)
    digest = identity(store)["sha256"]
    for one in checkpoints:
        store.require(one.card.input.side, one.card.label_set)
        if one.card.data.get("sha256") != digest:
            raise DataError(
                "sharpness-data",
                f"{one.path} was trained on another store than {store.path}; sharpness is that of "
                "the training loss: give the store it was trained on",
            )
    if len({one.card.input for one in checkpoints}) > 1 or len(set(map(_form, checkpoints))) > 1:
        raise UsageError(
            "sharpness-topology",
            f"{run} and {against} differ in topology, output stride, width or input; sharpness "
            "compares runs that share them",
        )
    train = draw(store, "train", settings.images, seed=settings.seed)
    val = draw(store, "val", settings.images, seed=settings.seed)
    return Task(checkpoints, store, train, val, settings, landscape)


def execute(
    task: Task, *, on_progress: Callable[[int], None] = lambda images: None
) -> dict[str, Any]:
    """Return the JSON document of `thorax sharpness`; what is not finite in it is null.

    Args:
        task: from `prepare`.
        on_progress: told how many images were gone through since the last word.

    Raises:
        UsageError: `training-memory`.
    """
    side = task.store.side
    passed = f"{task.settings.batch:,} images of {side:,} x {side:,} pixels in a pass"
    with memory.required(passed, "give a smaller --batch, or fewer --images"):
        return _execute(task, on_progress)


def _execute(task: Task, on_progress: Callable[[int], None]) -> dict[str, Any]:
    entries = [_entry(one, task, on_progress) for one in task.checkpoints]
    points = None
    if len(task.checkpoints) > 1:
        first, second = (one.network for one in task.checkpoints)
        points = line(
            first,
            second,
            task.train,
            task.val,
            task.checkpoints[0].card.input,
            points=_LINE_POINTS,
            batch=task.settings.batch,
            on_progress=on_progress,
        )
    document = {
        "command": "sharpness",
        **entries[0],
        "store": str(task.store.path),
        "images": len(task.train),
        "val_images": len(task.val),
        "subset": {
            "split": task.train.split,
            "seed": task.train.seed,
            "sha256": task.train.sha256,
            "val_sha256": task.val.sha256,
        },
        "settings": task.settings.model_dump(mode="json"),
        "against": entries[1] if len(entries) > 1 else None,
        "path": None if points is None else [asdict(point) for point in points],
        "caveat": CAVEAT,
    }
    found: dict[str, Any] = _finite(document)
    return found


def _entry(one: Checkpoint, task: Task, on_progress: Callable[[int], None]) -> dict[str, Any]:
    card = one.card
    found = measure(one.network, task.train, card.input, task.settings, on_progress=on_progress)
    rates = learning_rates(card)
    document = found.document()
    if found.lambda_max is not None:
        document["lambda_max"]["times_learning_rate"] = (
            {
                name: None if rate is None else rate * found.lambda_max.value
                for name, rate in rates.items()
            }
            if card.recipe["optimizer"]["kind"] == "sgd"
            # Others scale the gradient first: the product would say nothing.
            else None
        )
    surroundings = None
    if task.landscape:
        surroundings = asdict(
            plane(
                one.network,
                task.train,
                card.input,
                points=_PLANE_POINTS,
                seed=task.settings.seed,
                batch=task.settings.batch,
                on_progress=on_progress,
            )
        )
    return {
        "run": str(one.path),
        "topology": card.topology,
        "epoch": card.epoch,
        "weights_sha256": card.weights_sha256,
        "val_mean_auroc": card.metrics.get("mean_auroc"),
        "learning_rate": rates,
        **document,
        "landscape": surroundings,
    }


def learning_rates(card: Card) -> dict[str, float | None]:
    """Return the highest learning rate of the schedule, and the last before the checkpoint."""
    schedule: Mapping[str, Any] = card.recipe["schedule"]
    peak = schedule.get("peak")
    if peak is None:
        batch = card.recipe["training"]["batch"]
        peak = scaled_peak(schedule["base_per_256"], batch, schedule["scaling"])
    last = card.history[-1]["learning_rate"] if card.history else None
    return {"peak": peak, "last": last}


def _form(one: Checkpoint) -> tuple[str, int, float]:
    return (one.card.topology, one.card.output_stride, one.card.width)


def _finite(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
