"""The table that a buyer needs: nothing modelled passes for measured, nothing is filled in."""

import base64
import csv
import io
import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.report import results as made_up

from thorax.report.buyers import (
    ABSENT,
    Offer,
    buyers_csv,
    buyers_table,
    csv_link,
    offers,
    scopes,
)
from thorax.report.buyers_plot import number_places, power_figure, power_plot
from thorax.report.page import write_report
from thorax.results.accuracy import ValidationResult
from thorax.results.benchmark import BenchmarkResult
from thorax.results.plan import ServerPlan


def _column(
    documents: list[BenchmarkResult], heading: str, accuracy: Sequence[dict[str, Any]] = ()
) -> list[str]:
    table = buyers_table(offers(documents, list(map(ValidationResult.read, accuracy))))
    assert table is not None
    place = table.columns.index(heading)
    return [row[place] for row in table.rows]


def test_the_speed_of_an_emulation_is_offered_as_no_speed() -> None:
    emulated = made_up.benchmark("fp11", 612.0, simulated=True)
    (row,) = offers([emulated], ())
    assert row.images_per_s == 612.0
    assert row.modelled
    assert row.origin == "modelled"
    assert offers([emulated.model_copy(update={"modelled": None})], ()) == []
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
    document = made_up.powered(made_up.benchmark("int8", 200.0), 100.0, 60.0, modelled=True)
    (row,) = offers([document], ())
    assert not row.modelled
    assert row.origin == "measured, W modelled"
    assert "1 200 images/s at 100 W modelled" in power_plot([row])


def test_measured_speed_over_watts_of_another_time_is_told_apart() -> None:
    documents = [
        made_up.powered(made_up.benchmark("int8", 200.0), 100.0, 60.0, replayed=replayed)
        for replayed in (True, False)
    ]
    rows = offers(documents, ())
    assert [row.origin for row in rows] == ["measured, W replayed", "measured"]
    drawn = power_plot(rows)
    assert "1 200 images/s at 100 W replayed, row 2 200 images/s at 100 W;" in drawn
    assert "measured, W replayed" in drawn


def test_a_run_that_answered_nothing_is_no_point() -> None:
    document = made_up.powered(made_up.benchmark("int8", 200.0), 100.0, 60.0)
    nothing = document.model_copy(update={"images_per_s": 0.0})
    assert power_plot(offers([nothing], ())) == ""


def test_whole_and_marginal_efficiency_both_stand_there_by_name() -> None:
    documents = [made_up.powered(made_up.benchmark("int8", 200.0), 100.0, 60.0)]
    assert _column(documents, "W") == ["100.0"]
    assert _column(documents, "W marginal") == ["40.0"]
    assert _column(documents, "Img/s/W whole") == ["2.00"]
    assert _column(documents, "Img/s/W marginal") == ["5.00"]
    assert _column(documents, "W from") == ["rapl"]


def test_auroc_is_that_of_the_same_artifact_in_the_same_arithmetic() -> None:
    speed = [
        made_up.benchmark("fp32", digest="a", compute="f32"),
        made_up.benchmark("fp16", digest="b", compute="f32"),
        made_up.benchmark("fp32", 300.0, simulated=True, digest="a", compute="fp11+f32"),
    ]
    judged = {**made_up.validation(), "digest": "a", "compute": "f32"}
    card = {**made_up.validation(noise=0.3), "digest": "a", "compute": "f32+fp11"}
    both = _column(speed, "Mean AUROC", accuracy=[judged, card])
    assert both[0].startswith(f"{judged['mean_auroc']:.3f} [")
    assert both[1] == ABSENT
    assert both[2].startswith(f"{card['mean_auroc']:.3f} [")
    against = {**judged, "digest": "b", "mean_difference": {"value": 0.0}, "difference": {}}
    # What was compared by --against was judged on the same images.
    other = {**judged, "digest": "c", "against": [against]}
    assert _column(speed, "Mean AUROC", accuracy=[other])[1].startswith("0.")
    # Judged on two sets of images, each is named.
    again = {**judged, "store": "other.store", "mean_auroc": 0.5, "mean_auroc_interval": None}
    told = _column(speed, "Mean AUROC", accuracy=[judged, again])[0]
    assert re.fullmatch(r"0\.\d+ \[.*\] phantoms\.store test; 0\.500 other\.store test", told)


def test_an_invalid_run_is_marked_with_its_reason() -> None:
    documents = [
        made_up.benchmark("fp32", valid=True, invalid_because=[]),
        made_up.benchmark("int8", valid=False, invalid_because=["too short"]),
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


def _r740() -> ServerPlan:
    from thorax.plan.server import find_preset
    from thorax.plan.server_plan import ServerQuestion, plan_server

    question = ServerQuestion(range(5), images=300)
    return plan_server(find_preset("r740"), question)


def test_the_marginal_figure_of_a_plan_can_be_checked_in_its_row() -> None:
    document = _r740()
    rows = offers([], (), [document])
    # Beside the host that computes too; and of cards beside an idle host, all that they answer.
    alone = {row.device.partition(", ")[2]: row for row in rows if row.device.startswith("no card")}
    for row in rows:
        if row.device.startswith("no card"):
            assert (row.marginal_w, row.marginal_efficiency) == (None, None)
            continue
        computes = row.device.endswith("additive")
        added = row.images_per_s - (alone["additive"].images_per_s if computes else 0)
        assert row.marginal_w is not None
        assert added / row.marginal_w == pytest.approx(row.marginal_efficiency)
        if computes:
            assert row.power_w == pytest.approx(300 + row.marginal_w)
    table = buyers_table(rows)
    assert table is not None
    for words in ("the CPU computes too", "the CPU only feeds the cards", "Marginal of a plan: "):
        assert words in table.note
    assert "Marginal of a run" not in table.note
    # Its CPU's rate follows from the published ratio: without cards too it is another.
    assert "by each reading, without cards too" in table.note
    assert len(alone) == 2


def test_without_cards_a_plan_has_one_row_where_all_readings_say_the_same() -> None:
    plan = _r740()
    bare = next(row for row in plan.rows if not row.cards)
    alike = {"images_per_s": bare.images_per_s, "power_w": bare.power_w}
    plan_rows = tuple(row if row.cards else row.model_copy(update=alike) for row in plan.rows)
    rows = offers([], (), [plan.model_copy(update={"rows": plan_rows})])
    assert [row.device for row in rows][:2] == ["no card", "1 card, additive"]
    assert len(rows) == len(plan.rows) - 1
    table = buyers_table(rows)
    assert table is not None
    assert "without cards too" not in table.note


def _metered(source: str, power_w: float, rate: float = 200.0) -> BenchmarkResult:
    result: BenchmarkResult = made_up.powered(made_up.benchmark("int8", 200.0), power_w, 60.0)
    return result.model_copy(update={"energy_source": source, "images_per_s": rate})


def test_watts_of_unlike_meters_are_told_apart_and_not_compared() -> None:
    documents = [
        _metered("rapl", 90.0),
        _metered("redfish: PowerControl of bmc", 210.0),
        _metered("replay: old.jsonl (nvml)", 70.0),
    ]
    rows = offers(documents, (), [made_up.server_plan((0, 1))])
    assert scopes(rows) == {
        "the processors alone": [1],
        "the whole machine": [2],
        "the GPUs alone": [3],
        "the whole server, planned": [4, 5],
    }
    table = buyers_table(rows)
    assert table is not None
    assert "W are not of the same: the processors alone in row 1; the whole machine" in table.note
    assert "planned in rows 4-5. Do not compare W" in table.note
    assert "meters that do not see the same" in power_plot(rows)
    # A BMC and a plan both have the whole server.
    alike = buyers_table(offers(documents[1:2], (), [made_up.server_plan((0, 1))]))
    assert alike is not None
    assert "W are" not in alike.note
    alone = buyers_table(offers(documents[:1], ()))
    assert alone is not None
    assert "W are of the processors alone in row 1, not of the machine." in alone.note


def _apart(rows: Sequence[Offer]) -> list[tuple[float, float]]:
    """Return of each number how far it is from its own point and from the nearest other, pixels."""
    figure = power_figure(rows)
    figure.draw_without_rendering()
    found = []
    for axes in figure.axes:
        numbers = [text for text in axes.texts if text.get_text().isdecimal()]
        points = axes.transData.transform([text.xy for text in numbers])  # type: ignore[attr-defined]
        for place, text in enumerate(numbers):
            box = text.get_window_extent()
            middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
            distances = [math.dist(middle, point) for point in points.tolist()]
            own = distances.pop(place)
            found.append((own, min(distances)))
    return found


def test_each_number_of_the_plot_is_nearest_to_its_own_point() -> None:
    runs = [_metered("redfish: PowerControl of bmc", 310.0), _metered("redfish: a", 330.0)]
    for plans in ([], [_r740()]):
        found = _apart(offers(runs, (), plans))
        assert len(found) == 4 + 18 * len(plans)
        assert all(own < other for own, other in found)


def test_numbers_of_points_on_one_another_do_not_cover_each_other() -> None:
    points = [(50.0, 50.0), (50.5, 50.0), (51.0, 50.0)]
    offsets = number_places(points, ["1", "2", "3"], (0, 0, 100, 100))
    at = [(x + dx, y + dy) for (x, y), (dx, dy) in zip(points, offsets, strict=True)]
    assert min(math.dist(a, b) for a, b in itertools.combinations(at, 2)) > 5
    assert all(0 < x < 100 and 0 < y < 100 for x, y in at)


def test_servers_and_readings_of_plans_have_colours_of_their_own() -> None:
    drawn = power_plot(offers([], (), [_r740()]))
    assert drawn.count("PowerEdge R740") == 2
    assert "additive" in drawn
    assert "offload" in drawn


def test_the_legend_lies_within_the_plot() -> None:
    runs = [_metered("rapl", 90.0), made_up.benchmark("fp11", 612.0, simulated=True)]
    figure = power_figure(offers(runs, (), [_r740(), made_up.server_plan()]))
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert box.y0 >= 0


def test_a_run_without_images_has_watts_and_no_point() -> None:
    stalled = _metered("rapl", 90.0, 0.0)
    assert power_plot(offers([stalled], ())) == ""
    assert "row 1 200" in power_plot(offers([_metered("rapl", 90.0), stalled], ()))


def test_what_all_rows_share_is_said_once() -> None:
    documents = [
        made_up.benchmark(
            name,
            environment={
                "devices": {"CPU": "A Processor"},
                "processors": 2,
                "openvino": "2026.4.1",
                "thorax": "0.1.0",
            },
        )
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
    result = made_up.benchmark(model='=HYPERLINK("evil")')
    (row,) = csv.DictReader(io.StringIO(buyers_csv(offers([result], ()))))
    assert row["model"] == '\'=HYPERLINK("evil")'


def test_the_page_offers_its_table_for_download_without_fetching(tmp_path: Path) -> None:
    documents = [made_up.benchmark(), made_up.server_plan((0, 1))]
    text = write_report(documents, tmp_path / "report.html", title="T").read_text("utf-8")
    (link,) = re.findall(r'<a class="download" download="runs.csv" href="([^"]*)"', text)
    whole = base64.b64decode(link.partition("base64,")[2]).decode()
    assert link == csv_link(whole)
    assert len(list(csv.reader(io.StringIO(whole)))) == 1 + 3
