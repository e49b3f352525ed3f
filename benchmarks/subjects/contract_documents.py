"""What two recorded answers or help pages have in common, and where they part.

An answer is compared as a document: key by key, in their order, with types and values. What a
person is shown becomes a document of lines, each with its form, which is the line without its
numbers: a line that tells a time may say another one, and no other words.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, Literal

Kind = Literal["gone", "new", "order", "length", "type", "value"]

_NUMBER: Final = re.compile(r"\b[0-9a-f]{16,64}\b|(?<!\w)\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")
_PROGRESS: Final = re.compile(r"training: epoch .*|(?!.* in # s).*, #/s")
"""The form of a line that is there only when a command takes long."""
_PANEL: Final = re.compile(r"^╭─ (.+?) ─+╮$")
_OPTION: Final = re.compile(r"-{1,2}[A-Za-z][\w-]*(?:,-{1,2}[A-Za-z][\w-]*)*")
_SHOWN: Final = 200
"""Characters of a value that are kept of a difference."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A place where two documents part.

    Attributes:
        path: keys from the top, joined by dots; all entries of a list are `[]`.
        kind: what became of it.
        before: the value as JSON, cut around where it parts.
        after: the same.
    """

    path: str
    kind: Kind
    before: str
    after: str

    def lines(self, width: int) -> list[str]:
        """Return it for a terminal: one line, or three where both values are long."""
        line = f"{self.kind} {self.path}: {self.before} -> {self.after}"
        if len(line) <= width:
            return [line]
        values = _around(self.before, self.after, width - 12)
        return [
            f"{self.kind} {self.path}:"[:width],
            f"  before {values[0]}",
            f"  after  {values[1]}",
        ]


def differences(before: Any, after: Any, path: str = "") -> Iterator[Difference]:  # noqa: ANN401
    """Yield where two documents part."""
    if type(before) is not type(after):
        yield _parted(path, "type", before, after)
    elif isinstance(before, dict):
        yield from _of_mappings(before, after, path)
    elif isinstance(before, list):
        if len(before) != len(after):
            yield Difference(path, "length", str(len(before)), str(len(after)))
        for one, other in zip(before, after, strict=False):
            yield from differences(one, other, f"{path}[]")
    elif before != after:
        yield _parted(path, "value", before, after)


def _of_mappings(
    before: Mapping[str, Any], after: Mapping[str, Any], path: str
) -> Iterator[Difference]:
    inner = {key: f"{path}.{key}" if path else key for key in (*before, *after)}
    common = [key for key in before if key in after]
    for key in before:
        if key not in after:
            yield Difference(inner[key], "gone", _around(_text(before[key]), "", _SHOWN)[0], "")
    for key in after:
        if key not in before:
            yield Difference(inner[key], "new", "", _around("", _text(after[key]), _SHOWN)[1])
    now = [key for key in after if key in before]
    if common != now:
        yield _parted(path, "order", common, now)
    for key in common:
        yield from differences(before[key], after[key], inner[key])


def _parted(path: str, kind: Kind, before: Any, after: Any) -> Difference:  # noqa: ANN401
    return Difference(path, kind, *_around(_text(before), _text(after), _SHOWN))


def _text(value: Any) -> str:  # noqa: ANN401
    return json.dumps(value, ensure_ascii=False)


def _around(before: str, after: str, width: int) -> tuple[str, str]:
    """Cut two texts to a width, so that where they part is seen."""
    pairs = zip(before, after, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    begin = max(0, same - width // 3) if max(len(before), len(after)) > width else 0
    return before[begin : begin + width], after[begin : begin + width]


class Noise:
    """What differs between records of one and the same program, and so says nothing of another."""

    def __init__(self, found: Iterable[Difference]) -> None:
        self._seen = {(one.path, one.kind) for one in found}
        self._open = tuple(path for path, kind in self._seen if kind in ("gone", "new", "type"))

    def __contains__(self, one: Difference) -> bool:
        """Return whether a difference is of a place and a kind that vary by themselves."""
        if (one.path, one.kind) in self._seen:
            return True
        turned = {"gone": "new", "new": "gone"}.get(one.kind)
        return (one.path, turned) in self._seen or any(
            one.path.startswith((f"{path}.", f"{path}[")) for path in self._open
        )


def form(text: str) -> str:
    """Return a line without its numbers, and without the widths that follow from them."""
    return re.sub(r"\s+", " ", re.sub("[─━╌]{2,}", "-", _NUMBER.sub("#", text))).strip()


def messages(said: str) -> list[str]:
    """Return the forms of the lines of stderr, each once, but for what tells of progress."""
    forms = dict.fromkeys(map(form, said.splitlines()))
    return [one for one in forms if not _PROGRESS.fullmatch(one)]


def document(answer: bytes) -> Any:  # noqa: ANN401
    """Return an answer as a document: its JSON, or its lines with their forms."""
    text = answer.decode("utf-8", "backslashreplace")
    try:
        return json.loads(text)
    except ValueError:
        lines = enumerate(text.splitlines(), 1)
        return {f"line {number}": {"text": line, "form": form(line)} for number, line in lines}


def surface(page: str) -> dict[str, dict[str, str]]:
    """Return options, arguments and commands of a help page that is too wide to wrap.

    Every name that an option has is an entry of its own.
    """
    group = re.search(r"^ Usage: .* COMMAND \[ARGS\]", page, re.MULTILINE) is not None
    found: dict[str, dict[str, str]] = {"options": {}, "arguments": {}, "commands": {}}
    for row in _rows(page):
        names = [*takewhile(_OPTION.fullmatch, row)]
        text = "  ".join(row[len(names) :])
        if names:
            found["options"] |= {name: text for cell in names for name in cell.split(",")}
        else:
            found["commands" if group else "arguments"][row[0]] = "  ".join(row[1:])
    return found


def _rows(page: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the panels, without the star of what is required."""
    within = False
    for line in page.splitlines():
        if _PANEL.match(line.strip()):
            within = True
        elif not line.startswith("│"):
            within = False
        elif within and (cells := re.split(r"\s{2,}", line.strip("│ "))) != [""]:
            yield cells[1:] if cells[0] == "*" else cells
