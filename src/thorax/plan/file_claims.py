"""Sources of a file of constants: which of them hold, as a file of Thorax's own has them too.

The digest of a file has no key: it catches slips, and whoever edits a file on purpose can write
another. So a file by the name of a shipped server or cluster is held against that one, and so is
any other that calls constants published, against the nearest.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from thorax.config import FileOrigin
from thorax.plan.ranges import as_changed, overlap


class Described(Protocol):
    """A server or cluster whose constants have sources, `key: kind: text` each."""

    @property
    def name(self) -> str:
        """By which those that come with Thorax are found."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Of its constants."""

    def model_dump(self, *, mode: str, exclude: set[str]) -> dict[str, Any]:
        """Return all fields but some."""


PlanT = TypeVar("PlanT", bound=Described)

_CLAIMS: Final = re.compile(r"published|derived|calibrated")
"""Kinds of constants that come from what somebody published."""

_SAME: Final = 1e-6
"""Share by which a number that was solved for may differ from one machine to another."""

_FILE: Final = "file: "

_MARK: Final = re.compile(r" \([^()]+, (?:edited|unsigned|differs from [^(), ]+)\)")
"""What stands behind the name or title of a file that is not as Thorax has it or wrote it."""


@dataclass(frozen=True, slots=True)
class Shipped(Generic[PlanT]):
    """Servers or clusters that come with Thorax.

    Attributes:
        names: of all of them.
        find: one by its name, with all its numbers known.
        title: name of the field that begins alike in a plan with other constants.
        aside: fields that are no constants to compare.
    """

    names: Sequence[str]
    find: Callable[[str], PlanT]
    title: str
    aside: frozenset[str] = frozenset()

    def constants(self, plan: PlanT) -> dict[str, Any]:
        """Return all constants by their dotted keys."""
        aside = {"name", "sources", *self.aside}
        return dict(_leaves(plan.model_dump(mode="json", exclude=aside)))


@dataclass(frozen=True, slots=True)
class FileClaims:
    """What may be said of the constants of a file.

    Attributes:
        mark: what stands behind the name or title of what the file describes.
        sources: of its constants.
        shipped: name of what it was held against; "" of a file that was held against nothing.
    """

    mark: str
    sources: tuple[str, ...]
    shipped: str = ""


def judge(plan: PlanT, origin: FileOrigin, shipped: Shipped[PlanT]) -> FileClaims:
    """Return what may be said of the constants of a server or cluster that a file describes.

    Of a file without a right digest nobody knows which constants are still those of their sources.
    One with a right digest says of a constant where it is from only as far as Thorax's own says
    the same of the same number; all others are given by the file, which is quoted.
    """
    if origin.mark:
        return FileClaims(origin.mark, origin.attribute(plan.sources))
    own = _nearest(plan, shipped)
    if own is None:
        return FileClaims("", origin.attribute(plan.sources))
    differing = _differing(plan, own, shipped)
    sources = [source for source in plan.sources if not source.startswith(_FILE)]
    judged = tuple(_judged(sources, own.sources, differing, origin))
    if not differing and list(judged) == sources:
        return FileClaims("", origin.attribute(sources), own.name)
    differs = f"differs from {own.name}"
    where = f" in {', '.join(sorted(differing))}" if differing else " in what it says of sources"
    meaning = f"{differs}{where}; its digest is right, but has no key, and anybody can write one"
    return FileClaims(
        f" ({origin.name}, {differs})", (f"{_FILE}{origin.name}: {meaning}", *judged), own.name
    )


def marked(title: str, mark: str) -> str:
    """Return a name or title with the mark of its file behind it, once."""
    return title.removesuffix(mark) + mark


def file_mark(title: str) -> str:
    """Return the mark of a file behind a name or title, "" of one without."""
    match = _MARK.search(title)
    return match[0] if match else ""


def changed_title(title: str, before: str, *, given: bool) -> str:
    """Return a name or title that says that constants were changed by --set.

    One that was itself given keeps the mark of the file behind the one before: another title does
    not make a file's constants others.
    """
    return as_changed(marked(title, file_mark(before)) if given else title)


def _nearest(plan: PlanT, shipped: Shipped[PlanT]) -> PlanT | None:
    """Return the shipped one of the same name, or the one most like what claims to be published."""
    if plan.name in shipped.names:
        return shipped.find(plan.name)
    if not any(_CLAIMS.match(source.partition(": ")[2]) for source in plan.sources):
        return None
    return min(
        map(shipped.find, shipped.names), key=lambda own: len(_differing(plan, own, shipped))
    )


def _differing(plan: PlanT, own: PlanT, shipped: Shipped[PlanT]) -> set[str]:
    """Return the keys of constants that are not those of the shipped one."""
    ours, theirs = shipped.constants(own), shipped.constants(plan)
    title = shipped.title
    if str(theirs[title]).startswith(str(ours[title])):
        ours[title] = theirs[title]
    return {key for key in {*ours, *theirs} if not _same(ours.get(key), theirs.get(key))}


def _leaves(table: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


def _same(one: object, other: object) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=_SAME)
    return one == other


def _judged(
    sources: Sequence[str], own: Sequence[str], differing: set[str], origin: FileOrigin
) -> Iterator[str]:
    """Yield sources that hold as they are, the others as given by the file, and what has none."""
    covered: set[str] = set()
    for source in sources:
        keys, colon, text = source.partition(": ")
        changed = {
            name: {key for key in differing if _overlap(name, key)} for name in keys.split(", ")
        }
        covered |= set().union(*changed.values())
        if source not in own:
            yield origin.given(source)
            continue
        for names, hold in (
            ([name for name in changed if not changed[name]], True),
            ([name for name in changed if changed[name]], False),
        ):
            line = f"{', '.join(names)}{colon}{text}"
            if names:
                yield line if hold else origin.given(line)
    for key in sorted(differing - covered):
        yield f"{key}: given: by {origin.name}"


def _overlap(name: str, key: str) -> bool:
    """Return whether what a source names is a constant, a part of it, or what it is a part of.

    A name may go on in words, as "rates of other topologies".
    """
    return overlap(name.partition(" ")[0], key)
