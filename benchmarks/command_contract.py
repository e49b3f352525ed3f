"""The command line of one Thorax against that of another: help, answers, errors, files.

`record` runs every command of an installation on a small workspace that it makes itself, on one
processor, and keeps what it answered. `compare` sets two records side by side. What is measured
differs from run to run: what differs between two records of one installation (--noise) may differ,
all else must be the same.

    python -m benchmarks.command_contract record --thorax OLD/bin/thorax --out before
    python -m benchmarks.command_contract record --thorax OLD/bin/thorax --out before-again
    python -m benchmarks.command_contract record --thorax NEW/bin/thorax --out after
    python -m benchmarks.command_contract compare before after --noise before-again

Exit status of `compare`: 0 if nothing else differs; 1 if a command, an option, an argument or a key
is gone; 3 if none is gone and something differs.
"""

import argparse
import difflib
import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import result
from benchmarks.subjects.contract_cases import DEMO, STEPS, Case, Step, prepare
from benchmarks.subjects.contract_documents import (
    Difference,
    Noise,
    differences,
    document,
    form,
    messages,
    surface,
)

_WIDE: Final = 400
"""Columns in which no line of a help page wraps."""
_NARROW: Final = 100
_LONGEST_S: Final = 1200.0
_TEXTS: Final = (".csv", ".html", ".json", ".jsonl", ".svg", ".toml", ".xml")
_FILES: Final = "(the files that were written)"
_TOLD: Final = 8
"""Differences of a command that are printed; the result file has all."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A Thorax that is run.

    Attributes:
        command: its `thorax`.
        work: the folder in which it is run.
    """

    command: Path
    work: Path

    @property
    def python(self) -> str:
        """The interpreter of the command."""
        with self.command.open("rb") as opened:
            return opened.readline().removeprefix(b"#!").decode().strip()

    def run(
        self, words: Sequence[str], *, columns: int = _NARROW, ranks: int = 1
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run a command line and return what came of it."""
        launcher = [str(self.command)]
        if ranks > 1:
            launcher = [self.python, "-m", "torch.distributed.run", "--standalone"]
            launcher += ["--nproc-per-node", str(ranks), "-m", "thorax"]
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment = {
            **kept,
            "COLUMNS": str(columns),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "OMP_NUM_THREADS": "1",
            # Names in an INT8 graph count nodes, and how many there were follows the order of sets.
            "PYTHONHASHSEED": "0",
            "TERM": "dumb",
            "XDG_STATE_HOME": str(self.work / "state"),
        }
        return subprocess.run(
            [*launcher, *words],
            cwd=self.work, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_LONGEST_S, check=False,
        )  # fmt: skip

    def commit(self) -> str | None:
        """Return the commit of the tree that is run, None outside of one."""
        where = "import pathlib, thorax; print(pathlib.Path(thorax.__file__).parent)"
        found = subprocess.run(
            [self.python, "-c", where], cwd=self.work, capture_output=True, text=True, check=True
        )
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=found.stdout.strip(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        return told.stdout.strip() or None


def main() -> None:
    """Read argv, then record or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(required=True, dest="kind")
    taking = kinds.add_parser("record", help="run every command and keep what it answers")
    taking.add_argument("--thorax", type=Path, required=True, help="the command")
    taking.add_argument("--out", type=Path, required=True, help="folder of the record, not there")
    taking.add_argument("--work", type=Path, help="workspace to keep, not there")
    taking.add_argument("--demo", action="store_true", help="the demo alone, some five minutes")
    setting = kinds.add_parser("compare", help="set two records side by side")
    setting.add_argument("before", type=Path)
    setting.add_argument("after", type=Path)
    setting.add_argument(
        "--noise", type=Path, action="append", default=[], help="another record of before"
    )
    result.add_rehearsal(setting)
    chosen = parser.parse_args()
    if chosen.kind == "compare":
        raise SystemExit(compare(chosen.before, chosen.after, chosen.noise, chosen.rehearsal))
    # One processor: what is measured has one stream everywhere, and others are disturbed least.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    # Of one name: an archive keeps the folder in which it was begun.
    work = chosen.work or Path(tempfile.gettempdir()) / "thorax-command-contract"
    work.mkdir(parents=True)
    # Not resolved: the python of a virtual environment is a link that must stay one.
    command = Path(os.path.abspath(chosen.thorax))  # noqa: PTH100
    try:
        record(Installation(command, work.resolve()), chosen.out, demo=chosen.demo)
    finally:
        if chosen.work is None:
            shutil.rmtree(work)


def record(there: Installation, out: Path, *, demo: bool = False) -> None:
    """Run everything and write the record of it."""
    begin = time.perf_counter()
    (out / "answers").mkdir(parents=True)
    prepare(there.work)
    pages = [] if demo else record_help(there, out)
    answers = record_answers(there, out, DEMO if demo else STEPS)
    whole = {"commit": there.commit(), "help": pages, "answers": answers}
    _write_json(out / "files.json", _files(there.work))
    _write_json(out / "record.json", whole)
    print(f"{len(pages)} help pages, {len(answers)} answers, {time.perf_counter() - begin:.0f} s")


def record_help(there: Installation, out: Path) -> list[str]:
    """Keep the help of every command, as it is shown and too wide to wrap; return their names."""
    for kind in ("help", "help-wide"):
        (out / kind).mkdir()
    names, waiting = [], ["thorax"]
    while waiting:
        name = waiting.pop(0)
        words = [*name.split()[1:], "--help"]
        shown, wide = (there.run(words, columns=columns).stdout for columns in (_NARROW, _WIDE))
        (out / "help" / f"{name}.txt").write_bytes(shown)
        (out / "help-wide" / f"{name}.txt").write_bytes(wide)
        names.append(name)
        waiting += [f"{name} {inner}" for inner in surface(wide.decode())["commands"]]
    return names


def record_answers(there: Installation, out: Path, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Run the steps in their order; keep stdout, exit status and the line of an error."""
    answers: list[dict[str, Any]] = []
    for step in steps:
        if not isinstance(step, Case):
            step(there.work)
            continue
        line, _, target = step.line.partition(" > ")
        begin = time.perf_counter()
        done = there.run(
            [*shlex.split(line), *(["--json"] if step.as_json else [])], ranks=step.ranks
        )
        if target:
            (there.work / target).write_bytes(done.stdout)
        slug = re.sub(r"[^a-z0-9]+", "-", step.name.lower()).strip("-")[:60]
        file = f"{len(answers):03d}-{slug}.txt"
        (out / "answers" / file).write_bytes(done.stdout)
        said = done.stderr.decode("utf-8", "backslashreplace")
        errors = [text for text in said.splitlines() if text.startswith("thorax: ")]
        answers.append(
            {
                "name": step.name,
                "file": file,
                "status": done.returncode,
                "error": errors[-1] if done.returncode and errors else None,
                "said": messages(said),
                "seconds": round(time.perf_counter() - begin, 2),
            }
        )
        print(
            f"{answers[-1]['seconds']:6.1f} s  {done.returncode:3}  {step.name}"[:100], flush=True
        )
    return answers


def _files(work: Path) -> dict[str, dict[str, Any]]:
    """Return size and digest of every file below a folder, of texts also without numbers."""
    found = {}
    for path in sorted(one for one in work.rglob("*") if _is_kept(one)):
        data = path.read_bytes()
        facts = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if path.suffix in _TEXTS:
            text = "\n".join(map(form, data.decode("utf-8", "replace").splitlines()))
            facts["form"] = hashlib.sha256(text.encode()).hexdigest()
        found[path.relative_to(work).as_posix()] = facts
    return found


def _is_kept(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.parent.name != "__pycache__"


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")


@dataclass(frozen=True, slots=True)
class Record:
    """What `record` kept.

    Attributes:
        commit: of the tree that was run.
        pages: each help page as it is shown, by its command.
        surface: options, arguments and commands of each page.
        answers: of each command line.
    """

    commit: str | None
    pages: dict[str, str]
    surface: dict[str, Any]
    answers: dict[str, "Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command line answered.

    Attributes:
        stdout: as it came.
        status: exit status.
        error: the line that tells why it failed.
        said: what else stands on stderr, each line without its numbers and once.
    """

    stdout: bytes
    status: int
    error: str | None
    said: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return it as what `differences` compares."""
        return {
            "exit status": self.status,
            "error": self.error,
            "stderr": dict.fromkeys(self.said, True),
            "answer": document(self.stdout),
        }


def read(folder: Path) -> Record:
    """Read a record."""
    whole = json.loads((folder / "record.json").read_text("utf-8"))
    answers = {
        one["name"]: Answer(
            stdout=(folder / "answers" / one["file"]).read_bytes(),
            status=one["status"],
            error=one["error"],
            said=tuple(one["said"]),
        )
        for one in whole["answers"]
    }
    answers[_FILES] = Answer((folder / "files.json").read_bytes(), 0, None, ())
    return Record(
        commit=whole["commit"],
        pages={
            name: (folder / "help" / f"{name}.txt").read_text("utf-8") for name in whole["help"]
        },
        surface={
            name: surface((folder / "help-wide" / f"{name}.txt").read_text("utf-8"))
            for name in whole["help"]
        },
        answers=answers,
    )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a command line.

    Attributes:
        same_bytes: whether stdout, stderr without numbers and exit status are the same.
        varying: paths that differ, as they do between two records of one installation.
        different: what differs besides.
        statuses: exit status before and after.
    """

    same_bytes: bool
    varying: tuple[str, ...]
    different: tuple[Difference, ...]
    statuses: tuple[int, int | None]

    @property
    def gone(self) -> bool:
        """Whether the command line or a key of its answer is missing."""
        return self.statuses[1] is None or any(
            one.kind == "gone" and re.match(r"answer\.(?!line \d)", one.path)
            for one in self.different
        )

    def __str__(self) -> str:
        """Return it for a table."""
        if self.same_bytes:
            return "bytes equal"
        if self.statuses[1] is None:
            return "NOT RECORDED"
        if self.different:
            return f"DIFFERENT: {len(self.different)}"
        return f"equal but for {len(self.varying)} fields"


def judge(name: str, before: Record, after: Record, noise: Sequence[Record]) -> Judgement:
    """Compare what two records have of one command line."""
    first, other = before.answers[name], after.answers.get(name)
    if other is None:
        return Judgement(False, (), (), (first.status, None))
    if first == other:
        return Judgement(True, (), (), (first.status, other.status))
    whole = first.document()
    runs = [whole, *(one.answers[name].document() for one in noise if name in one.answers)]
    known = Noise(found for pair in itertools.combinations(runs, 2) for found in differences(*pair))
    seen = list(dict.fromkeys(differences(whole, other.document())))
    varying = dict.fromkeys(found.path for found in seen if found in known)
    different = tuple(found for found in seen if found not in known)
    return Judgement(False, tuple(varying), different, (first.status, other.status))


def compare(first: Path, second: Path, others: Sequence[Path], rehearsal: Path | None) -> int:
    """Set two records side by side, print and write what differs, and return the exit status."""
    before, after = read(first), read(second)
    noise = [read(folder) for folder in others]
    judged = {name: judge(name, before, after, noise) for name in before.answers}
    seen = list(differences(before.surface, after.surface))
    pages = {
        name: list(difflib.unified_diff(text.splitlines(), now.splitlines(), n=0, lineterm=""))[2:]
        for name, text in before.pages.items()
        if (now := after.pages.get(name)) is not None and now != text
    }
    _show(judged, seen, pages)
    gone = [one.path for one in seen if one.kind == "gone"]
    gone += [name for name, one in judged.items() if one.gone]
    differing = sum(bool(one.different) for one in judged.values())
    totals = {
        "help_pages": len(before.pages),
        "help_pages_that_differ": len(pages),
        "command_lines": len(judged),
        "bytes_equal": sum(one.same_bytes for one in judged.values()),
        "different": differing,
        "gone": gone,
    }
    written = result.write(
        "command_contract",
        {
            "commits": {"before": before.commit, "after": after.commit},
            "records_of_noise": len(noise),
            "totals": totals,
            "help": {"surface": [asdict(one) for one in seen], "pages": pages},
            "answers": {name: _facts(one) for name, one in judged.items()},
        },
        rehearsal=rehearsal,
    )
    print(f"before: {before.commit}; after: {after.commit}; records of noise: {len(noise)}")
    print(f"written: {written}")
    if gone:
        return 1
    return 3 if differing or seen or pages else 0


def _facts(one: Judgement) -> dict[str, Any]:
    return {
        "answer": "bytes equal" if one.same_bytes else str(one),
        "exit_status": list(one.statuses),
        "varying": list(one.varying),
        "different": [asdict(each) for each in one.different],
    }


def _show(
    judged: Mapping[str, Judgement], seen: Sequence[Difference], pages: Mapping[str, Sequence[str]]
) -> None:
    """Print the table of command lines, and below it what differs."""
    rows = []
    for name, one in judged.items():
        before, after = one.statuses
        status = str(before) if before == after else f"{before} -> {after}"
        rows.append((name[:62], str(one), status))
    result.table("Command lines, before and after", ("", "answer", "status"), rows)
    for name, one in judged.items():
        if one.different:
            print(f"\n{name}"[:100])
        for each in one.different[:_TOLD]:
            print(*(f"  {line}" for line in each.lines(98)), sep="\n")
        if len(one.different) > _TOLD:
            print(f"  ... {len(one.different) - _TOLD} more")
    words = {"gone": "GONE", "new": "new"}
    print(f"\nhelp: {len(pages)} pages differ" + (":" if pages else ""))
    for name, lines in pages.items():
        print(f"  {name}: {len(lines)} lines"[:100])
    for part in seen:
        print(f"  {words.get(part.kind, 'differs')}: {part.path}"[:100])


if __name__ == "__main__":
    main()
