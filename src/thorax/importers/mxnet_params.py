"""Reader of MXNet's `.params`: arrays by name (MXNet 1.x, src/ndarray/ndarray.cc)."""

import math
import struct
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax.errors import ModelError

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
_RANK_LIMIT: Final = 32
_PREFIXES: Final = ("arg:", "aux:")


class _Bytes:
    """Takes values off a file, in order, and never more than it holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = memoryview(path.read_bytes())
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def damaged(self, why: str) -> ModelError:
        return ModelError(
            "model-unreadable",
            f"{self.path.name}: {why} at byte {self._at}; copy the file again, or save it again "
            "with MXNet's `export` or `save_checkpoint`",
        )

    def take(self, size: int) -> memoryview:
        if not 0 <= size <= self.left:
            raise self.damaged(f"{size} bytes are said to follow, {self.left} do,")
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
    if data.left < 24 or data.numbers("Q", 2)[0] != _LIST:
        raise ModelError(
            "model-unreadable", f"{path.name} does not begin as MXNet's .params files do"
        )
    arrays = [_array(data) for _ in range(_count(data))]
    names = []
    for _ in range(_count(data)):
        name = bytes(data.take(data.number("Q"))).decode(errors="replace")
        names.append(next((name[len(p) :] for p in _PREFIXES if name.startswith(p)), name))
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
    if count > data.left // 4:
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
        shape = _shape(data, data.number("i"), "q")
        empty = shape is None if magic == _V3 else not shape
    elif magic == _V1:
        shape = _shape(data, data.number("i"), "q")
        empty = not shape
    else:
        shape = _shape(data, magic, "I")
        empty = not shape
    if shape is None or empty:
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
    if not 0 <= rank <= _RANK_LIMIT:
        raise data.damaged(f"an array of {rank} axes stands")
    shape = data.numbers(code, rank)
    if any(size < 0 for size in shape):
        raise data.damaged(f"an array of shape {shape} stands")
    return shape
