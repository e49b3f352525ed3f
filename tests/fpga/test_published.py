"""The tables of docs/fpga.md are those of the model, and say what was known of each figure."""

import sys
from dataclasses import asdict, replace
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
    assert {case.how for case in cases} == {
        "calibrated", "known beforehand, had a part", "known beforehand, no part",
    }  # fmt: skip
    assert all(case.came_of_it for case in cases)
    table = PAGE[PAGE.index("### Against published figures") : PAGE.index("### Area")]
    assert not [line for line in table.splitlines() if line.startswith("|") and "predict" in line]


def test_each_published_figure_counts_once() -> None:
    figures = [(case.published, case.unit, case.source) for case in published.speeds()]
    assert len(set(figures)) == len(figures)


def test_a_figure_that_had_a_part_says_which_and_all_others_that_nothing_came_of_it() -> None:
    for case in [*published.speeds(), *published.areas()]:
        nothing = case.came_of_it == "nothing" or case.came_of_it.startswith("nothing;")
        assert nothing is not case.had_part, case
        assert case.had_part or not case.calibrated


def test_figures_that_had_a_part_are_counted_apart_and_misses_say_why() -> None:
    speeds = published.speeds()
    without, having = (published.counted(speeds, had_part=had_part) for had_part in (False, True))
    assert (without.rows, without.within_goal) == (4, 0)
    assert (having.rows, having.within_goal) == (5, 4)
    assert published.sentence(speeds) in " ".join(PAGE.split())
    assert all(case.note for case in speeds if abs(case.error) > published.GOAL)


def test_the_result_that_is_kept_counts_as_the_model_does_today() -> None:
    kept = Evidence().newest("fpga_published").document
    speeds = published.speeds()
    assert kept["calibrated"] == 2
    for key, had_part in (("had_part", True), ("nothing_came", False)):
        assert kept[key] == asdict(published.counted(speeds, had_part=had_part))
    cases = {(case.what, case.unit): case for case in (*published.speeds(), *published.areas())}
    assert len(kept["cases"]) == len(cases)
    for case in kept["cases"]:
        today = cases[case["what"], case["unit"]]
        assert case["modelled"] == pytest.approx(today.modelled, rel=1e-9)
        said = (today.how, today.had_part, today.came_of_it)
        assert (case["how"], case["had_part"], case["came_of_it"]) == said
    assert kept["asides"] == pytest.approx(asdict(published.asides()), rel=1e-9)


def test_the_model_still_says_what_was_written_down_before_figures_were_looked_up() -> None:
    # A model that has changed since has seen the figures: then these are no predictions of it.
    said = fpga_predictions.predictions()
    assert said == fpga_predictions.written_down()
    kept = Evidence().newest("fpga_predictions").document
    assert kept["predictions"] == [asdict(one) for one in said]
    assert kept["written_down"] == fpga_predictions.WRITTEN_DOWN.name
    for commit in (kept["model"], kept["frozen"]):
        assert f"*{commit}*" in " ".join(PAGE.split())


def test_a_model_that_says_otherwise_than_was_written_down_leaves_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = fpga_predictions.predictions()
    changed = [replace(first, images_per_s=2 * first.images_per_s), *others]
    monkeypatch.setattr(fpga_predictions, "predictions", lambda: changed)
    monkeypatch.setattr(sys, "argv", ["fpga_predictions", "--rehearsal", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"no longer says what fpga_predictions_model_2026-12-01"):
        fpga_predictions.main()
    assert not list(tmp_path.iterdir())


def test_what_was_compared_is_told_with_its_miss_and_called_no_prediction() -> None:
    kept = Evidence().newest("fpga_predictions").document
    (found,) = fpga_predictions.comparisons()
    (row,) = kept["compared"]
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
    assert kept["largest_error"] == abs(found.error)


def test_memory_of_8_gb_a_second_would_hit_both_figures_of_agilex_7() -> None:
    found = published.asides()
    assert found.slower_bytes_per_s == 8e9
    assert found.slower_400_mhz == pytest.approx(123.19, rel=0.01)
    assert found.slower_500_mhz == pytest.approx(137.64, rel=0.01)
