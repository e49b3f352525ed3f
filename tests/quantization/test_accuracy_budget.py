"""What a precision costs in AUROC: paired, on the val split, by a budget."""

import dataclasses
import math

import numpy as np
import pytest

from thorax import metrics
from thorax.artifact import Artifact
from thorax.data.store import Store
from thorax.devices.engine import compile
from thorax.errors import DataError, DeviceError, UsageError
from thorax.metrics import Interval
from thorax.quantization.accuracy_budget import (
    AccuracyBudget,
    Verdict,
    budget_warning,
    check_budget,
)


@pytest.fixture(scope="module")
def budget(tiny_fp32: Artifact, tiny_store: Store) -> AccuracyBudget:
    return AccuracyBudget(tiny_store, tiny_fp32, samples=100)


@pytest.fixture(scope="module")
def verdict(budget: AccuracyBudget, tiny_int8: Artifact) -> Verdict:
    return budget.judge(tiny_int8)


def test_the_fp32_graph_loses_nothing(budget: AccuracyBudget, tiny_fp32: Artifact) -> None:
    assert budget.reference.drop == 0
    assert budget.judge(tiny_fp32).drop == 0
    mean = budget.bounds(budget.judge(tiny_fp32)).mean
    assert mean.value == 0
    assert math.isnan(mean.low) or (mean.low, mean.high) == (0, 0)


def test_the_drop_is_that_of_the_mean_over_defined_findings_on_the_val_split(
    budget: AccuracyBudget, verdict: Verdict, tiny_int8: Artifact, tiny_store: Store
) -> None:
    indices = tiny_store.select("val")
    scores = compile(tiny_int8).infer_many(tiny_store.images, indices).probability
    areas = metrics.auroc(tiny_store.labels[indices], scores)
    assert verdict.mean_auroc == pytest.approx(np.nanmean(areas))
    assert verdict.drop == pytest.approx(budget.reference.mean_auroc - np.nanmean(areas))
    assert budget.mean_auroc(verdict.scores) == pytest.approx(verdict.mean_auroc)


def test_intervals_are_those_of_patients_that_both_graphs_saw(
    budget: AccuracyBudget, verdict: Verdict, tiny_store: Store
) -> None:
    indices = tiny_store.select("val")
    wanted = metrics.bootstrap_difference(
        tiny_store.labels[indices],
        verdict.scores,
        budget.reference.scores,
        [tiny_store.patients[index] for index in indices],
        samples=100,
    )
    found = budget.bounds(verdict)
    assert repr(found) == repr(wanted)
    assert found.mean.value == pytest.approx(verdict.drop)


def test_a_split_that_cannot_judge_is_refused(tiny_fp32: Artifact, tiny_store: Store) -> None:
    empty = dataclasses.replace(tiny_store, splits=("train",) * len(tiny_store))
    alike = dataclasses.replace(tiny_store, labels=np.zeros_like(tiny_store.labels))
    for store, code in ((empty, "split-empty"), (alike, "auroc-undefined")):
        with pytest.raises(DataError) as refused:
            AccuracyBudget(store, tiny_fp32)
        assert refused.value.code == code


def test_a_device_that_is_not_here_is_refused(tiny_fp32: Artifact, tiny_store: Store) -> None:
    with pytest.raises(DeviceError):
        AccuracyBudget(tiny_store, tiny_fp32, device="ABACUS")


@pytest.mark.parametrize("budget", [-0.001, 1.0, float("nan"), float("inf")])
def test_a_budget_that_is_no_drop_of_an_auroc_is_refused(budget: float) -> None:
    with pytest.raises(UsageError) as refused:
        check_budget(budget)
    assert refused.value.code == "auroc-budget-range"


def test_any_drop_from_nothing_to_all_may_be_allowed() -> None:
    for budget in (None, 0.0, 0.002, 0.999):
        check_budget(budget)


def test_a_kept_budget_is_doubted_where_its_interval_breaks_it() -> None:
    assert budget_warning(Interval(0.0007, -0.0002, 0.0016), 0.002) is None
    wide = budget_warning(Interval(0.0007, -0.002, 0.0041), 0.002)
    assert wide is not None
    assert "0.0007 is within 0.002, but its 95% interval reaches 0.0041" in wide
    unknown = budget_warning(Interval(0.0, math.nan, math.nan), 0.002)
    assert unknown is not None
    assert "no interval" in unknown
