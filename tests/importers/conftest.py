"""Readers of foreign formats, judged in the process of the test."""

import re
from pathlib import Path

import pytest
from tests.importers.small_models import read_here

from thorax.errors import ModelError, ThoraxError, UsageError
from thorax.importers import formats
from thorax.importers.options import ImportOptions


@pytest.fixture(autouse=True)
def here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read without a child, which takes a second a file, but where a test is about the child."""
    if "child" not in request.keywords:
        monkeypatch.setattr("thorax.importers.reader.read", read_here)


def refused(path: Path, options: ImportOptions | None = None) -> ThoraxError:
    """Return the error, one short line, of a file that is read; no file beside it changes."""
    before = {file: file.lstat().st_size for file in path.parent.rglob("*")}
    with pytest.raises((ModelError, UsageError)) as caught:
        formats.read(path, options)
    assert {file: file.lstat().st_size for file in path.parent.rglob("*")} == before
    assert len(caught.value.message) < 500
    assert not re.search(r"src/|\.cpp|Check '|\n", caught.value.message)
    return caught.value
