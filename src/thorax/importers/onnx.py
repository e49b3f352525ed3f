"""What ONNX files need beside OpenVINO's frontend.

Files beside them that hold weights are judged before a library opens them, the softmax of older
operator sets is put right, and ONNX Runtime, where it is installed, judges the converted network.
"""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops

from thorax.errors import ModelError, last_line
from thorax.importers.options import Run, damaged, unsafe
from thorax.importers.wire import WireError, fields

_PARTS: Final = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}  # fmt: skip
"""Fields of onnx.proto (ONNX 1.19) that lead to tensors, by message."""
_DEEPEST: Final = 100

_OPSET_IMPORT: Final = 8
"""ModelProto: opset_import = 8 (OperatorSetIdProto: domain = 1, version = 2)."""

_ONE_AXIS: Final = 13
"""The first operator set whose Softmax, LogSoftmax and Hardmax run over one axis."""

_QUIET: Final = 4
"""Level of ONNX Runtime's log that tells only what ends the process."""


def external_files(path: Path) -> tuple[Path, ...]:
    """Return the files that hold weights of an ONNX file, each once.

    Raises:
        ModelError: `model-unreadable` for what is no ONNX, `model-unsafe` for a file that does not
            lie in the folder of the ONNX file or below, `model-weights` for one that is not there.
    """
    try:
        message = memoryview(path.read_bytes())
        names = sorted(set(_locations(message, "model")))
    except WireError as error:
        raise damaged(
            path, f"is no onnx model, or is damaged or cut off ({error}); copy or export it again"
        ) from error
    return tuple(_inside(path, name) for name in names)


def _locations(message: memoryview, kind: str, depth: int = 0) -> Iterator[str]:
    if depth > _DEEPEST:
        raise WireError(f"graphs are nested more than {_DEEPEST} deep")
    for field in fields(message):
        part = _PARTS[kind].get(field.number)
        if part is None or isinstance(field.value, int):
            continue
        if part != "external":
            yield from _locations(field.value, part, depth + 1)
            continue
        # StringStringEntryProto: key = 1, value = 2.
        entry = {inner.number: inner for inner in fields(field.value)}
        if 1 in entry and entry[1].text() == "location":
            yield entry[2].text() if 2 in entry else ""


def _inside(path: Path, name: str) -> Path:
    """Return a file by the name that the model gives it, which must lead to a place beside it."""
    parts = PurePosixPath(name).parts
    if (
        not parts
        or ".." in parts
        or "\\" in name
        or "\0" in name
        or PurePosixPath(name).is_absolute()
        or PureWindowsPath(name).drive
    ):
        raise unsafe(
            path,
            f"keeps weights in {name!r}, which is no place beside it; export it with "
            "its weights in one file, or in one beside it",
        )
    file = path.parent / name
    if not file.is_file():
        raise ModelError(
            "model-weights",
            f"{path.name} keeps weights in {name}, which is no file beside it; copy both",
        )
    resolved = Path(os.path.realpath(file))
    # Caches keep a model and its weights as links into one other folder.
    if not resolved.is_relative_to(Path(os.path.realpath(path.parent))) and not (
        resolved.parent == Path(os.path.realpath(path)).parent
    ):
        raise unsafe(
            path,
            f"keeps weights in {name}, a link to {resolved}, which is elsewhere; copy "
            "that file beside it",
        )
    return file


def flatten_softmax(model: ov.Model, path: Path) -> None:
    """Let the softmax of an older file run over all axes from its own on (ONNX, Softmax-11).

    From operator set 11 on OpenVINO's frontend, which read `model`, runs it over its own axis
    alone, as ONNX itself does from 13 on.
    """
    old = [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() in ("Softmax", "LogSoftmax") and _more_than_one_axis(node)
    ]
    if not old or _operator_set(path) >= _ONE_AXIS:
        return
    for node in old:
        data = node.input_value(0)
        axis = node.get_attributes()["axis"] % len(data.get_partial_shape())
        flat = ops.reshape(data, ops.constant(np.array([0] * axis + [-1])), special_zero=True)
        flat.set_friendly_name(f"{node.get_friendly_name()}/flat")
        kind = ops.softmax if node.get_type_name() == "Softmax" else ops.log_softmax
        answer = kind(flat, axis)
        answer.set_friendly_name(node.get_friendly_name())
        shaped = ops.reshape(answer, ops.shape_of(data), special_zero=False)
        shaped.set_friendly_name(f"{node.get_friendly_name()}/shaped")
        shaped.output(0).set_names(node.output(0).get_names())
        for user in node.output(0).get_target_inputs():
            user.replace_source_output(shaped.output(0))
    model.validate_nodes_and_infer_types()


def _more_than_one_axis(node: ov.Node) -> bool:
    shape = node.get_input_partial_shape(0)
    if shape.rank.is_dynamic:
        return False
    axis = node.get_attributes()["axis"] % len(shape)
    return any(side.is_dynamic or side.get_length() != 1 for side in list(shape)[axis + 1 :])


_WIDENED: Final = ("Subtract", "Convert")
"""What stands before the scale of a number that is stored quantised."""


def widen_scalars(model: ov.Model) -> None:
    """Make each single number that is stored quantised the number that it stands for, in place.

    OpenVINO's passes for low precision fail over a scalar that is multiplied with.
    """
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind != "Multiply" or node.input_value(0).get_node().get_type_name() not in _WIDENED:
            continue
        number = _number(node.output(0))
        if number is None:
            continue
        plain = ops.constant(number)
        plain.set_friendly_name(node.get_friendly_name())
        for user in node.output(0).get_target_inputs():
            user.replace_source_output(plain.output(0))


def _number(value: ov.Output) -> npt.NDArray[np.float32] | None:
    """Return a constant of one element, seen through what quantises, widens, shifts and scales."""
    node = value.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        return np.asarray(node.get_data(dtype=np.float32)) if node.get_byte_size() <= 8 else None
    if kind not in ("Convert", "Subtract", "Multiply", "FakeQuantize"):
        return None
    parts = [_number(each) for each in node.input_values()]
    if any(part is None or part.size != 1 for part in parts):
        return None
    first, *others = [part for part in parts if part is not None]
    match kind:
        case "Subtract":
            first = first - others[0]
        case "Multiply":
            first = first * others[0]
        case "FakeQuantize":
            # OpenVINO, operation-specs/quantization/FakeQuantize-1.
            low, high, out_low, out_high = others
            steps = node.get_attributes()["levels"] - 1
            index = np.rint((np.clip(first, low, high) - low) / (high - low) * steps)
            first = index / steps * (out_high - out_low) + out_low
    return np.asarray(first, np.float32)


def _operator_set(path: Path) -> int:
    version = 1
    try:
        for part in fields(memoryview(path.read_bytes())):
            if part.number != _OPSET_IMPORT:
                continue
            imported = {field.number: field for field in fields(part.data())}
            if 2 in imported and (1 not in imported or imported[1].text() in ("", "ai.onnx")):
                version = imported[2].integer()
    except WireError:
        # What the frontend read is no file of ours to refuse.
        return _ONE_AXIS
    return version


def runner(path: Path, extensions: Sequence[str] = ()) -> Run | None:
    """Return the network as ONNX Runtime runs it: arrays in, arrays out, float32.

    A file that fixes its shapes is run with others too, as OpenVINO can. None where ONNX Runtime is
    not installed or knows no layer of such a type, as of extensions.
    """
    if extensions or importlib.util.find_spec("onnxruntime") is None:
        return None
    # The optional judge; a file is read without it.
    import onnxruntime  # noqa: PLC0415
    from onnxruntime.capi import onnxruntime_pybind11_state as refusals  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(path.parent)
    )
    names = ("Fail", "InvalidArgument", "InvalidGraph", "NotImplemented", "RuntimeException")
    cannot = tuple(getattr(refusals, name) for name in names)

    def open_session(model: Path | bytes) -> Any:  # noqa: ANN401
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    try:
        session = open_session(path)
    except cannot:
        return None
    fixed = [tuple(port.shape) for port in session.get_inputs()]

    def run(arrays: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        nonlocal session, fixed
        try:
            if not all(_takes(*pair) for pair in zip(fixed, arrays, strict=True)):
                session = open_session(_without_shapes(path))
                fixed = [tuple(port.shape) for port in session.get_inputs()]
            inputs = [port.name for port in session.get_inputs()]
            answers = session.run(None, dict(zip(inputs, arrays, strict=True)))
        except cannot as error:
            raise ModelError(
                "model-unrunnable",
                f"{path.name}: ONNX Runtime, which the IR is compared with, does not run it with "
                f"{', '.join(str(list(array.shape)) for array in arrays)}: {last_line(error)}; "
                "repair the file, or say a shape that it takes",
            ) from error
        return [np.asarray(answer, np.float32) for answer in answers]

    return run


def _takes(shape: tuple[object, ...], array: npt.NDArray[Any]) -> bool:
    return len(shape) != array.ndim or all(
        not isinstance(axis, int) or axis == length
        for axis, length in zip(shape, array.shape, strict=True)
    )


def _without_shapes(path: Path) -> bytes:
    import onnx  # noqa: PLC0415

    model = onnx.load(path, load_external_data=False)
    del model.graph.value_info[:]
    weights = {tensor.name for tensor in model.graph.initializer}
    for port in (*model.graph.input, *model.graph.output):
        if port.name not in weights and port.type.HasField("tensor_type"):
            for index, axis in enumerate(port.type.tensor_type.shape.dim):
                axis.dim_param = f"{port.name}_{index}"
    return bytes(model.SerializeToString())
