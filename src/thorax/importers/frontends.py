"""Formats that OpenVINO's own frontends read: ONNX, TensorFlow, TensorFlow Lite and its own IR.

A file is judged before OpenVINO reads it, whose own reader says too little, or too much.
"""

import io
import re
from contextlib import suppress
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import openvino as ov
from openvino.frontend import FrontEnd, FrontEndManager, InputModel

from thorax.errors import ModelError, UsageError
from thorax.importers import extensions, onnx, onnx_rewrite, tensorflow
from thorax.importers.options import (
    UNREADABLE,
    Imported,
    ImportOptions,
    Layout,
    close,
    damaged,
    require_file,
    translated,
    unconvertible,
    unreadable,
)
from thorax.importers.standby import SAVED_MODEL
from thorax.importers.wire import WireError, fields

_IR_VERSIONS: Final = (10, 11)
"""Of OpenVINO 2020.1 and since. Version 7 and older came from the Model Optimizer of 2018-2019."""

_FRONTENDS: Final[dict[str, tuple[str, str, Layout]]] = {
    ".onnx": ("onnx", "onnx", "NCHW"),
    ".pb": ("tf", "tensorflow", "NHWC"),
    ".tflite": ("tflite", "tflite", "NHWC"),
    ".xml": ("ir", "openvino", "NCHW"),
}
"""By ending: OpenVINO's name of the frontend, the framework's for people, and the layout that it
takes images in."""

_LACKING: Final = re.compile(
    r"No conversion rule found for operations: (?P<rule>[^\n]+)"
    r"|doesn't contain the operation with type: (?P<opset>\S+)"
    r"|Cannot create (?P<create>\S+) layer"
)
_FAILED: Final = re.compile(
    r"^-- (?P<kind>\S+?)(?:-(?P<set>\d+))? with a message:\n(?P<report>.+?)(?:\n\n|\Z)",
    re.MULTILINE | re.DOTALL,
)
_NODE: Final = re.compile(r"<Node\(\w+\): (?P<name>[^>]+)>")
_DAMAGED: Final = re.compile(r"Model can't be parsed|corrupted or malformed")
_UNSET: Final = re.compile(r"Variable or resource `(?P<name>[^`]+)` is not initialized")


@translated
def read(path: Path, options: ImportOptions) -> Imported:
    """Read a file with the frontend of its format, and with no other.

    A TensorFlow SavedModel is its folder, or the saved_model.pb inside. TensorFlow itself is not
    needed.

    Raises:
        ModelError: `model-unreadable`, `model-layer`, `model-weights`, `model-input` or
            `ir-version`.
    """
    if path.is_dir() or path.name == SAVED_MODEL:
        folder = path if path.is_dir() else path.parent
        files, kind, opened = _saved_model(folder), ".pb", folder
    else:
        kind, opened = path.suffix.lower(), path
        files = _file(path, kind)
    name, framework, layout = _FRONTENDS[kind]
    # Only this frontend: `Core.read_model` lets each in turn guess, and some complain aloud.
    frontend = FrontEndManager().load_by_framework(name)
    extensions.attach(frontend, options.extensions)
    model = _convert(frontend, opened, options)
    if not model.inputs or not model.outputs:
        raise damaged(opened, "holds no network")
    run = None
    if kind == ".onnx":
        onnx.flatten_softmax(model, path)
        onnx.widen_scalars(model)
        run = onnx.runner(path, options.extensions)
    close(model, options.shapes, opened)
    return Imported(model, framework, layout, files, run)


def _convert(frontend: FrontEnd, path: Path, options: ImportOptions) -> ov.Model:
    loaded = _loaded(frontend, path)
    unshaped = _close_ranks(loaded, options)
    try:
        graph = frontend.get_name() == "tf" and path.is_file()
        begins = tensorflow.cut_graph(loaded, path, options) if graph else {}
        if frontend.get_name() == "tf":
            tensorflow.freeze_phase(loaded, path, options)
        model = frontend.convert(loaded)
        tensorflow.name_inputs(model, begins)
        if frontend.get_name() == "tflite":
            tensorflow.name_kernels(model, tensorflow.lite_kernels(frontend.decode(loaded)))
        elif frontend.get_name() == "tf":
            # Names are for people: the frontend, which has read the file, judges what is damaged,
            # and it reads indices that are compressed.
            with suppress(ValueError, LookupError, OSError):
                kernels = tensorflow.graph_kernels if graph else tensorflow.saved_kernels
                tensorflow.name_kernels(model, kernels(path))
    except UNREADABLE as error:
        if unshaped and not _LACKING.search(str(error)):
            raise UsageError(
                "model-undescribed",
                f"{path.name} gives no shape of its input {unshaped!r}; say it, by --side of "
                "`thorax optimize` or --input_shape of `thorax mo` and `thorax analyze`",
            ) from error
        raise _conversion_error(path, error) from error
    return model


def _close_ranks(loaded: InputModel, options: ImportOptions) -> str | None:
    """Give inputs that have no shape at all that of the options; return one that still has none."""
    unshaped = None
    for place in loaded.get_inputs():
        if loaded.get_partial_shape(place).rank.is_static:
            continue
        names = place.get_names()
        stated = [options.shapes[name] for name in (*names, "") if name in options.shapes]
        if stated:
            loaded.set_partial_shape(place, ov.PartialShape(list(stated[0])))
        else:
            unshaped = names[0] if names else ""
    return unshaped


def _loaded(frontend: FrontEnd, path: Path) -> InputModel:
    standard = None
    if frontend.get_name() == "onnx" and onnx_rewrite.is_needed(path):
        standard = onnx_rewrite.with_standard_operators(path)
    try:
        return frontend.load(str(path) if standard is None else io.BytesIO(standard))
    except UNREADABLE as error:
        raise _conversion_error(path, error) from error


def _conversion_error(path: Path, error: Exception) -> ModelError:
    text = str(error)
    lacking = _LACKING.search(text)
    if lacking is not None:
        layers = next(name for name in lacking.groups() if name is not None)
        return unconvertible(path, layers)
    unset = _UNSET.search(text)
    if unset is not None:
        return ModelError(
            "model-weights",
            f"{path.name} gives no value of {unset['name']}; a SavedModel needs its folder "
            "variables/ beside saved_model.pb, and a single .pb must be frozen",
        )
    if _DAMAGED.search(text):
        return damaged(
            path,
            f"is no {path.suffix[1:].lower()} model, or is damaged or cut off; copy or "
            "export it again",
        )
    return _failed_layer(path, text) or unreadable(path, error)


def _failed_layer(path: Path, text: str) -> ModelError | None:
    """Return the error of a layer of ONNX whose type is known, but not as it stands in the file."""
    failed = _FAILED.search(text)
    node = _NODE.search(failed["report"]) if failed else None
    if failed is None or node is None:
        return None
    version = f" of operator set {failed['set']}" if failed["set"] else ""
    reason = failed["report"].strip().splitlines()[-1].strip().rstrip(".")
    return ModelError(
        "model-layer",
        f"{path.name}: layer {node['name']} ({failed['kind']}{version}) cannot be converted: "
        f"{reason}; export it anew, with operator set 17 if it has another",
    )


def _file(path: Path, kind: str) -> tuple[Path, ...]:
    """Return the files that make up a model, one that is read whole and another beside it."""
    require_file(path)
    match kind:
        case ".pb":
            _require_graph(path)
        case ".tflite":
            with path.open("rb") as stream:
                start = stream.read(8)
            # TensorFlow Lite schema: file_identifier "TFL3", after the offset of the root table.
            if start[4:] != b"TFL3":
                raise damaged(path, "is no TensorFlow Lite model")
        case ".xml":
            return _ir(path)
        case ".onnx":
            return (path, *onnx.external_files(path))
    return (path,)


def _saved_model(folder: Path) -> tuple[Path, ...]:
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
    if version is None:
        raise ModelError("ir-version", f"{path.name} does not say its IR version")
    if version not in _IR_VERSIONS:
        origin, advice = (
            ("OpenVINO 2019 or older", "convert the original model")
            if version < _IR_VERSIONS[0]
            else ("a newer OpenVINO", "save it from the OpenVINO that is used here")
        )
        raise ModelError(
            "ir-version",
            f"{path.name} is IR version {version}, of {origin}; versions {_IR_VERSIONS[0]} and "
            f"{_IR_VERSIONS[1]} can be read: {advice}",
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
