"""The table that a buyer needs: nothing modelled passes for measured, nothing is filled in."""

import base64
import csv
import importlib.util
import io
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from thorax.measure.buyers_plot import power_plot
from thorax.measure.buyers_table import ABSENT, buyers_csv, buyers_table, csv_link, offers
from thorax.measure.report import write_report


def _beside(name: str) -> ModuleType:
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made_up = _beside("results")


def _column(
    documents: list[dict[str, Any]], heading: str, accuracy: Sequence[dict[str, Any]] = ()
) -> list[str]:
    table = buyers_table(offers(documents, accuracy))
    assert table is not None
    place = table.columns.index(heading)
    return [row[place] for row in table.rows]


def test_the_speed_of_an_emulation_is_offered_as_no_speed() -> None:
    emulated = made_up.benchmark("fp11", 612.0, simulated=True)
    (row,) = offers([emulated], ())
    assert row.images_per_s == 612.0
    assert row.modelled
    assert row.origin == "modelled"
    del emulated["modelled"]
    assert offers([emulated], ()) == []
    assert buyers_table([]) is None


def test_the_watts_of_a_card_are_those_of_its_board_and_never_of_the_whole_server() -> None:
    (row,) = offers([made_up.benchmark("fp11", 612.0, simulated=True)], ())
    assert (row.power_w, row.efficiency) == (None, None)
    assert row.marginal_w == 43.0
    assert row.marginal_efficiency == pytest.approx(612 / 43)


def test_modelled_rows_come_last_and_say_so_in_words_and_by_their_looks() -> None:
    documents = [
        made_up.benchmark("fp11", 612.0, simulated=True),
        made_up.benchmark("int8", 243.7),
        made_up.benchmark("fp32", 74.2),
    ]
    table = buyers_table(offers(documents, ()))
    assert table is not None
    assert table.simulated == (False, False, True)
    assert _column(documents, "How") == ["measured", "measured", "modelled"]
    assert _column(documents, "Images/s") == ["244", "74.2", "612"]
    assert "modelled, not measured" in table.note


def test_measured_speed_over_modelled_watts_is_told_apart() -> None:
    document = made_up.powered(made_up.benchmark("int8", 200.0), 100.0, 60.0)
    document["power"]["modelled"] = True
    (row,) = offers([document], ())
    assert not row.modelled
    assert row.origin == "measured, W modelled"
    assert "1 200 images/s at 100 W modelled" in power_plot([row])


def test_whole_and_marginal_efficiency_both_stand_there_by_name() -> None:
    documents = [made_up.powered(made_up.benchmark("int8", 200.0), 100.0, 60.0)]
    assert _column(documents, "W") == ["100.0"]
    assert _column(documents, "W marginal") == ["40.0"]
    assert _column(documents, "Img/s/W whole") == ["2.00"]
    assert _column(documents, "Img/s/W marginal") == ["5.00"]
    assert _column(documents, "W from") == ["rapl"]


def test_auroc_is_that_of_the_same_artifact_in_the_same_arithmetic() -> None:
    speed = [
        {**made_up.benchmark("fp32"), "digest": "a", "compute": "f32"},
        {**made_up.benchmark("fp16"), "digest": "b", "compute": "f32"},
        {**made_up.benchmark("fp32", 300.0, simulated=True), "digest": "a", "compute": "fp11+f32"},
    ]
    judged = {**made_up.validation(), "digest": "a", "compute": "f32"}
    card = {**made_up.validation(noise=0.3), "digest": "a", "compute": "f32+fp11"}
    both = _column(speed, "Mean AUROC", accuracy=[judged, card])
    assert both[0].startswith(f"{judged['mean_auroc']:.3f} [")
    assert both[1] == ABSENT
    assert both[2].startswith(f"{card['mean_auroc']:.3f} [")
    # What was compared by --against was judged on the same images.
    other = {**judged, "digest": "c", "against": [{**judged, "digest": "b"}]}
    assert _column(speed, "Mean AUROC", accuracy=[other])[1].startswith("0.")
    # Judged on two sets of images, each is named.
    again = {**judged, "store": "other.store", "mean_auroc": 0.5, "mean_auroc_interval": None}
    told = _column(speed, "Mean AUROC", accuracy=[judged, again])[0]
    assert re.fullmatch(r"0\.\d+ \[.*\] phantoms\.store test; 0\.500 other\.store test", told)


def test_an_invalid_run_is_marked_with_its_reason() -> None:
    documents = [
        {**made_up.benchmark("fp32"), "valid": True, "invalid_because": []},
        {**made_up.benchmark("int8"), "valid": False, "invalid_because": ["too short"]},
    ]
    told = sorted(_column(documents, "How"))
    assert told == ["measured, INVALID: too short", "measured, valid"]
    table = buyers_table(offers(documents, ()))
    assert table is not None
    assert "do not quote it" in table.note


def test_a_plan_is_a_modelled_row_of_a_whole_server() -> None:
    (none, four) = offers([], (), [made_up.server_plan((0, 4))])
    assert four.modelled
    assert four.power_modelled
    assert (none.device, four.device) == ("no card, additive", "4 cards, additive")
    assert four.hardware.startswith("Dell EMC PowerEdge R740")


def test_what_all_rows_share_is_said_once() -> None:
    documents = [
        {
            **made_up.benchmark(name),
            "devices": ["CPU"],
            "environment": {"devices": {"CPU": "A Processor"}, "processors": 2},
        }
        for name in ("fp32", "int8")
    ]
    table = buyers_table(offers(documents, ()))
    assert table is not None
    assert "Hardware" not in table.columns
    assert "Hardware in all rows: A Processor, 2 processors." in table.note


@pytest.mark.parametrize("count", [1, 30])
def test_one_run_and_thirty_make_a_table_and_a_plot(count: int) -> None:
    documents = [
        made_up.powered(made_up.benchmark("int8", 50.0 + 7 * place), 90.0 + place, 60.0)
        for place in range(count)
    ]
    rows = offers(documents, ())
    table = buyers_table(rows)
    assert table is not None
    assert [row[0] for row in table.rows] == [str(place) for place in range(1, count + 1)]
    rates = [row.images_per_s for row in rows]
    assert rates == sorted(rates, reverse=True)
    drawn = power_plot(rows)
    assert drawn.count("img/s/W") >= 2
    assert "Power, W" in drawn


def test_without_watts_there_is_no_plot_of_them() -> None:
    assert power_plot(offers([made_up.benchmark()], ())) == ""


def test_the_csv_holds_unrounded_figures_in_si_units_and_leaves_open_what_is_not_known() -> None:
    documents = [
        made_up.powered(made_up.benchmark("int8", 243.7123), 101.5, 60.0),
        made_up.benchmark("fp11", 612.25, simulated=True),
    ]
    read = list(csv.DictReader(io.StringIO(buyers_csv(offers(documents, ())))))
    assert [float(row["images_per_s"]) for row in read] == [243.7123, 612.25]
    assert float(read[0]["latency_p50_s"]) == pytest.approx(1 / 243.7123)
    assert [row["power_w"] for row in read] == ["101.5", ""]
    assert [row["origin"] for row in read] == ["measured", "modelled"]
    assert read[0]["mean_auroc"] == ""


def test_a_name_cannot_become_a_formula_in_a_spreadsheet() -> None:
    document = {**made_up.benchmark(), "model": '=HYPERLINK("evil")'}
    (row,) = csv.DictReader(io.StringIO(buyers_csv(offers([document], ()))))
    assert row["model"] == '\'=HYPERLINK("evil")'


def test_the_page_offers_its_table_for_download_without_fetching(tmp_path: Path) -> None:
    documents = [made_up.benchmark(), made_up.server_plan((0, 1))]
    text = write_report(documents, tmp_path / "report.html", title="T").read_text("utf-8")
    (link,) = re.findall(r'<a class="download" download="runs.csv" href="([^"]*)"', text)
    whole = base64.b64decode(link.partition("base64,")[2]).decode()
    assert link == csv_link(whole)
    assert len(list(csv.reader(io.StringIO(whole)))) == 1 + 3
