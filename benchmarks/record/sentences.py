"""Texts of the record whose braces are filled from the newest result files."""

import re
import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.harness.processors import Machine
from benchmarks.record import comparisons
from benchmarks.record.comparisons import compared
from benchmarks.record.evidence import Evidence, EvidenceError, ResultFile


def filled(text: str, figure: Callable[[str], str]) -> str:
    """Return a text whose braces are replaced by the figures that they name."""
    return re.sub(r"\{([^{}]+)\}", lambda match: figure(match[1]), text)


def computed(source: str, evidence: Evidence) -> str | None:
    """Return what a name of a text stands for that is of comparisons or turns; None of others.

    `comparisons CLAIM WORDS | WORDS` are those whose names have one of the words, `*` all;
    `ratio CLAIM NAME` is one; `rates CLAIM SIDE SIDE ...` are images a second of sides, `-` for one
    that the file lacks; `fastest CLAIM SIDE SIDE ...` is the first over the fastest of the others.

    Raises:
        EvidenceError: the newest file has nothing of it.
    """
    word, _, rest = source.partition(" ")
    claim, _, words = rest.partition(" ")
    ways: Mapping[str, Callable[[ResultFile, str], str]] = {
        "comparisons": _comparisons,
        "ratio": _named_ratio,
        "rates": _rates,
        "fastest": _over_fastest,
    }
    return ways[word](evidence.newest(claim), words) if word in ways else None


def _comparisons(file: ResultFile, words: str) -> str:
    wanted = [one.strip().lower() for one in words.split("|")]
    found = [
        one
        for one in compared(file.document)
        if words == "*" or any(name in comparisons.title(one).lower() for name in wanted)
    ]
    if not found:
        raise EvidenceError(f"{file.path.name} has no comparison of {words}")
    firsts = {one["name"].partition(" over ")[0] for one in found}
    if len(firsts) == 1 and all(" over " in one["name"] for one in found):
        return "; ".join(
            f"{comparisons.ratio(one['wall'])} x {one['name'].partition(' over ')[2]}"
            for one in found
        )
    return "; ".join(f"{one['name']} {comparisons.ratio(one['wall'])}" for one in found)


def _named_ratio(file: ResultFile, name: str) -> str:
    for one in compared(file.document):
        if one["name"] == name:
            return comparisons.ratio(one["wall"])
    raise EvidenceError(f"{file.path.name} has no comparison {name}")


def _rates(file: ResultFile, words: str) -> str:
    cells = []
    for side in words.split():
        try:
            cells.append(f"{statistics.median(comparisons.rates(file.document, side)):.0f}")
        except KeyError:
            cells.append("-")
    if {*cells} == {"-"}:
        raise EvidenceError(f"{file.path.name} has no side of {words}")
    return ", ".join(cells)


def _over_fastest(file: ResultFile, words: str) -> str:
    first, *others = words.split()
    try:
        second = comparisons.fastest(file.document, others)
        found = comparisons.of_turns(file.document, first, second)
    except KeyError as error:
        raise EvidenceError(f"{file.path.name} has no side {error}") from error
    if found is None:
        raise EvidenceError(f"{file.path.name} has too few turns of {first}")
    ratio = comparisons.ratio({"ratio": found.value, "low": found.low, "high": found.high})
    return f"{ratio} ({comparisons.side_title(file.document, second)})"


def first_filled(texts: Sequence[str], evidence: Evidence) -> tuple[str | None, str]:
    """Return the first text that the result files can fill; where none, None and why."""
    why = ""
    for text in texts:
        try:
            return filled(text, lambda one: computed(one, evidence) or evidence.text(one)), ""
        except EvidenceError as error:
            why = why or str(error)
    return None, why


def by_machine(texts: Sequence[str], evidence: Evidence) -> list[tuple[str, Machine | None]]:
    """Return the first text that can be filled, once for each machine that it compares on.

    One without comparisons is filled by the newest file of all.
    """
    claims = re.findall(r"\{comparisons (\w+) ", "".join(texts[:1]))
    machines = [
        made
        for made, file in (evidence.files(claims[0]) if claims else {}).items()
        if compared(file.document)
    ]
    found: list[tuple[str | None, Machine | None]] = [
        (first_filled(texts, evidence.of(made))[0], made) for made in machines
    ]
    if not any(text for text, _ in found):
        found = [(first_filled(texts, evidence)[0], None)]
    several = len(found) > 1
    return [
        (f"on {made.title}: {text}" if several and made else text, made)
        for text, made in found
        if text
    ]
