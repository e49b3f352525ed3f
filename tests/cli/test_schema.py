"""`thorax schema`: what the JSON of a command holds."""

import json

import pytest
from tests.cli.command import typed

from thorax.results.read import RESULTS


def test_a_schema_is_printed_of_the_words_of_a_command(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, err = typed(capfd, monkeypatch, "schema", "plan", "server")
    assert (status, err) == (0, "")
    schema = json.loads(out)
    assert schema["properties"]["command"]["const"] == "plan server"
    assert typed(capfd, monkeypatch, "schema", "plan", "server", "--json")[1] == out


def test_commands_that_have_one_are_listed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert typed(capfd, monkeypatch, "schema")[1].splitlines() == sorted(RESULTS)
    listed = json.loads(typed(capfd, monkeypatch, "schema", "--json")[1])
    assert listed == {"command": "schema", "commands": sorted(RESULTS)}


def test_a_command_without_one_is_refused(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, err = typed(capfd, monkeypatch, "schema", "classifi")
    assert (status, out) == (2, "")
    assert err.startswith("thorax: schema-command: ")
