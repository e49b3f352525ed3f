"""Training runs of a work folder: one of another recipe is no run of this one."""

from pathlib import Path

import pytest
from benchmarks.subjects.runs import trained

from thorax import config
from thorax.training.recipe import Recipe

RECIPE = Path(__file__).parents[2] / "recipes/phantom_small.toml"


def test_a_run_of_another_recipe_is_refused_and_one_of_this_is_taken(tmp_path: Path) -> None:
    run, store = tmp_path / "run", tmp_path / "store"
    run.mkdir()
    config.write_effective(config.load(RECIPE, Recipe, ["training.epochs=3"]), run / "recipe.toml")
    (run / "train.json").write_text("{}", "utf-8")
    assert trained(run, RECIPE, store, {"training.epochs": 3}) == run
    with pytest.raises(SystemExit, match="another recipe"):
        trained(run, RECIPE, store, {"training.epochs": 4})
