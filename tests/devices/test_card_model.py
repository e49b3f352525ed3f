"""What simulated cards would do: sums that must come out, and rows that never mix with clocks."""

from dataclasses import replace

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.devices import card_model
from thorax.devices.card_model import (
    STEPS,
    Offload,
    count,
    find_offloads,
    forecast,
    join,
    model_offload,
)
from thorax.devices.counters import Counter
from thorax.devices.partition import Partition, Subgraph, partition
from thorax.fpga.bitstreams import find_bitstream
from thorax.fpga.boards import IDLE_W, SOURCE, board_power, find_board
from thorax.fpga.card import CARDS, FpgaCard
from thorax.fpga.estimate import analyze
from thorax.fpga.overlay import estimate
from thorax.fpga.workload import describe
from thorax.results.shared import Modelled, Stage

BITSTREAM = find_bitstream("2019R1_RC_FP11_ResNet_SqueezeNet_VGG")
LOADED = {name: FpgaCard(name, find_board("pac-a10"), BITSTREAM, None) for name in CARDS}
HETERO = "HETERO:FPGA,CPU"


def conv(value: ov.Node, channels: int, name: str) -> ov.Node:
    given = int(value.output(0).get_shape()[1])
    weights = ops.constant(np.full((channels, given, 3, 3), 0.1, np.float32))
    made = ops.convolution(value, weights, [1, 1], [1, 1], [1, 1], [1, 1])
    made.set_friendly_name(name)
    return made


@pytest.fixture(scope="module")
def model() -> ov.Model:
    """Two convolutions with a layer between that no card has, and a sum over it."""
    image = ops.parameter([1, 3, 64, 64], np.float32, name="image")
    first = conv(image, 32, "first")
    middle = ops.softplus(first)
    middle.set_friendly_name("middle")
    second = conv(middle, 32, "second")
    total = ops.add(second, first)
    total.set_friendly_name("total")
    return ov.Model([ops.result(total, name="answer")], [image], "two")


@pytest.fixture
def split(model: ov.Model, cards: object) -> Partition:
    return partition(model, HETERO)


@pytest.fixture
def offloads(model: ov.Model, split: Partition) -> tuple[Offload, ...]:
    return find_offloads(model, split, LOADED)


def test_steps_are_those_of_the_counters_that_they_are_calibrated_on(
    offloads: tuple[Offload, ...],
) -> None:
    # OpenVINO 2018-2020, Optimization Guide: GoogLeNet v1, 3 x 224 x 224 to 1000.
    googlenet = replace(offloads[0], input_values=(150_528,), output_values=(1000,))
    steps_us = [round(step * 1e6) for step in model_offload(googlenet).steps_s]
    assert [*steps_us[:2], *steps_us[3:]] == [129, 201, 55, 7, 2]


def test_no_transfer_is_faster_than_its_link() -> None:
    gen3_x8_bytes_per_s = 63e9 / 8
    assert gen3_x8_bytes_per_s > card_model._LINK_BYTES_PER_S
    assert min(card_model._TRANSFER_S, card_model._POSTPROCESS_S, card_model._COPY_S) > 0


def test_a_tensor_crosses_once_however_many_layers_take_it(offloads: tuple[Offload, ...]) -> None:
    values = 32 * 64 * 64
    first, second = offloads
    assert (first.input_values, first.output_values) == ((3 * 64 * 64,), (values,))
    # The second takes what the layer between made and what the first made for the sum.
    assert (second.input_values, second.output_values) == ((values, values), (values,))
    assert [layer.name for one in offloads for layer in one.layers] == ["first", "second"]


def test_execution_is_what_the_overlay_takes_for_the_same_layers(
    model: ov.Model, offloads: tuple[Offload, ...]
) -> None:
    for one, names in zip(offloads, (["first"], ["second", "total"]), strict=True):
        alone = estimate(describe(model, names), BITSTREAM.architecture)
        assert model_offload(one).steps_s[2] == pytest.approx(alone.latency_s)


def test_a_batch_takes_longer_than_an_image_and_less_than_as_many(
    offloads: tuple[Offload, ...],
) -> None:
    alone, eight = (forecast(offloads, batch=batch) for batch in (1, 8))
    assert alone.latency_s < eight.latency_s < 8 * alone.latency_s
    assert eight.images_per_s > alone.images_per_s


def slowest(found: Modelled) -> Stage:
    return max(found.stages, key=lambda stage: stage.time_s)


def test_the_slowest_stage_sets_the_rate_and_the_sum_the_latency(
    offloads: tuple[Offload, ...],
) -> None:
    parts = [model_offload(one) for one in offloads]
    cards = sum(part.total_s for part in parts)
    alone = forecast(offloads, others_s=0.0)
    assert alone.latency_s == pytest.approx(cards)
    assert sum(stage.time_s for stage in alone.stages) == pytest.approx(cards)
    assert alone.images_per_s == pytest.approx(1 / slowest(alone).time_s)
    assert alone.bound_by == slowest(alone).name
    assert {stage.origin for stage in alone.stages} == {"modelled"}
    slow = forecast(offloads, others_s=2.0, side_by_side=4)
    apart = {"plus_measured", "source"}
    assert slow.model_dump(exclude=apart) == alone.model_dump(exclude=apart)
    both = slow.plus_measured
    assert both is not None
    assert both.latency_s == pytest.approx(cards + 2.0)
    assert both.stage_s == pytest.approx(0.5)
    assert both.images_per_s == pytest.approx(2.0)
    assert both.bound_by == "other devices"
    quick = forecast(offloads, others_s=1e-9).plus_measured
    assert quick is not None
    assert (quick.images_per_s, quick.bound_by) == (alone.images_per_s, alone.bound_by)


def test_a_source_says_what_is_calibrated_and_whether_other_devices_count(
    offloads: tuple[Offload, ...],
) -> None:
    source = forecast(offloads).source
    assert f"{BITSTREAM.architecture.name}, bitstream {BITSTREAM.name}, at 243 MHz" in source
    assert "Intel PAC with Arria 10 GX" in source
    assert "calibrated" in source
    assert "are not counted" in source
    assert "measured here and count apart" in forecast(offloads, others_s=1e-3).source
    assert "assumed: p_vector" in source
    assert "assumed: 2 bytes a value" in source
    assert "other devices" not in forecast(offloads, others_s=0.0).source


def test_power_is_that_of_each_board_at_its_load_and_unknown_where_a_board_is(
    offloads: tuple[Offload, ...],
) -> None:
    one = forecast(offloads)
    macs = sum(layer.macs for offload in offloads for layer in offload.layers)
    expected_w = board_power(find_board("pac-a10"), BITSTREAM.architecture, macs * one.images_per_s)
    assert one.power_w == expected_w
    assert one.power_w is not None
    assert one.images_per_s_per_w == pytest.approx(one.images_per_s / one.power_w)
    second = replace(offloads[1], card=LOADED["FPGA.1"])
    two = forecast([offloads[0], second])
    # Each board waits once, and each product is made by one of them.
    at_rest_w, products_w = 2 * IDLE_W, one.power_w - IDLE_W
    assert two.images_per_s > one.images_per_s
    assert two.power_w == pytest.approx(
        at_rest_w + products_w * two.images_per_s / one.images_per_s
    )
    unknown = replace(LOADED["FPGA.1"], board=find_board("a10dk"))
    dark = forecast([offloads[0], replace(second, card=unknown)])
    assert dark.power_w is dark.images_per_s_per_w is None


def test_a_card_that_is_busy_draws_what_an_analysis_says_of_the_same_layers(
    cards: object,
) -> None:
    image = ops.parameter([1, 64, 112, 112], np.float32, name="image")
    value: ov.Node = image
    for place in range(12):
        value = conv(value, 64, f"conv{place}")
    model = ov.Model([ops.result(value)], [image], "deep")
    found = forecast(find_offloads(model, partition(model, "FPGA"), LOADED))
    assert found.bound_by == "FPGA.0 execute"
    told = analyze("deep", describe(model), BITSTREAM.architecture, board=LOADED["FPGA.0"].board)
    assert told.images_per_s == pytest.approx(found.images_per_s)
    assert told.power_w == pytest.approx(found.power_w)
    assert told.power_source == SOURCE
    assert SOURCE in found.source


def test_engines_side_by_side_add_their_rates(offloads: tuple[Offload, ...]) -> None:
    one = forecast(offloads)
    assert join([one]) is one
    both = join([one, one], left_out=["CPU"])
    assert both.images_per_s == pytest.approx(2 * one.images_per_s)
    assert both.latency_s == one.latency_s
    assert one.power_w is not None
    assert both.power_w == 2 * one.power_w
    dark = one.model_copy(update={"power_w": None})
    assert join([one, dark]).power_w is None
    assert "What CPU would add is not counted." in both.source


def test_rows_are_six_a_subgraph_modelled_and_the_others_as_measured(
    split: Partition, offloads: tuple[Offload, ...]
) -> None:
    measured = [
        Counter(name, "Convolution", "jit", "EXECUTED", 1.0, 1.0, number)
        for name, number in (("first", 0), ("middle", 1), ("second", 2))
    ]
    parts = [model_offload(one) for one in offloads]
    rows = count(parts, split, split, measured)
    assert [row.name for row in rows] == [*STEPS, "middle", *STEPS]
    assert [row.origin for row in rows] == ["modelled"] * 6 + ["measured"] + ["modelled"] * 6
    assert [row.device for row in rows] == ["FPGA.0"] * 6 + ["CPU"] + ["FPGA.0"] * 6
    assert [row.subgraph for row in rows] == [0] * 6 + [1] + [2] * 6
    assert sum(row.real_s for row in rows if row.origin == "modelled") == pytest.approx(
        sum(part.total_s for part in parts)
    )


def test_layers_of_a_card_make_up_the_execute_step_and_count_no_second_time(
    split: Partition, offloads: tuple[Offload, ...]
) -> None:
    parts = [model_offload(one) for one in offloads]
    rows = count(parts, split, split, [], layers=True)
    layers = [row for row in rows if row.part_of]
    assert [row.name for row in layers] == ["first", "second"]
    assert not any(row.counts for row in layers)
    for number in (0, 2):
        own = [row.real_s for row in layers if row.subgraph == number]
        (execute,) = (row for row in rows if row.name == STEPS[2] and row.subgraph == number)
        assert sum(own) == pytest.approx(execute.real_s)
    assert [row.name for row in rows if row.counts] == [*STEPS, *STEPS]


def test_subgraphs_that_the_emulation_adds_are_not_those_of_the_network(
    split: Partition, offloads: tuple[Offload, ...]
) -> None:
    # HETERO may cut between what imitates the arithmetic of a card: here before both of its parts.
    cut = {0: 1, 1: 2, 2: 4}
    made = replace(
        split,
        rows=tuple(row.model_copy(update={"subgraph": cut[row.subgraph]}) for row in split.rows),
        subgraphs=tuple(
            Subgraph(number, "CPU" if number == 2 else "FPGA.0", (), 0, 0) for number in range(5)
        ),
    )
    measured = [
        Counter(name, "Any", "jit", "EXECUTED", 1.0, 1.0, number)
        for name, number in (
            ("image/fp11", 0), ("first", 1), ("middle_reorder", 2), ("middle", 2),
            ("middle/fp11", 3), ("second", 4),
        )
    ]  # fmt: skip
    rows = count([model_offload(one) for one in offloads], split, made, measured)
    assert [row.name for row in rows] == [*STEPS, "middle_reorder", "middle", *STEPS]
    assert [row.subgraph for row in rows] == [0] * 6 + [1, 1] + [2] * 6


def test_a_network_without_cards_has_no_offload(model: ov.Model) -> None:
    assert find_offloads(model, partition(model, "CPU"), {}) == ()
