"""What is written into documents: whole pages, blocks between two comments, figures within text.

`python docs/generate.py` writes all of it from the newest result files; with `--check` it says what
differs, and which figure is bound to nothing.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from benchmarks.record import page, readme, tables
from benchmarks.record.bindings import ROOT, Register, documents, written_of_the_program
from benchmarks.record.catalogue import Kind
from benchmarks.record.evidence import Evidence, EvidenceError

Block = Callable[[Evidence], str]

BENCHMARKS: Final = "docs/benchmarks.md"


def _of(claim: str, table: Callable[[tables.Document], str]) -> Block:
    """Return what makes a block of the newest file of a claim."""

    def block(evidence: Evidence) -> str:
        if not evidence.files(claim):
            return f"*{page.NOT_YET}*"
        file = evidence.newest(claim)
        try:
            return table(file.document)
        except (KeyError, TypeError) as error:
            raise EvidenceError(f"{file.path.name} is in another form: {error}") from error

    return block


BLOCKS: Final[Mapping[str, Mapping[str, Block]]] = MappingProxyType(
    {
        "README.md": {
            "measured": lambda evidence: readme.headlines(evidence, Kind.MEASURED),
            "modelled": lambda evidence: readme.headlines(evidence, Kind.MODELLED),
        },
        "docs/optimizer.md": {
            "precisions": _of("precisions", tables.precisions),
            "precision cost phantoms": _of(
                "precision_cost_phantoms", tables.precision_cost("bf16", "int8")
            ),
            "precision cost kermany": _of(
                "precision_cost_kermany", tables.precision_cost("bf16", "int8")
            ),
            "peers": lambda evidence: page.claim_table(evidence, "resnet50_peers"),
        },
        "docs/fpga.md": {
            "bit exact": _of("fpga_bit_exact", tables.fpga_bit_exact),
            "fp11 phantoms": _of("precision_cost_phantoms", tables.precision_cost("fp11")),
            "fp11 kermany": _of("precision_cost_kermany", tables.precision_cost("fp11")),
            "explored resnet50": _of("fpga_explore_224px", tables.explored(0, "ResNet-50")),
            "explored densenet121": _of("fpga_explore_224px", tables.explored(1, "DenseNet-121")),
            "explored small": _of("fpga_explore_64px", tables.explored_small),
        },
        "docs/data.md": {
            "shallow": _of("shallow_baselines", tables.shallow),
            "phantoms": _of("phantom_subtlety", tables.phantoms),
        },
        "docs/inference.md": {"heatmaps": _of("heatmaps", tables.heatmaps)},
        "docs/reliability.md": {
            "child cost": lambda evidence: page.claim_table(evidence, "child_cost"),
        },
        "docs/planning.md": {"left out": _of("cluster_predictions", tables.left_out)},
        "docs/training.md": {"official recipe": _of("nih_official_recipe", tables.aurocs)},
        "docs/large-batch.md": {
            "phantoms": _of("large_batch_phantoms", tables.large_batch),
            "kermany": _of("large_batch_kermany", tables.large_batch),
        },
    }
)
"""Blocks by document and name, each between `<!-- name -->` and `<!-- end of name -->`."""

WRITTEN_BY_SCRIPTS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "docs/figures-2018.md": {
            "servers": "tests/plan/test_claims.py",
            "claims": "tests/plan/test_claims.py",
        },
        "docs/planning.md": {
            "closed forms": "tests/plan/test_simulation.py",
            "sums of gradients": "tests/plan/test_published.py",
            "clusters": "tests/plan/test_published.py",
        },
        "docs/fpga.md": {
            "published": "tests/fpga/test_published.py",
            "found": "tests/fpga/test_published.py",
            "area": "tests/fpga/test_published.py",
            "searched": "tests/fpga/test_published.py",
        },
    }
)
"""Blocks that a script of benchmarks/ writes or prints, and the test that compares each with it."""


def with_blocks(name: str, text: str, evidence: Evidence) -> str:
    """Return a document with the blocks that it has a place for as the result files have them.

    Raises:
        EvidenceError: the newest file of a block is in a form that its table does not read.
    """
    for mark, block in BLOCKS.get(name, {}).items():
        begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
        if begin in text and end in text:
            before, _, rest = text.partition(begin)
            text = f"{before}{begin}\n{block(evidence)}\n\n{end}{rest.partition(end)[2]}"
    return text


def misplaced_blocks(name: str, text: str) -> list[str]:
    """Return a line for each block without a place, and each that nothing writes or compares."""
    known = [*BLOCKS.get(name, {}), *WRITTEN_BY_SCRIPTS.get(name, {})]
    found = re.findall(r"^<!-- end of ([\w ]+) -->$", text, re.MULTILINE)
    return [
        f"{name} needs one <!-- {mark} --> and one <!-- end of {mark} -->"
        for mark in known
        if (found.count(mark), text.count(f"<!-- {mark} -->\n")) != (1, 1)
    ] + [
        f"{name}: nothing writes or compares the block {mark}"
        for mark in found
        if mark not in known
    ]


def written(evidence: Evidence, register: Register) -> dict[str, str]:
    """Return every document that holds figures, by its path, as it has to be."""
    pages = {BENCHMARKS: page.page(evidence)}
    for document in documents():
        text = document.text
        with suppress(EvidenceError):  # `complaints` names it
            text = with_blocks(document.name, text, evidence)
        pages[document.name] = register.rewritten(document.name, text)
    return pages


def complaints(evidence: Evidence, register: Register) -> list[str]:
    """Return a line for everything that differs from the result files or is bound to nothing."""
    lines = [
        f"docs/figures.toml: there is no {name}"
        for name in register.documents
        if not (ROOT / name).is_file()
    ]
    for document in documents():
        name, text = document.name, document.text
        try:
            if with_blocks(name, text, evidence) != text:
                lines.append(f"{name}: a block is older than its result file: run docs/generate.py")
        except EvidenceError as error:
            lines.append(f"{name}: {error}: mend benchmarks/record/tables.py")
        lines += misplaced_blocks(name, text)
        lines += register.complaints(name, text)
    for document in written_of_the_program():
        lines += register.complaints(document.name, document.text)
    path = ROOT / BENCHMARKS
    if not path.is_file() or path.read_text("utf-8") != page.page(evidence):
        lines.append(f"{BENCHMARKS} is older than the result files: run docs/generate.py")
    return lines
