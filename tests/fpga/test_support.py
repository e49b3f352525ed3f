"""What a bitstream runs of a network, layer by layer."""

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.fpga.bitstreams import find_bitstream
from thorax.fpga.support import query


def test_every_node_is_answered_for() -> None:
    image = ops.parameter([1, 3, 8, 8], np.float32, name="image")
    weights = ops.constant(np.ones((4, 3, 3, 3), np.float32))
    conv = ops.convolution(image, weights, [1, 1], [1, 1], [1, 1], [1, 1], name="conv")
    conv.set_friendly_name("conv")
    end = ops.sigmoid(conv)
    end.set_friendly_name("probability")
    model = ov.Model([end], [image])
    answer = query(model, find_bitstream("2019R1_RC_FP11_ResNet_SqueezeNet_VGG"))
    assert set(answer) == {node.get_friendly_name() for node in model.get_ops()}
    assert answer["conv"].supported
    assert answer["probability"].reason == "Sigmoid: not in this bitstream"
