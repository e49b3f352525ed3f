"""Whether a modelled run is the sum of its parts, and agrees with the doctor's model."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.cluster.collectives import Link, expected_lateness, lateness
from thorax.config import check
from thorax.errors import UsageError
from thorax.plan.systems import System, buckets_of
from thorax.plan.training_time import all_reduce_s, train, update
from thorax.plan.workloads import find_workload


def system(**fields: Any) -> System:  # noqa: ANN401 - of any field
    table = {
        "name": "test",
        "title": "a test",
        "reference": "resnet50",
        "ranks_per_node": 4,
        "images_per_s": 20.0,
        "within": {"alpha_s": 1e-6, "beta_bytes_per_s": 50e9},
        "between": {"alpha_s": 20e-6, "beta_bytes_per_s": 10e9},
        "node_power_w": 400.0,
        **fields,
    }
    return check(table, System, "test")


NUISANCES: dict[str, Any] = {
    "fixed_s": 0.1,
    "update_s": 0.2,
    "jitter": 0.05,
    "evaluation_images": 10_000,
    "start_up_s": 30.0,
    "images_per_pass": 16.0,
    "input_images_per_s": 100.0,
}


@pytest.mark.parametrize("topology", ["resnet50", "densenet121", "vgg16"])
@pytest.mark.parametrize("fields", [{}, NUISANCES])
def test_one_worker_is_as_efficient_as_itself(topology: str, fields: dict[str, Any]) -> None:
    for batch in (None, 100.0):
        assert train(system(**fields), topology, 1, batch=batch).efficiency == 1


@given(
    st.integers(2, 2048),
    st.sampled_from(["ring", "halving-doubling", "tree", "hierarchical"]),
    st.booleans(),
    st.floats(1e7, 1e11),
    st.floats(1, 8),
)
def test_a_faster_network_never_makes_training_slower(
    workers: int, algorithm: str, overlap: bool, beta: float, times: float
) -> None:
    def run(bandwidth: float) -> float:
        wire = {"alpha_s": 2e-5, "beta_bytes_per_s": bandwidth}
        one = system(algorithm=algorithm, overlap=overlap, within=wire, between=wire)
        return train(one, "resnet50", workers).time_to_train_s

    assert run(beta * times) <= run(beta) * (1 + 1e-12)


@given(st.integers(0, 10), st.booleans(), st.sampled_from(["resnet50", "vgg16-classic"]))
def test_no_number_of_workers_is_more_efficient_than_one(
    power: int, shared: bool, topology: str
) -> None:
    run = train(system(**NUISANCES), topology, 2**power, batch=4096.0 if shared else None)
    assert 0 < run.efficiency <= 1 + 1e-12


def test_free_messages_and_equal_ranks_scale_perfectly() -> None:
    free = {"alpha_s": 0.0, "beta_bytes_per_s": 1e300}
    run = train(system(within=free, between=free), "resnet50", 512)
    assert run.efficiency == pytest.approx(1)
    # 950.6 updates of 0.8 s, the last of which is a whole one.
    assert run.time_to_train_s == pytest.approx(951 * 16 / 20)
    assert run.energy_kwh == pytest.approx(128 * 0.4 * run.time_to_train_s / 3600)


def test_time_is_its_parts() -> None:
    run = train(system(**NUISANCES), "resnet50", 64)
    one = run.update
    parts = one.compute_s + one.communication_s + one.straggler_s + one.input_s
    assert run.updates == math.ceil(90 * 86_524 / 1024)
    training_s = run.updates * 1024 / run.images_per_s
    assert run.updates * parts == pytest.approx(training_s)
    assert run.time_to_train_s == pytest.approx(training_s + run.time_s.evaluation + 30)
    assert run.time_s.evaluation == pytest.approx(90 * 10_000 / 64 * (0.1 / 16 + 1 / 20) / 3)
    assert run.epoch_s * 90 + 30 == pytest.approx(run.time_to_train_s)


def test_ring_and_hierarchical_are_the_same_within_a_node_and_with_one_rank_a_node() -> None:
    for ranks, per_node in ((4, 4), (3, 8), (64, 1)):
        ring, two = (
            all_reduce_s(system(algorithm=name, ranks_per_node=per_node), ranks, 1e8)
            for name in ("ring", "hierarchical")
        )
        assert ring == two
    inside = all_reduce_s(system(), 4, 1e8)
    assert inside == Link(1e-6, 50e9).ring_s(4, 1e8)


def test_buckets_that_come_evenly_end_as_in_closed_form() -> None:
    # A ring of one bucket longer, and shorter, than the part of the pass that makes it.
    for bandwidth in (1e8, 1e10):
        wire = {"alpha_s": 0.0, "beta_bytes_per_s": bandwidth}
        one = system(even=True, bucket_mb=25.0, between=wire)
        size = find_workload("resnet50").gradient_bytes
        count = buckets_of(one, size)
        assert count == 4
        bucket_s = Link(0.0, bandwidth).ring_s(64, size / count)
        backward_s = 16 / 20 * 2 / 3
        end_s = max(backward_s + bucket_s, backward_s / count + count * bucket_s)
        found = update(one, "resnet50", ranks=64, images=16)
        assert found.communication_s == pytest.approx(end_s - backward_s)
        after = update(one.model_copy(update={"overlap": False}), "resnet50", ranks=64, images=16)
        assert after.communication_s == pytest.approx(count * bucket_s)


def test_it_agrees_with_the_model_of_the_doctor() -> None:
    from thorax.cluster.link_model import expect
    from thorax.results.cluster import StepParts

    step = StepParts(
        forward_s=0.01, backward_s=0.03, jitter=0.07, images=8, gradient_bytes=94_146_872, buckets=4
    )
    link = Link(30e-6, 2e9)
    wire = {"alpha_s": link.alpha_s, "beta_bytes_per_s": link.beta_bytes_per_s}
    one = system(
        images_per_s=1 / 0.04, forward_share=0.25, jitter=0.07, within=wire, between=wire,
        even=True, images_per_pass=8.0, bucket_mb=94_146_872 / 4 / 2**20,
    )  # fmt: skip
    worlds = [1, 2, 4, 8, 64, 512]
    for batch in (None, 4096):
        for known in expect(step, link, worlds, images=8, batch=batch):
            run = train(one, "resnet50", known.ranks, batch=batch, batch_per_worker=8.0)
            assert run.global_batch == known.batch
            assert run.update.whole_s == pytest.approx(known.step_s, rel=1e-9)
            assert run.images_per_s == pytest.approx(known.images_per_s, rel=1e-9)
            assert run.efficiency == pytest.approx(known.efficiency, rel=1e-9)


def test_the_slowest_is_late_by_its_deviations() -> None:
    for name, late in (("bound", lateness), ("expected", expected_lateness)):
        one = system(jitter=0.1, lateness=name, images_per_pass=4.0)
        found = update(one, "resnet50", ranks=32, images=16)
        # Four passes of 0.2 s, whose deviations add up as squares.
        assert found.straggler_s == pytest.approx(0.1 * 0.2 * math.sqrt(4) * late(32))


def test_images_that_come_too_slowly_are_waited_for_and_those_that_do_not_are_not() -> None:
    slow = update(system(input_images_per_s=40.0), "resnet50", ranks=4, images=16)
    assert slow.whole_s == pytest.approx(4 * 16 / 40)
    assert update(system(input_images_per_s=400.0), "resnet50", ranks=4, images=16).input_s == 0
    alone = train(system(input_images_per_s=40.0), "resnet50", 64)
    assert alone.images_per_s == pytest.approx(16 * 40)


def test_a_fixed_cost_of_a_pass_makes_small_batches_slow() -> None:
    rates = [
        train(system(fixed_s=0.5), "resnet50", 1, batch_per_worker=each).images_per_s
        for each in (1, 4, 16, 64)
    ]
    assert rates == pytest.approx([each / (0.5 + each / 20) for each in (1, 4, 16, 64)])


def test_a_topology_of_unknown_rate_makes_as_many_products_a_second() -> None:
    run = train(system(), "vgg16", 1)
    ratio = find_workload("resnet50").macs / find_workload("vgg16").macs
    assert run.images_per_s == pytest.approx(20 * ratio)
    assert train(system(rates={"vgg16": 7.0}), "vgg16", 1).images_per_s == pytest.approx(7)


def test_epochs_that_are_given_hold_whatever_the_curve() -> None:
    one = system(epochs_curve="mlperf")
    assert train(one, "resnet50", 512).epochs == pytest.approx(90)
    assert train(one, "resnet50", 2048).epochs == pytest.approx(90 * 56 / 42)
    assert train(one, "resnet50", 2048, epochs=7).epochs == 7


def test_workers_without_an_image_each_are_refused() -> None:
    with pytest.raises(UsageError, match="take 100 workers at most") as caught:
        train(system(), "resnet50", 128, batch=100)
    assert caught.value.code == "plan-batch"


def test_a_batch_beyond_an_epoch_is_refused() -> None:
    with pytest.raises(UsageError, match="a batch of 262,144, and an epoch only 86,524") as caught:
        train(system(), "resnet50", 16384, epochs=1)
    assert caught.value.code == "plan-batch"
    assert train(system(images=262_144), "resnet50", 16384, epochs=1).updates == 1


@pytest.mark.parametrize(
    ("last", "updates"), [("continues", 951), ("counts", 990), ("dropped", 900)]
)
def test_the_last_batch_of_an_epoch_is_filled_counted_or_dropped(last: str, updates: int) -> None:
    run = train(system(last_batch=last), "resnet50", 512)
    assert run.updates == updates
    assert run.time_to_train_s == pytest.approx(updates * run.update.whole_s)


def test_ranks_beyond_a_node_need_a_link_between_nodes() -> None:
    alone = system(between=None)
    assert train(alone, "resnet50", 4).workers == 4
    for algorithm in ("ring", "halving-doubling", "tree", "hierarchical"):
        with pytest.raises(UsageError, match=r"take 4 at most, or give --set between") as caught:
            train(alone.model_copy(update={"algorithm": algorithm}), "resnet50", 5)
        assert caught.value.code == "plan-link"


def test_ranks_of_a_node_share_its_link_in_halving_and_doubling() -> None:
    one = system(
        algorithm="halving-doubling",
        within={"alpha_s": 0.0, "beta_bytes_per_s": 1e300},
        between={"alpha_s": 0.0, "beta_bytes_per_s": 12.5e9},
    )
    # What leaves a node is 4 n (1/4 - 1/p) twice, as in a ring of nodes, not n (1/4 - 1/p).
    assert all_reduce_s(one, 1024, 94e6) == pytest.approx(2 * (1 - 4 / 1024) * 94e6 / 12.5e9)


def test_a_system_without_a_rate_is_refused() -> None:
    with pytest.raises(UsageError, match="has no images_per_s") as caught:
        train(system(images_per_s=None), "resnet50", 2)
    assert caught.value.code == "plan-rate"


def test_a_rate_of_a_network_that_cannot_be_counted_says_nothing_of_another() -> None:
    one = system(reference="resnet18", gradient_bytes=45e6)
    assert train(one, "resnet18", 1).images_per_s == pytest.approx(20)
    with pytest.raises(UsageError, match="measure resnet50") as caught:
        train(one, "resnet50", 2)
    assert caught.value.code == "plan-rate"
