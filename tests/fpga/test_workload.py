"""Layers that are read off graphs: counted by hand, and against OpenVINO's own shapes."""

import numpy as np
import openvino as ov
import openvino.opset1 as opset1
import openvino.opset13 as ops
import pytest
from benchmarks.subjects.published_networks import NETWORKS, Stack, mobilenet, resnet18, resnet50

from thorax.analysis.cost import count_macs
from thorax.artifact import Artifact
from thorax.errors import ModelError
from thorax.fpga.architecture import find_architecture
from thorax.fpga.overlay import estimate
from thorax.fpga.stream_buffer import trace
from thorax.fpga.workload import LayerKind, describe

ARRAY = (LayerKind.CONVOLUTION, LayerKind.DECONVOLUTION, LayerKind.FULLY_CONNECTED)


def image(channels: int = 4, side: int = 16) -> ov.Node:
    return ops.parameter([1, channels, side, side], np.float32, name="image")


def weights(*shape: int) -> ov.Node:
    return ops.constant(np.zeros(shape, np.float32))


def close(image: ov.Node, *ends: ov.Node) -> ov.Model:
    return ov.Model([ops.result(end) for end in ends], [image], "net")


@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_accumulates_are_those_of_the_static_analysis(name: str) -> None:
    model = NETWORKS[name]()
    assert sum(layer.macs for layer in describe(model)) == count_macs(model)


def test_a_residual_network_has_its_layers_and_one_closing_convolution_a_block() -> None:
    layers = describe(resnet50())
    convolutions = [layer for layer in layers if layer.kind is LayerKind.CONVOLUTION]
    assert len(convolutions) == 53
    assert sum(layer.residual for layer in layers) == 3 + 4 + 6 + 3
    assert [layer.kind for layer in layers if layer.kind not in ARRAY] == [LayerKind.POOL] * 2
    assert convolutions[0].stem
    assert not any(layer.stem for layer in convolutions[1:])
    assert (convolutions[0].kernel, convolutions[0].strides) == ((7, 7), (2, 2))
    assert layers[-1].kind is LayerKind.FULLY_CONNECTED
    assert (layers[-1].input_channels, layers[-1].output_channels) == (2048, 1000)


def test_every_source_is_a_layer_before_or_an_input() -> None:
    for make in NETWORKS.values():
        known = {"image"}
        for layer in describe(make()):
            assert set(layer.sources) <= known
            known.add(layer.name)


def test_each_operation_belongs_to_one_layer() -> None:
    model = resnet18()
    names = [name for layer in describe(model) for name in (layer.name, *layer.fused)]
    assert len(names) == len(set(names))
    apart = {"Parameter", "Constant", "Result", "Reshape"}
    inside = {
        node.get_friendly_name() for node in model.get_ops() if node.get_type_name() not in apart
    }
    assert set(names) == inside


def test_depthwise_layers_are_told_from_grouped_ones() -> None:
    assert sum(layer.depthwise for layer in describe(mobilenet())) == 13
    net = Stack(8, 16)
    grouped = describe(net.close(net.conv(net.image, 16, 3, groups=4)))[0]
    assert (grouped.groups, grouped.depthwise) == (4, False)
    assert grouped.macs == 16 * 16 * 16 * 2 * 9


def test_an_artifact_begins_with_the_hosts_normalisation_and_ends_with_its_three_heads(
    tiny_fp32: Artifact,
) -> None:
    layers = describe(ov.Core().read_model(tiny_fp32.xml))
    assert layers[0].kind is LayerKind.NORMALISE
    stem = next(layer for layer in layers if layer.kind is LayerKind.CONVOLUTION)
    assert stem.stem
    assert stem.input_channels == 1
    by_name = {layer.name: layer for layer in layers}
    assert by_name["embedding"].kind is LayerKind.POOL
    assert by_name["head/cells"].kind is LayerKind.CONVOLUTION
    assert by_name["head/linear"].kind is LayerKind.FULLY_CONNECTED
    assert "probability" in by_name["head/linear"].fused


def test_the_later_of_two_convolutions_closes_the_sum() -> None:
    net = Stack(4, 16)
    first = net.conv(net.image, 8, 1, relu=False)
    layers = describe(net.close(net.conv(net.image, 8, 3, add=first)))
    closing = [layer for layer in layers if layer.residual]
    assert len(closing) == 1
    assert layers[-1] is closing[0]
    assert closing[0].sources == ("image", layers[0].name)


def test_a_quantized_graph_has_the_layers_of_the_graph_it_came_from(
    tiny_fp32: Artifact, tiny_int8: Artifact
) -> None:
    def told(artifact: Artifact) -> list[tuple[LayerKind, bool, int]]:
        layers = describe(ov.Core().read_model(artifact.xml))
        return [(layer.kind, layer.residual, layer.macs) for layer in layers]

    assert told(tiny_int8) == told(tiny_fp32)


def test_what_follows_from_a_shape_is_a_constant() -> None:
    net = Stack(4, 16)
    made = net.conv(net.image, 8, 3, relu=False)
    bias = ops.broadcast(ops.constant(np.float32(1)), ops.shape_of(made))
    (layer,) = describe(net.close(ops.add(made, bias)))
    assert len(layer.fused) == 2


def test_a_sum_that_no_convolution_closes_is_a_layer_of_its_own() -> None:
    net = Stack(4, 16)
    one, two = net.pool(net.image, 2, 2), net.pool(net.image, 2, 2)
    layers = describe(net.close(ops.add(one, two)))
    assert [layer.kind for layer in layers] == [LayerKind.POOL, LayerKind.POOL, LayerKind.ELTWISE]
    # A convolution that something else reads too cannot take the sum on its way out.
    shared = net.conv(net.image, 4, 3, relu=False)
    layers = describe(close(net.image, ops.add(net.image, shared), ops.relu(shared)))
    assert LayerKind.ELTWISE in [layer.kind for layer in layers]


def test_normalisation_before_an_activation_is_a_scale_where_no_layer_stands_before() -> None:
    given = image()
    two = ops.concat([opset1.max_pool(given, [1, 1], [0, 0], [0, 0], [1, 1], "floor")] * 2, 1)
    scaled = ops.relu(ops.add(ops.multiply(two, weights(1, 8, 1, 1)), weights(1, 8, 1, 1)))
    layers = describe(close(given, scaled))
    assert [layer.kind for layer in layers] == [LayerKind.POOL, LayerKind.CONCAT, LayerKind.SCALE]
    assert len(layers[-1].fused) == 2


def test_transposed_convolution_counts_what_each_input_reaches() -> None:
    given = image(4, 8)
    made = ops.convolution_backprop_data(
        given, weights(4, 6, 2, 2), [2, 2], None, [0, 0], [0, 0], [1, 1]
    )
    (layer,) = describe(close(given, made))
    assert layer.kind is LayerKind.DECONVOLUTION
    assert layer.output_size == (16, 16)
    assert layer.macs == 8 * 8 * 4 * 6 * 4


def test_rows_of_a_sequence_are_the_pixels_of_a_fully_connected_layer() -> None:
    tokens = ops.parameter([1, 49, 32], np.float32, name="image")
    (layer,) = describe(close(tokens, ops.matmul(tokens, weights(64, 32), False, True)))
    assert layer.kind is LayerKind.FULLY_CONNECTED
    assert (layer.input_channels, layer.output_channels) == (32, 64)
    assert layer.macs == 49 * 32 * 64


def test_only_the_operations_that_are_named_count_and_others_are_inputs() -> None:
    net = Stack(4, 16)
    first = net.conv(net.image, 8, 3)
    model = net.close(net.conv(first, 8, 3))
    whole = describe(model)
    (part,) = describe(model, {whole[1].name, *whole[1].fused})
    assert part.name == whole[1].name
    assert part.fused == whole[1].fused
    assert not part.stem
    assert part.sources == (whole[0].fused[-1],)


def test_an_open_shape_is_refused_with_what_to_do() -> None:
    given = ops.parameter(ov.PartialShape([1, 4, -1, -1]), np.float32, name="image")
    with pytest.raises(ModelError, match="--side") as refused:
        describe(close(given, ops.relu(given)))
    assert refused.value.code == "fpga-shape"


def test_operations_of_one_name_are_layers_of_their_own_and_their_maps_are_traced() -> None:
    """Keras gives a pool and the transposition behind it one name."""
    given = image(4, 8)
    pool = ops.reduce_mean(given, ops.constant(np.array([2, 3])), keep_dims=True)
    turned = ops.transpose(pool, ops.constant(np.array([0, 2, 3, 1])))
    other = ops.softmax(turned, 3)
    scores = ops.matmul(other, weights(4, 3), transpose_a=False, transpose_b=False)
    for node in (pool, turned, other):
        node.set_friendly_name("pool")
    layers = describe(close(given, scores))
    assert [layer.name for layer in layers[:-1]] == ["pool", "pool#2", "pool#3"]
    assert [layer.sources for layer in layers] == [("image",), ("pool",), ("pool#2",), ("pool#3",)]
    flow = trace(layers)
    assert flow[0].last == 1
    assert estimate(layers, find_architecture("8x48-fp11")).cycles > 0
