"""Types command lines, each in a forked process of its own, and prints what came of it.

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

MOST_BYTES = 16 << 30
"""Of address space; what reads a device without an end comes upon it."""


def run(words: list[str], out: Path, err: Path) -> int | None:
    """Return the status of a command line whose output goes to two files."""
    child = os.fork()
    if child == 0:
        _become(words, out, err)
    ended = os.pidfd_open(child)
    try:
        if not select.select([ended], [], [], LONGEST_S)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        os.close(ended)


def _become(words: list[str], out: Path, err: Path) -> None:
    status = 70
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["thorax", *words]
        from thorax.cli import app

        app.main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 71
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


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
    """Write what came of each command line to a file of that number."""
    out, err = Path(f"{number}.out"), Path(f"{number}.err")
    answers = []
    for words in lines:
        status = run(words, out, err)
        answers.append([status, *(path.read_text(errors="replace") for path in (out, err))])
    Path(f"{number}.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
