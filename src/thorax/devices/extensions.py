"""Custom layers: what OpenVINO lacks, computed by a C++ library or a Python class."""

import functools
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import openvino as ov

from thorax.devices.process_core import open_core
from thorax.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from thorax.artifact import Artifact

_LACKING: Final = re.compile(r"Cannot create \S+ layer")
_LIBRARIES: Final = (".so", ".dll", ".dylib")


@dataclass(frozen=True, slots=True)
class Extension:
    """A custom layer that the process's core knows, from a library or a Python class.

    `library` is a file of C++ layers, `layer` the Python class of one layer.
    """

    library: Path | None = None
    layer: type[Any] | None = None


def add_extension(spec: str) -> Extension:
    """Teach the process's one core a custom layer; more than once changes nothing.

    This runs the code of the library or module. A spec is the path of a library, `module:Class`
    with a module that Python finds here or on its path, or `file.py:Class`. The class is a subclass
    of `openvino.Op` that can be made without arguments.

    Raises:
        UsageError: `extension-missing` when there is no such file, module or class,
            `extension-unusable` when it is no custom layer or fails.
    """
    extension = _find(spec)
    try:
        _register(extension)
    except RuntimeError as error:
        raise UsageError(
            "extension-unusable",
            f"--extension {spec} cannot be added: {_reason(error)}; a library must be built for "
            f"OpenVINO {ov.__version__}, and a class must be made without arguments",
        ) from error
    return extension


def add_extensions(specs: Iterable[str]) -> tuple[Extension, ...]:
    """Teach the core several; see `add_extension`."""
    return tuple(add_extension(spec) for spec in specs)


def custom_layers(model: ov.Model) -> tuple[str, ...]:
    """Return the kinds of layers that OpenVINO itself lacks, `version::type`, sorted."""
    operations = set()
    for node in model.get_ops():
        kind = node.get_type_info()
        if not kind.version_id.startswith(("opset", "ie_internal", "util")):
            operations.add(f"{kind.version_id}::{kind.name}")
    return tuple(sorted(operations))


def missing(artifact: "Artifact", error: Exception) -> DeviceError | None:
    """Return the error of an artifact whose graph was refused for a layer that nobody added."""
    if not artifact.card.extensions or not _LACKING.search(str(error)):
        return None
    return DeviceError(
        "device-extension",
        f"{artifact.path.name} has layers that OpenVINO lacks, "
        f"{', '.join(artifact.card.extensions)}; "
        "say with --extension which library or class computes them",
    )


@functools.cache
def _register(extension: Extension) -> None:
    open_core().add_extension(extension.library or extension.layer)


def _find(spec: str) -> Extension:
    if Path(spec).suffix.lower() in _LIBRARIES:
        library = Path(os.path.realpath(spec))
        if not library.is_file():
            raise UsageError("extension-missing", f"--extension {spec}: there is no such library")
        return Extension(library=library)
    where, _, name = spec.rpartition(":")
    if not where or not name:
        raise UsageError(
            "extension-missing",
            f"--extension is {spec!r}; give a library ({', '.join(_LIBRARIES)}), module:Class or "
            "file.py:Class",
        )
    module = (
        _from_file(Path(os.path.realpath(where))) if where.endswith(".py") else _from_name(where)
    )
    layer = getattr(module, name, None)
    if layer is None:
        raise UsageError("extension-missing", f"--extension {spec}: {where} has no {name}")
    if not (isinstance(layer, type) and issubclass(layer, ov.Op)):
        raise UsageError(
            "extension-unusable", f"--extension {spec}: {name} is no subclass of openvino.Op"
        )
    return Extension(layer=layer)


@functools.cache
def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError("extension-missing", f"--extension: there is no {path}")
    described = importlib.util.spec_from_file_location(f"thorax_extension_{path.stem}", path)
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    try:
        described.loader.exec_module(module)
    # Whatever the code of a stranger raises.
    except Exception as error:
        raise _failed(str(path), error) from error
    return module


def look_here() -> str | None:
    """Let Python find modules of the current folder, after all that it finds elsewhere.

    Put first, a file there that happens to be called json.py would stand for the library. Returns
    what was put on Python's path, None where it was there.
    """
    folder = str(Path.cwd())
    if folder in sys.path:
        return None
    sys.path.append(folder)
    return folder


def _from_name(name: str) -> ModuleType:
    look_here()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            "extension-missing",
            f"--extension: module {error.name} cannot be found from {Path.cwd()}; give "
            "file.py:Class",
        ) from error
    # Whatever the code of a stranger raises.
    except Exception as error:
        raise _failed(name, error) from error


def _failed(where: str, error: Exception) -> UsageError:
    return UsageError(
        "extension-unusable",
        f"--extension: {where} fails when imported: {type(error).__name__}: {error}",
    )


def _reason(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    messages = [line for line in lines if not line.startswith(("Exception from", "At:", "/"))]
    return (messages or lines or [type(error).__name__])[0]
