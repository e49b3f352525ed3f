"""Parser of Protobuf's text format, which describes Caffe's networks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = re.compile(
    r"""(?P<line>\n) | (?P<blank>[^\S\n]+|\#[^\n]*)
      | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<mark>[{}<>\[\]:,;]) | (?P<word>[^\s{}<>\[\]:,;"'\#]+)""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_INTEGER: Final = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|\d+)")
_REAL: Final = re.compile(r"([-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?inf|nan)[fF]?")
_DEEPEST: Final = 32
_INT32: Final = range(-(2**31), 2**31)


class ProtoError(ValueError):
    """Text that is no message, or a field whose value is of another kind than it is read as.

    The `line` of the text counts from 1.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Word:
    """A number, an enumerated value, true, false, or a text without its quotes, with its line.

    In a file also a mark or its end: `kind` is "word", "text", "mark" or "end".
    """

    value: str
    line: int
    kind: str = "word"

    def is_mark(self, marks: str) -> bool:
        """Return whether it is one of these marks."""
        return self.kind == "mark" and self.value in marks


@dataclass(frozen=True, slots=True)
class Block:
    """A message that begins on a line from 1: fields by name, each with all its values in order.

    Whatever reads a field leaves its name in `read`, so that unread fields can be told, and raises
    a `ProtoError` where a value is of another kind. The last value of a field counts where one is
    read.
    """

    line: int
    fields: dict[str, list["Word | Block"]] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def unread(self) -> list[str]:
        """Return the names of the fields that were not read."""
        return [name for name in self.fields if name not in self.read]

    def blocks(self, name: str) -> list["Block"]:
        """Return every message of a repeated field."""
        self.read.add(name)
        blocks = []
        for value in self.fields.get(name, []):
            if isinstance(value, Word):
                raise ProtoError(value.line, f"{name} is {value.value!r}, a block is wanted")
            blocks.append(value)
        return blocks

    def block(self, name: str) -> "Block":
        """Return a message; an empty one where there is none."""
        return [Block(self.line), *self.blocks(name)][-1]

    def texts(self, name: str) -> list[str]:
        """Return every text or enumerated value of a repeated field."""
        return [word.value for word in self._words(name)]

    def text(self, name: str, default: str = "") -> str:
        """Return a text or an enumerated value."""
        return [default, *self.texts(name)][-1]

    def integers(self, name: str) -> list[int]:
        """Return every integer, of 32 bits, of a repeated field."""
        return [_integer(name, word) for word in self._words(name)]

    def integer(self, name: str, default: int) -> int:
        """Return an integer of 32 bits."""
        return [default, *self.integers(name)][-1]

    def numbers(self, name: str) -> list[float]:
        """Return every number of a repeated field."""
        return [_number(name, word) for word in self._words(name)]

    def number(self, name: str, default: float) -> float:
        """Return a number."""
        return [default, *self.numbers(name)][-1]

    def flag(self, name: str, default: bool) -> bool:
        """Return whether a field is true."""
        for word in reversed(self._words(name)):
            if word.value.lower() in ("true", "t", "1"):
                return True
            if word.value.lower() in ("false", "f", "0"):
                return False
            raise ProtoError(word.line, f"{name} is {word.value!r}, neither true nor false")
        return default

    def _words(self, name: str) -> list[Word]:
        self.read.add(name)
        words = []
        for value in self.fields.get(name, []):
            if isinstance(value, Block):
                raise ProtoError(value.line, f"{name} is a block, a value is wanted")
            words.append(value)
        return words


def parse(text: str) -> Block:
    """Return the message that a text describes.

    Raises:
        ProtoError: what it is not.
    """
    return _message(_tokens(text), Block(1), closing="", depth=0)


def _tokens(text: str) -> Iterator[Word]:
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ProtoError(line, f"a text that begins with {text[at : at + 20]!r} has no end")
        kind = str(match.lastgroup)
        if kind == "line":
            line += 1
        elif kind != "blank":
            yield Word(match.group(), line, kind)
        at = match.end()
    yield Word("", line, "end")


def _message(tokens: Iterator[Word], into: Block, *, closing: str, depth: int) -> Block:
    if depth > _DEEPEST:
        raise ProtoError(into.line, f"blocks stand {depth} deep; {_DEEPEST} is the most")
    for token in tokens:
        if token.is_mark(",;"):
            continue
        if token.kind in ("mark", "end") and token.value == closing:
            return into
        if token.kind != "word":
            what = repr(token.value) if token.value else "the end"
            raise ProtoError(token.line, f"{what} stands where a field's name should")
        _field(tokens, token, into.fields.setdefault(token.value, []), depth=depth)
    raise ProtoError(into.line, "a block has no end")


def _field(tokens: Iterator[Word], name: Word, values: list[Word | Block], *, depth: int) -> None:
    token = next(tokens)
    if token.is_mark(":"):
        token = next(tokens)
        if token.is_mark("["):
            for item in tokens:
                if item.is_mark("]"):
                    return
                if not item.is_mark(","):
                    values.append(_value(tokens, item, depth=depth))
            return
    elif not token.is_mark("{<"):
        raise ProtoError(token.line, f"a value of {name.value} should follow `:`")
    values.append(_value(tokens, token, depth=depth))


def _value(tokens: Iterator[Word], token: Word, *, depth: int) -> Word | Block:
    if token.is_mark("{<"):
        closing = "}" if token.value == "{" else ">"
        return _message(tokens, Block(token.line), closing=closing, depth=depth + 1)
    if token.kind == "text":
        return Word(_ESCAPE.sub(_unescape, token.value[1:-1]), token.line)
    if token.kind == "word":
        return token
    what = repr(token.value) if token.value else "the end"
    raise ProtoError(token.line, f"{what} stands where a value should")


def _unescape(match: re.Match[str]) -> str:
    escape = match[1]
    if escape[0] == "x" and len(escape) > 1:
        return chr(int(escape[1:], 16))
    if escape[0] in "01234567":
        return chr(int(escape, 8))
    return _ESCAPED.get(escape, escape)


def _integer(name: str, word: Word) -> int:
    if len(word.value) <= 20 and _INTEGER.fullmatch(word.value):
        number = int(word.value, 16 if "x" in word.value.lower() else 10)
        if number in _INT32:
            return number
    raise ProtoError(word.line, f"{name} is {word.value!r}; it takes an integer of 32 bits")


def _number(name: str, word: Word) -> float:
    if _REAL.fullmatch(word.value.lower()):
        return float(word.value.lower().rstrip("f") if "inf" not in word.value else word.value)
    raise ProtoError(word.line, f"{name} is {word.value!r}; it takes a number")
