"""Formats that OpenVINO's own frontends read: ONNX, TensorFlow, TensorFlow Lite and its own IR."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Final

import openvino as ov
from openvino.frontend import FrontEnd, FrontEndManager

from thorax.errors import ModelError
from thorax.importers import extensions, frontend_checks, onnx, tensorflow
from thorax.importers.options import (
    UNREADABLE,
    Imported,
    ImportOptions,
    Layout,
    close,
    damaged,
    unconvertible,
    unreadable,
)
from thorax.importers.standby import SAVED_MODEL
from thorax.importers.translation import translated

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
        files, kind, opened = frontend_checks.saved_model(folder), ".pb", folder
    else:
        kind, opened = path.suffix.lower(), path
        files = frontend_checks.file(path, kind)
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
        run = onnx.runner(path, options.extensions)
    close(model, options.shapes, opened)
    return Imported(model, framework, layout, files, run)


def _convert(frontend: FrontEnd, path: Path, options: ImportOptions) -> ov.Model:
    try:
        loaded = frontend.load(str(path))
        graph = frontend.get_name() == "tf" and path.is_file()
        begins = tensorflow.cut_graph(loaded, path, options) if graph else {}
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
        raise _conversion_error(path, error) from error
    return model


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
    return unreadable(path, error)
