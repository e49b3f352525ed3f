"""Refusals that every reader of a foreign format shares."""

import functools
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thorax.errors import ModelError, ThoraxError
from thorax.importers.options import Imported, ImportOptions, Run, damaged

_LONGEST: Final = 300
_INSTEAD: Final = "copy or export it again"


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
    return f"{name}: {lines[-1][:_LONGEST]}" if lines else name
