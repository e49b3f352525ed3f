"""Counts, against sums by hand, torch's own shapes and published numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest
import torch
from torch import nn

from thorax.ir.analyze import count_macs, count_parameters
from thorax.training.networks import TOPOLOGIES, Topology, build

Convert = Callable[..., Any]


def macs_by_torch(topology: Topology, *, channels: int, side: int, classes: int) -> int:
    """Return the sum over layers of outputs x inputs of one output, shapes as torch sees them."""
    total = 0

    def add(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module.weight, torch.Tensor)
        total += output[0].numel() * module.weight[0].numel()

    with torch.device("meta"):
        network = build(topology, classes=classes, channels=channels).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(add)
        network(torch.zeros(1, channels, side, side))
    return total


def test_resnet50_has_the_published_macs_and_the_graph_has_as_many(convert: Convert) -> None:
    # torchvision's weight metadata: 4.089 GFLOPS (multiply-accumulates) at 224 x 224 x 3.
    published = macs_by_torch("resnet50", channels=3, side=224, classes=1000)
    assert published / 1e9 == pytest.approx(4.089, abs=5e-4)
    made = convert("resnet50", output_stride=32)
    graph = ov.Core().read_model(made.artifact.xml)
    graph.reshape([1, 1, 224, 224])
    cells = 3 * 2048 * 7 * 7
    wanted = macs_by_torch("resnet50", channels=1, side=224, classes=3) + cells
    assert count_macs(graph) == wanted
    two_channels_less = 2 * 64 * 112 * 112 * 49
    assert wanted == published - two_channels_less - 997 * 2048 + cells


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_parameters_are_those_that_inference_needs(convert: Convert, topology: Topology) -> None:
    made = convert(topology)
    network = made.network
    parameters = sum(p.numel() for p in network.parameters())
    norms = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    folded = made.artifact.card.parameters
    if topology == "densenet121":
        # A norm that stands before its convolution keeps scale and shift; one after it only shift.
        after = [name for name in norms if name.endswith(("norm0", "norm2"))]
        assert folded == parameters - sum(norms[name].num_features for name in after)
    elif topology == "vgg16_bn":
        # The shift of a norm is added to the bias that the convolution has already.
        assert folded == parameters - 2 * sum(norm.num_features for norm in norms.values())
    else:
        assert folded == parameters - sum(norm.num_features for norm in norms.values())


def test_a_small_graph_counts_as_by_hand() -> None:
    def weights(*shape: int) -> ov.Node:
        return ops.constant(np.zeros(shape, np.float32))

    image = ops.parameter([1, 4, 8, 8], np.float32)
    conv = ops.convolution(image, weights(6, 4, 3, 3), [2, 2], [1, 1], [1, 1], [1, 1])
    biased = ops.add(conv, weights(1, 6, 1, 1))
    # Two groups of three channels in, one out each.
    grouped = ops.group_convolution(biased, weights(2, 1, 3, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])
    flat = ops.reshape(grouped, ops.constant(np.array([1, 32])), False)
    linear = ops.matmul(flat, weights(5, 32), False, True)
    graph = ov.Model([linear], [image])
    assert count_macs(graph) == 6 * 16 * 4 * 9 + 2 * 16 * 3 + 5 * 32
    assert count_parameters(graph) == 6 * 4 * 9 + 6 + 2 * 3 + 5 * 32
