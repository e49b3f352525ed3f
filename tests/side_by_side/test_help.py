"""Every script of benchmarks says what it is and what it takes, and does nothing meanwhile."""

import sys
from importlib import import_module
from pathlib import Path

import benchmarks
import pytest

FOLDER = Path(benchmarks.__file__).parent
SCRIPTS = sorted(
    ".".join(path.relative_to(FOLDER).with_suffix("").parts)
    for path in FOLDER.rglob("*.py")
    if "\ndef main(" in path.read_text("utf-8")
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_printed_and_nothing_written(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = import_module(f"benchmarks.{script}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as end:
        module.main()
    assert not end.value.code
    assert "usage:" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
