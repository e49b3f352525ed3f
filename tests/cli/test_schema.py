"""`thorax schema`: what the JSON of a command holds."""

import json
import sys

import pytest

from thorax.cli import app
from thorax.results.read import RESULTS


def typed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["thorax", "schema", *words])
    with pytest.raises(SystemExit) as caught:
        app.main()
    out, err = capfd.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, out, err


def test_a_schema_is_printed_of_the_words_of_a_command(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, err = typed(capfd, monkeypatch, "plan", "server")
    assert (status, err) == (0, "")
    schema = json.loads(out)
    assert schema["properties"]["command"]["const"] == "plan server"
    assert typed(capfd, monkeypatch, "plan", "server", "--json")[1] == out


def test_commands_that_have_one_are_listed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert typed(capfd, monkeypatch)[1].splitlines() == sorted(RESULTS)
    listed = json.loads(typed(capfd, monkeypatch, "--json")[1])
    assert listed == {"command": "schema", "commands": sorted(RESULTS)}


def test_a_command_without_one_is_refused(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, err = typed(capfd, monkeypatch, "classifi")
    assert (status, out) == (2, "")
    assert err.startswith("thorax: schema-command: ")
