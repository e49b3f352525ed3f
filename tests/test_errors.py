"""Errors: one line, a stable code, one exit status a kind."""

import pickle

import pytest

from thorax.errors import (
    DataError,
    DeviceError,
    ImageError,
    ModelError,
    PeerError,
    ThoraxError,
    UsageError,
    last_line,
)

STATUS = {UsageError: 2, ImageError: 3, DataError: 3, ModelError: 4, DeviceError: 5, PeerError: 6}


def test_each_kind_exits_as_the_command_line_promises() -> None:
    assert {kind: kind.exit_code for kind in ThoraxError.__subclasses__()} == STATUS


def test_what_a_client_did_wrong_is_a_4xx_and_the_rest_a_5xx() -> None:
    for kind in STATUS:
        mine = kind in (UsageError, ImageError, DataError)
        assert kind.http_status // 100 == (4 if mine else 5)


@pytest.mark.parametrize("kind", STATUS)
def test_a_message_is_one_line_whatever_it_was_made_of(kind: type[ThoraxError]) -> None:
    error = kind("some-code", "first\nsecond\r\n\tthird\u2028fourth ")
    assert error.message == "first second third fourth"
    assert str(error) == "some-code: first second third fourth"


@pytest.mark.parametrize("kind", STATUS)
def test_an_error_survives_the_way_from_another_process(kind: type[ThoraxError]) -> None:
    error = pickle.loads(pickle.dumps(kind("some-code", "what")))
    assert (type(error), error.code, error.message) == (kind, "some-code", "what")


def test_of_a_foreign_error_the_last_line_is_told_or_else_its_type() -> None:
    said = RuntimeError("Exception from src/core.cpp:21:\n\n  the reason \n")
    assert last_line(said) == "the reason"
    assert last_line(RuntimeError("")) == "RuntimeError"
