"""Caffe networks: a .prototxt that describes the layers and a .caffemodel with their weights.

Field numbers are those of caffe.proto (BVLC Caffe 1.0), the rules those of its net.cpp.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.errors import ModelError, UsageError
from thorax.files.documents import read_limited
from thorax.importers.caffe_layer import Blob, CaffeLayer, read_blob
from thorax.importers.caffe_layers import BOTTOMS, Shape, find_build, inputs_of, is_input
from thorax.importers.layers import named
from thorax.importers.options import (
    MOST_INPUT_VALUES,
    UNREADABLE,
    Imported,
    ImportOptions,
    damaged,
    require_stored,
    translated,
)
from thorax.importers.prototxt import Block, ProtoError, parse
from thorax.importers.wire import WireError, fields

_V1, _V2 = 2, 100
"""Numbers of the field of NetParameter that holds layers, of the old kind and the new."""

_NAME: Final = {_V1: 4, _V2: 1}
_BLOBS: Final = {_V1: 6, _V2: 7}
_MOST_VALUES: Final = 2**31 - 1
"""Caffe counts the values of a blob in 32 bits (blob.cpp: `Reshape`)."""

_LEFT_OUT: Final = {
    "SILENCE", "ACCURACY", "HDF5OUTPUT", "EUCLIDEANLOSS", "HINGELOSS", "CONTRASTIVELOSS",
    "INFOGAINLOSS", "MULTINOMIALLOGISTICLOSS",
}  # fmt: skip
"""Layers that only training and testing want."""

_PROBABILITY: Final = {
    "SOFTMAXWITHLOSS": "SOFTMAX", "SOFTMAXLOSS": "SOFTMAX", "SIGMOIDCROSSENTROPYLOSS": "SIGMOID",
}  # fmt: skip
"""Losses that hold an activation, which is what a network without labels answers."""

_LABEL: Final = "it holds labels, which an image to classify has not"
_STAGES: Final = frozenset({"deploy"})
"""Stages of a description of several networks in one, of which the one to deploy is taken."""


@translated
def read(path: Path, options: ImportOptions) -> Imported:
    """Read a network from its .caffemodel or .prototxt; the other is found beside it.

    Raises:
        ModelError: `model-missing`, `model-unreadable`, `model-layer`, `model-weights` or
            `model-input`.
        UsageError: `model-undescribed`.
    """
    # First, because junk is junk whatever stands beside it.
    blobs = _read_weights(path) if path.suffix.lower() == ".caffemodel" else None
    structure, weights = _pair(path, options.structure)
    for file in (structure, weights):
        require_stored(file)
    blobs = _read_weights(weights) if blobs is None else blobs
    try:
        net = parse(read_limited(structure).decode("utf-8-sig"))
        model = _Builder(net, blobs, options).build()
    except (ProtoError, UnicodeDecodeError, OSError) as error:
        raise ModelError("model-unreadable", f"{structure.name}: {error}") from error
    except (ModelError, UsageError) as error:
        raise type(error)(error.code, f"{structure.name}: {error.message}") from error
    return Imported(model, "caffe", "NCHW", (weights, structure))


def _pair(path: Path, structure: Path | None) -> tuple[Path, Path]:
    if path.suffix.lower() == ".prototxt":
        if structure is not None:
            raise UsageError(
                "model-undescribed",
                f"{path.name} and {structure.name} both describe layers; give the "
                ".caffemodel as the model",
            )
        weights = path.with_suffix(".caffemodel")
        if not weights.is_file():
            weights = _only(
                path,
                "*.caffemodel",
                "holds no weights; give the .caffemodel as the model and this file with "
                "--structure, or --input_proto of `thorax mo`",
            )
        return path, weights
    if structure is None:
        structure = path.with_suffix(".prototxt")
        if not structure.is_file():
            structure = _only(
                path,
                "*deploy*.prototxt",
                "does not describe its layers; give its .prototxt with --structure, or "
                "--input_proto of `thorax mo`",
            )
    if not structure.is_file():
        raise ModelError("model-missing", f"no description of the layers at {structure}")
    return structure, path


def _only(path: Path, pattern: str, advice: str) -> Path:
    """Return the one file beside another whose name is of a pattern."""
    files = sorted(path.parent.glob(pattern))
    if len(files) == 1:
        return files[0]
    beside = ", ".join(file.name for file in files) or "none"
    raise UsageError("model-undescribed", f"{path.name} {advice} (beside it: {beside})")


def _read_weights(path: Path) -> dict[str, tuple[Blob, ...]]:
    learned = {}
    try:
        data = path.read_bytes()
        if not data:
            raise WireError("it is empty")
        for part in fields(memoryview(data)):
            if part.number not in (_V1, _V2):
                continue
            inner = list(fields(part.data()))
            names = [each.text() for each in inner if each.number == _NAME[part.number]]
            blobs = [read_blob(each.data()) for each in inner if each.number == _BLOBS[part.number]]
            if blobs:
                learned[["", *names][-1]] = tuple(blobs)
    except (WireError, OSError) as error:
        raise damaged(path, f"is damaged or no .caffemodel: {error}") from error
    return learned


class _Builder:
    """Makes the graph, layer by layer in the order of the file, as Caffe does."""

    def __init__(
        self, net: Block, weights: dict[str, tuple[Blob, ...]], options: ImportOptions
    ) -> None:
        self._layers = [
            CaffeLayer(name, block.text("type"), block, weights.get(name, ()))
            for block, name in _deployed(net)
        ]
        self._net = net
        self._shapes = options.shapes
        self._side = options.side
        self._inputs: dict[str, ov.Node] = {}
        self._blobs: dict[str, ov.Output] = {}
        self._open: dict[str, None] = {}
        """Blobs that no layer has taken yet, in order: in the end, the outputs."""
        self._absent: dict[str, str] = {}
        """Blobs that cannot be had, and why."""

    def build(self) -> ov.Model:
        """Return the graph; its inputs and outputs have the names of their blobs."""
        self._make_inputs()
        for layer in self._layers:
            if not is_input(layer):
                try:
                    # Damaged weights overflow; that is for the comparison to find, not for stderr.
                    with np.errstate(all="ignore"):
                        self._add(layer)
                except UNREADABLE as error:
                    why = str(error).strip().splitlines()[-1]
                    raise layer.refuse(f"does not fit its input: {why}") from error
                except ModelError as error:
                    if layer.title in error.message:
                        raise
                    raise ModelError(error.code, f"{layer.title}: {error.message}") from error
        return self._finish()

    def _make_inputs(self) -> None:
        declared: dict[str, Shape | None] = dict(_declared(self._net))
        for layer in self._layers:
            if is_input(layer):
                inputs = inputs_of(layer)
                declared |= inputs
                for top in layer.block.texts("top"):
                    if top not in inputs:
                        self._absent[top] = _LABEL
        for name in self._shapes:
            if name and name not in declared:
                raise ModelError(
                    "model-input", f"there is no input {name!r}; there is {', '.join(declared)}"
                )
        if "" in self._shapes and len(declared) > 1:
            raise UsageError(
                "model-undescribed",
                f"one shape was given and there are {len(declared)} inputs; say by name which of "
                f"{', '.join(declared)} it is of",
            )
        for name, shape in declared.items():
            sides = self._shapes.get(name) or self._shapes.get("") or shape
            if sides is None and self._side is not None and len(declared) == 1:
                sides = self._square(self._side)
            if sides is None:
                raise UsageError(
                    "model-undescribed",
                    f"the description does not say the shape of input {name!r}; say it with "
                    "--side, or --input_shape of `thorax mo`",
                )
            closed = ov.PartialShape(list(sides))
            if min(sides, default=1) < -1 or _values(closed) > MOST_INPUT_VALUES:
                raise ModelError("model-input", f"input {name!r} cannot be of shape {list(sides)}")
            self._inputs[name] = ops.parameter(closed, np.float32)
            self._inputs[name].set_friendly_name(name)
            self._blobs[name] = self._inputs[name].output(0)

    def _square(self, side: int) -> Shape | None:
        for layer in self._layers:
            if layer.key == "CONVOLUTION":
                kernel = layer.blobs[0].shape if layer.blobs else ()
                if len(kernel) != 4:
                    return None
                groups = layer.block.block("convolution_param").integer("group", 1)
                return 1, kernel[1] * groups, side, side
        return None

    def _add(self, layer: CaffeLayer) -> None:
        bottoms, tops = layer.block.texts("bottom"), layer.block.texts("top")
        if bottoms and all(self._absent.get(name) == _LABEL for name in bottoms):
            self._absent |= dict.fromkeys(tops, _LABEL)
            return
        if layer.key in _LEFT_OUT:
            self._absent |= dict.fromkeys(tops, f"layer {layer.name!r} answers only to labels")
            if layer.key == "SILENCE":
                self._take(bottoms)
            return
        key = _PROBABILITY.get(layer.key, layer.key)
        if key != layer.key:
            bottoms, tops = bottoms[:1], tops[:1]
        build = find_build(layer, key)
        least, most = BOTTOMS.get(key, (1, 1))
        if not least <= len(bottoms) <= most:
            raise layer.refuse(f"takes {len(bottoms)} blobs; {least} to {most} can be converted")
        made = build(layer, [self._blob(layer, name) for name in bottoms])
        made = named(made, layer.name) if isinstance(made, ov.Node) else made
        values = [made] if isinstance(made, ov.Output) else made
        layer.check_all_read()
        self._take(bottoms)
        for top, value in zip(tops, values, strict=False):
            if (total := _values(value.get_partial_shape())) > _MOST_VALUES:
                raise layer.refuse(
                    f"makes a blob of {total} values; {_MOST_VALUES} is Caffe's most"
                )
            self._blobs[top] = value
            self._absent.pop(top, None)
            self._open[top] = None
        for top in tops[len(values) :]:
            self._absent[top] = f"layer {layer.name!r} makes it in training alone, or as positions"

    def _blob(self, layer: CaffeLayer, name: str) -> ov.Output:
        if name in self._absent:
            raise layer.refuse(f"takes blob {name!r}, which cannot be had: {self._absent[name]}")
        if name not in self._blobs:
            raise layer.refuse(f"takes blob {name!r}, which no layer before it makes")
        return self._blobs[name]

    def _take(self, names: list[str]) -> None:
        for name in names:
            self._open.pop(name, None)

    def _finish(self) -> ov.Model:
        for name, value in self._blobs.items():
            value.add_names({name})
        inputs = [node for node in self._inputs.values() if node.output(0).get_target_inputs()]
        results = [ops.result(self._blobs[name]) for name in self._open]
        if not inputs or not results:
            raise ModelError("model-unreadable", "no layer leads from an input to an output")
        return ov.Model(results, inputs, self._net.text("name", "network"))


def _values(shape: ov.PartialShape) -> int:
    return math.prod(axis.get_length() for axis in shape if axis.is_static)


def _declared(net: Block) -> Iterator[tuple[str, Shape]]:
    """Yield the inputs that stand before the layers: `input` with its shape beside it."""
    names, sides = net.texts("input"), net.integers("input_dim")
    shapes = [shape.integers("dim") for shape in net.blocks("input_shape")]
    shapes += [sides[at : at + 4] for at in range(0, len(sides), 4)]
    for index, name in enumerate(names):
        if index >= len(shapes):
            raise ProtoError(net.line, f"input {name!r} has neither input_shape nor input_dim")
        yield name, tuple(shapes[index])


def _deployed(net: Block) -> Iterator[tuple[Block, str]]:
    """Yield each layer of the network that is deployed, and its name (net.cpp: `FilterNet`)."""
    state = net.block("state")
    stages = _STAGES | set(state.texts("stage"))
    level = state.integer("level", 0)

    def meets(rule: Block) -> bool:
        return (
            rule.text("phase", "TEST") in ("TEST", "1")
            and rule.integer("min_level", level) <= level <= rule.integer("max_level", level)
            and stages.issuperset(rule.texts("stage"))
            and stages.isdisjoint(rule.texts("not_stage"))
        )

    for block in net.blocks("layer") + net.blocks("layers"):
        if "layer" in block:
            raise ProtoError(
                block.line,
                "a layer in a layer, as Caffe wrote until 2013; bring both files up to date with "
                "its upgrade_net_proto_text and upgrade_net_proto_binary",
            )
        include, exclude = block.blocks("include"), block.blocks("exclude")
        if any(map(meets, include)) if include else not any(map(meets, exclude)):
            yield block, block.text("name")
