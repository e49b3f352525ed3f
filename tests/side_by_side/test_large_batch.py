"""How rates are chosen in the large-batch experiment: every tuned way by the same rule."""

import pytest
from benchmarks.large_batch.cells import (
    MOST_TRIES,
    SEEDS,
    STUDIES,
    TRIES,
    TUNING_SEED,
    Study,
    rates,
    results,
    tuning,
)

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
