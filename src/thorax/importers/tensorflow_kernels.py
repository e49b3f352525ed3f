"""The kernels of a TensorFlow graph and the layers that they belong to, read without TensorFlow."""

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thorax.importers.frontends_names import Kernel
from thorax.importers.wire import Field, WireError, fields

_LAYERS: Final = (
    "Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "MatMul", "BatchMatMulV2",
    "_FusedConv2D", "_FusedMatMul",
)  # fmt: skip
_HANDS_ON: Final = ("Identity", "ReadVariableOp", "Enter")
_TYPES: Final[dict[int, np.dtype[Any]]] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    19: np.dtype("<f2"),
}
"""Of types.proto; kernels of other types keep the frontend's names."""

_TABLE_MAGIC: Final = struct.pack("<Q", 0xDB4775248B80FB57)
_OBJECTS: Final = "_CHECKPOINTABLE_OBJECT_GRAPH"
_ENDINGS: Final = (
    "/.ATTRIBUTES/VARIABLE_VALUE", "/depthwise_kernel", "/pointwise_kernel", "/kernel", "/weights",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Node:
    """A node of a GraphDef; `shared` is the name of its variable, if it is one."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    value: memoryview | None
    shared: str


def graph_kernels(path: Path) -> Iterator[Kernel]:
    """Yield each constant that a convolution or matrix product of a frozen graph takes.

    Raises:
        WireError: the file is damaged.
    """
    nodes = _nodes(memoryview(path.read_bytes()))
    yield from _constants(nodes, _layers(nodes))


def saved_kernels(folder: Path) -> Iterator[Kernel]:
    """Yield the kernels of a SavedModel: its constants, and variables of two axes or more.

    A variable is called after the layer that reads it, or, where that stands in a function, as
    Keras and TensorFlow call the variable itself: `conv1/kernel` is the kernel of `conv1`.

    Raises:
        WireError: a file is damaged.
    """
    whole = memoryview((folder / "saved_model.pb").read_bytes())
    # SavedModel.meta_graphs = 2, MetaGraphDef.graph_def = 2, GraphDef.library = 2,
    # FunctionDefLibrary.function = 1, FunctionDef.node_def = 3.
    graph = _only(_only(whole, 2), 2)
    nodes = _nodes(graph)
    users = _layers(nodes)
    yield from _constants(nodes, users)
    for library in _all(graph, 2):
        for function in _all(library, 1):
            inner = _nodes(function, 3)
            yield from _constants(inner, _layers(inner))
    readers = {
        node.shared or node.name: users[node.name]
        for node in nodes
        if node.kind in ("VarHandleOp", "VariableV2") and node.name in users
    }
    stem = folder / "variables" / "variables"
    if stem.with_suffix(".index").is_file():
        for key, name, values in _variables(stem):
            if values.ndim > 1:
                yield readers.get(key, readers.get(name, _plain(name))), values


def _nodes(graph: memoryview, number: int = 1) -> list[_Node]:
    return [_node(message) for message in _all(graph, number)]


def _node(message: memoryview) -> _Node:
    # NodeDef: name = 1, op = 2, input = 3, attr = 5 with key = 1 and value = 2.
    texts: dict[int, list[str]] = {1: [""], 2: [""], 3: []}
    value, shared = None, ""
    for one in fields(message):
        if one.number in texts:
            texts[one.number].append(one.text())
        elif one.number == 5:
            key, attribute = _only(one.data(), 1), _only(one.data(), 2)
            if bytes(key) == b"value":
                value = _only(attribute, 8)
            elif bytes(key) == b"shared_name":
                shared = bytes(_only(attribute, 2)).decode("utf-8", "replace")
    inputs = tuple(text.split(":")[0] for text in texts[3] if not text.startswith("^"))
    return _Node(texts[1][-1], texts[2][-1], inputs, value, shared)


def _layers(nodes: list[_Node]) -> dict[str, str]:
    """Return by node what layer takes its answer for a kernel, read or handed on between."""
    by_name = {node.name: node for node in nodes}
    users: dict[str, str] = {}
    for node in nodes:
        if node.kind not in _LAYERS:
            continue
        for name in node.inputs:
            seen = 0
            while name in by_name and by_name[name].kind in _HANDS_ON and seen < len(nodes):
                if not by_name[name].inputs:
                    break
                name, seen = by_name[name].inputs[0], seen + 1
            users.setdefault(name, node.name)
    return users


def _constants(nodes: list[_Node], users: Mapping[str, str]) -> Iterator[Kernel]:
    for node in nodes:
        if node.kind == "Const" and node.name in users and node.value is not None:
            values = _tensor(node.value)
            if values is not None and values.ndim > 1:
                yield users[node.name], values


def _tensor(message: memoryview) -> npt.NDArray[Any] | None:
    # TensorProto: dtype = 1, tensor_shape = 2, tensor_content = 4, float_val = 5.
    parts: dict[int, list[Field]] = {}
    for one in fields(message):
        parts.setdefault(one.number, []).append(one)
    kind = _TYPES.get(parts[1][-1].integer()) if 1 in parts else None
    if kind is None:
        return None
    shape = _shape(parts[2][-1].data()) if 2 in parts else ()
    raw = b"".join(bytes(one.data()) for one in parts.get(4, parts.get(5, [])))
    size = math.prod(shape)
    if len(raw) == size * kind.itemsize:
        return np.frombuffer(raw, kind).reshape(shape)
    # Fewer values than the shape has: the last of them fills the rest; it is no trained kernel.
    return None


def _shape(message: memoryview) -> tuple[int, ...]:
    # TensorShapeProto.dim = 2, Dim.size = 1.
    sizes = []
    for dim in _all(message, 2):
        numbers = [one.integer() for one in fields(dim) if one.number == 1]
        sizes.append(numbers[-1] if numbers else 0)
    return tuple(sizes)


def _variables(stem: Path) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
    """Yield key, full name and values of each variable of a checkpoint (tensor_bundle.proto)."""
    entries = dict(_table(memoryview(stem.with_suffix(".index").read_bytes())))
    shards = max(_numbers(entries.get(b"", memoryview(b""))).get(1, 1), 1)

    def stored(entry: memoryview) -> bytes:
        numbers = _numbers(entry)
        file = stem.parent / f"{stem.name}.data-{numbers.get(3, 0):05d}-of-{shards:05d}"
        with file.open("rb") as opened:
            opened.seek(numbers.get(4, 0))
            return opened.read(numbers.get(5, 0))

    full = _full_names(stored(entries[_OBJECTS.encode()])) if _OBJECTS.encode() in entries else {}
    for raw, entry in entries.items():
        key = raw.decode("utf-8", "replace")
        kind = _TYPES.get(_numbers(entry).get(1, 0))
        if not raw or kind is None:
            continue
        values = np.frombuffer(stored(entry), kind)
        shape = _shape(_only(entry, 2))
        if values.size == math.prod(shape):
            yield key, full.get(key, key), values.reshape(shape)


def _full_names(stored: bytes) -> dict[str, str]:
    """Return by key what Keras calls a variable, of the description of a checkpoint's objects."""
    # One string: its length, a checksum of four bytes, then TrackableObjectGraph: nodes = 1,
    # attributes = 2 with full_name = 2 and checkpoint_key = 3.
    begin = next((at for at, byte in enumerate(stored) if byte < 0x80), 0) + 1 + 4
    names = {}
    for node in _all(memoryview(stored)[begin:], 1):
        for attribute in _all(node, 2):
            full, key = (bytes(_only(attribute, number)) for number in (2, 3))
            names[key.decode("utf-8", "replace")] = full.decode("utf-8", "replace")
    return names


def _plain(name: str) -> str:
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name


def _table(table: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the rows of a LevelDB table (leveldb, doc/table_format.md), which is not compressed."""
    if len(table) < 48 or bytes(table[-8:]) != _TABLE_MAGIC:
        raise WireError("the index of the variables has no end")
    # The handle of the index stands after that of the metaindex; both are offset and size.
    places = list(Field(0, table[-48:-8]).integers())
    for _, handle in _rows(table, places[2], places[3]):
        offset, size = list(Field(0, handle).integers())[:2]
        yield from _rows(table, offset, size)


def _rows(table: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
    block = table[offset : offset + size]
    if len(block) < 4 or table[offset + size] != 0:
        raise WireError("a block of the index of the variables is cut off or compressed")
    restarts = struct.unpack("<I", block[-4:])[0]
    end, at, key = len(block) - 4 - 4 * restarts, 0, b""
    while at < end:
        numbers = []
        for _ in range(3):
            start = at
            while block[at] >= 0x80:
                at += 1
            at += 1
            numbers += list(Field(0, block[start:at]).integers())
        shared, rest, length = numbers
        key = key[:shared] + bytes(block[at : at + rest])
        yield key, block[at + rest : at + rest + length]
        at += rest + length


def _all(message: memoryview, number: int) -> Iterator[memoryview]:
    return (one.data() for one in fields(message) if one.number == number)


def _only(message: memoryview, number: int) -> memoryview:
    """Return the last of a field, or no bytes."""
    return [memoryview(b""), *_all(message, number)][-1]


def _numbers(message: memoryview) -> dict[int, int]:
    return {one.number: one.value for one in fields(message) if isinstance(one.value, int)}
