"""The tables of docs/fpga.md are those of the model, and say what was known of each figure."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from benchmarks import fpga_predictions
from benchmarks import fpga_published as published
from benchmarks.record.evidence import Evidence

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "fpga.md").read_text("utf-8")


def test_every_row_of_the_page_is_what_the_model_says_today() -> None:
    rows = published.lines(published.speeds())
    rows += published.area_lines(published.areas())
    rows += published.searched_lines(published.searched())
    rows += fpga_predictions.lines(fpga_predictions.comparisons())
    assert [row for row in rows if row not in PAGE] == []


def test_two_speeds_are_calibrated_and_hit() -> None:
    calibrated = [case for case in published.speeds() if case.calibrated]
    assert len(calibrated) == 2
    for case in calibrated:
        assert case.modelled == pytest.approx(case.published, rel=0.003)


def test_no_row_is_called_a_prediction_and_each_says_what_came_of_its_figure() -> None:
    cases = [*published.speeds(), *published.areas()]
    assert {case.how for case in cases} == {"calibrated", "known beforehand"}
    assert all(case.came_of_it for case in cases)
    table = PAGE[PAGE.index("### Against published figures") : PAGE.index("### Predicted, then")]
    assert not [line for line in table.splitlines() if line.startswith("|") and "predict" in line]


def test_each_published_figure_counts_once() -> None:
    figures = [(case.published, case.unit, case.source) for case in published.speeds()]
    assert len(set(figures)) == len(figures)


def test_four_of_nine_known_figures_are_within_the_goal_and_the_others_say_why() -> None:
    known = [case for case in published.speeds() if case.how == "known beforehand"]
    missed = [case for case in known if abs(case.error) > published.GOAL]
    assert (len(known), len(known) - len(missed)) == (9, 4)
    assert "Four of the nine figures that were known beforehand lie within 15 %" in PAGE
    assert all(case.note for case in missed)


def test_the_result_that_is_kept_counts_as_the_model_does_today() -> None:
    kept = Evidence().newest("fpga_published").document
    counts = [kept[key] for key in ("calibrated", "known_beforehand", "within_goal", "predicted")]
    assert counts == [2, 9, 4, 0]
    cases = {(case.what, case.unit): case for case in (*published.speeds(), *published.areas())}
    assert len(kept["cases"]) == len(cases)
    for case in kept["cases"]:
        today = cases[case["what"], case["unit"]]
        assert case["modelled"] == pytest.approx(today.modelled, rel=1e-9)
        assert (case["how"], case["came_of_it"]) == (today.how, today.came_of_it)
    assert kept["asides"] == pytest.approx(asdict(published.asides()), rel=1e-9)


def test_the_model_still_says_what_was_written_down_before_figures_were_looked_up() -> None:
    # A model that has changed since has seen the figures: then these are no predictions of it.
    kept = json.loads(fpga_predictions.RESULT.read_text("utf-8"))
    said = [
        (one.network, one.architecture, one.images_per_s, one.estimator_images_per_s)
        for one in fpga_predictions.predictions()
    ]
    keys = ("network", "architecture", "images_per_s", "estimator_images_per_s")
    assert said == [tuple(one[key] for key in keys) for one in kept["predictions"]]
    for commit in (kept["model"], kept["frozen"]):
        assert f"*{commit}*" in " ".join(PAGE.split())


def test_the_one_prediction_is_told_with_its_miss() -> None:
    kept = json.loads(fpga_predictions.RESULT.read_text("utf-8"))
    (found,) = fpga_predictions.comparisons()
    (row,) = kept["comparisons"]
    assert row == asdict(found)
    # Nor is it one of those that were written down before it was looked up.
    clocks_hz = {
        one[key]
        for one in kept["predictions"]
        if (one["network"], one["architecture"]) == (found.network, found.architecture)
        for key in ("clock_hz", "estimator_hz")
    }
    assert found.clock_hz not in clocks_hz
    assert not found.written_down
    assert "none of the rows that were written down" in found.note
    assert found.error == pytest.approx(found.modelled / found.published - 1, abs=1e-4)
    assert (kept["within_goal"], abs(found.error) > kept["goal"]) == (0, True)


def test_memory_of_8_gb_a_second_would_hit_both_figures_of_agilex_7() -> None:
    found = published.asides()
    assert found.slower_bytes_per_s == 8e9
    assert found.slower_400_mhz == pytest.approx(123.19, rel=0.01)
    assert found.slower_500_mhz == pytest.approx(137.64, rel=0.01)
