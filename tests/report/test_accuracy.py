"""Tables of how good networks are."""

import io
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from thorax.report.accuracy import (
    auroc_table,
    cost_table,
    difference_table,
    flips_table,
    validated_artifacts,
)
from thorax.report.page import write_report
from thorax.report.table import rich_table
from thorax.results.accuracy import Comparison, ValidationResult


def _made_up() -> ModuleType:
    from tests.report import results

    return results


def validation(precision: str = "fp32", **changes: object) -> ValidationResult:
    return ValidationResult.read(_made_up().validation(precision) | changes)


def comparison(precision: str, **changes: object) -> Comparison:
    interval = {"value": 0.0012, "low": -0.0004, "high": 0.0031}
    difference = {"mean_difference": interval, "difference": {"Mass": interval}}
    document: dict[str, Any] = _made_up().validation(precision, noise=0.1)
    return Comparison.read(document | difference | changes)


def test_undefined_figures_stay_undefined(tmp_path: Path) -> None:
    document = _made_up().validation()
    undefined = {"value": None, "low": None, "high": None, "positives": 0, "images": 900}
    document["auroc"]["Hernia"] = undefined
    del document["roc"]["Hernia"]
    result = ValidationResult.read(document)
    rows = {row[0]: row for row in auroc_table([result]).rows}
    assert rows["Hernia"] == ("Hernia", "0", "–")
    write_report([result], tmp_path / "report.html", title="T")


def test_a_drop_is_this_minus_the_other_as_in_optimize() -> None:
    assert difference_table(validation("int8")) is None
    against = (comparison("fp32"),)
    table = difference_table(validation("int8", against=against))
    assert table is not None
    # The document has FP32 minus INT8, +0.0012: from INT8 to FP32 nothing drops.
    assert table.title == "AUROC drop: AUROC of INT8 minus AUROC of FP32, same images"
    assert table.columns == ("Finding", "Drop")
    assert table.rows[-1] == ("Mean", "-0.0012 [-0.0031, +0.0004]")
    assert "split" in table.note
    table = difference_table(validation("int8", against=(*against, comparison("bf16"))))
    assert table is not None
    assert table.title == "AUROC drop: AUROC of INT8 minus AUROC of each, same images"
    assert table.columns == ("Finding", "FP32", "BF16")


CARD: dict[str, Any] = {"device": "HETERO:FPGA,CPU", "compute": "fp11+f32", "simulated": True}
REFERENCE: dict[str, Any] = {"auroc_drop_is": "against minus model"}


def test_a_drop_on_a_card_is_fp32_minus_the_card() -> None:
    # The document has FP32 on the CPU minus the card, +0.0012: that much is lost on it.
    result = validation(**CARD, against=(comparison("fp32", **REFERENCE),))
    table = difference_table(result)
    assert table is not None
    assert table.title == "AUROC drop: AUROC of FP32 minus AUROC of FP32 as FP11, same images"
    assert table.rows[-1] == ("Mean", "+0.0012 [-0.0004, +0.0031]")
    costs = cost_table(result)
    assert costs is not None
    assert costs.note.startswith("AUROC drop: FP32 minus the artifact. ")
    assert [(row[0], row[2]) for row in costs.rows] == [
        ("FP32 as FP11", "+0.0012 [-0.0004, +0.0031]"), ("FP32", ""),
    ]  # fmt: skip


def test_of_several_references_of_a_card_each_has_its_drop_and_its_flips() -> None:
    share = {"images": 0.1, "findings": 0.01, "to_positive": 1, "to_negative": 1}
    flips = {
        "images": 900, "findings": 14, "reference": "x", "same_points": share, "own_points": None,
        "points_from": None, "by_finding": {}, "largest_change": 0.1,
    }  # fmt: skip
    against = [
        comparison("fp32", **REFERENCE, flips=flips),
        comparison("int8", **REFERENCE, flips=flips),
        comparison("fp11", **CARD, flips=flips),
    ]
    result = validation(**CARD, against=against)
    names = ("FP32 as FP11", "FP32", "INT8", "FP11")
    table = difference_table(result)
    assert table is not None
    assert table.title == (
        "AUROC drop: AUROC of FP32, INT8 minus AUROC of FP32 as FP11; AUROC of FP32 as FP11 minus "
        "AUROC of FP11, same images"
    )
    assert table.columns == ("Finding", *names[1:])
    assert table.rows[-1][1:] == (
        "+0.0012 [-0.0004, +0.0031]", "+0.0012 [-0.0004, +0.0031]", "-0.0012 [-0.0031, +0.0004]",
    )  # fmt: skip
    costs = cost_table(result)
    assert costs is not None
    assert costs.note.startswith(
        "AUROC drop: FP32 as FP11 minus the artifact; in the rows of FP32, INT8 the artifact minus "
        "FP32 as FP11. "
    )
    assert [row[2] for row in costs.rows] == ["", *table.rows[-1][1:]]
    called = flips_table(result)
    assert called is not None
    assert called.title.startswith("What is called otherwise than by FP32, INT8, FP32 as FP11: ")
    assert [row[:2] for row in called.rows] == [
        (names[0], "FP32"), (names[0], "INT8"), ("FP11", names[0]),
    ]  # fmt: skip


def test_one_table_says_what_every_precision_costs_and_brings(tmp_path: Path) -> None:
    assert cost_table(validation()) is None
    speed: dict[str, Any] = {"latency_ms": {"p50": 12.34}, "images_per_s": 1234.5}
    mean = {"value": -0.0012, "low": -0.0034, "high": 0.0011}
    others = [
        comparison(precision, **speed, size_bytes=23_800_000, mean_difference=mean)
        for precision in ("bf16", "int8")
    ]
    result = validation(**speed, size_bytes=94_000_000, against=others)
    table = cost_table(result)
    assert table is not None
    assert table.columns == (
        "Artifact", "Mean AUROC", "AUROC drop", "ms", "Images/s", "MB", "Floats in",
    )  # fmt: skip
    assert table.note.startswith("AUROC drop: FP32 minus the artifact.")
    assert table.rows[2][2:] == ("+0.0012 [-0.0011, +0.0034]", "12.34", "1,234", "23.8", "f32")
    screen = Console(width=100, file=io.StringIO())
    screen.print(rich_table(table))
    assert isinstance(screen.file, io.StringIO)
    lines = screen.file.getvalue().splitlines()
    # One line for each row: nothing had to be broken.
    assert len([line for line in lines if "[" in line]) >= 3
    assert sum(line.startswith(("FP32", "BF16", "INT8")) for line in lines) == 3
    page = write_report([result], tmp_path / "report.html", title="T").read_text("utf-8")
    assert "What each artifact costs and brings" in page


def test_a_validation_is_followed_by_those_it_was_compared_with() -> None:
    first = validation(against=(comparison("int8"),))
    assert validated_artifacts([first, validation("bf16")]) == [
        first, comparison("int8"), validation("bf16"),
    ]  # fmt: skip


def test_what_flips_is_a_share_of_images_and_of_findings(tmp_path: Path) -> None:
    assert flips_table(validation(against=(comparison("int8"),))) is None
    share = {"images": 0.145, "findings": 0.0123, "to_positive": 9, "to_negative": 4}
    flips = {
        "images": 900, "findings": 14, "reference": "resnet18-fp32 on CPU", "same_points": share,
        "own_points": None, "points_from": None, "by_finding": {"Mass": 0.01},
        "largest_change": 0.0871,
    }  # fmt: skip
    own = {
        **flips, "own_points": {**share, "images": 0.1}, "points_from": ["card", "card"],
        "matched_points": {**share, "images": 0.061},
    }  # fmt: skip
    result = validation(against=[comparison("bf16", flips=flips), comparison("int8", flips=own)])
    table = flips_table(result)
    assert table is not None
    # By the name that the other tables have for it.
    assert table.title.startswith("What is called otherwise than by FP32: ")
    assert table.rows == (
        ("BF16", "14.5%", "1.2%", "", "", "0.087"),
        ("INT8", "14.5%", "1.2%", "6.1%", "10.0%", "0.087"),
    )
    page = write_report([result], tmp_path / "report.html", title="T").read_text("utf-8")
    assert "What is called otherwise" in page
