"""Layers of Caffe and MXNet: pooling against their loops, the rest against torch."""

import itertools
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
import pytest
import torch
from torch.nn import functional

from thorax.errors import ModelError
from thorax.importers import layers
from thorax.importers.layers import Geometry, Rounding, Windows
from thorax.importers.options import compile_here

Array = npt.NDArray[np.float32]
Pool = Callable[..., ov.Output]
RANDOM = np.random.default_rng(8)


def noise(*shape: int) -> Array:
    return RANDOM.normal(size=shape).astype(np.float32)


def compute(results: list[ov.Output], inputs: dict[ov.Node, Array]) -> list[Array]:
    return compile_here(ov.Model(results, list(inputs)))(list(inputs.values()))


def once(build: Callable[[ov.Output], ov.Output], image: Array) -> Array:
    node = ops.parameter(list(image.shape), np.float32)
    return compute([build(node.output(0))], {node: image})[0]


def caffe_pool(
    image: Array, kernel: int, stride: int, pad: int, *, mean: bool, rounding: Rounding = "ceil"
) -> Array:
    """Return what the loops of Caffe's pooling_layer.cpp do, window by window."""
    height, width = image.shape[2:]

    def count(side: int) -> int:
        steps = (side + 2 * pad - kernel) / stride
        windows = int(np.ceil(steps) if rounding == "ceil" else np.floor(steps)) + 1
        return windows - 1 if pad and (windows - 1) * stride >= side + pad else windows

    answer = np.zeros((*image.shape[:2], count(height), count(width)), np.float32)
    for row, column in itertools.product(range(answer.shape[2]), range(answer.shape[3])):
        top, left = row * stride - pad, column * stride - pad
        bottom, right = min(top + kernel, height + pad), min(left + kernel, width + pad)
        size = (bottom - top) * (right - left)
        window = image[:, :, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
        answer[:, :, row, column] = (
            window.sum(axis=(2, 3), dtype=np.float64) / size if mean else window.max(axis=(2, 3))
        )
    return answer


CASES = [
    (height, width, kernel, stride, pad)
    for kernel in range(1, 6)
    for stride in range(1, kernel + 1)
    for pad in range(kernel)
    for height, width in [(5, 7), (6, 8), (9, 6)]
]


@pytest.mark.parametrize("rounding", ["ceil", "floor"])
@pytest.mark.parametrize("mean", [False, True], ids=["max", "average"])
def test_pooling_equals_the_loops_of_caffe_for_every_window(mean: bool, rounding: Rounding) -> None:
    pool: Pool = layers.average_pool if mean else layers.max_pool
    results, inputs, wanted = [], {}, []
    for height, width, kernel, stride, pad in CASES:
        image = noise(1, 2, height, width)
        node = ops.parameter(list(image.shape), np.float32)
        inputs[node] = image
        windows = Windows((kernel, kernel), (stride, stride), (pad, pad), rounding)
        results.append(pool(node.output(0), windows, name="pool"))
        wanted.append(caffe_pool(image, kernel, stride, pad, mean=mean, rounding=rounding))
    for case, got, reference in zip(CASES, compute(results, inputs), wanted, strict=True):
        assert got.shape == reference.shape, case
        np.testing.assert_allclose(got, reference, atol=2e-6, err_msg=str(case))


@pytest.mark.parametrize("ceil", [False, True])
def test_an_average_that_leaves_padding_out_is_that_of_torch(ceil: bool) -> None:
    image = noise(1, 3, 7, 10)
    windows = Windows((3, 2), (2, 2), (1, 0), "ceil" if ceil else "floor")
    got = once(
        lambda data: layers.average_pool(data, windows, count_padding=False, name="pool"), image
    )
    wanted = functional.avg_pool2d(
        torch.from_numpy(image), (3, 2), 2, (1, 0), ceil_mode=ceil, count_include_pad=False
    )
    np.testing.assert_allclose(got, wanted.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "pad"),
    [(5, 1, 3, 0), (4, 6, 1, 0), (4, 0, 1, 0), (4, 2, 0, 0), (4, 2, 1, 2)],
)
def test_a_window_that_sees_nothing_is_refused(
    side: int, kernel: int, stride: int, pad: int
) -> None:
    data = ops.parameter([1, 1, side, side], np.float32).output(0)
    windows = Windows((kernel, kernel), (stride, stride), (pad, pad), "ceil")
    with pytest.raises(ModelError) as caught:
        layers.max_pool(data, windows, name="pool7")
    assert caught.value.code == "model-layer"
    assert "pool7" in caught.value.message


def test_a_map_that_no_memory_holds_is_refused_before_it_is_counted_out() -> None:
    data = ops.parameter([1, 1, 1 << 13, 1 << 13], np.float32).output(0)
    with pytest.raises(ModelError) as caught:
        layers.average_pool(data, Windows((3, 3), (1, 1), (1, 1), "ceil"), name="pool7")
    assert caught.value.code == "model-layer"


def test_pooling_an_input_of_open_size_is_refused() -> None:
    data = ops.parameter(ov.PartialShape([1, 1, -1, 8]), np.float32).output(0)
    with pytest.raises(ModelError) as caught:
        layers.max_pool(data, Windows((2, 2), (2, 2), (0, 0), "ceil"), name="pool7")
    assert caught.value.code == "model-input"


@pytest.mark.parametrize("kind", ["max", "average"])
def test_global_pooling_keeps_its_axes(kind: Literal["max", "average"]) -> None:
    image = noise(2, 3, 4, 5)
    got = once(lambda data: layers.global_pool(data, kind, name="pool"), image)
    wanted = (
        image.max((2, 3), keepdims=True) if kind == "max" else image.mean((2, 3), keepdims=True)
    )
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("biased", [False, True])
def test_convolutions_equal_those_of_torch(groups: int, biased: bool) -> None:
    image, weight = noise(2, 6, 9, 11), noise(12, 6 // groups, 3, 2)
    bias = noise(12) if biased else None
    geometry = Geometry((2, 1), (1, 2), (1, 3), groups)
    got = once(lambda data: layers.convolution(data, weight, bias, geometry, name="c"), image)
    wanted = functional.conv2d(
        torch.from_numpy(image),
        torch.from_numpy(weight),
        None if bias is None else torch.from_numpy(bias),
        stride=(2, 1),
        padding=(1, 2),
        dilation=(1, 3),
        groups=groups,
    )
    np.testing.assert_allclose(got, wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("extra", [(0, 0), (1, 0)])
def test_deconvolutions_equal_those_of_torch(groups: int, extra: tuple[int, int]) -> None:
    image, weight, bias = noise(1, 6, 4, 5), noise(6, 12 // groups, 3, 2), noise(12)
    geometry = Geometry((2, 1), (1, 0), (1, 2), groups, extra)
    got = once(lambda data: layers.deconvolution(data, weight, bias, geometry, name="d"), image)
    wanted = functional.conv_transpose2d(
        torch.from_numpy(image),
        torch.from_numpy(weight),
        torch.from_numpy(bias),
        stride=(2, 1),
        padding=(1, 0),
        output_padding=extra,
        groups=groups,
        dilation=(1, 2),
    )
    np.testing.assert_allclose(got, wanted.numpy(), atol=1e-5)


def test_the_last_node_of_a_layer_has_its_name() -> None:
    data = ops.parameter([1, 2, 4, 4], np.float32).output(0)
    geometry = Geometry((1, 1), (0, 0), (1, 1))
    conv = layers.convolution(data, noise(2, 2, 1, 1), noise(2), geometry, name="conv")
    pool = layers.average_pool(conv, Windows((3, 3), (2, 2), (1, 1), "ceil"), name="pool")
    flat = layers.fully_connected(pool, noise(3, 18), noise(3), name="fc")
    assert [part.get_node().get_friendly_name() for part in (conv, pool, flat)] == [
        "conv",
        "pool",
        "fc",
    ]
    assert conv.get_node().input_value(0).get_node().get_friendly_name() == "conv/WithoutBiases"


@pytest.mark.parametrize(("axis", "inputs"), [(1, 24), (2, 12), (3, 4), (None, 4)])
def test_a_linear_layer_flattens_from_its_axis_on(axis: int | None, inputs: int) -> None:
    image, weight, bias = noise(2, 2, 3, 4), noise(5, inputs), noise(5)
    got = once(lambda data: layers.fully_connected(data, weight, bias, axis=axis, name="fc"), image)
    wanted = image.reshape(*image.shape[: 3 if axis is None else axis], -1) @ weight.T + bias
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_batch_norm_equals_torch() -> None:
    image, gamma, beta, mean = noise(2, 3, 4, 4), noise(3), noise(3), noise(3)
    variance = np.abs(noise(3)) + np.float32(0.1)
    got = once(
        lambda data: layers.batch_norm(
            data, gamma=gamma, beta=beta, mean=mean, variance=variance, epsilon=1e-3, name="bn"
        ),
        image,
    )
    tensor, weight, bias = (torch.from_numpy(part) for part in (image, gamma, beta))
    wanted = functional.batch_norm(
        tensor, torch.from_numpy(mean), torch.from_numpy(variance), weight, bias, eps=1e-3
    )
    np.testing.assert_allclose(got, wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize(("axis", "shape"), [(0, (2, 3)), (1, (3,)), (1, (3, 4)), (3, (5,))])
def test_scale_and_shift_spread_over_the_axes_that_they_lack(
    axis: int, shape: tuple[int, ...]
) -> None:
    image, scale, shift = noise(2, 3, 4, 5), noise(*shape), noise(*shape)
    got = once(lambda data: layers.scale_shift(data, scale, shift, axis=axis, name="scale"), image)
    full = (*shape, *[1] * (4 - axis - len(shape)))
    np.testing.assert_allclose(got, image * scale.reshape(full) + shift.reshape(full), atol=1e-5)


def test_response_norms_equal_torch_and_the_sum_of_squares() -> None:
    image = noise(2, 7, 6, 6)
    tensor = torch.from_numpy(image)
    settings = {"size": 5, "alpha": 0.5, "beta": 0.75, "name": "norm"}

    def norm(data: ov.Output, *, k: float, axes: tuple[int, ...]) -> ov.Output:
        return layers.local_response_norm(
            data,
            k=k,
            axes=layers.integers(*axes),
            **settings,  # type: ignore[arg-type]
        )

    across = once(lambda data: norm(data, k=2.0, axes=(1,)), image)
    wanted = functional.local_response_norm(tensor, 5, alpha=0.5, beta=0.75, k=2.0)
    np.testing.assert_allclose(across, wanted.numpy(), atol=1e-5)
    within = once(lambda data: norm(data, k=1.0, axes=(2, 3)), image)
    mean = functional.avg_pool2d(tensor**2, 5, 1, 2)
    np.testing.assert_allclose(within, (tensor / (1 + 0.5 * mean) ** 0.75).numpy(), atol=1e-5)
