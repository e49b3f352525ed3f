"""Where HETERO cuts: the same as it does, on graphs that nobody would draw."""

import random
import re
from dataclasses import replace

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.devices.hetero import cut, steps
from thorax.fpga.emulation import AFFINITY
from thorax.fpga.plugin import open_cards


def tangle(seed: int) -> ov.Model:
    """Return products and softmaxes of 4 x 4 matrices that take whatever there is before them."""
    rng = random.Random(seed)
    devices = rng.choice((("FPGA", "CPU"), ("FPGA", "FPGA1", "CPU")))
    images = [ops.parameter([4, 4], np.float32, name=f"x{n}") for n in range(rng.choice((1, 2)))]
    values, told, device = list(images), {}, devices[0]

    def earlier() -> ov.Node:
        return values[max(0, len(values) - 1 - int(rng.expovariate(0.5)))]

    for number in range(rng.choice((6, 12, 25, 40))):
        device = rng.choice(devices) if rng.random() < 0.4 else device
        kind = rng.random()
        if kind < 0.4:
            made = ops.softmax(earlier(), 1)
        elif kind < 0.6:
            weights = ops.constant(np.eye(4, dtype=np.float32) * 0.5)
            weights.set_friendly_name(f"weights{number}")
            told[f"weights{number}"] = device
            made = ops.matmul(earlier(), weights, False, False)
        else:
            made = ops.matmul(earlier(), earlier(), False, False)
        made.set_friendly_name(f"n{number}")
        told[f"n{number}"] = device
        values.append(made)
    ends = [one for one in values[len(images) :] if not one.output(0).get_target_inputs()]
    taken = [one for one in images if one.output(0).get_target_inputs()]
    model = ov.Model([ops.result(one) for one in ends], taken)
    for node in model.get_ordered_ops():
        name = node.get_friendly_name()
        if node.get_type_name() == "Result":
            name = node.input_value(0).get_node().get_friendly_name()
        elif node.get_type_name() == "Parameter":
            name = min(
                one.get_node().get_friendly_name() for one in node.output(0).get_target_inputs()
            )
        node.get_rt_info()[AFFINITY] = told[name]
    return model


@pytest.mark.parametrize("start", range(0, 60, 10))
def test_subgraphs_are_those_that_hetero_makes(start: int) -> None:
    for seed in range(start, start + 10):
        model = tangle(seed)
        told = [node.get_rt_info()[AFFINITY].astype(str) for node in model.get_ordered_ops()]
        graph = [
            replace(step, device=device) for step, device in zip(steps(model), told, strict=True)
        ]
        numbers = cut(graph, [node.get_friendly_name() for node in model.get_parameters()])
        mine = {step.name: number for step, number in zip(graph, numbers, strict=True)}
        target = f"HETERO:{','.join(sorted(set(told)))}"
        compiled = open_cards().compile_model(model, target, {"PERF_COUNT": True})
        request = compiled.create_infer_request()
        request.infer([np.eye(4, dtype=np.float32)] * len(compiled.inputs))
        rows = [re.match(r"subgraph(\d+): (n\d+)$", r.node_name) for r in request.profiling_info]
        theirs = {row[2]: int(row[1]) for row in rows if row}
        assert theirs, seed
        assert {name: mine[name] for name in theirs} == theirs, seed
        assert max(numbers) + 1 == compiled.get_property("HETERO_NUMBER_OF_SUBMODELS"), seed
