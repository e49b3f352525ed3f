"""docs/benchmarks.md, from the newest result files."""

import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from benchmarks.harness.processors import Machine
from benchmarks.record import agreement, comparisons
from benchmarks.record.catalogue import CLAIMS, MENDED, Claim, Kind, Row, Section, claim_of
from benchmarks.record.comparisons import compared, judged
from benchmarks.record.evidence import (
    Evidence,
    EvidenceError,
    ResultFile,
    figure,
    look_up,
    written,
)
from benchmarks.record.headlines import HEADLINES
from benchmarks.record.objections import OBJECTIONS
from benchmarks.record.readme import anchor
from benchmarks.record.rules import caveats_of, older, others_share
from benchmarks.record.sentences import by_machine, filled, first_filled
from thorax.benchmark.confidence import FEWEST_TURNS, median_of_turns

NOT_YET: Final = "not measured yet"
NOT_ANEW: Final = "not measured anew yet"
_RESULTS: Final = "benchmarks/results"

_INTRODUCTION: Final = """\
# Benchmarks

<!-- Written by docs/generate.py; do not edit. -->

Every figure of this page is read out of a result file, which the last row of each table links to;
`python -m SCRIPT` makes it anew, and `python docs/generate.py` then writes this page, the figures
of [README](../README.md) and those in the text of all documents.

- **A ratio** is the median of the ratios of turns, in square brackets its 95 % interval by the sign
  test, which asks for no distribution and for six turns at least. Above 1 the first side is faster,
  where a line does not say otherwise. *CPU* is the same of processor time: what a side gains by
  working on more processors at once shows there.
- **Code** that is not committed is refused before anything is measured, since 2026-12-01. Files of
  such code from before (`-dirty` behind the commit) are shown nowhere, and some name no commit.
- **Machines** stand side by side, by what their processors can do: INT8 and BF16 have instructions
  of their own on some, and a ratio of one is no ratio of another.
- **Load of others** is the share of all processors that processes outside the run used, stolen time
  included; where a file does not have it, it has the load average of the machine, its own in it.
- **A goal** was set before the measurement, and is met where the whole interval meets it; a figure
  without an interval, as of one run, by itself. One that is missed, or that the interval does not
  tell, stays here. What was searched for on a grid is known to a step of it, and its interval is
  printed a step wider.
- **[Older rules](#measured-under-older-rules)**: figures of speed from before one harness measured
  all of them stand apart, and so does what was counted by code that the file does not name; no goal
  counts as met by them.
- **Settings** of every side (threads, batch, form of the input, warm-up, versions), every turn, the
  load beside it and the order are in the file.
- **Measured, computed and modelled** figures never share a table of this page. *Computed* follows
  from definitions; *modelled* from constants that are published, calibrated, known beforehand or
  assumed.
"""


def page(evidence: Evidence) -> str:
    """Return docs/benchmarks.md."""
    parts = [_INTRODUCTION]
    listed = {claim.name for claim in CLAIMS}
    shown = [claim for claim in CLAIMS if evidence.files(claim.name)]
    old = [claim for claim in shown if older(claim, evidence.newest(claim.name))]
    for section in Section:
        claims = [claim for claim in shown if claim.section is section and claim not in old]
        parts += [f"## {section}\n"] if claims else []
        parts += [_claim(claim, evidence) for claim in claims]
    others = [name for name in evidence.claims if name not in listed]
    if others:
        parts.append("## Others\n")
        parts += [_claim(_unlisted(name, evidence), evidence) for name in others]
    if old:
        parts += ["## Measured under older rules\n", _OLDER_RULES]
        parts += [_claim(claim, evidence) for claim in old]
    parts += ["## Two runs\n", _two_runs(evidence)]
    parts += ["## Not measured yet\n", _missing(evidence), "## Objections\n", _objections(evidence)]
    return "\n".join(parts)


_OLDER_RULES: Final = """\
The newest files of these claims are from before one harness measured all of them: they have no
share of others, some a fixed order of turns, and most do not name the commit. They stand here until
they are measured anew; no goal counts as met by them.
"""


def _of_now(evidence: Evidence) -> Evidence:
    """Return the evidence without what was measured under older rules."""
    claims = {claim.name: claim for claim in CLAIMS}
    return evidence.only(
        lambda file: file.claim not in claims or not older(claims[file.claim], file)
    )


def _unlisted(name: str, evidence: Evidence) -> Claim:
    """Return what can be said of a claim that the catalogue lacks."""
    document = evidence.newest(name).document
    meaning = str(document.get("meaning") or "The file says what was measured.")
    title = name.replace("_", " ")
    title = title[0].upper() + title[1:]
    sides, script = "as the file says", f"benchmarks.{name}"
    return Claim(name, Section.SPEED, title, meaning, sides, script)


def _files(claim: Claim, evidence: Evidence) -> dict[Machine, ResultFile]:
    """Return the files that are shown of a claim: those in the common form where there are any."""
    if claim.kind is not Kind.MEASURED:
        newest = evidence.newest(claim.name)
        return {newest.made_on: newest}
    files = evidence.files(claim.name)
    common = {kind: file for kind, file in files.items() if compared(file.document)}
    return common or files


def _claim(claim: Claim, evidence: Evidence) -> str:
    files = _files(claim, evidence)
    script = (
        f"by `python -m {claim.script}`" if claim.script.startswith("benchmarks") else claim.script
    )
    figures = f"{claim.kind} ({claim.made_of})" if claim.made_of else str(claim.kind)
    meaning = claim.meaning if claim.meaning.endswith(".") else f"{claim.meaning}."
    lines = [
        f"### {claim.title}\n",
        f"{meaning} *Sides*: {claim.sides}. *Figures*: {figures}. *Made* {script}.\n",
    ]
    if claim.warning and any(file.date < MENDED for file in files.values()):
        lines.append(f"**To be read with care**, files before {MENDED}: {claim.warning}.\n")
    lines += _table(claim, files)
    facts: Sequence[tuple[str, Callable[[Claim, ResultFile], str]]] = (
        ("*turns*", _turns),
        ("*load of others*", _load),
        ("*file*", _file),
    )
    for title, fact in facts:
        cells = [fact(claim, file) for file in files.values()]
        if any(cells):
            lines.append(f"| {title} | {' | '.join(cells)} |")
    earlier = [file for file in evidence.files(claim.name).values() if file not in files.values()]
    if earlier and claim.kind is Kind.MEASURED:
        links = ", ".join(_file(claim, file) for file in earlier)
        lines += ["", f"Earlier files in another form, which say less: {links}."]
    lines += _notes(claim, files)
    return "\n".join(lines) + "\n"


def _table(claim: Claim, files: Mapping[Machine, ResultFile]) -> list[str]:
    """Return the lines of a table with a column a machine."""
    columns = [_cells(claim, file) for file in files.values()]
    titles = list(dict.fromkeys(title for column in columns for title in column))
    heads = [made.title for made in files] if claim.kind is Kind.MEASURED else [claim.kind]
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(files)]
    lines += [
        f"| {title} | {' | '.join(column.get(title, '') for column in columns)} |"
        for title in titles
    ]
    return lines


def _cells(claim: Claim, file: ResultFile) -> dict[str, str]:
    """Return the rows of a file: its comparisons and what the catalogue finds in it."""
    document = file.document
    cells = {
        row.title: text
        for row in claim.rows
        if row.sides and (text := _sides_cell(row.sides, file)) is not None
    }
    cells |= {comparisons.title(one): comparisons.cell(one, document) for one in compared(document)}
    for row in claim.rows:
        try:
            if not row.sides:
                cells[_row_title(row)] = cell(row, file, old=older(claim, file))
        except EvidenceError:
            continue  # a file in another form, or of another day, has not every figure
    return cells


def _row_title(row: Row) -> str:
    """Return the title of a row; of a ratio of times, that less is better."""
    ratio = row.over or "ratio" in row.value
    return f"{row.title} (less is better)" if row.at_most and ratio else row.title


def _sides_cell(sides: tuple[str, ...], file: ResultFile) -> str | None:
    """Return images a second of one side, or the ratio of two; None where the file lacks one."""
    try:
        if len(sides) == 1:
            return f"**{statistics.median(comparisons.rates(file.document, sides[0])):.1f}**"
        found = comparisons.of_turns(file.document, *sides)
    except KeyError:
        return None
    if found is None:
        return None
    return comparisons.ratio({"ratio": found.value, "low": found.low, "high": found.high})


def cell(row: Row, file: ResultFile, *, old: bool = False) -> str:
    """Return a figure of a file in a form of its own, with interval, processor time and goal.

    Args:
        row: of the catalogue.
        file: in a form of its own.
        old: whether it was measured under older rules, by which no goal counts as met.

    Raises:
        EvidenceError: the file does not have it.
    """
    ends: tuple[float | None, float | None] = (None, None)
    if row.over:
        first, second = (look_up(file, path) for path in row.over)
        ratios = [a / b for a, b in zip(first, second, strict=True)]
        interval = median_of_turns(ratios)
        value = statistics.median(ratios)
        parts = [f"**{value:.2f}**"]
        if interval is not None:
            ends = (interval.low, interval.high)
            parts[0] += f" [{interval.low:.2f}, {interval.high:.2f}]"
    else:
        words = "{" in row.value
        template = row.value if words else f"{{{row.value}}}"
        parts = [f"**{filled(template, lambda source: written(file, source))}**"]
        value = math.nan if words else float(figure(file, row.value))
        if row.interval and (bounds := _bounds(row.interval, file)) is not None:
            ends = (float(figure(file, row.interval[0])), float(figure(file, row.interval[1])))
            parts[0] += f" [{bounds[0]}, {bounds[1]}]"
    if row.cpu:
        parts.append(f"CPU {written(file, row.cpu)}")
    if row.goal and (goal := _goal(row, file)) is not None:
        assert not math.isnan(value), f"{row.title}: words have no goal"
        said = judged(value, *ends, float(figure(file, row.goal)), at_most=row.at_most)
        said = "not judged, older rules" if old and said == "met" else said
        parts.append(f"goal {goal}: {said}")
    return "; ".join(parts)


def _bounds(paths: tuple[str, str], file: ResultFile) -> tuple[str, str] | None:
    """Return both ends of an interval; None where too few patients gave one."""
    try:
        return written(file, paths[0]), written(file, paths[1])
    except EvidenceError:
        return None


def _goal(row: Row, file: ResultFile) -> str | None:
    """Return the goal of a figure; None where the file is from before it was written down."""
    try:
        return written(file, row.goal)
    except EvidenceError:
        return None


def _turns(claim: Claim, file: ResultFile) -> str:
    sides = file.document.get("sides") if compared(file.document) else None
    if isinstance(sides, dict):
        counts = [len(side["turns"]) for side in sides.values() if "turns" in side]
        if counts:
            return (
                f"{min(counts)}"
                if min(counts) == max(counts)
                else f"{min(counts)} to {max(counts)}"
            )
    try:
        turns = written(file, claim.turns) if claim.turns else ""
    except EvidenceError:
        return ""
    few = turns and int(turns) < FEWEST_TURNS and any(row.over for row in claim.rows)
    return f"{turns}, too few for an interval" if few else turns


def _load(claim: Claim, file: ResultFile) -> str:
    if claim.kind is not Kind.MEASURED:
        return ""
    share = others_share(file)
    if share is not None:
        return f"{share:.1%} (allowed {file.document['load']['allowed_share']:.0%})"
    average = file.document.get("load_average")
    return "" if average is None else f"load average {average:g}"


def _file(claim: Claim, file: ResultFile) -> str:
    del claim
    commit = file.document.get("commit")
    made = f"{file.date}, {commit}" if commit else file.date
    return f"[{made}](../{_RESULTS}/{file.path.name})"


def _notes(claim: Claim, files: Mapping[Machine, ResultFile]) -> list[str]:
    """Return what is to be said of files and what they say of their comparisons.

    And of which processors, where not all say it.
    """
    said: dict[str, list[str]] = {}
    for made, file in files.items():
        caveats = [f"**{caveat.what}**" for caveat in caveats_of(claim, file)]
        for line in (*caveats, *_made_by(file), *comparisons.notes(file.document)):
            said.setdefault(line, []).append(made.title)
    lines = [
        f"- {line}" if len(titles) == len(files) else f"- on {' and '.join(titles)}: {line}"
        for line, titles in said.items()
    ]
    return ["", *lines] if lines else []


def _made_by(file: ResultFile) -> list[str]:
    """Return which commits made the runs that a file is of, where it is of several."""
    runs = file.document.get("runs")
    commits = [run["commit"] for run in runs if "commit" in run] if isinstance(runs, list) else []
    if {*commits} <= {file.document.get("commit")}:
        return []
    counts = Counter(commits)
    made = ", ".join(f"{count} of {len(commits)} by {commit}" for commit, count in counts.items())
    return [f"training runs were made {made}; the file was put together later"]


def _missing(evidence: Evidence) -> str:
    lines = [
        f"- {claim.title} (`python -m {claim.script}`)"
        for claim in CLAIMS
        if not evidence.files(claim.name)
    ]
    lines += [
        f"- for README, *{headline.title}*: {why}"
        for headline in HEADLINES
        for text, why in (first_filled(headline.texts, evidence),)
        if text is None
    ]
    return "\n".join(lines or ["Nothing."]) + "\n"


def _two_runs(evidence: Evidence) -> str:
    lines = [
        "The ratio of two runs of a comparison has an interval of its own: they agree where it "
        f"holds 1 and lies within a factor of {agreement.ALIKE:g}, differ where it does not "
        "hold 1, and are undecided where it is wider. A reason is given only where it follows from "
        "the instructions of both processors and their ratios differ in its direction; what was "
        "set otherwise, as each run probed for it, stands beside it. The newest run of a claim "
        "is held against the newest of each other machine, and those not against each other.\n",
    ]
    for title, runs_of, none in (
        (
            "On one kind of machine",
            agreement.repeated,
            "No claim has two runs on one kind of machine: nothing here says how well a run "
            "repeats.\n",
        ),
        ("On different kinds of machine", agreement.across, "None yet.\n"),
    ):
        runs = [(claim, both) for claim in CLAIMS for both in runs_of(evidence, claim.name)]
        lines += [f"### {title}\n", _agreement(runs) if runs else none]
    return "\n".join(lines)


def _agreement(runs: Sequence[tuple[Claim, tuple[ResultFile, ResultFile]]]) -> str:
    """Return how pairs of runs agree, and those of their comparisons that do not."""
    lines = ["| claim | runs | agree | only in one of them |", "|---|---|---|---|"]
    apart: dict[str, list[str]] = {}
    for claim, both in runs:
        found = list(agreement.pairs(*both))
        when = ", then ".join(f"{file.made_on.title}, {_moment(file)}" for file in both)
        agree = sum(one.verdict == "agree" for one in found)
        alone = "{} of the older, {} of the newer".format(*agreement.alone(*both))
        lines.append(f"| {claim.title} | {when} | {agree} of {len(found)} | {alone} |")
        rows = [
            f"| {comparisons.title(one.now)} | {comparisons.ratio(one.before['wall'], bold=False)} "
            f"| {comparisons.ratio(one.now['wall'], bold=False)} | {one.why} "
            f"| {'; '.join(one.changed)} |"
            for one in found
            if one.verdict != "agree"
        ]
        if rows:
            apart[f"{claim.title}: {when}"] = rows
    for title, rows in apart.items():
        lines += ["", f"**{title}**: those that do not agree\n"]
        lines.append("| | older run | newer run | why | set otherwise |")
        lines += ["|---|---|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _moment(file: ResultFile) -> str:
    """Return the day of a file, with the time of UTC where it is known."""
    return f"{file.date} {file.time[:2]}:{file.time[2:4]}" if file.time else file.date


_LONGEST: Final = 400
"""Characters of figures within an objection; more of them stand in their table alone."""


def _objections(evidence: Evidence) -> str:
    lines = [
        "What hostile readers said of earlier figures, and what stands now. Earlier figures are in "
        "quotation marks; all others are of the newest result files. *Held by* are tests that fail "
        "where it no longer stands.\n",
        "| said | stands now |",
        "|---|---|",
    ]
    for one in OBJECTIONS:
        now = f" {_stands_now(one.figures, evidence)}." if one.figures else ""
        tests = ", ".join(
            f"[{name.removeprefix('test_').replace('_', ' ')}](../tests/{file})"
            for file, name in (test.split("::") for test in one.held_by)
        )
        held = f" *Held by* {tests}." if tests else ""
        lines.append(f"| {one.said} | {one.stands}{now}{held} |")
    return "\n".join(lines) + "\n"


def _stands_now(figures: Sequence[str], evidence: Evidence) -> str:
    """Return the figures of an objection, none of which is of older rules."""
    text = "; ".join(text for text, _ in by_machine(figures, _of_now(evidence)))
    if not text:
        return f"*{NOT_ANEW if by_machine(figures, evidence) else NOT_YET}*"
    if len(text) <= _LONGEST:
        return text
    named = re.findall(r"\{(?:comparisons )?(\w+)[ :]", "".join(figures))
    titles = [claim.title for claim in CLAIMS if claim.name in named]
    return "see " + ", ".join(f"[{title}](#{anchor(title)})" for title in titles)


def claim_table(evidence: Evidence, name: str) -> str:
    """Return the figures of one claim, machines side by side, for a page that tells more of it."""
    claim = claim_of(name)
    if not evidence.files(name):
        return f"*{NOT_YET}*"
    return "\n".join(_table(claim, _files(claim, evidence)))
