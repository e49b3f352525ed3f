"""Who runs what, why, and what crosses; as HETERO really does it."""

from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest
from tests.devices.networks import NETWORKS, Builder, interrupted

from thorax.devices.graph import compile_graph
from thorax.devices.partition import assign, live_layers, partition, set_apart
from thorax.errors import DeviceError, ModelError
from thorax.fpga.card import erase
from thorax.fpga.emulation import AFFINITY

HETERO = "HETERO:FPGA,CPU"


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_a_row_with_a_device_and_a_reason(name: str, cards: Path) -> None:
    model = NETWORKS[name]()
    split = partition(model, HETERO)
    rows = {row.name: row for row in split.rows}
    assert set(live_layers(model)) < set(rows)
    assert {row.device for row in split.rows} == {"FPGA.0", "CPU"}
    assert all(row.reason for row in split.rows)
    assert rows["probability"].device == "CPU"
    assert "Sigmoid" in rows["probability"].reason
    assert all(row.device == "FPGA.0" for row in split.rows if row.type == "Convolution")
    for number, subgraph in enumerate(split.subgraphs):
        assert subgraph.number == number
        assert {rows[layer].subgraph for layer in subgraph.layers} == {number}
        assert {rows[layer].device for layer in subgraph.layers} == {subgraph.device}


def test_what_crosses_is_counted_in_bytes(cards: Path) -> None:
    net = Builder(16)
    value = net.conv(net.softplus(net.conv(net.image, 64, 5)), 64, 5)
    split = partition(net.model(value), HETERO)
    sizes = [(one.layer, one.source, one.target, one.size_bytes) for one in split.crossings]
    tensor = 4 * 64 * 16 * 16
    assert sizes[:2] == [("bias-2", 0, 1, tensor), ("unsupported-3", 1, 2, tensor)]
    assert [one.device for one in split.subgraphs] == ["FPGA.0", "CPU", "FPGA.0", "CPU"]
    assert split.subgraphs[0].input_bytes == 4 * 3 * 16 * 16
    assert [one.input_bytes for one in split.subgraphs][1:3] == [tensor, tensor]
    assert split.subgraphs[-1].output_bytes == 4 * 14
    entering = {row.name: row.input_bytes for row in split.rows if row.input_bytes}
    assert entering["unsupported-3"] == entering["conv-4"] == tensor


def test_each_part_of_a_layer_that_crosses_is_counted_once(cards: Path) -> None:
    net = Builder(32)
    value = net.softplus(net.conv(net.image, 64, 5))
    halves = ops.split(value, ops.constant(1), 2)
    first, again, second = (net.relu(halves.output(port)) for port in (0, 0, 1))
    both = net.concat(*(net.conv(value, 64, 5) for value in (first, again, second)))
    split = partition(net.model(both), HETERO)
    part = 4 * 32 * 32 * 32
    assert [one.device for one in split.subgraphs] == ["FPGA.0", "CPU", "FPGA.0", "CPU"]
    assert [one.size_bytes for one in split.crossings[1:3]] == [part, part]
    assert split.subgraphs[1].output_bytes == split.subgraphs[2].input_bytes == 2 * part


def test_a_small_island_goes_to_its_neighbours(cards: Path) -> None:
    net = Builder(16)
    value = net.softplus(net.conv(net.image, 64, 5))
    split = partition(net.model(net.softplus(net.relu(value))), HETERO)
    apart = partition(net.model(net.softplus(net.relu(value))), HETERO, merge=False)
    devices = {row.name: row.device for row in split.rows}
    reasons = {row.name: row.reason for row in split.rows}
    relu = next(name for name in devices if name.startswith("relu"))
    assert devices[relu] == "CPU"
    assert "would cost 2 crossings" in reasons[relu]
    assert split.crossings_before == len(apart.crossings) == apart.crossings_before
    assert len(split.crossings) < split.crossings_before


def test_work_that_is_worth_its_crossings_stays(cards: Path) -> None:
    split = partition(interrupted(), HETERO)
    assert all(row.device == "FPGA.0" for row in split.rows if row.type == "Convolution")


def test_a_card_alone_refuses_what_it_lacks_and_says_what_would_do(cards: Path) -> None:
    for device in ("FPGA", "HETERO:FPGA", "FPGA.2"):
        with pytest.raises(DeviceError, match=r"unsupported-6 \(SoftPlus.*HETERO:FPGA") as refused:
            partition(interrupted(), device)
        assert refused.value.code == "fpga-layer"
        assert "probability" in refused.value.message
    with pytest.raises(DeviceError, match=r"unsupported-6.*HETERO:FPGA.0,FPGA.1,CPU") as refused:
        partition(interrupted(), "HETERO:FPGA.0,FPGA.1")
    assert refused.value.code == "fpga-layer"


def test_an_unprogrammed_card_is_refused(cards: Path) -> None:
    erase("FPGA.1")
    with pytest.raises(DeviceError, match=r"FPGA\.1.*thorax fpga program") as refused:
        partition(interrupted(), "HETERO:FPGA.0,FPGA.1,CPU")
    assert refused.value.code == "fpga-unprogrammed"


def test_the_first_of_a_list_that_has_a_layer_runs_it(cards: Path) -> None:
    split = partition(interrupted(), "HETERO:FPGA.2,FPGA.0,CPU")
    assert {row.device for row in split.rows} == {"FPGA.2", "CPU"}
    split = partition(interrupted(), "HETERO:CPU,FPGA.0")
    assert {row.device for row in split.rows} == {"CPU"}
    assert len(split.subgraphs) == 1
    assert split.crossings == ()


@pytest.mark.parametrize("device", ["CPU", "HETERO:CPU", "HETERO"])
def test_a_network_without_a_card_is_whole(device: str) -> None:
    split = partition(interrupted(), device)
    assert {row.device for row in split.rows} == {"CPU"}
    assert [one.number for one in split.subgraphs] == [0]
    assert all(row.reason for row in split.rows)


def test_affinities_stand_on_every_node(cards: Path) -> None:
    model = interrupted()
    split = partition(model, "HETERO:FPGA.3,CPU")
    assign(model, split)
    found = {}
    for node in model.get_ordered_ops():
        found[node.get_friendly_name()] = node.get_rt_info()[AFFINITY].astype(str)
    assert len(found) == len(model.get_ordered_ops())
    assert set(found.values()) == {"FPGA3", "CPU"}
    assert found["image"] == "FPGA3"
    assert found["answer"] == found["probability"] == "CPU"


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "f8e4m3"])
def test_layers_share_no_constant_and_nodes_no_name(kind: str) -> None:
    image = ops.parameter([1, 4, 4, 4], np.float32, name="image")
    values = np.array([1, 2, 0.5, 3], np.float32).reshape(1, 4, 1, 1)
    shared = ops.constant(values, getattr(ov.Type, kind))
    wide = shared if kind == "f32" else ops.convert(shared, np.float32)
    one, other = ops.multiply(image, wide), ops.add(image, wide)
    one.set_friendly_name("twin")
    other.set_friendly_name("twin")
    model = ov.Model([ops.result(ops.concat([one, other], 1))], [image])
    given = np.random.default_rng(0).random((1, 4, 4, 4), np.float32)
    # Where a processor has bf16 it would round by default, and differently before and after.
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    before = ov.Core().compile_model(model, "CPU", hint)(given)[0].copy()
    set_apart(model)
    nodes = model.get_ordered_ops()
    assert len({node.get_friendly_name() for node in nodes}) == len(nodes)
    weights = [node for node in nodes if node.get_type_name() in ("Constant", "Convert")]
    assert len(weights) == (2 if kind == "f32" else 4)
    assert all(len(node.output(0).get_target_inputs()) == 1 for node in weights)
    assert np.array_equal(ov.Core().compile_model(model, "CPU", hint)(given)[0], before)


def test_an_open_shape_is_refused(cards: Path) -> None:
    model = interrupted()
    model.reshape([-1, 3, 64, 64])
    with pytest.raises(ModelError) as refused:
        partition(model, HETERO)
    assert refused.value.code == "fpga-shape"


@pytest.mark.parametrize("device", [HETERO, "FPGA", "CPU"])
def test_a_network_without_a_layer_is_refused(device: str, cards: Path) -> None:
    image = ops.parameter([1, 3, 8, 8], np.float32)
    for value in (image, ops.constant(np.ones(3, np.float32))):
        model = ov.Model([ops.result(value)], [image], "net")
        with pytest.raises(ModelError, match="net has no layer") as refused:
            partition(model, device)
        assert refused.value.code == "partition-empty"


def test_an_input_that_is_an_output_too_is_handed_through(cards: Path) -> None:
    net = Builder(16)
    value = net.softplus(net.conv(net.image, 8, 3))
    model = ov.Model([ops.result(net.image), ops.result(value)], [net.image], "net")
    split = partition(model, HETERO)
    assert [one.device for one in split.subgraphs] == ["FPGA.0", "CPU"]
    given = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    answers = compile_graph(model, HETERO, numerics="fp32")(given)
    assert np.array_equal(answers[0], given)
