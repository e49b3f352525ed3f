"""A child answers, and whatever becomes of it is one kind of error."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from thorax.isolation import child as isolation_child
from thorax.isolation.child import Child, ChildError, ChildTimeoutError

MODULE = """
import os, sys, time
from thorax.isolation.child import answer

def handle(head, data):
    what = head["what"]
    if what == "echo":
        return {"said": head["word"]}, [memoryview(data)]
    if what == "die":
        os._exit(7)
    if what == "loop":
        while True:
            pass
    if what == "print":
        print("noise")
        os.write(1, b"noise")
        return {}, []
    if what == "nonsense":
        os.write(NOISE, b"\\xff" * 64)
    if what == "raise":
        raise RuntimeError
    if what == "environment":
        return {"said": sorted(os.environ)}, []
    return {}, [memoryview(bytes(head["length"]))]

def main():
    global NOISE
    NOISE = os.dup(1)
    answer(handle)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    (tmp_path / "answering.py").write_text(MODULE)
    monkeypatch.setattr("thorax.isolation.child._ROOT", str(tmp_path))
    one = Child("answering", {})
    yield one
    one.close()


def test_a_child_imports_the_package_that_started_it() -> None:
    # A checkout that lies in no site-packages, and no module of a room by its bare name.
    root = Path(isolation_child._ROOT)
    assert Path(root, "thorax", "isolation", "child.py") == Path(isolation_child.__file__).resolve()


def test_it_answers_with_an_object_and_bytes(child: Child) -> None:
    data = bytes(range(256)) * 20_000
    for word in ("first", "grün"):
        answer = child.ask({"what": "echo", "word": word}, data, 60, len(data))
        assert (answer.head, bytes(answer.body)) == ({"said": word}, data)


def test_it_has_no_variable_but_what_libraries_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "answering.py").write_text(MODULE)
    monkeypatch.setattr("thorax.isolation.child._ROOT", str(tmp_path))
    for name in ("SECRET_TOKEN", "OMP_NUM_THREADS", "PATH"):
        monkeypatch.setenv(name, "1")
    with closing(Child("answering", {"HOME": "/nowhere"})) as child:
        said = child.ask({"what": "environment"}, b"", 60, 0).head["said"]
    assert {"HOME", "OMP_NUM_THREADS", "PATH"} <= set(said)
    assert not {"SECRET_TOKEN", "PWD", "OLDPWD"} & set(said)


def test_it_does_not_find_what_it_shall_be_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "answering.py").write_text("import sqlite3\n" + MODULE)
    monkeypatch.setattr("thorax.isolation.child._ROOT", str(tmp_path))
    with (
        closing(Child("answering", {}, without=("sqlite3",))) as child,
        pytest.raises(ChildError, match="ended with status 1"),
    ):
        child.ask({"what": "echo", "word": ""}, b"", 60, 0)


def test_what_it_prints_is_no_answer(child: Child) -> None:
    assert child.ask({"what": "print"}, b"", 60, 0).head == {}


@pytest.mark.parametrize("what", ["die", "nonsense", "raise"])
def test_a_child_that_ends_or_babbles_is_an_error(child: Child, what: str) -> None:
    with pytest.raises(ChildError):
        child.ask({"what": what}, b"", 60, 0)


def test_an_answer_that_is_too_long_is_an_error(child: Child) -> None:
    with pytest.raises(ChildError, match="nonsense"):
        child.ask({"what": "long", "length": 1001}, b"", 60, 1000)


def test_processor_time_is_limited(child: Child) -> None:
    with pytest.raises(ChildTimeoutError, match="processor time"):
        child.ask({"what": "loop", "cpu_s": 0.2}, b"", 250, 0)


def test_waiting_is_limited(child: Child) -> None:
    child.ask({"what": "echo", "word": ""}, b"", 60, 0)
    with pytest.raises(ChildTimeoutError, match="too long"):
        child.ask({"what": "loop"}, b"", 0.2, 0)
