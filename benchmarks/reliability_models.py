"""Damaged model files of every format: read, refused with a code, or the end of the process?

Of one small model of each format, copies are made that each have one file damaged: bits turned,
ends cut off, ranges deleted, doubled, moved and overwritten, words exchanged and numbers made huge,
in archives also inside of the members. What is read must be a graph that can be walked and
validated; what is not must be refused with a code of a model or of usage.

Copies are read as the commands read, in a child that can do nothing else; it takes one copy after
another, and a new child takes over where one ended it. With `--bare` nothing is confined: the
process that reads starts anew after a crash, and crashes are counted.
"""

import argparse
import itertools
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from tests.importers.small_models import KINDS, Kind, damaged, read_here

from benchmarks.harness import result
from benchmarks.record.evidence import Evidence
from thorax.errors import ModelError, ThoraxError, UsageError
from thorax.importers.options import Imported, ImportOptions
from thorax.importers.reader import Reader

_MOST_DATA: Final = 6 << 30
_WALL_S: Final = 300.0
_ANSWER: Final = "answer "
READ: Final = "read"


@dataclass(slots=True)
class Outcome:
    """What became of the damaged copies of one format.

    Attributes:
        answers: how many were read, or refused with a code.
        crashed: seeds that ended the reading process, or ran too long.
        lost: seeds after which something was raised that is no error of a model, or whose graph is
            not sound.
    """

    answers: Counter[str] = field(default_factory=Counter)
    crashed: dict[int, str] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)


class Confined:
    """Children that read copies in one folder, one after another; a new one where one ended."""

    def __init__(self) -> None:
        self._reader: Reader | None = None

    def read(self, kind: Kind, path: Path) -> Imported:
        """Read a copy in the child that is there, or in a new one."""
        if self._reader is None or not self._reader.close.alive:
            self._reader = Reader(path.parents[1], ImportOptions())
        return self._reader.read(kind.reader, path, kind.options)


def read_bare(kind: Kind, path: Path) -> Imported:
    """Read a copy in this process."""
    return read_here(kind.reader, path, kind.options)


def answer(
    kind: Kind, original: Path, model: str, seed: int, copy: Path, read: Callable[..., Imported]
) -> str:
    """Return `read` or a code of what a damaged copy became; anything else is lost.

    Args:
        kind: the format.
        original: folder of the model that is whole.
        model: path within the folder of what is read.
        seed: of the damage.
        copy: folder that is made anew.
        read: reads a path.
    """
    shutil.rmtree(copy, ignore_errors=True)
    damaged(original, copy, seed)
    try:
        _require_sound(read(kind, copy / model))
    except (ModelError, UsageError) as error:
        return error.code
    except ThoraxError as error:
        return f"lost: {type(error).__name__} {error}"
    # Whatever else is raised is what is looked for.
    except BaseException as error:
        return f"lost: {type(error).__name__} {str(error)[-200:]}"
    return READ


def _require_sound(imported: Imported) -> None:
    model = imported.model
    model.validate_nodes_and_infer_types()
    if not model.inputs or not model.outputs or not model.get_ordered_ops():
        raise ValueError("a graph without inputs, outputs or layers was read")
    for port in (*model.inputs, *model.outputs):
        port.get_partial_shape()


@dataclass(frozen=True, slots=True)
class Copy:
    """A damaged copy that is to be read.

    Attributes:
        kind: name of the format.
        original: folder of the model that is whole.
        model: path within the folder of what is read.
        seed: of the damage.
    """

    kind: str
    original: str
    model: str
    seed: int


def run(plan: Sequence[tuple[Kind, Sequence[int]]], *, confined: bool = True) -> dict[str, Outcome]:
    """Read damaged copies and return what became of them, by format.

    Args:
        plan: formats, and the seeds of each.
        confined: read in children, see `Confined`.
    """
    outcomes = {kind.name: Outcome() for kind, _ in plan}
    remaining: list[Copy] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (kind, seeds) in enumerate(plan):
            original = Path(folder) / str(number)
            original.mkdir()
            model = kind.make(original).relative_to(original).as_posix()
            remaining += [Copy(kind.name, str(original), model, seed) for seed in seeds]
        while remaining:
            for copy, text in _process(tuple(remaining), confined=confined):
                remaining.remove(copy)
                outcome = outcomes[copy.kind]
                if text.startswith("crashed"):
                    outcome.crashed[copy.seed] = text
                elif text.startswith("lost"):
                    outcome.lost[copy.seed] = text
                else:
                    outcome.answers[text] += 1
    return outcomes


def _keep(formats: Mapping[str, Any], rehearsal: Path | None) -> None:
    """Write what became of formats beside what earlier runs of this commit found of others."""
    earlier: dict[str, Any] = {}
    for file in Evidence().runs("reliability_models"):
        if file.document.get("commit") == result.commit():
            earlier |= file.document["formats"]
    path = result.write(
        "reliability_models", {"formats": {**earlier, **formats}}, rehearsal=rehearsal
    )
    sys.stderr.write(f"written: {path}\n")


def _process(copies: Sequence[Copy], *, confined: bool) -> Iterator[tuple[Copy, str]]:
    """Yield what becomes of each copy in one process, until one ends it or all are done."""
    command = [sys.executable, "-m", "benchmarks.reliability_models", "--worker"]
    with subprocess.Popen(
        command + ([] if confined else ["--bare"]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin as stream:
            json.dump([asdict(copy) for copy in copies], stream)
        for copy in copies:
            text = _line(process, process.stdout)
            if text is None:
                process.kill()
                yield copy, f"crashed: the process ended with {process.wait()}"
                return
            yield copy, text


def _line(process: "subprocess.Popen[str]", stream: IO[str]) -> str | None:
    """Return the next answer of a process; None when it ends or takes too long."""
    timer = threading.Timer(_WALL_S, process.kill)
    timer.start()
    try:
        for line in stream:
            if line.startswith(_ANSWER):
                return str(json.loads(line.removeprefix(_ANSWER)))
        return None
    finally:
        timer.cancel()


def _work(copies: Sequence[Copy], *, confined: bool) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_DATA, _MOST_DATA))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kinds = {kind.name: kind for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        for name, group in itertools.groupby(copies, key=lambda copy: copy.kind):
            # Of each format by children of its own, which hold no other library.
            read = Confined().read if confined else read_bare
            for copy in group:
                damaged_copy = Path(folder) / "copy"
                original = Path(copy.original)
                text = answer(kinds[name], original, copy.model, copy.seed, damaged_copy, read)
                sys.stdout.write(f"\n{_ANSWER}{json.dumps(text)}\n")
                sys.stdout.flush()


def main() -> None:
    """Read argv, damage and read, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="damaged copies of each format")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--only", default="", help="formats whose name contains this")
    parser.add_argument("--bare", action="store_true", help="without a child")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    result.add_rehearsal(parser)
    chosen = parser.parse_args()
    if chosen.worker:
        _work([Copy(**copy) for copy in json.load(sys.stdin)], confined=not chosen.bare)
        return
    if chosen.rehearsal is None and not chosen.bare:
        result.require_committed()
    seeds = list(range(chosen.first, chosen.first + chosen.count))
    kinds = [kind for kind in KINDS if chosen.only.lower() in kind.name.lower()]
    documents, rows, lost = {}, [], []
    for kind in kinds:
        outcome = run([(kind, seeds)], confined=not chosen.bare)[kind.name]
        codes = Counter(outcome.answers)
        read = codes.pop(READ, 0)
        documents[kind.name] = {
            "seeds": [seeds[0], seeds[-1]],
            "tried": len(seeds),
            "read": read,
            "refused": codes.total(),
            "codes": dict(codes.most_common()),
            "crashed": outcome.crashed,
            "lost": outcome.lost,
        }
        counts = (len(seeds), read, codes.total(), len(outcome.crashed), len(outcome.lost))
        named = ", ".join(f"{code} {count}" for code, count in codes.most_common())
        rows.append((kind.name, *map(str, counts), named))
        ended = outcome.crashed | outcome.lost
        lost += [f"{kind.name}, seed {seed}: {text}" for seed, text in ended.items()]
        sys.stderr.write(f"{rows[-1]}\n")
    if not chosen.bare:
        _keep(documents, chosen.rehearsal)
    result.table(
        "Damaged model files",
        ("Format", "tried", "read", "refused", "crashed", "lost", "codes"),
        rows,
    )
    sys.stdout.write("".join(f"{line}\n" for line in lost))


if __name__ == "__main__":
    main()
