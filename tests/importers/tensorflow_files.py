"""TensorFlow's files, written without TensorFlow: frozen graphs, SavedModels and their variables.

The messages are those that TensorBoard brings; the table of variables is a LevelDB table
(leveldb/doc/table_format.md) as TensorFlow's tensor_bundle.proto fills it.
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.meta_graph_pb2 import MetaGraphDef

FLOAT, INT32, STRING = 1, 3, 7
_TABLE_MAGIC = 0xDB4775248B80FB57


Attribute = int | bool | str | Sequence[int]


class Graph:
    """A GraphDef that is put together node by node."""

    def __init__(self) -> None:
        self.definition = GraphDef()

    def add(self, kind: str, name: str, inputs: Sequence[str] = (), **attributes: Attribute) -> str:
        """Append a node; shapes are lists of `shape=`, types are the numbers of types.proto."""
        node = self.definition.node.add(name=name, op=kind, input=list(inputs))
        for key, value in attributes.items():
            slot = node.attr[key]
            if key in ("T", "dtype", "Tidx", "type"):
                slot.type = value
            elif isinstance(value, bool):
                slot.b = value
            elif isinstance(value, str):
                slot.s = value.encode()
            elif isinstance(value, int):
                slot.i = value
            elif key == "dtypes":
                slot.list.type.extend(value)
            elif key == "shape":
                for size in value:
                    slot.shape.dim.add(size=size)
                slot.shape.SetInParent()
            else:
                slot.list.i.extend(value)
        return name

    def shape(self, name: str, sizes: Sequence[int]) -> None:
        """Say the shape of the node that was added last; -1 is an open axis."""
        node = self.definition.node[-1]
        assert node.name == name
        for size in sizes:
            node.attr["shape"].shape.dim.add(size=size)

    def constant(self, name: str, values: npt.NDArray[Any]) -> str:
        """Append a constant of numbers."""
        kind = FLOAT if values.dtype == np.float32 else INT32
        node = self.definition.node.add(name=name, op="Const")
        node.attr["dtype"].type = kind
        tensor = node.attr["value"].tensor
        tensor.dtype = kind
        tensor.tensor_content = values.tobytes()
        for size in values.shape:
            tensor.tensor_shape.dim.add(size=size)
        tensor.tensor_shape.SetInParent()
        return name

    def words(self, name: str, *words: str) -> str:
        """Append a constant of strings."""
        node = self.definition.node.add(name=name, op="Const")
        node.attr["dtype"].type = STRING
        tensor = node.attr["value"].tensor
        tensor.dtype = STRING
        tensor.string_val.extend(word.encode() for word in words)
        tensor.tensor_shape.dim.add(size=len(words))
        return name

    def frozen(self, path: Path) -> Path:
        """Write a frozen graph."""
        path.write_bytes(self.definition.SerializeToString())
        return path

    def saved_model(
        self,
        folder: Path,
        *,
        inputs: Mapping[str, tuple[str, Sequence[int]]],
        outputs: Mapping[str, str],
        variables: Mapping[str, npt.NDArray[np.float32]],
        filename: str,
        restore: str,
    ) -> Path:
        """Write a SavedModel of one signature, restored by `restore` from the file `filename`."""
        meta = MetaGraphDef()
        meta.meta_info_def.tags.append("serve")
        meta.graph_def.CopyFrom(self.definition)
        meta.saver_def.filename_tensor_name = f"{filename}:0"
        meta.saver_def.restore_op_name = restore
        meta.saver_def.version = 2
        signature = meta.signature_def["serving_default"]
        signature.method_name = "tensorflow/serving/predict"
        for key, (node, shape) in inputs.items():
            signature.inputs[key].name = f"{node}:0"
            signature.inputs[key].dtype = FLOAT
            for size in shape:
                signature.inputs[key].tensor_shape.dim.add(size=size)
        for key, node in outputs.items():
            signature.outputs[key].name = f"{node}:0"
            signature.outputs[key].dtype = FLOAT
        content = meta.SerializeToString()
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(
            b"\x08\x01" + b"\x12" + _varint(len(content)) + content
        )
        _write_variables(folder / "variables" / "variables", variables)
        return folder


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _write_variables(stem: Path, variables: Mapping[str, npt.NDArray[np.float32]]) -> None:
    # BundleHeaderProto: num_shards = 1, version = 3.
    # BundleEntryProto: dtype = 1, shape = 2, offset = 4, size = 5.
    entries, data = [(b"", b"\x08\x01\x1a\x02\x08\x01")], b""
    for name, values in sorted(variables.items()):
        dims = b"".join(
            b"\x12" + _varint(len(dim)) + dim
            for dim in (b"\x08" + _varint(size) for size in values.shape)
        )
        entry = b"\x08\x01\x12" + _varint(len(dims)) + dims
        entry += b"\x20" + _varint(len(data)) + b"\x28" + _varint(values.nbytes)
        entries.append((name.encode(), entry))
        data += values.tobytes()
    stem.with_suffix(".data-00000-of-00001").write_bytes(data)
    table = b""

    def block(rows: Sequence[tuple[bytes, bytes]]) -> bytes:
        nonlocal table
        body = b"".join(
            _varint(0) + _varint(len(key)) + _varint(len(value)) + key + value
            for key, value in rows
        )
        body += struct.pack("<II", 0, 1)
        handle = _varint(len(table)) + _varint(len(body))
        table += body + b"\x00" + struct.pack("<I", 0)
        return handle

    first = block(entries)
    nothing = block([])
    index = block([(entries[-1][0] + b"\xff", first)])
    footer = (nothing + index).ljust(40, b"\x00") + struct.pack("<Q", _TABLE_MAGIC)
    stem.with_suffix(".index").write_bytes(table + footer)
