"""Noise of every layer, against sums by hand and networks whose fault is known."""

import math

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.analysis.layerwise import compare_layers
from thorax.artifact import Artifact
from thorax.data.store import Store
from thorax.errors import ModelError
from thorax.results.optimize import LayerNoise

SIDE = 8
IMAGES = np.random.default_rng(3).integers(0, 256, (3, 1, SIDE, SIDE), np.uint8)


def network(*, wrong: float = 0.0, name: str = "second", side: int = SIDE) -> ov.Model:
    """Return three convolutions with ReLUs around a residual sum; the second strays."""
    random = np.random.default_rng(0)

    def conv(value: ov.Output, channels: int, called: str, off: float = 0.0) -> ov.Node:
        inputs = int(value.get_shape()[1])
        weights = random.normal(size=(channels, inputs, 3, 3)).astype(np.float32) / 9
        node = ops.convolution(
            value, ops.constant(weights * np.float32(1 + off)), [1, 1], [1, 1], [1, 1], [1, 1]
        )
        node.set_friendly_name(called)
        biased = ops.add(node, ops.constant(np.full((1, channels, 1, 1), 0.5, np.float32)))
        biased.set_friendly_name(f"{called}/bias")
        active = ops.relu(biased)
        active.set_friendly_name(f"{called}/relu")
        return active

    image = ops.parameter([1, 1, side, side], np.uint8)
    scaled = ops.multiply(ops.convert(image, np.float32), ops.constant(np.float32(1 / 255)))
    scaled.set_friendly_name("scale")
    first = conv(scaled.output(0), 4, "first")
    second = conv(first.output(0), 4, name, wrong)
    total = ops.add(first, second)
    total.set_friendly_name("sum")
    pooled = ops.max_pool(total, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2])
    third = conv(pooled.output(0), 2, "third")
    third.output(0).set_names({"answer"})
    return ov.Model([third], [image], "three")


def values(model: ov.Model, name: str) -> np.ndarray:
    node = next(node for node in model.get_ordered_ops() if node.get_friendly_name() == name)
    probed = ov.Model([ops.result(node.output(0))], model.get_parameters())
    compiled = ov.Core().compile_model(probed, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([compiled(image[None])[0] for image in IMAGES])


def compare(first: ov.Model, second: ov.Model) -> list[LayerNoise]:
    return compare_layers(first, second, IMAGES).layers


def decibels(value: float | None) -> float:
    return math.inf if value is None else value


def test_a_model_compared_with_itself_is_without_noise() -> None:
    compared = compare_layers(network(), network(), IMAGES)
    assert [layer.name for layer in compared.layers] == ["scale", "first", "second", "sum", "third"]
    for layer in [*compared.layers, *compared.outputs]:
        assert (layer.sqnr_db, layer.max_error) == (None, 0)
    assert {layer.own_sqnr_db for layer in compared.layers} == {None}
    assert (compared.unmatched, compared.extra) == ((), ())


def test_noise_is_what_the_formula_says_and_belongs_to_the_layer_that_makes_it() -> None:
    found = {layer.name: layer for layer in compare(network(), network(wrong=0.1))}
    assert {name for name, layer in found.items() if decibels(layer.own_sqnr_db) < 100} == {
        "second"
    }
    assert found["first"].sqnr_db is None
    for name, end in (("second", "second/relu"), ("sum", "sum"), ("third", "third/relu")):
        a, b = values(network(), end), values(network(wrong=0.1), end)
        wanted = 10 * np.log10((a.astype(float) ** 2).sum() / ((a - b).astype(float) ** 2).sum())
        assert found[name].sqnr_db == pytest.approx(wanted, abs=1e-3)
        assert found[name].max_error == pytest.approx(np.abs(a - b).max(), rel=1e-4)
    assert found["second"].own_sqnr_db == pytest.approx(found["second"].sqnr_db, abs=1e-6)
    assert found["second"].type == "Convolution"


def test_parts_of_a_network_add_up_to_the_whole() -> None:
    whole = compare_layers(network(), network(wrong=0.1), IMAGES)
    parts = compare_layers(network(), network(wrong=0.1), IMAGES, memory_bytes=1)
    assert parts == whole


def test_layers_of_other_names_are_told() -> None:
    compared = compare_layers(network(), network(name="zweite"), IMAGES)
    assert compared.unmatched == ("second",)
    assert compared.extra == ("zweite",)
    # The layer behind is then fed through the stranger, whose noise it would take over: none.
    assert all(layer.sqnr_db is None for layer in compared.layers)


def test_every_layer_of_an_int8_graph_is_found_and_the_float_head_adds_no_noise(
    tiny_fp32: Artifact, tiny_int8: Artifact, tiny_store: Store
) -> None:
    core = ov.Core()
    images = np.asarray(tiny_store.images[:4])[:, None]
    compared = compare_layers(
        core.read_model(tiny_fp32.xml), core.read_model(tiny_int8.xml), images
    )
    assert compared.unmatched == compared.extra == ()
    found = {layer.name: layer for layer in compared.layers}
    assert sum(layer.type == "Convolution" for layer in compared.layers) == 20 + 1
    assert 20 < decibels(found["conv1"].own_sqnr_db) < 60
    assert decibels(found["head/linear"].own_sqnr_db) > 100
    assert 20 < decibels(found["head/linear"].sqnr_db) < 100
    outputs = {output.name: output for output in compared.outputs}
    assert list(outputs) == ["probability", "logit of probability", "heatmap", "embedding"]
    # Probes change nothing of what is computed but the rounding between fused kernels.
    assert found["head/cells"].sqnr_db == pytest.approx(outputs["heatmap"].sqnr_db, abs=1)


def test_graphs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError) as refused:
        compare(network(), network(side=16))
    assert refused.value.code == "compare-shape"
    assert "16" in refused.value.message
    image = ops.parameter([1, 1, SIDE, SIDE], np.uint8)
    other = ops.sqrt(ops.convert(image, np.float32))
    with pytest.raises(ModelError) as refused:
        compare(network(), ov.Model([other], [image], "other"))
    assert refused.value.code == "compare-layers"


def test_an_overflow_is_named() -> None:
    def divided(by: float) -> ov.Model:
        image = ops.parameter([1, 1, SIDE, SIDE], np.uint8)
        root = ops.sqrt(ops.convert(image, np.float32))
        value = ops.divide(root, ops.constant(np.float32(by)))
        value.set_friendly_name("divided")
        return ov.Model([value], [image], "divided")

    with pytest.raises(ModelError) as refused:
        compare(divided(1), divided(0))
    assert refused.value.code == "compare-not-finite"
    assert "divided of the second model" in refused.value.message
