"""Options of every importer, the network that it returns, and refusals that all share."""

import functools
import math
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import frontend

from thorax.devices.process_core import open_core
from thorax.errors import ModelError, ThoraxError, last_line

Layout = Literal["NCHW", "NHWC"]
Run = Callable[[Sequence[npt.NDArray[Any]]], list[npt.NDArray[np.float32]]]
"""Arrays for the inputs in order -> arrays of the outputs in order."""

UNREADABLE: Final = (
    RuntimeError,
    frontend.GeneralFailure,
    frontend.InitializationFailure,
    frontend.NotImplementedFailure,
    frontend.OpConversionFailure,
    frontend.OpValidationFailure,
)
"""What OpenVINO raises over a file that it cannot read."""

NO_MEMORY: Final = re.compile(r"bad_alloc|[Ff]ailed to allocate|[Cc]an(?:no|')t allocate memory")
"""What libraries say when they ask for more memory than there is."""

CAFFE_HDF5: Final = (
    "is a snapshot of Caffe in HDF5, which is not read; have Caffe write it with snapshot_format: "
    "BINARYPROTO, and give the .caffemodel with its .prototxt"
)
_INSTEAD: Final = "copy or export it again"

MOST_LAYERS: Final = 20_000
"""Of a network, constants counted; the largest in use have a third of them."""

MOST_INPUT_VALUES: Final = 1 << 26
"""Of an input: 8192 x 8192 pixels. What a network computes of more fills the memory."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Options of an import: what a file may leave open of itself.

    Attributes:
        structure: the file that names the layers, of formats that part them from the weights:
            Caffe's .prototxt, MXNet's -symbol.json; None looks beside the weights.
        topology: architecture of a bare state dict: a name, or `module:function`.
        shapes: of inputs by name, in the framework's own layout; "" is the only input's. An axis
            of -1 stays open.
        side: of a square image, pixels, for an input that no shape is asked for and whose sides
            the file leaves open.
        extensions: custom layers, as `thorax.devices.extensions.add_extension` takes them.
        begins: names where the network is to begin. Only a reader that cannot keep the names of
            inner layers cuts there itself; else the caller does.
        ends: names where it is to end, likewise.
    """

    structure: Path | None = None
    topology: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    side: int | None = None
    extensions: tuple[str, ...] = ()
    begins: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a shape that no network can be run with: `model-input`."""
        square = () if self.side is None else ((self.side, self.side),)
        for shape in (*self.shapes.values(), *square):
            if math.prod(max(1, axis) for axis in shape) > MOST_INPUT_VALUES:
                raise ModelError(
                    "model-input",
                    f"an input of {list(shape)} has more than {MOST_INPUT_VALUES:,} values; say "
                    "the side or the shape of the images that the network was trained with",
                )


def compile_here(model: ov.Model) -> Run:
    """Return a graph as OpenVINO runs it on the CPU in FP32, in this process.

    Raises:
        ModelError: `model-unrunnable`, when it is compiled or when it is run.
    """
    name = model.get_friendly_name()
    try:
        compiled = open_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise unrunnable(name, error) from error

    def run(arrays: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        try:
            answers = compiled(list(arrays))
        except RuntimeError as error:
            raise unrunnable(name, error) from error
        return [np.asarray(answers[port]) for port in compiled.outputs]

    return run


@dataclass(frozen=True, slots=True)
class Imported:
    """A network as its framework describes it, nothing added and nothing folded.

    Attributes:
        model: its layers have the names of the framework's; inputs are float, in `layout`.
        framework: "onnx", "caffe", ...
        layout: of inputs that are images.
        files: what it was read from.
        run: arrays for the inputs in order -> arrays of the outputs in order, computed by the
            framework itself where that is here; None where OpenVINO alone reads the format.
        compile: a graph as OpenVINO runs it on the CPU in FP32, where the file was read.
        attempt: compiles the network for one shape of its only input, where it was read, and
            raises what comes of it; None where this process read it.
        note: what was understood of the file that it does not say itself, for people; mostly "".
    """

    model: ov.Model
    framework: str
    layout: Layout
    files: tuple[Path, ...]
    run: Run | None = None
    compile: Callable[[ov.Model], Run] = compile_here
    attempt: Callable[[Sequence[int]], None] | None = None
    note: str = ""


def close(model: ov.Model, shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Close the open axes of inputs with the shapes of the options.

    An axis that the file itself fixes stays, and is for the caller to judge.

    Raises:
        ModelError: `model-input` for an input that is not there, or a shape that it cannot take.
    """
    names = {name: port for port in model.inputs for name in port.get_names()}
    closed = {}
    for name, shape in shapes.items():
        port = names.get(name) if name else (model.inputs[0] if len(model.inputs) == 1 else None)
        if port is None:
            raise ModelError(
                "model-input",
                f"{path.name} has no single input {name!r}; it has {', '.join(sorted(names))}",
            )
        sides = port.get_partial_shape()
        if sides.rank.is_dynamic:
            closed[port] = ov.PartialShape(list(shape))
        elif len(sides) == len(shape):
            pairs = zip(sides, shape, strict=True)
            closed[port] = ov.PartialShape(
                [ov.Dimension(size) if side.is_dynamic else side for side, size in pairs]
            )
        else:
            raise ModelError(
                "model-input", f"{path.name} takes {sides}; {list(shape)} has other axes"
            )
    if not closed:
        return
    try:
        model.reshape(closed)
    except RuntimeError as error:
        words = ", ".join(map(str, closed.values()))
        raise ModelError(
            "model-input", f"{path.name} does not take {words}: {last_line(error)}"
        ) from error


def unconvertible(path: Path, layers: str, *, extensible: bool = True) -> ModelError:
    """Return the error of layers that OpenVINO has no conversion of, nor maybe extensions."""
    advice = ", or say with --extension what computes them" if extensible else ""
    return ModelError(
        "model-layer",
        f"{path.name} has layers of a type that cannot be converted: {layers}; build the model "
        f"without them{advice}",
    )


def unreadable(path: Path, error: Exception) -> ModelError:
    """Return the error of a file that its reader gave up on, with the last line it said."""
    return ModelError("model-unreadable", f"{path.name}: {last_line(error)}")


def damaged(path: Path, why: str) -> ModelError:
    """Return the error of a file that is not whole, or not of its format: its name and why."""
    return ModelError("model-unreadable", f"{path.name} {why}")


def unsafe(path: Path, why: str) -> ModelError:
    """Return the error of a file that would run code or reach other files: its name and how."""
    return ModelError("model-unsafe", f"{path.name} {why}")


def unrunnable(name: str, error: Exception) -> ModelError:
    """Return the error of a graph that was read and cannot be computed."""
    if NO_MEMORY.search(str(error)):
        return no_memory(name)
    return ModelError(
        "model-unrunnable",
        f"{name} can be read but not run: OpenVINO says {last_line(error)}; export "
        "it without that layer, or with another operator set; nothing was written",
    )


def no_memory(name: str) -> ModelError:
    """Return the error of a network that takes more memory than one of its size may."""
    return ModelError(
        "model-memory",
        f"{name} needs more memory than a network of its size may take; look for a layer whose "
        "weights or output are huge (Dense, Expand, Tile, Resize), or say a smaller --side",
    )


def translated(
    read: Callable[[Path, ImportOptions], Imported],
) -> Callable[[Path, ImportOptions], Imported]:
    """Return a reader whose failures, and those of what it read, are errors of the model.

    A library that is given damaged bytes may raise anything at all. A pipe, device or socket is
    refused before anything waits for it.
    """

    @functools.wraps(read)
    def translating(path: Path, options: ImportOptions) -> Imported:
        for file in (path, options.structure):
            if file is not None:
                require_stored(file)
        try:
            imported = read(path, options)
        # What is not installed is the user's to add, and memory is for the process to judge.
        except (ThoraxError, ModuleNotFoundError, MemoryError):
            raise
        except RecursionError as error:
            raise damaged(path, f"is nested too deeply; {_INSTEAD}") from error
        except Exception as error:
            raise damaged(path, f"is damaged: {_cause(error)}; {_INSTEAD}") from error
        if imported.run is None:
            return imported
        return replace(imported, run=_runner(path, imported.run))

    return translating


def require_stored(path: Path) -> None:
    """Refuse what is neither a regular file nor a folder; what is not there is for the caller.

    Raises:
        ModelError: `model-unreadable`.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise damaged(path, f"cannot be read: {error}") from error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise damaged(path, "is a pipe, socket or device; give a regular file")


def require_file(path: Path) -> None:
    """Refuse a folder and an empty file.

    Raises:
        ModelError: `model-unreadable`.
    """
    if not path.is_file():
        raise damaged(path, "is a folder where a file is expected")
    if not path.stat().st_size:
        raise damaged(path, f"is empty; {_INSTEAD}")


def _runner(path: Path, run: Run) -> Run:
    def running(arrays: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        try:
            return run(arrays)
        except (ThoraxError, MemoryError):
            raise
        # The network is a stranger's: it may raise what it likes.
        except Exception as error:
            raise ModelError(
                "model-unrunnable",
                f"{path.name} can be read but not run: {_cause(error)}; repair the network, or say "
                "a shape that it takes",
            ) from error

    return running


def _cause(error: Exception) -> str:
    """Return the type of an error and the last line of its message, which tells why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    name = type(error).__name__
    return f"{name}: {lines[-1][:300]}" if lines else name
