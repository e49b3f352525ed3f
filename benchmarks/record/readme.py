"""The figures of README.md: a column a machine for speeds, a line each for the rest."""

import re
from collections.abc import Sequence

from benchmarks.record.catalogue import Kind, claim_of
from benchmarks.record.comparisons import compared
from benchmarks.record.evidence import Evidence, Processors, ResultFile
from benchmarks.record.headlines import HEADLINES, Headline
from benchmarks.record.rules import older
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
    columns: dict[Processors, str] = {}
    for one in own:
        for kind, file in evidence.files(one.claim).items():
            if compared(file.document):
                columns.setdefault(kind, _short_machine(file))
    kinds = sorted(columns)
    lines = [f"| | {' | '.join(columns[kind] for kind in kinds)} |", "|---|" + "---|" * len(kinds)]
    parts = {kind: evidence.of(kind) for kind in kinds}
    for one in own:
        cells = [first_filled(one.texts, parts[kind])[0] or "" for kind in kinds]
        if any(cells):
            lines.append(f"| {_linked(one)} | {' | '.join(cells)} |")
    return lines if len(lines) > 2 else []


def _linked(one: Headline) -> str:
    """Return the title of a headline with a link to the table of its claim."""
    return f"[{one.title}](docs/benchmarks.md#{anchor(claim_of(one.claim).title)})"


def _when(one: Headline, evidence: Evidence) -> str:
    file = evidence.newest(one.claim)
    rules = ", older rules" if older(claim_of(one.claim), file) else ""
    return f" | {_short_machine(file)}, {file.date}{rules}"


def _short_machine(file: ResultFile) -> str:
    """Return a processor in two words and what it can do: "EPYC with VNNI and BF16"."""
    hardware = file.document.get("hardware") or {"cpu": "a model"}
    words = re.sub(r"\(R\)|\b(?:Intel|AMD|Processor|CPU)\b", "", hardware["cpu"]).split()
    return f"{' '.join(words[:2])} with {file.processors.title}"
