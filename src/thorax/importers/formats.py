"""Which importer reads a file, in a process of its own."""

import functools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from thorax.errors import ModelError
from thorax.files import atomic, pairs
from thorax.importers import reader
from thorax.importers.options import CAFFE_HDF5, Imported, ImportOptions, Layout
from thorax.importers.standby import MODULES, SAVED_MODEL, kind_of

Importer = Callable[[Path, ImportOptions], Imported]

_CHANNELS_LAST: Final = (SAVED_MODEL, ".pb", ".tflite", ".keras", ".h5", ".hdf5")
"""What frameworks write that take images as [N,H,W,C] unless told otherwise."""


_CAFFE_HDF5: Final = (".caffemodel.h5", ".solverstate.h5")
"""What Caffe calls its own files in HDF5, which are none of Keras."""


def importer(path: Path) -> Importer:
    """Return what reads a file, known by its name, in a child process.

    Raises:
        ModelError: `model-missing` or `model-format`.
    """
    if not path.exists() and path.suffix.lower() == ".xml":
        # Unless someone is writing it, or it lies where nothing may be written.
        with suppress(OSError), atomic.locked(path):
            pairs.recover(path)
    if not path.exists():
        raise ModelError("model-missing", f"no model at {path}")
    if path.suffix.lower() == ".bin" and path.with_suffix(".xml").is_file():
        graph = path.with_suffix(".xml").name
        raise ModelError("model-format", f"{path.name} holds the weights of {graph}; give {graph}")
    if path.name.lower().endswith(_CAFFE_HDF5):
        raise ModelError("model-format", f"{path.name} {CAFFE_HDF5}")
    module = MODULES.get(kind_of(path))
    if module is None:
        raise ModelError(
            "model-format",
            f"{str(path)!r} is of no format that can be read; these can: a run or checkpoint "
            f"folder, {', '.join(MODULES)}",
        )
    return functools.partial(reader.read, module)


def read(path: Path, options: ImportOptions | None = None) -> Imported:
    """Read a network of any framework that is known by the file's name.

    Raises:
        ModelError: `model-missing`, `model-format`, `model-unreadable` and what the importer says.
        UsageError: what the file leaves open and was not said.
    """
    return importer(path)(path, options or ImportOptions())


def usual_layout(path: Path) -> Layout:
    """Return how the framework of a file takes images, where the file says nothing else."""
    return "NHWC" if kind_of(path) in _CHANNELS_LAST else "NCHW"
