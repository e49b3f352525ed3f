"""The demo: the recipe people read is the one it runs, and nobody's folder is replaced."""

import tomllib
from pathlib import Path

import pytest

from thorax.artifact import Artifact
from thorax.cli import demonstration
from thorax.cli.console import save
from thorax.config import load
from thorax.errors import DataError, UsageError
from thorax.inference.classify import ClassifyOptions, classify
from thorax.report.page import write_report
from thorax.results.files import read_results
from thorax.training.recipe import Recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def test_the_recipe_in_the_folder_is_the_one_the_demo_runs() -> None:
    path = RECIPES / "phantom_small.toml"
    assert load(path, Recipe) == Recipe.model_validate(demonstration.RECIPE)
    told = tomllib.loads(path.read_text("utf-8"))
    assert told["network"]["topology"] == demonstration.RECIPE["network"]["topology"]


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
        demonstration.make(out)
    assert caught.value.code == "demo-folder"
    assert (out / "thesis" if what == "a folder" else out).read_text() == "mine"


def test_a_page_is_made_from_results_whose_heat_maps_lie_in_another_folder(
    tiny_int8: Artifact, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the demo lays them: results/classify.json and heatmaps/ beside one another.
    monkeypatch.chdir(tmp_path)
    for name in ("examples", "results"):
        (tmp_path / name).mkdir()
    for number in range(3):
        name = f"phantom_11_{number:06d}.png"
        (tmp_path / "examples" / name).symlink_to(phantoms / name)
    maps = Path("heatmaps")
    answers = classify(tiny_int8.path, [Path("examples")], ClassifyOptions(heatmaps=maps))
    save(answers, Path("results/classify.json"))
    read = read_results([Path("results")])
    page = write_report(read, Path("report.html"), title="T").read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") == 3
    for picture in maps.iterdir():
        picture.write_bytes(picture.read_bytes() + b"\0")
    with pytest.raises(DataError, match=r"report-picture: .*not what the document was made with"):
        read_results([Path("results")])


@pytest.mark.slow
def test_the_results_of_a_demo_make_its_page_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"COUNT": 240, "SIDE": 48, "EXAMPLES": 3, "BENCHMARK_S": 0.2}
    for name, value in small.items():
        monkeypatch.setattr(demonstration, name, value)
    training = {**demonstration.RECIPE["training"], "epochs": 1, "threads": 1}
    monkeypatch.setattr(demonstration, "RECIPE", {**demonstration.RECIPE, "training": training})
    made = demonstration.make(tmp_path / "demo")
    read = read_results([tmp_path / "demo" / "results"])
    page = write_report(read, tmp_path / "again.html", title="T").read_text("utf-8")
    for column in ("Random point", "Fixed point"):
        assert column in page
    pictures = Path(made.result.report).read_text("utf-8").count("data:image/jpeg;base64,")
    assert pictures == page.count("data:image/jpeg;base64,") > 0
