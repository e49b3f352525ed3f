"""Figures out of result files: the newest file of a claim, a path into it and how it is written.

A figure is named in one line, `claim: path | filter | ... | format`, for example

    fpga_emulation_cost: ratio | .2f
    precisions@bf16: rows[network=resnet50,precision=int8].speed_ratio | .2f
    classify_memory: peak_bytes.csv[*].process | max | / 1e6 | .0f

The claim is what a file's name begins with, the date and time of UTC what it ends with; a file that
tells no time is older than one of the same day that does. `@` and a class of processors take the
newest file of that class; without it the newest of all counts, and of equally new ones that of the
class with more instructions. A path has keys between points (in double quotes where a key has a
point itself); `[n]` is an entry of a list, `[key=value,...]` the only entry with these values,
`[*key=value,...]` every one that has them and `[*]` every one; ` else ` and another path is for
files of an older form. Filters are max, min, sum, mean, median, count, abs, `* N`, `/ N`, and
`over PATH`, `plus PATH` and `minus PATH` of another figure of the file, the first of lists one by
one, too; `above PATH` counts the entries that are above those of another list.

What is no evidence is passed over: rehearsals, and files of code that was not committed.
"""

import json
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from benchmarks.harness.processors import Machine, Processors
from benchmarks.harness.result import RESULTS
from benchmarks.record.admission import why_damaged, why_not
from benchmarks.record.seeds import with_seeds

_STEP: Final = re.compile(r'"([^"]*)"|([^.\["]+)|\[([^\]]*)\]')
_REDUCTIONS: Final[Mapping[str, Callable[[Sequence[float]], float]]] = MappingProxyType(
    {
        "max": max,
        "min": min,
        "sum": sum,
        "mean": statistics.fmean,
        "median": statistics.median,
        "count": len,
    }
)


class EvidenceError(LookupError):
    """No result file has what was asked for."""


@dataclass(frozen=True)
class ResultFile:
    """One file of results; `claim`, `machine`, `date` and `time` as its name has them.

    The time is hours, minutes and, where two files are of one minute, seconds, of UTC: "0611"; ""
    in files that tell none.
    """

    path: Path
    claim: str
    machine: str
    date: str
    time: str = ""

    @classmethod
    def at(cls, path: Path) -> "ResultFile":
        """Return a file by its name."""
        claim, machine, moment = path.stem.rsplit("_", 2)
        date, _, time = moment.partition("T")
        return cls(path, claim.replace("-", "_"), machine, date, time)

    @cached_property
    def document(self) -> dict[str, Any]:
        """Return what the file holds, and what follows from it of the seeds of a study."""
        return dict(with_seeds(json.loads(self.path.read_text("utf-8"))))

    @property
    def processors(self) -> Processors:
        """Return the class of the processor that it was made on."""
        return self.made_on.kind

    @property
    def made_on(self) -> Machine:
        """Return the machine that it was made on."""
        return Machine.of(self.document.get("hardware"))

    @property
    def age(self) -> tuple[str, str, Processors, str]:
        """Return what files of one claim are ordered by: the newest is the largest."""
        return self.date, self.time, self.processors, self.path.name


class Evidence:
    """The newest result files of a folder, by claim and machine.

    Args:
        folder: of the files.
        files: those that are looked at; None for all of the folder that are evidence.

    Attributes:
        passed_over: files of the folder that are none, with the reason.
    """

    def __init__(
        self, folder: Path = RESULTS, *, files: Iterable[ResultFile] | None = None
    ) -> None:
        self.passed_over: dict[str, str] = {}
        if files is None:
            files = list(self._counted(folder))
        self._runs: dict[str, list[ResultFile]] = {}
        for file in files:
            self._runs.setdefault(file.claim, []).append(file)
        self._files = {
            claim: {file.made_on: file for file in self.runs(claim)} for claim in self._runs
        }

    def _counted(self, folder: Path) -> Iterator[ResultFile]:
        """Yield the files that are evidence; of the others it is kept why they are not.

        Raises:
            EvidenceError: a file is damaged.
        """
        for path in sorted(folder.glob("*.json")):
            try:
                document = json.loads(path.read_text("utf-8"))
            except ValueError as error:
                raise EvidenceError(f"{path.name} is damaged: {error}") from error
            if (damage := why_damaged(path.stem, document)) is not None:
                raise EvidenceError(f"{path.name} is damaged: {damage}")
            if (why := why_not(document)) is None:
                yield ResultFile.at(path)
            else:
                self.passed_over[path.name] = why

    def of(self, machine: Machine) -> "Evidence":
        """Return the evidence of one machine alone."""
        return self.only(lambda file: file.made_on == machine)

    def only(self, wanted: Callable[[ResultFile], bool]) -> "Evidence":
        """Return the evidence of some files alone."""
        every = (file for runs in self._runs.values() for file in runs)
        return Evidence(files=filter(wanted, every))

    def runs(self, claim: str) -> list[ResultFile]:
        """Return all files of a claim, the oldest first."""
        return sorted(self._runs.get(claim, ()), key=lambda file: file.age)

    @property
    def claims(self) -> list[str]:
        """Return the names of all claims that have a file."""
        return sorted(self._files)

    def files(self, claim: str) -> dict[Machine, ResultFile]:
        """Return the newest file of each machine, fewest instructions first."""
        return dict(sorted(self._files.get(claim, {}).items()))

    def newest(self, claim: str, processors: Processors | None = None) -> ResultFile:
        """Return the newest file of a claim, of one class of processor or of all.

        Raises:
            EvidenceError: there is none.
        """
        files = self._files.get(claim, {})
        if processors is not None:
            files = {made: file for made, file in files.items() if made.kind == processors}
        if not files:
            where = "" if processors is None else f" of the class {processors.name.lower()}"
            raise EvidenceError(f"benchmarks/results has no file of the claim {claim}{where}")
        return max(files.values(), key=lambda file: file.age)

    def file_of(self, source: str) -> ResultFile:
        """Return the file that a line takes its figure from."""
        name, _, processors = source.partition(":")[0].strip().partition("@")
        return self.newest(name, Processors[processors.upper()] if processors else None)

    def text(self, source: str) -> str:
        """Return a figure as it is written.

        Raises:
            EvidenceError: no file, or no such key in the newest.
        """
        return written(self.file_of(source), source.partition(":")[2])


def written(file: ResultFile, source: str) -> str:
    """Return a figure of a file as it is written: `path | filter | ... | format`.

    Raises:
        EvidenceError: the file has no such figure.
    """
    value = figure(file, source)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return formatted(value, source.rpartition(" | ")[2].strip())


def figure(file: ResultFile, source: str) -> Any:  # noqa: ANN401
    """Return a figure of a file before it is written, unrounded; of the same line as `written`.

    Raises:
        EvidenceError: the file has no such figure.
    """
    path, *filters, _ = (part.strip() for part in re.split(r"\s\|\s", source.strip()))
    value: Any = look_up(file, path)
    if value is None:
        raise EvidenceError(f"{file.path.name} has null at {path}")
    for step in filters:
        word, _, other = step.partition(" ")
        if word == "over" and isinstance(value, list):
            value = [a / b for a, b in zip(value, look_up(file, other), strict=True)]
        elif word == "over":
            value = value / look_up(file, other)
        elif word in ("plus", "minus"):
            change = look_up(file, other)
            value = value + change if word == "plus" else value - change
        elif word == "above":
            value = sum(a > b for a, b in zip(value, look_up(file, other), strict=True))
        else:
            value = _filtered(value, step)
    return value


def formatted(value: float, form: str) -> str:
    """Return a number as documents write it: 6.6e-7, not 6.6e-07."""
    return re.sub(
        r"e([-+])0*(\d)", lambda sign: f"e{sign[1].strip('+')}{sign[2]}", format(value, form)
    )


def look_up(file: ResultFile, path: str) -> Any:  # noqa: ANN401
    """Return the value at a path; a list of values where the path has `[*]`.

    Raises:
        EvidenceError: the document has no such key, or not one entry with these values.
    """
    first, *others = path.split(" else ", 1)
    try:
        return _follow(file.document, _steps(first))
    except (KeyError, IndexError, TypeError) as error:
        if others:
            return look_up(file, others[0])
        raise EvidenceError(f"{file.path.name} has no {path}: {error}") from error


def _steps(path: str) -> list[str]:
    return [
        quoted or key or f"[{entry}]"
        for quoted, key, entry in (match.groups("") for match in _STEP.finditer(path))
    ]


def _follow(value: Any, steps: Sequence[str]) -> Any:  # noqa: ANN401
    for place, step in enumerate(steps):
        if not step.startswith("["):
            value = value[step]
            continue
        entry = step[1:-1]
        if re.fullmatch(r"\d+", entry):
            value = value[int(entry)]
            continue
        matches = _matches(value, entry.removeprefix("*"))
        if entry.startswith("*"):
            rest = steps[place + 1 :]
            found = [_follow(one, rest) for one in matches]
            nested = any(step.startswith("[*") for step in rest)
            return [value for part in found for value in part] if nested else found
        if len(matches) != 1:
            raise KeyError(f"{len(matches)} entries with {entry}")
        value = matches[0]
    return value


def _matches(value: Any, conditions: str) -> list[Any]:  # noqa: ANN401
    wanted = dict(pair.split("=", 1) for pair in re.split(r",(?=\w+=)", conditions) if pair)
    entries = value.values() if isinstance(value, dict) else value
    return [one for one in entries if all(str(one[key]) == text for key, text in wanted.items())]


def _filtered(value: Any, step: str) -> Any:  # noqa: ANN401
    if step in _REDUCTIONS:
        return _REDUCTIONS[step](value)
    if step == "abs":
        return abs(value)
    operator, _, number = step.partition(" ")
    by = float(number)
    if operator == "*":
        return value * by
    if operator == "/":
        return value / by
    raise ValueError(f"{step} is no filter; there are {', '.join(_REDUCTIONS)}, abs, * and /")
