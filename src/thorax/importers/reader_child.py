"""The child that reads a foreign file; `thorax.importers.reader` asks it.

It gives up network, other processes and all files but those of the model before it opens them.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from thorax.devices.process_core import open_core
from thorax.errors import ModelError, ThoraxError, UsageError, last_line
from thorax.importers.options import MOST_LAYERS, NO_MEMORY, Run, compile_here, damaged, no_memory
from thorax.importers.reader import describe, unpack, unpack_options
from thorax.importers.standby import PRELOADED
from thorax.isolation import child, confinement

_REPLY = tuple[dict[str, Any], Sequence[memoryview]]


class _Reading:
    """State of the child: the networks that it can run, that of the framework first."""

    def __init__(self) -> None:
        self._runs: list[Run | None] = [None]
        self._name = ""
        self._confined = False
        self._model: ov.Model | None = None

    def answer(self, head: dict[str, Any], data: bytes) -> _REPLY:
        """Answer a request; whatever a foreign network or library raises is a refusal."""
        refused: ThoraxError
        try:
            match head["do"]:
                case "read":
                    return self._read(head), []
                case "compile":
                    self._runs.append(compile_here(open_core().read_model(head["xml"])))
                    return {"number": len(self._runs) - 1}, []
                case "attempt":
                    return self._attempt(head), []
            return self._run(head, data)
        except ThoraxError as error:
            is_memory = error.code != "model-memory" and NO_MEMORY.search(error.message)
            refused = no_memory(self._name) if is_memory else error
        except ModuleNotFoundError as error:
            return {"missing": error.name or str(error)}, []
        # A foreign network or library may raise anything at all.
        except Exception as error:
            code = "model-unreadable" if head["do"] == "read" else "model-unrunnable"
            what = f"ends in {type(error).__name__}: {last_line(error)[:300]}"
            refused = ModelError(code, f"{self._name} {what}; export it again, repaired")
            if isinstance(error, RecursionError):
                refused = ModelError("model-unreadable", f"{self._name} is nested too deeply")
            elif isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
                refused = no_memory(self._name)
        return {"refusal": [type(refused).__name__, refused.code, refused.message]}, []

    def _read(self, head: dict[str, Any]) -> dict[str, Any]:
        path = Path(head["path"])
        self._name = path.name
        sys.path += [folder for folder in head["path_of_python"] if folder not in sys.path]
        folder = Path(head["folder"])
        if not self._confined:
            # What was given up once stays so for whatever is read later.
            confinement.limit(data_bytes=head["data_bytes"], file_bytes=head["file_bytes"])
            confinement.isolate(readable=map(Path, head["readable"]), writable=[folder])
            self._confined = True
        module = importlib.import_module(f"thorax.importers.{head['module']}")
        imported = module.read(path, unpack_options(head["options"]))
        layers = len(imported.model.get_ops())
        if layers > MOST_LAYERS:
            raise damaged(path, f"has {layers:,} layers; at most {MOST_LAYERS:,} are read")
        ov.serialize(imported.model, folder / "model.xml")
        self._runs, self._model = [imported.run], imported.model
        return {
            "framework": imported.framework,
            "layout": imported.layout,
            "files": [str(file) for file in imported.files],
            "runs": imported.run is not None,
            "note": imported.note,
        }

    def _attempt(self, head: dict[str, Any]) -> dict[str, Any]:
        assert self._model is not None
        model = self._model.clone()
        model.set_friendly_name(self._name)
        try:
            model.reshape(head["shape"])
        except RuntimeError as error:
            raise ModelError(
                "model-input", f"{self._name} does not take {head['shape']}: {last_line(error)}"
            ) from error
        compile_here(model)
        return {}

    def _run(self, head: dict[str, Any], data: bytes) -> _REPLY:
        run = self._runs[head["number"]]
        if run is None:
            raise UsageError("model-undescribed", f"{self._name} has no execution of its own")
        answers = [np.ascontiguousarray(array) for array in run(unpack(head["arrays"], data))]
        return {"arrays": describe(answers)}, [memoryview(array.tobytes()) for array in answers]


def main() -> None:
    """Be the child."""
    if module := os.environ.get(PRELOADED):
        with suppress(ImportError):
            importlib.import_module(f"thorax.importers.{module}")
    child.answer(_Reading().answer)
