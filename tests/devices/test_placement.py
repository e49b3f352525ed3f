"""Graphs on simulated cards: the same answers as on the CPU, cut where the partition says."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
import pytest
from tests.devices.networks import NETWORKS, interrupted

from thorax.devices.counters import CounterTotals
from thorax.devices.graph import compile_graph
from thorax.devices.placement import compile_placed, place
from thorax.fpga.card import program

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
