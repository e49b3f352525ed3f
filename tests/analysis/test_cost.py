"""Counts, against sums by hand, torch's own shapes and published numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from thorax.analysis.cost import cost_graph, count_macs, count_parameters, node_macs
from thorax.artifact import Artifact
from thorax.results.analysis import KernelTime
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


PUBLISHED = {
    # torchvision's weight metadata (num_params, _ops) at 224 x 224 x 3 and 1000 classes.
    "resnet50": (25_557_032, 4.089),
    "densenet121": (7_978_856, 2.834),
    "vgg16_bn": (138_365_992, 15.470),
}
VGG_HEAD = ((512 * 49, 4096), (4096, 4096), (4096, 1000))
"""Of the published VGG; ours pools, as the others do."""


def counted_by_torch(network: nn.Module, *inputs: torch.Tensor) -> int:
    """Return the multiply-accumulates that torch's own counter finds."""
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("topology", PUBLISHED)
def test_networks_have_the_published_macs_and_parameters(topology: Topology) -> None:
    with torch.device("meta"):
        network = build(topology, classes=1000, channels=3).eval()
        macs = counted_by_torch(network, torch.zeros(1, 3, 224, 224))
    assert macs == macs_by_torch(topology, channels=3, side=224, classes=1000)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if topology == "vgg16_bn":
        macs += sum(inputs * outputs for inputs, outputs in VGG_HEAD) - 512 * 1000
        parameters += sum((inputs + 1) * outputs for inputs, outputs in VGG_HEAD) - 513 * 1000
    published, giga = PUBLISHED[topology]
    assert parameters == published
    assert macs / 1e9 == pytest.approx(giga, abs=6e-4)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_graph_multiplies_what_torch_counts_and_each_layer_has_its_share(
    convert: Convert, topology: Topology
) -> None:
    made = convert(topology)
    side = made.artifact.card.input.side
    cells = made.artifact.card.heatmap
    features = next(
        node for node in made.model.get_ordered_ops() if node.get_friendly_name() == "head/cells"
    )
    assert cells is not None
    wanted = counted_by_torch(made.network, torch.zeros(1, 1, side, side))
    cost = cost_graph(made.model)
    assert count_macs(made.model) - node_macs(features) == wanted
    assert sum(layer.macs for layer in cost.layers) == count_macs(made.model)
    assert sum(layer.parameters for layer in cost.layers) == made.artifact.card.parameters


def test_every_kind_of_sum_counts_as_torch_counts_it() -> None:
    def zeros(*shape: int) -> ov.Node:
        return ops.constant(np.zeros(shape, np.float32))

    image, nothing = ops.parameter([2, 4, 9, 9], np.float32), [0, 0]
    up = ops.convolution_backprop_data(
        image, zeros(4, 6, 3, 3), [2, 2], None, [1, 1], [1, 1], [1, 1]
    )
    torch_up = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, bias=False)
    grouped = ops.group_convolution_backprop_data(
        image, zeros(2, 2, 3, 3, 3), [2, 2], None, nothing, nothing, [1, 1]
    )
    torch_grouped = nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, bias=False)
    image_torch = torch.zeros(2, 4, 9, 9)
    for node, module in ((up, torch_up), (grouped, torch_grouped)):
        assert node_macs(node) == counted_by_torch(module, image_torch)
        assert list(node.get_output_shape(0)) == list(module(image_torch).shape)
    for turned in (False, True):
        shape = [3, 2, 7, 5] if turned else [3, 2, 5, 7]
        left = ops.parameter(shape, np.float32)
        product = ops.matmul(left, zeros(3, 2, 4, 7), turned, True)
        assert node_macs(product) == 3 * 2 * 5 * 4 * 7
    steps = ops.parameter([2, 11, 5], np.float32)
    state = zeros(2, 1, 6)
    length = ops.constant(np.array([11, 11], np.int32))
    cells = ops.lstm_sequence(
        steps, state, state, length, zeros(1, 24, 5), zeros(1, 24, 6), zeros(1, 24), 6, "forward"
    )
    assert node_macs(cells) == 2 * 11 * 24 * (5 + 6)


def residual() -> ov.Model:
    """Return conv + bias + ReLU, conv, their sum, and a pool of it."""

    def conv(value: ov.Node, called: str, inputs: int) -> ov.Node:
        weights = ops.constant(np.zeros((4, inputs, 3, 3), np.float32))
        node = ops.convolution(value, weights, [1, 1], [1, 1], [1, 1], [1, 1])
        node.set_friendly_name(called)
        return node

    image = ops.parameter([1, 1, 8, 8], np.uint8)
    first = conv(ops.convert(image, np.float32), "first", 1)
    biased = ops.add(first, ops.constant(np.zeros((1, 4, 1, 1), np.float32)))
    biased.set_friendly_name("bias")
    active = ops.relu(biased)
    active.set_friendly_name("relu")
    second = conv(active, "second", 4)
    total = ops.add(second, active)
    total.set_friendly_name("sum")
    pooled = ops.reduce_mean(total, ops.constant(np.array([2, 3])), keep_dims=False)
    pooled.set_friendly_name("pool")
    return ov.Model([pooled], [image], "residual")


def test_bytes_of_a_small_graph_are_as_by_hand() -> None:
    cost = cost_graph(residual())
    wide = 4 * 64 * 4
    told = [
        (layer.name, layer.fused, layer.weight_bytes, layer.input_bytes, layer.output_bytes)
        for layer in cost.layers
    ]
    assert told == [
        ("first", ("bias", "relu"), 4 * (36 + 4), 64, wide),
        ("second", (), 4 * 144, wide, wide),
        ("sum", (), 0, 2 * wide, wide),
        ("pool", (), 0, wide, 16),
    ]
    assert [layer.operations for layer in cost.layers] == [2 * 256, 0, 256, 256]
    assert [layer.parameters for layer in cost.layers] == [40, 144, 0, 0]
    # The sum holds both that it adds and its answer.
    assert cost.peak_activation_bytes == 3 * wide
    assert cost_graph(residual(), compute_bytes=2).peak_activation_bytes == 3 * wide / 2


def test_what_a_kernel_runs_at_once_crosses_no_memory_within() -> None:
    kernel = KernelTime(
        name="second", type="Convolution", implementation="jit", precision="f32",
        layers=("second", "sum"), measured_s=None,
    )  # fmt: skip
    cost = cost_graph(residual(), [kernel])
    fused = cost.layers[1]
    wide = 4 * 64 * 4
    assert (fused.name, fused.fused, fused.kernel) == ("second", ("sum",), kernel)
    assert (fused.input_bytes, fused.output_bytes) == (wide, wide)
    assert cost.peak_activation_bytes == 2 * wide
    assert cost.layers[0].kernel is None


def test_an_int8_graph_has_the_parameters_of_its_float_twin_and_moves_bytes(
    tiny_fp32: Artifact, tiny_int8: Artifact
) -> None:
    core = ov.Core()
    wide, narrow = (cost_graph(core.read_model(one.xml)) for one in (tiny_fp32, tiny_int8))
    by_name = {layer.name: layer for layer in wide.layers}
    for layer in narrow.layers:
        twin = by_name[layer.name]
        assert (layer.macs, layer.parameters) == (twin.macs, twin.parameters)
        assert layer.quantized == (layer.macs > 0 and not layer.name.startswith("head/")) or (
            not layer.macs
        )
    conv = next(layer for layer in narrow.layers if layer.name == "layer1.0.conv1")
    assert 4 * conv.input_bytes == by_name[conv.name].input_bytes
    assert conv.weight_bytes < by_name[conv.name].weight_bytes / 3
    assert not any(layer.quantized for layer in wide.layers)
