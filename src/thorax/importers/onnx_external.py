"""Files beside an ONNX file that it keeps weights in, judged before a library opens them."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final

from thorax.errors import ModelError
from thorax.importers.wire import Field, WireError, fields

_MODEL: Final = {7: "graph", 25: "function"}
_PARTS: Final = {
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "model": _MODEL,
}  # fmt: skip
"""Fields of onnx.proto (ONNX 1.19) that lead to tensors, by message."""
_EXTERNAL_DATA, _KEY, _VALUE = 13, 1, 2
_DEEPEST: Final = 100


def external_files(path: Path) -> tuple[Path, ...]:
    """Return the files that hold weights of an ONNX file, each once.

    Raises:
        ModelError: `model-unreadable` for what is no ONNX, `model-unsafe` for a file that does not
            lie in the folder of the ONNX file or below, `model-weights` for one that is not there.
    """
    try:
        message = memoryview(path.read_bytes())
        names = sorted(set(_locations(message, "model", 0)))
    except WireError as error:
        raise ModelError(
            "model-unreadable",
            f"{path.name} is no onnx model, or is damaged or cut off ({error}); copy or export it "
            "again",
        ) from error
    return tuple(_inside(path, name) for name in names)


def _locations(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise WireError(f"graphs are nested more than {_DEEPEST} deep")
    parts = _PARTS.get(kind, {})
    for field in fields(message):
        if field.number in parts and not isinstance(field.value, int):
            part = parts[field.number]
            if part == "tensor":
                yield from _of_tensor(field)
            else:
                yield from _locations(field.data(), part, depth + 1)


def _of_tensor(tensor: Field) -> Iterator[str]:
    for field in fields(tensor.data()):
        if field.number != _EXTERNAL_DATA or isinstance(field.value, int):
            continue
        entry = {part.number: part for part in fields(field.data())}
        if _KEY in entry and entry[_KEY].text() == "location":
            yield entry[_VALUE].text() if _VALUE in entry else ""


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
        raise ModelError(
            "model-unsafe",
            f"{path.name} keeps weights in {name!r}, which is no place beside it; export it with "
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
        raise ModelError(
            "model-unsafe",
            f"{path.name} keeps weights in {name}, a link to {resolved}, which is elsewhere; copy "
            "that file beside it",
        )
    return file
