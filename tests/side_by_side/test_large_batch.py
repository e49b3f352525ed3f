"""The large-batch experiment: how rates are chosen, which records count, and what seeds tell."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from benchmarks.large_batch.cells import (
    MOST_TRIES,
    SEEDS,
    STUDIES,
    TRIES,
    TUNING_SEED,
    Cell,
    Study,
    rates,
    recipe,
    results,
    tuning,
)
from benchmarks.large_batch.records import read_record, record_path
from benchmarks.record import tables
from benchmarks.record.seeds import with_seeds

studies = pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)


def tried(best: float, lowest: float = 0.1) -> list[float]:
    """Return all rates that are tried where scores fall away from a best one."""
    scores: dict[float, float] = {}
    while missing := [rate for rate in rates(lowest, scores) if rate not in scores]:
        scores |= {rate: -abs(rate - best) for rate in missing}
    return sorted(scores)


def test_rates_double_and_go_on_beyond_an_end_that_is_best() -> None:
    assert tried(0.2) == [0.1, 0.2, 0.4, 0.8]
    assert tried(1.6) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    assert tried(100.0) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    assert tried(0.05) == [0.025, 0.05, 0.1, 0.2, 0.4, 0.8]
    assert {len(tried(best)) for best in (0.2, 0.05, 100.0)} == {TRIES, MOST_TRIES}


@studies
def test_every_tuned_way_tries_rates_by_the_same_rule(study: Study) -> None:
    tuned = [arm for arm in study.arms if arm.follows is None]
    assert {"sgd", "sgd-tuned", "lars", "adam", "adam-tuned"} <= {arm.name for arm in tuned}
    assert {len(tuning(study, arm, {})) for arm in tuned} == {TRIES}
    for arm in study.arms:
        assert arm.lowest_rate is not None or study.source(arm).lowest_rate is not None
    # No result has the seed that chose.
    assert TUNING_SEED not in SEEDS
    for arm in tuned:
        assert {cell.seed for cell in results(study, arm, 1.0)} == {*SEEDS}


def study(diverged: str | None = None, **keys: object) -> dict[str, Any]:
    """Return the document of a study of three seeds whose large batch costs 0.01, 0.02 and 0.03."""
    runs = [
        {
            "arm": "sgd", "batch": batch, "seed": seed, "commit": "abc",
            "diverged": diverged if (batch, seed) == (512, 2) else None,
            "test_mean_auroc": 0.9 - cost, "test_auroc": {"Bacterial": 0.8 - 2 * cost},
        }
        for batch, costs in ((32, (0.0, 0.0, 0.0)), (512, (0.01, 0.02, 0.03)))
        for seed, cost in enumerate(costs)
    ]  # fmt: skip
    row = {
        "arm": "sgd", "batch": 512, "diverged": int(diverged is not None), "difference": -0.02,
        "difference_interval": [-0.023, -0.016], "harder_difference": -0.04,
        "harder_difference_interval": [-0.046, -0.032],
    }  # fmt: skip
    first = {"arm": "sgd", "batch": 32, "diverged": 0, "difference": None}
    return {
        "summary": [first, row], "runs": runs, "seeds": [0, 1, 2], "harder": "Bacterial", **keys
    }  # fmt: skip


def test_the_interval_of_a_difference_has_the_seeds_in_it() -> None:
    first, row = with_seeds(study())["summary"]
    assert first["interval"] is None
    assert row["seed_differences"] == pytest.approx([-0.01, -0.02, -0.03])
    # Student's t of two degrees of freedom is 4.303.
    seeds = 4.303 * 0.01 / 3**0.5
    assert row["interval"] == pytest.approx(
        [-0.02 - math.hypot(0.003, seeds), -0.02 + math.hypot(0.004, seeds)], abs=1e-5
    )
    assert row["harder_seed_differences"] == pytest.approx([-0.02, -0.04, -0.06])
    assert row["harder_interval"][1] > 0, "three seeds that lie apart tell little"
    again = with_seeds(with_seeds(study()))
    assert again == with_seeds(study())
    assert with_seeds({"claim": "other"}) == {"claim": "other"}


def test_a_row_of_which_a_seed_diverged_has_no_difference() -> None:
    row = with_seeds(study("loss is nan"))["summary"][1]
    assert row["interval"] is None
    assert tables.difference(row) == ""
    assert tables.difference(with_seeds(study())["summary"][0]) == "-"


def test_a_record_of_another_recipe_is_refused(tmp_path: Path) -> None:
    chosen = STUDIES["phantoms"]
    cell = Cell("phantoms", "sgd", 32, 0, 0.8)
    assert read_record(tmp_path, chosen, cell) is None
    path = record_path(tmp_path, cell)
    path.parent.mkdir()
    own = recipe(chosen, cell).model_dump(mode="json")
    path.write_text(json.dumps({"recipe": own, "seed": 0}), "utf-8")
    assert read_record(tmp_path, chosen, cell) == {"recipe": own, "seed": 0}
    own["training"]["epochs"] += 1
    path.write_text(json.dumps({"recipe": own, "seed": 0}), "utf-8")
    with pytest.raises(SystemExit, match="another recipe; remove it"):
        read_record(tmp_path, chosen, cell)
