"""Layers have the names of their source, each its own."""

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.ir.names import layers_of, module_name, readable_names


def test_modules_of_torch_are_called_as_torch_calls_them() -> None:
    name = "__module.layer1.0.conv1/aten::_convolution/Convolution"
    assert module_name(name, "Convolution") == "layer1.0.conv1"
    assert module_name("__module.fc/aten::linear/MatMul", "MatMul") == "fc/linear"
    assert module_name("block1/conv", "Convolution") is None


def test_a_name_that_is_taken_gets_a_number_and_kernels_come_first() -> None:
    image = ops.parameter([1, 3, 4, 4], np.float32, "same")
    image.set_friendly_name("same")
    before = ops.relu(image)
    kernel = ops.constant(np.ones((3, 3, 1, 1), np.float32))
    conv = ops.convolution(before, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    after = ops.relu(conv)
    other = ops.abs(after)
    for node in (before, conv, after):
        node.set_friendly_name("conv")
    other.set_friendly_name("same")
    model = ov.Model([ops.result(other)], [image], "net")
    readable_names(model)
    names = {node.get_type_name(): node.get_friendly_name() for node in layers_of(model)[1:]}
    assert names == {"Convolution": "conv", "Relu": "conv_3", "Abs": "same_2"}
    assert before.get_friendly_name() == "conv_2"
    assert image.get_friendly_name() == "same"
