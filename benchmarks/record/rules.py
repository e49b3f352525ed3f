"""Which results were measured under older rules, before one harness measured all of them."""

from benchmarks.record.catalogue import TIMED, Caveat, Claim, Kind
from benchmarks.record.comparisons import compared
from benchmarks.record.evidence import ResultFile


def older(claim: Claim, file: ResultFile) -> bool:
    """Return whether a file was measured under older rules.

    What was timed then has no share of others, and what was counted names no commit.
    """
    document = file.document
    if claim.kind is not Kind.MEASURED or compared(document):
        return False
    if others_share(file) is not None:
        return False
    return claim.name in TIMED or not (document.get("commit") or document.get("commits"))


def others_share(file: ResultFile) -> float | None:
    """Return the share of all processors that others used; None where a file does not say."""
    load = file.document.get("load")
    share = load.get("others_share") if isinstance(load, dict) else None
    return None if share is None else float(share)


def caveats_of(claim: Claim, file: ResultFile) -> list[Caveat]:
    """Return what is to be said of a file, by the commit that made it."""
    return [caveat for caveat in claim.caveats if caveat.commit == file.document.get("commit")]
