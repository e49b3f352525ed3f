"""Sharpness of finished runs: which images and which checkpoints, measured one after another."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thorax.data.store import Store
from thorax.errors import DataError, UsageError
from thorax.landscape.paths import line, plane
from thorax.landscape.sharpness import CAVEAT, SharpnessSettings, evaluations, measure
from thorax.landscape.surface import Subset, draw
from thorax.results.landscape import (
    LearningRates,
    MeasuredImages,
    MeasuringSettings,
    RunSharpness,
    SharpnessResult,
)
from thorax.training import checkpoint, memory
from thorax.training.checkpoint import Checkpoint
from thorax.training.prepare import identity
from thorax.training.schedules import peak_rate

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
    for each in checkpoints:
        store.require(each.card.input.side, each.card.label_set)
        if each.card.data.get("sha256") != digest:
            raise DataError(
                "sharpness-data",
                f"{each.path} was trained on another store than {store.path}; sharpness is that of "
                "the training loss: give the store it was trained on",
            )
    cards = [each.card for each in checkpoints]
    if len({(card.topology, card.output_stride, card.width, card.input) for card in cards}) > 1:
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
) -> SharpnessResult:
    """Measure the runs of a task, and the line between two.

    Progress is how many images were gone through since the last word.

    Raises:
        UsageError: `training-memory`.
    """
    side = task.store.side
    passed = f"{task.settings.batch:,} images of {side:,} x {side:,} pixels in a pass"
    with memory.required(passed, "give a smaller --batch, or fewer --images"):
        run, *others = (_measure(each, task, on_progress) for each in task.checkpoints)
        path = None
        if others:
            path = line(
                task.checkpoints[0].network,
                task.checkpoints[1].network,
                task.train,
                task.val,
                task.checkpoints[0].card.input,
                points=_LINE_POINTS,
                batch=task.settings.batch,
                on_progress=on_progress,
            )
        return SharpnessResult(
            **dict(run),
            store=str(task.store.path),
            images=len(task.train),
            val_images=len(task.val),
            subset=MeasuredImages(
                split=task.train.split,
                seed=task.train.seed,
                sha256=task.train.sha256,
                val_sha256=task.val.sha256,
            ),
            settings=MeasuringSettings(**dict(task.settings)),
            against=others[0] if others else None,
            path=path,
            caveat=CAVEAT,
        )


def _measure(run: Checkpoint, task: Task, on_progress: Callable[[int], None]) -> RunSharpness:
    card = run.card
    rates = learning_rates(run)
    sharpness = measure(run.network, task.train, card.input, task.settings, on_progress=on_progress)
    top = sharpness.lambda_max
    if top is not None:
        # Others scale the gradient first: the product would say nothing.
        is_sgd = run.recipe().optimizer.kind == "sgd"
        product = learning_rates(run, times=top.value) if is_sgd else None
        top = top.model_copy(update={"times_learning_rate": product})
        sharpness = sharpness.model_copy(update={"lambda_max": top})
    surroundings = None
    if task.landscape:
        surroundings = plane(
            run.network,
            task.train,
            card.input,
            points=_PLANE_POINTS,
            seed=task.settings.seed,
            batch=task.settings.batch,
            on_progress=on_progress,
        )
    return RunSharpness(
        run=str(run.path),
        topology=card.topology,
        epoch=card.epoch,
        weights_sha256=card.weights_sha256,
        val_mean_auroc=card.metrics.get("mean_auroc"),
        learning_rate=rates,
        landscape=surroundings,
        **dict(sharpness),
    )


def learning_rates(run: Checkpoint, *, times: float = 1.0) -> LearningRates:
    """Return the highest rate of the schedule and the last before the checkpoint, each times it."""
    recipe, history = run.recipe(), run.card.history
    return LearningRates(
        peak=peak_rate(recipe.schedule, recipe.training.batch) * times,
        last=history[-1]["learning_rate"] * times if history else None,
    )
