"""The arms of the large-batch experiment: what is compared, at which batches, tuned how.

An arm is a way to train. One that is tuned has a grid of knobs, each tried once at one batch with
`TUNING_SEED` and judged by the mean AUROC on the validation split; the others follow the choice of
such an arm, at their own batch. `SEEDS` are those of the results, and are no part of any choice.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final, Literal

from thorax.training.recipe import Recipe

SMALL: Final = 32
SEEDS: Final = (0, 1, 2)
TUNING_SEED: Final = 100

_POWERS: Final = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}

Knobs = Mapping[str, float]
"""What is tuned: `rate`, the highest learning rate at the tuned batch, and `warmup_epochs` where an
arm does not fix it."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to train.

    Attributes:
        name: short, unique in a study.
        title: for tables and plots.
        batches: at which it is judged, images an update.
        optimizer: of the recipe.
        grid: knobs to try, empty = as chosen for `follows`.
        tuned_at: the batch the grid is tried at.
        tuning_epochs: of a run of the grid, None = as many as of a result.
        follows: the arm whose choice is taken.
        scaling: of the learning rate from the tuned batch to another.
        warmup_epochs: length of the climb to the highest learning rate.
        sections: further sections of the recipe, by name.
        ghost: images that batch normalisation sees together, None = the whole batch.
    """

    name: str
    title: str
    batches: tuple[int, ...]
    optimizer: Mapping[str, Any]
    grid: tuple[Knobs, ...] = ()
    tuned_at: int = SMALL
    tuning_epochs: int | None = None
    follows: str | None = None
    scaling: Literal["none", "sqrt", "linear"] = "none"
    warmup_epochs: float = 1.0
    sections: Mapping[str, Any] = field(default_factory=dict)
    ghost: int | None = None


@dataclass(frozen=True, slots=True)
class Study:
    """One data set and what is tried on it.

    Attributes:
        name: of the study.
        epochs: of every run, whatever its batch.
        augmentation: of the recipe.
        arms: in the order of the tables.
    """

    name: str
    epochs: int
    augmentation: Mapping[str, float]
    arms: tuple[Arm, ...]

    def arm(self, name: str) -> Arm:
        """Return the arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def batches(self) -> tuple[int, ...]:
        """Every batch at which some arm is judged, ascending."""
        return tuple(sorted({batch for arm in self.arms for batch in arm.batches}))

    def source(self, arm: Arm) -> Arm:
        """Return the arm whose grid decides the knobs of this one."""
        return arm if arm.follows is None else self.arm(arm.follows)


@dataclass(frozen=True, slots=True)
class Cell:
    """One run to make."""

    study: str
    arm: str
    batch: int
    seed: int
    knobs: tuple[tuple[str, float], ...]

    @property
    def name(self) -> str:
        """File name of its record, the same for the same run."""
        knobs = "_".join(f"{key}{value:g}" for key, value in self.knobs)
        return f"{self.arm}_b{self.batch}_{knobs}_s{self.seed}"


def grid(**knobs: tuple[float, ...]) -> tuple[Knobs, ...]:
    """Return every combination of the values of each knob."""
    return tuple(dict(zip(knobs, values, strict=True)) for values in product(*knobs.values()))


def tuning(study: Study, arm: Arm) -> tuple[Cell, ...]:
    """Return the runs that decide the knobs of an arm that has a grid of two or more."""
    return tuple(
        Cell(study.name, arm.name, arm.tuned_at, TUNING_SEED, tuple(knobs.items()))
        for knobs in arm.grid
        if len(arm.grid) > 1
    )


def results(study: Study, arm: Arm, chosen: Knobs) -> tuple[Cell, ...]:
    """Return the runs that are reported of an arm."""
    return tuple(
        Cell(study.name, arm.name, batch, seed, tuple(chosen.items()))
        for batch in arm.batches
        for seed in SEEDS
    )


def recipe(study: Study, cell: Cell) -> Recipe:
    """Return how a run is trained; equal epochs, cosine to 0, whatever the arm."""
    arm, knobs = study.arm(cell.arm), dict(cell.knobs)
    ghost = {} if arm.ghost is None else {"micro_batch": min(arm.ghost, cell.batch)}
    sections = {name: dict(section) for name, section in arm.sections.items()}
    epochs = study.epochs
    if cell.seed == TUNING_SEED and arm.tuning_epochs is not None:
        epochs = arm.tuning_epochs
    growth = cell.batch / study.source(arm).tuned_at
    peak = knobs["rate"] * growth ** _POWERS[arm.scaling]
    document = {
        "network": {"topology": "resnet18", "width": 0.125},
        "training": {
            "epochs": epochs,
            "batch": cell.batch,
            "seed": cell.seed,
            "workers": 1,
            "threads": 1,
            "keep": "last",
            **ghost,
        },
        "optimizer": dict(arm.optimizer),
        "schedule": {
            "kind": "cosine",
            "peak": peak,
            "warmup_epochs": knobs.get("warmup_epochs", arm.warmup_epochs),
        },
        "augmentation": dict(study.augmentation),
        **sections,
    }
    return Recipe.model_validate_json(json.dumps(document))


_SGD: Final = {"kind": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}
_ADAM: Final = {"kind": "adam"}
_LARS: Final = {"kind": "lars", "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}
_SAM: Final = {"sam": {"rho": 0.05}}
"""The radius of Foret et al. (2010.01412), not tuned; it takes twice the arithmetic."""

PHANTOMS: Final = Study(
    name="phantoms",
    epochs=48,
    augmentation={"flip": 0.5},
    arms=(
        Arm(
            "sgd",
            "SGD, one rate for all batches",
            (32, 128, 512, 2048),
            _SGD,
            grid(rate=(0.2, 0.4)),
            tuning_epochs=16,
        ),
        Arm(
            "adam-tuned",
            "Adam, rate and warm-up tuned at 2,048",
            (512, 2048),
            _ADAM,
            (
                {"rate": 0.01, "warmup_epochs": 2.0},
                {"rate": 0.02, "warmup_epochs": 2.0},
                {"rate": 0.04, "warmup_epochs": 4.0},
            ),
            tuned_at=2048,
            scaling="sqrt",
        ),
        Arm(
            "sgd-linear",
            "SGD, linear scaling and warm-up",
            (128, 512, 2048),
            _SGD,
            follows="sgd",
            scaling="linear",
            warmup_epochs=4.0,
        ),
        Arm(
            "lars",
            "LARS, rate tuned at 2,048",
            (512, 2048),
            _LARS,
            grid(rate=(16.0, 32.0, 64.0, 128.0)),
            tuned_at=2048,
            scaling="sqrt",
            warmup_epochs=4.0,
        ),
        Arm(
            "sgd-tuned",
            "SGD, rate tuned at 2,048",
            (2048,),
            _SGD,
            grid(rate=(3.2, 6.4)),
            tuned_at=2048,
            warmup_epochs=4.0,
        ),
        Arm(
            "sam-lars",
            "SAM with LARS, the rate of LARS",
            (2048,),
            _LARS,
            follows="lars",
            warmup_epochs=4.0,
            sections=_SAM,
        ),
        Arm(
            "lars-ghost",
            "LARS, batch normalisation over 32 images",
            (2048,),
            _LARS,
            follows="lars",
            warmup_epochs=4.0,
            ghost=SMALL,
        ),
        Arm(
            "adam",
            "Adam, one rate for all batches",
            (32, 2048),
            _ADAM,
            grid(rate=(0.002, 0.004)),
            tuning_epochs=16,
        ),
        Arm(
            "adam-sqrt",
            "Adam, square-root scaling and warm-up",
            (2048,),
            _ADAM,
            follows="adam",
            scaling="sqrt",
            warmup_epochs=4.0,
        ),
        Arm(
            "sam-tuned",
            "SAM with SGD, the rate of SGD tuned at 2,048",
            (2048,),
            _SGD,
            follows="sgd-tuned",
            warmup_epochs=4.0,
            sections=_SAM,
        ),
        Arm(
            "sam",
            "SAM with SGD, the rate of SGD",
            (32,),
            _SGD,
            follows="sgd",
            sections=_SAM,
        ),
    ),
)

NIH: Final = Study(
    name="nih",
    epochs=24,
    augmentation={"flip": 0.5, "rotation_deg": 7.0},
    arms=(
        Arm(
            "sgd",
            "SGD, one rate for all batches",
            (32, 128, 510, 1530),
            _SGD,
            grid(rate=(0.05, 0.1, 0.2, 0.4)),
        ),
        Arm(
            "sgd-linear",
            "SGD, linear scaling and warm-up",
            (128, 510, 1530),
            _SGD,
            follows="sgd",
            scaling="linear",
            warmup_epochs=4.0,
        ),
        Arm(
            "lars",
            "LARS, rate tuned at 1,530",
            (1530,),
            _LARS,
            grid(rate=(16.0, 32.0)),
            tuned_at=1530,
            warmup_epochs=4.0,
        ),
        Arm(
            "adam-tuned",
            "Adam, rate tuned at 1,530",
            (1530,),
            _ADAM,
            grid(rate=(0.01, 0.02)),
            tuned_at=1530,
            warmup_epochs=4.0,
        ),
        Arm(
            "sam-lars",
            "SAM with LARS, the rate of LARS",
            (1530,),
            _LARS,
            follows="lars",
            warmup_epochs=4.0,
            sections=_SAM,
        ),
    ),
)
"""Its training split has 1,530 images, so no batch is larger; 510 and 1,530 divide it."""

LONG: Final = Study(
    name="phantoms-long",
    epochs=192,
    augmentation={"flip": 0.5},
    arms=(
        Arm("sgd", "SGD", (32,), _SGD, grid(rate=(0.4,))),
        Arm(
            "lars",
            "LARS",
            (2048,),
            _LARS,
            grid(rate=(32.0,)),
            tuned_at=2048,
            warmup_epochs=4.0,
        ),
    ),
)
"""Four times as long, with the rates that `PHANTOMS` chose: does the large batch want updates?"""

STUDIES: Final = {study.name: study for study in (PHANTOMS, LONG, NIH)}
