"""Reading, compiling and running of foreign files in a child process that can do nothing else.

What comes back is an IR that OpenVINO itself wrote, and arrays. A file that makes its library
crash, loop or eat memory ends the child, and is an error of one line here.
"""

import math
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax import errors
from thorax.devices.extensions import add_extensions
from thorax.devices.process_core import open_core
from thorax.errors import ModelError, ThoraxError, UsageError, last_line
from thorax.files.documents import read_limited
from thorax.importers import standby
from thorax.importers.options import UNREADABLE, Imported, ImportOptions, Layout, Run, damaged
from thorax.isolation.child import ChildError, ChildStartError, ChildTimeoutError
from thorax.isolation.confinement import Allowance, occupied_bytes, path_of_python
from thorax.processors import processors

_MOST_ANSWER_BYTES: Final = 1 << 30
_SINGLE: Final = frozenset(
    (
        *(".pt", ".pth", ".ts", ".pt2", ".safetensors", ".ckpt", ".bin", ".tar"),
        *(".keras", ".h5", ".hdf5", ".tflite"),
    )
)
"""Endings of formats that are one file; of others neighbours may be read too."""
_IR: Final = (b"<?xml", b"<net")
_LONGEST_NAME: Final = 200
_LONGEST_NOTE: Final = 1000
_MOST_NEIGHBOURS: Final = 1000
_LIBRARIES: Final = frozenset(
    ("torch", "safetensors", "keras", "h5py", "onnx", "tensorflow", "tf_keras")
)


class Reader:
    """A child that reads a file, and its folder; both go when nobody needs them.

    It can read again, for as long as no file ends it, what it may read: a file and what belongs to
    it, or all of a folder.
    """

    def __init__(self, path: Path, options: ImportOptions) -> None:
        self._name = path.name
        self._readable = _readable(path, options)
        self._allowance = Allowance.of(_size(path, options), processors())
        started = standby.take()
        self._child, self.folder, self._given = started.child, started.folder, started.given
        self._readable.append(self._given)
        self.close = weakref.finalize(self, started.stack.close)

    def read(self, module: str, path: Path, options: ImportOptions) -> Imported:
        """Have a file read by a module of this package, whose `read(path, options)` does it."""
        answer, _ = self._ask(
            {
                "do": "read",
                "module": module,
                "path": str(path.absolute()),
                "options": pack_options(options),
                "folder": str(self.folder),
                "readable": list(map(str, self._readable)),
                "path_of_python": path_of_python(own_code=_runs_own_code(options)),
                "data_bytes": self._allowance.data_bytes,
                "file_bytes": self._allowance.file_bytes,
            },
            "reading",
        )
        with self._sense():
            framework, runs = str(answer["framework"])[:_LONGEST_NAME], bool(answer["runs"])
            layout: Layout = "NHWC" if answer["layout"] == "NHWC" else "NCHW"
            files = _files(answer["files"], self._readable, path)
            note = str(answer["note"])[:_LONGEST_NOTE]
        return Imported(
            model=_open(self.folder, self._allowance.file_bytes, path, options),
            framework=framework,
            layout=layout,
            files=files,
            run=self.runner(0) if runs else None,
            compile=self.compile,
            attempt=self.attempt,
            note=note,
        )

    def compile(self, model: ov.Model) -> Run:
        """Have OpenVINO compile a graph for the CPU in FP32, and return what runs it there."""
        xml = self._given / "given.xml"
        ov.serialize(model, xml)
        head, _ = self._ask({"do": "compile", "xml": str(xml)}, "compiling")
        with self._sense():
            return self.runner(int(head["number"]))

    def attempt(self, shape: Sequence[int]) -> None:
        """Have OpenVINO compile the network itself for a shape, to see that it can."""
        self._ask({"do": "attempt", "shape": list(shape)}, "compiling")

    def runner(self, number: int) -> Run:
        """Return what runs the network: 0 by its framework, others by OpenVINO."""

        def run(arrays: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
            whole = [np.ascontiguousarray(array) for array in arrays]
            head, body = self._ask(
                {"do": "run", "number": number, "arrays": describe(whole)},
                "running",
                b"".join(array.tobytes() for array in whole),
            )
            with self._sense():
                return unpack(head["arrays"], body)

        return run

    @contextmanager
    def _sense(self) -> Iterator[None]:
        """Turn what cannot be made of an answer into the end of the child that gave it."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            self.close()
            raise self._crashed("answers nonsense") from error

    def _crashed(self, what: object) -> ModelError:
        return ModelError(
            "model-crashed",
            f"the process that was reading or running {self._name} {what}; the file is damaged or "
            "made to harm, or the library of its format has a fault: export it again",
        )

    def _ask(
        self, head: dict[str, Any], doing: str, data: bytes = b""
    ) -> tuple[dict[str, Any], bytearray]:
        allowed = self._allowance
        head["cpu_s"] = allowed.cpu_s
        try:
            answer = self._child.ask(head, data, allowed.wall_s, _MOST_ANSWER_BYTES)
        except ChildTimeoutError as error:
            self.close()
            raise ModelError(
                "model-timeout",
                f"{doing} {self._name} {error} (allowed are {allowed.cpu_s:.0f} s of processor "
                f"time and {allowed.wall_s:.0f} s in all); it is of no usual size, or loops",
            ) from error
        except ChildStartError as error:
            self.close()
            raise UsageError(
                "child-start", f"the process that reads models {error}; make room, and repeat"
            ) from error
        except ChildError as error:
            self.close()
            raise self._crashed(error) from error
        refusal = answer.head.get("refusal")
        if refusal is not None:
            with self._sense():
                kind, code, message = map(str, refusal)
            raise _refused(kind, code, message)
        if "missing" in answer.head:
            name = str(answer.head["missing"])
            if name.split(".")[0] in _LIBRARIES:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            raise ModelError(
                "model-unreadable", f"{self._name} needs the Python module {name!r}, not here"
            )
        return answer.head, answer.body


def read(module: str, path: Path, options: ImportOptions) -> Imported:
    """Read a file, or a folder, by `read(path, options)` of a module of this package, in a child.

    Raises:
        ModelError: what the module says; `model-timeout`, `model-memory` or `model-crashed` when
            the limits or the file ended the child.
        UsageError: what the module says.
    """
    reader = Reader(path, options)
    try:
        return reader.read(module, path, options)
    except BaseException:
        reader.close()
        raise


def pack_options(options: ImportOptions) -> dict[str, object]:
    """Return options as JSON has them."""
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    structure = options.structure and str(options.structure.absolute())
    return values | {"structure": structure, "shapes": dict(options.shapes)}


def unpack_options(packed: Mapping[str, Any]) -> ImportOptions:
    """Return the options that `pack_options` packed."""
    lists = {name: tuple(packed[name]) for name in ("extensions", "begins", "ends")}
    shapes = {name: tuple(shape) for name, shape in packed["shapes"].items()}
    structure = packed["structure"] and Path(packed["structure"])
    return ImportOptions(**{**packed, **lists, "shapes": shapes, "structure": structure})


def describe(arrays: Sequence[npt.NDArray[Any]]) -> list[tuple[str, list[int]]]:
    """Return element type and shape of arrays, for an answer's head."""
    return [(array.dtype.str, list(array.shape)) for array in arrays]


def unpack(
    described: Sequence[tuple[str, list[int]]], data: bytes | bytearray
) -> list[npt.NDArray[Any]]:
    """Return the arrays whose bytes follow one another in an answer's body."""
    arrays, offset = [], 0
    for kind, shape in described:
        element = np.dtype(str(kind))
        count = math.prod(shape)
        if element.hasobject or element.names or min(shape, default=0) < 0:
            raise ValueError(f"arrays of {kind} {shape} are none of a network")
        arrays.append(np.frombuffer(data, element, count, offset).reshape(shape).copy())
        offset += count * element.itemsize
    return arrays


def _open(folder: Path, most_bytes: int, path: Path, options: ImportOptions) -> ov.Model:
    """Read the IR that a child left in its folder, where it may have left anything else too."""
    try:
        add_extensions(options.extensions)
        # Read whole and not mapped: the child may still change its files.
        graph, weights = (
            read_limited(folder / f"model.{ending}", most_bytes, links=False)
            for ending in ("xml", "bin")
        )
        # Of all formats that OpenVINO knows by their content, IR alone names no other file.
        if not graph.startswith(_IR):
            raise RuntimeError("it is no IR")
        return open_core().read_model(graph, weights)
    except (*UNREADABLE, OSError) as error:
        raise damaged(path, f"cannot be kept as IR: {last_line(error)}") from error


def _files(named: Sequence[str], readable: Sequence[Path], path: Path) -> tuple[Path, ...]:
    files = tuple(map(Path, named))
    roots = [Path(os.path.realpath(root)) for root in readable]
    for file in files:
        real = Path(os.path.realpath(file))
        if not real.is_file() or not any(real.is_relative_to(root) for root in roots):
            raise damaged(path, "is read from no file of a model")
    return files


def _refused(kind: str, code: str, message: str) -> ThoraxError:
    error = getattr(errors, kind, None)
    if isinstance(error, type) and issubclass(error, ThoraxError):
        return error(code, message)
    return ModelError(code, message)


def _runs_own_code(options: ImportOptions) -> bool:
    return bool(options.extensions) or ":" in (options.topology or "")


def _readable(path: Path, options: ImportOptions) -> list[Path]:
    """Return the paths that the reader of a file may need: the file, or also those beside it."""
    if _runs_own_code(options):
        # Code that the user chose reads what it likes.
        return [Path("/")]
    paths = [path.absolute(), Path(os.path.realpath(path))]
    for file in (path, options.structure):
        if file is None or file.is_dir():
            continue
        paths += [file.absolute(), Path(os.path.realpath(file))]
        if file.suffix.lower() not in _SINGLE:
            folder = file.absolute().parent
            paths.append(folder)
            # Caches keep what belongs together under links; one that leads nowhere is no matter.
            # What lies elsewhere than the model itself is nothing of it.
            real = Path(os.path.realpath(file)).parent
            with suppress(OSError):
                links = [entry for entry in folder.iterdir() if entry.is_symlink()]
                targets = [Path(os.path.realpath(link)) for link in links[:_MOST_NEIGHBOURS]]
                paths += [target for target in targets if target.parent == real]
    return paths


def _size(path: Path, options: ImportOptions) -> int:
    """Return how many bytes the files of a network have, counting what may belong to it."""
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
    elif path.suffix.lower() in _SINGLE:
        files = [path]
    else:
        files = [file for file in path.parent.iterdir() if file.name.startswith(path.stem)]
    if options.structure is not None:
        files.append(options.structure)
    return sum(occupied_bytes(file) for file in {*files, path} if file.is_file())
