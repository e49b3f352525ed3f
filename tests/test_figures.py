"""Every figure of the documents is of a result file, or the register says what else it is."""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
from benchmarks.harness.processors import Machine, Processors
from benchmarks.record import agreement, arithmetic, bindings, documents, page, readme
from benchmarks.record.admission import why_not
from benchmarks.record.bindings import Entry, Register, figures, setting, untested
from benchmarks.record.catalogue import CLAIMS, TIMED, Kind, claim_of
from benchmarks.record.comparisons import cell, compared
from benchmarks.record.evidence import (
    Evidence,
    EvidenceError,
    look_up,
)
from benchmarks.record.headlines import HEADLINES
from benchmarks.record.objections import OBJECTIONS

AVX2, BF16 = ["avx2"], ["avx2", "avx512f", "avx512_vnni", "avx512_bf16"]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return Evidence()


@pytest.fixture(scope="module")
def register(evidence: Evidence) -> Register:
    return Register.read(evidence=evidence)


def test_every_figure_of_the_documents_is_bound_and_right(
    evidence: Evidence, register: Register
) -> None:
    lines = documents.complaints(evidence, register)
    assert not lines, "\n".join(lines)


def test_every_script_that_the_page_names_exists(evidence: Evidence) -> None:
    for claim in CLAIMS:
        if claim.script.startswith("benchmarks.") and evidence.files(claim.name):
            assert find_spec(claim.script) is not None, claim.script


def test_every_test_that_an_objection_is_held_by_exists() -> None:
    for one in OBJECTIONS:
        assert one.figures or one.held_by or one.said in _IN_WORDS, one.said
        for test in one.held_by:
            file, name = test.split("::")
            text = (bindings.ROOT / "tests" / file).read_text("utf-8")
            assert re.search(rf"^def {name}\(", text, re.MULTILINE), test


_IN_WORDS = {
    "The peer under LoadGen was handed a fresh array a request, and images of 64 x 64",
    "Meter costs were those of text files and of an emulator",
    "Tests that assert nothing, or compare a formula with itself",
}
"""Objections whose answer no figure and no test can hold."""


def test_links_into_the_page_lead_to_a_claim() -> None:
    titles = {re.sub(r"[^\w -]", "", claim.title.lower()).replace(" ", "-") for claim in CLAIMS}
    for document in bindings.documents():
        for anchor in re.findall(r"benchmarks\.md#([\w-]+)", document.text):
            assert anchor in titles, (document.name, anchor)


def test_every_listed_claim_with_a_file_shows_something(evidence: Evidence) -> None:
    written = page.page(evidence)
    for claim in CLAIMS:
        shown = evidence.files(claim.name)
        assert (f"### {claim.title}\n" in written) == bool(shown), claim.name
        if shown:
            assert page.claim_table(evidence, claim.name).count("\n") >= 2, claim.name


def test_every_goal_of_a_result_is_judged_on_the_page(evidence: Evidence) -> None:
    measured = [claim for claim in CLAIMS if claim.kind is Kind.MEASURED]
    for claim in measured:
        for file in evidence.files(claim.name).values():
            document = file.document
            wanted = {key for key in document if "goal" in key and key != "goals"}
            wanted |= {f"goals.{key}" for key in document.get("goals", {})}
            shown = {row.goal.partition(" | ")[0] for row in claim.rows}
            assert wanted <= shown, (file.path.name, wanted - shown)


def test_figures_are_found_where_people_state_them() -> None:
    def found(text: str) -> list[str]:
        return [figure.text for figure in figures(text)]

    assert found("It is 1.03 times as fast, 2,273 images, 7 of 19, 30 %, 43 W, 6e-7.") == [
        "1.03 times", "2,273 images", "7", "30 %", "43 W", "6e-7",
    ]  # fmt: skip
    assert found("| a | 0.61 [0.57, 0.63] | 12 | two words |") == ["0.61", "0.57", "0.63", "12"]
    assert (
        found("`a=0.5` [1706.02677](https://arxiv.org/abs/1706.02677) ResNet-50 at 224 x 224") == []
    )
    assert found("<!-- made -->\n\n| 0.5 |\n\n<!-- end of made -->\n") == []
    assert found("```\n0.5\n```\n\n    0.25 s\n\nOpenVINO 2026.4, Python 3.11, version 1.2.3") == []
    assert [figure.line for figure in figures("none\n\nhalf: 0.5\n")] == [3]


@pytest.mark.parametrize(
    ("text", "figure"),
    [
        ("It is 3.1x faster", "3.1x"),
        ("It takes 12ms", "12ms"),
        ("It takes 500ms", "500ms"),
        ("It takes 3GB", "3GB"),
        ("It reads 100MB/s", "100MB/s"),
        ("It does 2.5x", "2.5x"),
        ("It takes 12\nms", "12 ms"),
        ("It is **40** % faster", "40 %"),
        ("It is **9.9**x", "9.9x"),
        ("It is _40_ %", "40 %"),
        ("It is 40&nbsp;% faster", "40 %"),
        ("It is 40\u00a0% faster", "40 %"),
        ("| speed | about 7 |", "7"),
        ("| speed | ~7 |", "7"),
        ("| speed |**7**|", "7"),
        ("| AUROC | `0.91` |", "0.91"),
        ("AUROC is `0.91` in all", "0.91"),
        ("It is `40` % faster", "40 %"),
        ("AUROC .91", ".91"),
        ("<td>7</td>", "7"),
        ("<td align='right'>about 7</td>", "7"),
        ("It takes 65 Watts", "65 Watts"),
        ("It takes 12 milliseconds", "12 milliseconds"),
        ("It takes 12 sec", "12 sec"),
        ("It takes 3 gigabytes", "3 gigabytes"),
        ("It does 12 fps", "12 fps"),
        ("It does 98 frames/s", "98 frames/s"),
        ("It does 98 samples/s", "98 samples/s"),
        ("It does 98 GFLOPS", "98 GFLOPS"),
        ("It is quicker by a factor of 3", "3"),
        ("It has a speedup of 7", "7"),
        ("It is \u00d77 faster", "7"),
        ("It is x7 faster", "7"),
        ("It takes \u00bd the time", "\u00bd"),
        ("Its throughput doubles", "throughput doubles"),
        ("Its memory is halved", "memory is halved"),
        ("It cuts the time by half", "by half"),
        ("It saves forty percent", "forty percent"),
        ("It is quicker by a factor of two", "factor of two"),
        ("It takes 1/2 the time", "1/2 the time"),
        ("It takes one-third less", "one-third less"),
        ("It has doubled throughput", "doubled throughput"),
        ("It draws 300 mW", "300 mW"),
        ("It finds 9 in 10", "9"),
        ("It finds nine of ten", "nine of ten"),
        ("It finds one in ten", "one in ten"),
        ("It is twentyfold", "twentyfold"),
    ],
)
def test_a_figure_is_found_whatever_its_unit_markup_and_words(text: str, figure: str) -> None:
    found = figures(f"{text}\n")
    assert [match.text for match in found] == [figure]
    number = re.split(r"[ %xmGM]", figure)[0]
    assert text[found[0].begin : found[0].end] in (number, figure)


def test_what_resembles_a_figure_is_none() -> None:
    assert figures("One of two ways, 3*4 and 2 ** 64, 8x48 cells, `7`, `a7.5`, in 3 of them.") == []
    assert (
        figures("Of the 1990s, the eigenvalue times each learning rate, x7 in all, 3 in 2018.")
        == []
    )


def test_a_paragraph_of_a_list_item_is_prose_and_its_code_is_none() -> None:
    def found(text: str) -> list[str]:
        return [figure.text for figure in figures(text)]

    assert found("- item\n\n    It runs 412 images/s, 3 times as fast.") == [
        "412 images/s",
        "3 times",
    ]
    assert found("1. item\n   - inner\n\n     In 3 s.\n\n   In 4 s.\n") == ["3 s", "4 s"]
    assert found("- item\n\n      0.5 s\n\nnone\n\n    0.7 s\n\n    0.8 s\nIn 2 s.") == ["2 s"]


def test_help_texts_state_no_ratio_or_time_that_nothing_binds(
    evidence: Evidence, register: Register
) -> None:
    pages = bindings.written_of_the_program()
    assert {page.name for page in pages} == {"docs/cli.md", "docs/errors.md", "docs/results.md"}
    for document in pages:
        assert register.complaints(document.name, document.text) == []
    help_text = "| `--fast` | 7.5 times as fast, 412 images/s, 40 % faster, of 95 % above 0.3 | 8 |"
    lines = Register({}, evidence).complaints("docs/cli.md", help_text)
    assert [line.split("'")[1] for line in lines] == ["7.5 times", "412 images/s", "40 %"]


def test_contributing_is_read_like_the_other_documents() -> None:
    names = [document.name for document in bindings.documents()]
    assert names[:3] == ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"]


def test_a_claim_is_a_figure_however_it_is_written() -> None:
    def found(text: str) -> list[str]:
        return [figure.text for figure in figures(text)]

    # Behind a name stands a version, unless something is measured in it; a sentence ends with "s.".
    assert found("ONNX 3.10 times, IR 5 times, torch 9.9 images/s; it takes 3 s. 2.16 is all.") == [
        "3.10 times", "5 times", "9.9 images/s", "3 s", "2.16",
    ]  # fmt: skip
    assert found("ONNX 1.18, IR 11, torch 2.13, Handbook 863373, s. 6.2") == []
    assert found("16-fold, 5×, 10-times, 30 per cent, 3 seconds, `9.9 images/s`, `0.5 s`") == [
        "16-fold", "5×", "10-times", "30 per cent", "3 seconds", "9.9 images/s", "0.5 s",
    ]  # fmt: skip
    assert found("`0.5 s` or 880 of `x`, `pip\ninstall a==2.21.*`, 3 ms") == [
        "0.5 s",
        "880",
        "3 ms",
    ]
    claims = (
        "twice as fast", "thirty times as long", "many times slower", "half the memory",
        "a third of the time", "two thirds of its energy", "tenfold", "orders of magnitude",
        "twice ONNX Runtime's speed", "halves the error",
    )  # fmt: skip
    for claim in claims:
        assert found(f"It is {claim}, or so.") == [claim]
    assert (
        found("Asked twice, half of them, the first half, three times in all, a third one.") == []
    )
    # An integer that stands for itself is measured; a year, size, name or place on an axis is not.
    assert found("The model says 880 for a batch of 8, near 1200.") == ["880", "1200"]
    assert found("In 1998, 224 x 224, at 512, GX 1150, IEEE 754, status 130, user 683647.") == []


def test_arithmetic_of_the_register_needs_something_to_follow_from() -> None:
    values = {"a: b": 6.0, "m:C": 4.0}
    assert arithmetic.value_of("{a: b} / {m:C} * 2 ** 3", values.__getitem__) == 12
    assert arithmetic.value_of("max(sqrt(9), 2) - 1", values.__getitem__) == 2
    assert arithmetic.holds("4 < {a: b} <= 6", values.__getitem__)
    assert not arithmetic.holds("{a: b} > 2 * 3", values.__getitem__)
    for mistake in ("3.1", "-3", "2 < 3", "{a: b} +", "open(2 + 3)", "'a' * 2"):
        with pytest.raises(ValueError, match=r"follows from nothing|no expression|no arithmetic"):
            arithmetic.value_of(mistake, values.__getitem__)
    with pytest.raises(ValueError, match="compares nothing"):
        arithmetic.holds("{a: b} + 1", values.__getitem__)


def test_a_number_in_disguise_follows_from_nothing() -> None:
    values = {"a": 6.0, "nothing": 0.0}
    for disguise in (
        "43 * 1", "1 * 43", "3.1 + 0", "0 + 3.1", "43 / 1", "43 ** 1", "0 - 43", "43 % 100",
        "43 * (3 - 2)", "max(43, 0)", "sqrt(1849)", "-(43 * 1)", "round(43 * 1)",
        "{a} * 0 + 43", "43 + 0 * {a}", "43 + 0 / {a}", "{a} ** 0 + 42", "43 + {a} * (1 - 1)",
        "{a} - {a} + 43", "{a} / {a} * 43", "{a} ** 2 / {a} / {a} * 43", "min({a}, {a}) - {a} + 43",
    ):  # fmt: skip
        with pytest.raises(ValueError, match="follows from nothing"):
            arithmetic.value_of(disguise, values.__getitem__)
    for comparison in (
        "1 < 2 + 0", "2 * 3 == 6", "10 ** (-20 / 20) == 0.1", "{a} * 0 < 1", "{a} == {a}",
        "{a} < {a} + 1", "1 < {a} < {a} + 1",
    ):  # fmt: skip
        with pytest.raises(ValueError, match="follows from nothing"):
            arithmetic.holds(comparison, values.__getitem__)
    # A reference may be 0 itself, and alone is enough; so are two numbers that count.
    assert arithmetic.value_of("{nothing} * 100", values.__getitem__) == 0
    assert arithmetic.value_of("{a} * 1", values.__getitem__) == 6
    assert arithmetic.value_of("max({a}, {nothing}, 5)", values.__getitem__) == 6
    assert arithmetic.value_of("min({a}, 4) + 1", values.__getitem__) == 5
    assert arithmetic.value_of("1 / 255", values.__getitem__) == 1 / 255
    assert arithmetic.value_of("2 ** 10 - 1", values.__getitem__) == 1023
    assert arithmetic.holds("{nothing} < 1", values.__getitem__)


QUIET: Final = {"others_share": 0.01, "allowed_share": 0.1}
CPU: Final = {"cpu": "A CPU", "vendor": "AuthenticAMD", "family": 25, "model": 17}


def result(
    folder: Path, claim: str, date: str, instructions: list[str] | None, **keys: object
) -> None:
    hardware = {**CPU, "processors": 2, "instructions": instructions}
    document = {"claim": claim, "hardware": hardware if instructions else None, **keys}
    if "comparisons" in keys:
        document = {"commit": "abcdef0", "load": QUIET, **document}
    machine = "-".join(instructions or ["model"]).replace("_", "")
    name = f"{claim}_{machine}_{date}.json"
    (folder / name).write_text(json.dumps(document), "utf-8")


def compared_once(ratio: float, **keys: object) -> dict[str, Any]:
    interval = {"ratio": ratio, "low": ratio - 0.1, "high": ratio + 0.1}
    return {
        "name": "Thorax INT8 over ONNX Runtime INT8", "first": "thorax_int8",
        "second": "onnxruntime_int8", "quantity": "images/s", "wall": interval, "cpu": interval,
        "bound": None, "above_bound": None, "goal": 1.1, "meaning": "", **keys,
    }  # fmt: skip


def test_the_newest_file_of_a_class_of_processors_counts(tmp_path: Path) -> None:
    result(tmp_path, "speed", "2026-01-02", AVX2, ratio=1.5)
    result(tmp_path, "speed", "2026-01-01", BF16, ratio=2.5)
    result(tmp_path, "speed-of-old", "2026-01-01", None, ratio=3.5)
    found = Evidence(tmp_path)
    assert found.text("speed: ratio | .1f") == "1.5"
    assert found.text("speed@bf16: ratio | .1f") == "2.5"
    assert [made.kind for made in found.files("speed")] == [Processors.AVX2, Processors.BF16]
    assert found.newest("speed_of_old").processors is Processors.NONE
    with pytest.raises(EvidenceError, match="no file of the claim speed of the class amx"):
        found.text("speed@amx: ratio | .1f")
    with pytest.raises(EvidenceError, match=r"speed_avx2_2026-01-02\.json has no other"):
        found.text("speed: other | .1f")


def test_paths_choose_entries_and_filters_reduce_them(tmp_path: Path) -> None:
    rows = [
        {"net": "a, b", "value": 1e-7, "turns": [1, 2]},
        {"net": "c", "value": 4.0, "turns": [6]},
    ]
    result(tmp_path, "x", "2026-01-01", AVX2, rows=rows, **{"a.b": {"c": True}})
    found = Evidence(tmp_path)
    assert found.text("x: rows[net=a, b].value | .1e") == "1.0e-7"
    assert found.text("x: rows[*].value | max | * 100 | ,.0f") == "400"
    assert found.text("x: rows[*].turns[*] | count | d") == "3"
    assert found.text("x: rows[*net=c].value | sum | over rows[1].turns[0] | .2f") == "0.67"
    assert found.text('x: "a.b".c | d') == "yes"
    assert found.text("x: rows[*].value | above rows[*].turns[0] | d") == "0"
    assert found.text("x: rows[*].turns[0] | above rows[*].value | d") == "2"
    with pytest.raises(EvidenceError, match="0 entries"):
        look_up(found.newest("x"), "rows[net=d]")


def test_new_files_of_two_machines_stand_side_by_side_without_an_edit(tmp_path: Path) -> None:
    sides = {"thorax_int8": {"settings": {"threads": 2}, "turns": [{}] * 7}}
    load = {"others_share": 0.03, "allowed_share": 0.1}
    for instructions, ratio in ((AVX2, 1.03), (BF16, 1.2)):
        result(
            tmp_path, "resnet50_peers", "2026-12-01", instructions,
            comparisons=[compared_once(ratio)], sides=sides, load=load, commit="abcdef0",
        )  # fmt: skip
    found = Evidence(tmp_path)
    written = page.page(found)
    heads = (
        "| | A (Zen 4) with AVX2 only, 2 processors | A (Zen 4) with VNNI and BF16, 2 processors |"
    )
    assert heads in written
    assert (
        "| Thorax INT8 over ONNX Runtime INT8, images/s "
        "| **1.03** [0.93, 1.13]; CPU 1.03 [0.93, 1.13]; goal 1.1: not told by the interval "
        "| **1.20** [1.10, 1.30]; CPU 1.20 [1.10, 1.30]; goal 1.1: not told by the interval |"
    ) in written
    assert "| *turns* | 7 | 7 |" in written
    assert "| *load of others* | 3.0% (allowed 10%) | 3.0% (allowed 10%) |" in written
    assert "Withdrawn. Peers are set" in written
    shown = readme.headlines(found, Kind.MEASURED)
    assert heads in shown
    row = next(line for line in shown.splitlines() if "INT8 over ONNX Runtime INT8" in line)
    assert row.endswith("| **1.03** [0.93, 1.13] | **1.20** [1.10, 1.30] |")
    assert "](docs/benchmarks.md#resnet-50-at-224-x-224-beside-its-peers)" in row


def test_two_runs_agree_by_the_interval_of_their_ratio_or_it_is_said_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = agreement.Reason(
        "hardware_peak", "int8", Processors.BF16, Processors.AVX2, "one has no INT8"
    )
    monkeypatch.setattr(agreement, "REASONS", (reason,))

    def run(date: str, instructions: list[str], ratio: float) -> None:
        wall = {"ratio": ratio, "low": ratio - 0.03, "high": ratio + 0.03}
        one = compared_once(ratio, wall=wall)
        result(tmp_path, "hardware_peak", date, instructions, comparisons=[one])

    def runs() -> tuple[str, str]:
        both = page.page(Evidence(tmp_path)).partition("### On one kind of machine")[2]
        runs, _, _ = both.partition("## Not measured yet")
        own, _, others = runs.partition("### On different kinds")
        return own, others

    run("2026-12-01", AVX2, 1.08)
    assert "nothing here says how well a run repeats" in runs()[0]
    assert "None yet." in runs()[1]
    run("2026-12-02", AVX2, 1.1)
    own = "A (Zen 4) with AVX2 only, 2 processors"
    agree = f"| {own}, 2026-12-01, then {own}, 2026-12-02 | 1 of 1 | 0 of the older, 0 of"
    assert agree in runs()[0]
    run("2026-12-03", AVX2, 1.5)
    apart = "| Thorax INT8 over ONNX Runtime INT8, images/s | {0} | {1} | {2} |"
    one = apart.format("1.10 [1.07, 1.13]", "1.50 [1.47, 1.53]", agreement.UNEXPLAINED)
    assert one in runs()[0]
    run("2026-12-04", BF16, 1.0)
    other = apart.format("1.50 [1.47, 1.53]", "1.00 [0.97, 1.03]", reason.why)
    assert one in runs()[0]
    assert other in runs()[1]
    run("2026-12-05", BF16, 1.9)
    against = apart.format("1.50 [1.47, 1.53]", "1.90 [1.87, 1.93]", agreement.UNEXPLAINED)
    assert against in runs()[1], "the reason tells of the other direction"
    wide = compared_once(1.95, wall={"ratio": 1.95, "low": 1.7, "high": 2.2})
    result(tmp_path, "hardware_peak", "2026-12-06", BF16, comparisons=[wide])
    undecided = apart.format("1.90 [1.87, 1.93]", "1.95 [1.70, 2.20]", agreement.UNDECIDED)
    assert undecided in runs()[0]


def test_a_run_on_another_number_of_processors_repeats_none(tmp_path: Path) -> None:
    machines = {"2026-12-01": 2, "2026-12-02": 64, "2026-12-03": 2}
    for date, processors in machines.items():
        hardware = {**CPU, "processors": processors, "instructions": AVX2}
        settings = {"batch": 8 if date.endswith("03") else 1, "warm_up_s": 0.5}
        sides = {"thorax_int8": {"settings": settings, "turns": []}}
        keys = {"comparisons": [compared_once(1.2)], "hardware": hardware, "sides": sides}
        result(tmp_path, "resnet50_peers", date, AVX2, **keys)
    found = Evidence(tmp_path)
    ((before, now),) = agreement.repeated(found, "resnet50_peers")
    assert (before.date, now.date) == ("2026-12-01", "2026-12-03")
    others = agreement.across(found, "resnet50_peers")
    assert [(before.date, now.date) for before, now in others] == [("2026-12-02", "2026-12-03")]
    (pair,) = agreement.pairs(before, now)
    assert pair.changed == ("Thorax INT8: batch 1, then batch 8",)


def test_machines_stand_apart_and_a_caveat_is_told(tmp_path: Path) -> None:
    caveats = claim_of("resnet50_peers").caveats
    (commit,) = {one.commit for one in caveats if one.words == "benchmark_app"}
    for claim, name, processors in (
        ("resnet50_peers", "Thorax INT8 over PyTorch compiled INT8", 2),
        ("classify_startup", "classify over a bare OpenVINO script", 64),
    ):
        hardware = {**CPU, "processors": processors, "instructions": AVX2}
        one = compared_once(1.2, name=name)
        keys = {"comparisons": [one], "hardware": hardware, "commit": commit}
        result(tmp_path, claim, "2026-12-01", AVX2, **keys)
    shown = readme.headlines(Evidence(tmp_path), Kind.MEASURED)
    assert "| **1.20** [1.10, 1.30] (1) |" in shown
    heads = "| | A (Zen 4) with AVX2 only, 2 processors | A (Zen 4) with AVX2 only, 64 processors |"
    assert heads in shown, "another number of processors is another machine"
    assert "\n(1) PyTorch compiled was tried as one instance" in shown
    assert "- **PyTorch compiled was tried as one instance" in page.page(Evidence(tmp_path))


def test_processors_of_one_name_are_told_apart_by_family_and_model() -> None:
    facts = {"cpu": "AMD EPYC", "processors": 1, "instructions": BF16}
    assert (
        Machine.of(facts).title == "EPYC (generation not recorded) with VNNI and BF16, 1 processor"
    )
    facts |= {"vendor": "AuthenticAMD", "family": 25, "model": 17}
    assert Machine.of(facts).name == "EPYC (Zen 4)"
    assert Machine.of(facts | {"family": 26, "model": 2}).name == "EPYC (Zen 5)"
    assert Machine.of(facts | {"family": 99}).name == "EPYC (family 99, model 17)"
    assert Machine.of(None).title == "computed"


def test_classes_of_processors_tell_what_is_not_known_of_their_instructions() -> None:
    for instructions, kind in (
        (None, Processors.NONE),
        ([], Processors.OTHER),
        (["asimd", "bf16"], Processors.OTHER),
        (AVX2, Processors.AVX2),
        ([*AVX2, "avx512f"], Processors.AVX512),
        ([*AVX2, "avx_vnni"], Processors.VNNI),
        (BF16, Processors.BF16),
    ):
        assert Processors.of(instructions) is kind
    assert len({kind.title for kind in Processors}) == len(Processors)


@pytest.mark.parametrize("reason", agreement.REASONS, ids=lambda one: one.claim)
def test_a_reason_holds_for_its_processors_names_and_direction_alone(
    reason: agreement.Reason, tmp_path: Path
) -> None:
    instructions = {
        Processors.AVX2: AVX2,
        Processors.VNNI: ["avx_vnni"],
        Processors.BF16: BF16,
        Processors.AMX: [*BF16, "amx_int8"],
    }

    def said(lower: Processors, higher: Processors, name: str) -> str:
        files = []
        for processors, ratio in ((lower, 1.0), (higher, 2.0)):
            one = compared_once(ratio, name=name)
            folder = tmp_path / f"{ratio}"
            folder.mkdir(exist_ok=True)
            for file in folder.iterdir():
                file.unlink()
            result(folder, reason.claim, "2026-12-01", instructions[processors], comparisons=[one])
            files.append(Evidence(folder).newest(reason.claim))
        before, now = files
        assert before.processors is lower
        (pair,) = agreement.pairs(before, now)
        (back,) = agreement.pairs(now, before)
        assert pair.why == back.why
        return pair.why

    names = {
        "Thorax INT8 over PyTorch eager FP32", "Thorax BF16 over PyTorch eager FP32",
        "Thorax INT8 over ONNX Runtime INT8", "resnet50, int8 over fp32",
    }  # fmt: skip
    mine = [name for name in names if re.search(reason.names, name, re.IGNORECASE)]
    assert mine
    for name in mine:
        for lower in instructions:
            for higher in instructions:
                explained = said(lower, higher, name) == reason.why
                assert explained == ((lower, higher) == (reason.lower, reason.higher))
    for name in ("Thorax FP32 over ONNX Runtime FP32", "Thorax BF16 over PyTorch compiled BF16"):
        assert said(reason.lower, reason.higher, name) == agreement.UNEXPLAINED


def test_comparisons_that_were_renamed_stand_in_one_row_and_those_without_partner_are_counted(
    tmp_path: Path,
) -> None:
    script = "over a bare OpenVINO script"
    older = [
        compared_once(1.6, name=f"classify_json {script}", quantity="seconds"),
        compared_once(1.5, name="time, HETERO", quantity="image_s"),
        compared_once(0.9, name="product", quantity="gops"),
        compared_once(0.9, name="gone", quantity="gops"),
    ]
    newer = [
        compared_once(1.6, name=f"classify --json {script}", quantity="seconds", label="seconds"),
        compared_once(1.5, name="time, HETERO", quantity="image_s", label="time an image"),
        compared_once(0.9, name="product", quantity="gops", label="operations/s"),
        compared_once(0.9, name="new", quantity="gops", label="operations/s"),
        compared_once(0.9, name="newer", quantity="gops", label="operations/s"),
    ]
    result(tmp_path, "classify_startup", "2026-12-01", AVX2, comparisons=older)
    result(tmp_path, "classify_startup", "2026-12-02", BF16, comparisons=newer)
    written, _, two_runs = page.page(Evidence(tmp_path)).partition("## Two runs")
    for title in (f"classify --json {script}, seconds", "time, HETERO, time an image", "product"):
        (row,) = (line for line in written.splitlines() if line.startswith(f"| {title}"))
        assert row.count("**") == 4, row
    before, now = Evidence(tmp_path).runs("classify_startup")
    assert len(list(agreement.pairs(before, now))) == 3
    assert agreement.alone(before, now) == (1, 2)
    assert " of 3 | 1 of the older, 2 of the newer |" in two_runs


def test_a_goal_is_not_met_by_turns_that_were_not_valid() -> None:
    one = {**compared_once(0.9, quantity="p99_s", goal=1.1), "first": "ours", "second": "theirs"}
    turns = [{"valid": 1.0}] * 6
    sides = {"ours": {"turns": turns}, "theirs": {"turns": turns}}
    (row,) = compared({"comparisons": [one]})
    assert cell(row, {"sides": sides}).endswith("valid turns 6/6 of 6; goal 1.1: met")
    sides["theirs"] = {"turns": [*turns[2:], {"valid": 0.0}, {"valid": 0.0}]}
    assert cell(row, {"sides": sides}).endswith(
        "valid turns 6/4 of 6; goal 1.1: not told, as turns were not valid"
    )


def test_what_a_grid_gave_is_known_to_a_step_of_it() -> None:
    def found(ratio: float) -> str:
        wall = {"ratio": ratio, "low": ratio, "high": ratio + 0.01}
        one = {
            **compared_once(ratio, wall=wall, cpu=None, quantity="highest_part", goal=0.97),
            "first": "ours_fp32_64_highest", "second": "theirs_fp32_64_highest",
        }  # fmt: skip
        side = {"turns": [{"highest_part": 0.6}, {"highest_part": 0.9}]}
        document = {
            "comparisons": [one], "sides": {one["first"]: side, one["second"]: side},
            "models": {"fp32_64": {"highest_grid": [0.5, 0.53, 0.56]}},
        }  # fmt: skip
        return cell(compared(document)[0], document)

    assert found(1.03).endswith("steps of 0.03, of which the interval has one more; goal 0.97: met")
    assert found(1.0).endswith("goal 0.97: not told by the interval")
    assert found(1.2).startswith("**1.20** [1.14, 1.27];"), "a step wider"
    assert found(0.9).endswith("goal 0.97: missed")


def test_bounds_and_batches_are_told_of_each_file(tmp_path: Path) -> None:
    def run(instructions: list[str], because: str, *batches: int) -> None:
        one = compared_once(0.99, goal=None, bound={"ratio": 1.0, "because": because})
        names = (one["first"], one["second"])
        sides = {
            name: {"settings": {"batch": batch}, "turns": [{}] * 7}
            for name, batch in zip(names, batches, strict=True)
        }
        result(
            tmp_path, "resnet50_peers", "2026-12-01", instructions, comparisons=[one], sides=sides
        )

    run(AVX2, "on the same threads", 1, 8)
    run(BF16, "on the same threads, batch and streams", 8, 8)
    written = page.page(Evidence(tmp_path))
    name, bound = "Thorax INT8 over ONNX Runtime INT8:", "cannot be above 1:"
    old, new = (
        f"- on A (Zen 4) with {kind}, 2 processors: {name}"
        for kind in ("AVX2 only", "VNNI and BF16")
    )
    assert f"{old} batch and instances differ: batch 1, and batch 8\n" in written
    assert f"{old} {bound} on the same threads\n" in written
    assert f"{new} {bound} on the same threads, batch and streams\n" in written


def test_what_was_measured_under_older_rules_stands_apart_and_meets_no_goal(
    tmp_path: Path,
) -> None:
    keys = {
        "networks": {"DenseNet121": {"merge_s": [1.0] * 7, "no_merge_s": [1.0] * 7}}, "goal": 2.0,
    }  # fmt: skip
    load = {"others_share": 0.01, "allowed_share": 0.1}
    title = "### Partitions with islands merged"
    result(tmp_path, "partition_merging", "2026-11-30", AVX2, **keys)
    before, _, apart = page.page(Evidence(tmp_path)).partition("## Measured under older rules")
    assert title not in before
    assert title in apart
    assert "| DenseNet121 (less is better) | **1.00** [1.00, 1.00]; goal 2.0: not judged" in apart
    result(tmp_path, "partition_merging", "2026-12-02", AVX2, **keys, commit="abcdef0", load=load)
    written = page.page(Evidence(tmp_path))
    assert "## Measured under older rules" not in written
    assert "**1.00** [1.00, 1.00]; goal 2.0: met" in written
    names = {claim.name for claim in CLAIMS}
    assert names >= TIMED


def test_no_figure_of_older_rules_answers_an_objection(tmp_path: Path) -> None:
    median = {
        "actors": {"images_per_s": 83.0}, "one_process": {"images_per_s": 101.0},
    }  # fmt: skip
    result(tmp_path, "cluster_classify", "2026-11-23", AVX2, median=median)
    answer = next(
        line
        for line in page.page(Evidence(tmp_path)).splitlines()
        if line.startswith("| Two Ray actors")
    )
    assert f"*{page.NOT_ANEW}*" in answer
    assert "83" not in answer


def test_an_answer_to_an_objection_is_short(evidence: Evidence) -> None:
    answers = page.page(evidence).partition("| said | stands now |")[2].splitlines()[2:]
    assert answers
    for answer in answers:
        words = re.sub(r"\(\.\./tests[^)]*\)|\*Held by\*.*", "", answer)
        assert len(words) < 800, answer


def test_every_auroc_of_the_record_names_its_split(evidence: Evidence) -> None:
    splits = ("test split", "training or its test split")
    for headline in HEADLINES:
        if "AUROC" in headline.title:
            assert "test split" in headline.title, headline.title
    for claim in CLAIMS:
        if "AUROC" in claim.meaning:
            elsewhere = "with the AUROC](" in claim.meaning
            assert elsewhere or any(split in claim.meaning for split in splits), claim.name
    shown = readme.headlines(evidence, Kind.MEASURED)
    assert all("test split" in line for line in shown.splitlines() if "AUROC" in line)
    for name, blocks in documents.BLOCKS.items():
        for mark, block in blocks.items():
            text = block(evidence)
            modelled = name == "docs/fpga.md"
            if "AUROC" in text and not modelled:
                assert "test split" in text, (name, mark)


def test_a_file_of_an_older_form_does_not_stand_beside_those_of_the_common_one(
    tmp_path: Path,
) -> None:
    wall = {"bare": [1.0, 1.0], "classify": [2.0, 2.0], "help": [1.0, 1.0]}
    cpu = {"classify": 1.9, "help": 1.0}
    result(
        tmp_path, "classify_startup", "2026-11-22", AVX2,
        wall_s=wall, median_ratio_of_cpu=cpu, goal=1.5,
    )  # fmt: skip
    old = (
        "| classify over the script, time (less is better) | **2.00**; CPU 1.90; goal 1.5: missed |"
    )
    assert old in page.page(Evidence(tmp_path))
    new = [compared_once(1.5, name="classify over a bare script", quantity="seconds")]
    result(tmp_path, "classify_startup", "2026-12-01", BF16, comparisons=new)
    written = page.page(Evidence(tmp_path))
    assert "classify over the script, time" not in written
    assert "| classify over a bare script, seconds (less is better) | **1.50**" in written
    assert "Earlier files in another form, which say less: [2026-11-22]" in written


def test_a_quantity_is_shown_by_its_name_for_people(tmp_path: Path) -> None:
    fast = compared_once(1.2, name="int8 at 64 px", quantity="p99_s", label="latency of 99 %")
    said = compared_once(0.9, name="time an image, int8", quantity="image_s", label="time an image")
    old = compared_once(1.1, name="int8", quantity="p99_s")
    result(tmp_path, "speed", "2026-12-01", AVX2, comparisons=[fast, said, old])
    written = page.page(Evidence(tmp_path))
    assert "| int8 at 64 px, latency of 99 % (less is better) | **1.20**" in written
    assert "| time an image, int8 (less is better) | **0.90**" in written
    assert "| int8, p99_s (less is better) | **1.10**" in written


def test_a_rehearsal_is_no_evidence(tmp_path: Path) -> None:
    result(tmp_path, "speed", "2026-01-02", AVX2, ratio=1.5, for_record=False)
    assert Evidence(tmp_path).claims == []


def test_results_of_code_that_was_not_committed_are_no_evidence(tmp_path: Path) -> None:
    result(tmp_path, "speed", "2026-01-02", AVX2, ratio=1.5, commit="68a9d68f9142-dirty")
    commits = {"before": "378c727dbf89", "after": "006ce1a493d7-dirty"}
    result(tmp_path, "cost", "2026-01-02", AVX2, ratio=1.5, commits=commits)
    assert Evidence(tmp_path).claims == []
    result(tmp_path, "speed", "2026-01-01", AVX2, ratio=1.2, commit="68a9d68f9142")
    result(tmp_path, "cost", "2026-01-01", AVX2, ratio=1.1)  # of before files named a commit
    assert Evidence(tmp_path).text("speed: ratio | .1f") == "1.2"
    assert Evidence(tmp_path).claims == ["cost", "speed"]
    assert why_not({"commit": "68a9d68f9142-dirty"}) is not None
    assert why_not({"for_record": False}) is not None
    assert why_not({"commit": None}) is None


def test_of_seconds_less_is_better_and_a_passed_bound_is_explained(tmp_path: Path) -> None:
    bound = {"ratio": 1.0, "because": "both run one graph"}
    slow = compared_once(1.2, quantity="seconds", goal=1.5, bound=bound, above_bound="by chance")
    result(tmp_path, "startup_of_new", "2026-12-01", AVX2, comparisons=[slow])
    written = page.page(Evidence(tmp_path))
    assert "## Others" in written
    assert "goal 1.5: met" in written
    assert "cannot be below 1: both run one graph" in written
    assert "below its bound: by chance" in written


def test_what_no_file_has_is_left_out_of_readme_and_listed_as_not_measured(tmp_path: Path) -> None:
    nothing = Evidence(tmp_path)
    for kind in (Kind.MEASURED, Kind.MODELLED):
        assert len(readme.headlines(nothing, kind).splitlines()) <= 4
    written = page.page(nothing)
    listed = written.partition("## Not measured yet")[2].partition("## Objections")[0]
    assert all(claim.title in listed for claim in CLAIMS)
    assert all(headline.title in listed for headline in HEADLINES)
    assert written.count(f"*{page.NOT_YET}*") == sum(bool(one.figures) for one in OBJECTIONS)


def test_a_modelled_figure_shares_no_table_with_a_measured_one() -> None:
    for section in {claim.section for claim in CLAIMS}:
        kinds = {claim.kind for claim in CLAIMS if claim.section is section}
        assert len(kinds) == 1, section


def test_a_figure_that_differs_or_is_bound_to_nothing_is_named_with_what_to_do(
    tmp_path: Path,
) -> None:
    result(tmp_path, "speed", "2026-01-01", AVX2, ratio=1.5)
    tables = {"a.md": {"result": [["is {} times", "speed: ratio | .1f"], ["no {}", "x: y | d"]]}}
    register = Register(tables, Evidence(tmp_path))
    lines = register.complaints("a.md", "One.\n\nIt is\n1.4 times as fast, and 0.3 s.\n")
    assert lines[0] == "a.md:3: 1.4 is 1.5 by speed: ratio | .1f: run docs/generate.py"
    assert "no file of the claim x" in lines[1]
    assert lines[2].startswith("a.md:4: '0.3 s' is bound to nothing: bind it to a result file")
    assert len(lines) == 3


def test_one_command_makes_the_text_follow_the_file(tmp_path: Path) -> None:
    result(tmp_path, "speed", "2026-01-01", AVX2, ratio=1.5, low=1.2)
    tables = {
        "a.md": {
            "result": [["is {} times [{}", "speed: ratio | .1f", "speed: low | .1f"]],
            "setting": [["sees {} s", "thorax.benchmark.confidence:CONFIDENCE | rest | .2f"]],
        }
    }
    register = Register(tables, Evidence(tmp_path))
    text = register.rewritten("a.md", "It is 9.9 times\n[8.8, who sees 7 s.")
    assert text == "It is 1.5 times\n[1.2, who sees 0.05 s."
    assert register.complaints("a.md", text) == []


def test_a_setting_may_stand_in_a_file_of_the_package() -> None:
    name = "src/thorax/fpga/architectures/8x48-fp11.toml"
    assert setting(f"{name}:clock_hz | / 1e6 | .0f") == "281"


def test_a_number_that_the_named_test_lacks_is_told() -> None:
    def lacking(words: str, origin: str) -> list[str]:
        return untested(Entry("test", words, origin=f"tests/{origin}"))

    lars = "training/test_lars.py::test_fifty_steps_agree_with_the_published_update"
    assert lacking("to 1e-12 in all", lars) == []
    assert "has no 1.25e-3" in lacking("to 1.25e-3", lars)[0]
    # A digit of another number, and a number of another test of the file, are not enough.
    assert "has no 2 images" in lacking("2 images", lars)[0]
    # What a test takes from a function of its file counts, and SI units do.
    coverage = "benchmark/test_confidence.py::test_an_interval_holds_the_truth_as_often_as_it_says"
    assert lacking("of 1,500 trials 92 % or 0.92 hold", coverage) == []
    assert "is not there" in lacking("to 1e-9", "none.py::test_none")[0]
    for origin in ("training/test_lars.py", "training/test_lars.py::test_of_nobody"):
        assert "FILE::test_name" in lacking("to 1e-12", origin)[0]


def test_words_bind_no_more_than_their_sources_say(tmp_path: Path) -> None:
    result(tmp_path, "speed", "2026-01-01", AVX2, ratio=1.9)

    def complaints(text: str, **kinds: list[Any]) -> list[str]:
        return Register({"a.md": kinds}, Evidence(tmp_path)).complaints("a.md", text)

    # A figure beside the one that has a source is bound to nothing.
    beside = complaints("1.9 times, in 3 s", result=[["{} times, in 3 s", "speed: ratio | .1f"]])
    assert ["'3 s' is bound to nothing" in line for line in beside] == [True]
    # What follows is worked out, and what has to hold is held against the file.
    assert complaints("3.8 times", derived=[["{} times", "{speed: ratio} * 2 | .1f"]]) == []
    assert (
        "3.7 is 3.8"
        in complaints("3.7 times", derived=[["{} times", "{speed: ratio} * 2 | .1f"]])[0]
    )
    below = "less than twice the time"
    assert complaints(below, holds=[[below, "{speed: ratio} < 2"]]) == []
    assert "does not hold" in complaints(below, holds=[[below, "{speed: ratio} < 1.5"]])[0]
    assert "needs a comparison" in complaints(below, holds=[[below]])[0]
    # Words alone are no setting and follow from nothing; a definition has a reason.
    for kinds in ({"setting": ["in 3 s"]}, {"derived": [["the rows above", "in 3 s"]]}):
        assert "needs a {} and what it is" in complaints("in 3 s", **kinds)[0]
    assert complaints("in 3 s", definition=[["the text decides it", "in 3 s"]]) == []
    for source in ("thorax.benchmark.confidence:NONE | d", "thorax.nowhere:NONE | d"):
        assert "bind it anew" in complaints("in 3 s", setting=[["in {} s", source]])[0]


def test_settings_may_be_parts_and_defaults() -> None:
    assert setting("thorax.cluster.bench:SIZES.-1 | / 1048576 | .0f") == "64"
    assert setting("thorax.phantoms.style:Style.subtlety.1 | .1f") == "0.5"
    assert setting("thorax.training.parallel:join.timeout_s | .0f") == "600"


def test_words_that_stand_nowhere_and_unknown_kinds_are_mistakes_of_the_register() -> None:
    nothing = Evidence(Path(__file__).parent / "none")
    lines = Register({"a.md": {"example": ["3 images"]}}, nothing).complaints("a.md", "none")
    assert lines == ["a.md: '3 images' does not stand there: mend the register"]
    text = "3 images\n\n3 images\n\n<!-- made -->\n\n3 images\n\n<!-- end of made -->\n"
    register = Register({"a.md": {"example": ["3 images"]}}, nothing)
    assert register.complaints("a.md", text) == [
        "a.md: '3 images' stands there twice: add words around it"
    ]
    assert register.complaints("a.md", text.removeprefix("3 images")) == []
    with pytest.raises(ValueError, match="guess is no kind"):
        Register({"a.md": {"guess": ["3 images"]}}, nothing).complaints("a.md", "none")
