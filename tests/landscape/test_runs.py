"""`thorax sharpness` on runs: what it reads, refuses, answers and leaves."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thorax.data.store import Store
from thorax.errors import DataError, UsageError
from thorax.landscape.runs import execute, learning_rates, prepare
from thorax.landscape.sharpness import CAVEAT, SharpnessSettings
from thorax.results.landscape import LearningRates, SharpnessResult
from thorax.training import checkpoint
from thorax.training.checkpoint import Checkpoint
from thorax.training.fit import fit
from thorax.training.optimizers import Sgd
from thorax.training.recipe import Network, Recipe, Training
from thorax.training.schedules import Cosine

QUICK = SharpnessSettings(
    images=8, ascent_steps=1, epsilons=(1e-3,), manifold_dimensions=0, power_iterations=2
)


def train(store: Store, out: Path, *, seed: int, width: float = 0.125) -> Path:
    recipe = Recipe(
        network=Network(topology="resnet18", width=width),
        training=Training(epochs=1, batch=22, seed=seed, workers=1, threads=1),
        optimizer=Sgd(kind="sgd"),
        schedule=Cosine(kind="cosine", peak=0.05, warmup_epochs=0.5),
    )
    fit(recipe, store, out)
    return out


BATCHES: Mapping[str, object] = {"epochs": 1, "batch": 1024}


def with_recipe(run: Checkpoint, **sections: Mapping[str, object]) -> Checkpoint:
    card = run.card.model_copy(update={"recipe": {**run.card.recipe, **sections}})
    return replace(run, card=card)


@pytest.fixture(scope="module")
def runs(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sharpness")
    return (
        train(tiny_store, folder / "first", seed=1),
        train(tiny_store, folder / "second", seed=2),
    )


def test_the_command_answers_writes_and_draws(
    thorax: Callable[..., Any], runs: tuple[Path, Path], tiny_store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "sharp.json"
    done = thorax(
        *("sharpness", runs[0], "--data", tiny_store.path, "--against", runs[1]),
        *("--out", out, "--quick", "--images", 6, "--json"),
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert json.loads(out.read_text()) == document
    assert {"command", "keskar", "adaptive", "lambda_max", "path"} <= set(document)
    assert document["caveat"] == CAVEAT
    assert document["images"] == 6
    assert document["settings"]["ascent_steps"] == 10
    assert set(document["against"]) < set(document)
    assert [point["a"] for point in document["path"]][::8] == [-1, 0, 1, 2]
    top = document["lambda_max"]
    assert top["times_learning_rate"]["peak"] == pytest.approx(0.05 * top["value"])
    for name in ("sharp.png", "sharp.svg"):
        assert (out.parent / name).stat().st_size > 1000


def test_the_ends_of_the_path_are_the_runs_and_work_is_told(
    runs: tuple[Path, Path], tiny_store: Store
) -> None:
    task = prepare(runs[0], tiny_store, QUICK, against=runs[1])
    told: list[int] = []
    result = execute(task, on_progress=told.append)
    assert sum(told) <= task.images
    assert result.path is not None
    assert result.against is not None
    first, second = result.path[8], result.path[16]
    assert first.train_interpolated.loss == pytest.approx(result.loss, rel=1e-5)
    assert second.train_interpolated.loss == pytest.approx(result.against.loss, rel=1e-5)
    assert SharpnessResult.model_validate_json(result.to_json()).path == result.path


def test_runs_that_cannot_be_compared_are_refused(
    runs: tuple[Path, Path], tiny_store: Store, tmp_path: Path
) -> None:
    other = train(tiny_store, tmp_path / "wider", seed=1, width=0.25)
    with pytest.raises(UsageError, match="sharpness-topology"):
        prepare(runs[0], tiny_store, QUICK, against=other)
    foreign = replace(tiny_store, digests=("0",) * len(tiny_store))
    with pytest.raises(DataError, match="sharpness-data"):
        prepare(runs[0], foreign, QUICK)


def test_rates_are_the_peak_of_the_schedule_and_the_last_one_used(runs: tuple[Path, Path]) -> None:
    run = checkpoint.load(runs[0])
    last = run.card.history[-1]["learning_rate"]
    assert learning_rates(run) == LearningRates(peak=0.05, last=last)
    for scaling, peak in (("linear", 0.4), ("sqrt", 0.2)):
        schedule = {"kind": "cosine", "base_per_256": 0.1, "scaling": scaling}
        assert learning_rates(with_recipe(run, schedule=schedule, training=BATCHES)).peak == peak


def test_a_recipe_of_another_thorax_is_named(runs: tuple[Path, Path]) -> None:
    changed = with_recipe(checkpoint.load(runs[0]), training={**BATCHES, "patience": 3})
    with pytest.raises(UsageError, match=r"config-key.*checkpoint.json.*patience"):
        learning_rates(changed)


def test_the_rate_is_not_set_against_curvature_where_the_optimizer_scales_gradients(
    runs: tuple[Path, Path], tiny_store: Store
) -> None:
    task = prepare(runs[0], tiny_store, QUICK.model_copy(update={"power_iterations": 1}))
    [one] = task.checkpoints
    result = execute(replace(task, checkpoints=(with_recipe(one, optimizer={"kind": "lars"}),)))
    assert result.document()["lambda_max"]["times_learning_rate"] is None
    assert result.learning_rate.peak == 0.05


def test_the_plane_around_a_run_is_part_of_its_answer(
    runs: tuple[Path, Path], tiny_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thorax.landscape.runs._PLANE_POINTS", 3)
    settings = QUICK.model_copy(update={"batch_norm": "estimated", "power_iterations": 0})
    result = execute(prepare(runs[0], tiny_store, settings, landscape=True))
    assert (result.against, result.path, result.lambda_max) == (None, None, None)
    assert json.loads(result.to_json())["lambda_max"] is None
    assert result.landscape is not None
    assert result.landscape.offsets == (-1, 0, 1)
    assert result.landscape.loss[1][1] == pytest.approx(result.loss, rel=1e-5)
