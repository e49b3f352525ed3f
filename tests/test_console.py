"""What a person sees: on a terminal, and where there is none."""

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from thorax import console
from thorax.artifact import Artifact


def test_json_is_one_document_and_shows_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit({"a": [1, "ü\udcff"]}, as_json=True, show=lambda: pytest.fail("shown"))
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == ({"a": [1, "ü\udcff"]}, "")
    assert out.endswith("}\n")
    assert out.isascii()


def test_a_person_gets_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[int] = []
    console.emit({"a": 1}, as_json=False, show=lambda: shown.append(1))
    assert (shown, capsys.readouterr().out) == ([1], "")


def test_a_number_that_json_does_not_have_is_never_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        console.emit({"a": float("nan")}, as_json=True, show=lambda: None)
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="JSON compliant"):
        console.save({"a": float("inf")}, tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_a_saved_document_is_the_printed_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = {"b": 1, "a": {"c": [None, 0.1]}}
    console.save(document, tmp_path / "a.json")
    console.emit(document, as_json=True, show=lambda: None)
    assert (tmp_path / "a.json").read_text() == capsys.readouterr().out


def test_without_a_terminal_there_are_lines_and_a_last_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    with console.progress("reading", 4000) as ticker:
        for second in range(12):
            now = float(second)
            ticker.advance(100)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "reading: 600 of 4,000 images, 120/s",
        "reading: 1,100 of 4,000 images, 110/s",
        "reading: 1,200 images in 11.0 s, 109/s",
    ]


def test_nothing_done_is_nothing_said(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("reading", None):
        pass
    assert capsys.readouterr() == ("", "")


def test_what_is_told_as_a_total_is_not_added_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    with console.steps("drawing", 200) as tell:
        for done in (64, 128, 200):
            now += 1
            tell(done, 200)
    assert capsys.readouterr().err == "drawing: 200 images in 3.0 s, 67/s\n"


def on_terminal(command: list[str], out: Path | None) -> tuple[int, str]:
    """Run with stderr on a terminal, stdout in a file or on it too; return status and screen."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    with contextlib.ExitStack() as stack:
        stdout = slave if out is None else stack.enter_context(out.open("wb"))
        process = subprocess.Popen(command, stdout=stdout, stderr=slave, env=environment)
    os.close(slave)
    shown = b""
    while True:
        ready, _, _ = select.select([master], [], [], 60)
        assert ready, "nothing for a minute"
        try:
            part = os.read(master, 65536)
        except OSError:
            # Linux says EIO when the last process has closed the terminal.
            break
        shown += part
    os.close(master)
    return process.wait(), shown.decode()


def test_a_terminal_shows_a_bar_and_stdout_stays_clean(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "thorax", "classify", str(tiny_fp32.path), str(phantoms)]
    status, shown = on_terminal([*command, "--json"], tmp_path / "out")
    assert status == 0
    assert json.loads((tmp_path / "out").read_text())["images"] == 64
    assert "classifying" in shown
    assert "━" in shown
    assert "images/s" in shown
    assert "64" in shown

    status, shown = on_terminal(command, None)
    assert status == 0
    assert "classifying" in shown
    assert "phantom_11_000063.png" in shown


def test_lines_said_beside_a_bar_are_not_taken_for_markup(tmp_path: Path) -> None:
    script = (
        "from thorax import console\n"
        "with console.progress('x', 2) as ticker:\n"
        "    ticker.say('epoch [bold]1[/bold] of 2'); ticker.advance(2)\n"
    )
    status, shown = on_terminal([sys.executable, "-c", script], tmp_path / "out")
    assert (status, (tmp_path / "out").read_text()) == (0, "")
    assert "epoch [bold]1[/bold] of 2" in shown
