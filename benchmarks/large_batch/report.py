"""What the runs of the large-batch experiment showed: tables, plots and one JSON document."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.harness.result import table
from benchmarks.large_batch.cells import GOAL, SEEDS, SHARPNESS, SMALL, Arm, Cell, Study, results
from benchmarks.large_batch.plots import against_batch, against_each_other
from benchmarks.large_batch.records import Record, read_record, record_path
from benchmarks.record.seeds import with_seeds
from benchmarks.record.tables import difference
from thorax.data.store import Store
from thorax.metrics import bootstrap_auroc, bootstrap_difference

RESAMPLES: Final = 400


def report(
    work: Path,
    study: Study,
    store: Store,
    *,
    rates: Mapping[str, float | None],
    tried: Mapping[str, Mapping[float, float]],
) -> dict[str, Any]:
    """Print the table of a study and return its document.

    Runs that are not made yet are left out, and a diverged one counts as diverged.

    Args:
        work: folder of the records.
        study: which.
        store: it was trained and tested on.
        rates: that were chosen, by arm; None while they are open.
        tried: the validation AUROC of each rate tried, by tuned arm.
    """
    runs: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for arm in study.arms:
        rate = rates[arm.name]
        if rate is None:
            continue
        for batch in arm.batches:
            cells = [cell for cell in results(study, arm, rate) if cell.batch == batch]
            found = [
                _run(work, store, cell, record)
                for cell in cells
                if (record := read_record(work, study, cell)) is not None
            ]
            runs += found
            if found:
                rows.append(_row(arm, batch, found))
    small = {run["seed"]: run for run in runs if (run["arm"], run["batch"]) == ("sgd", SMALL)}
    for row in rows:
        row |= _difference(work, store, row, runs, small)
        if study.harder is not None:
            column = store.label_set.index(study.harder)
            own = _difference(work, store, row, runs, small, column)
            row |= {f"harder_{key}": value for key, value in own.items()}
    document = {
        "study": study.name,
        "harder": study.harder,
        "side": study.side,
        "epochs": study.epochs,
        "images": {name: len(store.select(name)) for name in ("train", "val", "test")},
        "seeds": list(SEEDS),
        "goal": GOAL,
        "tuning": [
            {
                "arm": arm,
                "batch": study.arm(arm).tuned_at,
                "val_mean_auroc": {f"{rate:g}": score for rate, score in sorted(scores.items())},
                "chosen": rates[arm],
            }
            for arm, scores in tried.items()
        ],
        "summary": rows,
        "runs": [{key: run[key] for key in run if key != "cell"} for run in runs],
    }
    whole = dict(with_seeds(document))
    _print(study, whole["summary"])
    return whole


def _kept(record: Record, *keys: str) -> dict[str, Any]:
    return {key: record.get(key) for key in keys}


def _run(work: Path, store: Store, cell: Cell, record: Record) -> dict[str, Any]:
    """Return what is reported of one run."""
    made = _kept(
        record, "arm", "batch", "seed", "rate", "commit", "diverged", "steps", "images"
    ) | _kept(
        record, "images_per_s", "train_loss", "val_mean_auroc", "test_mean_auroc", "test_auroc"
    )
    made |= {"cell": cell, "peak": record["recipe"]["schedule"]["peak"]}
    if made["diverged"] is None:
        test = store.select("test")
        patients = [store.patients[place] for place in test]
        mean = bootstrap_auroc(
            store.labels[test], _scores(work, cell), patients, samples=RESAMPLES
        ).mean
        made["test_interval"] = [mean.low, mean.high]
    path = record_path(work, cell).with_suffix(".sharpness.json")
    if path.is_file():
        found = json.loads(path.read_text("utf-8"))
        made |= {
            "keskar": found["keskar"][0]["phi"],
            "adaptive": found["adaptive"][0]["rise"],
            "lambda_max": found["lambda_max"]["value"],
        }
    return made


def _scores(work: Path, cell: Cell) -> np.ndarray[Any, np.dtype[np.float32]]:
    found: np.ndarray[Any, np.dtype[np.float32]] = np.load(
        work / cell.study / cell.name / "test_scores.npy"
    )
    return found


def _row(arm: Arm, batch: int, runs: Sequence[Record]) -> dict[str, Any]:
    ended = [run for run in runs if run["diverged"] is None]
    return {
        "arm": arm.name,
        "title": arm.title,
        "batch": batch,
        "updates": runs[0].get("steps"),
        "peak": runs[0]["peak"],
        "diverged": len(runs) - len(ended),
        "test": [run["test_mean_auroc"] for run in ended],
        "test_auroc": [run["test_auroc"] for run in ended],
        "train_loss": [run["train_loss"] for run in ended],
        **{name: [run[name] for run in ended if name in run] for name in SHARPNESS},
    }


def _difference(
    work: Path,
    store: Store,
    row: Record,
    runs: Sequence[Record],
    small: Mapping[int, Record],
    column: int | None = None,
) -> dict[str, Any]:
    """Return AUROC of a row minus that of the small batch, paired by seed and by patient.

    Of the mean over findings, or of one column of the labels.

    The interval is over patients, the networks of these seeds as they are: it has the means of the
    ends of the seeds' intervals. `benchmarks.record.seeds` takes the seeds in.
    """
    test = store.select("test")
    patients = [store.patients[place] for place in test]
    found = []
    for run in runs:
        other = small.get(run["seed"])
        mine = (run["arm"], run["batch"]) == (row["arm"], row["batch"])
        if not mine or other is None or run["diverged"] or other["diverged"] or run is other:
            continue
        difference = bootstrap_difference(
            store.labels[test],
            _scores(work, other["cell"]),
            _scores(work, run["cell"]),
            patients,
            samples=RESAMPLES,
        )
        found.append(difference.mean if column is None else difference.labels[column])
    if not found:
        return {"difference": None, "difference_interval": None}
    return {
        "difference": statistics.fmean(one.value for one in found),
        "difference_interval": [
            statistics.fmean(one.low for one in found),
            statistics.fmean(one.high for one in found),
        ],
    }


def _print(study: Study, rows: Sequence[Record]) -> None:
    table(
        f"{study.name}, {study.epochs} epochs, test split",
        ("Arm", "Batch", "Updates", "Peak rate", "AUROC", "Seeds", "Difference", *SHARPNESS),
        [
            (
                row["title"],
                f"{row['batch']:,}",
                f"{row['updates'] or 0:,}",
                f"{row['peak']:.3g}",
                f"{statistics.fmean(row['test']):.4f}" if row["test"] else "diverged",
                " ".join(f"{value:.4f}" for value in row["test"]),
                difference(row, bold=False),
                *(f"{statistics.fmean(row[key]):.3g}" if row[key] else "-" for key in SHARPNESS),
            )
            for row in rows
        ],
    )


def draw(document: Record, folder: Path) -> None:
    """Draw the plots of the document of a study into a folder."""
    rows, name = document["summary"], f"large_batch_{document['study']}"
    against_batch(
        folder / f"{name}_auroc.svg",
        rows,
        [("test", "Mean AUROC, test split", False)],
    )
    if not any(row["keskar"] for row in rows):
        return
    against_batch(
        folder / f"{name}_sharpness.svg",
        rows,
        [(key, label, True) for key, label in SHARPNESS.items()],
    )
    titles = {row["arm"]: row["title"] for row in rows}
    against_each_other(
        folder / f"{name}_sharpness_auroc.svg",
        [
            {**run, "title": titles[run["arm"]]}
            for run in document["runs"]
            if run["diverged"] is None
        ],
        ("adaptive", SHARPNESS["adaptive"]),
        ("test_mean_auroc", "Mean AUROC, test split"),
    )
