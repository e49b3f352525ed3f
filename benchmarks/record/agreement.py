"""Whether the two newest runs of a claim agree, and if not, why not.

What is judged is the ratio of what both found, with an interval: the half-widths of both intervals,
in logarithms, put together as those of independent measurements.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.harness.side_by_side import less_is_better
from benchmarks.record.evidence import Evidence, ResultFile

UNEXPLAINED: Final = "not explained"
UNDECIDED: Final = "undecided: the intervals are too wide to tell"
ALIKE: Final = 1.11
"""Factor between two runs that makes no difference, up or down."""


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


REASONS: Final[Sequence[Reason]] = (
    Reason(
        "resnet50_peers",
        ("int8", "bf16"),
        "with AMX and without: OpenVINO and PyTorch multiply with it, ONNX Runtime does not",
    ),
    Reason(
        "resnet50_peers",
        ("fp32",),
        "processors with other caches; the older run had one process a side for all turns, whose "
        "memory lay in one place",
    ),
    Reason("hardware_peak", (), "processors with other instructions"),
    Reason(
        "fpga_emulation_cost",
        (),
        "processors that multiply FP32 at other speeds: the arithmetic of blocks is a smaller or "
        "larger part of the whole",
    ),
    Reason("precisions", (), "processors with other instructions"),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A comparison in two runs, the older first."""

    name: str
    before: Mapping[str, Any]
    now: Mapping[str, Any]
    verdict: str
    why: str


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
            why = {"agree": "", "undecided": UNDECIDED}.get(found)
            if why is None:
                why = _why(now, before, str(one["name"]))
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
