from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
import pytest
from tests.fpga import integer_model

from thorax.errors import ModelError
from thorax.fpga.emulation import emulate, fold_weights, round_outputs
from thorax.fpga.numerics import ROUNDINGS, Rounding, quantize

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

LAYERS = ("stem", "branch", "deep", "closing", "sum", "depthwise", "linear")
SHAPE = (1, 3, 12, 12)
CONFIG = {"INFERENCE_PRECISION_HINT": "f32"}


def weights(*shape: int) -> Floats:
    random = np.random.default_rng(sum(shape))
    scale = np.sqrt(np.prod(shape[1:]))
    found: Floats = (random.standard_normal(shape) / scale).astype(np.float32)
    return found


KERNELS = {
    "stem": weights(16, 3, 3, 3),
    "branch": weights(32, 16, 1, 1),
    "deep": weights(16, 16, 3, 3),
    "closing": weights(32, 16, 1, 1),
    "depthwise": weights(32, 1, 1, 3, 3),
    "linear": weights(5, 32),
}


def convolve(x: ov.Output, name: str) -> ov.Output:
    kernel = KERNELS[name]
    pad = [kernel.shape[-1] // 2] * 2
    operation = ops.group_convolution if kernel.ndim == 5 else ops.convolution
    node = operation(x, ops.constant(kernel, name=f"{name}/w"), [1, 1], pad, pad, [1, 1])
    node.set_friendly_name(name)
    bias = ops.add(node, ops.constant(np.full((1, 1, 1, 1), 0.01, np.float32)))
    return bias.output(0)


def relu(x: ov.Output, name: str) -> ov.Output:
    return ops.relu(x, name=name).output(0)


def network() -> ov.Model:
    """A stem, a block whose shortcut is a projection, a depthwise layer and a linear one."""
    image = ops.parameter(list(SHAPE), np.float32, name="image")
    stem = relu(convolve(image.output(0), "stem"), "stem/relu")
    deep = relu(convolve(stem, "deep"), "deep/relu")
    added = ops.add(convolve(deep, "closing"), convolve(stem, "branch"), name="sum")
    joined = relu(added.output(0), "sum/relu")
    wide = relu(convolve(joined, "depthwise"), "depthwise/relu")
    pooled = ops.reduce_mean(wide, ops.constant(np.array([2, 3])), keep_dims=False)
    linear = ops.matmul(pooled, ops.constant(KERNELS["linear"]), False, True, name="linear")
    return ov.Model([linear.output(0), joined, added.output(0)], [image], "net")


def conv64(x: Doubles, kernel: Doubles, *, depthwise: bool = False) -> Doubles:
    """Return a convolution of stride 1 that keeps the sides, and the bias of 0.01."""
    side = kernel.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (side, side), (side, side)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[-2:], axis=(2, 3))
    how, used = (
        ("nchwij,cij->nchw", kernel[:, 0, 0]) if depthwise else ("nchwij,kcij->nkhw", kernel)
    )
    found: Doubles = np.einsum(how, windows, used)
    return found + 0.01


def reference(x: Floats, rounding: Rounding) -> list[Doubles]:
    """Return the three outputs in float64, each layer's operands quantized by the specification."""

    def block(values: npt.ArrayLike, size: int = 8, *, image: bool = False) -> Doubles:
        x = np.asarray(values, np.float32)
        found = quantize(x, block=size, precision="fp11", rounding=rounding, image=image)
        return found.astype(np.float64)

    folded = {name: block(kernel) for name, kernel in KERNELS.items()}
    folded["depthwise"] = block(KERNELS["depthwise"].reshape(32, 1, 3, 3)).reshape(32, 1, 1, 3, 3)
    stem = block(np.maximum(conv64(block(x, image=True), folded["stem"]), 0))
    deep = block(np.maximum(conv64(stem, folded["deep"]), 0))
    added = conv64(deep, folded["closing"]) + block(conv64(stem, folded["branch"]))
    joined = np.maximum(added, 0)
    wide = conv64(block(joined, 1), folded["depthwise"], depthwise=True)
    pooled = np.maximum(wide, 0).mean(axis=(2, 3))
    return [block(pooled) @ folded["linear"].T, joined, added]


def picture(seed: int) -> Floats:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def answer(model: ov.Model, x: Floats) -> list[Floats]:
    compiled = ov.Core().compile_model(model, "CPU", CONFIG)
    found = compiled(x)
    return [np.array(found[port]) for port in compiled.outputs]


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_network_equals_an_independent_one_in_double_precision(rounding: Rounding) -> None:
    model = network()
    emulate(model, LAYERS, precision="fp11", block=8, rounding=rounding)
    for seed in range(3):
        x = picture(seed)
        for found, wanted, plain in zip(
            answer(model, x), reference(x, rounding), answer(network(), x), strict=True
        ):
            scale = np.abs(wanted).max()
            # FP32 sums differ by 1e-7 of the scale; where that turns a rounding, by up to 2^-6.
            errors = np.abs(found - wanted) / scale
            assert np.median(errors) < (1e-6 if found.ndim == 4 else 1e-3)
            assert errors.max() < 2.0**-6
            assert np.abs(plain - wanted).max() / scale > 10 * np.median(errors) + 1e-3


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_what_the_plug_in_fuses_stays_exact(rounding: Rounding) -> None:
    model = network()
    emulate(model, LAYERS, precision="fp11", block=8, rounding=rounding)
    named = {node.get_friendly_name(): node for node in model.get_ops()}
    raw = {name: named[name].output(0) for name in ("stem/relu", "deep/relu", "sum/relu")}
    taken = {"stem/relu": "deep", "deep/relu": "closing", "sum/relu": "depthwise"}
    quantized = {name: named[user].input_value(0) for name, user in taken.items()}
    both = ov.Model([*raw.values(), *quantized.values()], model.get_parameters())
    found = answer(both, picture(5))
    for before, after, name in zip(found[:3], found[3:], taken, strict=True):
        block = 1 if taken[name] == "depthwise" else 8
        wanted = quantize(before, block=block, precision="fp11", rounding=rounding)
        np.testing.assert_array_equal(after, wanted)


def quantizers(added: Sequence[str]) -> list[str]:
    return sorted({name.rsplit("/", 1)[0] for name in added if "/fp11" in name})


def test_a_tensor_is_quantized_once_whatever_takes_it() -> None:
    model = network()
    added = emulate(model, LAYERS, precision="fp11", block=8)
    prefixes = quantizers(added)
    assert len(prefixes) == 6  # image, stem, deep, the projection, the sum, the pooled
    assert sum("stem/relu" in prefix for prefix in prefixes) == 1
    named = {node.get_friendly_name(): node for node in model.get_ops()}
    shared = named["deep"].input_value(0).get_node()
    assert (
        shared.get_friendly_name() == named["branch"].input_value(0).get_node().get_friendly_name()
    )


def test_a_sum_keeps_the_accumulators_of_the_layer_before_it() -> None:
    model = network()
    emulate(model, LAYERS, precision="fp11", block=8)
    named = {node.get_friendly_name(): node for node in model.get_ops()}
    sources = [value.get_node() for value in named["sum"].input_values()]
    plain = [node for node in sources if node.get_type_name() == "Add"]
    assert len(plain) == 1
    assert plain[0].input_value(0).get_node().get_friendly_name() == "closing"


def test_layers_that_are_not_named_stay_as_they_are() -> None:
    model, untouched = network(), network()
    added = emulate(model, (), precision="fp11", block=8)
    assert added == ()
    emulate(model, ("deep",), precision="fp11", block=8)
    named = {node.get_friendly_name(): node for node in model.get_ops()}
    for node in untouched.get_ops():
        if node.get_friendly_name() in ("closing/w", "stem/w"):
            np.testing.assert_array_equal(named[node.get_friendly_name()].data, node.data)
    assert named["branch"].input_value(0).get_node().get_friendly_name() == "stem/relu"


def test_names_are_unique_and_those_of_layers_and_weights_stay() -> None:
    model = network()
    before = {node.get_friendly_name() for node in model.get_ops()}
    added = emulate(model, LAYERS, precision="fp11", block=8)
    names = [node.get_friendly_name() for node in model.get_ops()]
    assert len(names) == len(set(names))
    assert before <= set(names)
    assert set(names) - before <= set(added)


def test_added_nodes_follow_the_device_of_their_layer() -> None:
    model = network()
    for node in model.get_ops():
        deep = node.get_friendly_name() in ("deep", "closing")
        node.get_rt_info()["affinity"] = "FPGA1" if deep else "FPGA"
    added = emulate(model, LAYERS, precision="fp11", block=8)
    where = {
        n.get_friendly_name(): n.get_rt_info()["affinity"].astype(str) for n in model.get_ops()
    }
    assert {where[name] for name in added} == {"FPGA", "FPGA1"}
    # Two cards take the stem's output: each has a quantizer of its own.
    assert sum("stem/relu" in prefix for prefix in quantizers(added)) == 2
    assert {where[name] for name in added if name.startswith("deep/relu/")} == {"FPGA1"}


@pytest.mark.parametrize("block", [4, 16])
def test_folded_weights_are_those_of_the_reference_and_binary16_holds_them(block: int) -> None:
    model = network()
    fold_weights(model, LAYERS, precision="fp11", block=block)
    once = {
        n.get_friendly_name(): n.data.copy()
        for n in model.get_ops()
        if "/w" in n.get_friendly_name()
    }
    for name, kernel in KERNELS.items():
        if name in ("depthwise", "linear"):
            continue
        found = once[f"{name}/w"]
        np.testing.assert_array_equal(found, quantize(kernel, block=block, precision="fp11"))
        np.testing.assert_array_equal(found, found.astype(np.float16).astype(np.float32))
    fold_weights(model, LAYERS, precision="fp11", block=block)
    for node in model.get_ops():
        if node.get_friendly_name() in once:
            np.testing.assert_array_equal(node.data, once[node.get_friendly_name()])


def test_transposed_convolutions_fold_along_their_input_channels() -> None:
    kernel = weights(16, 4, 3, 3)
    x = ops.parameter([1, 16, 5, 5], np.float32)
    up = ops.convolution_backprop_data(
        x, ops.constant(kernel, name="w"), [2, 2], [0, 0], [0, 0], [1, 1], name="up"
    )
    model = ov.Model([up], [x])
    fold_weights(model, ("up",), precision="fp11", block=8)
    found = next(n.data for n in model.get_ops() if n.get_friendly_name() == "w")
    turned = quantize(np.swapaxes(kernel, 0, 1), block=8, precision="fp11")
    np.testing.assert_array_equal(found, np.swapaxes(turned, 0, 1))


def test_weights_that_the_graph_computes_are_refused() -> None:
    x, kernel = (ops.parameter(shape, np.float32) for shape in ([1, 4, 5, 5], [4, 4, 1, 1]))
    layer = ops.convolution(x, kernel, [1, 1], [0, 0], [0, 0], [1, 1], name="conv")
    with pytest.raises(ModelError, match=r"fpga-weights.*conv"):
        emulate(ov.Model([layer], [x, kernel]), ("conv",), precision="fp11", block=8)


def test_tensors_of_unknown_or_other_shapes_are_refused() -> None:
    x = ops.parameter([-1, 4, 5, 5], np.float32)
    layer = ops.convolution(x, weights(4, 4, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1], name="conv")
    with pytest.raises(ModelError, match="fpga-shape"):
        emulate(ov.Model([layer], [x]), ("conv",), precision="fp11", block=4)


def flattening(order: str, kernel: Floats, *, turned: bool) -> ov.Model:
    """A fully connected layer behind a map of 4 x 3 pixels and 20 channels, whose row it takes."""
    image = ops.parameter([2, 20, 4, 3], np.float32, name="image")
    rows = image.output(0)
    if order == "channels last":
        rows = ops.transpose(rows, ops.constant(np.array([0, 2, 3, 1]))).output(0)
        rows = ops.reshape(rows, ops.constant(np.array([2, 12, 20])), special_zero=False).output(0)
    row = ops.reshape(rows, ops.constant(np.array([2, -1])), special_zero=False)
    stored = ops.constant(np.ascontiguousarray(kernel.T) if turned else kernel, name="w")
    linear = ops.matmul(row, stored, False, not turned, name="linear")
    return ov.Model([linear.output(0), linear.input_value(0)], [image], "flat")


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("order", ["channels first", "channels last"])
def test_a_map_taken_as_a_row_shares_exponents_among_the_channels_of_a_pixel(
    order: str, turned: bool
) -> None:
    random = np.random.default_rng(7)
    maps = random.standard_normal((2, 20, 4, 3)).astype(np.float32)
    maps *= np.exp2(random.integers(-4, 5, (2, 1, 4, 3))).astype(np.float32)
    filters = random.standard_normal((5, 20, 4, 3)).astype(np.float32)
    axes = (0, 2, 3, 1) if order == "channels last" else (0, 1, 2, 3)
    model = flattening(order, filters.transpose(axes).reshape(5, -1), turned=turned)
    named = {node.get_friendly_name(): node for node in model.get_ops()}
    added = emulate(model, ("linear",), precision="fp11", block=8)
    assert added
    before = ov.Model(
        [named["linear"].output(0), named["linear"].input_value(0)], model.get_parameters()
    )
    found, entered = answer(before, maps)
    # What a bare parameter holds is an image.
    blocks = quantize(maps, block=8, precision="fp11", image=True)
    weights_folded = quantize(filters, block=8, precision="fp11")
    np.testing.assert_array_equal(entered, blocks.transpose(axes).reshape(2, -1))
    wanted = np.einsum("nchw,kchw->nk", blocks.astype(np.float64), weights_folded)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
    along_pixels = quantize(maps.reshape(2, -1), block=8, precision="fp11", image=True)
    assert (along_pixels != blocks.reshape(2, -1)).mean() > 0.1


def test_a_row_of_channels_is_no_map() -> None:
    kernel = weights(5, 20)
    image = ops.parameter([2, 20, 1, 1], np.float32)
    row = ops.squeeze(image, ops.constant(np.array([2, 3])))
    model = ov.Model([ops.matmul(row, ops.constant(kernel), False, True, name="linear")], [image])
    added = emulate(model, ("linear",), precision="fp11", block=8)
    assert not any("Reshape" in name and name.endswith("0.Reshape") for name in added)
    folded = next(node for node in model.get_ops() if node.get_friendly_name() == "linear")
    np.testing.assert_array_equal(
        folded.input_value(1).get_node().data, quantize(kernel, block=8, precision="fp11")
    )


SUBGRAPHS = {"stem": 0, "stem/relu": 0, "deep": 1, "branch": 0, "sum": 0, "linear": 0}


def test_what_leaves_a_card_is_binary16_to_the_bit() -> None:
    model = network()
    emulate(model, LAYERS, precision="fp11", block=8)
    named = {node.get_friendly_name(): node for node in model.get_ops()}
    before = [port.get_node().input_value(0) for port in model.outputs]
    added = round_outputs(model, {**SUBGRAPHS, "sum/relu": 0}, ("stem/relu", "sum/relu", "linear"))
    after = [port.get_node().input_value(0) for port in model.outputs]
    # The linear layer and one of the other two outputs; no card runs what gives the third.
    assert [port.get_node().get_friendly_name() in added for port in after] == [True, True, False]
    # Quantizers round so themselves.
    assert named["deep"].input_value(0).get_node().get_friendly_name().startswith("stem/relu/fp11")
    assert not any(name.startswith("stem/relu") for name in added)
    both = ov.Model([*before[:2], *after[:2]], model.get_parameters())
    for seed in range(3):
        found = answer(both, picture(seed))
        for raw, sent in zip(found[:2], found[2:], strict=True):
            wanted = quantize(raw, block=1, precision="fp16")
            np.testing.assert_array_equal(sent.view(np.uint32), wanted.view(np.uint32))
            assert (raw != sent).mean() > 0.5


@pytest.mark.parametrize("signed", [True, False])
def test_every_number_is_sent_as_binary16(signed: bool) -> None:
    x = integer_model.adversarial(20_000, seed=3).reshape(1, 20, 25, 40)
    image = ops.parameter(list(x.shape), np.float32)
    # Neither is what may lie between an image and its first layer.
    bare = ops.maximum(image, ops.constant(np.float32(-np.inf))) if signed else ops.relu(image)
    bare.set_friendly_name("made")
    result = ops.result(bare)
    model = ov.Model([result], [image])
    assert round_outputs(model, {"made": 0}, ("made",))
    wanted = quantize(x if signed else np.maximum(x, 0), block=1, precision="fp16")
    np.testing.assert_array_equal(answer(model, x)[0].view(np.uint32), wanted.view(np.uint32))


def test_an_output_that_is_rounded_keeps_its_names_and_device() -> None:
    model = network()
    for node in model.get_ops():
        node.get_rt_info()["affinity"] = "FPGA"
    model.outputs[0].get_tensor().set_names({"logits"})
    wanted = [port.get_names() for port in model.outputs]
    added = round_outputs(model, {}, ())
    assert added == ()
    layers = {node.get_friendly_name(): 0 for node in model.get_ops()}
    added = round_outputs(model, layers, layers)
    assert [port.get_names() for port in model.outputs] == wanted
    assert model.output("logits").get_node().input_value(0).get_node().get_friendly_name() in added
    named = {node.get_friendly_name(): node for node in model.get_ops()}
    assert all(named[name].get_rt_info()["affinity"].astype(str) == "FPGA" for name in added)
    compiled = ov.Core().compile_model(model, "CPU", CONFIG)
    assert compiled.output("logits").get_names() == wanted[0]


def test_pixels_that_the_host_prepares_are_not_rounded() -> None:
    image = ops.parameter([1, 3, 4, 4], np.float32)
    scaled = ops.multiply(image, ops.constant(np.float32(1 / 3)), name="scaled")
    model = ov.Model([ops.result(scaled)], [image])
    assert round_outputs(model, {"scaled": 0}, ("scaled",)) == ()
