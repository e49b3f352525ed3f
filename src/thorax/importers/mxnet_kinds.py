"""Which of the builders makes a kind of MXNet layer, under every name it has had."""

import re
from typing import Final

from thorax.importers.mxnet_arithmetic import ARITHMETIC
from thorax.importers.mxnet_layer import Build
from thorax.importers.mxnet_layers import LAYERS
from thorax.importers.mxnet_shapes import SHAPES

WEIGHTED: Final = (
    "Convolution", "Deconvolution", "FullyConnected", "BatchNorm", "InstanceNorm", "LayerNorm",
    "GroupNorm", "UpSampling", "LeakyReLU",
)  # fmt: skip

"""Kinds whose inputs after the first are parameters of their own."""


ALIASES: Final = {
    "BatchNorm_v1": "BatchNorm",
    "CuDNNBatchNorm": "BatchNorm",
    "_contrib_SyncBatchNorm": "BatchNorm",
    "Convolution_v1": "Convolution",
    "Softmax": "SoftmaxOutput",
    "ElementWiseSum": "add_n",
    "_sum": "add_n",
    "concat": "Concat",
    "flatten": "Flatten",
    "reshape": "Reshape",
    "swapaxes": "SwapAxis",
    "pad": "Pad",
    "split": "SliceChannel",
    "cast": "Cast",
    "amp_cast": "Cast",
    "_copy": "identity",
    "_copyto": "identity",
    "_CrossDeviceCopy": "identity",
    "stop_gradient": "BlockGrad",
    "make_loss": "MakeLoss",
    "_grad_add": "_add",
    "max_axis": "max",
    "min_axis": "min",
    "sum_axis": "sum",
    "broadcast_axes": "broadcast_axis",
    "flip": "reverse",
    "crop": "slice",
    "_zeros_without_dtype": "_zeros",
}

"""Other names of the same, besides those that differ in capitals or a mark of sparse storage."""

_BUILDERS: Final = {**LAYERS, **ARITHMETIC, **SHAPES}


def builder(kind: str) -> Build | None:
    """Return what builds the layers of a kind, under any of the names it has had."""
    name = kind.removeprefix("_sparse_")
    name = ALIASES.get(name, name)
    if name.startswith("_") and name not in _BUILDERS:
        # Before 0.9: _Plus, _RDivScalar, _Greater_Equal.
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return _BUILDERS.get(name)
