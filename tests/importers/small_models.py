"""One small valid model of each format that can be read, and copies of them with damage."""

import importlib
import io
import random
import re
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import onnx
import openvino as ov
import openvino.opset13 as ops
import safetensors.torch
import torch
from onnx import helper, numpy_helper
from tests.importers import caffe_files
from tests.importers.tensorflow_files import FLOAT, INT32, Graph
from torch import nn

from thorax.importers.options import Imported, ImportOptions
from thorax.training import networks

SIDE: Final = 32
NCHW: Final = (1, 3, SIDE, SIDE)
NHWC: Final = (1, SIDE, SIDE, 3)
RANDOM: Final = np.random.default_rng(8)
KERNEL: Final = RANDOM.normal(0, 0.4, (4, 3, 3, 3)).astype(np.float32)
HEAD: Final = RANDOM.normal(0, 1, (2, 4)).astype(np.float32)
_HUGE: Final = ("-1", "0", "2147483647", "4294967296", "9223372036854775807", "1e308", "nan", "''")


@dataclass(frozen=True, slots=True)
class Kind:
    """A format.

    Attributes:
        name: what it is, for people.
        reader: module of `thorax.importers` that reads it.
        make: writes a model into an empty folder and returns what is to be read.
        options: what the file leaves open.
    """

    name: str
    reader: str
    make: Callable[[Path], Path]
    options: ImportOptions = field(default_factory=ImportOptions)


def _network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(4, 2),
        ).eval()  # fmt: skip


def onnx_file(folder: Path) -> Path:
    """Write conv - relu - mean - gemm."""
    shape = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "kernel"], ["conv"], name="conv"),
            helper.make_node("Relu", ["conv"], ["relu"], name="relu"),
            helper.make_node("GlobalAveragePool", ["relu"], ["pool"], name="pool"),
            helper.make_node("Flatten", ["pool"], ["flat"], name="flat"),
            helper.make_node("Gemm", ["flat", "head"], ["y"], name="head", transB=1),
        ],
        "net",
        [helper.make_tensor_value_info("x", shape, NCHW)],
        [helper.make_tensor_value_info("y", shape, (1, 2))],
        [numpy_helper.from_array(KERNEL, "kernel"), numpy_helper.from_array(HEAD, "head")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx"


def _tensorflow(*, variables: bool) -> Graph:
    graph = Graph()
    value = graph.add("Placeholder", "picture", dtype=FLOAT)
    graph.shape(value, NHWC)
    stem = KERNEL.transpose(2, 3, 1, 0).copy()
    if variables:
        graph.add("VarHandleOp", "kernel", dtype=FLOAT, shape=stem.shape, shared_name="kernel")
        kernel = graph.add("ReadVariableOp", "read", ["kernel"], dtype=FLOAT)
    else:
        kernel = graph.constant("kernel", stem)
    value = graph.add(
        "Conv2D", "conv", [value, kernel],
        T=FLOAT, strides=[1, 2, 2, 1], padding="SAME", data_format="NHWC", dilations=[1, 1, 1, 1],
    )  # fmt: skip
    value = graph.add("Relu", "relu", [value], T=FLOAT)
    axes = graph.constant("axes", np.array([1, 2], np.int32))
    value = graph.add("Mean", "mean", [value, axes], T=FLOAT, Tidx=INT32, keep_dims=False)
    head = graph.constant("head", HEAD.T.copy())
    graph.add("MatMul", "logits", [value, head], T=FLOAT, transpose_a=False, transpose_b=False)
    return graph


def frozen_graph(folder: Path) -> Path:
    """Write a frozen GraphDef."""
    return _tensorflow(variables=False).frozen(folder / "net.pb")


def saved_model(folder: Path) -> Path:
    """Write a SavedModel with a variable."""
    graph = _tensorflow(variables=True)
    file = graph.words("save/Const", "model")
    names = graph.words("save/RestoreV2/tensor_names", "kernel")
    slices = graph.words("save/RestoreV2/shape_and_slices", "")
    graph.add("RestoreV2", "save/RestoreV2", [file, names, slices], dtypes=[FLOAT])
    graph.add("Identity", "save/Identity", ["save/RestoreV2"], T=FLOAT)
    graph.add("AssignVariableOp", "save/Assign", ["kernel", "save/Identity"], dtype=FLOAT)
    graph.add("NoOp", "save/restore_all", ["^save/Assign"])
    return graph.saved_model(
        folder / "saved",
        inputs={"image": ("picture", NHWC)},
        outputs={"scores": "logits"},
        variables={"kernel": KERNEL.transpose(2, 3, 1, 0).copy()},
        filename="save/Const",
        restore="save/restore_all",
    )


def tflite(folder: Path) -> Path:
    """Write a convolution with ReLU; tables and slots are those of schema.fbs, version 3."""
    builder = flatbuffers.Builder(4096)

    def table(*slots: tuple[int, str, Any]) -> int:
        builder.StartObject(max(slot for slot, _, _ in slots) + 1)
        for slot, kind, value in slots:
            if kind == "at":
                builder.PrependUOffsetTRelativeSlot(slot, value, 0)
            else:
                getattr(builder, f"Prepend{kind}Slot")(slot, value, None)
        return int(builder.EndObject())

    def numbers(*values: int) -> int:
        return int(builder.CreateNumpyVector(np.array(values, np.int32)))

    def tables(*offsets: int) -> int:
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    contents = (b"", KERNEL.transpose(0, 2, 3, 1).tobytes(), np.zeros(4, np.float32).tobytes())
    buffers = [table((0, "at", builder.CreateByteVector(content))) for content in contents]
    inner = SIDE - 2
    shapes = {"x": NHWC, "kernel": (4, 3, 3, 3), "bias": (4,), "y": (1, inner, inner, 4)}
    places = {"x": 0, "kernel": 1, "bias": 2, "y": 0}
    tensors = [
        table(
            (0, "at", numbers(*shape)), (1, "Int8", 0), (2, "Uint32", places[name]),
            (3, "at", builder.CreateString(name)),
        )
        for name, shape in shapes.items()
    ]  # fmt: skip
    options = table(
        (0, "Int8", 1), (1, "Int32", 1), (2, "Int32", 1), (3, "Int8", 1), (4, "Int32", 1),
        (5, "Int32", 1),
    )  # fmt: skip
    inputs, outputs, whole, ends = numbers(0, 1, 2), numbers(3), numbers(0), numbers(3)
    operator = table(
        (0, "Uint32", 0), (1, "at", inputs), (2, "at", outputs), (3, "Uint8", 1),
        (4, "at", options),
    )  # fmt: skip
    graph = table(
        (0, "at", tables(*tensors)), (1, "at", whole), (2, "at", ends),
        (3, "at", tables(operator)), (4, "at", builder.CreateString("main")),
    )  # fmt: skip
    code = table((0, "Int8", 3), (2, "Int32", 1), (3, "Int32", 3))
    root = table(
        (0, "Uint32", 3), (1, "at", tables(code)), (2, "at", tables(graph)),
        (3, "at", builder.CreateString("net")), (4, "at", tables(*buffers)),
    )  # fmt: skip
    builder.Finish(root, file_identifier=b"TFL3")
    (folder / "net.tflite").write_bytes(builder.Output())
    return folder / "net.tflite"


def _keras(path: Path) -> Path:
    # Chooses the backend before Keras is imported.
    from thorax.importers.keras import import_keras as opened

    keras = opened()
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)), layers.Conv2D(4, 3, activation="relu", name="stem"),
            layers.GlobalAveragePooling2D(name="pool"), layers.Dense(2, name="head"),
        ]
    )  # fmt: skip
    with warnings.catch_warnings():
        # Keras 3.15 frowns at its own HDF5, and NumPy at how it reads PyTorch's weights.
        warnings.simplefilter("ignore")
        network.save(path)
    return path


def keras_file(folder: Path) -> Path:
    """Write a file of Keras 3."""
    return _keras(folder / "net.keras")


def keras_hdf5(folder: Path) -> Path:
    """Write an HDF5 file of Keras."""
    return _keras(folder / "net.h5")


PROTOTXT: Final = f"""
name: "net"
input: "data"
input_shape {{ dim: 1 dim: 3 dim: {SIDE} dim: {SIDE} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 4 kernel_size: 3 bias_term: false }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param {{ pool: AVE global_pooling: true }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
  inner_product_param {{ num_output: 2 bias_term: false }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""


def caffe(folder: Path) -> Path:
    """Write a .prototxt and a .caffemodel."""
    return caffe_files.write(folder, PROTOTXT, {"conv": [KERNEL], "fc": [HEAD]})


def mxnet(folder: Path) -> Path:
    """Write a -symbol.json and a .params."""
    # Its tests import pytest, which a benchmark needs only here.
    from tests.importers.test_mxnet import small

    return small().save(folder)


def traced(folder: Path) -> Path:
    """Write TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.trace(_network(), torch.zeros(NCHW))  # type: ignore[no-untyped-call]
        torch.jit.save(made, folder / "net.pt")
    return folder / "net.pt"


def exported(folder: Path) -> Path:
    """Write an exported program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(_network(), (torch.zeros(NCHW),))
        torch.export.save(program, folder / "net.pt2")
    return folder / "net.pt2"


def _weights() -> dict[str, torch.Tensor]:
    return networks.build("resnet18", classes=2, channels=3, width=1 / 32).state_dict()


def state_dict(folder: Path) -> Path:
    """Write the weights of a narrow ResNet-18."""
    torch.save(_weights(), folder / "net.pth")
    return folder / "net.pth"


def safe_tensors(folder: Path) -> Path:
    """Write the same as safetensors."""
    safetensors.torch.save_file(_weights(), folder / "net.safetensors")
    return folder / "net.safetensors"


def ir(folder: Path) -> Path:
    """Write an IR and its weights."""
    x = ops.parameter(list(NCHW), np.float32, name="x")
    conv = ops.relu(ops.convolution(x, ops.constant(KERNEL), [1, 1], [0, 0], [0, 0], [1, 1]))
    mean = ops.reduce_mean(conv, ops.constant(np.array([2, 3], np.int64)), False)
    y = ops.matmul(mean, ops.constant(HEAD), False, True)
    ov.save_model(ov.Model([y], [x], "net"), folder / "net.xml", False)
    return folder / "net.xml"


_WEIGHTS_ALONE: Final = ImportOptions(topology="resnet18", shapes={"": NCHW})
KINDS: Final = (
    Kind("ONNX", "frontends", onnx_file),
    Kind("TensorFlow, frozen", "frontends", frozen_graph),
    Kind("TensorFlow, SavedModel", "frontends", saved_model),
    Kind("TensorFlow Lite", "frontends", tflite),
    Kind("Keras 3", "keras", keras_file),
    Kind("Keras, HDF5", "keras", keras_hdf5),
    Kind("Caffe", "caffe", caffe),
    Kind("MXNet", "mxnet", mxnet),
    Kind("TorchScript", "pytorch", traced, ImportOptions(shapes={"": NCHW})),
    Kind("PyTorch, exported", "pytorch", exported),
    Kind("PyTorch, state dict", "pytorch", state_dict, _WEIGHTS_ALONE),
    Kind("safetensors", "pytorch", safe_tensors, _WEIGHTS_ALONE),
    Kind("OpenVINO IR", "frontends", ir),
)


def damaged(original: Path, copy: Path, seed: int) -> None:
    """Copy a folder with a model, and damage one of its files; the same for the same seed."""
    shutil.copytree(original, copy)
    chosen = random.Random(seed)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    file = chosen.choice(files)
    content = file.read_bytes()
    if content[:4] == b"PK\x03\x04" and chosen.random() < 0.7:
        file.write_bytes(_in_a_member(content, chosen))
    elif file.suffix in (".prototxt", ".json", ".xml") and chosen.random() < 0.7:
        file.write_bytes(_words(content, chosen))
    else:
        file.write_bytes(_bytes(content, chosen))


def _in_a_member(content: bytes, chosen: random.Random) -> bytes:
    """Damage a member of a zip archive and write its checksum anew."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(out, "w") as target:
        names = source.namelist()
        victim = chosen.choice(names)
        for name in names:
            member = source.read(name)
            if name == victim:
                text = name.endswith((".json", ".py"))
                member = _words(member, chosen) if text else _bytes(member, chosen)
            target.writestr(name, member)
    return out.getvalue()


def _bytes(content: bytes, chosen: random.Random) -> bytes:
    data = bytearray(content or b"\0")
    at = chosen.randrange(len(data))
    size = min(len(data) - at, chosen.choice((1, 2, 4, 8, 16, 64, 256)))
    match chosen.randrange(8):
        case 0 | 1:
            for _ in range(chosen.choice((1, 1, 1, 2, 8, 32))):
                data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
        case 2:
            del data[at:]
        case 3:
            del data[at : at + size]
        case 4:
            data[at:at] = data[at : at + size]
        case 5:
            to = chosen.randrange(len(data))
            data[to : to + size] = data[at : at + size]
        case 6:
            number = chosen.choice((0, 1, 0x7F, 0xFF, 1 << 31, (1 << 63) - 1, (1 << 64) - 1))
            packed = struct.pack("<Q", number)[: min(8, size)]
            data[at : at + len(packed)] = packed
        case 7:
            data[at : at + size] = chosen.randbytes(size)
    return bytes(data)


def _words(content: bytes, chosen: random.Random) -> bytes:
    parts = re.split(r"([\w.+-]+)", content.decode("utf-8", "replace"))
    words = range(1, len(parts), 2)
    if not words:
        return _bytes(content, chosen)
    at, other = chosen.choice(words), chosen.choice(words)
    match chosen.randrange(6):
        case 0:
            parts[at], parts[other] = parts[other], parts[at]
        case 1:
            parts[at] = parts[other]
        case 2:
            parts[at] = chosen.choice(_HUGE)
        case 3:
            del parts[at : at + 2]
        case 4:
            parts[at:at] = parts[at : at + chosen.choice((2, 6, 20, 60))]
        case 5:
            marks = [place for place in range(0, len(parts), 2) if parts[place].strip()]
            if marks:
                parts[chosen.choice(marks)] = parts[chosen.choice(marks)]
    return "".join(parts).encode()


def read_here(module: str, path: Path, options: ImportOptions) -> Imported:
    """Read a file by a module of the importers in this process, not in a child of it."""
    imported: Imported = importlib.import_module(f"thorax.importers.{module}").read(path, options)
    return imported
