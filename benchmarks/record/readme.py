"""The figures of README.md: a column a machine for speeds, a line each for the rest."""

import re
from collections.abc import Sequence

from benchmarks.record.catalogue import Kind, claim_of
from benchmarks.record.comparisons import compared
from benchmarks.record.evidence import Evidence
from benchmarks.record.headlines import HEADLINES, Headline
from benchmarks.record.rules import caveats_of, older
from benchmarks.record.sentences import first_filled


def anchor(title: str) -> str:
    """Return what a link to a section of docs/benchmarks.md ends with."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def headlines(evidence: Evidence, kind: Kind) -> str:
    """Return the figures of one kind for README: what depends on the machine, then the rest."""
    own = [one for one in HEADLINES if one.kind is kind]
    rows = [
        f"| {_linked(one)} | {text}{_when(one, evidence) if kind is Kind.MEASURED else ''} |"
        for one in own
        if not one.by_machine
        for text, _ in (first_filled(one.texts, evidence),)
        if text is not None
    ]
    if kind is not Kind.MEASURED:
        return "\n".join([f"| | {kind} |", "|---|---|", *rows])
    lines = ["| | measured | on |", "|---|---|---|", *rows] if rows else []
    speeds = _by_machine([one for one in own if one.by_machine], evidence)
    return "\n".join([*speeds, *([""] if speeds and lines else []), *lines])


def _by_machine(own: Sequence[Headline], evidence: Evidence) -> list[str]:
    """Return the lines of a table with a column a machine, for what is of its speed."""
    machines = sorted(
        {
            made
            for one in own
            for made, file in evidence.files(one.claim).items()
            if compared(file.document)
        }
    )
    lines = [f"| | {' | '.join(made.title for made in machines)} |"]
    lines.append("|---|" + "---|" * len(machines))
    parts = {made: evidence.of(made) for made in machines}
    notes: list[str] = []
    for one in own:
        cells = []
        for part in parts.values():
            text = first_filled(one.texts, part)[0] or ""
            for caveat in caveats_of(claim_of(one.claim), part.newest(one.claim)) if text else ():
                if re.search(caveat.words, one.title, re.IGNORECASE):
                    notes += [] if caveat.what in notes else [caveat.what]
                    text += f" ({notes.index(caveat.what) + 1})"
            cells.append(text)
        if any(cells):
            lines.append(f"| {_linked(one)} | {' | '.join(cells)} |")
    if len(lines) < 3:
        return []
    said = [f"({place}) {note}" for place, note in enumerate(notes, 1)]
    return [*lines, "", "; ".join(said) + "."] if said else lines


def _linked(one: Headline) -> str:
    """Return the title of a headline with a link to the table of its claim."""
    return f"[{one.title}](docs/benchmarks.md#{anchor(claim_of(one.claim).title)})"


def _when(one: Headline, evidence: Evidence) -> str:
    file = evidence.newest(one.claim)
    rules = ", older rules" if older(claim_of(one.claim), file) else ""
    return f" | {file.made_on.title}, {file.date}{rules}"
