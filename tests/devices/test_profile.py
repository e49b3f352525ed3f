"""Times of kernels, by the names that the compiled graph gives them."""

import numpy as np
import openvino as ov

from thorax.artifact import Artifact
from thorax.devices.counters import list_kernels
from thorax.devices.graph import compile_graph, profile


def test_every_kernel_that_runs_has_a_time_and_the_graph_has_one(tiny_fp32: Artifact) -> None:
    model = ov.Core().read_model(tiny_fp32.xml)
    image = np.zeros(list(model.inputs[0].get_shape()), np.uint8)
    found = profile(model, "CPU", [image], window_s=0.01)
    kernels = list_kernels(compile_graph(model, "CPU"))
    convolutions = {kernel.name for kernel in kernels if kernel.type == "Convolution"}
    assert convolutions <= set(found.kernels_s)
    assert all(time_s >= 0 for time_s in found.kernels_s.values())
    assert sum(found.kernels_s.values()) > 0
    assert found.inference_s > 0
    assert found.runs >= 3
