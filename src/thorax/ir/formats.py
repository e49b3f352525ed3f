"""Which importer reads a file."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from thorax.errors import ModelError
from thorax.ir.imported import Asked, Imported

Importer = Callable[[Path, Asked], Imported]

_IMPORTERS: Final = {
    ".onnx": "frontends",
}
"""Module of this package whose `read(path, asked)` reads files that end so."""


def importer(path: Path) -> Importer:
    """Return what reads a file, known by its name.

    Raises:
        ModelError: `model-missing` or `model-format`.
    """
    if not path.exists():
        raise ModelError("model-missing", f"no model at {path}")
    module = _IMPORTERS.get(_kind(path))
    if module is None:
        raise ModelError(
            "model-format",
            f"{path.name} is of no format that can be read; these can: a run or checkpoint "
            f"folder, {', '.join(_IMPORTERS)}",
        )
    return cast("Importer", importlib.import_module(f"thorax.ir.{module}").read)


def read(path: Path, asked: Asked | None = None) -> Imported:
    """Read a network of any framework that is known by the file's name.

    Raises:
        ModelError: `model-missing`, `model-format`, `model-unreadable` and what the importer says.
        UsageError: what the file leaves open and was not said.
    """
    return importer(path)(path, asked or Asked())


def _kind(path: Path) -> str:
    return path.suffix.lower()
