"""The documents say what the program does: blocks run, commands, options and codes exist."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from thorax.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if path.is_file()
]

BLOCK = re.compile(r"^<!-- test -->\n+```(console|sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""What is to be run: all of a `sh` block, the lines after `$ ` of a `console` block, and at the end
all `python` blocks of the document as one program."""

CODE = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`|^    (\S[^\n]*)$", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def script(text: str) -> str:
    """Return what a shell is to run of a document, continued lines and all."""
    lines: list[str] = []
    program = [body for kind, body in BLOCK.findall(text) if kind == "python"]
    for kind, body in BLOCK.findall(text):
        if kind == "python":
            continue
        more = False
        for line in body.splitlines():
            if kind == "sh" or more or line.startswith("$ "):
                lines.append(line if kind == "sh" or more else line[2:])
                more = lines[-1].endswith("\\")
    if program:
        lines += ["python - <<'END OF PROGRAM'", *program, "END OF PROGRAM"]
    return "\n".join(lines)


def run(text: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env={**os.environ, "PATH": programs},
        capture_output=True,
        text=True,
    )


def runnable() -> list[Path]:
    return [path for path in DOCUMENTS if script(path.read_text("utf-8"))]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", runnable(), ids=name)
def test_the_blocks_of_a_document_run_as_they_stand(path: Path, tmp_path: Path) -> None:
    done = run(script(path.read_text("utf-8")), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_console_block_gives_its_commands_and_not_their_output() -> None:
    text = (
        "<!-- test -->\n```console\n$ echo a \\\n  b\na b\n$ echo c\n```\n"
        "```console\n$ never\n```\n<!-- test -->\n\n```sh\necho d\n```\n"
    )
    assert script(text) == "echo a \\\n  b\necho c\necho d"


def test_python_blocks_are_one_program_after_all_else(tmp_path: Path) -> None:
    text = (
        "<!-- test -->\n```python\na = 1\n```\n<!-- test -->\n```sh\necho b\n```\n"
        "```python\nnever\n```\n<!-- test -->\n```python\nassert a == 1\n```\n"
    )
    done = run(script(text), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "b\n", "")


def leaves(command: Any, path: str = "thorax") -> Iterator[tuple[str, set[str]]]:  # noqa: ANN401
    """Yield every command and group by the words that run it, with its options."""
    options = {word for one in command.params for word in one.opts if word.startswith("-")}
    yield path, options | {"--help", "--debug"}
    for inner, found in getattr(command, "commands", {}).items():
        yield from leaves(found, f"{path} {inner}")


COMMANDS = dict(leaves(typer.main.get_command(app)))


def mentions(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each `thorax ...` in code: the longest command it begins with, and its options."""
    for block in CODE.findall(text):
        code = next(part for part in block if part) if any(block) else ""
        joined = code.replace("\\\n", " ")
        for match in re.finditer(r"(?:^|[\s$])thorax ((?:[^\n|&;>#`]|(?<=\w)[|])*)", joined):
            words = ["thorax", *match[1].split()]
            if len(words) < 2 or not re.fullmatch(r"[a-z-]+", words[1]):
                continue
            count = next(
                (n for n in range(len(words), 1, -1) if " ".join(words[:n]) in COMMANDS), 0
            )
            options = [word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)]
            yield " ".join(words[: count or 2]), options


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_command_and_option_in_a_document_exists(path: Path) -> None:
    for command, options in mentions(path.read_text("utf-8")):
        assert command in COMMANDS, f"{command} does not exist"
        for option in options:
            assert option in COMMANDS[command], f"{command} has no {option}"


def test_mentions_are_found_where_people_write_them() -> None:
    text = (
        "Use `thorax classify m i --csv f`.\n\n```console\n$ thorax data import nih x \\\n"
        "    --out y | head --lines 3\n```\n\n    thorax devices --json > f\n\nnot thorax bogus\n"
    )
    assert list(mentions(text)) == [
        ("thorax classify", ["--csv"]),
        ("thorax data import nih", ["--out"]),
        ("thorax devices", ["--json"]),
    ]
    assert list(mentions("`thorax bogus --x`")) == [("thorax bogus", ["--x"])]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["cli.md", "results.md", "errors.md"])
def test_a_generated_page_is_what_the_program_says(generate: ModuleType, page: str) -> None:
    written = (ROOT / "docs" / page).read_text("utf-8")
    assert written == generate.PAGES[page](), "run .venv/bin/python docs/generate.py"


def test_the_reference_has_every_command_and_option() -> None:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for command, options in COMMANDS.items():
        section = text.partition(f"\n## {command}\n")[2].partition("\n## ")[0]
        for option in options - {"--help", "--debug", "--version"} if section else ():
            assert f"`{option}" in section or f", {option}" in section, (command, option)
    assert text.count("\n## ") == sum(
        not any(other.startswith(f"{command} ") for other in COMMANDS) for command in COMMANDS
    )


def test_keys_within_keys_are_described_where_they_lie(generate: ModuleType) -> None:
    page = generate.results_page()
    for line in (
        "| `rows[].latency_ms.p99` | number |",
        '| `rows[].reading` | `"additive"` or `"offload"` |',
        "| `curve` | array of object, absent |",
        "| `inputs` | object",
    ):
        assert line in page, line


def test_every_code_is_in_kebab_case(generate: ModuleType) -> None:
    for code in generate.codes():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code), code
