r"""Names of images as tables write them, matched with those of files or of another table.

Names differ in what does not matter: the folder that a path begins with, `\` for `/`, `./`, the
form of accented letters (Unicode NFC, NFD), case, the ending of the file. What matters is the end
of the path: the match is the name with which most last parts agree, and more than one is told.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cached_property
from heapq import nsmallest
from itertools import pairwise, takewhile
from typing import Final

from thorax.files.csv_cells import harmless
from thorax.images.kinds import ENDINGS

_ENDING: Final = re.compile(rf"(?i)(?<=.)({'|'.join(map(re.escape, ENDINGS))})(\.gz)?$")
_DRIVE: Final = re.compile(r"[A-Za-z]:")


def without_ending(name: str) -> str:
    """Return a name without the ending of an image; the points of a UID are no ending."""
    return _ENDING.sub("", name)


def name_parts(name: str) -> tuple[str, ...]:
    r"""Return the folders and the last part of a name, in one form of letters.

    Example:
        >>> name_parts(r"C:\scans\.\a.png"), name_parts("./x/../b.png")
        (('scans', 'a.png'), ('x', '..', 'b.png'))
    """
    text = unicodedata.normalize("NFC", name)
    parts = _written(text).replace("\\", "/").split("/")
    if _DRIVE.fullmatch(parts[0]):
        del parts[0]
    return tuple(_written(part) for part in parts if part not in ("", "."))


def _written(text: str) -> str:
    """Return a name as files for spreadsheets have it, so that either form is the same name."""
    plain = text[:1].isalnum() and text.isprintable()
    return text if plain else harmless(text)


def _folded(part: str) -> str:
    # The same text is the same object: a table may hold millions of parts.
    folded = part.casefold()
    return part if folded == part else folded


def _stem(part: str) -> str:
    return _folded(without_ending(part))


class NameIndex:
    """Names that others are matched with, by the ends of their paths."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._tails: dict[Callable[[str], str], _Tails] = {}

    @cached_property
    def _parts(self) -> list[tuple[str, ...]]:
        return [name_parts(name) for name in self._names]

    @cached_property
    def _root(self) -> int:
        return _shared_folders(self._parts)

    @cached_property
    def _whole(self) -> dict[tuple[str, ...], int]:
        return {parts: row for row, parts in enumerate(self._parts)}

    def find(self, name: str) -> tuple[int, ...]:
        """Return the row of a name: none, one, or two of several between which nothing decides."""
        parts = name_parts(name)
        if (row := self._whole.get(parts)) is not None:
            return (row,)
        for spelling in (str, _folded, _stem):
            if spelling not in self._tails:
                self._tails[spelling] = _Tails(self._parts, spelling)
            if rows := self._by_tail(self._tails[spelling], parts, spelling):
                return rows
        return ()

    def _by_tail(
        self, tails: "_Tails", parts: tuple[str, ...], spelling: Callable[[str], str]
    ) -> tuple[int, ...]:
        rows, depth = tails.longest(_spelt(parts, spelling))
        if len(rows) != 1 or tails.distinct or depth == len(parts):
            return rows
        # Folders tell these names apart: of those that disagree, only ones that all names begin
        # with may be another place of the same files, and no place that begins as it does.
        match = self._parts[rows[0]]
        elsewhere = len(match) - depth <= self._root and (
            len(match) == depth or match[0] != parts[0]
        )
        return rows if elsewhere else ()


def _shared_folders(names: Sequence[tuple[str, ...]]) -> int:
    """Return with how many folders all names begin alike."""
    if not names:
        return 0
    first, last = min(names)[:-1], max(names)[:-1]
    return _alike(first, last)


def _spelt(parts: tuple[str, ...], spelling: Callable[[str], str]) -> tuple[str, ...]:
    if spelling is str or not parts:
        return parts
    return (*map(_folded, parts[:-1]), spelling(parts[-1]))


class _Tails:
    """Rows by the last parts of their names.

    Sorted from the end, names that end alike are neighbours; each is held once, however deep it is.
    """

    def __init__(self, names: Sequence[tuple[str, ...]], spelling: Callable[[str], str]) -> None:
        self._ends = sorted((_spelt(parts, spelling)[::-1], row) for row, parts in enumerate(names))
        self.distinct = all(a[:1] != b[:1] for (a, _), (b, _) in pairwise(self._ends))

    def longest(self, parts: tuple[str, ...]) -> tuple[tuple[int, ...], int]:
        """Return the rows of the longest tail that a name shares, and how many parts it has.

        Two rows where there are several.
        """
        end = parts[::-1]
        place = bisect_left(self._ends, (end,))
        beside = self._ends[max(0, place - 1) : place + 1]
        depth = max((_alike(end, other) for other, _ in beside), default=0)
        if not depth:
            return (), 0
        tail = end[:depth]
        places = range(bisect_left(self._ends, (tail,)), len(self._ends))
        same = takewhile(lambda name: name[0][:depth] == tail, (self._ends[k] for k in places))
        return tuple(nsmallest(2, (row for _, row in same))), depth


def _alike(first: Sequence[str], second: Sequence[str]) -> int:
    """Return with how many parts two names begin alike."""
    return sum(takewhile(bool, (a == b for a, b in zip(first, second, strict=False))))
