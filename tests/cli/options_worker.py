"""Types command lines in forked processes, and prints what came of each.

Reads a JSON list of command lines from stdin, writes a JSON list of `[status, stdout, stderr]`; a
status of None stands for a process that did not end.
"""

import contextlib
import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import sys
import traceback
from pathlib import Path

import thorax

LONGEST_S = 300.0
"""After which a command waits for something that will not come."""

SIDE_BY_SIDE = 2

ENDED = -1
"""The status of a command line in which its process ended."""

MOST_BYTES = 16 << 30
"""Of address space; what reads a device without an end comes upon it."""


def wrote(number: int, index: int) -> tuple[Path, Path]:
    """Where stdout and stderr of a command line go."""
    return Path(f"{number}-{index}.out"), Path(f"{number}-{index}.err")


def become(lines: list[list[str]], first: int, done: int, number: int) -> None:
    """Type command lines from the first on, and write the status of each to a pipe."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for index in range(first, len(lines)):
        for stream, path in enumerate(wrote(number, index), 1):
            opened = os.open(path, os.O_WRONLY | os.O_CREAT)
            os.dup2(opened, stream)
            os.close(opened)
        status = typed(lines[index])
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(done, bytes([status]))


def typed(words: list[str]) -> int:
    """Return the status of a command line: 70 of an exception that nobody caught."""
    from thorax.cli import app

    sys.argv = ["thorax", *words]
    try:
        app.main()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 71
    except BaseException:
        traceback.print_exc()
    return 70


def preload() -> None:
    """Import what commands import when they need it, so that each need not do it again."""
    modules = [one.name for one in pkgutil.walk_packages(thorax.__path__, "thorax.")]
    for name in ("scipy.stats", "rich.table", "rich.progress", *modules):
        if not name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def main() -> None:
    """Answer a list of command lines, two side by side."""
    lines = json.load(sys.stdin)
    preload()
    runners = []
    for number in range(SIDE_BY_SIDE):
        runner = os.fork()
        if runner == 0:
            answer(lines[number::SIDE_BY_SIDE], number)
            os._exit(0)
        runners.append(runner)
    for runner in runners:
        os.waitpid(runner, 0)
    answers = [None] * len(lines)
    for number in range(SIDE_BY_SIDE):
        answers[number::SIDE_BY_SIDE] = json.loads(Path(f"{number}.json").read_text())
    json.dump(answers, sys.stdout)


def answer(lines: list[list[str]], number: int) -> None:
    """Write what came of each command line to a file of that number.

    A process types one after the other. Where it ends or waits, the line under way is to blame, and
    another one goes on after it.
    """
    answers: list[list[object]] = []
    while len(answers) < len(lines):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                become(lines, len(answers), writing, number)
            finally:
                os._exit(0)
        os.close(writing)
        while len(answers) < len(lines):
            status: int | None = None
            if select.select([reading], [], [], LONGEST_S)[0]:
                told = os.read(reading, 1)
                status = told[0] if told else ENDED
            texts = [path.read_text(errors="replace") for path in wrote(number, len(answers))]
            answers.append([status, *texts])
            if status in (None, ENDED):
                break
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    Path(f"{number}.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
