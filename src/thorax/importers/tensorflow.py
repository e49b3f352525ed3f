"""TensorFlow graphs, read without TensorFlow: names of layers by their kernels, and cuts.

A frontend turns kernels around and calls their layers by numbers, and after conversion the names of
inner layers are lost: so kernels are found again by their values, and a graph is cut before it is
converted.
"""

import difflib
import hashlib
import math
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino.frontend import InputModel

from thorax.errors import UsageError
from thorax.importers.layers import CONVOLUTIONS
from thorax.importers.options import ImportOptions
from thorax.importers.wire import Field, WireError, fields

_NUMBERED: Final = re.compile(r"(?:MatMul|Transpose|Multiply|Add)_\d+")
_LAYERS: Final = (
    "Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "MatMul", "BatchMatMulV2",
    "_FusedConv2D", "_FusedMatMul",
)  # fmt: skip
_PHASE: Final = re.compile(r"train|phase|learning", re.IGNORECASE)
"""In the name of an input that says whether a network is trained."""

_HANDS_ON: Final = ("Identity", "ReadVariableOp", "Enter")
_TYPES: Final[dict[int, np.dtype[Any]]] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    19: np.dtype("<f2"),
}
"""Of types.proto; kernels of other types keep the frontend's names."""

_TABLE_MAGIC: Final = struct.pack("<Q", 0xDB4775248B80FB57)
_OBJECTS: Final = b"_CHECKPOINTABLE_OBJECT_GRAPH"
_LITE_SUFFIXES: Final = ("/ReadVariableOp", "/resource")
_VARIABLE_SUFFIXES: Final = (
    "/.ATTRIBUTES/VARIABLE_VALUE", "/depthwise_kernel", "/pointwise_kernel", "/kernel", "/weights",
)  # fmt: skip

Kernel = tuple[str, npt.NDArray[Any]]
"""What a layer is called, and its kernel with the axes in any order."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A node of a GraphDef: its operation, and the tensors it takes as `node:output`."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    value: memoryview | None
    """TensorProto of a constant."""
    shared: str
    """Name of the variable that the node is, "" of others."""


def cut_graph(model: InputModel, path: Path, options: ImportOptions) -> dict[str, str]:
    """Let a frozen graph begin and end at the layers, or tensors `layer:0`, of the options.

    The model, as the frontend loaded it, is changed in place. Returned are the names of the new
    inputs by the name of their tensor.

    Raises:
        UsageError: `mo-name` or `mo-port`.
    """
    if not options.begins and not options.ends:
        return {}
    nodes = {node.name: node for node in _nodes(memoryview(path.read_bytes()))}
    if options.ends:
        ends = [_output_tensor(name, nodes) for name in options.ends]
        model.override_all_outputs([model.get_place_by_tensor_name(tensor) for tensor in ends])
    begins = {}
    for name in options.begins:
        tensor, input_name = _input_tensor(name, nodes)
        if nodes[_node_of(tensor)].kind != "Placeholder":
            begins[tensor] = input_name
    if begins:
        uncut = [port for port in model.get_inputs() if port.get_names()[0] not in begins]
        model.override_all_inputs([*map(model.get_place_by_tensor_name, begins), *uncut])
    return begins


def freeze_phase(model: InputModel, path: Path, options: ImportOptions) -> None:
    """Freeze what says whether a network is trained to False, in the model as loaded.

    Keras and TensorFlow 1 left such a truth value as an input (`keras_learning_phase`,
    `is_training`), and outputs of a frozen graph that depend on nothing else, which go.
    """
    for place in model.get_inputs():
        name = next(iter(place.get_names()), "")
        if model.get_element_type(place) == ov.Type.boolean and _PHASE.search(name):
            model.set_partial_shape(place, ov.PartialShape([]))
            model.set_tensor_value(place, np.array(False))
    outputs = model.get_outputs()
    if len(outputs) < 2 or not path.is_file() or options.ends:
        return
    nodes = {node.name: node for node in _nodes(memoryview(path.read_bytes()))}
    fed = [
        place
        for place in outputs
        if any(_is_fed(_node_of(name), nodes) for name in place.get_names())
    ]
    if 0 < len(fed) < len(outputs):
        model.override_all_outputs(fed)


def _is_fed(name: str, nodes: Mapping[str, _Node]) -> bool:
    """Return whether a node depends on an input that says more than the phase."""
    waiting, seen = [name], set[str]()
    while waiting:
        node = nodes.get(waiting.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.kind in ("Placeholder", "PlaceholderWithDefault") and not _PHASE.search(node.name):
            return True
        waiting += map(_node_of, node.inputs)
    return False


def name_inputs(model: ov.Model, begins: Mapping[str, str]) -> None:
    """Give the inputs that a cut made their names; `begins` has them by tensor."""
    for port in model.inputs:
        for tensor, name in begins.items():
            if tensor in port.get_names():
                port.get_node().set_friendly_name(name)


def name_kernels(model: ov.Model, kernels: Iterable[Kernel]) -> None:
    """Name each convolution, and each matrix product that has a number, after its kernel.

    A kernel is known by its values in order of size, which turning it from [H,W,I,O] to [O,I,H,W]
    leaves as they are, as long as nothing is folded into it. A kernel that is there twice names
    nobody.
    """
    names: dict[bytes, str] = {}
    seen: Counter[bytes] = Counter()
    for name, values in kernels:
        key = _fingerprint(values)
        seen[key] += 1
        names[key] = name
    taken = {node.get_friendly_name() for node in model.get_ordered_ops()}
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        numbered = kind == "MatMul" and _NUMBERED.fullmatch(node.get_friendly_name())
        if kind not in CONVOLUTIONS and not numbered:
            continue
        weight = node.input_value(1).get_node()
        while weight.get_input_size():
            weight = weight.input_value(0).get_node()
        if weight.get_type_name() != "Constant":
            continue
        key = _fingerprint(np.asarray(weight.data))
        if seen[key] == 1 and names[key] not in taken:
            node.set_friendly_name(names[key])
            taken.add(names[key])


def _fingerprint(values: npt.NDArray[Any]) -> bytes:
    ordered = np.sort(values, axis=None)
    return hashlib.sha256(ordered.tobytes() + str(ordered.dtype).encode()).digest()


def lite_kernels(decoded: ov.Model) -> Iterator[Kernel]:
    """Yield the kernels of a TensorFlow Lite file, as the frontend decoded it."""
    for node in decoded.get_ordered_ops():
        if node.get_type_name() == "Constant" and len(node.get_output_shape(0)) >= 4:
            # TensorFlow Lite joins the names of what it fused; the layer's own stands first.
            name = node.get_friendly_name().split(";")[0]
            yield _without(_LITE_SUFFIXES, name), np.asarray(node.data)


def graph_kernels(path: Path) -> Iterator[Kernel]:
    """Yield each constant that a convolution or matrix product of a frozen graph takes.

    Raises:
        WireError: the file is damaged.
    """
    yield from _constants(_nodes(memoryview(path.read_bytes())))


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
    graph = _last(_last(whole, 2), 2)
    nodes = _nodes(graph)
    yield from _constants(nodes)
    for library in _messages(graph, 2):
        for function in _messages(library, 1):
            yield from _constants(_nodes(function, 3))
    users = _users(nodes)
    readers = {
        node.shared or node.name: users[node.name]
        for node in nodes
        if node.kind in ("VarHandleOp", "VariableV2") and node.name in users
    }
    stem = folder / "variables" / "variables"
    if stem.with_suffix(".index").is_file():
        for key, name, values in _variables(stem):
            if values.ndim > 1:
                plain = _without(_VARIABLE_SUFFIXES, name)
                yield readers.get(key, readers.get(name, plain)), values


def _without(suffixes: Iterable[str], name: str) -> str:
    for suffix in suffixes:
        name = name.removesuffix(suffix)
    return name


def _nodes(graph: memoryview, number: int = 1) -> list[_Node]:
    return list(map(_node, _messages(graph, number)))


def _node(message: memoryview) -> _Node:
    # NodeDef: name = 1, op = 2, input = 3, attr = 5 with key = 1 and value = 2.
    texts: dict[int, list[str]] = {1: [""], 2: [""], 3: []}
    value, shared = None, ""
    for part in fields(message):
        if part.number in texts:
            texts[part.number].append(part.text())
        elif part.number == 5:
            key, attribute = _last(part.data(), 1), _last(part.data(), 2)
            if bytes(key) == b"value":
                value = _last(attribute, 8)
            elif bytes(key) == b"shared_name":
                shared = bytes(_last(attribute, 2)).decode("utf-8", "replace")
    # ^ marks what must only have run before.
    tensors = (text for text in texts[3] if not text.startswith("^"))
    inputs = tuple(text if re.search(r":\d+$", text) else f"{text}:0" for text in tensors)
    return _Node(texts[1][-1], texts[2][-1], inputs, value, shared)


def _node_of(tensor: str) -> str:
    # Within a function a tensor is `node:output:index`.
    return tensor.split(":")[0]


def _output_tensor(name: str, nodes: Mapping[str, _Node]) -> str:
    """Return the tensor that `layer`, `layer:0` or `0:layer` names as an output."""
    if name in nodes:
        return f"{name}:0"
    match = re.fullmatch(r"(.+):\d+", name)
    if match is not None and match[1] in nodes:
        return name
    match = re.fullmatch(r"(\d+):(.+)", name)
    if match is not None and match[2] in nodes:
        return f"{match[2]}:{match[1]}"
    raise unknown_layer(name, list(nodes))


def unknown_layer(name: str, names: Sequence[str]) -> UsageError:
    """Return the error of a name that no layer or tensor has, with the nearest of those there."""
    bare = re.sub(r"^\d+:|:\d+$", "", name)
    near = difflib.get_close_matches(bare, names, n=3, cutoff=0.4) or names[-3:]
    return UsageError(
        "mo-name", f"the model has no layer or tensor {name!r}; near it are {', '.join(near)}"
    )


def _input_tensor(name: str, nodes: Mapping[str, _Node]) -> tuple[str, str]:
    """Return the tensor that a new input takes the place of, and the name of that input."""
    match = re.fullmatch(r"(\d+):(.+)", name)
    layer, port = (match[2], int(match[1])) if match and name not in nodes else (name, None)
    if layer in nodes and nodes[layer].kind != "Placeholder":
        tensors = [
            tensor
            for index, tensor in enumerate(nodes[layer].inputs)
            if (nodes[_node_of(tensor)].kind != "Const" if port is None else index == port)
        ]
        if not tensors:
            raise UsageError("mo-port", f"{name!r} takes no values that could be fed")
        return tensors[0], f"{layer}/placeholder_port_{port or 0}"
    tensor = _output_tensor(name, nodes)
    return tensor, "{}/placeholder_out_port_{}".format(*tensor.rsplit(":", 1))


def _users(nodes: list[_Node]) -> dict[str, str]:
    """Return by node the layer that takes its value for a kernel, read or handed on between."""
    by_name = {node.name: node for node in nodes}
    users: dict[str, str] = {}
    for node in nodes:
        if node.kind not in _LAYERS:
            continue
        for name in map(_node_of, node.inputs):
            steps = 0
            while name in by_name and by_name[name].kind in _HANDS_ON and steps < len(nodes):
                if not by_name[name].inputs:
                    break
                name, steps = _node_of(by_name[name].inputs[0]), steps + 1
            users.setdefault(name, node.name)
    return users


def _constants(nodes: list[_Node]) -> Iterator[Kernel]:
    users = _users(nodes)
    for node in nodes:
        if node.kind == "Const" and node.name in users and node.value is not None:
            values = _tensor(node.value)
            if values is not None and values.ndim > 1:
                yield users[node.name], values


def _tensor(message: memoryview) -> npt.NDArray[Any] | None:
    # TensorProto: dtype = 1, tensor_shape = 2, tensor_content = 4, float_val = 5.
    parts: dict[int, list[Field]] = {}
    for part in fields(message):
        parts.setdefault(part.number, []).append(part)
    kind = _TYPES.get(parts[1][-1].integer()) if 1 in parts else None
    if kind is None:
        return None
    shape = _shape(parts[2][-1].data()) if 2 in parts else ()
    raw = b"".join(bytes(part.data()) for part in parts.get(4, parts.get(5, [])))
    if len(raw) == math.prod(shape) * kind.itemsize:
        return np.frombuffer(raw, kind).reshape(shape)
    # Fewer values than the shape has: the last of them fills the rest; it is no trained kernel.
    return None


def _shape(message: memoryview) -> tuple[int, ...]:
    # TensorShapeProto.dim = 2, Dim.size = 1.
    return tuple(_numbers(dim).get(1, 0) for dim in _messages(message, 2))


def _variables(stem: Path) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
    """Yield key, full name and values of each variable of a checkpoint (tensor_bundle.proto)."""
    entries = dict(_table(memoryview(stem.with_suffix(".index").read_bytes())))
    shards = max(_numbers(entries.get(b"", memoryview(b""))).get(1, 1), 1)

    def stored(entry: memoryview) -> bytes:
        numbers = _numbers(entry)
        file = stem.parent / f"{stem.name}.data-{numbers.get(3, 0):05d}-of-{shards:05d}"
        with file.open("rb") as stream:
            stream.seek(numbers.get(4, 0))
            return stream.read(numbers.get(5, 0))

    names = _full_names(stored(entries[_OBJECTS])) if _OBJECTS in entries else {}
    for raw, entry in entries.items():
        key = raw.decode("utf-8", "replace")
        kind = _TYPES.get(_numbers(entry).get(1, 0))
        if not raw or kind is None:
            continue
        values = np.frombuffer(stored(entry), kind)
        shape = _shape(_last(entry, 2))
        if values.size == math.prod(shape):
            yield key, names.get(key, key), values.reshape(shape)


def _full_names(stored: bytes) -> dict[str, str]:
    """Return by key what Keras calls a variable, of the description of a checkpoint's objects."""
    # One string: its length, a checksum of four bytes, then TrackableObjectGraph: nodes = 1,
    # attributes = 2 with full_name = 2 and checkpoint_key = 3.
    begin = next((at for at, byte in enumerate(stored) if byte < 0x80), 0) + 1 + 4
    names = {}
    for node in _messages(memoryview(stored)[begin:], 1):
        for attribute in _messages(node, 2):
            full, key = (bytes(_last(attribute, number)) for number in (2, 3))
            names[key.decode("utf-8", "replace")] = full.decode("utf-8", "replace")
    return names


def _table(table: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the rows of a LevelDB table (leveldb, doc/table_format.md), which is not compressed."""
    if len(table) < 48 or bytes(table[-8:]) != _TABLE_MAGIC:
        raise WireError("the index of the variables has no end")
    # The handle of the index stands after that of the metaindex; both are offset and size.
    handles = list(Field(0, table[-48:-8]).integers())
    for _, handle in _rows(table, handles[2], handles[3]):
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


def _messages(message: memoryview, number: int) -> Iterator[memoryview]:
    return (part.data() for part in fields(message) if part.number == number)


def _last(message: memoryview, number: int) -> memoryview:
    return [memoryview(b""), *_messages(message, number)][-1]


def _numbers(message: memoryview) -> dict[int, int]:
    return {part.number: part.value for part in fields(message) if isinstance(part.value, int)}
