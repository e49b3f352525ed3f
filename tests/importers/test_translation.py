"""Failures of libraries and of networks, told as errors of the model."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.errors import ModelError, UsageError
from thorax.importers.options import Imported, ImportOptions, require_stored, translated

RAISED = [
    KeyError("a"), AttributeError("a"), TypeError("a"), OverflowError("a"), RecursionError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), ValueError(), RuntimeError("a\nb"),
    IndexError("a"), ZeroDivisionError("a"), OSError(5, "a"), AssertionError(),
]  # fmt: skip


def raising(error: Exception) -> Any:  # noqa: ANN401
    def run(*_: object) -> Any:  # noqa: ANN401
        raise error

    return run


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_what_a_reader_raises_is_the_files_fault(tmp_path: Path, error: Exception) -> None:
    (tmp_path / "net.x").touch()
    with pytest.raises(ModelError) as caught:
        translated(raising(error))(tmp_path / "net.x", ImportOptions())
    assert caught.value.code == "model-unreadable"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_what_a_network_raises_is_the_networks_fault(tmp_path: Path, error: Exception) -> None:
    def read(path: Path, options: ImportOptions) -> Imported:
        x = ops.parameter([1], np.float32)
        return Imported(ov.Model([ops.relu(x)], [x]), "x", "NCHW", (path,), raising(error))

    (tmp_path / "net.x").touch()
    run = translated(read)(tmp_path / "net.x", ImportOptions()).run
    assert run is not None
    nothing: Sequence[npt.NDArray[Any]] = []
    with pytest.raises(ModelError) as caught:
        run(nothing)
    assert caught.value.code == "model-unrunnable"


@pytest.mark.parametrize(
    "error", [UsageError("a", "b"), ModelError("a", "b"), ModuleNotFoundError("a"), MemoryError()]
)
def test_what_is_another_matter_passes(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        translated(raising(error))(tmp_path / "net.x", ImportOptions())
    assert caught.value is error


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.x")
    with pytest.raises(ModelError, match="pipe"):
        require_stored(tmp_path / "net.x")
    with pytest.raises(ModelError, match="pipe"):
        translated(raising(KeyError()))(tmp_path, ImportOptions(structure=tmp_path / "net.x"))
    require_stored(tmp_path / "nothing")
