"""A first convolution that takes grey answers what it did with the grey in every channel."""

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest
from tests.ir.execution import run

from thorax.ir import rewrite
from thorax.ir.stem import BORDER

SIDE = 12
IMAGES = np.random.default_rng(2).integers(0, 256, (3, 1, SIDE, SIDE), np.uint8)
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
EQUAL = ([0.5] * 3, [0.25] * 3)
BYTES = ([0.0] * 3, [1 / 255] * 3)


def floats(*values: float, shape: tuple[int, ...] = (1, -1, 1, 1)) -> ov.Node:
    return ops.constant(np.array(values, np.float32).reshape(shape))


def pad(
    image: ov.Node, begin: list[int], end: list[int], mode: str = "constant", value: float = 0
) -> ov.Node:
    return ops.pad(image, ops.constant(begin), ops.constant(end), mode, floats(value, shape=()))


def turned(image: ov.Node) -> ov.Node:
    return ops.gather(image, ops.constant([2, 1, 0]), ops.constant(1))


def plus_image(image: ov.Node) -> ov.Node:
    still = np.random.default_rng(1).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    return ops.subtract(image, ops.constant(still))


Layers = Callable[[ov.Node], ov.Node]
ENTRANCES: dict[str, Layers] = {
    "nothing": lambda x: x,
    "zero padding": lambda x: pad(x, [0, 0, 3, 1], [0, 0, 2, 3]),
    "padding by a value": lambda x: pad(x, [0, 0, 1, 1], [0, 0, 1, 1], value=0.7),
    "padding twice": lambda x: pad(pad(x, [0, 0, 1, 1], [0, 0, 1, 1]), [0, 0, 0, 2], [0, 0, 1, 0]),
    "rescaling": lambda x: ops.subtract(ops.multiply(x, floats(2, shape=())), floats(1, shape=())),
    "normalization": lambda x: ops.divide(
        ops.subtract(x, floats(0.1, 0.2, 0.3)), floats(0.4, 0.5, 0.6)
    ),
    "mean of Caffe": lambda x: ops.subtract(turned(x), floats(103.9, 116.8, 123.7)),
    "mean of Caffe, then padding": lambda x: pad(
        ops.subtract(turned(x), floats(1.5, 0.2, 0.7)), [0, 0, 3, 3], [0, 0, 3, 3]
    ),
    "negative": lambda x: ops.multiply(floats(1, 2, 3), ops.subtract(floats(1), x)),
    "mean image": plus_image,
}
LEFT_ALONE: dict[str, Layers] = {
    "relu": ops.relu,
    "reflection": lambda x: pad(x, [0, 0, 1, 1], [0, 0, 1, 1], "reflect"),
    "cut off": lambda x: pad(x, [0, 0, -1, 0], [0, 0, 0, 0]),
    "channel of zeros": lambda x: pad(x, [0, 0, 0, 0], [0, 1, 0, 0]),
    "reciprocal": lambda x: ops.divide(floats(1), ops.add(x, floats(300))),
    "window": lambda x: ops.multiply(
        x, ops.constant(np.arange(SIDE, dtype=np.float32).reshape(1, 1, 1, SIDE))
    ),
    "two ways": lambda x: ops.add(x, ops.relu(x)),
}


def network(layers: Layers, **options: Any) -> ov.Model:  # noqa: ANN401
    """Return [1,3,S,S] through the layers and a convolution called `stem`."""
    image = ops.parameter([1, 3, SIDE, SIDE], np.float32, "x")
    before = layers(image)
    channels = before.get_output_shape(0)[1]
    rng = np.random.default_rng(3)
    kernel = ops.constant(rng.normal(0, 0.2, (5, channels, 3, 3)).astype(np.float32))
    pads = options.get("pads", [0, 0])
    conv = ops.convolution(
        before, kernel, [2, 2], pads, pads[::-1], [1, 1], options.get("auto_pad", "explicit")
    )
    conv.set_friendly_name("stem")
    return ov.Model([ops.result(ops.relu(conv))], [image], "net")


def difference(model: ov.Model, mean: list[float], std: list[float]) -> float:
    """Fold a graph; return how far it strays from what it was, relative to the largest answer."""
    whole, worst = model.clone(), 0.0
    centre, width = (np.array(v, np.float32).reshape(1, -1, 1, 1) for v in (mean, std))
    rewrite.take_bytes(model, centre.ravel(), width.ravel())
    for image in IMAGES:
        wanted = run(whole, (image[None].astype(np.float32) / 255 - centre) / width)
        worst = max(worst, float(np.abs(run(model, image[None]) - wanted).max() / wanted.max()))
    return worst


def stem(model: ov.Model) -> ov.Node:
    return next(one for one in model.get_ordered_ops() if one.get_friendly_name() == "stem")


@pytest.mark.parametrize("norm", [EQUAL, IMAGENET], ids=["equal", "imagenet"])
@pytest.mark.parametrize(
    "options",
    [{}, {"pads": [1, 2]}, {"auto_pad": "same_upper"}],
    ids=["valid", "padded", "same"],
)
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_what_stands_before_the_stem_goes_into_it(
    entrance: str, options: dict[str, Any], norm: tuple[list[float], list[float]]
) -> None:
    model = network(ENTRANCES[entrance], **options)
    assert difference(model, *norm) <= 1e-5
    assert stem(model).get_input_shape(1) == [5, 1, 3, 3]
    kinds = {node.get_type_name() for node in model.get_ordered_ops()}
    assert not kinds & {"Pad", "Gather", "Subtract", "Divide"}


@pytest.mark.parametrize("entrance", LEFT_ALONE)
def test_a_stem_behind_what_does_more_is_left_alone(entrance: str) -> None:
    model = network(LEFT_ALONE[entrance])
    channels = stem(model).get_input_shape(1)[1]
    assert difference(model, *BYTES) <= 1e-5
    assert stem(model).get_input_shape(1)[1] == channels > 1


@pytest.mark.parametrize(
    ("entrance", "norm", "shape"),
    [
        ("zero padding", EQUAL, None),
        ("zero padding", IMAGENET, [1, 5, 8, 7]),
        ("mean of Caffe", BYTES, [1, 5, 1, 1]),
    ],
)
def test_a_map_is_added_only_where_shifts_differ(
    entrance: str, norm: tuple[list[float], list[float]], shape: list[int] | None
) -> None:
    model = network(ENTRANCES[entrance])
    difference(model, *norm)
    maps = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    border = maps.get(f"stem/{BORDER}")
    assert (list(border.get_input_shape(1)) if border else None) == shape
