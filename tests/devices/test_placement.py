"""Graphs on simulated cards: the same answers as on the CPU, cut where the partition says."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
import pytest
from tests.devices.networks import NETWORKS, Builder, interrupted

from thorax.devices.counters import CounterTotals
from thorax.devices.graph import compile_graph
from thorax.devices.placement import Numerics, compile_placed, place
from thorax.fpga.card import program
from thorax.fpga.emulation import AFFINITY

HETERO = "HETERO:FPGA,CPU"


def image(side: int = 64) -> npt.NDArray[np.float32]:
    return np.random.default_rng(1).random((1, 3, side, side), np.float32)


@pytest.mark.parametrize("device", [HETERO, "HETERO:FPGA.3,CPU"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_answer_as_on_the_cpu_and_are_cut_as_told(
    name: str, device: str, cards: Path
) -> None:
    model = NETWORKS[name]()
    placed = place(model, device, numerics="fp32")
    compiled = compile_placed(placed, {}, {"PERF_COUNT": True})
    request = compiled.create_infer_request()
    request.infer({0: image()})
    got = request.get_output_tensor(0).data
    wanted = compile_graph(model)(image())[0]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)
    split = placed.partition
    assert len(split.subgraphs) == compiled.get_property("HETERO_NUMBER_OF_SUBMODELS")
    totals = CounterTotals()
    totals.add(request.profiling_info)
    ran = {row.name: row.subgraph for row in totals.mean()}
    told = {row.name: row.subgraph for row in split.rows if row.name in ran}
    assert len(told) > 10
    assert told == {name: ran[name] for name in told}


@pytest.mark.parametrize("name", ["googlenet", "interrupted"])
def test_quantisers_leave_the_numbers_of_subgraphs_as_told(name: str, cards: Path) -> None:
    model = NETWORKS[name]()
    placed = place(model, HETERO)
    compiled = compile_placed(placed, {}, {"PERF_COUNT": True})
    request = compiled.create_infer_request()
    request.infer({0: image()})
    rows = {row.name: row for row in placed.partition.rows}
    totals = CounterTotals()
    totals.add(request.profiling_info)
    ran = {row.name: row.subgraph for row in totals.mean() if row.name in rows}
    assert len(ran) > 10
    assert {name: rows[name].subgraph for name in ran} == ran
    # What was put in is no layer of the network, and changes its answer a little.
    assert set(rows) == {row.name for row in place(model, HETERO, numerics="fp32").partition.rows}
    wanted = compile_graph(model)(image())[0]
    got = request.get_output_tensor(0).data
    assert not np.array_equal(got, wanted)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=0.1)


def test_what_leaves_a_card_is_what_16_bits_hold(cards: Path) -> None:
    def crossing(numerics: Numerics) -> tuple[list[str], list[npt.NDArray[np.float32]]]:
        placed = place(interrupted(), HETERO, numerics=numerics)
        where = {row.name: row for row in placed.network.rows}
        sent = [
            value
            for node in placed.model.get_ordered_ops()
            for value in node.input_values()
            if node.get_friendly_name() in where
            and where[node.get_friendly_name()].device == "CPU"
            and value.get_node().get_rt_info()[AFFINITY].astype(str) == "FPGA"
            and value.get_node().get_type_name() not in ("Constant", "Parameter")
        ]
        seen = ov.Model(sent, placed.model.get_parameters())
        compiled = ov.Core().compile_model(seen, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = compiled(image())
        return [v.get_node().get_friendly_name() for v in sent], [
            np.array(found[port]) for port in compiled.outputs
        ]

    names, values = crossing("bitstream")
    assert len(names) == 3  # before each layer that no card has, and before the last one
    assert all("/sent/" in name for name in names)
    assert all(np.array_equal(one, one.astype(np.float16)) for one in values)
    names, values = crossing("fp32")
    assert not any("/sent/" in name for name in names)
    assert not any(np.array_equal(one, one.astype(np.float16)) for one in values)


def test_a_layer_in_the_middle_that_no_card_has_cuts_the_network(cards: Path) -> None:
    split = place(interrupted(), HETERO, numerics="fp32").partition
    assert [one.device for one in split.subgraphs] == ["FPGA.0", "CPU"] * 3
    assert sum(row.type == "SoftPlus" for row in split.rows if row.device == "CPU") == 2


def test_a_graph_that_a_card_has_all_of_runs_on_it_alone(cards: Path) -> None:
    program("FPGA.2", "2019R1_RC_FP11_ResNet_SqueezeNet_VGG")
    made = interrupted()
    first = next(node for node in made.get_ordered_ops() if node.get_type_name() == "Relu")
    part = ov.Model([first.output(0)], made.get_parameters())
    for device, name in (("FPGA.2", "FPGA2_CPU"), ("HETERO:FPGA.2", "FPGA2")):
        compiled = compile_graph(part, device, numerics="fp32")
        assert compiled.get_property("EXECUTION_DEVICES") == [name]
        wanted = compile_graph(part)(image())[0]
        np.testing.assert_allclose(compiled(image())[0], wanted, rtol=0, atol=1e-5)


def test_the_model_given_is_not_changed(cards: Path) -> None:
    model = interrupted()
    before = [
        (node.get_friendly_name(), len(node.inputs()), len(node.get_rt_info()))
        for node in model.get_ordered_ops()
    ]
    place(model, HETERO)
    assert before == [
        (node.get_friendly_name(), len(node.inputs()), len(node.get_rt_info()))
        for node in model.get_ordered_ops()
    ]


def test_two_cards_share_what_one_bitstream_lacks(cards: Path) -> None:
    program("FPGA.1", "2020-4_RC_FP16_MobileNet_Clamp")
    net = Builder(32)
    value = net.relu(net.conv(net.image, 32, 5))
    clamped = net.conv(ops.clamp(net.conv(value, 32, 5), 0, 6), 32, 5)
    model = net.model(net.softplus(clamped))
    device = "HETERO:FPGA.0,FPGA.1,CPU"
    placed = place(model, device, numerics="fp32")
    kinds = {row.type: row.device for row in placed.partition.rows}
    assert kinds["Clamp"] == "FPGA.1"
    assert kinds["Convolution"] == "FPGA.0"
    assert kinds["SoftPlus"] == "CPU"
    assert [one.device for one in placed.partition.subgraphs][:4] == [
        "FPGA.0", "FPGA.1", "FPGA.0", "CPU",
    ]  # fmt: skip
    answer = compile_placed(placed, {}, {})(image(32))[0]
    np.testing.assert_allclose(answer, compile_graph(model)(image(32))[0], rtol=0, atol=1e-5)
    # A card that comes first takes all it has; the other's arithmetic is its own.
    turned = place(model, "HETERO:FPGA.1,FPGA.0,CPU")
    assert set(turned.cards) == {"FPGA.1"}
    assert turned.arithmetic == {"FPGA.1": "fp16", "CPU": "f32"}
    assert compile_placed(turned, {}, {})(image(32))[0].shape == answer.shape


def test_a_tensor_that_two_devices_take_is_cut_as_told(cards: Path) -> None:
    program("FPGA.1", "2020-4_RC_FP16_MobileNet_Clamp")
    net = Builder(32)
    value = net.softplus(net.conv(net.image, 32, 5))
    # A kernel that no card takes stands beside one that all take.
    one, other = net.conv(value, 32, 5), net.conv(value, 32, 15)
    model = net.model(net.softplus(net.concat(one, ops.clamp(other, 0, 6))))
    placed = place(model, "HETERO:FPGA.0,FPGA.1,CPU")
    compiled = compile_placed(placed, {}, {})
    assert compiled(image(32))[0].shape == (1, 14)
    assert compiled.get_property("HETERO_NUMBER_OF_SUBMODELS") == len(placed.partition.subgraphs)
    for node in placed.model.get_ordered_ops():
        assert AFFINITY in node.get_rt_info()


def test_a_layer_of_ones_own_runs_beside_a_card(cards: Path) -> None:
    class Doubled(ov.Op):  # type: ignore[misc]  # OpenVINO has no types
        def __init__(self, inputs: object = None) -> None:
            super().__init__(self)
            if inputs is not None:
                self.set_arguments(inputs)
                self.constructor_validate_and_infer_types()

        def validate_and_infer_types(self) -> None:
            self.set_output_type(0, self.get_input_element_type(0), self.get_input_partial_shape(0))

        def clone_with_new_inputs(self, inputs: object) -> "Doubled":
            return Doubled(inputs)

        def has_evaluate(self) -> bool:
            return True

        def evaluate(self, outputs: list[ov.Tensor], inputs: list[ov.Tensor]) -> bool:
            np.multiply(inputs[0].data, 2, out=outputs[0].data)
            return True

    net = Builder(32)
    value = net.conv(net.image, 32, 5)
    double = Doubled([value.output(0)])
    double.set_friendly_name("double")
    model = net.model(net.conv(double, 32, 5))
    placed = place(model, HETERO, numerics="fp32")
    rows = {row.name: row for row in placed.partition.rows}
    assert rows["double"].device == "CPU"
    assert "custom" in rows["double"].reason
    answer = compile_placed(placed, {}, {})(image(32))[0]
    np.testing.assert_allclose(answer, compile_graph(model)(image(32))[0], rtol=0, atol=1e-5)


def test_twins_by_name_are_told_apart(cards: Path) -> None:
    model = interrupted()
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Convolution":
            node.set_friendly_name("twin")
    placed = place(model, HETERO, numerics="fp32")
    twins = [row.name for row in placed.partition.rows if row.type == "Convolution"]
    assert twins == ["twin", "twin#2", "twin#3", "twin#4", "twin#5"]
    assert [layer.name for one in placed.offloads for layer in one.layers][:2] == ["twin", "twin#2"]
    answer = compile_placed(placed, {}, {})(image())[0]
    np.testing.assert_allclose(answer, compile_graph(model)(image())[0], rtol=0, atol=1e-5)
