"""What a bitstream runs of a network, layer by layer, and why not."""

from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.errors import DeviceError
from thorax.fpga.bitstreams import BITSTREAMS, Bitstream, find_bitstream
from thorax.fpga.card import find_card, program
from thorax.fpga.support import Support, fitting, loaded_bitstream, query, require_layers

RESNET = find_bitstream("2019R1_RC_FP11_ResNet_SqueezeNet_VGG")
ELU = find_bitstream("2020-4_RC_FP11_ELU")
CLAMP = find_bitstream("2020-4_RC_FP11_MobileNet_Clamp")
GENERIC = find_bitstream("2020-4_RC_FP11_AlexNet_GoogleNet_Generic")
Pair = list[int]


def image(*shape: int) -> ov.Node:
    return ops.parameter(list(shape) or [1, 4, 8, 8], np.float32)


def weights(*shape: int) -> ov.Node:
    return ops.constant(np.full(shape, 0.5, np.float32))


def conv(
    data: ov.Node, kernel: Pair, *, stride: int = 1, dilation: int = 1, filters: int = 4
) -> ov.Node:
    channels = data.get_output_shape(0)[1]
    pads = [dilation * (side - 1) // 2 for side in kernel]
    return ops.convolution(
        data, weights(filters, channels, *kernel), [stride] * 2, pads, pads, [dilation] * 2
    )


def asked(layer: ov.Node, bitstream: Bitstream = RESNET) -> Support:
    """Return what is said of a node, with whatever it is computed of."""
    layer.set_friendly_name("layer")
    parameters: dict[str, ov.Node] = {}
    nodes = [layer]
    while nodes:
        node = nodes.pop()
        if node.get_type_name() == "Parameter":
            parameters[node.get_friendly_name()] = node
        nodes += [value.get_node() for value in node.input_values()]
    return query(ov.Model([layer], list(parameters.values())), bitstream)["layer"]


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: conv(image(), [14, 14]), None),
        (lambda: conv(image(), [15, 15]), "kernel 15x15: at most 14x14"),
        (lambda: conv(image(), [1, 15]), "kernel 1x15: at most 14x14"),
        (lambda: conv(image(), [3, 3], stride=15), None),
        (lambda: conv(image(), [3, 3], stride=16), "stride 16x16: at most 15"),
        (lambda: conv(image(1, 4, 64, 64), [3, 3], dilation=16), None),
        (lambda: conv(image(1, 4, 64, 64), [3, 3], dilation=17), "dilation 17x17: at most 16"),
        (lambda: conv(image(1, 1, 1, 1), [1, 1], filters=8192), None),
        (lambda: conv(image(1, 1, 1, 1), [1, 1], filters=8193), "8193 channels: at most 8192"),
        (lambda: conv(image(1, 1, 224, 224), [1, 1]), None),
        (lambda: conv(image(1, 1, 224, 225), [1, 1]), "map 224x225: at most 224x224"),
        # The image may be larger than any map that is made of it.
        (lambda: conv(image(1, 1, 448, 448), [3, 3], stride=2), None),
        (
            lambda: conv(image(1, 1, 450, 450), [15, 15], stride=16),
            "kernel 15x15: at most 14x14; stride 16x16: at most 15",
        ),
        (
            lambda: ops.convolution(
                image(), ops.parameter([4, 4, 1, 1], np.float32, name="w"),
                [1, 1], [0, 0], [0, 0], [1, 1],
            ),
            "weights are not constant",
        ),
        (
            lambda: ops.convolution(
                image(1, 4, 8), weights(4, 4, 3), [1], [0], [0], [1]
            ),
            "not 4 dimensions",
        ),
        (
            lambda: ops.group_convolution(
                image(), weights(4, 1, 1, 3, 3), [1, 1], [0, 0], [0, 0], [1, 1]
            ),
            None,
        ),
        (
            lambda: ops.convolution_backprop_data(
                image(), weights(4, 4, 2, 2), strides=[2, 2]
            ),
            None,
        ),
        (
            lambda: ops.convolution_backprop_data(
                image(), weights(4, 4, 3, 3), strides=[3, 3]
            ),
            "stride 3x3: 1, 2, 4, 8 alone",
        ),
    ],
)  # fmt: skip
def test_a_convolution_runs_within_its_ranges(layer: object, reason: str | None) -> None:
    assert callable(layer)
    answer = asked(layer())
    assert answer == (Support(True, "PE array") if reason is None else Support(False, reason))


def of(data: ov.Node | None = None) -> ov.Node:
    """Return maps that a convolution made."""
    return conv(image() if data is None else data, [1, 1])


def scalar(value: float) -> ov.Node:
    return ops.constant(np.float32(value))


def axes(*numbers: int) -> ov.Node:
    return ops.constant(np.array(numbers, np.int64))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: ops.relu(of()), None),
        (lambda: ops.sigmoid(of()), "Sigmoid: not in this bitstream"),
        (lambda: ops.add(of(), of()), None),
        (lambda: ops.add(of(), weights(1, 4, 1, 1)), None),
        (lambda: ops.add(of(), scalar(1)), None),
        (lambda: ops.multiply(of(), weights(1, 4, 1, 1)), None),
        (lambda: ops.multiply(weights(4, 1, 1), of()), None),
        (lambda: ops.multiply(of(), of()), "Multiply of two maps: not in this bitstream"),
        (
            lambda: ops.add(of(), weights(1, 1, 8, 8)),
            "Add of a constant that differs within a map",
        ),
        (
            lambda: ops.subtract(scalar(1), of()),
            "Subtract from a constant: not in this bitstream",
        ),
        (lambda: ops.subtract(of(), scalar(1)), None),
        (
            lambda: ops.add(of(), conv(image(), [8, 8], stride=8)),
            "sum of maps of unlike sizes",
        ),
        (lambda: ops.concat([of(), of()], 1), None),
        (lambda: ops.concat([of(), of()], 2), "joins along an axis that is not the channels"),
        (lambda: ops.reduce_mean(of(), axes(2, 3)), None),
        (lambda: ops.reduce_mean(of(), axes(-2, -1), True), None),
        (lambda: ops.reduce_mean(of(), axes(1)), "not the mean of whole maps"),
        (lambda: ops.lrn(of(), axes(1), size=5), "LRN: not in this bitstream"),
        (lambda: ops.softmax(of(), 1), "Softmax: not in this bitstream"),
        (lambda: ops.matmul(ops.reduce_mean(of(), axes(2, 3)), weights(4, 3), False, False), None),
        (
            lambda: ops.matmul(of(), weights(8, 8), False, False),
            "not 2 dimensions",
        ),
        (
            lambda: ops.matmul(
                ops.reshape(of(), axes(1, 256), False), weights(256, 3), False, False
            ),
            None,
        ),
        (lambda: ops.reshape(of(), axes(1, 256), False), None),
        (lambda: ops.reshape(of(), axes(1, 8, 4, 8), False), "moves values between maps"),
        (lambda: ops.reshape(of(), axes(1, 4, 64), False), "not 4 dimensions"),
        (lambda: ops.convert(of(), np.int32), "i32: not floating point"),
        (lambda: ops.transpose(of(), axes(0, 2, 3, 1)), "Transpose: not in this bitstream"),
    ],
)  # fmt: skip
def test_each_other_layer_runs_or_says_why_not(layer: object, reason: str | None) -> None:
    assert callable(layer)
    answer = asked(layer())
    assert (answer.supported, None if answer.supported else answer.reason) == (
        reason is None, reason,
    )  # fmt: skip


def pool(kind: str, kernel: int, *, side: int = 8, stride: int = 2) -> ov.Node:
    sides, zero = [kernel] * 2, [0, 0]
    if kind == "max":
        node: ov.Node = ops.max_pool(
            of(image(1, 4, side, side)), [stride] * 2, [1, 1], zero, zero, sides
        )
        return node
    made: ov.Node = ops.avg_pool(
        of(image(1, 4, side, side)), [stride] * 2, zero, zero, sides, False
    )
    return made


def test_pooling_has_a_window_of_three_but_for_the_mean_of_a_whole_map() -> None:
    assert asked(pool("max", 3)).supported
    assert asked(pool("avg", 2)).supported
    assert asked(pool("avg", 8)).supported
    assert asked(pool("max", 4)).reason == "pooling window 4x4: at most 3x3"
    assert asked(pool("avg", 7)).reason == "pooling window 7x7: at most 3x3"
    assert asked(pool("max", 8)).reason == "pooling window 8x8: at most 3x3"


def test_activations_are_those_of_the_bitstream() -> None:
    def prelu() -> ov.Node:
        node: ov.Node = ops.prelu(of(), ops.constant(np.array([0.1], np.float32)))
        return node

    assert asked(ops.clamp(of(), 0.0, 6.0), CLAMP).supported
    assert asked(ops.clamp(of(), 0.0, 6.0), ELU).reason == "Clamp: not in this bitstream"
    assert asked(ops.elu(of(), 1.0), ELU).supported
    assert asked(ops.elu(of(), 1.0), CLAMP).reason == "Elu: not in this bitstream"
    assert asked(prelu(), GENERIC).supported
    assert asked(prelu(), RESNET).reason == "PRelu: not in this bitstream"
    assert asked(ops.lrn(of(), axes(1), size=5), GENERIC).supported


class Doubling(ov.Op):  # type: ignore[misc]
    """A layer of somebody's own."""

    def __init__(self, inputs: list[ov.Output]) -> None:
        super().__init__(self, inputs)

    def validate_and_infer_types(self) -> None:
        self.set_output_type(0, self.get_input_element_type(0), self.get_input_partial_shape(0))

    def clone_with_new_inputs(self, inputs: list[ov.Output]) -> ov.Op:
        return Doubling(inputs)


def test_a_layer_of_somebodys_own_is_custom_or_unknown() -> None:
    assert asked(Doubling([of().output(0)])).reason == "Doubling: custom or unknown layer"


def test_sizes_that_are_not_fixed_are_refused() -> None:
    data = ops.parameter([1, 4, -1, -1], np.float32, name="image")
    node = ops.convolution(data, weights(4, 4, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])
    assert asked(node) == Support(False, "size not fixed")


def chest() -> ov.Model:
    """Return a network in the shape that `thorax optimize` gives: u8 pixels in, three ends."""
    data = ops.parameter([1, 1, 16, 16], np.uint8, name="image")
    pixels = ops.multiply(ops.convert(data, np.float32), scalar(1 / 255))
    stored = ops.convert(ops.constant(np.ones((4, 1, 3, 3), np.float16)), np.float32)
    first = ops.convolution(pixels, stored, [1, 1], [1, 1], [1, 1], [1, 1])
    maps = ops.relu(ops.add(first, weights(1, 4, 1, 1)))
    mean = ops.reduce_mean(maps, axes(2, 3))
    logits = ops.add(ops.matmul(mean, weights(4, 2), False, False), weights(1, 2))
    end = ops.sigmoid(logits)
    names = {
        "convert": pixels.input_value(0).get_node(), "scale": pixels, "stored": stored,
        "conv": first, "relu": maps, "mean": mean, "logits": logits, "probability": end,
    }  # fmt: skip
    for name, node in names.items():
        node.set_friendly_name(name)
    return ov.Model([end, maps], [data], "chest")


def test_every_node_is_answered_for_and_ports_and_constants_follow() -> None:
    model = chest()
    answer = query(model, RESNET)
    assert list(answer) == [node.get_friendly_name() for node in model.get_ordered_ops()]
    refused = {name: one for name, one in answer.items() if not one.supported}
    result = model.output(0).get_node().get_friendly_name()
    assert refused == {
        "probability": Support(False, "Sigmoid: not in this bitstream"),
        result: Support(False, "follows probability"),
    }
    assert answer["stored"].reason == "follows conv"
    assert answer["convert"] == Support(True, "pixels: by the host, as pre-processing")
    parameter = model.get_parameters()[0].get_friendly_name()
    assert answer[parameter] == Support(True, "follows convert")


def test_the_best_bitstreams_come_first_and_none_that_lacks_a_convolution() -> None:
    found = fitting(chest(), "pac-a10")
    assert {one.board for one in found} == {"pac-a10"}
    assert RESNET in found
    assert found[0].precision == "fp11"
    assert set(fitting(chest())) == set(BITSTREAMS.values())
    assert fitting(chest(), "n6001") == ()
    end = conv(image(1, 4, 32, 32), [15, 15])
    data = end.input_value(0).get_node()
    assert fitting(ov.Model([end], [data])) == ()


def test_what_has_the_activations_of_a_network_is_better_than_what_has_not() -> None:
    end = ops.elu(of(), 1.0)
    data = end.input_value(0).get_node().input_value(0).get_node()
    found = fitting(ov.Model([end], [data]), "pac-a10")
    first = next(place for place, one in enumerate(found) if "Elu" not in one.activations)
    assert all("Elu" not in one.activations for one in found[first:])
    assert ELU in found[:first]


def test_an_unprogrammed_card_is_an_error_that_says_what_would_do(tmp_path: Path) -> None:
    state = tmp_path / "fpga.json"
    with pytest.raises(DeviceError, match=r"^fpga-unprogrammed: FPGA\.1 .*simulated.*2020-4_RC_"):
        loaded_bitstream(find_card("FPGA.1", state), chest())
    program("FPGA.1", RESNET.name, state=state)
    assert loaded_bitstream(find_card("FPGA.1", state), chest()) == RESNET


def test_layers_that_a_card_alone_lacks_are_listed_with_reasons(tmp_path: Path) -> None:
    state = tmp_path / "fpga.json"
    (card,) = program("FPGA.0", RESNET.name, state=state)
    model = chest()
    with pytest.raises(DeviceError, match=r"^fpga-layer: .*1 layer: probability \(Sigmoid: not"):
        require_layers(model, card, query(model, RESNET))
    end = ops.relu(of())
    data = end.input_value(0).get_node().input_value(0).get_node()
    plain = ov.Model([end], [data])
    require_layers(plain, card, query(plain, RESNET))


def exponential() -> ov.Model:
    """Return a network that bitstreams with an ELU run whole, and others in part."""
    end = ops.elu(of(), 1.0)
    return ov.Model([end], [end.input_value(0).get_node().input_value(0).get_node()])


def test_what_runs_every_layer_is_named_and_what_is_loaded_is_not(tmp_path: Path) -> None:
    (card,) = program("FPGA.0", RESNET.name, state=tmp_path / "fpga.json")
    model = exponential()
    with pytest.raises(DeviceError, match=r"^fpga-layer: ") as refused:
        require_layers(model, card, query(model, RESNET))
    message = refused.value.message
    named = [one for one in BITSTREAMS.values() if f" {one.name}" in message.split(":", 1)[1]]
    assert 1 <= len(named) <= 3
    assert RESNET not in named
    assert set(named) <= set(fitting(model, "pac-a10", every=True))
    command = message.split("`")[1].split()
    assert command[:3] == ["thorax", "fpga", "program"]
    # What the advice says leads to no such error.
    (again,) = program(command[3], command[4], state=tmp_path / "fpga.json")
    require_layers(model, again, query(model, find_bitstream(command[4])))


def test_where_no_bitstream_runs_every_layer_the_host_is_named(tmp_path: Path) -> None:
    state = tmp_path / "fpga.json"
    assert fitting(chest(), every=True) == ()
    (card,) = program("FPGA.0", RESNET.name, state=state)
    model = chest()
    with pytest.raises(DeviceError) as refused:
        require_layers(model, card, query(model, RESNET))
    message = refused.value.message
    assert message.endswith("no bitstream of a pac-a10 runs Sigmoid here; use -d HETERO:FPGA.0,CPU")
    # A card that is not programmed has to be for that too.
    with pytest.raises(DeviceError, match=r"Sigmoid here; .*thorax fpga program FPGA\.1 ") as unset:
        loaded_bitstream(find_card("FPGA.1", state), model, alone=True)
    assert unset.value.code == "fpga-unprogrammed"
