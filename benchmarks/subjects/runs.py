"""Training runs of a work folder, made once, and artifacts of them, made anew.

A folder of another recipe is refused.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness.command import thorax
from thorax import config
from thorax.artifact import Precision
from thorax.training.recipe import Recipe


def trained(run: Path, recipe: Path, store: Path, changes: Mapping[str, object]) -> Path:
    """Return a run, trained where it is absent and gone on with where it stopped.

    Args:
        run: its folder.
        recipe: TOML.
        store: that it is trained on.
        changes: of the recipe, by dotted key.

    Raises:
        SystemExit: the folder has a run of another recipe.
    """
    overrides = [f"{key}={value}" for key, value in changes.items()]
    if run.exists():
        wanted = config.load(recipe, Recipe, overrides)
        if config.load(run / "recipe.toml", Recipe) != wanted:
            raise SystemExit(f"{run} was trained by another recipe; remove it, or use a new --work")
    if not (run / "train.json").exists():
        words = [word for change in overrides for word in ("--set", change)]
        resume = ["--resume"] if run.exists() else []
        thorax("train", recipe, "--data", store, "--out", run, *words, *resume)
    return run


def optimized(run: Path, precision: Precision, store: Path) -> Path:
    """Return the artifact RUN-PRECISION, made anew: one that lies there may be of an earlier run.

    Args:
        run: folder of the run.
        precision: of the artifact.
        store: that it is calibrated and judged on.
    """
    out = run.with_name(f"{run.name}-{precision}")
    shutil.rmtree(out, ignore_errors=True)
    thorax("optimize", run, "--out", out, "--precision", precision, "--data", store)
    return out
