"""A training run of two epochs, of which the second is timed: what speed of training is told of."""

import json
from dataclasses import dataclass
from typing import Final

from thorax.training.recipe import Recipe

WIDTH: Final = 0.25
LEARNING_RATE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Shape:
    """How large everything is.

    Attributes:
        side: pixels of a training image.
        batch: images an update.
        images: of the training split, an epoch.
        threads: that compute.
    """

    side: int
    batch: int
    images: int
    threads: int


def recipe(shape: Shape, **training: int) -> Recipe:
    """Return two epochs of SGD, of which the second is timed."""
    document = {
        "network": {"topology": "resnet18", "width": WIDTH},
        "training": {
            "epochs": 2,
            "batch": shape.batch,
            "precision": "auto",
            "keep": "last",
            "threads": shape.threads,
            "workers": 1,
            **training,
        },
        "optimizer": {"kind": "sgd"},
        "schedule": {"kind": "cosine", "peak": LEARNING_RATE},
        "augmentation": {"flip": 0.5},
    }
    return Recipe.model_validate_json(json.dumps(document))
