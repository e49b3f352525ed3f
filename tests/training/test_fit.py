"""Training runs: they learn, repeat to the bit, resume to the bit and refuse in time."""

import dataclasses
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from thorax.config import load
from thorax.data.loader import Augmentation, Batch
from thorax.data.store import Store
from thorax.errors import DataError, ThoraxError, UsageError
from thorax.metrics import auroc
from thorax.results.training import TrainResult
from thorax.training import checkpoint
from thorax.training.card import CARD, OPTIMIZER, WEIGHTS, newest, read_card
from thorax.training.fit import fit
from thorax.training.log import Progress
from thorax.training.loop import Callbacks
from thorax.training.networks import OutputStride, Topology, normalise
from thorax.training.optimizers import AdamW
from thorax.training.parallel import Ranks
from thorax.training.recipe import Network, Recipe
from thorax.training.schedules import Cosine
from thorax.training.step import Trainer

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


class StoppedError(Exception):
    """Raised by a test in the middle of a run."""


def weights(result: TrainResult) -> dict[str, Tensor]:
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
    result = fit(
        varied(recipe, epochs=8),
        store,
        tmp_path / "run",
        callbacks=Callbacks(on_progress=seen.append),
    )
    assert result.mean_auroc > 0.9
    assert result.auroc["Ghost"] is None
    assert result.mean_auroc == pytest.approx(
        np.mean([value for value in result.auroc.values() if value is not None])
    )
    assert result.mean_auroc == max(entry.val_mean_auroc or 0 for entry in result.history)
    assert result.steps == 8 * 3
    assert sum(word.images for word in seen) == 8 * 24
    assert [word.epoch for word in seen if word.val_mean_auroc is not None] == list(range(1, 9))
    first, *_, last = (entry.loss or math.inf for entry in result.history)
    assert last < first
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
    recipe = recipe.model_copy(update={"augmentation": Augmentation(flip=0.5, rotation_deg=10.0)})
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
        fit(recipe, store, tmp_path / "run", callbacks=Callbacks(on_progress=interrupt))
    assert checkpoint.load(tmp_path / "run").card.epoch == 1
    resumed = fit(recipe, store, tmp_path / "run", resume=True)
    assert same(weights(straight), weights(resumed))
    assert [e.loss for e in straight.history] == [e.loss for e in resumed.history]
    assert straight.auroc == resumed.auroc


VARIANTS: dict[str, dict[str, object]] = {
    "groups": {"training": {"micro_batch": 4}},
    "averaged": {"ema": {"decay": 0.9}},
    "sam": {"sam": {"rho": 0.05}},
    "asam": {"sam": {"rho": 0.5, "adaptive": True}, "training": {"micro_batch": 2}},
    "lars": {"optimizer": {"kind": "lars"}},
    "lars-corrected": {"optimizer": {"kind": "lars", "momentum_correction": True}},
    "lamb": {"optimizer": {"kind": "lamb"}, "loss": {"label_smoothing": 0.1}},
    "resized": {"resize": [{"until": 0.5, "side": 48}]},
    "cropped": {"augmentation": {"crop": 0.5, "flip": 0.5}},
    "best": {"training": {"keep": "best"}},
}


def variant(name: str, **training: object) -> Recipe:
    """Return three epochs of three updates, a checkpoint after each."""
    table: dict[str, dict[str, object]] = {
        "network": {"topology": "vgg16_bn"},
        "training": {"epochs": 3, "batch": 8, "checkpoint_steps": 1, "keep": "last"},
        "optimizer": {"kind": "sgd"},
        "schedule": {"kind": "cosine", "peak": 0.05, "warmup_epochs": 1.0},
    }
    changes = {key: value for key, value in VARIANTS[name].items() if key != "training"}
    inner = VARIANTS[name].get("training", {})
    assert isinstance(inner, dict)
    table["training"] |= {"workers": 1, "threads": 1} | inner | training
    return Recipe.model_validate_json(json.dumps(table | changes))


@pytest.mark.parametrize(
    ("name", "stop"), [*zip(VARIANTS, (2, 5, 9) * 3 + (2,), strict=True), ("best", 5), ("best", 9)]
)
def test_stopped_at_any_update_a_run_resumes_to_the_bit(
    tiny: None, store: Store, tmp_path: Path, name: str, stop: int
) -> None:
    straight = fit(variant(name), store, tmp_path / "straight")

    def interrupt(progress: Progress) -> None:
        if progress.step == stop and progress.images:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit(variant(name), store, tmp_path / "run", callbacks=Callbacks(on_progress=interrupt))
    resumed = fit(variant(name), store, tmp_path / "run", resume=True)
    assert digests(resumed) == digests(straight)
    assert straight.auroc == resumed.auroc
    assert [e.loss for e in straight.history] == [e.loss for e in resumed.history]


def digests(result: TrainResult) -> tuple[str, str]:
    card = read_card(result.checkpoint)
    return card.weights_sha256, card.optimizer_sha256


@pytest.mark.parametrize("file", [WEIGHTS, OPTIMIZER, CARD])
def test_a_truncated_checkpoint_is_passed_over_with_a_word(
    tiny: None, store: Store, tmp_path: Path, file: str
) -> None:
    straight = fit(variant("averaged"), store, tmp_path / "straight")

    def interrupt(progress: Progress) -> None:
        if progress.step == 6 and progress.images:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit(
            variant("averaged"), store, tmp_path / "run", callbacks=Callbacks(on_progress=interrupt)
        )
    folder = newest(tmp_path / "run")
    assert folder is not None
    assert folder.name == "epoch-0002-step-00000005"
    os.truncate(folder / file, 100)
    told: list[str] = []
    resumed = fit(
        variant("averaged"),
        store,
        tmp_path / "run",
        resume=True,
        callbacks=Callbacks(on_message=told.append),
    )
    assert any("passed over epoch-0002-step-00000005" in line for line in told)
    assert digests(resumed) == digests(straight)


def test_the_average_is_what_is_judged_and_kept(tiny: None, store: Store, tmp_path: Path) -> None:
    plain = fit(variant("best", keep="last"), store, tmp_path / "plain")
    averaged = fit(variant("averaged"), store, tmp_path / "averaged")
    assert not same(weights(plain), weights(averaged))
    val = store.select("val")
    loaded = checkpoint.load(averaged.checkpoint)
    with torch.inference_mode():
        images = normalise(torch.from_numpy(store.images[val][:, None]), loaded.card.input)
        values = auroc(store.labels[val], loaded.network(images).numpy())
    told = [np.nan if value is None else value for value in averaged.auroc.values()]
    np.testing.assert_allclose(values, told)


def test_resized_images_are_trained_on_first(tiny: None, store: Store) -> None:
    recipe = variant("resized")
    assert [recipe.side(epoch, store.side) for epoch in range(3)] == [48, 48, 32]


def test_a_batch_that_cannot_be_cut_is_refused(tiny: None, store: Store, tmp_path: Path) -> None:
    recipe = variant("groups", micro_batch=3)
    assert refused(recipe, store, tmp_path / "run") == "batch-ranks"
    assert not (tmp_path / "run").exists()


def test_a_run_starts_from_another_and_resumes_only_so(
    tiny: None, store: Store, tmp_path: Path
) -> None:
    first = fit(variant("best"), store, tmp_path / "first")

    def interrupt(progress: Progress) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        fit(
            variant("lars"),
            store,
            tmp_path / "run",
            init=first.checkpoint,
            callbacks=Callbacks(on_progress=interrupt),
        )
    assert refused(variant("lars"), store, tmp_path / "run", resume=True) == "resume-init"
    done = fit(variant("lars"), store, tmp_path / "run", init=first.checkpoint, resume=True)
    init = read_card(done.checkpoint).init
    assert init is not None
    assert init["sha256"] == read_card(first.checkpoint).weights_sha256
    assert init["head"] == []


def test_before_the_first_checkpoint_too_only_the_same_run_is_resumed(
    tiny: None, store: Store, tmp_path: Path
) -> None:
    def interrupt(progress: Progress) -> None:
        raise StoppedError

    out = tmp_path / "run"
    with pytest.raises(StoppedError):
        fit(variant("best"), store, out, callbacks=Callbacks(on_progress=interrupt))
    assert newest(out) is None
    assert refused(variant("best", seed=9), store, out, resume=True) == "resume-recipe"
    other = dataclasses.replace(store, labels=1 - store.labels)
    assert refused(variant("best"), other, out, resume=True) == "resume-data"


def test_what_is_refused_leaves_no_folder(tiny: None, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ThoraxError):
        fit(variant("best"), store, out, init=tmp_path / "absent.pth")
    assert not out.exists()


def test_a_run_resumes_unasked_under_its_own_launcher_alone(
    tiny: None, store: Store, tmp_path: Path
) -> None:
    done = fit(variant("best"), store, tmp_path / "run", ranks=Ranks(launch="job-1"))
    again = fit(variant("best"), store, tmp_path / "run", ranks=Ranks(launch="job-1"))
    assert again == done
    for other in (Ranks(launch="job-2", restarts=1), Ranks(restarts=1)):
        with pytest.raises(UsageError, match="--resume"):
            fit(variant("best"), store, tmp_path / "run", ranks=other)


def test_weights_that_are_no_numbers_reach_no_checkpoint(
    tiny: None, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Trainer.update

    def poisoned(self: Trainer, batch: Batch, rate: float, step: int) -> float:
        loss = real(self, batch, rate, step)
        if step == 4:
            with torch.no_grad():
                self.network.head.bias[0] = torch.nan
        return loss

    monkeypatch.setattr(Trainer, "update", poisoned)
    assert refused(variant("best"), store, tmp_path / "run") == "training-diverged"
    folder = newest(tmp_path / "run")
    assert folder is not None
    assert folder.name == "epoch-0002-step-00000004"


def test_the_schedule_is_told_before_training_and_stored(
    tiny: None, store: Store, tmp_path: Path
) -> None:
    told: list[str] = []
    result = fit(
        variant("lars"), store, tmp_path / "run", callbacks=Callbacks(on_message=told.append)
    )
    assert any("9" in line and "3 an epoch" in line for line in told)
    card = read_card(result.checkpoint)
    assert card.schedule["steps"] == 9
    start = json.loads((tmp_path / "run/train.jsonl").read_text().splitlines()[0])
    assert start["schedule"] == card.schedule
    assert "thread" in start["processors"][0]


@pytest.mark.slow
def test_killed_at_a_random_update_the_command_resumes_to_the_same_digest(
    tiny_store: Store, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        '[network]\ntopology = "resnet18"\nwidth = 0.125\n'
        "[training]\nepochs = 3\nbatch = 8\nmicro_batch = 4\ncheckpoint_steps = 2\n"
        "threads = 1\nworkers = 1\n"
        '[optimizer]\nkind = "lars"\n[schedule]\nkind = "polynomial"\nbase_per_256 = 8.0\n'
        "[augmentation]\nflip = 0.5\n",
        "utf-8",
    )

    def command(out: Path, *more: str) -> list[str]:
        words = [sys.executable, "-m", "thorax", "train", str(recipe), "--json"]
        return [*words, "--data", str(tiny_store.path), "--out", str(out), *more]

    def answer(out: Path, *more: str) -> Path:
        done = subprocess.run(
            command(out, *more), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return Path(json.loads(done.stdout)["checkpoint"])

    straight = read_card(answer(tmp_path / "straight"))
    rng = np.random.default_rng()
    killed = tmp_path / "killed"
    running = subprocess.Popen(
        command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wanted = int(rng.integers(1, 7))
    while running.poll() is None:
        # Checkpoints come every other update, so this is a random moment of the run.
        if killed.is_dir() and len(list(killed.glob("*epoch-*"))) >= min(wanted, 3):
            break
    time.sleep(float(rng.random()) * 0.2)
    running.kill()
    running.wait()
    resumed = read_card(answer(killed, "--resume"))
    assert resumed.weights_sha256 == straight.weights_sha256
    assert resumed.optimizer_sha256 == straight.optimizer_sha256


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
        fit(recipe, store, tmp_path / "run", callbacks=Callbacks(on_progress=interrupt))
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
    assert newest(tmp_path / "run") is None


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_of_the_repository_are_valid(path: Path) -> None:
    load(path, Recipe)
