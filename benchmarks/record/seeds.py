"""What a large batch costs, over patients and seeds: the studies of `benchmarks.large_batch`.

A study has one test split and a few seeds. Patients are resampled with the networks as they are;
that tells nothing of what another seed would have trained. So the interval of a difference has
both, half-widths over patients and over seeds (Student's t of the differences of the seeds), put
together as those of independent parts: the root of the sum of their squares.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from scipy import stats

from benchmarks.large_batch.cells import GOAL, SMALL

CONFIDENCE: Final = 0.95
REFERENCE: Final = ("sgd", SMALL)
"""Way to train and batch that all others are held against."""

Run = Mapping[str, Any]


def with_seeds(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the document of a study with `interval` and `seed_differences` in each row.

    And with `harder_interval` and `harder_seed_differences`, of the harder finding. They are None
    where no run ended of which the reference has one, and where one of the seeds diverged: what is
    left would be a choice of the better ones. Other documents stay as they are.
    """
    if not {"summary", "runs", "seeds"} <= document.keys():
        return document
    rows = []
    for row in document["summary"]:
        more = _row(document, row, "", lambda run: run["test_mean_auroc"])
        if (harder := document.get("harder")) is not None:
            more |= _row(document, row, "harder_", lambda run: run["test_auroc"][harder])
        rows.append({**row, **more})
    return {"goal": GOAL, **document, "summary": rows}


def over_both(
    value: float, patients: Sequence[float], seeds: Sequence[float]
) -> tuple[float, float]:
    """Return the interval of a mean difference, of one over patients and of those of each seed.

    Args:
        value: the mean difference.
        patients: lower and upper bound of its interval over patients.
        seeds: the difference of each seed, two or more.
    """
    t = float(stats.t.ppf((1.0 + CONFIDENCE) / 2.0, len(seeds) - 1))
    width = t * statistics.stdev(seeds) / math.sqrt(len(seeds))
    low, high = patients
    return value - math.hypot(value - low, width), value + math.hypot(high - value, width)


def _row(document: Mapping[str, Any], row: Run, key: str, area: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return what a row has of its differences by seed, and their interval."""

    def ended(way: tuple[str, int]) -> dict[int, float]:
        own = (run for run in document["runs"] if (run["arm"], run["batch"]) == way)
        return {run["seed"]: area(run) for run in own if run["diverged"] is None}

    way = row["arm"], row["batch"]
    mine, reference = ended(way), ended(REFERENCE)
    paired = [mine[seed] - reference[seed] for seed in mine if seed in reference]
    patients = row.get(f"{key}difference_interval")
    interval = None
    if way != REFERENCE and not row["diverged"] and patients is not None and len(paired) > 1:
        interval = list(over_both(row[f"{key}difference"], patients, paired))
    return {f"{key}seed_differences": paired or None, f"{key}interval": interval}
