"""The arms of the large-batch experiment: what is compared, at which batches, tuned how.

An arm is a way to train. One that is tuned tries learning rates at one batch, each once, in full,
with `TUNING_SEED`, judged by the mean AUROC on the validation split: `TRIES` that double, and while
the best is the lowest or the highest, the next beyond it, `MOST_TRIES` at most. That holds for the
small batch as for the large. The other arms follow the choice of such an arm, at their own batch.
`SEEDS` are those of the results, and are no part of any choice.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from thorax.training.recipe import Recipe

SMALL: Final = 32
SEEDS: Final = (0, 1, 2)
TUNING_SEED: Final = 100
GOAL: Final = -0.005
"""Least difference of AUROC to the small batch that is aimed at."""
SHARPNESS: Final = {
    "keskar": "Keskar's sharpness (box of 0.001)",
    "adaptive": "Rise within the ball of ASAM, nats",
    "lambda_max": "Largest Hessian eigenvalue",
}
"""Measures of sharpness by their keys in records."""
TRIES: Final = 4
MOST_TRIES: Final = 6

_POWERS: Final = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to train.

    Attributes:
        name: short, unique in a study.
        title: for tables and plots.
        batches: at which it is judged, images an update.
        optimizer: of the recipe.
        lowest_rate: of the rates that are tried first, None = as chosen for `follows`.
        tuned_at: the batch the rates are tried at.
        follows: the arm whose choice is taken.
        scaling: of the learning rate from the tuned batch to another.
        warmup_epochs: length of the climb to the highest learning rate.
        sections: further sections of the recipe, by name.
    """

    name: str
    title: str
    batches: tuple[int, ...]
    optimizer: Mapping[str, Any]
    lowest_rate: float | None = None
    tuned_at: int = SMALL
    follows: str | None = None
    scaling: Literal["none", "sqrt", "linear"] = "none"
    warmup_epochs: float = 1.0
    sections: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Study:
    """One data set and what is tried on it.

    Attributes:
        name: of the study.
        side: of the images, pixels.
        epochs: of every run, whatever its batch.
        augmentation: of the recipe.
        arms: in the order of the tables.
        harder: the finding whose AUROC is told beside the mean, where another is nearly solved and
            halves what is lost; None where all are alike.
    """

    name: str
    side: int
    epochs: int
    augmentation: Mapping[str, float]
    arms: tuple[Arm, ...]
    harder: str | None = None

    def arm(self, name: str) -> Arm:
        """Return the arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def batches(self) -> tuple[int, ...]:
        """Every batch at which some arm is judged, ascending."""
        return tuple(sorted({batch for arm in self.arms for batch in arm.batches}))

    def source(self, arm: Arm) -> Arm:
        """Return the arm whose tries decide the learning rate of this one."""
        return arm if arm.follows is None else self.arm(arm.follows)


@dataclass(frozen=True, slots=True)
class Cell:
    """One run to make; `rate` is the highest learning rate at the batch that was tuned."""

    study: str
    arm: str
    batch: int
    seed: int
    rate: float

    @property
    def name(self) -> str:
        """File name of its record, the same for the same run."""
        return f"{self.arm}_b{self.batch}_rate{self.rate:g}_s{self.seed}"


def rates(lowest: float, scores: Mapping[float, float]) -> tuple[float, ...]:
    """Return the learning rates to try, ascending, given the scores of those tried so far.

    It is complete when every rate of it has a score.
    """
    wanted = [lowest * 2**step for step in range(TRIES)]
    while len(wanted) < MOST_TRIES and all(rate in scores for rate in wanted):
        best = max(wanted, key=lambda rate: scores[rate])
        if best == wanted[-1]:
            wanted.append(2 * wanted[-1])
        elif best == wanted[0]:
            wanted.insert(0, wanted[0] / 2)
        else:
            break
    return tuple(wanted)


def tuning(study: Study, arm: Arm, scores: Mapping[float, float]) -> tuple[Cell, ...]:
    """Return the runs that decide the learning rate of an arm that is tuned."""
    assert arm.lowest_rate is not None
    return tuple(
        Cell(study.name, arm.name, arm.tuned_at, TUNING_SEED, rate)
        for rate in rates(arm.lowest_rate, scores)
    )


def results(study: Study, arm: Arm, rate: float) -> tuple[Cell, ...]:
    """Return the runs that are reported of an arm."""
    return tuple(
        Cell(study.name, arm.name, batch, seed, rate) for batch in arm.batches for seed in SEEDS
    )


def recipe(study: Study, cell: Cell) -> Recipe:
    """Return how a run is trained; equal epochs, cosine to 0, whatever the arm."""
    arm = study.arm(cell.arm)
    growth = cell.batch / study.source(arm).tuned_at
    document = {
        "network": {"topology": "resnet18", "width": 0.125},
        "training": {
            "epochs": study.epochs,
            "batch": cell.batch,
            "seed": cell.seed,
            "workers": 1,
            "threads": 1,
            "keep": "last",
        },
        "optimizer": dict(arm.optimizer),
        "schedule": {
            "kind": "cosine",
            "peak": cell.rate * growth ** _POWERS[arm.scaling],
            "warmup_epochs": arm.warmup_epochs,
        },
        "augmentation": dict(study.augmentation),
        **{name: dict(section) for name, section in arm.sections.items()},
    }
    return Recipe.model_validate_json(json.dumps(document))


_SGD: Final = {"kind": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}
_ADAM: Final = {"kind": "adam"}
_LARS: Final = {"kind": "lars", "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}
_SAM: Final = {"sam": {"rho": 0.05}}
"""The radius of Foret et al. (2010.01412), not tuned; it takes twice the arithmetic."""
_WARMUP_EPOCHS: Final = 4.0


def _arms(middle: int, large: int) -> tuple[Arm, ...]:
    """Return the arms of both studies: the small batch, one in between, and the largest."""
    return (
        Arm("sgd", "SGD, one rate for all batches", (SMALL, middle, large), _SGD, 0.1),
        Arm(
            "sgd-linear",
            "SGD, linear scaling and warm-up",
            (middle, large),
            _SGD,
            follows="sgd",
            scaling="linear",
            warmup_epochs=_WARMUP_EPOCHS,
        ),
        Arm(
            "sgd-tuned",
            f"SGD, rate tuned at {large:,}",
            (large,),
            _SGD,
            1.6,
            tuned_at=large,
            warmup_epochs=_WARMUP_EPOCHS,
        ),
        Arm(
            "lars",
            f"LARS, rate tuned at {large:,}",
            (middle, large),
            _LARS,
            8.0,
            tuned_at=large,
            scaling="sqrt",
            warmup_epochs=_WARMUP_EPOCHS,
        ),
        Arm("adam", "Adam, one rate for all batches", (SMALL, large), _ADAM, 0.001),
        Arm(
            "adam-sqrt",
            "Adam, square-root scaling and warm-up",
            (large,),
            _ADAM,
            follows="adam",
            scaling="sqrt",
            warmup_epochs=_WARMUP_EPOCHS,
        ),
        Arm(
            "adam-tuned",
            f"Adam, rate tuned at {large:,}",
            (large,),
            _ADAM,
            0.005,
            tuned_at=large,
            warmup_epochs=_WARMUP_EPOCHS,
        ),
        Arm("sam", "SAM with SGD, the rate of SGD", (SMALL,), _SGD, follows="sgd", sections=_SAM),
        Arm(
            "sam-tuned",
            f"SAM with SGD, the rate tuned at {large:,}",
            (large,),
            _SGD,
            follows="sgd-tuned",
            warmup_epochs=_WARMUP_EPOCHS,
            sections=_SAM,
        ),
        Arm(
            "sam-lars",
            "SAM with LARS, the rate of LARS",
            (large,),
            _LARS,
            follows="lars",
            warmup_epochs=_WARMUP_EPOCHS,
            sections=_SAM,
        ),
    )


PHANTOMS: Final = Study("phantoms", 64, 24, {"flip": 0.5}, _arms(512, 2048))
"""14 findings of drawn chests; as many images in all as the other study sees."""
KERMANY: Final = Study(
    "kermany", 64, 48, {"flip": 0.5, "rotation_deg": 7.0}, _arms(256, 1024), harder="Bacterial"
)
"""Bacterial against viral pneumonia, and pneumonia against none, in children of 1 to 5 years."""

STUDIES: Final = {study.name: study for study in (PHANTOMS, KERMANY)}
