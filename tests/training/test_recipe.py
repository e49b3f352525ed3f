"""Recipes: every number of theirs has two ends, and what lies between can be trained by."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from thorax.config import load
from thorax.errors import UsageError
from thorax.training import optimizers
from thorax.training.networks import build
from thorax.training.recipe import Recipe
from thorax.training.schedules import resolve

BASE = """
[network]
topology = "resnet18"
width = 0.125
[training]
epochs = 2
batch = 8
[optimizer]
kind = "{optimizer}"
[schedule]
kind = "{schedule}"
peak = 0.1
[parallel]
[loss]
[sam]
[ema]
[input]
[augmentation]
"""
EXTREMES = (
    "1e308", "-1e308", "1e300", "1e13", "1e-300", "5e-324", "-1", "0", "0.0", "1", "nan", "inf",
    "-inf", "1e999", "1" + "0" * 30, "-1" + "0" * 30, "9223372036854775807", "9223372036854775808",
)  # fmt: skip


def numbers(model: BaseModel, place: str = "") -> Iterator[str]:
    """Yield the dotted key of every number that a recipe has or may have."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from numbers(value, f"{place}{name}.")
        elif re.search(r"^(?!.*tuple).*\b(int|float)\b", str(field.annotation)):
            yield f"{place}{name}"


@pytest.mark.parametrize("schedule", ["cosine", "polynomial", "step"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "lars", "lamb"])
def test_an_extreme_number_is_refused_by_its_name_or_can_be_trained_by(
    tmp_path: Path, optimizer: str, schedule: str
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(BASE.format(optimizer=optimizer, schedule=schedule))
    network = build("resnet18", classes=2, width=0.125)
    keys = list(numbers(load(path, Recipe)))
    assert {"schedule.warmup_epochs", "parallel.timeout_s", "parallel.bucket_mb"} <= set(keys)
    for key in keys:
        for value in EXTREMES:
            refusals = []
            try:
                try_it(load(path, Recipe, [f"{key}={value}"]), network)
            except UsageError as error:
                refusals.append(error.code)
            assert set(refusals) <= {"config-value", "schedule-end"}, (key, value)


def try_it(recipe: Recipe, network: Any) -> None:  # noqa: ANN401
    schedule = resolve(
        recipe.schedule,
        batch=recipe.training.batch,
        steps_per_epoch=3,
        epochs=recipe.training.epochs,
    )
    assert all(0 <= schedule.rate(step) < 1e31 for step in (0, 1, schedule.steps - 1))
    assert schedule.lines()
    optimizers.build(network, recipe.optimizer)


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        ("schedule.warmup_epochs=1e308", "1000000"),
        ("parallel.timeout_s=1e300", "2592000"),
        ("parallel.bucket_mb=1e13", "65536"),
        ("training.epochs=1" + "0" * 30, "1000000"),
        ("training.batch=-4", "greater than or equal to 2"),
        ("training.epochs=2.5", "valid integer"),
    ],
)
def test_what_is_allowed_is_said(tmp_path: Path, override: str, allowed: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(BASE.format(optimizer="sgd", schedule="cosine"))
    with pytest.raises(UsageError) as caught:
        load(path, Recipe, [override])
    assert caught.value.code == "config-value"
    assert override.partition("=")[0] in caught.value.message
    assert allowed in caught.value.message
