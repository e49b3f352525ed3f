"""MXNet's files: `-symbol.json`, the layers and their attributes, and `.params`, the arrays.

`.params` is read as MXNet 1.x writes it (src/ndarray/ndarray.cc).
"""

import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov
from pydantic import BaseModel, Field, ValidationError

from thorax.errors import ModelError
from thorax.files.documents import read_limited
from thorax.importers.layers import Array
from thorax.importers.options import damaged
from thorax.results.schema import first_problem

Parameters = dict[str, npt.NDArray[np.generic]]

_LIST: Final = 0x112
"""kMXAPINDArrayListMagic: begins the file."""
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
"""Begin an array: wide sizes; storage types too; shapes as NumPy's too. Older ones begin bare."""
_BFLOAT16: Final = 12
_TYPES: Final = {
    0: "<f4", 1: "<f8", 2: "<f2", 3: "<u1", 4: "<i4", 5: "<i1", 6: "<i8", 7: "|b1",
    _BFLOAT16: "<u2",
}  # fmt: skip
"""mshadow's type flags."""
VARIABLE: Final = "null"
"""What MXNet calls the operator of an input or a parameter."""


class Node(BaseModel):
    """A layer or variable; inputs are the index of a node before it, and which of its outputs."""

    op: str
    name: str
    attrs: dict[str, Any] = Field(default_factory=dict)
    attr: dict[str, Any] = Field(default_factory=dict)
    param: dict[str, Any] = Field(default_factory=dict)
    inputs: list[list[int]] = Field(default_factory=list)
    subgraphs: list[Any] = Field(default_factory=list)

    def words(self) -> dict[str, str]:
        """Return its attributes; MXNet before 1.0 parted them in two."""
        return {
            key: str(value) for part in (self.attr, self.param, self.attrs)
            for key, value in part.items()
        }  # fmt: skip


class Symbol(BaseModel):
    """A network: nodes, each after those it takes, and which of their outputs are the network's."""

    nodes: list[Node]
    heads: list[list[int]]


def read_symbol(path: Path) -> Symbol:
    """Read the layers of a network.

    Raises:
        ModelError: `model-unreadable`.
    """
    try:
        symbol = Symbol.model_validate_json(read_limited(path))
    except OSError as error:
        raise damaged(path, f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise damaged(path, f"is no MXNet symbol: {first_problem(error)}") from error
    if not symbol.heads:
        raise damaged(path, "holds no network")
    links = [(index, link) for index, node in enumerate(symbol.nodes) for link in node.inputs]
    links += [(len(symbol.nodes), link) for link in symbol.heads]
    for index, link in links:
        if len(link) < 2 or not 0 <= link[0] < index or link[1] < 0:
            raise ModelError(
                "model-unreadable", f"{path.name}: node {index} takes {link}, which is not there"
            )
    return symbol


@dataclass(frozen=True, slots=True)
class MxnetLayer:
    """A layer to build: its attributes in the types that MXNet reads them as, and what it takes.

    Of the inputs, in MXNet's order, `weights` are those that are parameters, None at the others'
    places.
    """

    name: str
    kind: str
    words: Mapping[str, str]
    inputs: tuple[ov.Output, ...] = ()
    weights: tuple[Array | None, ...] = ()

    def unsupported(self, why: str) -> ModelError:
        """Return the error of a layer that is known but not in this form."""
        return ModelError(
            "model-layer",
            f"layer {self.name} ({self.kind}) {why}; change the network, or convert it to ONNX",
        )

    def __contains__(self, key: str) -> bool:
        return self.words.get(key, "None") != "None"

    def word(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        """Return a word out of several."""
        value = self.words[key] if key in self else default
        if value not in allowed:
            raise self.unsupported(f"has {key} {value!r}; known are {', '.join(allowed)}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return a truth value."""
        if key not in self:
            return default
        word = self.words[key].strip().lower()
        if word not in ("true", "false", "1", "0"):
            raise self._wrong(key, "True or False")
        return word in ("true", "1")

    def number(self, key: str, default: float | None = None) -> float:
        """Return a real number, which must be there unless it has a default."""
        if key not in self and default is not None:
            return default
        try:
            value = float(self.words[key])
        except (KeyError, ValueError) as error:
            raise self._wrong(key, "a number") from error
        if not math.isfinite(value):
            raise self._wrong(key, "a finite number")
        return value

    def integer(self, key: str, default: int | None = None, *, least: int | None = None) -> int:
        """Return a whole number, which must be there unless it has a default."""
        if key not in self and default is not None:
            return default
        values = self.optional(key)
        if len(values) != 1 or values[0] is None or (least is not None and values[0] < least):
            range_from = "" if least is None else f" from {least} on"
            raise self._wrong(key, f"a whole number{range_from}")
        return values[0]

    def integers(
        self, key: str, default: tuple[int, ...] = (), *, least: int | None = None
    ) -> tuple[int, ...]:
        """Return whole numbers, `(3, 3)`, `[3, 3]` or `3`."""
        if key not in self:
            return default
        values = [value for value in self.optional(key) if value is not None]
        if len(values) != len(self.optional(key)) or (
            least is not None and min(values, default=least) < least
        ):
            range_from = "" if least is None else f" from {least} on"
            raise self._wrong(key, f"whole numbers{range_from}")
        return tuple(values) if values else default

    def optional(self, key: str) -> tuple[int | None, ...]:
        """Return whole numbers of which some may be None."""
        words = re.findall(r"[^\s,()\[\]]+", self.words.get(key, ""))
        values: list[int | None] = []
        for word in words:
            # Python 2 wrote long numbers so: 3L.
            match = re.fullmatch(r"([+-]?\d{1,18})(?:L|\.0*)?", word)
            if match is None and word != "None":
                raise self._wrong(key, "whole numbers")
            values.append(None if match is None else int(match[1]))
        return tuple(values)

    def _wrong(self, key: str, kind: str) -> ModelError:
        return ModelError(
            "model-unreadable",
            f"layer {self.name} ({self.kind}) has {key} {self.words.get(key)!r}; "
            f"that must be {kind}",
        )

    def data(self, slot: int = 0) -> ov.Output:
        """Return a value it takes."""
        if slot >= len(self.inputs):
            raise self.damaged(f"takes {len(self.inputs)} values and needs {slot + 1}")
        return self.inputs[slot]

    def weight(self, slot: int, shape: tuple[int, ...]) -> Array:
        """Return a parameter it takes, in a shape of which -1 is any size."""
        self.data(slot)
        weight = self.weights[slot]
        if weight is None:
            raise self.unsupported(f"computes its parameter {slot} instead of having it")
        sizes = zip(shape, weight.shape, strict=False)
        if weight.ndim != len(shape) or any(size not in (-1, actual) for size, actual in sizes):
            raise ModelError(
                "model-weights",
                f"layer {self.name} has a parameter {slot} of shape {weight.shape}, not {shape}; "
                "the .params file is of another network",
            )
        return np.asarray(weight, np.float32)

    def shape(self, slot: int = 0) -> tuple[int, ...]:
        """Return the shape of a value it takes, where that is known."""
        shape = self.data(slot).get_partial_shape()
        if shape.is_dynamic:
            raise self.unshaped(shape)
        return tuple(int(axis.get_length()) for axis in shape)

    def rank(self, slot: int = 0) -> int:
        """Return how many axes a value has."""
        return len(self.data(slot).get_partial_shape())

    def axis(self, value: int, rank: int | None = None) -> int:
        """Return an axis counted from the front."""
        count = self.rank() if rank is None else rank
        if not -count <= value < count:
            raise self.damaged(f"names axis {value} of {count}")
        return value % count

    def unshaped(self, shape: ov.PartialShape) -> ModelError:
        """Return the error of a layer that is to take what has no known shape."""
        return ModelError(
            "model-input",
            f"layer {self.name} needs the shape of what it takes, {shape}; give the input a fixed "
            "shape",
        )

    def damaged(self, why: str) -> ModelError:
        """Return the error of a layer that no MXNet would run."""
        return ModelError("model-unreadable", f"layer {self.name} {why}")


class _Bytes:
    """Takes values off a file, in order, and never more than it holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = memoryview(path.read_bytes())
        self._at = 0

    @property
    def remaining(self) -> int:
        return len(self._data) - self._at

    def damaged(self, why: str) -> ModelError:
        return ModelError(
            "model-unreadable",
            f"{self.path.name}: {why} at byte {self._at}; copy the file again, or save it again "
            "with MXNet's `export` or `save_checkpoint`",
        )

    def take(self, size: int) -> memoryview:
        if not 0 <= size <= self.remaining:
            raise self.damaged(f"{size} bytes are said to follow, {self.remaining} do,")
        self._at += size
        return self._data[self._at - size : self._at]

    def numbers(self, code: str, count: int = 1) -> tuple[int, ...]:
        return struct.unpack(f"<{count}{code}", self.take(struct.calcsize(code) * count))

    def number(self, code: str) -> int:
        return self.numbers(code)[0]


def read_parameters(path: Path) -> Parameters:
    """Return the arrays of a file by name, those of real numbers as float32.

    What says how a network uses an array, `arg:` or `aux:`, is taken off its name. No more memory
    is taken than twice the file's size.

    Raises:
        ModelError: `model-unreadable` when it is cut short, damaged or no such file,
            `model-weights` when it holds sparse arrays, or arrays without names.
    """
    data = _Bytes(path)
    if data.remaining < 24 or data.numbers("Q", 2)[0] != _LIST:
        raise damaged(path, "does not begin as MXNet's .params files do")
    arrays = [_array(data) for _ in range(_count(data))]
    names = []
    for _ in range(_count(data)):
        name = bytes(data.take(data.number("Q"))).decode(errors="replace")
        names.append(next((name[len(p) :] for p in ("arg:", "aux:") if name.startswith(p)), name))
    if arrays and not names:
        raise ModelError(
            "model-weights",
            f"{path.name} holds {len(arrays)} arrays without names; save it with MXNet's "
            "`export` or `save_checkpoint`",
        )
    if len(names) != len(arrays):
        raise data.damaged(f"{len(names)} names for {len(arrays)} arrays")
    return {name: array for name, array in zip(names, arrays, strict=True) if array is not None}


def _count(data: _Bytes) -> int:
    count = data.number("Q")
    # Each thing counted takes four bytes at the least, so a count that lies cannot cost much.
    if count > data.remaining // 4:
        raise data.damaged(f"{count} items are said to follow")
    return count


def _array(data: _Bytes) -> npt.NDArray[np.generic] | None:
    magic = data.number("I")
    if magic in (_V2, _V3):
        storage = data.number("i")
        # -1 is written for an array of nothing.
        if storage not in (-1, 0):
            raise ModelError(
                "model-weights",
                f"{data.path.name} holds a sparse array; make it dense with MXNet's "
                "`tostype('default')` and save again",
            )
    wide = magic in (_V1, _V2, _V3)
    shape = _shape(data, data.number("i"), "q") if wide else _shape(data, magic, "I")
    if shape is None or (not shape and magic != _V3):
        return None
    data.take(8)  # The device that it lay on.
    flag = data.number("i")
    if flag not in _TYPES:
        raise data.damaged(f"an array of unknown type {flag} stands")
    dtype = np.dtype(_TYPES[flag])
    raw = np.frombuffer(data.take(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
    if flag == _BFLOAT16:
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32) if dtype.kind == "f" else raw


def _shape(data: _Bytes, rank: int, code: str) -> tuple[int, ...] | None:
    if rank == -1:
        return None
    if not 0 <= rank <= 32:
        raise data.damaged(f"an array of {rank} axes stands")
    shape = data.numbers(code, rank)
    if any(size < 0 for size in shape):
        raise data.damaged(f"an array of shape {shape} stands")
    return shape


Build = Callable[[MxnetLayer], "ov.Node | ov.Output | Sequence[ov.Output]"]
"""A node is yet to be named after its layer; values are named."""
