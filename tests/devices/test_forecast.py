"""What documents say of simulated cards stands apart from what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from thorax.artifact import Artifact
from thorax.benchmark.measurement import Measurement, benchmark_result, side_by_side
from thorax.data.store import Store
from thorax.devices.card_model import STEPS
from thorax.devices.describe import describe
from thorax.devices.engine import compile
from thorax.devices.forecast import count_rows, forecast_engine
from thorax.evaluate import validate
from thorax.fpga.boards import IDLE_W
from thorax.inference.classify import ClassifyOptions, classify, layer_costs
from thorax.report.counters import cost_lines
from thorax.report.findings import findings_tables
from thorax.results.benchmark import Latency
from thorax.results.findings import ClassifyResult

HETERO = "HETERO:FPGA,CPU"


def test_an_engine_without_cards_has_no_forecast_and_its_counters_as_they_are(
    tiny_fp32: Artifact, tiny_store: Store
) -> None:
    engine = compile(tiny_fp32, counters=True)
    engine.infer(tiny_store.images[:1][None], profile=True)
    assert forecast_engine(engine, measure=True) is None
    assert count_rows(engine, layers=True) == engine.counters()


def test_what_other_devices_took_enters_no_modelled_figure(
    tiny_fp32: Artifact, cards: Path
) -> None:
    engine = compile(tiny_fp32, HETERO)
    alone = forecast_engine(engine)
    whole = forecast_engine(engine, measure=True)
    assert alone is not None
    assert whole is not None
    assert [stage.origin for stage in whole.stages] == ["modelled"] * 5
    apart = {"plus_measured", "source"}
    assert whole.model_dump(exclude=apart) == alone.model_dump(exclude=apart)
    assert alone.plus_measured is None
    both = whole.plus_measured
    assert both is not None
    assert both.measured_s == pytest.approx(both.stage_s)
    assert both.latency_s == pytest.approx(alone.latency_s + both.measured_s, rel=1e-9)
    slowest_s = max(both.stage_s, *(stage.time_s for stage in whole.stages))
    assert both.images_per_s == pytest.approx(1 / slowest_s)
    assert "not counted" in alone.source
    assert "measured here and count apart" in whole.source
    assert "assumed: 2 bytes a value" in alone.source
    assert "assumed: p_vector" in alone.source
    assert engine.counters() == []


def test_a_benchmark_keeps_the_emulation_and_the_forecast_apart(
    tiny_fp32: Artifact, cards: Path
) -> None:
    engine = compile(tiny_fp32, HETERO)
    latency = Latency(p50=1.0, p90=2.0, p99=3.0)
    measured = Measurement("offline", 200, 0.0, 4.0, latency)
    made = json.loads(benchmark_result(engine, measured, forecast_engine(engine)).to_json())
    assert made["simulated"] is True
    assert made["images_per_s"] == 50
    assert made["power_w"] is made["images_per_s_per_w"] is None
    modelled = made["modelled"]
    assert IDLE_W < modelled["power_w"] < 60
    assert modelled["images_per_s_per_w"] == pytest.approx(
        modelled["images_per_s"] / modelled["power_w"]
    )
    assert modelled["bound_by"] in {stage["name"] for stage in modelled["stages"]}
    assert benchmark_result(engine, measured).modelled is None


def test_classify_counts_steps_of_cards_and_layers_of_the_rest(
    tiny_fp32: Artifact, phantoms: Path, cards: Path
) -> None:
    image = phantoms / "phantom_11_000000.png"
    result = classify(tiny_fp32.path, [image], ClassifyOptions(device=HETERO, counters=True))
    rows = result.document()["counters"]
    modelled = [row for row in rows if row["origin"] == "modelled"]
    assert [row["layer"] for row in modelled] == list(STEPS)
    assert {row["device"] for row in modelled} == {"FPGA.0"}
    measured = [row for row in rows if row["origin"] == "measured"]
    assert {row["device"] for row in measured} == {"CPU"}
    assert any(row["layer"] == "probability" for row in measured)
    assert not any("layer1" in row["layer"] for row in rows)
    assert result.document()["modelled"]["images_per_s"] > 0
    table = findings_tables(result)[-1]
    assert [row[-1] for row in table.rows[-2:]] == ["modelled", "measured"]
    detailed = classify(
        tiny_fp32.path, [image], ClassifyOptions(device=HETERO, counters=True, layers=True)
    )
    layers = [row for row in detailed.document()["counters"] if row["part_of"]]
    assert {"layer1.0.conv1"} < {row["layer"] for row in layers}
    assert {row["part_of"] for row in layers} == {STEPS[2]}
    totals = [line.split() for line in cost_lines(detailed.counters) if "Total time" in line]
    assert [line[2] for line in totals] == ["modelled:", "measured:"]
    for (*_, stated_us, _), origin in zip(totals, ("modelled", "measured"), strict=True):
        counted = [cost for cost in detailed.counters if cost.origin == origin and not cost.part_of]
        wanted = sum(round(cost.real_ms * 1e3) for cost in counted if cost.status == "EXECUTED")
        assert int(stated_us) == wanted


def test_a_validation_has_the_forecast_beside_the_emulation(
    tiny_fp32: Artifact, tiny_store: Store, cards: Path
) -> None:
    engine = compile(tiny_fp32, HETERO)
    run = validate.score_split(engine, tiny_store, split="test", samples=100)
    made = validate.validation_result(run).document()
    assert made["modelled"]["images_per_s"] > 0
    assert "images_per_s" not in made
    (speed,) = side_by_side([engine])
    timed = validate.validation_result(run, speeds=[speed]).document()
    assert made["modelled"]["plus_measured"] is None
    assert timed["modelled"]["plus_measured"]["measured_s"] > 0
    assert {stage["origin"] for stage in timed["modelled"]["stages"]} == {"modelled"}
    assert timed["modelled"]["latency_s"] == made["modelled"]["latency_s"]
    assert timed["images_per_s"] == speed.images_per_s != timed["modelled"]["images_per_s"]
    plain = validate.validate([compile(tiny_fp32)], tiny_store, split="test", samples=100)
    assert plain.modelled is None


def test_cards_side_by_side_are_added_and_the_cpu_beside_them_is_not_counted(
    tiny_fp32: Artifact, cards: Path
) -> None:
    one = forecast_engine(compile(tiny_fp32, HETERO))
    engine = compile(tiny_fp32, "MULTI:FPGA.0,FPGA.1,CPU", counters=True)
    two = forecast_engine(engine)
    assert one is not None
    assert two is not None
    assert two.images_per_s == pytest.approx(2 * one.images_per_s)
    assert one.power_w is not None
    assert (two.power_w, two.latency_s) == (2 * one.power_w, one.latency_s)
    assert "What CPU would add is not counted." in two.source
    side = tiny_fp32.card.input.side
    image = np.zeros((1, 1, side, side), np.uint8)
    requests = [engine.start(image, profile=True) for _ in range(8)]
    for request in requests:
        request.result()
    rows = count_rows(engine)
    members = {row.member for row in rows}
    assert members <= {"HETERO:FPGA.0,CPU", "HETERO:FPGA.1,CPU", "CPU"}
    assert len(members) > 1
    result = ClassifyResult(
        **dict(describe(engine)),
        images=0,
        failed=0,
        window_s=0.0,
        images_per_s=0.0,
        results=(),
        counters=layer_costs(rows),
    )
    tables = findings_tables(result)[1:]
    assert {table.title for table in tables} == {
        f"What every layer cost on {member}, mean per image" for member in members
    }
    for table in tables:
        assert not any("HETERO" in row[0] for row in table.rows)
        totals = [row[0] for row in table.rows if row[0].startswith("Total")]
        assert totals == (
            ["Total measured"] if "on CPU" in table.title else ["Total modelled", "Total measured"]
        )
    assert {row["member"] for row in result.document()["counters"]} == members
