"""Write an ONNX network that pools with the layer: python network.py network.onnx."""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, CHANNELS, FINDINGS, SHARPNESS = 64, 8, 2, 6.0


def network() -> onnx.ModelProto:
    """Return a classifier of random weights: float [1,1,64,64] -> logits [1,2]."""
    random = np.random.default_rng(5)
    weights = {
        "kernel": random.normal(scale=0.5, size=(CHANNELS, 1, 5, 5)),
        "head": random.normal(scale=0.2, size=(CHANNELS, FINDINGS)),
        "bias": random.normal(size=FINDINGS),
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["maps"], "conv", strides=[4, 4]),
        helper.make_node("Relu", ["maps"], ["active"], "relu"),
        helper.make_node(
            "LogSumExpPool", ["active"], ["pooled"], "pool", domain="example", r=SHARPNESS
        ),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "head", "bias"], ["logits"], "linear"),
    ]
    graph = helper.make_graph(
        nodes,
        "custom",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, FINDINGS])],
        [
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in weights.items()
        ],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("example", 1)]
    return helper.make_model(graph, ir_version=9, opset_imports=versions)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(network().SerializeToString())
