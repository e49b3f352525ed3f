"""Which importer reads a file, by its name."""

from pathlib import Path

import pytest
from tests.importers.conftest import refused

from thorax.importers import formats


def test_an_ending_in_any_case_finds_its_importer(tmp_path: Path) -> None:
    (tmp_path / "NET.ONNX").touch()
    assert formats.importer(tmp_path / "NET.ONNX").args == ("frontends",)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "code"), [("no.onnx", "model-missing"), ("a.x", "model-format")])
def test_what_is_not_there_or_not_known_is_refused(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "a.x").touch()
    assert refused(tmp_path / name).code == code
