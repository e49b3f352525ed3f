"""Every figure that a document states, bound to what says so: docs/figures.toml read and compared.

The register has a table for each document, and in it lists by kind:

    result         ["takes {} times as long", "fpga_emulation_cost: ratio | .2f"]
                   words with a `{}` for each figure, then what each is (benchmarks/evidence.py)
    setting        ["within {} s", "thorax.power.redfish:ANSWER_S | .0f"]    a constant of the code
    published      ["Dell EMC, November 2018", "43 W", ...]    whose figures, then the words
    test           ["tests/training/test_lars.py", "words", ...]     a test that has the numbers
    derived        ["what it follows from", "words", ...]      by arithmetic or by counting, by hand
    then           ["what of", "words", ...]      of decisions: measured on their day, no file
    specification, example, goal, assumed      the words alone; so a setting without a name

Words are found wherever they stand, whatever the line ends between them, and bind the figures in
them. What is in code, in links, in comments and between `<!-- name -->` and `<!-- end of name -->`,
which docs/generate.py writes, states no figure here.
"""

import importlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from benchmarks.evidence import Evidence, EvidenceError, formatted

ROOT: Final = Path(__file__).resolve().parents[1]
REGISTER: Final = ROOT / "docs" / "figures.toml"
GENERATED_PAGES: Final = frozenset(
    {"docs/cli.md", "docs/results.md", "docs/errors.md", "docs/benchmarks.md"}
)
DECISIONS: Final = "docs/decisions/"
WITH_SOURCES: Final = frozenset({"published", "test", "derived", "then"})
WORDS_ALONE: Final = frozenset({"specification", "example", "goal", "assumed"})
COMPUTED: Final = frozenset({"result", "setting"})

_MASKED: Final = re.compile(
    r"^<!-- (?P<block>[\w ]+) -->$.*?^<!-- end of (?P=block) -->$"  # written by docs/generate.py
    r"|<!--.*?-->"
    r"|^```.*?^```$"
    r"|(?<=\n\n) {4,}\S[^\n]*(?:\n(?: {4}[^\n]*)?)*"  # indented code
    r"|`[^`\n]+`"
    r"|(?<=\])\([^)\s]*\)"  # where a link leads
    r"|https?://\S+"
    r"|\b\d{4}\.\d{5}\b"  # a paper at arXiv
    r"|\b\d+\.\d+\.\d+(?:\.\d+)*\b"  # a version
    r"|\b(?:OpenVINO|OpenCV|Python|NNCF|Keras|TensorFlow|PyTorch|torch|MXNet|Caffe|dcmtk|pydicom"
    r"|Linux|ONNX|Training|release|releases|version|versions|Core|Trainer|sections?|Sections?"
    r"|s\.|p\.|Gen\d|JPEG|IR|BT|Apache|apache)[ -]v?\d+(?:\.\d+)*",
    re.MULTILINE | re.DOTALL,
)
_NUMBER: Final = r"[-+−±]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?"
_UNITS: Final = (
    r"%|x\b(?! ?\d)|times\b|fold\b|(?:images|products|queries|words)/s(?:/M?Hz|/W)?"
    r"|s\b|ms\b|us\b|µs\b|ns\b|min\b|minutes?\b|hours?\b|h\b|days?\b|[kKMGT]i?B\b(?:/s)?|Gb/s|Gbit/s|B\b|k?Wh?\b|J\b|pJ\b"
    r"|[kMG]?Hz\b|dB\b|points?\b|images?\b|files?\b|drawings\b|radiographs\b|patients\b|updates\b"
    r"|million\b|cycles\b|MW\b|values\b|trials\b|turns\b|DSP\b|cores?\b"
)
_FIGURE: Final = re.compile(
    rf"(?<![\w.^/])(?<![A-Za-z]-)(?P<number>{_NUMBER})(?![\w^]|-[A-Za-z])"
    rf"(?P<after>[ -]?(?:{_UNITS}))?"
)
_COUNTED: Final = re.compile(r" of (?:the |these |its |their |all )?\d")
_YEAR: Final = re.compile(r"^\s*(?:19|20)\d\d\s*$")
_CELL: Final = re.compile(r"^[*\s]*[-+−±]?\d")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number in a document that states a figure: where it stands, and its line for people."""

    begin: int
    end: int
    line: int
    text: str


def figures(text: str) -> list[Figure]:
    """Return the numbers that state a figure, in order.

    A figure has a decimal point, an exponent or thousands, a unit or a counted thing behind it, is
    a part of a number (`7 of 19`), or begins the cell of a table.
    """
    masked = _MASKED.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    found = []
    for match in _FIGURE.finditer(masked):
        number = match["number"]
        end = match.start() + len(number)
        if (
            any(sign in number for sign in ".,e")
            or match["after"]
            or _COUNTED.match(masked, end)
            or _begins_cell(masked, match.start())
        ):
            line = text.count("\n", 0, match.start()) + 1
            shown = text[match.start() : match.end()].rstrip(", ")
            found.append(Figure(match.start(), end, line, shown))
    return found


def _begins_cell(text: str, at: int) -> bool:
    begin = text.rfind("\n", 0, at) + 1
    if not text.startswith("|", begin):
        return False
    cell = text[text.rfind("|", begin, at) + 1 : text.find("\n", at)].partition("|")[0]
    words = re.search(r"[A-Za-z]{4}", cell)
    return bool(_CELL.match(cell)) and not words and not _YEAR.match(cell)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the register: words of a document and what their figures are.

    Attributes:
        kind: a key of the register.
        words: what stands in the document; `{}` for a figure that `sources` gives.
        sources: where the figures come from, one for each `{}`.
        origin: source of a published figure, test of a tested one, what a derived one follows from.
    """

    kind: str
    words: str
    sources: tuple[str, ...] = ()
    origin: str = ""

    def pattern(self) -> re.Pattern[str]:
        """Return what finds the words; a group for each figure that has a source."""
        parts = [
            r"\s+".join(re.escape(word) for word in re.split(r"\s+", part))
            for part in self.words.split("{}")
        ]
        return re.compile(rf"({_NUMBER})".join(parts))


class Register:
    """What docs/figures.toml says, compared with the documents."""

    def __init__(
        self, tables: Mapping[str, Mapping[str, Sequence[Any]]], evidence: Evidence
    ) -> None:
        self._tables = tables
        self._evidence = evidence

    @classmethod
    def read(cls, path: Path = REGISTER, evidence: Evidence | None = None) -> "Register":
        """Return the register of the repository."""
        return cls(tomllib.loads(path.read_text("utf-8")), evidence or Evidence())

    @property
    def documents(self) -> list[str]:
        """Return the documents that have a table."""
        return list(self._tables)

    def entries(self, document: str) -> Iterator[Entry]:
        """Yield the entries of a document, by its path from the root of the repository."""
        for kind, lines in self._tables.get(document, {}).items():
            for line in lines:
                if kind in COMPUTED and isinstance(line, list):
                    yield Entry(kind, line[0], tuple(line[1:]))
                elif kind == "then" and not document.startswith(DECISIONS):
                    raise ValueError(f"docs/figures.toml, {document}: then is for decisions alone")
                elif kind in WITH_SOURCES:
                    yield from (Entry(kind, words, origin=line[0]) for words in line[1:])
                elif kind in WORDS_ALONE or kind == "setting":
                    yield Entry(kind, line)
                else:
                    raise ValueError(f"docs/figures.toml, {document}: {kind} is no kind")

    def value(self, entry: Entry, source: str) -> str:
        """Return a figure as the documents write it."""
        return self._evidence.text(source) if entry.kind == "result" else setting(source)

    def complaints(self, document: str, text: str) -> list[str]:
        """Return a line for each figure that is not bound or not what its source says."""
        bound: list[tuple[int, int]] = []
        lines = []
        for entry in self.entries(document):
            if entry.words.count("{}") != len(entry.sources):
                lines.append(f"{document}: as many sources as {{}} are needed in {entry.words!r}")
                continue
            try:
                values = [self.value(entry, source) for source in entry.sources]
            except EvidenceError as error:
                lines.append(f"{document}: {entry.words!r}: {error}: bind it anew or drop it")
                continue
            if entry.kind == "test":
                lines += [f"{document}: {missing}" for missing in untested(entry)]
            matches = list(entry.pattern().finditer(text))
            if not matches:
                lines.append(f"{document}: {entry.words!r} does not stand there: mend the register")
            for match in matches:
                bound.append(match.span())
                line = text.count("\n", 0, match.start()) + 1
                lines += [
                    f"{document}:{line}: {said} is {value} by {source}: run docs/generate.py"
                    for said, value, source in zip(
                        match.groups(), values, entry.sources, strict=True
                    )
                    if said != value
                ]
        for figure in figures(text):
            if not any(begin <= figure.begin and figure.end <= end for begin, end in bound):
                lines.append(
                    f"{document}:{figure.line}: {figure.text!r} is bound to nothing: bind it to a "
                    "result file in docs/figures.toml, say there what else it is, or drop it"
                )
        return lines

    def rewritten(self, document: str, text: str) -> str:
        """Return a document with every figure whose source is there as that has it now."""
        for entry in self.entries(document):
            if not entry.sources:
                continue
            try:
                values = [self.value(entry, source) for source in entry.sources]
            except EvidenceError:
                continue  # `complaints` names it
            text = entry.pattern().sub(lambda match, v=values: _replaced(match, v), text)  # type: ignore[misc]
        return text


def _replaced(match: re.Match[str], values: Sequence[str]) -> str:
    whole, parts, last = match[0], [], 0
    for group, value in enumerate(values, 1):
        begin, end = (place - match.start() for place in match.span(group))
        parts += [whole[last:begin], value]
        last = end
    return "".join((*parts, whole[last:]))


def untested(entry: Entry) -> list[str]:
    """Return a line for each number in words that the test they name does not have."""
    path = ROOT / entry.origin
    if not path.is_file():
        return [f"{entry.words!r} names {entry.origin}, which is not there"]
    test = path.read_text("utf-8").replace("_", "")
    numbers = (
        figure.text.split()[0].rstrip("%").replace(",", "") for figure in figures(entry.words)
    )
    return [
        f"{entry.words!r}: {entry.origin} has no {number}"
        for number in numbers
        if number not in test
    ]


def setting(source: str) -> str:
    """Return a constant as a document writes it.

    `module:attribute | / 60 | .0f`, or `src/file.toml:table.key | .0f`; `rest` is the rest to 1.
    """
    name, *filters, form = (part.strip() for part in source.split(" | "))
    place, _, path = name.partition(":")
    value: Any
    if place.endswith(".toml"):
        value = tomllib.loads((ROOT / place).read_text("utf-8"))
        for key in path.split("."):
            value = value[key]
    else:
        value = importlib.import_module(place)
        for key in path.split("."):
            value = value[key] if isinstance(value, Mapping) else getattr(value, key)
    for step in filters:
        operator, _, number = step.partition(" ")
        if operator == "rest":
            value = 1 - value
        else:
            value = value * float(number) if operator == "*" else value / float(number)
    return formatted(value, form)


@dataclass(frozen=True)
class Document:
    """A page of the repository, by its path from the root."""

    name: str

    @cached_property
    def text(self) -> str:
        """Return what it says."""
        return (ROOT / self.name).read_text("utf-8")


def documents() -> list[Document]:
    """Return every page that people write: README, CHANGELOG and docs."""
    pages = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
    names = (page.relative_to(ROOT).as_posix() for page in pages)
    return [Document(name) for name in names if name not in GENERATED_PAGES]
