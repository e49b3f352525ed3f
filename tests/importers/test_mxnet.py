"""MXNet networks, written here byte by byte, against torch; one against MXNet's own answer."""

import contextlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.importers.conftest import refused
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from thorax.errors import ModelError, ThoraxError, UsageError
from thorax.importers import formats, mxnet
from thorax.importers.mxnet_files import read_parameters
from thorax.importers.options import Imported, ImportOptions, compile_here

Array = npt.NDArray[Any]
Reference = Callable[..., Tensor]
RECORDED = Path(__file__).parent / "mxnet"
SHAPE = (2, 6, 9, 11)

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
FLAGS = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}


def noise(*shape: int, seed: int = 3) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def positive(*shape: int) -> Array:
    return np.random.default_rng(9).uniform(0.5, 1.5, shape).astype(np.float32)


def record(array: Array, *, magic: int = V2, flag: int | None = None) -> bytes:
    """Return an array as MXNet writes it; `magic` 0 is how it wrote before 0.10."""
    shape, rank = array.shape, array.ndim
    if magic:
        head = struct.pack("<I", magic) + (struct.pack("<i", 0) if magic != V1 else b"")
        head += struct.pack(f"<i{rank}q", rank, *shape)
    else:
        head = struct.pack(f"<I{rank}I", rank, *shape)
    flag = FLAGS[array.dtype.name] if flag is None else flag
    return head + struct.pack("<iii", 1, 0, flag) + array.tobytes()


def parameters(arrays: dict[str, bytes]) -> bytes:
    names = [name.encode() for name in arrays]
    return b"".join(
        [
            struct.pack("<QQQ", 0x112, 0, len(arrays)),
            *arrays.values(),
            struct.pack("<Q", len(names)),
            *(struct.pack("<Q", len(name)) + name for name in names),
        ]
    )


@dataclass
class Net:
    """A symbol in the making."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)

    def variable(self, name: str, value: Array | None = None, **attrs: str) -> list[int]:
        if value is not None:
            self.weights[name] = value
        self.nodes.append({"op": "null", "name": name, "attrs": attrs, "inputs": []})
        return [len(self.nodes) - 1, 0, 0]

    def layer(self, op: str, name: str, inputs: list[list[int]], **attrs: object) -> list[int]:
        words = {key: str(value) for key, value in attrs.items()}
        self.nodes.append({"op": op, "name": name, "attrs": words, "inputs": inputs})
        return [len(self.nodes) - 1, 0, 0]

    def save(self, folder: Path, *heads: list[int], name: str = "net") -> Path:
        symbol = {
            "nodes": self.nodes,
            "arg_nodes": [n for n, node in enumerate(self.nodes) if node["op"] == "null"],
            "heads": list(heads) or [[len(self.nodes) - 1, 0, 0]],
            "attrs": {"mxnet_version": ["int", 10901]},
        }
        (folder / f"{name}-symbol.json").write_text(json.dumps(symbol))
        path = folder / f"{name}-0000.params"
        arrays = {f"arg:{key}": record(value) for key, value in self.weights.items()}
        path.write_bytes(parameters(arrays))
        return path


def one(op: str, weights: tuple[Array, ...] = (), **attrs: object) -> Net:
    """Return a network of one layer that takes `data` and parameters."""
    net = Net()
    inputs = [net.variable("data")]
    inputs += [net.variable(f"w{slot}", value) for slot, value in enumerate(weights)]
    net.layer(op, "layer", inputs, **attrs)
    return net


def run(imported: Imported, *images: Array) -> list[Array]:
    return compile_here(imported.model)(images)


def answer(path: Path, image: Array) -> Array:
    return run(formats.read(path, ImportOptions(shapes={"": image.shape})), image)[0]


def refusal(path: Path, options: ImportOptions | None = None) -> ThoraxError:
    return refused(path, options or ImportOptions(shapes={"": SHAPE}))


@dataclass
class Case:
    """A layer, and what it is in torch, called with the data and the layer's parameters."""

    op: str
    reference: Reference
    attrs: dict[str, object] = field(default_factory=dict)
    weights: tuple[Array, ...] = ()
    shape: tuple[int, ...] = SHAPE
    data: Callable[..., Array] = noise


def _pad_ends(x: Tensor, k: int, s: int, p: int, value: float) -> Tensor:
    """Return x padded so that torch's whole windows are those of the convention `full`."""
    sides = [-(-(side + 2 * p - k) // s) * s + k - side - p for side in x.shape[2:]]
    return F.pad(x, (p, max(p, sides[1]), p, max(p, sides[0])), value=value)


def _full_mean(x: Tensor, k: int, s: int, p: int) -> Tensor:
    inside = F.pad(torch.ones_like(x), (p, p, p, p), value=1.0)
    total = F.avg_pool2d(_pad_ends(x, k, s, p, 0.0), k, s) * k * k
    wide = _pad_ends(x, k, s, p, 0.0)
    rows, columns = wide.shape[2] - inside.shape[2], wide.shape[3] - inside.shape[3]
    cells = F.avg_pool2d(F.pad(inside, (0, columns, 0, rows)), k, s) * k * k
    return total / cells


def _lrn(x: Tensor, n: int, alpha: float, beta: float, k: float) -> Tensor:
    return F.local_response_norm(x, n, alpha, beta, k)


_conv, _deconv = noise(8, 6, 3, 3), noise(6, 2, 4, 3)
_gamma, _beta, _mean, _var = positive(6), noise(6), noise(6, seed=5), positive(6)
_square = "(3, 3)"


def _norm(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    return F.batch_norm(x, mean, var, gamma, beta, eps=1e-2)


CASES = {
    "convolution": Case(
        "Convolution",
        lambda x, w, b: F.conv2d(x, w, b, (2, 1), (1, 0)),
        {"kernel": _square, "num_filter": 8, "stride": "(2L, 1L)", "pad": "(1, 0)"},
        (_conv, noise(8)),
    ),
    "convolution in groups": Case(
        "Convolution",
        lambda x, w: F.conv2d(x, w, None, 1, 0, (2, 1), 3),
        {"kernel": _square, "num_filter": 9, "num_group": 3, "dilate": "[2, 1]", "no_bias": 1},
        (noise(9, 2, 3, 3),),
    ),
    "convolution with channels last": Case(
        "Convolution",
        lambda x, w: F.conv2d(x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2)).permute(0, 2, 3, 1),
        {"kernel": _square, "num_filter": 8, "layout": "NHWC", "no_bias": True},
        (noise(8, 3, 3, 11),),
    ),
    "deconvolution": Case(
        "Deconvolution",
        lambda x, w: F.conv_transpose2d(x, w, None, (2, 3), 1, (1, 0), 2),
        {"kernel": "(4, 3)", "num_filter": 4, "num_group": 2, "stride": "(2, 3)",
         "pad": "(1, 1)", "adj": "(1, 0)"},
        (_deconv,),
    ),
    "deconvolution to a shape": Case(
        "Deconvolution",
        # All of it is 20 x 24; of 3 and 3 cells too many 2 go before, 1 behind.
        lambda x, w, b: F.conv_transpose2d(x, w, b, 2)[:, :, 2:-1, 2:-1],
        {"kernel": "(4, 4)", "num_filter": 4, "stride": "(2, 2)", "target_shape": "(17, 21)",
         "no_bias": False},
        (noise(6, 4, 4, 4), noise(4)),
    ),
    "fully connected": Case(
        "FullyConnected",
        lambda x, w, b: F.linear(x.flatten(1), w, b),
        {"num_hidden": 5},
        (noise(5, 6 * 9 * 11), noise(5)),
    ),
    "fully connected along the last axis": Case(
        "FullyConnected",
        lambda x, w: F.linear(x, w),
        {"num_hidden": 5, "flatten": False, "no_bias": True},
        (noise(5, 11),),
    ),
    "batch norm whose gamma is fixed unless said": Case(
        "BatchNorm",
        lambda x, g, b, m, v: F.batch_norm(x, m, v, torch.ones_like(g), b, eps=1e-3),
        {},
        (_gamma, _beta, _mean, _var),
    ),
    "batch norm": Case(
        "BatchNorm",
        _norm,
        {"fix_gamma": "False", "eps": "0.01", "use_global_stats": True},
        (_gamma, _beta, _mean, _var),
    ),
    "batch norm of the last axis": Case(
        "BatchNorm",
        lambda x, *w: _norm(x.movedim(-1, 1), *w).movedim(1, -1),
        {"fix_gamma": "False", "eps": "0.01", "axis": -1},
        (_gamma, _beta, _mean, _var),
        (2, 9, 11, 6),
    ),
    "max pooling": Case(
        "Pooling",
        lambda x: F.max_pool2d(x, 3, 2, 1),
        {"kernel": _square, "stride": "(2, 2)", "pad": "(1, 1)"},
    ),
    "max pooling rounded up": Case(
        "Pooling",
        lambda x: F.max_pool2d(_pad_ends(x, 3, 2, 1, -torch.inf), 3, 2),
        {"kernel": _square, "stride": "(2, 2)", "pad": "(1, 1)", "pooling_convention": "full"},
        shape=(2, 3, 8, 10),
    ),
    "average pooling": Case(
        "Pooling",
        lambda x: F.avg_pool2d(x, 3, 2, 1),
        {"kernel": _square, "stride": "(2, 2)", "pad": "(1, 1)", "pool_type": "avg"},
    ),
    "average pooling that leaves padding out": Case(
        "Pooling",
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        {"kernel": _square, "stride": "(2, 2)", "pad": "(1, 1)", "pool_type": "avg",
         "count_include_pad": False},
    ),
    "average pooling rounded up": Case(
        "Pooling",
        lambda x: _full_mean(x, 3, 2, 1),
        {"kernel": _square, "stride": "(2, 2)", "pad": "(1, 1)", "pool_type": "avg",
         "pooling_convention": "full"},
        shape=(2, 3, 8, 10),
    ),
    "sum pooling rounded up": Case(
        "Pooling",
        lambda x: F.avg_pool2d(_pad_ends(x, 3, 2, 1, 0), 3, 2) * 9,
        {"kernel": _square, "stride": "(2, 2)", "pad": "(1, 1)", "pool_type": "sum",
         "pooling_convention": "full"},
        shape=(2, 3, 8, 10),
    ),
    "power pooling": Case(
        "Pooling",
        lambda x: F.lp_pool2d(x, 2, 3, 2),
        {"kernel": _square, "stride": "(2, 2)", "pool_type": "lp", "p_value": 2},
    ),
    "pooling with channels last": Case(
        "Pooling",
        lambda x: F.max_pool2d(x.permute(0, 3, 1, 2), 2, 1).permute(0, 2, 3, 1),
        {"kernel": "(2, 2)", "layout": "NHWC"},
    ),
    "global average": Case(
        "Pooling",
        lambda x: x.mean((2, 3), keepdim=True),
        {"kernel": "(7, 7)", "global_pool": True, "pool_type": "avg"},
    ),
    "global maximum": Case(
        "Pooling", lambda x: x.amax((2, 3), keepdim=True), {"global_pool": "True"}
    ),
    "global sum": Case(
        "Pooling",
        lambda x: x.sum((2, 3), keepdim=True),
        {"global_pool": True, "pool_type": "sum"},
    ),
    "prelu": Case("LeakyReLU", F.prelu, {"act_type": "prelu"}, (noise(6),)),
    "leaky": Case("LeakyReLU", lambda x: F.leaky_relu(x, 0.25)),
    "elu": Case("LeakyReLU", lambda x: F.elu(x, 0.7), {"act_type": "elu", "slope": 0.7}),
    "selu": Case("LeakyReLU", F.selu, {"act_type": "selu"}),
    "gelu": Case("LeakyReLU", F.gelu, {"act_type": "gelu"}),
    "rrelu": Case("LeakyReLU", lambda x: F.leaky_relu(x, 0.2295), {"act_type": "rrelu"}),
    "softmax output": Case("SoftmaxOutput", lambda x: x.softmax(1), shape=(3, 5)),
    "softmax output of all": Case(
        "SoftmaxOutput", lambda x: x.flatten(1).softmax(1).reshape(x.shape)
    ),
    "softmax output of channels": Case(
        "SoftmaxOutput", lambda x: x.softmax(1), {"multi_output": True}
    ),
    "softmax output of rows": Case(
        "Softmax", lambda x: x.softmax(-1), {"preserve_shape": True}
    ),
    "softmax activation": Case("SoftmaxActivation", lambda x: x.softmax(-1)),
    "softmax activation of channels": Case(
        "SoftmaxActivation", lambda x: x.softmax(1), {"mode": "channel"}
    ),
    "softmax": Case("softmax", lambda x: (x / 2.5).softmax(1), {"axis": 1, "temperature": 2.5}),
    "softmin": Case("softmin", lambda x: (-x).softmax(-1)),
    "log softmax": Case("log_softmax", lambda x: x.log_softmax(-1), {"temperature": "None"}),
    "logistic output": Case("LogisticRegressionOutput", torch.sigmoid),
    "linear output": Case("LinearRegressionOutput", lambda x: x),
    "lrn": Case("LRN", lambda x: _lrn(x, 5, 1e-4, 0.75, 2.0), {"nsize": 5}),
    "lrn whose k is a fraction": Case(
        "LRN",
        lambda x: _lrn(x, 3, 0.3, 0.6, 1.2),
        {"nsize": 3, "alpha": 0.3, "beta": 0.6, "knorm": 1.2},
    ),
    "instance norm": Case(
        "InstanceNorm",
        lambda x, g, b: F.instance_norm(x, weight=g, bias=b, eps=1e-3),
        {},
        (_gamma, _beta),
    ),
    "layer norm": Case(
        "LayerNorm",
        lambda x, g, b: F.layer_norm(x.movedim(1, -1), (6,), g, b).movedim(-1, 1),
        {"axis": 1},
        (_gamma, _beta),
    ),
    "group norm": Case(
        "GroupNorm",
        lambda x, g, b: F.group_norm(x, 3, g.repeat_interleave(2), b.repeat_interleave(2)),
        {"num_groups": 3},
        (positive(3), noise(3)),
    ),
    "l2 norm of an instance": Case(
        "L2Normalization", lambda x: x / x.pow(2).sum((1, 2, 3), keepdim=True).sqrt()
    ),
    "l2 norm of a cell": Case(
        "L2Normalization",
        lambda x: x / (x.pow(2).sum(1, keepdim=True) + 0.5).sqrt(),
        {"mode": "channel", "eps": 0.5},
    ),
    "l2 norm of a plane": Case(
        "L2Normalization", lambda x: x / x.pow(2).sum((2, 3), keepdim=True).sqrt(),
        {"mode": "spatial"},
    ),
    "nearest up-sampling": Case(
        "UpSampling",
        lambda x: F.interpolate(x, scale_factor=3),
        {"scale": 3, "sample_type": "nearest", "num_args": 1},
    ),
    "bilinear up-sampling": Case(
        "UpSampling",
        lambda x, w: F.conv_transpose2d(x, w, None, 2, 1, 0, 6),
        {"scale": 2, "sample_type": "bilinear", "num_filter": 6, "num_args": 2},
        (noise(6, 1, 4, 4),),
    ),
    "adaptive pooling": Case(
        "_contrib_AdaptiveAvgPooling2D",
        lambda x: F.adaptive_avg_pool2d(x, (3, 4)),
        {"output_size": "(3, 4)"},
    ),
    "resizing": Case(
        "_contrib_BilinearResize2D",
        lambda x: F.interpolate(x, (13, 20), mode="bilinear", align_corners=True),
        {"height": 13, "width": 20},
    ),
    "clip": Case("clip", lambda x: x.clamp(-0.5, 0.8), {"a_min": -0.5, "a_max": 0.8}),
    "hard sigmoid": Case("hard_sigmoid", lambda x: (0.2 * x + 0.5).clamp(0, 1)),
    "cast": Case("Cast", lambda x: x, {"dtype": "float16"}),
    "scalar plus": Case("_PlusScalar", lambda x: x + 0.7, {"scalar": 0.7}),
    "scalar minus": Case("_minus_scalar", lambda x: x - 0.7, {"scalar": 0.7}),
    "minus from scalar": Case("_rminus_scalar", lambda x: 0.7 - x, {"scalar": 0.7}),
    "times scalar": Case("_mul_scalar", lambda x: x * 0.7, {"scalar": 0.7}),
    "by scalar": Case("_div_scalar", lambda x: x / 0.7, {"scalar": 0.7}),
    "scalar by": Case("_RDivScalar", lambda x: 0.7 / x, {"scalar": 0.7}, data=positive),
    "power": Case("_power_scalar", lambda x: x**0.7, {"scalar": 0.7}, data=positive),
    "maximum": Case("_maximum_scalar", lambda x: x.clamp(min=0.1), {"scalar": 0.1}),
    "greater": Case("_GreaterEqualScalar", lambda x: (x >= 0.1).float(), {"scalar": 0.1}),
    "broadcast plus": Case("broadcast_add", torch.add, {}, (noise(1, 6, 1, 1),)),
    "broadcast times": Case("broadcast_mul", torch.mul, {}, (noise(1, 6, 1, 1),)),
    "plus": Case("_Plus", torch.add, {}, (noise(*SHAPE, seed=8),)),
    "minus": Case("elemwise_sub", torch.sub, {}, (noise(*SHAPE, seed=8),)),
    "times": Case("elemwise_mul", torch.mul, {}, (noise(*SHAPE, seed=8),)),
    "by": Case("_div", torch.div, {}, (positive(*SHAPE),)),
    "hypotenuse": Case("_hypot", torch.hypot, {}, (noise(*SHAPE, seed=8),)),
    "remainder": Case("_mod", torch.remainder, {}, (positive(*SHAPE),)),
    "sum of all": Case("ElementWiseSum", lambda x, y: x + y, {}, (noise(*SHAPE, seed=8),)),
    "concatenation": Case(
        "Concat", lambda x, y: torch.cat([x, y], 1), {"num_args": 2}, (noise(2, 1, 9, 11),)
    ),
    "stack": Case(
        "stack", lambda x, y: torch.stack([x, y], -1), {"axis": -1}, (noise(*SHAPE, seed=8),)
    ),
    "dot": Case("dot", torch.matmul, {}, (noise(7, 4),), (3, 7)),
    "batch dot": Case(
        "batch_dot",
        lambda x, y: x @ y.transpose(1, 2),
        {"transpose_b": True},
        (noise(2, 4, 7),),
        (2, 3, 7),
    ),
    "flatten": Case("Flatten", lambda x: x.flatten(1)),
    "transpose": Case("transpose", lambda x: x.permute(0, 2, 3, 1), {"axes": "(0, 2, 3, 1)"}),
    "transpose of all": Case("transpose", lambda x: x.permute(3, 2, 1, 0)),
    "swap": Case("SwapAxis", lambda x: x.transpose(1, 3), {"dim1": 1, "dim2": 3}),
    "new axis": Case("expand_dims", lambda x: x.unsqueeze(-1), {"axis": -1}),
    "lost axis": Case("squeeze", lambda x: x.squeeze(), {}, (), (2, 6, 1, 1)),
    "tile": Case("tile", lambda x: x.repeat(1, 2, 1, 3), {"reps": "(1, 2, 1, 3)"}),
    "slice": Case(
        "slice", lambda x: x[:, 1:5, 2:], {"begin": "(None, 1, 2)", "end": "(None, 5, None)"}
    ),
    "slice backwards": Case(
        "slice",
        lambda x: x[1:].flip(1)[:, 1::2],
        {"begin": "(1, 4)", "end": "(None, None)", "step": "(1, -2)"},
    ),
    "slice of an axis": Case(
        "slice_axis", lambda x: x[..., -4:-1], {"axis": -1, "begin": -4, "end": -1}
    ),
    "slice like": Case("slice_like", lambda x, y: x[:2, :3, :4, :5], {}, (noise(2, 3, 4, 5),)),
    "crop": Case(
        "Crop",
        lambda x: x[:, :, 2:6, 3:8],
        {"num_args": 1, "h_w": "(4, 5)", "offset": "(2, 3)"},
    ),
    "crop of the centre": Case(
        "Crop",
        lambda x, y: x[:, :, 2:6, 3:8],
        {"num_args": 2, "center_crop": True},
        (noise(1, 1, 4, 5),),
    ),
    "pad": Case(
        "Pad",
        lambda x: F.pad(x, (3, 0, 1, 2), value=1.5),
        {"mode": "constant", "constant_value": 1.5, "pad_width": "(0, 0, 0, 0, 1, 2, 3, 0)"},
    ),
    "pad with the edge": Case(
        "Pad",
        lambda x: F.pad(x, (3, 0, 1, 2), "replicate"),
        {"mode": "edge", "pad_width": "(0, 0, 0, 0, 1, 2, 3, 0)"},
    ),
    "pad with a mirror": Case(
        "pad",
        lambda x: F.pad(x, (3, 0, 1, 2), "reflect"),
        {"mode": "reflect", "pad_width": "(0, 0, 0, 0, 1, 2, 3, 0)"},
    ),
    "broadcast to": Case(
        "broadcast_to", lambda x: x.expand(2, 6, 4, 5), {"shape": "(0, 0, 4, 5)"}, (), (2, 6, 1, 1)
    ),
    "depth to space": Case(
        "depth_to_space",
        # MXNet's blocks come before the channels, torch's behind.
        lambda x: F.pixel_shuffle(x.reshape(1, 4, 2, 3, 4).transpose(1, 2).flatten(1, 2), 2),
        {"block_size": 2},
        (),
        (1, 8, 3, 4),
    ),
    "reverse": Case("reverse", lambda x: x.flip(1, 3), {"axis": "(1, 3)"}),
    "mean": Case("mean", lambda x: x.mean((2, 3)), {"axis": "(2, 3)"}),
    "sum of the others": Case("sum", lambda x: x.sum((2, 3)), {"axis": "(0, 1)", "exclude": 1}),
    "max": Case("max", lambda x: x.amax(1, keepdim=True), {"axis": 1, "keepdims": True}),
    "min of all": Case("min", lambda x: x.min().reshape(1)),
    "product": Case("prod", lambda x: x.prod(-1), {"axis": -1}),
    "norm": Case("norm", lambda x: x.norm(dim=1), {"axis": 1}),
    **{
        f"activation {kind}": Case("Activation", reference, {"act_type": kind})
        for kind, reference in {
            "relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
            "softrelu": F.softplus, "softsign": F.softsign, "mish": F.mish,
            "log_sigmoid": F.logsigmoid,
        }.items()
    },
    **{
        f"unary {op}": Case(op, reference, data=positive)
        for op, reference in {
            "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "exp": torch.exp, "log": torch.log,
            "log2": torch.log2, "log10": torch.log10, "log1p": torch.log1p, "expm1": torch.expm1,
            "square": torch.square, "reciprocal": torch.reciprocal, "sin": torch.sin,
            "cos": torch.cos, "erf": torch.erf,
        }.items()
    },
    **{
        f"unary {op}": Case(op, reference)
        for op, reference in {
            "abs": torch.abs, "negative": torch.neg, "sigmoid": torch.sigmoid, "relu": torch.relu,
            "tanh": torch.tanh, "floor": torch.floor, "ceil": torch.ceil, "trunc": torch.trunc,
            "sign": torch.sign, "identity": torch.clone, "BlockGrad": torch.clone,
            "Dropout": torch.clone, "cbrt": lambda x: x.sign() * x.abs() ** (1 / 3),
        }.items()
    },
    **{
        f"reshape {codes}": Case("Reshape", lambda x, to=to: x.reshape(to), {"shape": codes})
        for codes, to in {
            "(0, -1)": (2, 594), "(-1, 6, 99)": (2, 6, 99), "(-2,)": SHAPE, "(0, -2)": SHAPE,
            "(-3, 0, 0)": (12, 9, 11), "(0, -3, -2)": (2, 54, 11),
            "(0, -4, 2, 3, -2)": (2, 2, 3, 9, 11), "(0, -4, -1, 3, 0, 0)": (2, 2, 3, 9, 11),
            "(-3, -3)": (12, 99),
        }.items()
    },
    "reshape from behind": Case(
        "reshape", lambda x: x.reshape(12, 9, 11), {"shape": "(-1, 0, 0)", "reverse": True}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_layer_computes_what_torch_computes(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    image = case.data(*case.shape)
    path = one(case.op, case.weights, **case.attrs).save(tmp_path)
    imported = formats.read(path, ImportOptions(shapes={"data": image.shape}))
    wanted = case.reference(torch.tensor(image), *map(torch.tensor, case.weights)).numpy()
    found = run(imported, image)[0]
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_the_parts_of_a_split_go_their_ways(tmp_path: Path) -> None:
    net = Net()
    data = net.variable("data")
    parts = net.layer("SliceChannel", "parts", [data], num_outputs=3)[0]
    rows = net.layer("split", "rows", [data], num_outputs=9, axis=2, squeeze_axis=True)[0]
    cut = net.layer("_split_v2", "cut", [data], indices="(0, 2, 5)", axis=1)[0]
    path = net.save(tmp_path, [parts, 2, 0], [rows, 4, 0], [cut, 1, 0])
    imported = formats.read(path, ImportOptions(shapes={"": SHAPE}))
    image = noise(*SHAPE)
    last, fifth, middle = run(imported, image)
    assert np.array_equal(last, image[:, 4:])
    assert np.array_equal(fifth, image[:, :, 4])
    assert np.array_equal(middle, image[:, 2:5])


def test_an_array_out_of_nothing_and_a_choice(tmp_path: Path) -> None:
    net = Net()
    data = net.variable("data")
    full = net.layer("_full", "full", [], shape="(1, 6, 1, 1)", value=2.5)
    sign = net.layer("_greater_scalar", "sign", [data], scalar=0)
    zeros = net.layer("zeros_like", "zeros", [data])
    chosen = net.layer("where", "chosen", [sign, data, zeros])
    net.layer("broadcast_add", "sum", [chosen, full])
    image = noise(*SHAPE)
    found = answer(net.save(tmp_path), image)
    np.testing.assert_allclose(found, np.maximum(image, 0) + 2.5, rtol=1e-6)


def test_a_residual_network_answers_as_mxnet_itself_did() -> None:
    """Exported and run by MXNet 1.9.1; see the README beside it."""
    kept = np.load(RECORDED / "residual.npz")
    found = answer(RECORDED / "residual-symbol.json", kept["image"])
    np.testing.assert_allclose(found, kept["answer"], rtol=1e-5, atol=1e-5)


def small() -> Net:
    """Return a classifier with a label, as training leaves it."""
    net = Net()
    data = net.variable("data", __shape__="(0, 3, 8, 8)")
    weight, bias = net.variable("conv_w", noise(4, 3, 3, 3)), net.variable("conv_b", noise(4))
    value = net.layer("Convolution", "conv", [data, weight, bias], kernel=_square, num_filter=4)
    value = net.layer("Pooling", "pool", [value], global_pool=True, pool_type="avg", kernel=_square)
    value = net.layer("Flatten", "flat", [value])
    weight = net.variable("fc_w", noise(2, 4))
    value = net.layer("FullyConnected", "fc", [value, weight], num_hidden=2, no_bias=True)
    net.layer("SoftmaxOutput", "softmax", [value, net.variable("softmax_label")])
    return net


def test_names_and_shapes_are_the_files_and_labels_are_left_out(tmp_path: Path) -> None:
    path = small().save(tmp_path)
    imported = mxnet.read(path, ImportOptions())
    assert imported.framework == "mxnet"
    assert imported.layout == "NCHW"
    assert imported.files == (tmp_path / "net-symbol.json", path)
    assert [port.any_name for port in imported.model.inputs] == ["data"]
    assert str(imported.model.inputs[0].get_partial_shape()) == "[?,3,8,8]"
    names = {node.get_friendly_name() for node in imported.model.get_ops()}
    assert {"data", "conv", "pool", "flat", "fc", "softmax", "conv_w"} - names == {"conv_w"}
    assert imported.model.outputs[0].any_name == "softmax"


def test_a_batch_of_one_follows_through_every_reshape(tmp_path: Path) -> None:
    net = Net()
    value = net.layer("Reshape", "split", [net.variable("data")], shape="(0, -4, 2, 3, -2)")
    value = net.layer("SwapAxis", "swap", [value], dim1=1, dim2=2)
    net.layer("Reshape", "join", [value], shape="(0, -3, -2)")
    model = formats.read(net.save(tmp_path), ImportOptions(shapes={"": SHAPE})).model
    model.reshape([1, *SHAPE[1:]])
    assert list(model.outputs[0].shape) == [1, *SHAPE[1:]]


def test_the_symbols_of_old_releases_are_read(tmp_path: Path) -> None:
    path = one("BatchNorm", (_gamma, _beta)).save(tmp_path)
    arrays = {"arg:w0": _gamma, "arg:w1": _beta}
    arrays |= {"aux:layer_moving_mean": _mean, "aux:layer_moving_var": _var}
    path.write_bytes(parameters({key: record(value, magic=0) for key, value in arrays.items()}))
    symbol = json.loads((tmp_path / "net-symbol.json").read_text())
    for node in symbol["nodes"]:
        node["attr"] = {"lr_mult": "1"}
        node["param"] = {"eps": "0.01", "fix_gamma": "False"} if node["op"] != "null" else {}
        del node["attrs"]
        node["inputs"] = [link[:2] for link in node["inputs"]]
        node["backward_source_id"] = -1
    (tmp_path / "net-symbol.json").write_text(json.dumps(symbol))
    image = noise(*SHAPE)
    arrays_there = (torch.tensor(part) for part in (_gamma, _beta, _mean, _var))
    wanted = _norm(torch.tensor(image), *arrays_there).numpy()
    np.testing.assert_allclose(answer(path, image), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("magic", [V1, V2, V3, 0])
@pytest.mark.parametrize("dtype", FLAGS)
def test_arrays_of_every_release_and_type_are_read(dtype: str, magic: int, tmp_path: Path) -> None:
    array = np.arange(-6, 6).reshape(3, 4).astype(dtype)
    path = tmp_path / "a.params"
    path.write_bytes(parameters({"arg:a": record(array, magic=magic)}))
    found = read_parameters(path)["a"]
    assert np.array_equal(found, array)
    assert found.dtype == (np.float32 if array.dtype.kind == "f" else array.dtype)


def test_truth_values_brain_floats_scalars_and_nothing_are_read(tmp_path: Path) -> None:
    halves = np.array([1.5, -2.0], np.float32)
    top = (halves.view(np.uint32) >> 16).astype(np.uint16)
    nothing = struct.pack("<Iii", V2, -1, 0)
    path = tmp_path / "a.params"
    arrays = {
        "bf16": record(top, flag=12),
        "bool": record(np.array([True, False]), flag=7),
        "scalar": record(np.full((), 3.0, np.float32), magic=V3),
        "none": nothing,
    }
    path.write_bytes(parameters(arrays))
    found = read_parameters(path)
    assert np.array_equal(found["bf16"], halves)
    assert found["bool"].tolist() == [True, False]
    assert found["scalar"] == 3
    assert "none" not in found


def test_weights_and_symbol_find_each_other(tmp_path: Path) -> None:
    path = small().save(tmp_path)
    symbol = tmp_path / "net-symbol.json"
    assert mxnet.read(symbol, ImportOptions()).files == (symbol, path)
    later = path.rename(tmp_path / "net-0012.params")
    assert mxnet.read(symbol, ImportOptions()).files == (symbol, later)
    elsewhere = symbol.rename(tmp_path / "layers.json")
    assert mxnet.read(later, ImportOptions(structure=elsewhere)).files == (elsewhere, later)
    assert "--structure" in str(refusal(later))


def test_which_of_several_weights_is_asked(tmp_path: Path) -> None:
    path = small().save(tmp_path)
    (tmp_path / "net-0001.params").write_bytes(path.read_bytes())
    error = refusal(tmp_path / "net-symbol.json")
    assert isinstance(error, UsageError)
    assert error.code == "model-undescribed"
    assert "net-0000.params, net-0001.params" in error.message


def test_a_symbol_without_weights_is_refused(tmp_path: Path) -> None:
    small().save(tmp_path).unlink()
    assert refusal(tmp_path / "net-symbol.json").code == "model-weights"


@pytest.mark.parametrize(
    ("written", "wanted"), [(None, "[1,3,8,8]"), ("(0, 3, 0, 0)", "[?,3,8,8]")]
)
def test_a_side_is_enough_where_the_weights_say_the_channels(
    tmp_path: Path, written: str | None, wanted: str
) -> None:
    path = small().save(tmp_path)
    symbol = tmp_path / "net-symbol.json"
    graph = json.loads(symbol.read_text("utf-8"))
    for node in graph["nodes"]:
        if node["name"] == "data":
            node["attrs"] = {} if written is None else {"__shape__": written}
    symbol.write_text(json.dumps(graph), "utf-8")
    assert refusal(path, ImportOptions()).code == "model-undescribed"
    model = mxnet.read(path, ImportOptions(side=8)).model
    assert str(model.inputs[0].get_partial_shape()) == wanted


def test_an_input_of_unknown_shape_is_asked(tmp_path: Path) -> None:
    error = refusal(one("relu").save(tmp_path), ImportOptions())
    assert error.code == "model-undescribed"
    assert "--side" in error.message
    assert "--input_shape" in error.message


@pytest.mark.parametrize(
    ("net", "code", "says"),
    [
        (one("Custom", op_type="mine"), "model-layer", "layer layer is of type Custom"),
        (one("Pooling_v1"), "model-layer", "Pooling_v1"),
        (
            one("Convolution", (noise(8, 6, 3),), kernel="(3,)", num_filter=8, no_bias=1),
            "model-layer",
            "of two axes",
        ),
        (one("Pooling", pool_type="median", kernel=_square), "model-layer", "max, avg, sum, lp"),
        (one("softmax", use_length=True), "model-layer", "masks by length"),
        (one("Reshape", target_shape="(0, 3)"), "model-layer", "since 0.9"),
        (
            one("Convolution", (_conv,), kernel=_square, num_filter=8),
            "model-unreadable",
            "needs 3",
        ),
        (
            one("Convolution", (_conv,), kernel="(5, 5)", num_filter=8, no_bias=1),
            "model-weights",
            "another network",
        ),
        (
            one("Convolution", (noise(8, 5, 3, 3),), kernel=_square, num_filter=8, no_bias=1),
            "model-unreadable",
            "layer layer",
        ),
        (
            one("Convolution", (_conv,), kernel=_square, num_filter=8, no_bias=1, stride="(0, 1)"),
            "model-unreadable",
            "from 1 on",
        ),
        (one("clip", a_min="low", a_max=1), "model-unreadable", "must be a number"),
        (one("transpose", axes="(0, 7)"), "model-unreadable", "axis 7 of 4"),
        (one("_ones", shape="(9999999, 9999999)"), "model-unreadable", "makes an array"),
        (one("Reshape", shape="(0, -4, 2)"), "model-unreadable", "has a shape of"),
    ],
)
def test_what_cannot_be_converted_is_said(net: Net, code: str, says: str, tmp_path: Path) -> None:
    error = refusal(net.save(tmp_path))
    assert error.code == code
    assert says in error.message


def test_a_missing_weight_is_named(tmp_path: Path) -> None:
    net = small()
    del net.weights["fc_w"]
    error = refusal(net.save(tmp_path))
    assert error.code == "model-weights"
    assert "fc_w" in error.message


def test_a_sparse_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.params"
    path.write_bytes(parameters({"a": struct.pack("<Iii", V2, 1, 1) + bytes(64)}))
    with pytest.raises(ModelError, match="sparse"):
        read_parameters(path)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"PK\x03\x04" + bytes(40),
        struct.pack("<QQQ", 0x112, 0, 1 << 60),
        struct.pack("<QQQIiiqq", 0x112, 0, 1, V2, 0, 2, 1 << 40, 1 << 40) + bytes(12),
        struct.pack("<QQQIii", 0x112, 0, 1, V2, 0, 1 << 30),
        struct.pack("<QQQIiiq", 0x112, 0, 1, V2, 0, 1, -4) + bytes(40),
        struct.pack("<QQQQQ", 0x112, 0, 0, 1, 1 << 63),
    ],
)
def test_sizes_that_lie_cost_nothing(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.params"
    path.write_bytes(raw)
    with pytest.raises(ModelError) as caught:
        read_parameters(path)
    assert caught.value.code == "model-unreadable"


def test_a_cut_or_flipped_file_is_read_or_refused(tmp_path: Path) -> None:
    path = small().save(tmp_path)
    whole, random = path.read_bytes(), np.random.default_rng(1)
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        assert isinstance(refusal(path), ModelError)
    for _ in range(200):
        flipped = bytearray(whole)
        flipped[random.integers(len(whole))] ^= 1 << random.integers(8)
        path.write_bytes(flipped)
        _read_or_refuse(path)


def test_a_damaged_symbol_is_read_or_refused(tmp_path: Path) -> None:
    path, symbol = small().save(tmp_path), tmp_path / "net-symbol.json"
    whole, random = symbol.read_bytes(), np.random.default_rng(1)
    for size in range(0, len(whole), 29):
        symbol.write_bytes(whole[:size])
        assert refusal(path).code == "model-unreadable"
    for _ in range(300):
        flipped = bytearray(whole)
        flipped[random.integers(len(whole))] = random.integers(32, 127)
        symbol.write_bytes(flipped)
        _read_or_refuse(path)


def _read_or_refuse(path: Path) -> None:
    with contextlib.suppress(ThoraxError):
        formats.read(path, ImportOptions(shapes={"": (1, 3, 8, 8)}))
