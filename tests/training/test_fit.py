"""Training runs: they learn, repeat to the bit, resume to the bit and refuse in time."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from thorax.config import load
from thorax.data.store import Store
from thorax.errors import DataError, ThoraxError, UsageError
from thorax.metrics import auroc
from thorax.training import checkpoint
from thorax.training.fit import FitResult, fit
from thorax.training.networks import OutputStride, Topology, normalise
from thorax.training.optimizers import AdamW
from thorax.training.recipe import Augment, Network, Recipe
from thorax.training.schedules import Cosine
from thorax.training.watch import Progress

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


class StoppedError(Exception):
    """Raised by a test in the middle of a run."""


def weights(result: FitResult) -> dict[str, Tensor]:
    return checkpoint.load(result.checkpoint).network.state_dict()


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


def varied(recipe: Recipe, **training: object) -> Recipe:
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=training)})


def refused(recipe: Recipe, store: Store, out: Path, *, resume: bool = False) -> str:
    with pytest.raises(ThoraxError) as caught:
        fit(recipe, store, out, resume=resume)
    return caught.value.code


def test_training_learns_and_says_how_it_went(recipe: Recipe, store: Store, tmp_path: Path) -> None:
    seen: list[Progress] = []
    result = fit(varied(recipe, epochs=8), store, tmp_path / "run", on_progress=seen.append)
    assert result.mean_auroc > 0.9
    assert result.auroc["Ghost"] is None
    assert result.mean_auroc == pytest.approx(
        np.mean([value for value in result.auroc.values() if value is not None])
    )
    assert result.mean_auroc == max(entry["val_mean_auroc"] for entry in result.history)
    assert result.steps == 8 * 3
    assert sum(word.images for word in seen) == 8 * 24
    assert [word.epoch for word in seen if word.val_mean_auroc is not None] == list(range(1, 9))
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    lines = [json.loads(line) for line in (tmp_path / "run/train.jsonl").read_text().splitlines()]
    # How many windows of steps an epoch takes is a matter of time.
    events = [line["event"] for line in lines if line["event"] != "step"]
    assert events == ["start", *["epoch"] * 8, "end"]
    assert {"threads", "precision"} <= lines[0].keys()
    assert all(0 <= line["data_wait"] <= 1 for line in lines[1:-1])
    card = checkpoint.load(tmp_path / "run").card
    assert (card.label_set, card.input.side) == (store.label_set, store.side)
    assert load(tmp_path / "run/recipe.toml", Recipe) == varied(recipe, epochs=8)


@pytest.mark.parametrize("stride", [32, 16])
def test_the_auroc_told_is_that_of_the_checkpoint_as_it_loads(
    recipe: Recipe,
    store: Store,
    tmp_path: Path,
    stride: OutputStride,
) -> None:
    network = Network(topology="vgg16_bn", output_stride=stride)
    result = fit(recipe.model_copy(update={"network": network}), store, tmp_path / "run")
    loaded = checkpoint.load(result.checkpoint)
    assert loaded.card.output_stride == stride
    val = store.select("val")
    with torch.inference_mode():
        images = normalise(torch.from_numpy(store.images[val][:, None]), loaded.card.input)
        values = auroc(store.labels[val], loaded.network(images).numpy())
    told = [np.nan if value is None else value for value in result.auroc.values()]
    np.testing.assert_allclose(values, told)


def test_a_narrow_network_comes_back_as_narrow_as_it_was_trained(
    recipe: Recipe, store: Store, tmp_path: Path
) -> None:
    network = Network(topology="resnet18", width=0.125)
    result = fit(recipe.model_copy(update={"network": network}), store, tmp_path / "run")
    loaded = checkpoint.load(result.checkpoint)
    assert loaded.card.width == 0.125
    assert loaded.network.head.in_features == 64


def test_same_seed_same_weights_and_another_seed_others(
    recipe: Recipe, store: Store, tmp_path: Path
) -> None:
    one, two = (weights(fit(recipe, store, tmp_path / name)) for name in ("one", "two"))
    other = weights(fit(varied(recipe, seed=4), store, tmp_path / "other"))
    assert same(one, two)
    assert not same(one, other)


@pytest.mark.parametrize(
    ("kind", "topology"),
    [
        ("sgd", "vgg16_bn"),
        ("adamw", "vgg16_bn"),
        pytest.param("sgd", "resnet18", marks=pytest.mark.slow),
    ],
)
def test_resume_after_an_interruption_is_bit_exact(
    recipe: Recipe, store: Store, tmp_path: Path, kind: str, topology: Topology
) -> None:
    recipe = recipe.model_copy(update={"network": Network(topology=topology)})
    recipe = recipe.model_copy(update={"augmentation": Augment(flip=0.5, rotation_deg=10.0)})
    if kind == "adamw":
        changes = {
            "optimizer": AdamW(kind="adamw"),
            "schedule": Cosine(kind="cosine", peak=1e-3, warmup_epochs=0.5),
        }
        recipe = recipe.model_copy(update=changes)
    recipe = varied(recipe, keep="last")
    straight = fit(recipe, store, tmp_path / "straight")

    def interrupt(progress: Progress) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, store, tmp_path / "run", on_progress=interrupt)
    assert checkpoint.load(tmp_path / "run").card.epoch == 1
    resumed = fit(recipe, store, tmp_path / "run", resume=True)
    assert same(weights(straight), weights(resumed))
    assert [e["loss"] for e in straight.history] == [e["loss"] for e in resumed.history]
    assert straight.auroc == resumed.auroc


def test_resuming_a_finished_run_answers_it_again(
    recipe: Recipe, store: Store, tmp_path: Path
) -> None:
    first = fit(recipe, store, tmp_path / "run")
    assert fit(recipe, store, tmp_path / "run", resume=True) == first


def test_a_run_stopped_in_its_first_epoch_resumes_from_the_beginning(
    recipe: Recipe, store: Store, tmp_path: Path
) -> None:
    def interrupt(progress: Progress) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        fit(recipe, store, tmp_path / "run", on_progress=interrupt)
    resumed = fit(recipe, store, tmp_path / "run", resume=True)
    assert same(weights(resumed), weights(fit(recipe, store, tmp_path / "straight")))


def test_bf16_trains_and_says_so(recipe: Recipe, store: Store, tmp_path: Path) -> None:
    result = fit(varied(recipe, precision="bf16", epochs=1), store, tmp_path / "run")
    loaded = checkpoint.load(result.checkpoint)
    assert loaded.card.precision == "bf16"
    assert {value.dtype for value in loaded.network.parameters()} == {torch.float32}


def test_a_run_is_never_overwritten(recipe: Recipe, store: Store, tmp_path: Path) -> None:
    fit(varied(recipe, epochs=1), store, tmp_path / "run")
    assert refused(recipe, store, tmp_path / "run") == "run-exists"


def test_only_the_same_run_is_resumed(recipe: Recipe, store: Store, tmp_path: Path) -> None:
    assert refused(recipe, store, tmp_path / "run", resume=True) == "resume-missing"
    fit(varied(recipe, epochs=1), store, tmp_path / "run")
    with pytest.raises(UsageError, match=r"training\.epochs was 1 and is 2") as caught:
        fit(recipe, store, tmp_path / "run", resume=True)
    assert caught.value.code == "resume-recipe"
    smaller = dataclasses.replace(store, splits=("train",) * 23 + ("test",) + store.splits[24:])
    with pytest.raises(DataError, match="train was 24 and is 23") as refusal:
        fit(varied(recipe, epochs=1), smaller, tmp_path / "run", resume=True)
    assert refusal.value.code == "resume-data"


def test_data_that_cannot_be_trained_on_are_refused_before_anything_is_written(
    recipe: Recipe, store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    no_val = dataclasses.replace(store, splits=("train",) * len(store))
    no_train = dataclasses.replace(store, splits=("val",) * len(store))
    one_class = dataclasses.replace(store, labels=np.ones_like(store.labels))
    assert refused(recipe, no_val, out) == "split-empty"
    assert refused(recipe, no_train, out) == "split-empty"
    assert refused(varied(recipe, batch=25), store, out) == "split-small"
    assert refused(recipe, one_class, out) == "val-one-class"
    assert not out.exists()


def test_a_loss_that_is_no_number_ends_the_run(
    recipe: Recipe, store: Store, tmp_path: Path
) -> None:
    wild = recipe.model_copy(
        update={"schedule": Cosine(kind="cosine", peak=1e30, warmup_epochs=0.0)}
    )
    assert refused(wild, store, tmp_path / "run") == "training-diverged"
    assert checkpoint.newest(tmp_path / "run") is None


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_of_the_repository_are_valid(path: Path) -> None:
    load(path, Recipe)
