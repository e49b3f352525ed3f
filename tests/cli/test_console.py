"""What a person sees: on a terminal, and where there is none."""

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from thorax.artifact import Artifact
from thorax.cli import console
from thorax.report.text import clock_text
from thorax.results.schema import Result
from thorax.training.log import Progress


class _Answer(Result):
    command: Literal["answer"] = "answer"
    a: float
    b: tuple[float | None, ...] = ()


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
        console.save(_Answer(a=float("inf")), tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_a_saved_document_is_the_printed_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = _Answer(a=0.1, b=(None, 0.1))
    console.save(answer, tmp_path / "a.json")
    console.emit(answer, as_json=True, show=lambda: None)
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


def train(seconds: list[float], *, shown: bool = True, after: int = 0) -> None:
    """Show two epochs of six updates of 2,000 images, an update a second, ten to validate."""
    with console.training(shown=shown) as tell:
        for step in range(after + 1, 13):
            seconds[0] += 1
            epoch = (step - 1) // 6 + 1
            tell(Progress(epoch, 2, step, 12, 2000, 1 / step, 0.032, data_wait=0.25))
            if step % 6 == 0:
                seconds[0] += 10
                tell(Progress(epoch, 2, step, 12, 0, 0.5, 0.032, 0.75))


def test_training_says_without_a_terminal_how_fast_it_is_and_how_long_it_takes(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    train(clock)
    facts = "2,000 images/s, data wait 25%, rate 0.032, loss"
    assert capsys.readouterr().err.splitlines() == [
        f"training: epoch 1 of 2, step 5 of 12, {facts} 0.457, 7 s left",
        "epoch 1 of 2: loss 0.5000, mean val AUROC 0.7500, rate 0.032",
        f"training: epoch 2 of 2, step 11 of 12, {facts} 0.114, 2 s left",
        f"training: epoch 2 of 2, step 12 of 12, {facts} 0.0833, 0 s left",
        "epoch 2 of 2: loss 0.5000, mean val AUROC 0.7500, rate 0.032",
        "training: 24,000 images in 32 s",
    ]


def test_a_resumed_run_takes_as_long_as_what_is_left_of_it(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    train(clock, after=6)
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("training: epoch 2 of 2, step 11 of 12")
    assert first.endswith("1 s left")


def test_ranks_that_show_nothing_say_nothing(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    train(clock, shown=False)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_training_as_a_bar_with_its_facts(tmp_path: Path) -> None:
    script = (
        "from thorax.cli import console\n"
        "from thorax.training.log import Progress\n"
        "with console.training() as tell:\n"
        "    tell(Progress(2, 2, 8, 8, 64, 0.25, 0.032, data_wait=0.5))\n"
        "    tell(Progress(2, 2, 8, 8, 0, 0.25, 0.032, 0.75))\n"
    )
    status, shown = on_terminal([sys.executable, "-c", script], tmp_path / "out")
    assert (status, (tmp_path / "out").read_text()) == (0, "")
    for words in ("epoch 2/2, step 8/8", "images/s, data wait", "0.032", "0.25", "0 s left", "━"):
        assert words in shown
    assert "epoch 2 of 2: loss 0.2500, mean val AUROC 0.7500" in shown


@pytest.mark.parametrize(
    ("duration_s", "said"), [(0.4, "0 s"), (89, "89 s"), (180, "3 min"), (7500, "2 h 05 min")]
)
def test_a_duration_has_the_unit_it_is_thought_in(duration_s: float, said: str) -> None:
    assert clock_text(duration_s) == said


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
        "from thorax.cli import console\n"
        "with console.progress('x', 2) as ticker:\n"
        "    ticker.say('epoch [bold]1[/bold] of 2'); ticker.advance(2)\n"
    )
    status, shown = on_terminal([sys.executable, "-c", script], tmp_path / "out")
    assert (status, (tmp_path / "out").read_text()) == (0, "")
    assert "epoch [bold]1[/bold] of 2" in shown


HOSTILE = "a\x1b[31m\x07\u202eb\rc\x9bd\u2028e"


def test_nothing_that_a_terminal_obeys_leaves_by_any_door(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from thorax.report.table import Table

    table = Table(HOSTILE, (HOSTILE, "b"), ((HOSTILE, f"{HOSTILE}\n"),), note=HOSTILE)

    def show() -> None:
        print(HOSTILE)  # noqa: T201 - as commands do
        console.show(table)

    console.emit({}, as_json=False, show=show)
    console.say(f"{HOSTILE}\nthorax: forged")
    with console.progress(HOSTILE, 2) as ticker:
        ticker.say(HOSTILE)
        ticker.advance(2)
    try:
        raise ValueError(f"{HOSTILE}\nforged")
    except ValueError:
        console.say_traceback()
    for text in capsys.readouterr():
        assert text.count(r"a\x1b[31m\x07\u202eb\rc\x9bd\u2028e") >= 3
        assert not [letter for letter in text if letter != "\n" and not letter.isprintable()]
        assert "\nthorax: forged" not in text


def test_a_bar_obeys_no_name(tmp_path: Path) -> None:
    script = (
        "from thorax.cli import console\n"
        f"with console.progress({HOSTILE + '[bold]'!r}, 2) as ticker:\n"
        f"    ticker.say({HOSTILE!r}); ticker.advance(2)\n"
    )
    status, shown = on_terminal([sys.executable, "-c", script], tmp_path / "out")
    assert status == 0
    assert shown.count(r"a\x1b[31m\x07\u202eb\rc\x9bd") >= 2
    assert not {"\x07", "\u202e", "\x9b", "\u2028"} & set(shown)
    assert "[bold]" in shown
