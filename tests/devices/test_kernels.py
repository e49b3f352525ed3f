"""What a device tells of the graph it made."""

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.devices.counters import list_kernels
from thorax.devices.graph import compile_graph


def test_a_convolution_runs_with_its_bias_and_activation_and_constants_are_no_kernels() -> None:
    image = ops.parameter([1, 3, 16, 16], np.float32)
    weights = ops.constant(np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32))
    conv = ops.convolution(image, weights, [1, 1], [1, 1], [1, 1], [1, 1])
    conv.set_friendly_name("conv")
    bias = ops.add(conv, ops.constant(np.ones((1, 8, 1, 1), np.float32)))
    bias.set_friendly_name("bias")
    relu = ops.relu(bias)
    relu.set_friendly_name("relu")
    kernels = list_kernels(compile_graph(ov.Model([relu], [image])))
    assert {kernel.type for kernel in kernels} <= {"Convolution", "Reorder", "Reshape"}
    (found,) = (kernel for kernel in kernels if kernel.type == "Convolution")
    assert found.layers == ("conv", "bias", "relu")
    assert found.precision == "f32"
    assert found.implementation.endswith("_f32")
