"""Every figure that a document states, bound to what says so: docs/figures.toml read and compared.

The register has a table for each document, and in it lists by kind:

    result         ["takes {} times as long", "fpga_emulation_cost: ratio | .2f"]
                   words with a `{}` for each figure, then what each is, in the form of evidence.py
    setting        ["within {} s", "thorax.power.redfish:ANSWER_S | .0f"]    a constant of the code
    derived        ["vectors of {} MB", "23.5e6 * 4 / 1e6 | .0f"]
                   what each figure follows from, in the form of arithmetic.py
    holds          ["less than twice the time", "{partition: ratios | max} < 2"]
                   words without `{}`, then comparisons, each of which has to hold
    test           ["tests/training/test_lars.py::test_name", "words", ...]    has the numbers
    published      ["Dell EMC, November 2018", "43 W", ...]    whose figures, then the words
    definition     ["why it is no finding", "words", ...]    the text itself decides it
    then           ["what of", "words", ...]      of decisions: measured on their day, no file
    specification, example, goal, assumed      the words alone

Words stand in one place, whatever the line ends between them, and bind the figures in them; words
with `{}` bind those alone. What is in links, in comments, in code (but for what has a unit, and a
decimal number alone) and between `<!-- name -->` and `<!-- end of name -->`, which docs/generate.py
writes, states no figure here. What states one, decision 14 lists. Of the pages that it writes from
help texts, docstrings and messages, ratios, rates and times are bound.
"""

import ast
import dataclasses
import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from benchmarks.record import arithmetic
from benchmarks.record.evidence import Evidence, EvidenceError, formatted

ROOT: Final = Path(__file__).resolve().parents[2]
REGISTER: Final = ROOT / "docs" / "figures.toml"
GENERATED_PAGES: Final = frozenset(
    {"docs/cli.md", "docs/results.md", "docs/errors.md", "docs/benchmarks.md"}
)
DECISIONS: Final = "docs/decisions/"
WITH_ORIGIN: Final = frozenset({"published", "test", "definition", "then"})
WORDS_ALONE: Final = frozenset({"specification", "example", "goal", "assumed"})
COMPUTED: Final = frozenset({"result", "setting", "derived"})
UNBOUND: Final = (EvidenceError, ValueError, AttributeError, ModuleNotFoundError)
"""What is raised of a source that is not there, or says nothing."""

_NUMBER: Final = r"[-+−±]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?"
_RATIOS_AND_TIMES: Final = (
    r"%|x\b(?! ?\d)|×(?! ?\d)|times\b|fold\b|percent\b|per cent\b"
    r"|[A-Za-z]+/s\b(?:/M?Hz|/W)?|(?:images|frames|samples) (?:a|per) second\b|fps\b|FPS\b"
    r"|s\b|ms\b|us\b|µs\b|ns\b|min\b|secs?\b|(?:milli|micro|nano)?seconds?\b|minutes?\b"
    r"|hours?\b|h\b|days?\b"
)
_UNITS: Final = (
    rf"{_RATIOS_AND_TIMES}"
    r"|[kKMGT]i?B\b|Gb\b|Gbit\b|B\b|[km]?Wh?\b|[Ww]atts?\b|J\b|pJ\b|joules\b"
    r"|(?:[Kk]ilo|[Mm]ega|[Gg]iga|[Tt]era)(?:bytes?|bits?|watts?|hertz)\b"
    r"|[kMGTP]?(?:FLOP|OP)[Ss]?\b"
    r"|[kMG]?Hz\b|dB\b|points?\b|images?\b|files?\b|drawings\b|radiographs\b|patients\b|updates\b"
    r"|thousand\b|million\b|billion\b|cycles\b|MW\b|values\b|trials\b|turns\b|DSP\b|cores?\b"
)
_NAMES: Final = (
    r"OpenVINO|OpenCV|Python|NNCF|Keras|TensorFlow|PyTorch|torch|MXNet|Caffe|dcmtk|pydicom"
    r"|Linux|ONNX|Training|release|releases|version|versions|Core|Trainer|sections?|Sections?"
    r"|p\.|Gen\d|JPEG|IR|BT|Apache|apache"
)
_BLOCK: Final = r"^<!-- (?P<block>[\w ]+) -->$.*?^<!-- end of (?P=block) -->$"
"""What docs/generate.py writes."""
_WRITTEN_OR_FENCED: Final = re.compile(
    rf"{_BLOCK}|<!--.*?-->|^```.*?^```$", re.MULTILINE | re.DOTALL
)
_ITEM: Final = re.compile(r" *(?:[-*+]|\d+[.)]) +")
"""What a list item begins with."""
_MASKED: Final = re.compile(
    r"`(?P<code>[^`\n]+(?:\n[^`\n]+)?)`"
    r"|(?<=\])\([^)\s]*\)"  # where a link leads
    r"|https?://\S+"
    r"|\b\d{4}\.\d{5}\b"  # a paper at arXiv
    r"|\b\d+\.\d+\.\d+(?:\.\d+)*\b"  # a version
    r"|, s\. \d+(?:\.\d+)*"  # a section
    rf"|\b(?:{_NAMES})[ -]v?\d++(?:\.\d++)*+(?![ -]?(?:{_UNITS}))",
    re.MULTILINE | re.DOTALL,
)
_MARKUP: Final = re.compile(
    r"(?P<space>&nbsp;|&#160;|&thinsp;|[\u00a0\u2009\u202f])"
    r"|(?<=\S)\*{1,3}+(?!\d)|(?<!\d)\*{1,3}+(?=\S)|(?<!\w)_(?=\w)|(?<=\w)_(?!\w)|`"
    r"|</?(?:b|i|em|strong|span|code|u|mark)(?: [^>]*)?>"
)
"""What people do not see as it stands: blanks that break no line, signs of emphasis and of code."""
_WITH_UNIT: Final = re.compile(rf"(?<![\w.]){_NUMBER} ?(?:{_UNITS})")
_BLOCKS: Final = re.compile(_BLOCK, re.MULTILINE | re.DOTALL)
_GAP: Final = r"(?:[ -]?|\n *)"
_FIGURE: Final = re.compile(
    rf"(?<![\w.^/])(?<![A-Za-z]-)(?!(?:19|20)\d0s\b)(?P<number>(?>{_NUMBER}))"
    rf"(?:(?P<after>{_GAP}(?:{_UNITS}))|(?![\w^]|-[A-Za-z]))"
)
_SMALL: Final = r"(?:two|three|four|five|six|seven|eight|nine|ten)"
_RATIO: Final = (
    r"(?:twice|thrice|half|double|triple|(?<![\d-] )(?<!\d)[a-z]+\s+times(?!\s+each\b)"
    rf"|\d/\d{{1,3}}|(?:a|one|{_SMALL})[\s-]+(?:third|half|quarter|fifth|tenth|hundredth|thousandth)s?)"
)
_MORE: Final = (
    r"(?:more|less|fewer|faster|slower|larger|smaller|longer|shorter|better|worse|higher|lower"
    r"|cheaper|quicker)"
)
_AFTER: Final = re.compile(rf"{_GAP}(?:{_UNITS})")
_STRICT: Final = re.compile(
    rf"{_GAP}(?!%|per)(?:{_RATIOS_AND_TIMES})"
    rf"|{_GAP}(?:%|per ?cent) {_MORE}\b"
)
"""A unit of a ratio, rate or time; a share only where it compares."""
_QUANTITY: Final = (
    r"(?:times?|speeds?|rates?|sizes?|memory|storage|bytes|bandwidth|throughput|latency|energy"
    r"|power|watts|costs?|errors?|loss|losses|arithmetic|work|accuracy|AUROC|images/s(?:/W)?)"
)
_PART: Final = r"(?:half|third|quarter|fifth|tenth|hundredth|thousandth)"
_TENS: Final = r"(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
_COUNT: Final = (
    rf"(?:{_TENS}(?:-(?:one|two|three|four|five|six|seven|eight|nine))?|one|{_SMALL}|eleven|twelve"
    r"|(?:thir|four|fif|six|seven|eigh|nine)teen|hundred)"
)
_IN_WORDS: Final = re.compile(
    rf"\b(?:{_RATIO}\s+as\s+\w+"
    rf"|{_RATIO}\s+{_MORE}\b"
    rf"|{_RATIO}\s+(?:of\s+)?(?:(?:the|its|their|that|an?)\s+)?(?:(?!is\b|are\b|was\b)[\w'-]+\s+){{0,2}}?"
    rf"{_QUANTITY}\b"
    rf"|(?:halv|doubl|tripl)(?:es|ed|ing)\s+(?:(?:the|its|their)\s+)?(?:\w+\s+)?{_QUANTITY}\b"
    rf"|{_QUANTITY}\s+(?:(?:has|have|is|are|was|were|be|been)\s+){{0,2}}"
    r"(?:doubl|halv|tripl|quadrupl)(?:es?|ed)\b"
    rf"|(?:factors?|speed-?ups?)\s+of\s+{_COUNT}\b"
    rf"|by\s+(?:(?:an?|one|{_SMALL})\s+)?{_PART}s?\b"
    r"|\d*[½⅓⅔¼¾⅕⅖⅗⅘⅙⅛⅜⅝⅞⅒]"
    rf"|{_COUNT}\s+(?:percent\b|per\s+cent\b|%)"
    rf"|(?:{_SMALL}\s+of|(?:one|{_SMALL})\s+(?:in|out\s+of))\s+{_SMALL}\b"
    rf"|(?:{_COUNT}|thousand|many|several)-?fold\b|orders?\s+of\s+magnitude\b)",
    re.IGNORECASE,
)
_BARE: Final = re.compile(
    r"(?<![\w.^/,:#-])(?<![A-Z] )(?<![A-Z]\w )(?<![A-Z]\w\w )(?<![A-Z]\w{3} )(?<![A-Z]\w{7} )"
    r"(?<!\bat )(?<!\bof )(?<!\bby )(?<!\bup to )(?<!\bbelow )(?<!\bstatus )(?<!\bseed )"
    r"(?<!\bbatch )(?<![x×/] )(?P<number>(?!(?:19|20)\d\d\b)[1-9]\d{2,4})(?![\w^/-]|[.,]\d| [x×])"
)
_OF_RATIO: Final = re.compile(
    rf"\b(?:factors?|speed-?ups?)\s+of\s+(?:(?:about|some|nearly|almost)\s+|~)?(?P<of>{_NUMBER})"
    rf"|(?:(?<!\w)x|×)(?P<x>{_NUMBER})(?= {_MORE}\b)"
    rf"|(?<![\w.^/-])(?P<share>\d+)(?= (?:in|out of) (?!(?:19|20)\d\d\b)\d+\b)"
)
"""Numbers that words around them make ratios: `a factor of 3`, `9 in 10`."""
_COUNTED: Final = re.compile(r"\s+of (?:the |these |its |their |all )?\d")
_YEAR: Final = re.compile(r"^\s*(?:19|20)\d\d\s*$")
_ABOUT: Final = r"(?:(?:about|around|nearly|almost|roughly|some|up to|over|under)\s+|[~≈<>≤≥]\s*)"
_CELL: Final = re.compile(rf"^\s*{_ABOUT}?[-+−±]?\.?\d")
_HTML_CELL: Final = re.compile(rf"<td[^>]*>\s*{_ABOUT}?$")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number in a document that states a figure: where it stands, and its line for people."""

    begin: int
    end: int
    line: int
    text: str


def figures(text: str, strict: bool = False) -> list[Figure]:
    """Return the numbers and words of ratios that state a figure, in order.

    A figure has a decimal point, an exponent or thousands, a unit or a counted thing behind it, is
    a part of a number (`7 of 19`), or begins the cell of a table. So has an integer of three digits
    or more that is no year, size, name or place on an axis (`at 512`), and a ratio in words.

    Args:
        text: a document.
        strict: ratios, rates and times alone; a share only if it compares (`40 % faster`).
    """
    seen, places = _as_seen(_without_code(text))
    spans = {match.span() for match in _IN_WORDS.finditer(seen)}
    numbers = {match.start(match.lastgroup or 0): match.end() for match in _OF_RATIO.finditer(seen)}
    if not strict:
        numbers |= {match.start(): match.end("number") for match in _BARE.finditer(seen)}
    for match in _FIGURE.finditer(seen):
        number = match["number"]
        end = match.start() + len(number)
        if strict:
            states = bool(_STRICT.match(seen, end))
        else:
            states = bool(
                any(sign in number for sign in ".,e")
                or match["after"]
                or _COUNTED.match(seen, end)
                or _begins_cell(seen, match.start())
            )
        if states:
            numbers[match.start()] = end
    spans |= set(numbers.items())
    return [
        Figure(
            places[begin],
            places[end - 1] + 1,
            text.count("\n", 0, places[begin]) + 1,
            _shown(seen, begin, end),
        )
        for begin, end in sorted(spans)
    ]


def _without_code(text: str) -> str:
    """Return a document with blanks for what states no figure; every other sign keeps its place."""
    text = _WRITTEN_OR_FENCED.sub(_blank, text)
    lines, offsets, may_begin, within = [], [0], True, False
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip(" "))
        item = _ITEM.match(line)
        if line.strip():
            if may_begin or item:
                while indent < offsets[-1]:
                    offsets.pop()
            within = (may_begin or within) and indent >= offsets[-1] + 4
            if item and not within:
                offsets.append(item.end())
            may_begin = False
        else:
            may_begin = True
        lines.append(" " * len(line) if within else line)
    return _MASKED.sub(_masked, "\n".join(lines))


def _as_seen(text: str) -> tuple[str, list[int]]:
    """Return a document as people see it, and the place of each of its signs in the document."""
    parts: list[str] = []
    places: list[int] = []
    last = 0
    for match in _MARKUP.finditer(text):
        parts += [text[last : match.start()], " " if match["space"] else ""]
        places += range(last, match.start())
        places += [match.start()] if match["space"] else []
        last = match.end()
    return "".join((*parts, text[last:])), [*places, *range(last, len(text))]


def _masked(match: re.Match[str]) -> str:
    code = match["code"]
    number = code and re.fullmatch(_NUMBER, code)
    states = number and ("." in code or _AFTER.match(match.string, match.end()))
    return match[0] if states or (code and _WITH_UNIT.search(code)) else _blank(match)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _shown(text: str, begin: int, end: int) -> str:
    """Return a figure for people: with its unit, on one line."""
    match = _FIGURE.match(text, begin)
    return " ".join((match[0] if match and match.end() > end else text[begin:end]).split())


def _begins_cell(text: str, at: int) -> bool:
    begin = text.rfind("\n", 0, at) + 1
    if _HTML_CELL.search(text, begin, at):
        return True
    if not text.startswith("|", begin):
        return False
    cell = text[text.rfind("|", begin, at) + 1 : text.find("\n", at)].partition("|")[0]
    words = re.search(r"[A-Za-z]{4}", re.sub(rf"^\s*{_ABOUT}", "", cell))
    return bool(_CELL.match(cell)) and not words and not _YEAR.match(cell)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the register: words of a document and what their figures are.

    Attributes:
        kind: a key of the register.
        words: what stands in the document; `{}` for a figure that `sources` gives.
        sources: where the figures come from, one for each `{}`; what has to hold of `holds`.
        origin: source of a published figure, test of a tested one, reason of a definition.
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
                if kind == "then" and not document.startswith(DECISIONS):
                    raise ValueError(f"docs/figures.toml, {document}: then is for decisions alone")
                if kind == "holds" or (kind in COMPUTED and "{}" in line[0]):
                    yield Entry(kind, line[0], tuple(line[1:]))
                elif kind in WITH_ORIGIN or (kind in COMPUTED and isinstance(line, list)):
                    yield from (Entry(kind, words, origin=line[0]) for words in line[1:])
                elif kind in WORDS_ALONE | COMPUTED:
                    yield Entry(kind, line)
                else:
                    raise ValueError(f"docs/figures.toml, {document}: {kind} is no kind")

    def number(self, source: str) -> float:
        """Return a figure of a result file, `claim: path`, or a constant, `module:name`."""
        exact = f"{source} | .17g"
        return float(self._evidence.text(exact) if ": " in source else setting(exact))

    def value(self, entry: Entry, source: str) -> str:
        """Return a figure as the documents write it."""
        if entry.kind == "derived":
            expression, _, form = source.rpartition(" | ")
            return formatted(arithmetic.value_of(expression, self.number), form)
        return self._evidence.text(source) if entry.kind == "result" else setting(source)

    def _values(self, entry: Entry) -> list[str]:
        computed = entry.sources if entry.kind in COMPUTED else ()
        return [self.value(entry, source) for source in computed]

    def _faults(self, entry: Entry) -> list[str]:
        """Return a line for all that is wrong with an entry, wherever its words stand."""
        if entry.kind == "test":
            return untested(entry)
        if entry.kind == "holds":
            false = [one for one in entry.sources if not arithmetic.holds(one, self.number)]
            if not entry.sources:
                return [f"{entry.words!r}: holds needs a comparison"]
            return [f"{entry.words!r}: {one} does not hold: write what does" for one in false]
        if entry.kind in COMPUTED and not entry.sources:
            return [
                f"{entry.words!r}: {entry.kind} needs a {{}} and what it is for each figure; what "
                "the text itself decides is a definition, with its reason"
            ]
        if entry.kind in COMPUTED and entry.words.count("{}") != len(entry.sources):
            return [f"as many sources as {{}} are needed in {entry.words!r}"]
        return []

    def complaints(self, document: str, text: str) -> list[str]:
        """Return a line for each figure that is not bound or not what its source says."""
        bound: list[tuple[int, int]] = []
        lines = []
        by_people = _BLOCKS.sub(_blank, text)
        for entry in self.entries(document):
            try:
                faults = self._faults(entry)
                values = [] if faults else self._values(entry)
            except UNBOUND as error:
                lines.append(f"{document}: {entry.words!r}: {error}: bind it anew or drop it")
                continue
            lines += [f"{document}: {fault}" for fault in faults]
            matches = list(entry.pattern().finditer(by_people))
            if not matches:
                lines.append(f"{document}: {entry.words!r} does not stand there: mend the register")
            elif len(matches) > 1:
                lines.append(f"{document}: {entry.words!r} stands there twice: add words around it")
            for match in matches:
                bound += _bound(entry, match)
                line = text.count("\n", 0, match.start()) + 1
                lines += [
                    f"{document}:{line}: {said} is {value} by {source}: run docs/generate.py"
                    for said, value, source in zip(
                        match.groups(), values, entry.sources, strict=False
                    )
                    if said != value
                ]
        for figure in figures(text, strict=document in GENERATED_PAGES):
            if not any(begin <= figure.begin and figure.end <= end for begin, end in bound):
                lines.append(
                    f"{document}:{figure.line}: {figure.text!r} is bound to nothing: bind it to a "
                    "result file in docs/figures.toml, say there what else it is, or drop it"
                )
        return lines

    def rewritten(self, document: str, text: str) -> str:
        """Return a document with every figure whose source is there as that has it now."""
        for entry in self.entries(document):
            try:
                values = self._values(entry)
            except UNBOUND:
                continue  # `complaints` names it
            if len(values) == entry.words.count("{}") > 0:
                text = _rewritten(entry, values, text)
        return text


def _bound(entry: Entry, match: re.Match[str]) -> list[tuple[int, int]]:
    """Return the places that words bind: of those with sources, the figures that have one."""
    if entry.kind in COMPUTED and entry.sources:
        return [match.span(group) for group in range(1, len(match.groups()) + 1)]
    return [match.span()]


def _rewritten(entry: Entry, values: Sequence[str], text: str) -> str:
    """Return a text with the figures of an entry, but for blocks, which are written whole."""
    blocks = [match.span() for match in _BLOCKS.finditer(text)]

    def replaced(match: re.Match[str]) -> str:
        if any(begin <= match.start() < end for begin, end in blocks):
            return match[0]
        return _replaced(match, values)

    return entry.pattern().sub(replaced, text)


def _replaced(match: re.Match[str], values: Sequence[str]) -> str:
    whole, parts, last = match[0], [], 0
    for group, value in enumerate(values, 1):
        begin, end = (place - match.start() for place in match.span(group))
        parts += [whole[last:begin], value]
        last = end
    return "".join((*parts, whole[last:]))


def untested(entry: Entry) -> list[str]:
    """Return a line for each number in words that the test they name does not have.

    A number is in a test as a number of its own, in its decorators, its body, or in functions and
    constants of its file that these name; 50 ms and 30 % may be written 0.05 and 0.3.
    """
    file, _, name = entry.origin.partition("::")
    path = ROOT / file
    if not path.is_file():
        return [f"{entry.words!r} names {file}, which is not there"]
    numbers = _numbers_of(ast.parse(path.read_text("utf-8")), name)
    if not numbers:
        return [f"{entry.words!r}: {file} has no test {name!r} with a number: FILE::test_name"]
    return [
        f"{entry.words!r}: {entry.origin} has no {figure.text}"
        for figure in figures(entry.words)
        if not _readings(figure.text) & numbers
    ]


_SCALES: Final = {"%": 1e-2, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def _readings(text: str) -> set[float]:
    """Return the numbers that a figure may be in code: as it stands, and in SI units."""
    match = re.match(rf"({_NUMBER}) ?(\S*)", text)
    if not match:
        return set()
    value = float(re.sub("[±+,]", "", match[1]).replace("−", "-"))
    return {value, float(f"{value * _SCALES.get(match[2], 1):.12g}")}


def _numbers_of(tree: ast.Module, name: str) -> set[float]:
    """Return the numbers of a function and of what it names in its file."""
    parts: dict[str, ast.stmt] = {}
    for statement in tree.body:
        match statement:
            case ast.FunctionDef(name=defined) | ast.ClassDef(name=defined):
                parts[defined] = statement
            case ast.Assign(targets=[ast.Name(id=defined), *_]):
                parts[defined] = statement
            case ast.AnnAssign(target=ast.Name(id=defined)):
                parts[defined] = statement
    numbers: set[float] = set()
    waiting = [name]
    while waiting:
        part = parts.pop(waiting.pop(), None)
        for node in ast.walk(part) if part else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
                numbers.add(float(node.value))
            elif isinstance(node, ast.Name):
                waiting.append(node.id)
            elif isinstance(node, ast.arg):
                waiting.append(node.arg)  # a fixture
    return numbers


def setting(source: str) -> str:
    """Return a constant as a document writes it.

    `module:attribute | / 60 | .0f`, or `src/file.toml:table.key | .0f`; `rest` is the rest to 1. A
    field of a dataclass and a parameter of a function stand for their defaults.
    """
    name, *filters, form = (part.strip() for part in source.split(" | "))
    place, _, path = name.partition(":")
    value: Any
    if place.endswith(".toml"):
        value = tomllib.loads((ROOT / place).read_text("utf-8"))
    else:
        value = importlib.import_module(place)
    for key in path.split("."):
        value = _part(value, key)
    for step in filters:
        operator, _, number = step.partition(" ")
        if operator == "rest":
            value = 1 - value
        else:
            value = value * float(number) if operator == "*" else value / float(number)
    return formatted(value, form)


def _part(value: Any, key: str) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return value[key]
    if isinstance(value, Sequence):
        return value[int(key)]
    if inspect.isfunction(value):
        return inspect.signature(value).parameters[key].default
    if isinstance(value, type) and dataclasses.is_dataclass(value):
        defaults = {field.name: field.default for field in dataclasses.fields(value)}
        return defaults.get(key) if key in defaults else getattr(value, key)
    return getattr(value, key)


@dataclass(frozen=True)
class Document:
    """A page of the repository, by its path from the root."""

    name: str

    @cached_property
    def text(self) -> str:
        """Return what it says."""
        return (ROOT / self.name).read_text("utf-8")


def documents() -> list[Document]:
    """Return every page that people write: README, CHANGELOG, CONTRIBUTING and docs."""
    pages = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
    pages += sorted((ROOT / "docs").rglob("*.md"))
    names = (page.relative_to(ROOT).as_posix() for page in pages)
    return [Document(name) for name in names if name not in GENERATED_PAGES]


def written_of_the_program() -> list[Document]:
    """Return the pages that docs/generate.py writes from help texts, docstrings and messages."""
    return [Document(name) for name in sorted(GENERATED_PAGES - {"docs/benchmarks.md"})]
