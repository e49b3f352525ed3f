"""Every type of Caffe layer, against torch or NumPy."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.importers import caffe_files as files
from tests.importers.conftest import refused
from torch.nn import functional

from thorax.importers.caffe import read
from thorax.importers.options import ImportOptions

Array = npt.NDArray[np.float32]
RANDOM = np.random.default_rng(12)


def noise(*shape: int) -> Array:
    return RANDOM.normal(size=shape).astype(np.float32)


def described(bodies: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> str:
    """Return a network of inputs a, b, ... and layers `layer`, the last named x."""
    text = ""
    for name, shape in zip("abcdef", shapes, strict=False):
        dims = " ".join(f"dim: {side}" for side in shape)
        text += f'input: "{name}" input_shape {{ {dims} }}\n'
    return text + "\n".join(f"layer {{ {body} }}" for body in bodies)


@pytest.fixture
def answer(tmp_path: Path) -> Callable[..., Any]:
    """Return what one layer named x answers to arrays, with its top y or its tops y, z."""

    def compute(
        body: str, *images: Array, weights: Sequence[Array] = (), tops: str = "y"
    ) -> Array | list[Array]:
        bottoms = " ".join(f'bottom: "{name}"' for name, _ in zip("abcdef", images, strict=False))
        ends = " ".join(f'top: "{name}"' for name in tops)
        layer = f'name: "x" {bottoms} {ends} {body}'
        text = described([layer], [image.shape for image in images])
        path = files.write(tmp_path, text, {"x": weights})
        imported = read(path, ImportOptions())
        names = {node.get_friendly_name() for node in imported.model.get_ops()}
        assert "x" in names, "the last node of the layer has its name"
        found = files.run(imported.model, *images[: len(imported.model.inputs)])
        assert list(found) == list(tops)
        values = list(found.values())
        return values[0] if len(tops) == 1 else values

    return compute


Answer = Callable[..., Any]


def close(got: Array, wanted: "torch.Tensor | npt.NDArray[Any]", atol: float = 1e-5) -> None:
    reference = wanted.numpy() if isinstance(wanted, torch.Tensor) else wanted
    assert got.shape == reference.shape
    np.testing.assert_allclose(got, reference, atol=atol, rtol=1e-5)


IMAGE = noise(2, 4, 6, 8)
TENSOR = torch.from_numpy(IMAGE)
POSITIVE = np.abs(IMAGE) + np.float32(0.1)

POINTWISE: dict[str, tuple[str, Callable[[npt.NDArray[Any]], Any]]] = {
    "relu": ('type: "ReLU"', lambda x: np.maximum(x, 0)),
    "leaky": (
        'type: "ReLU" relu_param { negative_slope: 0.1 engine: CAFFE }',
        lambda x: np.where(x > 0, x, 0.1 * x),
    ),
    "relu6": ('type: "ReLU6"', lambda x: np.clip(x, 0, 6)),
    "elu": (
        'type: "ELU" elu_param { alpha: 0.7 }',
        lambda x: np.where(x > 0, x, 0.7 * np.expm1(x)),
    ),
    "sigmoid": ('type: "Sigmoid"', lambda x: 1 / (1 + np.exp(-x))),
    "tanh": ('type: "TanH"', np.tanh),
    "abs": ('type: "AbsVal"', np.abs),
    "bnll": ('type: "BNLL"', lambda x: np.log1p(np.exp(x))),
    "swish": (
        'type: "Swish" swish_param { beta: 1.5 }',
        lambda x: x / (1 + np.exp(-1.5 * x)),
    ),
    "clip": ('type: "Clip" clip_param { min: -0.5 max: 1 }', lambda x: np.clip(x, -0.5, 1)),
    "threshold": (
        'type: "Threshold" threshold_param { threshold: 0.3 }',
        lambda x: (x > 0.3).astype(np.float32),
    ),
    "exp": ('type: "Exp"', np.exp),
    "exp2": (
        'type: "Exp" exp_param { base: 2 scale: 0.5 shift: 0.25 }',
        lambda x: 2 ** (0.25 + 0.5 * x),
    ),
    "power": (
        'type: "Power" power_param { power: 2 scale: 0.5 shift: 1 }',
        lambda x: (1 + 0.5 * x) ** 2,
    ),
    "linear": ('type: "Power" power_param { scale: 0.5 shift: 1 }', lambda x: 1 + 0.5 * x),
    "v1": ("type: TANH", np.tanh),
}


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_layers(answer: Answer, name: str) -> None:
    body, wanted = POINTWISE[name]
    close(answer(body, IMAGE), np.asarray(wanted(IMAGE.astype(np.float64)), np.float64))


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ('type: "Log"', np.log),
        (
            'type: "Log" log_param { base: 10 scale: 2 shift: 0.5 }',
            lambda x: np.log10(2 * x + 0.5),
        ),
    ],
)
def test_logarithms(answer: Answer, body: str, wanted: Callable[[Array], Array]) -> None:
    close(answer(body, POSITIVE), wanted(POSITIVE))


@pytest.mark.parametrize("side", [4, 6])
@pytest.mark.parametrize("shared", [False, True])
def test_a_learned_slope_is_of_the_channel(answer: Answer, shared: bool, side: int) -> None:
    image, slope = noise(1, 4, side, 4), noise(1 if shared else 4)
    body = f'type: "PReLU" prelu_param {{ channel_shared: {str(shared).lower()} }}'
    wanted = functional.prelu(torch.from_numpy(image), torch.from_numpy(slope))
    close(answer(body, image, weights=[slope]), wanted)


GEOMETRY = [
    ("kernel_size: 3", {"kernel": (3, 3)}),
    ("kernel_size: 3 stride: 2 pad: 1", {"kernel": (3, 3), "stride": 2, "padding": 1}),
    (
        "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0",
        {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 0)},
    ),
    (
        "kernel_size: 3 kernel_size: 2 stride: 1 stride: 2 pad: 0 pad: 1 dilation: 2",
        {"kernel": (3, 2), "stride": (1, 2), "padding": (0, 1), "dilation": 2},
    ),
    ("kernel_size: [2, 3] dilation: [1, 2]", {"kernel": (2, 3), "dilation": (1, 2)}),
    ("kernel_size: 1 group: 2", {"kernel": (1, 1), "groups": 2}),
    ("kernel_size: 3 pad: 1 group: 4 dilation: 1", {"kernel": (3, 3), "padding": 1, "groups": 4}),
]


@pytest.mark.parametrize(("body", "geometry"), GEOMETRY)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_convolutions(
    answer: Answer, kind: str, biased: bool, body: str, geometry: dict[str, Any]
) -> None:
    geometry = dict(geometry)
    kernel, groups = geometry.pop("kernel"), geometry.get("groups", 1)
    turned = kind == "Deconvolution"
    weight = noise(4, 8 // groups, *kernel) if turned else noise(8, 4 // groups, *kernel)
    weights = [weight, noise(8)] if biased else [weight]
    settings = f"num_output: 8 bias_term: {str(biased).lower()} {body}"
    convolve: Any = functional.conv_transpose2d if turned else functional.conv2d
    wanted = convolve(TENSOR, *map(torch.from_numpy, weights), **geometry)
    body = f'type: "{kind}" convolution_param {{ {settings} weight_filler {{ type: "msra" }} }}'
    close(answer(body, IMAGE, weights=weights), wanted)


def test_the_depthwise_layers_of_forks_are_grouped_convolutions(answer: Answer) -> None:
    weight = noise(4, 1, 3, 3)
    wanted = functional.conv2d(TENSOR, torch.from_numpy(weight), groups=4)
    body = "convolution_param { num_output: 4 kernel_size: 3 bias_term: false }"
    for kind in ("DepthwiseConvolution", "ConvolutionDepthwise"):
        close(answer(f'type: "{kind}" {body}', IMAGE, weights=[weight]), wanted)


@pytest.mark.parametrize(("axis", "inputs"), [(1, 192), (-1, 8), (2, 48)])
@pytest.mark.parametrize("transpose", [False, True])
def test_inner_products(answer: Answer, axis: int, inputs: int, transpose: bool) -> None:
    weight, bias = noise(5, inputs), noise(5)
    settings = f"num_output: 5 axis: {axis} transpose: {str(transpose).lower()}"
    got = answer(
        f'type: "InnerProduct" inner_product_param {{ {settings} }}',
        IMAGE,
        weights=[weight.T if transpose else weight, bias],
    )
    close(got, IMAGE.reshape(*IMAGE.shape[: axis % 4], -1) @ weight.T + bias)


@pytest.mark.parametrize(
    "body",
    [
        "kernel_size: 3 stride: 2",
        "kernel_size: 3 stride: 2 pad: 1",
        "kernel_h: 2 kernel_w: 3 stride: 2 pad_w: 1",
        "kernel_size: 2 stride: 2 round_mode: FLOOR",
        "kernel_size: 5 stride: 3 pad: 2 ceil_mode: false",
        "global_pooling: true",
    ],
)
@pytest.mark.parametrize("kind", ["MAX", "AVE", "0", "1"])
def test_pooling(answer: Answer, kind: str, body: str) -> None:
    # Caffe and torch agree on where windows stand and by what they divide.
    image = noise(1, 3, 7, 10)
    words = body.replace(":", "").split()
    said = dict(zip(words[::2], words[1::2], strict=True))

    def pair(name: str, default: int) -> tuple[int, int]:
        both = said.get(name, default)
        return int(said.get(f"{name[:6]}_h", both)), int(said.get(f"{name[:6]}_w", both))

    size = (7, 10) if "global_pooling" in said else pair("kernel_size", 0)
    pool: Any = functional.max_pool2d if kind in ("MAX", "0") else functional.avg_pool2d
    pad = (int(said.get("pad_h", said.get("pad", 0))), int(said.get("pad_w", said.get("pad", 0))))
    up = "FLOOR" not in body and "false" not in body
    wanted = pool(torch.from_numpy(image), size, pair("stride", 1), pad, ceil_mode=up)
    close(answer(f'type: "Pooling" pooling_param {{ pool: {kind} {body} }}', image), wanted)


def test_response_norms(answer: Answer) -> None:
    got = answer('type: "LRN" lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2 }', IMAGE)
    close(got, functional.local_response_norm(TENSOR, 3, alpha=0.5, beta=0.6, k=2))
    body = "local_size: 3 alpha: 0.5 beta: 0.6 k: 7 norm_region: WITHIN_CHANNEL"
    got = answer(f'type: "LRN" lrn_param {{ {body} }}', IMAGE)
    close(got, TENSOR / (1 + 0.5 * functional.avg_pool2d(TENSOR**2, 3, 1, 1)) ** 0.6)


@pytest.mark.parametrize("total", [1.0, 999.98, 0.0])
def test_batch_norm_divides_its_sums(answer: Answer, total: float) -> None:
    mean, variance = noise(4), np.abs(noise(4)) + np.float32(0.1)
    sums = [mean * np.float32(total), variance * np.float32(total), np.array([total], np.float32)]
    got = answer(
        'type: "BatchNorm" batch_norm_param { eps: 0.001 moving_average_fraction: 0.9 }',
        IMAGE,
        weights=sums,
    )
    alive = torch.tensor(float(total != 0))
    wanted = functional.batch_norm(
        TENSOR, torch.from_numpy(mean) * alive, torch.from_numpy(variance) * alive, eps=1e-3
    )
    close(got, wanted, atol=1e-4 if total == 0 else 1e-5)


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("", (4,)), ("axis: 1 num_axes: 2", (4, 6)), ("axis: 0 num_axes: -1", (2, 4, 6, 8)),
        ("axis: -1", (8,)), ("num_axes: 0", ()),
    ],
)  # fmt: skip
def test_scale_and_bias_spread_what_they_learned(
    answer: Answer, body: str, shape: tuple[int, ...]
) -> None:
    axis = 3 if "-1" in body and "num" not in body else 0 if "axis: 0" in body else 1
    full = (*shape, *[1] * (4 - axis - len(shape)))
    scale, shift = noise(*shape).reshape(shape), noise(*shape).reshape(shape)
    got = answer(
        f'type: "Scale" scale_param {{ {body} bias_term: true filler {{ value: 2 }} }}',
        IMAGE,
        weights=[scale, shift],
    )
    close(got, IMAGE * scale.reshape(full) + shift.reshape(full))
    got = answer(f'type: "Scale" scale_param {{ {body} }}', IMAGE, weights=[scale])
    close(got, IMAGE * scale.reshape(full))
    got = answer(f'type: "Bias" bias_param {{ {body} }}', IMAGE, weights=[shift])
    close(got, IMAGE + shift.reshape(full))


def test_scale_and_bias_spread_a_second_blob(answer: Answer) -> None:
    gate, shift = noise(2, 4), noise(2, 4)
    spread = gate[:, :, None, None]
    close(answer('type: "Scale" scale_param { axis: 0 }', IMAGE, gate), IMAGE * spread)
    close(answer('type: "Bias" bias_param { axis: 0 }', IMAGE, gate), IMAGE + spread)
    body = 'type: "Scale" scale_param { axis: 0 bias_term: true }'
    wanted = IMAGE * spread + shift[:, :, None, None]
    close(answer(body, IMAGE, gate, weights=[shift]), wanted)
    other = noise(*IMAGE.shape)
    close(answer('type: "Axpy"', gate[:, :, None, None], IMAGE, other), IMAGE * spread + other)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("", lambda a, b, c: a + b + c),
        ("operation: SUM coeff: 1 coeff: -2 coeff: 0.5", lambda a, b, c: a - 2 * b + 0.5 * c),
        ("operation: PROD", lambda a, b, c: a * b * c),
        ("operation: MAX", lambda a, b, c: np.maximum(np.maximum(a, b), c)),
    ],
)
def test_elementwise_layers(answer: Answer, body: str, wanted: Callable[..., Array]) -> None:
    images = [noise(1, 3, 4, 4) for _ in range(3)]
    got = answer(f'type: "Eltwise" eltwise_param {{ {body} }}', *images)
    close(got, wanted(*images))


@pytest.mark.parametrize("body", ["", "axis: 2", "concat_dim: 3", "axis: -1"])
def test_concatenation(answer: Answer, body: str) -> None:
    images = [noise(1, 2, 4, 4), noise(1, 2, 4, 4)]
    axis = {"": 1, "axis: 2": 2}.get(body, 3)
    got = answer(f'type: "Concat" concat_param {{ {body} }}', *images)
    close(got, np.concatenate(images, axis))


@pytest.mark.parametrize(
    ("body", "at", "axis"),
    [("", 2, 1), ("axis: 2 slice_point: 1", 1, 2), ("slice_dim: 3 slice_point: 7", 7, 3)],
)
def test_slicing(answer: Answer, body: str, at: int, axis: int) -> None:
    got = answer(f'type: "Slice" slice_param {{ {body} }}', IMAGE, tops="yz")
    for part, wanted in zip(got, np.split(IMAGE, [at], axis), strict=True):
        close(part, wanted)


def test_cropping(answer: Answer) -> None:
    like = noise(1, 4, 3, 5)
    got = answer('type: "Crop" crop_param { axis: 2 offset: 1 offset: 2 }', IMAGE, like)
    close(got, IMAGE[:, :, 1:4, 2:7])
    close(answer('type: "Crop"', IMAGE, like), IMAGE[:, :, :3, :5])
    got = answer('type: "Crop" crop_param { axis: -1 offset: 3 }', IMAGE, like)
    close(got, IMAGE[..., 3:8])


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ('type: "Permute" permute_param { order: [0, 2, 3, 1] }', IMAGE.transpose(0, 2, 3, 1)),
        ('type: "Permute" permute_param { order: 3 }', IMAGE.transpose(3, 0, 1, 2)),
        ('type: "Flatten"', IMAGE.reshape(2, -1)),
        ('type: "Flatten" flatten_param { axis: 2 end_axis: 3 }', IMAGE.reshape(2, 4, -1)),
        ('type: "Flatten" flatten_param { axis: 0 end_axis: -2 }', IMAGE.reshape(-1, 8)),
        (
            'type: "Reshape" reshape_param { shape { dim: 0 dim: -1 dim: 4 } }',
            IMAGE.reshape(2, -1, 4),
        ),
        (
            'type: "Reshape" reshape_param { shape { dim: 3 dim: 2 } axis: 2 num_axes: 1 }',
            IMAGE.reshape(2, 4, 3, 2, 8),
        ),
        (
            'type: "Reshape" reshape_param { shape { dim: 1 } axis: 1 num_axes: 0 }',
            IMAGE[:, None],
        ),
        (
            'type: "Reshape" reshape_param { shape { dim: -1 } axis: -3 }',
            IMAGE.reshape(2, 4, -1),
        ),
        ('type: "Tile" tile_param { axis: 2 tiles: 3 }', np.tile(IMAGE, (1, 1, 3, 1))),
        ('type: "Softmax"', torch.softmax(TENSOR, 1).numpy()),
        ('type: "Softmax" softmax_param { axis: -1 }', torch.softmax(TENSOR, 3).numpy()),
        ('type: "Reduction" reduction_param { axis: 1 }', IMAGE.sum((1, 2, 3))),
        (
            'type: "Reduction" reduction_param { operation: MEAN axis: 2 coeff: 3 }',
            3 * IMAGE.mean((2, 3)),
        ),
        ('type: "Reduction" reduction_param { operation: ASUM axis: 3 }', np.abs(IMAGE).sum(3)),
        ('type: "Reduction" reduction_param { operation: SUMSQ axis: -1 }', (IMAGE**2).sum(3)),
        ('type: "MVN"', None),
    ],
)
def test_axes(answer: Answer, body: str, wanted: Array | None) -> None:
    if wanted is None:
        centred = IMAGE - IMAGE.mean((2, 3), keepdims=True)
        wanted = centred / (IMAGE.std((2, 3), keepdims=True) + 1e-9)
    close(answer(body, IMAGE), wanted, atol=2e-5)


def test_a_mean_alone_is_taken_away_across_channels(answer: Answer) -> None:
    body = "normalize_variance: false across_channels: true"
    wanted = IMAGE - IMAGE.mean((1, 2, 3), keepdims=True)
    close(answer(f'type: "MVN" mvn_param {{ {body} }}', IMAGE), wanted)


def test_where_the_largest_values_stand(answer: Answer) -> None:
    flat = IMAGE.reshape(2, -1)
    order = np.argsort(-flat, 1)
    largest = np.take_along_axis(flat, order, 1)[:, :3]
    got = answer('type: "ArgMax" argmax_param { top_k: 3 }', IMAGE)
    close(got, order[:, None, :3, None].astype(np.float32))
    got = answer('type: "ArgMax" argmax_param { top_k: 3 out_max_val: true }', IMAGE)
    close(got, np.stack([order[:, :3], largest], 1)[..., None].astype(np.float32))
    close(
        answer('type: "ArgMax" argmax_param { axis: 1 }', IMAGE),
        IMAGE.argmax(1)[:, None].astype(np.float32),
    )
    got = answer('type: "ArgMax" argmax_param { axis: 1 out_max_val: true }', IMAGE)
    close(got, IMAGE.max(1, keepdims=True))


def test_embeddings_are_rows(answer: Answer) -> None:
    rows, bias = noise(7, 3), noise(3)
    words = np.array([[0, 6, 2]], np.float32)
    body = 'type: "Embed" embed_param { num_output: 3 input_dim: 7 }'
    close(answer(body, words, weights=[rows, bias]), rows[[[0, 6, 2]]] + bias)


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_unit_lengths(answer: Answer, across: bool, shared: bool) -> None:
    scale = noise(1 if shared else 4)
    body = f"across_spatial: {str(across).lower()} channel_shared: {str(shared).lower()}"
    got = answer(f'type: "Normalize" norm_param {{ {body} }}', IMAGE, weights=[scale])
    length = np.sqrt((IMAGE**2).sum((1, 2, 3) if across else 1, keepdims=True) + 1e-10)
    close(got, IMAGE / length * scale[:, None, None])


def test_resizing(answer: Answer) -> None:
    def wanted(*size: int) -> torch.Tensor:
        return functional.interpolate(TENSOR, size, mode="bilinear", align_corners=True)

    got = answer('type: "Interp" interp_param { height: 13 width: 5 }', IMAGE)
    close(got, wanted(13, 5))
    close(answer('type: "Interp" interp_param { zoom_factor: 4 }', IMAGE), wanted(21, 29))
    close(answer('type: "Interp" interp_param { shrink_factor: 2 }', IMAGE), wanted(3, 4))
    close(answer('type: "Interp"', IMAGE, noise(1, 1, 9, 9)), wanted(9, 9))
    got = answer('type: "Upsample" upsample_param { scale: 2 }', IMAGE)
    close(got, functional.interpolate(TENSOR, scale_factor=2))


def test_shuffled_channels(answer: Answer) -> None:
    got = answer('type: "ShuffleChannel" shuffle_channel_param { group: 2 }', IMAGE)
    close(got, IMAGE[:, [0, 2, 1, 3]])


def test_damaged_statistics_warn_nobody(answer: Answer) -> None:
    huge = np.full(4, 3e38, np.float32)
    got = answer('type: "BatchNorm"', IMAGE, weights=[huge, huge, np.array([1e-9], np.float32)])
    assert got.shape == IMAGE.shape


def test_constants_join_in(tmp_path: Path) -> None:
    learned = noise(1, 2, 3, 3)
    sides = "dim: 1 dim: 2 dim: 3 dim: 3"
    text = described(
        [
            f'name: "p" type: "Parameter" top: "p" parameter_param {{ shape {{ {sides} }} }}',
            f'name: "d" type: "DummyData" top: "d" dummy_data_param {{ shape {{ {sides} }} '
            'data_filler { type: "constant" value: 3 } }',
            'name: "x" type: "Eltwise" bottom: "a" bottom: "p" bottom: "d" top: "y"',
        ],
        [(1, 2, 3, 3)],
    )
    path = files.write(tmp_path, text, {"p": [learned]})
    image = noise(1, 2, 3, 3)
    close(files.run(read(path, ImportOptions()).model, image)["y"], image + learned + 3)


WRONG = {
    "takes windows without size": 'type: "Pooling" pooling_param { pool: MAX }',
    "steps by zero": 'type: "Pooling" pooling_param { kernel_size: 2 stride: 0 }',
    "stochastic": 'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }',
    "pads a window away": 'type: "Pooling" pooling_param { kernel_size: 2 pad: 2 }',
    "pads below zero": 'type: "Pooling" pooling_param { kernel_size: 2 pad: -1 }',
    "is larger than its input": 'type: "Pooling" pooling_param { kernel_size: 99 }',
    "no outputs": 'type: "Convolution" convolution_param { kernel_size: 3 }',
    "no kernel": 'type: "Convolution" convolution_param { num_output: 4 }',
    "odd groups": 'type: "Convolution" convolution_param { num_output: 4 kernel_size: 1 group: 3 }',
    "zero groups": (
        'type: "Convolution" convolution_param { num_output: 4 kernel_size: 1 group: 0 }'
    ),
    "three axes": 'type: "Convolution" convolution_param { num_output: 4 kernel_size: [1, 1, 1] }',
    "even norm": 'type: "LRN" lrn_param { local_size: 4 }',
    "live statistics": 'type: "BatchNorm" batch_norm_param { use_global_stats: false }',
    "not Caffe's own setting": 'type: "ReLU" relu_param { leaky: 0.1 }',
    "base of one": 'type: "Exp" exp_param { base: 1 }',
    "no such axis": 'type: "Softmax" softmax_param { axis: 4 }',
    "not a permutation": 'type: "Permute" permute_param { order: [0, 0] }',
    "two open axes": 'type: "Reshape" reshape_param { shape { dim: -1 dim: -1 } }',
    "does not fit": 'type: "Reshape" reshape_param { shape { dim: 5 dim: 7 } }',
    "backwards": 'type: "Flatten" flatten_param { axis: 3 end_axis: 1 }',
    "beyond the end": 'type: "Slice" slice_param { slice_point: 9 }',
    "tiles nothing": 'type: "Tile" tile_param { tiles: 0 }',
    "four thousand million": 'type: "Tile" tile_param { tiles: 2000000000 }',
    "code": 'type: "Python" python_param { module: "os" layer: "system" }',
    "unknown": 'type: "SpatialTransformer"',
    "recurrent": 'type: "LSTM"',
    "alone": 'type: "Crop"',
    "open clip": 'type: "Clip" clip_param { min: 1 }',
    "padded resizing": 'type: "Interp" interp_param { pad_beg: 1 height: 3 width: 3 }',
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_converted_is_told_with_line_layer_and_type(
    tmp_path: Path, what: str
) -> None:
    body = WRONG[what]
    text = described(
        ['name: "r" type: "ReLU" bottom: "a" top: "b"', f'name: "x7" bottom: "b" top: "y" {body}'],
        [(1, 4, 6, 6)],
    )
    error = refused(files.write(tmp_path, text, {}))
    assert error.code == "model-layer"
    kind = body.split('"')[1]
    for part in ("net.prototxt", "line 3", "'x7'", kind):
        assert part in error.message


CLASSES = 3

PRIOR = """
    min_size: 4 min_size: 8 max_size: 6 max_size: 12 aspect_ratio: 2 aspect_ratio: 0.5
    variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2
"""


def priors(*, step: tuple[float, float], clip: bool) -> Array:
    """Return [8 * 2 * 3, 4], corner by corner as the loops of prior_box_layer.cpp make them."""
    boxes = []
    for row in range(2):
        for column in range(3):
            x, y = (column + 0.5) * step[1], (row + 0.5) * step[0]
            for small, large in ((4, 6), (8, 12)):
                sides = [(small, small), (np.sqrt(small * large),) * 2]
                sides += [(small * np.sqrt(r), small / np.sqrt(r)) for r in (2, 0.5)]
                boxes += [
                    [(x - w / 2) / 36, (y - h / 2) / 20, (x + w / 2) / 36, (y + h / 2) / 20]
                    for w, h in sides
                ]
    found = np.array(boxes, np.float32)
    return found.clip(0, 1) if clip else found


@pytest.mark.parametrize(
    ("body", "step", "clip"),
    [
        ("", (10, 12), False),
        ("clip: true step: 8", (8, 8), True),
        ("step_h: 9 step_w: 7", (9, 7), False),
    ],
)
def test_boxes_stand_around_every_cell(
    tmp_path: Path, body: str, step: tuple[float, float], clip: bool
) -> None:
    text = f"""
    input: "cells" input_shape {{ dim: 1 dim: 4 dim: 2 dim: 3 }}
    input: "image" input_shape {{ dim: 1 dim: 3 dim: 20 dim: 36 }}
    layer {{ name: "p" type: "PriorBox" bottom: "cells" bottom: "image" top: "p"
      prior_box_param {{ {PRIOR} {body} }} }}
    layer {{ name: "n" type: "AbsVal" bottom: "cells" top: "n" }}
    """
    model = read(files.write(tmp_path, text, {}), ImportOptions()).model
    found = files.run(model, np.zeros((1, 4, 2, 3), np.float32))["p"]
    assert found.shape == (1, 2, 8 * 2 * 3 * 4)
    np.testing.assert_allclose(found[0, 0].reshape(-1, 4), priors(step=step, clip=clip), atol=1e-6)
    assert found[0, 1].reshape(-1, 4).tolist() == [pytest.approx([0.1, 0.1, 0.2, 0.2])] * 48


def overlap(one: Array, other: Array) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    common = np.prod(np.maximum(high - low, 0))
    areas = [np.prod(box[2:] - box[:2]) for box in (one, other)]
    return float(common / (sum(areas) - common))


def detect(places: Array, scores: Array, boxes: Array) -> list[list[float]]:
    """Return label, score and corners after non-maximum suppression, best first (section 2.2)."""
    size, centre = boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2
    middle = centre + 0.1 * places[:, :2] * size
    half = np.exp(0.2 * places[:, 2:]) * size / 2
    decoded = np.concatenate([middle - half, middle + half], 1)
    found = []
    for label in range(1, CLASSES):
        kept: list[int] = []
        order = [index for index in np.argsort(-scores[:, label]) if scores[index, label] > 0.1]
        for index in order[:20]:
            if all(overlap(decoded[index], decoded[other]) <= 0.45 for other in kept):
                kept.append(int(index))
        found += [[label, scores[index, label], *decoded[index]] for index in kept]
    return sorted(found, key=lambda row: -row[1])[:10]


def test_detections_are_those_of_the_equations(tmp_path: Path) -> None:
    boxes = priors(step=(10, 12), clip=False)
    count = len(boxes)
    text = f"""
    input: "loc" input_shape {{ dim: 1 dim: {count * 4} }}
    input: "conf" input_shape {{ dim: 1 dim: {count * CLASSES} }}
    layer {{ name: "cells" type: "DummyData" top: "cells"
      dummy_data_param {{ shape {{ dim: 1 dim: 4 dim: 2 dim: 3 }} }} }}
    layer {{ name: "image" type: "DummyData" top: "image"
      dummy_data_param {{ shape {{ dim: 1 dim: 3 dim: 20 dim: 36 }} }} }}
    layer {{ name: "p" type: "PriorBox" bottom: "cells" bottom: "image" top: "p"
      prior_box_param {{ {PRIOR} }} }}
    layer {{ name: "out" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "p" top: "out"
      detection_output_param {{ num_classes: {CLASSES} code_type: CENTER_SIZE keep_top_k: 10
        confidence_threshold: 0.1 nms_param {{ nms_threshold: 0.45 top_k: 20 }}
        save_output_param {{ output_directory: "x" }} }} }}
    """
    model = read(files.write(tmp_path, text, {}), ImportOptions()).model
    random = np.random.default_rng(6)
    places = random.normal(size=(count, 4)).astype(np.float32)
    scores = random.dirichlet(np.ones(CLASSES), count).astype(np.float32)
    (found,) = files.run(model, places.reshape(1, -1), scores.reshape(1, -1)).values()
    rows = found[0, 0]
    rows = rows[rows[:, 0] == 0]
    rows = rows[np.argsort(-rows[:, 2], kind="stable")]
    wanted = np.array(detect(places, scores, boxes), np.float32)
    np.testing.assert_allclose(rows[:, 1:], wanted, atol=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        'type: "PriorBox" bottom: "a" bottom: "a"',
        'type: "PriorBox" bottom: "a" bottom: "a" prior_box_param { min_size: 2 max_size: [3, 4] }',
        'type: "PriorBox" bottom: "a" bottom: "a" prior_box_param { min_size: 1 aspect_ratio: 0 }',
        'type: "PriorBox" bottom: "a" bottom: "a" prior_box_param { min_size: 1 variance: [1, 2] }',
        'type: "DetectionOutput" bottom: "a" bottom: "a" bottom: "a" '
        "detection_output_param { num_classes: 2 keep_top_k: 5 }",
    ],
)
def test_detectors_that_cannot_be_are_refused(tmp_path: Path, body: str) -> None:
    text = f'input: "a" input_shape {{ dim: [1, 2, 4, 4] }} layer {{ name: "x" {body} top: "y" }}'
    assert refused(files.write(tmp_path, text, {})).code == "model-layer"
