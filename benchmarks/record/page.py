"""docs/benchmarks.md and the figures of README.md, from the newest result files."""

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from benchmarks.harness.side_by_side import less_is_better
from benchmarks.record import agreement
from benchmarks.record.catalogue import CLAIMS, MENDED, Claim, Kind, Row, Section
from benchmarks.record.evidence import (
    Evidence,
    EvidenceError,
    Processors,
    ResultFile,
    look_up,
    written,
)
from benchmarks.record.headlines import HEADLINES
from benchmarks.record.objections import OBJECTIONS
from thorax.benchmark.confidence import FEWEST_TURNS, median_of_turns

NOT_YET: Final = "not measured yet"
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
- **Machines** stand side by side, by what their processors can do: INT8 and BF16 have instructions
  of their own on some, and a ratio of one is no ratio of another.
- **Load of others** is the share of all processors that processes outside the run used, stolen time
  included. Older files have the load average of the machine alone, their own load in it.
- **A goal** was set before the measurement, and is met where the whole interval meets it. One that
  is missed, or that the interval does not tell, stays here.
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
    for section in Section:
        parts.append(f"## {section}\n")
        for claim in CLAIMS:
            if claim.section is section and evidence.files(claim.name):
                parts.append(_claim(claim, evidence))
    others = [name for name in evidence.claims if name not in listed]
    if others:
        parts.append("## Others\n")
        parts += [_claim(_unlisted(name, evidence), evidence) for name in others]
    parts += ["## Two runs\n", _two_runs(evidence)]
    parts += ["## Not measured yet\n", _missing(evidence), "## Objections\n", _objections(evidence)]
    return "\n".join(parts)


def _unlisted(name: str, evidence: Evidence) -> Claim:
    """Return what can be said of a claim that the catalogue lacks."""
    document = evidence.newest(name).document
    meaning = str(document.get("meaning") or "The file says what was measured.")
    title = name.replace("_", " ")
    title = title[0].upper() + title[1:]
    sides, script = "as the file says", f"benchmarks.{name}"
    return Claim(name, Section.SPEED, title, meaning, sides, script)


def _files(claim: Claim, evidence: Evidence) -> dict[Processors, ResultFile]:
    """Return the files that are shown of a claim: those in the common form where there are any."""
    if claim.kind is not Kind.MEASURED:
        return {Processors.NONE: evidence.newest(claim.name)}
    files = evidence.files(claim.name)
    common = {kind: file for kind, file in files.items() if _compared(file)}
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
        ("*processor*", _processor),
        ("*file*", _file),
    )
    for title, fact in facts:
        cells = [fact(claim, file) for file in files.values()]
        if any(cells):
            lines.append(f"| {title} | {' | '.join(cells)} |")
    newest = max(files.values(), key=lambda file: file.age)
    earlier = [file for file in evidence.files(claim.name).values() if file not in files.values()]
    if earlier and claim.kind is Kind.MEASURED:
        links = ", ".join(_file(claim, file) for file in earlier)
        lines += ["", f"Earlier files in another form, which say less: {links}."]
    lines += _notes(newest)
    return "\n".join(lines) + "\n"


def _table(claim: Claim, files: Mapping[Processors, ResultFile]) -> list[str]:
    """Return the lines of a table with a column a class of processors."""
    columns = [_cells(claim, file) for file in files.values()]
    titles = list(dict.fromkeys(title for column in columns for title in column))
    heads = [kind.title for kind in files] if claim.kind is Kind.MEASURED else [claim.kind]
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(files)]
    lines += [
        f"| {title} | {' | '.join(column.get(title, '') for column in columns)} |"
        for title in titles
    ]
    return lines


def _cells(claim: Claim, file: ResultFile) -> dict[str, str]:
    """Return the rows of a file: its comparisons and what the catalogue finds in it."""
    cells = {_title(one): comparison(one) for one in _compared(file)}
    for row in claim.rows:
        try:
            cells[row.title] = cell(row, file)
        except EvidenceError:
            continue  # a file in another form, or of another day, has not every figure
    return cells


def _compared(file: ResultFile) -> list[Mapping[str, Any]]:
    """Return the comparisons of a file in the common form, none of one in a form of its own."""
    comparisons = file.document.get("comparisons", ())
    return [one for one in comparisons if isinstance(one, dict) and "wall" in one]


def _title(one: Mapping[str, Any]) -> str:
    """Return the name of a comparison with what its quantity is called, as a cell."""
    name, label = str(one["name"]), str(one.get("label") or one["quantity"])
    title = name if label in name else f"{name}, {label}"
    less = " (less is better)" if less_is_better(one["quantity"]) else ""
    return f"{title}{less}".replace("|", "\\|")


def comparison(one: Mapping[str, Any]) -> str:
    """Return a comparison of the common form as a cell."""
    parts = [_ratio(one["wall"])]
    if one.get("cpu"):
        parts.append(f"CPU {_ratio(one['cpu'], bold=False)}")
    if (goal := one.get("goal")) is not None:
        low, high = one["wall"].get("low"), one["wall"].get("high")
        said = judged(
            one["wall"]["ratio"], low, high, goal, at_most=less_is_better(one["quantity"])
        )
        parts.append(f"goal {goal:g}: {said}")
    return "; ".join(parts)


def judged(
    value: float, low: float | None, high: float | None, goal: float, *, at_most: bool
) -> str:
    """Return whether a goal is met, missed, or not told: where the interval holds both."""
    ends = (value if low is None else low, value if high is None else high)
    met = {end <= goal if at_most else end >= goal for end in ends}
    return "not told by the interval" if len(met) > 1 else "met" if met == {True} else "missed"


def _ratio(ratio: Mapping[str, Any], *, bold: bool = True) -> str:
    value = f"{ratio['ratio']:.2f}"
    mark = "**" if bold else ""
    if ratio.get("low") is None:
        return f"{mark}{value}{mark}"
    return f"{mark}{value}{mark} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def cell(row: Row, file: ResultFile) -> str:
    """Return a figure of a file in a form of its own, with interval, processor time and goal.

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
        template = row.value if "{" in row.value else f"{{{row.value}}}"
        text = filled(template, lambda source: written(file, source))
        parts = [f"**{text}**"]
        value = _number(text) if re.fullmatch(r"[-+]?[\d,.]+", text) else 0.0
        if row.interval:
            low, high = (written(file, path) for path in row.interval)
            ends = (_number(low), _number(high))
            parts[0] += f" [{low}, {high}]"
    if row.cpu:
        parts.append(f"CPU {written(file, row.cpu)}")
    if row.goal:
        goal = written(file, row.goal)
        said = judged(value, *ends, _number(goal), at_most=row.at_most)
        parts.append(f"goal {goal}: {said}")
    return "; ".join(parts)


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def filled(text: str, figure: Callable[[str], str]) -> str:
    """Return a text whose braces are replaced by the figures that they name."""
    return re.sub(r"\{([^{}]+)\}", lambda match: figure(match[1]), text)


def _turns(claim: Claim, file: ResultFile) -> str:
    sides = file.document.get("sides") if _compared(file) else None
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
    load = file.document.get("load")
    if isinstance(load, dict) and load.get("others_share") is not None:
        return f"{load['others_share']:.1%} (allowed {load['allowed_share']:.0%})"
    average = file.document.get("load_average")
    return "" if average is None else f"load average {average:g}"


def _processor(claim: Claim, file: ResultFile) -> str:
    hardware = file.document.get("hardware")
    if not hardware or claim.kind is not Kind.MEASURED:
        return ""
    return machine(file)


def machine(file: ResultFile) -> str:
    """Return the processor of a file and how many of them, in words."""
    hardware = file.document.get("hardware")
    return f"{hardware['cpu']}, {hardware['processors']} processors" if hardware else ""


def _file(claim: Claim, file: ResultFile) -> str:
    del claim
    commit = file.document.get("commit")
    made = f"{file.date}, {commit}" if commit else file.date
    return f"[{made}](../{_RESULTS}/{file.path.name})"


def _notes(newest: ResultFile) -> list[str]:
    """Return what a file says of its comparisons, each thing once, and of who took no part."""
    said: dict[str, list[str]] = {}
    compared = _compared(newest)
    for one in compared:
        less = less_is_better(one["quantity"])
        if one.get("differs"):
            said.setdefault(f"the sides differ in {', '.join(one['differs'])}", []).append(
                one["name"]
            )
        if one.get("bound"):
            bound, side = one["bound"], "below" if less else "above"
            text = f"cannot be {side} {bound['ratio']:.3g}: {bound['because']}"
            said.setdefault(text, []).append(one["name"])
        if one.get("above_bound"):
            text = f"{'below' if less else 'above'} its bound: {one['above_bound']}"
            said.setdefault(text, []).append(one["name"])
    notes = [
        f"- {'all' if len(names) == len(compared) > 1 else '; '.join(names)}: {text}"
        for text, names in said.items()
    ]
    absent = newest.document.get("absent")
    if isinstance(absent, dict):
        notes += [f"- `{name}` took no part: {why}" for name, why in absent.items()]
    return ["", *notes] if notes else []


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
        "The two newest runs of each claim that compares sides, on processors of two classes where "
        "both were at hand. The ratio of both runs has an interval of its own: they agree where it "
        f"holds 1 and lies within a factor of {agreement.ALIKE:g}, differ where it does not "
        "hold 1, and are undecided where it is wider.\n",
        "| claim | runs | agree |",
        "|---|---|---|",
    ]
    apart: dict[str, list[str]] = {}
    for claim in CLAIMS:
        both = agreement.runs(evidence, claim.name)
        if both is None:
            continue
        found = list(agreement.pairs(*both))
        when = ", then ".join(f"{file.processors.title}, {file.date}" for file in both)
        agree = sum(one.verdict == "agree" for one in found)
        lines.append(f"| {claim.title} | {when} | {agree} of {len(found)} |")
        for one in found:
            if one.verdict != "agree":
                text = (
                    f"{one.name} {_ratio(one.before['wall'], bold=False)}, "
                    f"then {_ratio(one.now['wall'], bold=False)}"
                )
                apart.setdefault(f"{claim.title}: {one.why}", []).append(text)
    if len(lines) == 3:
        return "None yet.\n"
    lines += ["", "Those that do not agree, and why:\n"] if apart else []
    lines += [f"- **{why}**: {'; '.join(texts)}" for why, texts in apart.items()]
    return "\n".join(lines) + "\n"


def _objections(evidence: Evidence) -> str:
    lines = [
        "What hostile readers said of earlier figures, and what stands now. Earlier figures are in "
        "quotation marks; all others are of the newest result files. *Held by* are tests that fail "
        "where it no longer stands.\n",
        "| said | stands now |",
        "|---|---|",
    ]

    for one in OBJECTIONS:
        figures = "; ".join(text for text, _ in by_class(one.figures, evidence))
        now = f" {figures or f'*{NOT_YET}*'}." if one.figures else ""
        tests = ", ".join(
            f"[{name.removeprefix('test_').replace('_', ' ')}](../tests/{file})"
            for file, name in (test.split("::") for test in one.held_by)
        )
        held = f" *Held by* {tests}." if tests else ""
        lines.append(f"| {one.said} | {one.stands}{now}{held} |")
    return "\n".join(lines) + "\n"


def comparisons(source: str, evidence: Evidence) -> str | None:
    """Return what `comparisons CLAIM WORDS | WORDS` stands for, `*` for all; None of others.

    Raises:
        EvidenceError: the newest file has none whose name has one of the words.
    """
    word, _, rest = source.partition(" ")
    if word != "comparisons":
        return None
    claim, _, words = rest.partition(" ")
    file = evidence.newest(claim)
    wanted = [one.strip().lower() for one in words.split("|")]
    found = [
        one
        for one in _compared(file)
        if words == "*" or any(name in _title(one).lower() for name in wanted)
    ]
    if not found:
        raise EvidenceError(f"{file.path.name} has no comparison of {words}")
    firsts = {one["name"].partition(" over ")[0] for one in found}
    if len(firsts) == 1 and all(" over " in one["name"] for one in found):
        return "; ".join(
            f"{_ratio(one['wall'])} x {one['name'].partition(' over ')[2]}" for one in found
        )
    return "; ".join(f"{one['name']} {_ratio(one['wall'])}" for one in found)


def first_filled(texts: Sequence[str], evidence: Evidence) -> tuple[str | None, str]:
    """Return the first text that the result files can fill; where none, None and why."""
    why = ""
    for text in texts:
        try:
            return filled(text, lambda one: comparisons(one, evidence) or evidence.text(one)), ""
        except EvidenceError as error:
            why = why or str(error)
    return None, why


def by_class(texts: Sequence[str], evidence: Evidence) -> list[tuple[str, Processors]]:
    """Return the first text that can be filled, once for each class of processor it compares on.

    One without comparisons is filled by the newest file of all.
    """
    claims = re.findall(r"\{comparisons (\w+) ", "".join(texts[:1]))
    kinds = [
        kind
        for kind, file in (evidence.files(claims[0]) if claims else {}).items()
        if _compared(file)
    ]
    found = [(first_filled(texts, evidence.of(kind))[0], kind) for kind in kinds]
    if not any(text for text, _ in found):
        found = [(first_filled(texts, evidence)[0], Processors.NONE)]
    several = len(found) > 1
    return [(f"on {kind.title}: {text}" if several else text, kind) for text, kind in found if text]


def headlines(evidence: Evidence, kind: Kind) -> str:
    """Return the table of one kind of figures for README."""
    shown = [
        (headline.title if not place else "", text, evidence.newest(headline.claim, only or None))
        for headline in HEADLINES
        if headline.kind is kind
        for place, (text, only) in enumerate(by_class(headline.texts, evidence))
    ]
    if kind is not Kind.MEASURED:
        lines = [f"| {title} | {text} |" for title, text, _ in shown]
        return "\n".join([f"| | {kind} |", "|---|---|", *lines])
    lines = [
        f"| {title} | {text} "
        f"| [{file.processors.title}, {file.date}]({_RESULTS}/{file.path.name}) |"
        for title, text, file in shown
    ]
    machines = sorted({machine(file) for _, _, file in shown})
    return "\n".join(
        ["| | measured | on |", "|---|---|---|", *lines, "", f"Machines: {'; '.join(machines)}."]
    )


def claim_table(evidence: Evidence, name: str) -> str:
    """Return the figures of one claim, machines side by side, for a page that tells more of it."""
    claim = next(claim for claim in CLAIMS if claim.name == name)
    if not evidence.files(name):
        return f"*{NOT_YET}*"
    return "\n".join(_table(claim, _files(claim, evidence)))
