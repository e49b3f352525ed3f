"""Networks that answer an image otherwise in a batch than alone."""

from collections.abc import Callable

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.importers.options import compile_here
from thorax.ir.batch import answers_each_alone

KERNEL = np.random.default_rng(2).normal(size=(3, 3, 3, 3)).astype(np.float32)
Layer = Callable[[ov.Node], ov.Node]


def baked(x: ov.Node) -> ov.Node:
    """Return windows of a map put together as for one image, as Swin's window_reverse is traced."""
    windows = ops.reshape(x, np.array([-1, 3, 3, 2, 3]), False)
    return ops.reshape(ops.transpose(windows, np.array([0, 1, 3, 2, 4])), [1, 3, 6, 6], False)


LAYERS: dict[str, tuple[Layer, bool]] = {
    "none": (lambda x: x, True),
    "over each image": (lambda x: ops.mvn(x, np.array([2, 3]), True, 1e-5, "inside_sqrt"), True),
    "over the batch": (lambda x: ops.mvn(x, np.array([0, 2, 3]), True, 1e-5, "inside_sqrt"), False),
    "mean of the batch": (
        lambda x: ops.subtract(x, ops.reduce_mean(x, np.array([0]), True)),
        False,
    ),
    "one image": (lambda x: ops.gather(x, np.array([0]), np.array(0)), False),
    "baked": (baked, False),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_batch_is_told_from_single_images(layer: str) -> None:
    image = ops.parameter([1, 3, 8, 8], np.float32)
    conv = ops.convolution(image, ops.constant(KERNEL), [1, 1], [0, 0], [0, 0], [1, 1])
    make, wanted = LAYERS[layer]
    mean = ops.reduce_mean(ops.relu(make(conv)), np.array([2, 3]), False)
    model = ov.Model([mean], [image])
    assert answers_each_alone(model, compile_here, [0.5] * 3, [0.25] * 3) is wanted
    assert list(model.inputs[0].get_shape()) == [1, 3, 8, 8]
