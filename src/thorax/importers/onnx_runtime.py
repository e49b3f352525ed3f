"""ONNX Runtime as the judge of what OpenVINO made of an ONNX file, where it is installed."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thorax.errors import ModelError, last_line
from thorax.importers.options import Run

_QUIET = 4
"""Only what ends the process is said aloud."""


def runner(path: Path, extensions: Sequence[str] = ()) -> Run | None:
    """Return the network as ONNX Runtime runs it: arrays in, arrays out, float32.

    A file that fixes its shapes is run with others too, as OpenVINO can.

    Args:
        path: .onnx; weights that it keeps in other files are beside it.
        extensions: layers of them are not known to ONNX Runtime.

    Returns:
        None where ONNX Runtime is not installed or knows no layer of such a type.
    """
    if extensions or importlib.util.find_spec("onnxruntime") is None:
        return None
    # The optional judge; a file is read without it.
    import onnxruntime  # noqa: PLC0415
    from onnxruntime.capi.onnxruntime_pybind11_state import (  # noqa: PLC0415
        Fail,
        InvalidArgument,
        InvalidGraph,
        NotImplemented,
        RuntimeException,
    )

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(path.parent)
    )
    cannot = (Fail, InvalidArgument, InvalidGraph, NotImplemented, RuntimeException)

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
            names = [port.name for port in session.get_inputs()]
            answers = session.run(None, dict(zip(names, arrays, strict=True)))
        except cannot as error:
            raise ModelError(
                "model-unrunnable",
                f"{path.name}: ONNX Runtime, which the IR is compared with, does not run it with "
                f"{', '.join(str(list(one.shape)) for one in arrays)}: {last_line(error)}; "
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
    """Return a model whose inputs, outputs and inner values may have any shape."""
    import onnx  # noqa: PLC0415

    model = onnx.load(path, load_external_data=False)
    del model.graph.value_info[:]
    weights = {one.name for one in model.graph.initializer}
    for port in (*model.graph.input, *model.graph.output):
        if port.name not in weights and port.type.HasField("tensor_type"):
            for index, axis in enumerate(port.type.tensor_type.shape.dim):
                axis.dim_param = f"{port.name}_{index}"
    return bytes(model.SerializeToString())
