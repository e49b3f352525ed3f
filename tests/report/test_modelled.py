"""Modelled figures stand in tables of their own and say where they come from."""

from typing import Any

import pytest
from tests.report.results import benchmark as made_up

from thorax.plan.server import PRESETS, find_preset
from thorax.plan.server_plan import ServerQuestion, plan_server
from thorax.report.modelled import modelled_table, modelled_tables
from thorax.report.plan_server import server_table
from thorax.report.text import kinds_text
from thorax.results.benchmark import BenchmarkResult
from thorax.results.shared import Modelled

FIGURES: dict[str, Any] = {
    "images_per_s": 1234.4,
    "latency_s": 0.00321,
    "power_w": 43.0,
    "images_per_s_per_w": 28.706,
    "bound_by": "FPGA.0 execute",
    "stages": [{"name": "FPGA.0 execute", "time_s": 1 / 1234.4, "origin": "modelled"}],
    "source": "Cycles of an overlay (assumed).",
}


def benchmark(**figures: object) -> BenchmarkResult:
    return made_up("fp32", 20.0, simulated=True).model_copy(
        update={"modelled": Modelled.model_validate({**FIGURES, **figures})}
    )


def test_a_modelled_table_says_so_and_never_shows_the_emulation() -> None:
    table = modelled_table([benchmark()])
    assert table is not None
    assert table.title.endswith("modelled, not measured")
    assert table.note == FIGURES["source"]
    assert table.simulated == (True,)
    assert table.rows[0][1:] == (
        "HETERO:FPGA,CPU", "1,234", "3.21", "43.0", "28.71", "FPGA.0 execute",
    )  # fmt: skip


def test_what_adds_a_measured_time_stands_in_a_table_that_says_so() -> None:
    both = {
        "measured_s": 0.001, "stage_s": 0.001, "images_per_s": 900.0, "latency_s": 0.00421,
        "bound_by": "other devices",
    }  # fmt: skip
    modelled, sums = modelled_tables([benchmark(), benchmark(plus_measured=both)])
    alone = modelled_table([benchmark(), benchmark()])
    assert alone is not None
    # Nothing of what was measured is left in the table of what is modelled.
    assert (modelled.title, modelled.columns) == (alone.title, alone.columns)
    assert [row[1:] for row in modelled.rows] == [row[1:] for row in alone.rows]
    assert modelled.modelled
    assert sums.title.endswith("sums of modelled and of measured time")
    assert not sums.modelled
    assert sums.simulated == (True,)
    (row,) = (dict(zip(sums.columns, cells, strict=True)) for cells in sums.rows)
    assert (row["Images/s"], row["Latency ms"]) == ("900", "4.21")
    assert row["Slowest stage"] == "other devices"
    assert modelled_tables([benchmark()]) == [modelled_table([benchmark()])]


def test_a_board_without_published_power_has_no_watts() -> None:
    table = modelled_table([benchmark(power_w=None, images_per_s_per_w=None)])
    assert table is not None
    assert "W" not in table.columns


def test_what_was_measured_has_no_modelled_table() -> None:
    measured = made_up("fp32", 100.0)
    assert modelled_table([measured, measured.model_copy(update={"modelled": None})]) is None


def test_constants_are_told_by_how_well_they_are_known() -> None:
    told = kinds_text(
        [
            "cpu.power_w: published: Dell EMC",
            "card.batch: assumed",
            "images, epochs: assumed: not published",
            "card.idle_w: calibrated: a line",
            "cpu.images_per_s: given: --set",
            "between.alpha_s: given, in place of the above",
            "file: mine.toml: edited since",
        ]
    )
    assert told == (
        "Constants published: cpu.power_w; calibrated: card.idle_w; assumed: card.batch, images, "
        "epochs; given: cpu.images_per_s, between.alpha_s."
    )
    assert kinds_text([]) == ""


@pytest.mark.parametrize("kind", ["measured", "replayed"])
def test_measured_constants_beside_others_make_nothing_measured(kind: str) -> None:
    source = f"cpu.images_per_s: {kind}: cpu.json"
    assert kinds_text([source]) == f"Constants {kind}: cpu.images_per_s."
    both = kinds_text([source, "card.steps: modelled: tiny"])
    assert both.endswith("card.steps. What measured ones give together with others is modelled.")


def test_what_is_given_is_no_longer_what_another_source_says() -> None:
    sources = [
        "speedup: published: Dell EMC",
        "card.steps.card: published: Dell EMC",
        "card.power_w: published: Dell EMC",
        "within.alpha_s, within.beta_bytes_per_s: assumed: shared memory",
        "node_power_w: published: about 450 W a node",
    ]
    given = [
        "speedup.ratio: given: --set", "card.steps: given: --set",
        "within.alpha_s: given, in place of the above",
        "node_power_w: given: by mine.toml, which says: published: about 450 W a node",
    ]  # fmt: skip
    assert kinds_text([*sources, *given]) == (
        "Constants published: card.power_w; assumed: within.beta_bytes_per_s; given: "
        "speedup.ratio, card.steps, within.alpha_s, node_power_w."
    )


@pytest.mark.parametrize("name", PRESETS)
def test_the_table_of_a_server_marks_every_constant_that_is_no_measurement(name: str) -> None:
    server = find_preset(name)
    plan = plan_server(server, ServerQuestion((0, 1), images=1000, runs=1))
    note = server_table(plan).note
    for source in server.sources:
        key, kind = source.split(": ")[:2]
        assert key in note
        assert f"{kind.split(':')[0]}: " in note
