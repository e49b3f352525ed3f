"""Files of every format that claim, hide or nest what no model does; none may hang or be a bug."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from tests.importers import small_models
from tests.importers.small_models import KINDS, NCHW, PROTOTXT, Kind

from thorax.errors import ModelError, ThoraxError, UsageError
from thorax.importers import caffe, frontends, keras, mxnet, pytorch
from thorax.importers.options import Imported, ImportOptions

READERS: dict[str, Callable[[Path, ImportOptions], Imported]] = {
    "caffe": caffe.read,
    "frontends": frontends.read,
    "keras": keras.read,
    "mxnet": mxnet.read,
    "pytorch": pytorch.read,
}
NAMES = (
    "net.onnx", "net.pb", "net.tflite", "net.xml", "net.caffemodel", "net.prototxt",
    "net-symbol.json", "net-0000.params", "net.pt", "net.pt2", "net.pth", "net.safetensors",
    "net.keras", "net.h5",
)  # fmt: skip
READER_OF = {
    ".onnx": "frontends", ".pb": "frontends", ".tflite": "frontends", ".xml": "frontends",
    ".caffemodel": "caffe", ".prototxt": "caffe", ".json": "mxnet", ".params": "mxnet",
    ".keras": "keras", ".h5": "keras",
}  # fmt: skip


def refused(path: Path, options: ImportOptions | None = None) -> ThoraxError:
    read = READERS[READER_OF.get(path.suffix, "pytorch")]
    with pytest.raises(ThoraxError) as caught:
        read(path, options or ImportOptions())
    assert caught.value.exit_code in (2, 4)
    return caught.value


@pytest.mark.parametrize("what", ["pipe", "device", "folder", "link to a device", "long name"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_regular_file_is_refused_and_not_waited_for(
    tmp_path: Path, name: str, what: str
) -> None:
    path = tmp_path / name
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "folder":
        path.mkdir()
    elif what == "link to a device":
        (tmp_path / "link").symlink_to("/dev/zero")
        path.symlink_to(tmp_path / "link")
    else:
        path = tmp_path / (f"{'n' * 300}{path.suffix}")
    codes = ("model-unreadable", "model-undescribed", "model-missing", "model-weights")
    assert refused(path).code in codes


@pytest.mark.parametrize("beside", ["net.prototxt", "net-symbol.json", "net-0000.params"])
@pytest.mark.parametrize("what", ["pipe", "device", "folder"])
def test_a_file_beside_is_not_waited_for(tmp_path: Path, beside: str, what: str) -> None:
    if beside == "net.prototxt":
        path = small_models.caffe(tmp_path)
    else:
        path = small_models.mxnet(tmp_path)
        if beside.endswith(".params"):
            path = tmp_path / "net-symbol.json"
    there = tmp_path / beside
    there.unlink()
    if what == "pipe":
        os.mkfifo(there)
    elif what == "device":
        there.symlink_to("/dev/zero")
    else:
        there.mkdir()
    refused(path)
    if beside == "net.prototxt":
        # Named by the user, it is no more waited for.
        refused(path, ImportOptions(structure=there))


@pytest.mark.parametrize(
    "text",
    [
        PROTOTXT.replace('input: "data"', 'input: "data" input: "data"'),
        PROTOTXT.replace("dim: 32", "dim: 2147483647"),
        PROTOTXT.replace("dim: 1 ", "dim: -5 "),
        "layer {" * 5000,
        "a: [" * 5000,
        'input: "\\xff\\777\\0"' + PROTOTXT,
        PROTOTXT.replace('top: "conv"', ""),
        PROTOTXT.replace('bottom: "data"', 'bottom: "data" bottom: "data"'),
        PROTOTXT + 'layer { name: "d" type: "DummyData" top: "d" dummy_data_param { '
        "shape { dim: 60000 dim: 60000 } } }\n"
        'layer { name: "e" type: "Eltwise" bottom: "d" bottom: "d" top: "e" }',
        PROTOTXT.replace("num_output: 4", "num_output: 2000000000"),
        PROTOTXT.replace("kernel_size: 3", "kernel_size: 99999999999999999999"),
        PROTOTXT + 'layer { name: "p" type: "Python" bottom: "fc" top: "p" python_param { '
        'module: "os" layer: "system" } }',
    ],
    ids=range(12),
)
def test_a_description_of_caffe_that_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    path = small_models.caffe(tmp_path)
    (tmp_path / "net.prototxt").write_text(text)
    assert refused(path).code.startswith("model-")


def test_a_description_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = small_models.caffe(tmp_path)
    (tmp_path / "net.prototxt").write_bytes(PROTOTXT.encode() + b"\xff\xfe")
    assert refused(path).code == "model-unreadable"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"nodes": ' * 50_000, "1e999", "NaN", "[]", "0"])
def test_a_symbol_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = small_models.mxnet(tmp_path)
    (tmp_path / "net-symbol.json").write_text(text)
    assert refused(path).code == "model-unreadable"


def test_a_name_of_tflite_that_is_not_utf_8_is_no_bug(tmp_path: Path) -> None:
    path = small_models.tflite(tmp_path)
    content = path.read_bytes()
    assert content.count(b"kernel") == 1
    path.write_bytes(content.replace(b"kernel", b"\xff\xfe\xc0\xaf\x80\x81"))
    try:
        frontends.read(path, ImportOptions())
    except ModelError as error:
        assert error.code.startswith("model-")  # noqa: PT017


def big_dense(path: Path, units: int) -> None:
    """Say in a file of Keras that its head has so many units, and nothing of the weights."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "Dense":
                layer["config"]["units"] = units
        file.attrs["model_config"] = json.dumps(config)


@pytest.mark.parametrize("units", [10_000, 500_000_000, 10**15])
def test_keras_makes_no_more_weights_than_its_file_has(tmp_path: Path, units: int) -> None:
    path = small_models.keras_hdf5(tmp_path)
    big_dense(path, units)
    error = refused(path)
    assert error.code == "model-unreadable"
    assert "weights" in error.message


def test_a_header_of_a_million_empty_tensors_is_refused(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"t{index}": entry for index in range(150_000)}).encode()
    path = tmp_path / "net.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    error = refused(path, ImportOptions(topology="resnet18", shapes={"": NCHW}))
    assert (error.code, "150000" in error.message) == ("model-unreadable", True)


@pytest.mark.parametrize("size", [0, 7, 1 << 20, (1 << 63) - 1, (1 << 64) - 1])
def test_a_header_that_is_not_there_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(struct.pack("<Q", size) + b"{}")
    error = refused(path, ImportOptions(topology="resnet18", shapes={"": NCHW}))
    assert error.code == "model-unreadable"


def test_an_ir_whose_entities_grow_is_refused(tmp_path: Path) -> None:
    path = small_models.ir(tmp_path)
    laughs = "".join(
        f'<!ENTITY l{n} "{"".join(f"&l{n - 1};" for _ in range(10))}">' for n in range(1, 12)
    )
    head = f'<!DOCTYPE net [<!ENTITY l0 "{"x" * 64}">{laughs}]>'
    text = path.read_text().partition("<net")
    path.write_text(
        f'<?xml version="1.0"?>{head}<net{text[2]}'.replace("<rt_info", "&l11;<rt_info")
    )
    assert refused(path).code == "model-unreadable"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.name))
@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"\xff" * 4096, b"PK\x03\x04", b"{" * 9999])
def test_what_is_no_model_at_all_is_refused(tmp_path: Path, kind: Kind, content: bytes) -> None:
    path = kind.make(tmp_path)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            file.write_bytes(content)
    with pytest.raises((ModelError, UsageError)):
        READERS[kind.reader](path, kind.options)
