"""Results become the JSON that a command prints, and are read from it again."""

import json
from typing import Literal

import pytest
from pydantic import ValidationError

from thorax.errors import DataError, UsageError
from thorax.results.read import RESULTS, json_schema, parse_result
from thorax.results.schema import Part, Result


class _Cell(Part):
    value: float | None
    low: float | None = None


class _Answer(Result):
    command: Literal["answer"] = "answer"
    cells: dict[str, _Cell]
    note: str | None = None


def test_keys_stand_in_the_order_of_the_fields_and_what_was_not_given_is_absent() -> None:
    answer = _Answer(cells={"Mass": _Cell(value=None), "Nodule": _Cell(value=0.5, low=0.25)})
    assert json.loads(answer.to_json()) == answer.document()
    assert list(answer.document()) == ["command", "cells"]
    assert answer.document()["cells"]["Mass"] == {"value": None}
    assert list(answer.document()["cells"]["Nodule"]) == ["value", "low"]


def test_what_is_given_as_nothing_is_null() -> None:
    assert list(_Answer(cells={}, note=None).document()) == ["command", "cells", "note"]


def test_what_was_printed_is_read_as_it_was() -> None:
    answer = _Answer(cells={"Mass": _Cell(value=0.1)})
    again = _Answer.model_validate_json(answer.to_json())
    assert again == answer
    assert again.to_json() == answer.to_json()


def test_a_key_that_is_no_field_is_refused_where_a_part_is_made() -> None:
    answer = _Answer(command="answer", cells={})
    with pytest.raises(ValidationError):
        _Answer(command="answer", cells={}, cell=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        answer.stating(erorr="it is hot")
    for wrong in ({"cell": 1}, {"cells": "none"}):
        with pytest.raises(ValidationError):
            answer.model_copy(update=wrong)


def test_what_a_newer_version_adds_is_passed_over() -> None:
    later = {"command": "answer", "cells": {}, "added": 1}
    assert _Answer.read(later).document() == {"command": "answer", "cells": {}}


def test_a_result_does_not_change() -> None:
    with pytest.raises(ValidationError):
        _Answer(cells={}).note = "x"


def test_no_number_that_json_does_not_know_is_printed() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        _Answer(cells={"Mass": _Cell(value=float("nan"))}).to_json()


@pytest.mark.parametrize("command", RESULTS)
def test_a_document_that_garbles_everything_is_damaged(command: str) -> None:
    garbled: dict[str, object] = {key: [[[]]] for key in RESULTS[command].model_fields}
    with pytest.raises(DataError) as refused:
        parse_result({**garbled, "command": command})
    assert refused.value.code == "report-damaged"
    assert command in str(refused.value)


@pytest.mark.parametrize("command", RESULTS)
def test_every_field_of_a_result_is_its_key(command: str) -> None:
    # What tuning answers was printed by `benchmark --tune` first.
    printed = {"tune": "benchmark"}.get(command, command)
    assert RESULTS[command].model_fields["command"].default == printed
    assert next(iter(RESULTS[command].model_fields)) == "command"


@pytest.mark.parametrize("command", RESULTS)
def test_the_schema_of_a_result_names_its_command_and_its_keys(command: str) -> None:
    schema = json_schema(command)
    assert schema["title"] == f"thorax {command}"
    assert schema["description"]
    assert list(schema["properties"]) == list(RESULTS[command].model_fields)
    assert "title" not in schema["properties"]["command"]
    assert json_schema(command) == schema


def test_a_command_without_a_schema_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="the nearest is plan server") as caught:
        json_schema("plan serv")
    assert caught.value.code == "schema-command"
