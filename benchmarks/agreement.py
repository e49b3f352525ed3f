"""Whether the two newest runs of a claim agree within their intervals, and if not, why not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.evidence import Evidence, ResultFile
from benchmarks.side_by_side import less_is_better

UNEXPLAINED: Final = "not explained"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why comparisons of a claim differ between processors, and those it holds for.

    Attributes:
        claim: whose.
        words: of which the name of a comparison has one; all comparisons where there are none.
        why: it differs; of two runs on processors of other classes alone.
    """

    claim: str
    words: tuple[str, ...]
    why: str


REASONS: Final[Sequence[Reason]] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """A comparison in two runs, the older first."""

    name: str
    before: Mapping[str, Any]
    now: Mapping[str, Any]
    verdict: str
    why: str


def verdict(now: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """Return "agree", "better" or "differ", by the intervals of wall-clock time."""
    new, old = now["wall"], before["wall"]
    if new["low"] <= old["high"] and old["low"] <= new["high"]:
        return "agree"
    higher = new["low"] > old["high"]
    return "better" if higher is not less_is_better(now["quantity"]) else "differ"


def runs(evidence: Evidence, claim: str) -> tuple[ResultFile, ResultFile] | None:
    """Return the two newest runs of a claim that compared sides, the older first; None of fewer."""
    files = [file for file in evidence.runs(claim) if file.document.get("comparisons")]
    return (files[-2], files[-1]) if len(files) > 1 else None


def pairs(before: ResultFile, now: ResultFile) -> Iterator[Pair]:
    """Yield the comparisons that both runs have."""
    known = {(one["name"], one["quantity"]): one for one in before.document["comparisons"]}
    for one in now.document["comparisons"]:
        other = known.get((one["name"], one["quantity"]))
        if other is not None:
            found = verdict(one, other)
            why = "" if found == "agree" else _why(now, before, str(one["name"]))
            yield Pair(str(one["name"]), other, one, found, why)


def _why(now: ResultFile, before: ResultFile, name: str) -> str:
    if now.processors is before.processors:
        return UNEXPLAINED
    return next(
        (
            reason.why
            for reason in REASONS
            if reason.claim == now.claim
            and (not reason.words or any(word in name.lower() for word in reason.words))
        ),
        UNEXPLAINED,
    )
