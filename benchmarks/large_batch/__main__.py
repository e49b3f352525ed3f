"""The experiment of the mission: what a large batch costs, and what brings it back.

    python -m benchmarks.large_batch --work FOLDER [--data KERMANY] [--study phantoms]
    python -m benchmarks.large_batch --work FOLDER --report

Trains every run of `benchmarks.large_batch.cells` with equal epochs, judges it on the test split,
measures its sharpness, and writes tables, plots and JSON with `--report`. Each finished run leaves
one JSON file in the work folder, so an interrupted call goes on where it stopped, and the same call
may be made by several processes at once: they share the work.
"""

import argparse
import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.harness.result import commit, figures_folder, filled_folder, parse_args, write
from benchmarks.large_batch.cells import (
    SEEDS,
    STUDIES,
    Arm,
    Cell,
    Study,
    rates,
    recipe,
    results,
    tuning,
)
from benchmarks.large_batch.records import read_record, record_path
from benchmarks.large_batch.report import draw, report
from benchmarks.subjects import tasks
from thorax.data.loader import BatchOrder, batches
from thorax.data.store import Store
from thorax.errors import UsageError
from thorax.files.atomic import write_text
from thorax.images.preprocess import InputSpec
from thorax.landscape import surface
from thorax.landscape.sharpness import SharpnessSettings, measure
from thorax.metrics import auroc
from thorax.training import checkpoint
from thorax.training.fit import fit
from thorax.training.networks import Classifier, normalise

WAIT_S: Final = 5.0
"""Between two looks at what another process is working on."""

SHARPNESS: Final = SharpnessSettings(
    images=256,
    seed=0,
    epsilons=(1e-3,),
    ascent_steps=10,
    manifold_dimensions=0,
    power_iterations=20,
)
"""The same images of the training split for every network, without augmentation."""


def tried(work: Path, study: Study, arm: Arm) -> dict[float, float]:
    """Return the validation AUROC of each learning rate that was tried; 0 where it diverged."""
    scores: dict[float, float] = {}
    while missing := [cell for cell in tuning(study, arm, scores) if cell.rate not in scores]:
        made = {cell: read_record(work, study, cell) for cell in missing}
        if not any(made.values()):
            break
        for cell, record in made.items():
            if record is not None:
                scores[cell.rate] = record["val_mean_auroc"] or 0.0
    return scores


def chosen(arm: Arm, scores: Mapping[float, float]) -> float | None:
    """Return the rate of the best validation AUROC of a tuned arm, None while a try is missing."""
    assert arm.lowest_rate is not None
    if any(rate not in scores for rate in rates(arm.lowest_rate, scores)):
        return None
    return max(scores, key=lambda rate: scores[rate])


def runnable(
    work: Path, study: Study, names: Sequence[str], sizes: Sequence[int]
) -> tuple[list[Cell], bool]:
    """Return the runs of some arms and batches that can be made now, and whether more follow."""
    now: list[Cell] = []
    between: list[Cell] = []
    more = False
    for arm in map(study.arm, names):
        source = study.source(arm)
        scores = tried(work, study, source)
        now += tuning(study, source, scores)
        rate = chosen(source, scores)
        if rate is None:
            more = True
            continue
        cells = [cell for cell in results(study, arm, rate) if cell.batch in sizes]
        cells.sort(key=lambda cell: cell.seed)
        # The smallest and the largest batch carry the result: what lies between comes last.
        edges = {min(study.batches), max(study.batches)}
        now += [cell for cell in cells if cell.batch in edges]
        between += [cell for cell in cells if cell.batch not in edges]
    now += between
    return [cell for cell in now if not record_path(work, cell).exists()], more


def work_off(
    work: Path, study: Study, store: Store, names: Sequence[str], sizes: Sequence[int]
) -> None:
    """Make every run of some arms and batches that is missing, together with other processes."""
    while True:
        cells, more = runnable(work, study, names, sizes)
        if not cells and not more:
            return
        for cell in cells:
            with _claimed(record_path(work, cell)) as mine:
                if mine and not record_path(work, cell).exists():
                    run(work, study, store, cell)
                    break
        else:
            time.sleep(WAIT_S)


def run(work: Path, study: Study, store: Store, cell: Cell) -> None:
    """Train, judge on the test split, and leave the record; one that diverges says so."""
    out = work / cell.study / cell.name
    how = recipe(study, cell)
    begin = time.perf_counter()
    head: dict[str, Any] = {
        "study": cell.study,
        "arm": cell.arm,
        "batch": cell.batch,
        "seed": cell.seed,
        "rate": cell.rate,
        "recipe": how.model_dump(mode="json"),
        "commit": commit(),
    }
    try:
        done = fit(how, store, out, resume=(out / "recipe.toml").is_file())
    except UsageError as error:
        if error.code != "training-diverged":
            raise
        body: dict[str, Any] = {"diverged": str(error), "val_mean_auroc": None}
    else:
        kept = checkpoint.load(done.checkpoint)
        test = store.select("test")
        scores = score(kept.network, kept.card.input, store, test)
        np.save(out / "test_scores.npy", scores)
        areas = auroc(store.labels[test], scores)
        body = {
            "diverged": None,
            "val_mean_auroc": done.mean_auroc,
            "test_mean_auroc": float(np.nanmean(areas)),
            "test_auroc": {
                name: None if np.isnan(area) else area
                for name, area in zip(store.label_set.findings, map(float, areas), strict=True)
            },
            "steps": done.steps,
            "images": sum(entry.images or 0 for entry in done.history),
            "images_per_s": done.images_per_s,
            "train_loss": done.history[-1].loss,
            "history": [
                entry.model_dump(include={"epoch", "loss", "val_mean_auroc"})
                for entry in done.history
            ],
            "checkpoint": str(done.checkpoint.relative_to(work)),
        }
    body["elapsed_s"] = time.perf_counter() - begin
    write_text(record_path(work, cell), json.dumps(head | body, indent=2) + "\n")
    value = body.get("test_mean_auroc")
    print(
        f"{cell.study} {cell.name}: val {body['val_mean_auroc']} test {value} "
        f"in {body['elapsed_s']:.0f} s",
        flush=True,
    )


def measure_sharpness(work: Path, study: Study, store: Store) -> None:
    """Measure every finished run that is not measured yet, together with other processes."""
    subset = surface.draw(store, "train", SHARPNESS.images, seed=SHARPNESS.seed)
    for path in sorted((work / study.name).glob("*.json")):
        target = path.with_suffix(".sharpness.json")
        record = json.loads(path.read_text("utf-8"))
        if path.suffixes[-2:] == [".sharpness", ".json"] or target.exists():
            continue
        if record["diverged"] is not None or record["seed"] not in SEEDS:
            continue
        with _claimed(target) as mine:
            if mine and not target.exists():
                kept = checkpoint.load(work / record["checkpoint"])
                found = measure(kept.network, subset, kept.card.input, SHARPNESS)
                write_text(
                    target, json.dumps(found.model_dump(exclude_unset=True), indent=2) + "\n"
                )
                print(f"{study.name} {path.stem}: {found.lambda_max}", flush=True)


def score(
    network: Classifier, spec: InputSpec, store: Store, indices: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return the logits float32 [N,K] of some images of a store."""
    found = []
    with torch.inference_mode():
        for batch in batches(store, indices, BatchOrder(batch=256), workers=1):
            images = normalise(torch.from_numpy(batch.images), spec)
            found.append(network(images.contiguous(memory_format=torch.channels_last)).numpy())
    return np.concatenate(found)


def _require_committed(document: Mapping[str, Any]) -> None:
    """Refuse a result for the record of which a run was made by code that was not committed."""
    for run in document["runs"]:
        if run["commit"].endswith("-dirty"):
            raise SystemExit(
                f"{run['arm']} at {run['batch']}, seed {run['seed']}, was made by code that is not "
                "committed; remove its record and make it again"
            )


@contextmanager
def _claimed(record: Path) -> Iterator[bool]:
    """Hold a record to be made against other processes; the lock dies with the process."""
    path = record.with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def main() -> None:
    """Make the runs that are missing, or report those that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for stores and runs")
    parser.add_argument("--data", type=filled_folder, help="folder of the Kermany radiographs")
    parser.add_argument("--study", choices=sorted(STUDIES), action="append", default=[])
    parser.add_argument("--arm", action="append", default=[], help="these alone, in this order")
    parser.add_argument("--batch", action="append", type=int, default=[], help="these alone")
    parser.add_argument("--report", action="store_true", help="tables, plots and JSON, no run")
    options = parse_args(parser)
    torch.set_num_threads(1)
    stores: dict[str, Callable[[], Store]] = {
        "phantoms": lambda: tasks.phantoms(options.work, STUDIES["phantoms"].side),
        "kermany": lambda: tasks.kermany(options.work, options.data, STUDIES["kermany"].side),
    }
    found = {}
    for name in options.study or sorted(STUDIES):
        study, store = STUDIES[name], stores[name]()
        if options.report:
            scores = {
                arm.name: tried(options.work, study, arm)
                for arm in study.arms
                if arm.follows is None
            }
            rates_of = {
                arm.name: chosen(study.source(arm), scores[study.source(arm).name])
                for arm in study.arms
            }
            found[name] = report(options.work, study, store, rates=rates_of, tried=scores)
            if options.rehearsal is None:
                _require_committed(found[name])
        else:
            names = options.arm or [arm.name for arm in study.arms]
            work_off(options.work, study, store, names, options.batch or study.batches)
            measure_sharpness(options.work, study, store)
    for name, document in found.items():
        draw(document, figures_folder(options.rehearsal))
        print("written:", write(f"large_batch_{name}", document, rehearsal=options.rehearsal))


if __name__ == "__main__":
    main()
