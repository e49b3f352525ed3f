"""The reading child and the module that it reads a file with, known before the parent imports.

Imports nothing that takes long: the child is started while its parent still imports.
"""

import atexit
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from thorax.files import atomic
from thorax.isolation.child import Child

SAVED_MODEL: Final = "saved_model.pb"
_SYMBOL: Final = "-symbol.json"

_ENDINGS: Final = {
    "caffe": (".caffemodel", ".prototxt"),
    "frontends": (".onnx", SAVED_MODEL, ".pb", ".tflite", ".xml"),
    "mxnet": (".params", _SYMBOL),
    "pytorch": (".pt", ".pth", ".ts", ".pt2", ".safetensors", ".ckpt", ".bin", ".tar"),
    "keras": (".keras", ".h5", ".hdf5"),
}
MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {ending: module for module, endings in _ENDINGS.items() for ending in endings}
)
"""Module of this package whose `read(path, options)` reads files that end so."""

READER: Final = "thorax.importers.reader_child"
PRELOADED: Final = "THORAX_READER"
"""Variable that names the module of this package which the child imports while it waits."""
_LIGHT: Final = ("frontends", "caffe", "mxnet", "pytorch")
"""Modules whose libraries start no threads when they are imported."""
_WITHOUT: Final = ("openvino.tools.ovc",)
"""What OpenVINO imports and no reader needs: its own converter, 0.15 s."""


@dataclass(frozen=True, slots=True)
class Started:
    """A child that reads models and has been given none; the stack ends it and its folders."""

    child: Child
    folder: Path
    """Where alone it may write."""
    given: Path
    """What it is given to read besides the model; it may not write there."""
    stack: ExitStack


_waiting: list[Started] = []


def kind_of(path: Path) -> str:
    """Return the key of `MODULES` that a file or folder would have, be it there or not."""
    if path.name == SAVED_MODEL or (path / SAVED_MODEL).is_file():
        return SAVED_MODEL
    return _SYMBOL if path.name.lower().endswith(_SYMBOL) else path.suffix.lower()


def begin(path: Path) -> None:
    """Start a child if a path looks like a foreign model; `take` will have it."""
    kind = kind_of(path)
    if not _waiting and kind in MODULES and kind != ".xml" and path.exists():
        started = _start(MODULES[kind])
        _waiting.append(started)
        atexit.register(started.stack.close)


def take() -> Started:
    """Return the child that was begun, or a new one; the caller closes it."""
    if not _waiting:
        return _start()
    started = _waiting.pop()
    atexit.unregister(started.stack.close)
    return started


def _start(module: str = "") -> Started:
    stack = ExitStack()
    try:
        folder = stack.enter_context(atomic.temporary_folder())
        given = stack.enter_context(atomic.temporary_folder())
        # Libraries keep settings and caches at home, which is closed to them.
        environment = dict.fromkeys(("HOME", "KERAS_HOME", "TMPDIR"), str(folder))
        # A thread that is there before the child gives up its files would keep them.
        environment |= {"OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment[PRELOADED] = module if module in _LIGHT else ""
        child = Child(READER, environment, without=_WITHOUT)
        stack.callback(child.close)
    except BaseException:
        stack.close()
        raise
    return Started(child, folder, given, stack)
