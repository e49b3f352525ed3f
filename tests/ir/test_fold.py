"""What folding says it did, against graphs whose layers are counted by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest
from tests.ir.execution import run
from torch import nn

from thorax.ir.fold import fold
from thorax.ir.rewrite import counts
from thorax.results.optimize import Normalisation

Convert = Callable[..., Any]


def kernel(outputs: int, inputs: int, size: int = 3) -> ov.Node:
    rng = np.random.default_rng(outputs * size)
    return ops.constant(rng.normal(0, 0.3, (outputs, inputs, size, size)).astype(np.float32))


def values(*shape: int, seed: int = 0) -> ov.Node:
    rng = np.random.default_rng(seed)
    return ops.constant(rng.uniform(0.5, 1.5, shape).astype(np.float32))


def convolve(image: ov.Node, outputs: int, name: str) -> ov.Node:
    inputs = image.get_output_partial_shape(0)[1].get_length()
    made = ops.convolution(image, kernel(outputs, inputs), [1, 1], [1, 1], [1, 1], [1, 1])
    made.set_friendly_name(name)
    return made


def normalise(image: ov.Node, name: str) -> ov.Node:
    channels = image.get_output_partial_shape(0)[1].get_length()
    gamma, beta, mean, variance = (values(channels, seed=seed) for seed in range(4))
    made = ops.batch_norm_inference(image, gamma, beta, mean, variance, 1e-5)
    made.set_friendly_name(name)
    return made


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(8).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("topology", "count", "folded"),
    [
        ("resnet18", 20, 20),
        ("resnet50", 53, 53),
        ("vgg16_bn", 13, 13),
        # The first, and the second of each of 58 layers, follow a convolution. Before a ReLU and
        # after a concatenation nothing takes the scale: one a layer, 3 transitions, the last.
        ("densenet121", 121, 1 + 58),
    ],
)
def test_batch_normalisations_of_torch_are_counted(
    convert: Convert, topology: str, count: int, folded: int
) -> None:
    made = convert(topology)
    assert count == sum(isinstance(m, nn.BatchNorm2d) for m in made.network.modules())
    told = made.artifact.card.provenance["rewritten"]
    assert (told["normalisations"], told["normalisations_folded"]) == (count, folded)
    kinds = [node.get_type_name() for node in made.model.get_ordered_ops()]
    # One more Multiply normalises the input.
    assert kinds.count("Multiply") == count - folded + 1
    assert (told["transposes_removed"], told["transposes_left"]) == (0, 0)


def three_normalisations() -> ov.Model:
    image = ops.parameter([-1, 3, 8, 8], np.float32, "x")
    first = normalise(convolve(image, 4, "conv1"), "bn1")
    second = convolve(ops.relu(normalise(ops.relu(first), "bn2")), 5, "conv2")
    # Caffe parts one batch normalisation into two layers.
    scale = ops.multiply(second, values(1, 5, 1, 1))
    scale.set_friendly_name("bn3")
    shift = ops.add(scale, values(1, 5, 1, 1, seed=1))
    third = ops.add(ops.multiply(shift, values(1, 5, 1, 1, seed=2)), values(1, 5, 1, 1, seed=3))
    return ov.Model([ops.result(third)], [image], "net")


def test_each_normalisation_says_where_it_went() -> None:
    model = three_normalisations()
    picture = noise(2, 3, 8, 8)
    wanted = run(model.clone(), picture)
    folded = fold(model)
    assert folded.normalisation_layers == (
        Normalisation(name="bn1", into="conv1"),
        Normalisation(name="bn2", into=None),
        Normalisation(name="bn3", into="conv2"),
    )
    assert folded.normalisations_folded == 2
    assert folded.layers_before == 10
    assert folded.layers_after_by_type == {"Add": 3, "Convolution": 2, "Multiply": 1, "Relu": 2}
    np.testing.assert_allclose(run(model, picture), wanted, rtol=0, atol=1e-5)


def idle() -> ov.Model:
    image = ops.parameter([-1, 3, 8, 8], np.float32, "x")
    # Three layers compute the kernel from constants, two the number of channels from the sizes.
    weight = ops.multiply(ops.transpose(kernel(3, 3), ops.constant([1, 0, 2, 3])), values(1))
    weight = ops.add(weight, values(1, seed=4))
    made = ops.convolution(image, weight, [1, 1], [0, 0], [0, 0], [1, 1])
    channels = ops.gather(ops.shape_of(image), ops.constant([1]), ops.constant(0))
    dead = ops.add(ops.convert(made, np.float32), ops.constant(np.float32(0)))
    dead = ops.multiply(dead, ops.constant(np.float32(1)))
    still = np.zeros(4, np.int64)
    dead = ops.pad(dead, ops.constant(still), ops.constant(still), "constant")
    target = ops.concat([ops.constant([0]), channels, ops.constant([-1])], 0)
    flat = ops.reshape(ops.multiply(dead, ops.constant(np.float32(3))), target, True)
    return ov.Model([ops.result(flat)], [image], "net")


def test_constants_and_dead_layers_are_counted() -> None:
    model = idle()
    picture = noise(1, 3, 8, 8)
    wanted = run(model.clone(), picture)
    folded = fold(model)
    # Transpose, Multiply, Add; ShapeOf, Gather, Concat.
    assert folded.constants_folded == 6
    assert folded.dead_layers_removed == 4
    assert folded.layers_after_by_type == {"Convolution": 1, "Reshape": 1}
    np.testing.assert_allclose(run(model, picture), wanted, rtol=0, atol=1e-5)


def test_the_card_has_figures_and_the_result_the_layers() -> None:
    image = ops.parameter([1, 1, 8, 8], np.float32, "x")
    end = ops.result(normalise(convolve(image, 4, "conv"), "bn"))
    result = fold(ov.Model([end], [image], "net"))
    assert all(isinstance(value, int) for value in counts(result).values())
    assert result.normalisation_layers == (Normalisation(name="bn", into="conv"),)
    assert counts(result).items() <= dict(result).items()
