"""Whether fitted rows are met exactly, others called what they are, and the table is this one."""

import json
from typing import Any

import pytest
from benchmarks.cluster_predictions import (
    GOAL,
    all_reduce_markdown,
    comparisons,
    markdown,
)
from benchmarks.record.bindings import ROOT
from benchmarks.record.evidence import Evidence
from benchmarks.record.tables import left_out as left_out_table
from benchmarks.subjects.left_out import MOVED, leave_one_out

from thorax.config import check
from thorax.errors import UsageError
from thorax.plan.published import compare, compare_rows, ready, solve
from thorax.plan.system_files import find_system, list_systems
from thorax.plan.systems import Fit, Model, System, change

FIGURES = ("modelled", "error", "linear", "linear_error")


@pytest.mark.parametrize("name", list_systems())
def test_a_fitted_row_is_met_and_called_calibrated(name: str) -> None:
    system = find_system(name)
    for model in system.models:
        rows = compare_rows(system, model)
        assert {one.row for one in rows if one.how == "calibrated"} == {
            fit.row for fit in model.fits
        }
        for one in rows:
            assert one.free_numbers == len(model.fits)
            assert one.choices == len(model.choices)
            if model.choices:
                assert one.how in ("calibrated", "chosen", "identity")
            if one.how == "calibrated":
                assert one.error == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", list_systems())
def test_the_chosen_models_stay_within_the_goal_on_rows_they_were_chosen_with(name: str) -> None:
    system = find_system(name)
    # A regression test: forms were chosen with these rows known, so it proves no more than that.
    for one in compare_rows(system, system.models[0]):
        assert abs(one.error) <= GOAL, one


def test_a_system_left_out_has_nothing_but_its_rate_from_its_rows() -> None:
    found = leave_one_out()
    machines = {name: find_system(name).machine or name for name in list_systems()}
    assert machines["zenith"] == machines["zenith-intel-caffe"] != machines["intel-caffe"]
    assert [one.system for one in found] == [
        "c4140-v100", "intel-caffe", "zenith", "zenith-intel-caffe",
    ]  # fmt: skip
    for one in found:
        assert machines.get(one.donor) != machines[one.system]
        system = find_system(one.system)
        rates = {fit.row for fit in system.models[0].fits if fit.field == "images_per_s"}
        free = {row.name for row in system.published if not row.identity}
        assert {*one.errors, *one.unmoved} == free - rates
    # What it is for: errors that are far from those of rows a model was made with.
    sizes = [abs(error) for one in found for error in one.errors.values()]
    assert (sum(size <= GOAL for size in sizes), len(sizes)) == (3, 14)


def test_a_row_that_losses_do_not_move_is_no_test_of_them() -> None:
    for one in leave_one_out():
        system = find_system(one.system)
        if not system.models[0].fits[1:]:
            continue
        # With all that is fitted its own model is that of the rows in-sample.
        own = {row.row: row.error for row in compare_rows(system, system.models[0])}
        assert all(abs(own[row] - error) < MOVED for row, error in one.unmoved.items())
        assert all(abs(own[row] - error) >= MOVED for row, error in one.errors.items())
    unmoved = {one.system: set(one.unmoved) for one in leave_one_out() if one.unmoved}
    assert unmoved == {"intel-caffe": {"128-nodes"}}


def test_the_naive_baseline_adds_ranks_up_from_the_first_fitted_row() -> None:
    system = find_system("zenith")
    rows = {one.row: one for one in compare_rows(system, system.models[0])}
    assert rows["resnet50-512-b8192"].linear == pytest.approx(1362)
    assert rows["resnet50-1024"].linear == pytest.approx(1362 / 2, rel=2e-3)
    assert rows["resnet50-800"].linear == pytest.approx(1362 * 512 / 800, rel=2e-3)
    assert rows["densenet121-64"].linear == pytest.approx(
        rows["densenet121-1"].linear / 64, rel=1e-3
    )
    caffe = find_system("zenith-intel-caffe")
    assert {one.linear for one in compare_rows(caffe, caffe.models[0])} == {0.83}


def test_published_figures_stand_beside_the_plan_they_were_compared_with() -> None:
    system = find_system("zenith")
    solved = ready(system)
    rows, told = compare(system, solved, None)
    assert (len(rows), told) == (9 - 1, None)
    for changed, epochs in (
        (solved, 10.0),
        (change(solved, images=1000), None),
        (change(solved, epochs_curve="mlperf"), None),
        (change(solved, ["between.alpha_s=1e-6"]), None),
    ):
        rows, told = compare(system, changed, epochs)
        assert rows == ()
        assert told
        assert "left out" in told
    rows, told = compare(system, change(solved, node_power_w=300.0), None)
    assert [one.quantity for one in rows if one.quantity == "energy_kwh"] == []
    assert rows
    assert told == "published energies are left out: the watts of a node are others"
    caffe = find_system("c4140-v100")
    rows, told = compare(caffe, change(ready(caffe), node_power_w=300.0), None)
    assert (len(rows), told) == (6, None)


def test_the_published_energy_is_nodes_times_watts_times_time() -> None:
    zenith = find_system("zenith")
    assert zenith.node_power_w is not None
    joules = 256 * zenith.node_power_w * zenith.row("resnet50-1024").value
    assert joules / 3.6e6 == pytest.approx(zenith.row("resnet50-1024-energy").value)


def test_numbers_come_back_from_the_rows_they_made() -> None:
    table: dict[str, Any] = {
        "name": "made",
        "title": "made",
        "reference": "resnet50",
        "ranks_per_node": 1,
        "within": {"alpha_s": 1e-6, "beta_bytes_per_s": 1e10},
        "between": {"alpha_s": 1e-5, "beta_bytes_per_s": 1e9},
        "images_per_s": 33.0,
        "update_s": 0.25,
    }
    row = {
        "topology": "resnet50", "quantity": "images_per_s", "source": "made", "workers": 64,
    }  # fmt: skip
    known = check(table, System, "made")
    from thorax.plan.training_time import train

    rows = [
        {**row, "name": str(each), "batch": 64 * each,
         "value": train(known, "resnet50", 64, batch=64 * each).images_per_s}
        for each in (4, 32)
    ]  # fmt: skip
    model = Model(
        name="two",
        fits=(Fit(field="images_per_s", row="32"), Fit(field="update_s", row="4")),
    )
    blank = check({**table, "images_per_s": None, "update_s": 0.0, "published": rows}, System, "")
    found = solve(blank, model)
    assert found.images_per_s == pytest.approx(33.0, rel=1e-6)
    assert found.update_s == pytest.approx(0.25, rel=1e-6)


def test_a_row_that_no_number_explains_is_refused() -> None:
    system = find_system("c4140-v100")
    # One GPU waits for nobody, however much it varies.
    model = Model(
        name="none",
        fits=(Fit(field="jitter", row="1-gpu"),),
        changes={"images_per_s": 100.0},
    )
    with pytest.raises(UsageError, match="no jitter makes c4140-v100") as caught:
        solve(system, model)
    assert caught.value.code == "plan-fit"


def test_the_committed_comparisons_are_computed_again() -> None:
    committed = Evidence().newest("cluster_predictions").document
    fresh = json.loads(json.dumps(comparisons()))
    assert committed["sources"] == fresh["sources"]
    assert len(committed["models"]) == len(fresh["models"])
    for old, new in zip(committed["rows"], fresh["rows"], strict=True):
        assert {key: old[key] for key in old if key not in FIGURES} == {
            key: new[key] for key in new if key not in FIGURES
        }
        assert old["modelled"] == pytest.approx(new["modelled"], rel=1e-4)
    told = (ROOT / "docs" / "planning.md").read_text("utf-8").splitlines()
    assert not set(markdown(committed)) - set(told)
    assert committed["all_reduces"] == fresh["all_reduces"]
    assert not set(all_reduce_markdown(committed)) - set(told)
    planned = {(one["system"], one["model"]) for one in fresh["models"] if one["plans_use_it"]}
    used = [one for one in fresh["summary"] if (one["system"], one["model"]) in planned]
    assert sum(one["within_goal"] for one in used) == sum(one["tested"] for one in used) == 12
    assert committed["left_out"] == fresh["left_out"]
    assert committed["left_out_in_all"] == fresh["left_out_in_all"]
    assert not set(left_out_table(committed).splitlines()) - set(told)
    single = [
        one
        for one in fresh["summary"]
        if one["free_numbers"] == 1 and not one["model"].startswith("variant")
    ]
    assert sum(one["within_goal"] for one in single) == 7
    assert sum(one["tested"] for one in single) == 19
    assert sum(one["linear_within_goal"] for one in single) == 8
    assert sum(one["linear_within_goal"] for one in used) == 6
    assert [len(one["choices"]) for one in fresh["models"] if one["plans_use_it"]] == [
        2,
        2,
        0,
        0,
        3,
        2,
    ]
    for old, new in zip(committed["summary"], fresh["summary"], strict=True):
        assert old["within_goal"] == new["within_goal"]
