"""A layer of a Caffe network: its description and its learned values."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import openvino as ov

from thorax.errors import ModelError
from thorax.importers.layers import Array
from thorax.importers.prototxt import Block
from thorax.importers.wire import fields

_LEGACY_SHAPE: Final = (1, 2, 3, 4)
_DATA, _SHAPE, _DOUBLES = 5, 7, 8
"""Numbers of the fields of a BlobProto (caffe.proto)."""

_OF_TRAINING: Final = {
    "engine", "weight_filler", "bias_filler", "filler", "force_nd_im2col", "scale_filler",
    "moving_average_fraction", "axis_filler",
}  # fmt: skip
"""Settings of a layer that leave its answer as it is."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Values that a layer learned, still as bytes of the file, little-endian float32 or float64.

    Its shape is as the file says it, which may be a lie.
    """

    shape: tuple[int, ...]
    chunks: tuple[memoryview, ...]
    dtype: str

    def values(self) -> Array:
        """Return float32 [n], read from the file's own bytes where they stand in one piece."""
        data = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        usable = len(data) // np.dtype(self.dtype).itemsize
        return np.frombuffer(data, self.dtype, usable).astype(np.float32, copy=False)


def read_blob(message: memoryview) -> Blob:
    """Return the values of a BlobProto: shape, or num, channels, height and width.

    Raises:
        WireError: what is none.
    """
    shape: list[int] = []
    legacy: dict[int, int] = {}
    singles: list[memoryview] = []
    doubles: list[memoryview] = []
    for part in fields(message):
        if part.number == _SHAPE:
            shape = [dim for inner in fields(part.data()) for dim in inner.integers()]
        elif part.number in _LEGACY_SHAPE:
            legacy[part.number] = part.integer()
        elif part.number == _DATA:
            singles.append(part.data())
        elif part.number == _DOUBLES:
            doubles.append(part.data())
    if legacy and not shape:
        shape = [legacy.get(number, 1) for number in _LEGACY_SHAPE]
    return Blob(tuple(shape), tuple(singles or doubles), "<f4" if singles or not doubles else "<f8")


@dataclass(frozen=True, slots=True)
class CaffeLayer:
    """A layer as the .prototxt describes it, with the values it learned in the order of the file.

    What it does not allow is refused with a `ModelError` `model-layer`, but where else is said.
    Kept is what was read: `settings`, the blocks of its description, and `used`, indices of
    `blobs`.
    """

    name: str
    kind: str
    block: Block
    blobs: tuple[Blob, ...] = ()
    settings: dict[str, Block] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)

    @property
    def key(self) -> str:
        """The type in one spelling for `INNER_PRODUCT` and `InnerProduct`."""
        return self.kind.upper().replace("_", "")

    @property
    def title(self) -> str:
        """What to call the layer in an error."""
        return f"line {self.block.line}: layer {self.name!r} of type {self.kind}"

    def param(self, name: str) -> Block:
        """Return the settings of the layer that stand in the block `name`."""
        self.settings[name] = self.block.block(name)
        return self.settings[name]

    def refuse(self, why: str) -> ModelError:
        """Return the error of a layer that cannot be converted as it is described."""
        return ModelError("model-layer", f"{self.title} {why}")

    def positive(self, value: int, what: str) -> int:
        """Return a count that must be at least 1."""
        if value < 1:
            raise self.refuse(f"has {what} {value}; it takes 1 or more")
        return value

    def choice(self, param: Block, name: str, allowed: Sequence[str]) -> str:
        """Return an enumerated setting, the first where it is not said; a number counts from 0."""
        word = param.text(name, allowed[0])
        if word.isdigit() and int(word) < len(allowed):
            word = allowed[int(word)]
        if word not in allowed:
            raise self.refuse(f"has {name} {word}; {', '.join(allowed)} can be converted")
        return word

    def axis(self, value: int, rank: int, *, beyond: bool = False) -> int:
        """Return an axis counted from 0, of one that may count from the end."""
        axis = value + rank if value < 0 else value
        if not 0 <= axis < rank + beyond:
            raise self.refuse(f"has axis {value}, its input has {rank} axes")
        return axis

    def spatial(
        self, param: Block, name: str, pair: tuple[str, str], default: int, *, what: str = ""
    ) -> list[int]:
        """Return a setting of both spatial axes: one value, one per axis, or a named pair.

        Where `what` says in a word what it is, it must be above 0.
        """
        values = param.integers(name)
        if any(part in param for part in pair):
            fallback = values[-1] if values else default
            values = [param.integer(part, fallback) for part in pair]
        values = values * 2 if len(values) == 1 else values or [default, default]
        if len(values) != 2:
            raise self.refuse(f"has {len(values)} values of {name}; images have two axes")
        if min(values) < 0 or max(values) > 1 << 15:
            raise self.refuse(f"has {name} {values}; 0 to {1 << 15} can be converted")
        return [self.positive(value, what) for value in values] if what else values

    def learned(self, index: int, shape: Sequence[int]) -> Array:
        """Return the values of a blob, float32 of the shape that the description asks for.

        Raises:
            ModelError: `model-weights`, when the blob is absent or of another shape.
        """
        if index >= len(self.blobs):
            raise ModelError(
                "model-weights",
                f"{self.title} wants {index + 1} blobs of weights and the .caffemodel has "
                f"{len(self.blobs)} for it; are the two files of one network?",
            )
        self.used.add(index)
        blob = self.blobs[index]
        values = blob.values()
        if _squeezed(blob.shape) != _squeezed(shape) or len(values) != math.prod(shape):
            raise ModelError(
                "model-weights",
                f"{self.title} wants weights of {list(shape)} and the .caffemodel has "
                f"{len(values)} values as {list(blob.shape)}; are the two files of one network?",
            )
        return values.reshape(tuple(shape))

    def check_all_read(self) -> None:
        """Refuse a layer of which something was not understood.

        Raises:
            ModelError: `model-layer` for a setting, `model-weights` for a blob.
        """
        for name, param in self.settings.items():
            for setting in param.unread():
                if setting not in _OF_TRAINING:
                    raise self.refuse(
                        f"sets {name}.{setting}, which Caffe does not know; convert the network "
                        "to ONNX with the Caffe that it was made for"
                    )
        if len(self.used) < len(self.blobs):
            raise ModelError(
                "model-weights",
                f"{self.title} has {len(self.blobs)} blobs of weights in the .caffemodel and its "
                f"description uses {len(self.used)}; are the two files of one network?",
            )


Build = Callable[[CaffeLayer, list[ov.Output]], ov.Node | ov.Output | list[ov.Output]]
"""What makes the tops of a layer of its bottoms; a node is yet to be named after the layer."""


def inner_shape(
    layer: CaffeLayer, data: ov.Output, begin: int, end: int | None = None
) -> list[int]:
    """Return the sides of some axes of a blob.

    Raises:
        ModelError: `model-input`, when the file leaves one open.
    """
    rank = len(data.get_partial_shape())
    return [channels(layer, data, axis) for axis in range(begin, rank if end is None else end)]


def channels(layer: CaffeLayer, data: ov.Output, axis: int = 1) -> int:
    """Return how many values stand along an axis.

    Raises:
        ModelError: `model-input`, when the file leaves it open.
    """
    shape = data.get_partial_shape()
    if not axis < len(shape):
        raise layer.refuse(f"works on axis {axis}; its input is {shape}")
    if shape[axis].is_dynamic:
        raise ModelError(
            "model-input", f"{layer.title} takes {shape}; give the input a fixed shape"
        )
    return int(shape[axis].get_length())


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    """Return a shape as Caffe compares it, without the ones that old files put in front.

    A vector may have them behind as well.
    """
    large = [index for index, size in enumerate(shape) if size != 1]
    if len(large) <= 1:
        return tuple(shape[index] for index in large)
    return tuple(shape[large[0] :])
