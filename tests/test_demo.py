"""The demo: the recipe people read is the one it runs, and nobody's folder is replaced."""

import tomllib
from pathlib import Path

import pytest

from thorax import demo
from thorax.config import load
from thorax.errors import UsageError
from thorax.training.recipe import Recipe

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


def test_the_recipe_in_the_folder_is_the_one_the_demo_runs() -> None:
    path = RECIPES / "phantom_small.toml"
    assert load(path, Recipe) == Recipe.model_validate(demo.RECIPE)
    told = tomllib.loads(path.read_text("utf-8"))
    assert told["network"]["topology"] == demo.RECIPE["network"]["topology"]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.name)
def test_every_recipe_can_be_followed(path: Path) -> None:
    assert load(path, Recipe).training.epochs >= 1


@pytest.mark.parametrize("what", ["a folder", "a file"])
def test_what_no_demo_wrote_is_left_alone(tmp_path: Path, what: str) -> None:
    out = tmp_path / "mine"
    if what == "a folder":
        out.mkdir()
        (out / "thesis").write_text("mine")
    else:
        out.write_text("mine")
    with pytest.raises(UsageError) as caught:
        demo.make(out)
    assert caught.value.code == "demo-folder"
    assert (out / "thesis" if what == "a folder" else out).read_text() == "mine"
