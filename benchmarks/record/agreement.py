"""Whether two runs of a claim agree, on one kind of machine or on two, and if not, why not.

What is judged is the ratio of what both found, with an interval: the half-widths of both intervals,
in logarithms, put together as those of independent measurements.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.harness.processors import Machine, Processors
from benchmarks.harness.side_by_side import less_is_better
from benchmarks.record.comparisons import Document, One, compared, in_parallel, side_title
from benchmarks.record.evidence import Evidence, ResultFile

UNEXPLAINED: Final = "not explained"
UNDECIDED: Final = "undecided: the intervals are too wide to tell"
ALIKE: Final = 1.11
"""Factor between two runs that makes no difference, up or down."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why comparisons of a claim differ between two classes of processors, and which those are.

    Attributes:
        claim: whose.
        names: a regular expression that a name must have, whatever the case.
        lower: class of the processors on which the ratio is the lower one.
        higher: class of those on which it is the higher one.
        why: it differs in this direction.
    """

    claim: str
    names: str
    lower: Processors
    higher: Processors
    why: str


_AMX: Final = "AMX multiplies INT8 and BF16, and FP32 not at all"

REASONS: Final[Sequence[Reason]] = (
    Reason(
        "resnet50_peers",
        "thorax (int8|bf16) over .* fp32$",
        Processors.BF16,
        Processors.AMX,
        _AMX,
    ),
    Reason(
        "resnet50_peers",
        "thorax int8 over onnx runtime int8$",
        Processors.BF16,
        Processors.AMX,
        "the kernels of Thorax are those of AMX there, as the file names them; ONNX Runtime does "
        "not tell its own",
    ),
    Reason("precisions", "(int8|bf16) over fp32$", Processors.BF16, Processors.AMX, _AMX),
)
"""What follows from the instructions of both processors, and in which direction.

All else that differs is not explained."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A comparison in two runs, the older first.

    Attributes:
        name: of the comparison.
        before: what the older run found.
        now: what the newer run found.
        verdict: on both.
        why: they do not agree; "" where they do.
        changed: settings of both sides that are not those of the older run, in words.
    """

    name: str
    before: Mapping[str, Any]
    now: Mapping[str, Any]
    verdict: str
    why: str
    changed: tuple[str, ...] = ()


def verdict(now: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """Return "agree", "better", "differ" or "undecided", by the intervals of wall-clock time.

    Intervals that are so wide that they would hold a difference as well agree on nothing.
    """
    low, high = _over(now["wall"], before["wall"])
    if low <= 1.0 <= high:
        return "agree" if 1.0 / low <= ALIKE and high <= ALIKE else "undecided"
    higher = low > 1.0
    return "better" if higher is not less_is_better(now["quantity"]) else "differ"


def _over(now: Mapping[str, float], before: Mapping[str, float]) -> tuple[float, float]:
    """Return the interval of the ratio of two quantities that each have one."""

    def width(one: Mapping[str, float], smaller: str, larger: str) -> float:
        return math.log(one[larger] / one[smaller])

    ratio = now["ratio"] / before["ratio"]
    below = math.hypot(width(now, "low", "ratio"), width(before, "ratio", "high"))
    above = math.hypot(width(now, "ratio", "high"), width(before, "low", "ratio"))
    return ratio * math.exp(-below), ratio * math.exp(above)


def repeated(evidence: Evidence, claim: str) -> list[tuple[ResultFile, ResultFile]]:
    """Return the two newest runs of a claim on each kind of machine, older first."""
    machines = _compared(evidence, claim).values()
    return [(files[-2], files[-1]) for files in machines if len(files) > 1]


def across(evidence: Evidence, claim: str) -> list[tuple[ResultFile, ResultFile]]:
    """Return the newest run of a claim, last, with that of each other kind of machine, first."""
    newest = sorted(
        (files[-1] for files in _compared(evidence, claim).values()), key=lambda file: file.age
    )
    return [(before, newest[-1]) for before in newest[:-1]]


def _compared(evidence: Evidence, claim: str) -> Mapping[Machine, list[ResultFile]]:
    """Return the runs of a claim that compared sides, oldest first, by kind of machine."""
    machines: dict[Machine, list[ResultFile]] = {}
    for file in evidence.runs(claim):
        if compared(file.document):
            machines.setdefault(file.made_on, []).append(file)
    return machines


def pairs(before: ResultFile, now: ResultFile) -> Iterator[Pair]:
    """Yield the comparisons that both runs have, by their names of now."""
    known = _by_name(before)
    for key, one in _by_name(now).items():
        other = known.get(key)
        if other is not None:
            found = verdict(one, other)
            why = {"agree": "", "undecided": UNDECIDED}.get(found)
            if why is None:
                why = reason_for(before, other, now, one)
            changed = tuple(_changed(before.document, other, now.document, one))
            yield Pair(str(one["name"]), other, one, found, why, changed)


def _changed(before: Document, other: One, now: Document, one: One) -> Iterator[str]:
    """Yield what was set otherwise in two runs of a comparison."""
    for place in ("first", "second"):
        sides = [
            document.get("sides", {}).get(row.get(place), {}).get("settings", {})
            for document, row in ((before, other), (now, one))
        ]
        if not all(sides):
            continue
        told = [in_parallel(side) for side in sides]
        warm = [f"warm-up {side.get('warm_up_s', 0):g} s" for side in sides]
        if warm[0] != warm[1]:
            told = [f"{both}, {own}" for both, own in zip(told, warm, strict=True)]
        if told[0] != told[1]:
            yield f"{side_title(now, str(one[place]))}: {told[0]}, then {told[1]}"


def alone(before: ResultFile, now: ResultFile) -> tuple[int, int]:
    """Return how many comparisons of each run the other lacks."""
    first, second = set(_by_name(before)), set(_by_name(now))
    return len(first - second), len(second - first)


def _by_name(file: ResultFile) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(str(one["name"]), str(one["label"])): one for one in compared(file.document)}


def reason_for(
    before: ResultFile, earlier: Mapping[str, Any], now: ResultFile, later: Mapping[str, Any]
) -> str:
    """Return why a comparison of two runs differs, by their classes and the direction."""
    found = sorted(
        ((before.processors, earlier), (now.processors, later)),
        key=lambda run: float(run[1]["wall"]["ratio"]),
    )
    lower, higher = (processors for processors, _ in found)
    return next(
        (
            reason.why
            for reason in REASONS
            if reason.claim == now.claim
            and (reason.lower, reason.higher) == (lower, higher)
            and re.search(reason.names, str(later["name"]), re.IGNORECASE)
        ),
        UNEXPLAINED,
    )
