"""A command line in the process of a test."""

import sys

import pytest

from thorax.cli import app


def typed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object
) -> tuple[int, str, str]:
    """Run a command line in this process; return exit status, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["thorax", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        app.main()
    out, err = capfd.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, out, err
