"""Every option of every command, with what nobody means: one line, a code, never a bug or a wait.

The commands are read from the program itself, so that one that is added is tried too.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from thorax.cli.app import app
from thorax.files.documents import parse_json

pytestmark = pytest.mark.timeout(1800)

WORKER = Path(__file__).with_name("options_worker.py")
DEEP = "[" * 10_000

NUMBERS = {
    int: ("0", "-1", "1" + "0" * 30, "9" * 5000),
    float: ("nan", "inf", "-1e308", "1e308", "1e-300", "-0.0"),
}
TEXTS = (
    "",
    "x" * 100_000,
    "\x1b[31m\r\x07\u202e\udcff",
    DEEP,
    "../..",
    "no-such-name",
    "a.b=1e999",
    ":,=",
)
PATHS = ("missing", "folder", "zero", "pipe", "full", "broken", "deep", "loop")
SUFFIXES = {
    "figure": ".svg", "curve": ".svg", "svg": ".svg", "plot": ".svg", "recipe": ".toml",
    "file": ".toml", "write_file": ".toml", "documents": ".json", "labels": ".csv", "csv": ".csv",
    "input_model": ".onnx", "model": ".onnx", "source": ".onnx",
}  # fmt: skip
"""What a name must end in to get further than the check of its ending."""

MEANT = {("demo", "out"): {"missing", "folder"}}
"""Values that are no mistake: the command does its work there, for minutes."""

WHOLE = {
    "demo": ["--out", "/dev/null/demo"],
    "doctor cluster": ["--recipe", "missing.toml", "--data", "missing"],
    "phantom": ["--count", "1", "--size", "16"],
    "plan server": ["--images", "1000", "--runs", "1", "--cards", "0"],
    "plan cluster": ["--system", "tiny.toml", "--workers", "1,2"],
    "fpga list": ["--state", "state.json"],
    "fpga program": ["--state", "state.json"],
    "fpga erase": ["--state", "state.json"],
}
"""Options without which a command would do long work, or change what is not of the test."""

TINY = """
name = "mine"
title = "a cluster of the test"
reference = "resnet50"
ranks_per_node = 4
images_per_s = 100.0
within = { alpha_s = 1e-6, beta_bytes_per_s = 1e10 }
"""


@dataclass(frozen=True, slots=True)
class Option:
    """An option or argument of a command."""

    command: str
    name: str
    word: str
    kind: type
    required: bool
    flag: bool


def options() -> Iterator[Option]:
    def walk(command: Any, path: tuple[str, ...]) -> Iterator[Option]:  # noqa: ANN401
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*path, name))
        if hasattr(command, "commands"):
            return
        for one in command.params:
            kind = one.type_descriptor.annotation
            kind = kind.__args__[0] if getattr(kind, "__args__", None) else kind
            word = one.opts[0] if one.param_type_name == "option" else ""
            flag = bool(getattr(one, "is_flag", False))
            yield Option(" ".join(path), one.name, word, kind, one.required, flag)

    yield from walk(typer.main.get_command(app), ())


def values(option: Option) -> Iterator[str]:
    if option.flag:
        return
    if option.kind in NUMBERS:
        yield from NUMBERS[option.kind]
    elif issubclass(option.kind, Path):
        suffix = SUFFIXES.get(option.name, "")
        meant = MEANT.get((option.command, option.name), set())
        yield from (f"{name}{suffix}" for name in PATHS if name not in meant)
    else:
        yield from TEXTS


def command_lines() -> Iterator[list[str]]:
    """Each value of each option, beside what else its command cannot do without."""
    known = list(options())
    for option in known:
        own = [one for one in known if one.command == option.command]
        for value in values(option):
            words = [*option.command.split(), "--json", *WHOLE.get(option.command, [])]
            arguments = []
            for one in own:
                given = value if one is option else f"missing-{one.name}"
                if not one.word:
                    arguments.append(given)
                elif one is option or one.required:
                    words += [one.word, given]
            yield [*words, "--", *arguments]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[list[str], list[Any]]]:
    """Every command line with its status and what it wrote."""
    folder = tmp_path_factory.mktemp("options")
    for suffix in {"", *SUFFIXES.values()}:
        (folder / f"folder{suffix}").mkdir()
        (folder / f"zero{suffix}").symlink_to("/dev/zero")
        (folder / f"full{suffix}").symlink_to("/dev/full")
        (folder / f"loop{suffix}").symlink_to(f"loop{suffix}")
        os.mkfifo(folder / f"pipe{suffix}")
        (folder / f"broken{suffix}").write_bytes(b'{"a": [1, "\xff\x00')
        (folder / f"deep{suffix}").write_text(("a = " if suffix == ".toml" else "") + "[" * 200_000)
    (folder / "tiny.toml").write_text(TINY)
    lines = list(command_lines())
    environment = {
        **os.environ, "HOME": str(folder), "XDG_STATE_HOME": str(folder), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, WORKER],
        cwd=folder, env=environment, input=json.dumps(lines), stdout=subprocess.PIPE, text=True,
        check=True,
    )  # fmt: skip
    return list(zip(lines, json.loads(done.stdout), strict=True))


def shown(words: list[str]) -> str:
    return " ".join(word if len(word) < 60 else f"{word[:20]}...({len(word)})" for word in words)


def complaint(status: int | None, out: str, err: str) -> str | None:
    """Return what is wrong with an answer, None of one that is as it should be."""
    if status is None:
        return "does not end"
    if status not in (0, 2, 3, 4, 5, 6):
        return f"status {status}: {err[-300:]}"
    if status:
        told = [line for line in err.splitlines() if line.startswith("thorax: ")]
        if len(told) != 1 or not re.match(r"thorax: [a-z0-9]+(-[a-z0-9]+)*: .", told[0]):
            return f"not one line: {err[-300:]}"
        if told[0] != err.rstrip("\n").split("\n")[-1] or "Traceback" in err:
            return f"more than a line: {err[-300:]}"
        if not told[0].isprintable():
            return f"what a terminal obeys: {told[0][:300]!r}"
    if out:
        try:
            parse_json(out)
        except ValueError as error:
            return f"no JSON: {error}: {out[:200]}"
    elif not status:
        return "nothing said"
    return None


def test_every_option_refuses_in_one_line_what_nobody_means(
    answers: list[tuple[list[str], list[Any]]],
) -> None:
    wrong = {shown(words): complaint(*answer) for words, answer in answers}
    wrong = {words: why for words, why in wrong.items() if why is not None}
    assert not wrong, "\n".join(f"{words}\n    {why}" for words, why in wrong.items())


def test_every_command_and_option_is_tried(answers: list[tuple[list[str], list[Any]]]) -> None:
    known = list(options())
    tried = {" ".join(words[: words.index("--json")]) for words, _ in answers}
    assert tried == {one.command for one in known if not one.flag}
    for one in known:
        if one.word and not one.flag:
            assert any(one.word in words for words, _ in answers), one
