"""Which module reads a file, by its name; imports nothing that takes long."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

SAVED_MODEL: Final = "saved_model.pb"
_SYMBOL: Final = "-symbol.json"

MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".caffemodel": "caffe",
        ".prototxt": "caffe",
        ".onnx": "frontends",
        SAVED_MODEL: "frontends",
        ".pb": "frontends",
        ".tflite": "frontends",
        ".xml": "frontends",
        ".params": "mxnet",
        _SYMBOL: "mxnet",
        ".pt": "pytorch",
        ".pth": "pytorch",
        ".ts": "pytorch",
        ".pt2": "pytorch",
        ".safetensors": "pytorch",
        ".keras": "keras",
        ".h5": "keras",
        ".hdf5": "keras",
    }
)
"""Module of this package whose `read(path, asked)` reads files that end so."""


def kind_of(path: Path) -> str:
    """Return the key of `MODULES` that a file or folder would have, be it there or not."""
    if path.name == SAVED_MODEL or (path / SAVED_MODEL).is_file():
        return SAVED_MODEL
    return _SYMBOL if path.name.lower().endswith(_SYMBOL) else path.suffix.lower()
