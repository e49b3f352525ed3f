"""The tables of docs/fpga.md are those of the model, and say what is fitted."""

import json
from pathlib import Path

import pytest
from benchmarks import fpga_published as published

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "fpga.md").read_text("utf-8")
RESULTS = ROOT / "benchmarks" / "results"


def test_every_row_of_the_page_is_what_the_model_says_today() -> None:
    rows = published.lines(published.speeds())
    rows += published.area_lines(published.areas())
    rows += published.searched_lines(published.searched())
    assert [row for row in rows if row not in PAGE] == []


def test_two_speeds_are_calibrated_and_hit() -> None:
    calibrated = [case for case in published.speeds() if case.calibrated]
    assert len(calibrated) == 2
    for case in calibrated:
        assert case.modelled == pytest.approx(case.published, rel=0.003)


def test_what_was_known_beforehand_is_no_prediction() -> None:
    known = [case for case in published.speeds() if case.how == "known beforehand"]
    assert [case.what for case in known] == ["GoogLeNet, FPGA execute time"]


def test_four_of_nine_predictions_are_within_the_goal_and_the_others_say_why() -> None:
    predicted = [case for case in published.speeds() if case.how == "predicted"]
    missed = [case for case in predicted if abs(case.error) > published.GOAL]
    assert (len(predicted), len(predicted) - len(missed)) == (9, 4)
    assert "Four of the nine predictions lie within 15 %" in PAGE
    assert all(case.note for case in missed)


def test_the_result_that_is_kept_counts_as_the_model_does_today() -> None:
    (file,) = RESULTS.glob("fpga_published_*.json")
    kept = json.loads(file.read_text("utf-8"))
    assert (kept["claim"], kept["predicted"], kept["within_goal"]) == ("fpga_published", 9, 4)
    today = {case.what: case.modelled for case in published.speeds()}
    for case in kept["cases"]:
        if case["what"] in today:
            assert case["modelled"] == pytest.approx(today[case["what"]], rel=1e-9)


def test_memory_of_8_gb_a_second_would_hit_both_figures_of_agilex_7() -> None:
    from tests.fpga.networks import resnet50_late

    from thorax.fpga.architecture import find_architecture
    from thorax.fpga.overlay import estimate
    from thorax.fpga.workload import describe

    base = find_architecture("agx7-performance-fp13")
    memory = base.memory.model_copy(update={"bank_bytes_per_s": 8e9, "efficiency": 1.0})
    layers = describe(resnet50_late())
    for clock_hz, images_per_s in ((400e6, 123.19), (500e6, 137.64)):
        slow = base.model_copy(update={"clock_hz": clock_hz, "memory": memory})
        assert estimate(layers, slow).images_per_s == pytest.approx(images_per_s, rel=0.01)
