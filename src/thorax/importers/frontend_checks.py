"""Checks of a file before OpenVINO reads it, whose own reader says too little, or too much."""

from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from thorax.errors import ModelError
from thorax.importers.onnx import external_files
from thorax.importers.options import damaged
from thorax.importers.standby import SAVED_MODEL
from thorax.importers.translation import require_file
from thorax.importers.wire import WireError, fields

_IR_VERSIONS: Final = (10, 11)
"""Of OpenVINO 2020.1 and since. Version 7 and older came from the Model Optimizer of 2018-2019."""


def file(path: Path, kind: str) -> tuple[Path, ...]:
    """Return the files that make up a model, one that is read whole and another beside it.

    Raises:
        ModelError: `model-unreadable` or `ir-version`.
    """
    require_file(path)
    if kind == ".pb":
        _require_graph(path)
    elif kind == ".tflite":
        _require_flatbuffer(path)
    elif kind == ".xml":
        return _ir(path)
    elif kind == ".onnx":
        return (path, *external_files(path))
    return (path,)


def saved_model(folder: Path) -> tuple[Path, ...]:
    """Return the graph and the variables of a TensorFlow SavedModel.

    Raises:
        ModelError: `model-unreadable`.
    """
    graph = folder / SAVED_MODEL
    if not graph.is_file():
        raise ModelError("model-unreadable", f"{folder} holds no {SAVED_MODEL}")
    try:
        parts = {field.number for field in fields(memoryview(graph.read_bytes()))}
    except WireError as error:
        raise damaged(graph, f"is damaged or cut off: {error}; export it again") from error
    # SavedModel: saved_model_schema_version = 1, meta_graphs = 2.
    if 2 not in parts or not parts <= {1, 2}:
        raise ModelError("model-unreadable", f"{graph} is no SavedModel of TensorFlow")
    variables = folder / "variables"
    return (graph, *(sorted(variables.iterdir()) if variables.is_dir() else ()))


def _require_graph(path: Path) -> None:
    """Refuse a .pb that is no TensorFlow GraphDef; OpenVINO would try others and complain aloud."""
    nodes = 0
    try:
        # GraphDef: node = 1 (NodeDef: name = 1, op = 2), library = 2, version = 3, versions = 4.
        for part in fields(memoryview(path.read_bytes())):
            if part.number == 1:
                nodes += 1
                for field in fields(part.data()):
                    if field.number in (1, 2):
                        field.text()
    except WireError as error:
        raise damaged(
            path, f"is no frozen TensorFlow graph, or is damaged or cut off: {error}"
        ) from error
    if not nodes:
        raise damaged(path, "is no frozen TensorFlow graph")


def _require_flatbuffer(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(8)
    # TensorFlow Lite schema: file_identifier "TFL3", after the offset of the root table.
    if start[4:] != b"TFL3":
        raise damaged(path, "is no TensorFlow Lite model")


def _ir(path: Path) -> tuple[Path, ...]:
    try:
        net = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise damaged(path, f"is no XML, or is damaged or cut off: {error}") from error
    if net.tag != "net":
        raise damaged(path, f"is XML of <{net.tag}>; an OpenVINO IR has <net>")
    _require_version(path, net.get("version"))
    needed, layer = _last_weight(path, net)
    if not needed:
        return (path,)
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise ModelError(
            "model-weights",
            f"{path.name} keeps its weights in {weights.name}, which is not beside it; copy both",
        )
    held = weights.stat().st_size
    if held < needed:
        raise ModelError(
            "model-weights",
            f"{weights.name} has {held} bytes but the weights of {layer} in {path.name} end at "
            f"{needed}; it was cut off or belongs to another model: copy both files again",
        )
    return (path, weights)


def _require_version(path: Path, text: str | None) -> None:
    version = int(text) if text is not None and text.isascii() and text.isdigit() else None
    if version in _IR_VERSIONS:
        return
    if version is None:
        raise ModelError("ir-version", f"{path.name} does not say its IR version")
    if version < _IR_VERSIONS[0]:
        raise ModelError(
            "ir-version",
            f"{path.name} is IR version {version}, of OpenVINO 2019 or older; versions "
            f"{_IR_VERSIONS[0]} and {_IR_VERSIONS[1]} can be read: convert the original model",
        )
    raise ModelError(
        "ir-version",
        f"{path.name} is IR version {version}, of a newer OpenVINO; versions {_IR_VERSIONS[0]} "
        f"and {_IR_VERSIONS[1]} can be read: save it from the OpenVINO that is used here",
    )


def _last_weight(path: Path, net: ElementTree.Element) -> tuple[int, str]:
    """Return where the last weight ends, in bytes, and the layer that has it."""
    needed, last = 0, ""
    for layer in net.iter("layer"):
        if layer.get("type") != "Const":
            continue
        data, name = layer.find("data"), layer.get("name", "?")
        try:
            offset, size = (
                (0, 0) if data is None else (int(data.attrib[key]) for key in ("offset", "size"))
            )
        except (KeyError, ValueError) as error:
            raise damaged(path, f"does not say where the weights of {name} lie") from error
        if offset < 0 or size < 0:
            raise damaged(path, f"puts the weights of {name} at byte {offset}, {size} bytes long")
        if offset + size > needed:
            needed, last = offset + size, name
    return needed, last
