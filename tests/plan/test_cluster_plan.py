"""Whether a plan says what its runs say, and where more workers stop paying."""

import math
from dataclasses import replace

import pytest

from thorax.errors import UsageError
from thorax.plan.cluster_plan import ClusterQuestion, plan_cluster, workers_in
from thorax.plan.published import compare_rows, ready
from thorax.plan.system_files import find_system
from thorax.plan.systems import change
from thorax.plan.training_time import train


@pytest.mark.parametrize(
    ("text", "workers"),
    [
        ("64", (64,)),
        ("512, 1,64", (1, 64, 512)),
        ("1..8", (1, 2, 4, 8)),
        ("3..13,5", (3, 5, 6, 12)),
    ],
)
def test_numbers_of_workers_are_read(text: str, workers: tuple[int, ...]) -> None:
    assert workers_in(text) == workers


@pytest.mark.parametrize(
    "text", ["", "0", "a", "1..", "..4", "-3", "8..4", "1;2", "9" * 400, "1..16777217"]
)
def test_what_is_no_number_of_workers_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        workers_in(text)
    assert caught.value.code == "plan-workers"


def test_rows_are_runs_and_their_times_add_up() -> None:
    system = ready(find_system("zenith"))
    question = ClusterQuestion(
        "densenet121", (1, 64, 512), batch_per_worker=16, price_per_node_hour=2.0
    )
    plan = plan_cluster(system, question)
    assert plan.modelled is True
    for row in plan.rows:
        run = train(system, "densenet121", row.workers, batch_per_worker=16)
        assert row.time_to_train_s == run.time_to_train_s
        assert math.fsum(row.time_s.model_dump().values()) == pytest.approx(run.time_to_train_s)
        assert row.cost is not None
        assert row.cost == pytest.approx(2 * row.nodes * run.time_to_train_s / 3600)
        assert row.energy_kwh == pytest.approx(row.cost / 2 * 0.45)


def test_a_batch_that_is_shared_stops_paying_and_one_that_grows_does_not() -> None:
    system = ready(find_system("zenith"))
    question = ClusterQuestion("resnet50", workers_in("1..4096"), batch=8192, batch_per_worker=16)
    plan = plan_cluster(system, question)
    grows, shared = plan.stops_paying
    assert (grows.scaling, grows.workers) == ("batch grows", None)
    rows = [row for row in plan.rows if row.scaling == "batch shared"]
    by_workers = {row.workers: row.saved_by_doubling or 0.0 for row in rows}
    stop = shared.workers or 0
    assert by_workers[stop] < 0.5 <= by_workers[stop // 2]
    assert all(saved < 0.5 for count, saved in by_workers.items() if count > stop)


def test_what_doubling_saves_is_told_of_the_rows_themselves() -> None:
    system = ready(find_system("zenith"))
    plan = plan_cluster(system, ClusterQuestion("vgg16", (256, 512), batch=8192))
    low, high = plan.rows
    ratio = low.time_to_train_s / high.time_to_train_s
    assert low.saved_by_doubling == pytest.approx(math.log2(ratio))


def test_epochs_that_grow_with_the_batch_make_scaling_stop_paying() -> None:
    system = change(ready(find_system("zenith")), epochs_curve="mlperf")
    question = ClusterQuestion("resnet50", workers_in("1..4096"), batch_per_worker=16)
    stop = plan_cluster(system, question).stops_paying[0]
    assert stop.workers == 2048
    # Twice 4,096 workers would have a batch of which no epochs are published.
    last = plan_cluster(system, replace(question, workers=(4096,))).rows[0]
    assert last.saved_by_doubling is None


def test_a_cluster_of_which_the_last_can_be_shared_no_further_says_so() -> None:
    system = ready(find_system("zenith"))
    row = plan_cluster(system, ClusterQuestion("resnet50", (64,), batch=64)).rows[0]
    assert row.saved_by_doubling is None


def test_published_figures_stand_beside_the_plan_of_their_topology() -> None:
    found = find_system("c4140-v100")
    plan = plan_cluster(
        ready(found), ClusterQuestion("densenet121", (1, 16)), compare_rows(found, found.models[0])
    )
    last = plan.published[-1]
    assert last.workers == 16
    assert last.computed
    assert last.time_to_train_s == pytest.approx(10 * 77_871 / 1912.82)
    assert not plan_cluster(ready(found), ClusterQuestion("vgg16", (1,))).published
