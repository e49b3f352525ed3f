"""MXNet networks: `NAME-symbol.json` with `NAME-0000.params`."""

import re
from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.errors import ModelError, UsageError
from thorax.importers.layers import Array, named
from thorax.importers.mxnet_files import (
    VARIABLE,
    MxnetLayer,
    Node,
    Parameters,
    Symbol,
    read_parameters,
    read_symbol,
)
from thorax.importers.mxnet_layers import ALIASES, WEIGHTED, builder
from thorax.importers.options import Imported, ImportOptions, damaged, require_stored, translated

_SYMBOL: Final = "-symbol.json"
_EPOCH: Final = re.compile(r"-\d{4,}$")
_LABELLED: Final = (
    "SoftmaxOutput", "Softmax", "LogisticRegressionOutput", "LinearRegressionOutput",
    "MAERegressionOutput",
)  # fmt: skip
"""Kinds whose second input is what training compared with."""


@translated
def read(path: Path, options: ImportOptions) -> Imported:
    """Read a network from its weights or its symbol; each finds the other beside it.

    Raises:
        ModelError: `model-unreadable` when a file is damaged, `model-layer` when a layer cannot be
            converted, `model-weights` when a weight is missing or of a wrong shape, `model-input`.
        UsageError: `model-undescribed` when a file or the shape of an input must be said.
    """
    # First, because junk is junk whatever stands beside it.
    weights = read_parameters(path) if path.suffix.lower() == ".params" else None
    symbol_path, params_path = _files(path, options.structure)
    for file in (symbol_path, params_path):
        require_stored(file)
    symbol = read_symbol(symbol_path)
    weights = read_parameters(params_path) if weights is None else weights
    network = _Network(symbol, weights, options, path)
    return Imported(network.build(), "mxnet", "NCHW", (symbol_path, params_path))


def _files(path: Path, structure: Path | None) -> tuple[Path, Path]:
    if path.name.lower().endswith(_SYMBOL):
        name = path.name[: -len(_SYMBOL)]
        files = sorted(
            file
            for file in path.parent.glob("*.params")
            if file.stem == name or _EPOCH.sub("", file.stem) == name
        )
        if not files:
            raise ModelError(
                "model-weights", f"no {name}-0000.params stands beside {path.name}; put it there"
            )
        if len(files) > 1:
            raise UsageError(
                "model-undescribed",
                f"beside {path.name} stand {', '.join(file.name for file in files)}; give the one "
                "that is meant in place of it",
            )
        return path, files[0]
    symbol = structure or path.with_name(_EPOCH.sub("", path.stem) + _SYMBOL)
    if not symbol.is_file():
        raise UsageError(
            "model-undescribed",
            f"{path.name} holds weights alone and there is no {symbol}; say with --structure, "
            "or --input_symbol of `thorax mo`, where the -symbol.json of the layers is",
        )
    return symbol, path


class _Network:
    """Builds the graph of a symbol, node by node in its order."""

    def __init__(
        self, symbol: Symbol, weights: Parameters, options: ImportOptions, path: Path
    ) -> None:
        self._symbol = symbol
        self._weights = weights
        self._shapes = options.shapes
        self._side = options.side
        self._path = path
        self._values: dict[tuple[int, int], ov.Output] = {}
        self._needed = {head[0] for head in symbol.heads}
        for index in reversed(range(len(symbol.nodes))):
            if index in self._needed:
                self._needed |= {link[0] for link in _taken(symbol.nodes[index])}
        self._inputs = [
            node
            for index, node in enumerate(symbol.nodes)
            if index in self._needed and node.op == VARIABLE and node.name not in weights
        ]
        self._parameters: list[ov.Node] = []

    def build(self) -> ov.Model:
        """Return the graph of what the heads need."""
        self._require_weights()
        for index, node in enumerate(self._symbol.nodes):
            if index in self._needed:
                values = self._variable(node) if node.op == VARIABLE else self._layer(node)
                for slot, value in enumerate(values):
                    self._values[index, slot] = value
        if not self._parameters:
            raise damaged(self._path, "takes no input")
        results = []
        for index, slot, *_ in self._symbol.heads:
            value = self._value(index, slot, "the network")
            name = self._symbol.nodes[index].name
            value.add_names({name if slot == 0 else f"{name}_{slot}"})
            results.append(ops.result(value))
        return ov.Model(results, self._parameters, self._path.stem)

    def _value(self, index: int, slot: int, taker: str) -> ov.Output:
        if (index, slot) not in self._values:
            raise ModelError(
                "model-layer",
                f"{taker} takes output {slot} of layer {self._symbol.nodes[index].name} "
                f"({self._symbol.nodes[index].op}), which cannot be converted; change the network, "
                "or convert it to ONNX",
            )
        return self._values[index, slot]

    def _require_weights(self) -> None:
        inputs = {node.name for node in self._inputs}
        for index, node in enumerate(self._symbol.nodes):
            if index in self._needed and _kind(node) in WEIGHTED:
                for link in _taken(node)[1:]:
                    weight = self._symbol.nodes[link[0]].name
                    if weight in inputs:
                        raise ModelError(
                            "model-weights",
                            f"layer {node.name} ({node.op}) needs {weight}, which the .params "
                            "file does not hold; give the two files that MXNet's `export` or "
                            "`save_checkpoint` wrote together",
                        )

    def _variable(self, node: Node) -> list[ov.Output]:
        array = self._weights.get(node.name)
        if array is not None:
            return [named(ops.constant(array), node.name)]
        parameter = ops.parameter(self._shape(node), np.float32)
        parameter.set_friendly_name(node.name)
        parameter.output(0).set_names({node.name})
        self._parameters.append(parameter)
        return [parameter.output(0)]

    def _shape(self, node: Node) -> ov.PartialShape:
        shape = self._shapes.get(node.name)
        if shape is None and len(self._inputs) == 1:
            shape = self._shapes.get("")
        if shape is None:
            written = MxnetLayer(node.name, "input", node.words()).integers("__shape__")
            # MXNet writes 0 for a size that it does not know.
            shape = tuple(size if size > 0 else -1 for size in written)
            if self._side is not None and len(self._inputs) == 1 and -1 in (shape[1:] or [-1]):
                shape = self._square(shape, self._side)
            if not shape or -1 in shape[1:]:
                raise UsageError(
                    "model-undescribed",
                    f"{self._path.name} does not say the shape of its input {node.name}; say it "
                    "with --side, or with --input_shape of `thorax mo`",
                )
        if min(shape) < -1 or 0 in shape or max(shape) > 1 << 31:
            raise ModelError("model-input", f"input {node.name} cannot be of shape {list(shape)}")
        return ov.PartialShape(list(shape))

    def _square(self, written: tuple[int, ...], side: int) -> tuple[int, ...]:
        """Return the shape of square images, of the channels of the first convolution if unsaid."""
        if written:
            sides = (2, 3) if len(written) == 4 else ()
            return tuple(
                side if axis in sides and size < 0 else size for axis, size in enumerate(written)
            )
        for index, node in enumerate(self._symbol.nodes):
            if index in self._needed and _kind(node) == "Convolution":
                kernel = self._weights.get(self._symbol.nodes[node.inputs[1][0]].name)
                if kernel is None or kernel.ndim != 4:
                    break
                groups = MxnetLayer(node.name, node.op, node.words()).integer("num_group", 1)
                return 1, kernel.shape[1] * groups, side, side
        return ()

    def _layer(self, node: Node) -> list[ov.Output]:
        build = builder(node.op)
        if build is None or node.subgraphs:
            raise ModelError(
                "model-layer",
                f"layer {node.name} is of type {node.op}, which cannot be converted; change the "
                "network, or convert it to ONNX",
            )
        links = _taken(node)
        values = [self._value(link[0], link[1], f"layer {node.name}") for link in links]
        names = [self._symbol.nodes[link[0]].name for link in links]
        weights = [self._weight(name) for name in names]
        if _kind(node) == "BatchNorm" and len(values) == 3:
            # Before 0.9 the statistics were no inputs; they had the layer's name.
            for part in ("moving_mean", "moving_var"):
                weights.append(self._weight(f"{node.name}_{part}"))
                values.append(values[-1])
        layer = MxnetLayer(node.name, node.op, node.words(), tuple(values), tuple(weights))
        try:
            made = build(layer)
        # What OpenVINO raises over values that no layer of the kind can have.
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise layer.damaged(
                f"({node.op}) cannot be: {str(error).strip().splitlines()[-1]}"
            ) from error
        if isinstance(made, ov.Node):
            return [named(made, node.name)]
        return [made] if isinstance(made, ov.Output) else list(made)

    def _weight(self, name: str) -> Array | None:
        return np.asarray(self._weights[name], np.float32) if name in self._weights else None


def _kind(node: Node) -> str:
    return ALIASES.get(node.op, node.op)


def _taken(node: Node) -> list[list[int]]:
    """Return what a layer takes when nothing is trained."""
    return node.inputs[:1] if node.op in _LABELLED else node.inputs
