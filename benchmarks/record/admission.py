"""Which result files are evidence: what is damaged is refused, and what is passed over is named."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from benchmarks.harness import load

_MOMENT: Final = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?:T\d{4,})?")
_COMMIT: Final = re.compile(r"[0-9a-f]{7,40}")

Document = Mapping[str, Any]


def why_damaged(name: str, document: object) -> str | None:
    """Return what is wrong with a result file that no script wrote so; None where nothing is.

    Args:
        name: of the file, without `.json`: claim, machine and moment between `_`.
        document: what it holds.
    """
    parts = name.rsplit("_", 2)
    if len(parts) < 3 or not _MOMENT.fullmatch(parts[2]):
        return "its name is no CLAIM_MACHINE_DATE"
    if not isinstance(document, Mapping) or not isinstance(document.get("claim"), str):
        return "it is no object with a claim"
    comparisons = document.get("comparisons")
    if comparisons is None:
        return None
    if not isinstance(comparisons, list):
        return "its comparisons are no list"
    sides = any(isinstance(one, Mapping) and "wall" in one for one in comparisons)
    if sides and not isinstance(document.get("hardware"), Mapping):
        return "it has comparisons and does not say of which hardware"
    return next((why for one in comparisons for why in _wrong(one)), None)


def _wrong(comparison: object) -> Iterator[str]:
    """Yield what is wrong with one comparison; those of earlier forms have no `wall`."""
    if not isinstance(comparison, Mapping) or "wall" not in comparison:
        return
    for clock in ("wall", "cpu"):
        ratio = comparison.get(clock)
        if ratio is None and clock == "cpu":
            continue
        ends = [ratio.get(key) for key in ("low", "ratio", "high")] if ratio else []
        known = [end for end in ends if end is not None]
        numbers = known and all(isinstance(end, int | float) for end in known)
        if not numbers or not all(math.isfinite(end) and end > 0 for end in known):
            yield f"{comparison.get('name')}: its ratio is no positive number"
        elif sorted(known) != known:
            yield f"{comparison.get('name')}: its ratio lies outside its interval"


def why_not(document: Document) -> str | None:
    """Return why a file of results does not count; None where it does.

    Counted are no rehearsals, and those of committed code on a quiet machine alone. Files that are
    older than these rules name no commit and no load and count; those that compare two commits name
    both, and those of many runs that of each.
    """
    if document.get("for_record") is False:
        return "a rehearsal"
    runs = document.get("runs")
    of_runs = [run.get("commit") for run in runs or () if isinstance(run, Mapping)]
    commits = [document.get("commit"), *(document.get("commits") or {}).values(), *of_runs]
    if any(str(commit).lower().endswith("-dirty") for commit in commits):
        return "of code that is not committed"
    comparisons = document.get("comparisons")
    rows = comparisons if isinstance(comparisons, list) else ()
    compared = any(isinstance(one, Mapping) and "wall" in one for one in rows)
    beside = document.get("load")
    shares = isinstance(beside, Mapping) and "allowed_share" in beside
    if compared and not shares:
        return "it compares sides and does not say beside which load"
    if compared and not _COMMIT.fullmatch(str(document.get("commit"))):
        return "it compares sides and does not say of which commit"
    if shares and not quiet(beside):  # type: ignore[arg-type]
        return "measured beside more load of others than is allowed"
    return None


def quiet(beside: Mapping[str, Any]) -> bool:
    """Return whether others used no more than was allowed, and no more than ever is."""
    share, allowed = beside.get("others_share"), beside.get("allowed_share")
    return (
        isinstance(share, int | float)
        and isinstance(allowed, int | float)
        and 0.0 <= share <= allowed <= load.ALLOWED
    )
