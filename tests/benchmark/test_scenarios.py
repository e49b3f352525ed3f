"""The scenarios: what is counted, over which window, and what makes a run valid."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from thorax.artifact import Artifact
from thorax.benchmark import scenarios
from thorax.benchmark.loadgen import Run, Trace
from thorax.benchmark.measurement import SCENARIOS, Measurement, Traffic
from thorax.benchmark.scenarios import (
    HINTS,
    SERVER_QUERIES,
    ScenarioOptions,
    benchmark,
    parse_scenario,
    run_scenario,
)
from thorax.data.store import Store
from thorax.devices.engine import Engine, compile
from thorax.errors import UsageError
from thorax.files.documents import document_digest
from thorax.results.benchmark import BaselineComparison, BenchmarkResult, Scenario


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios, "_BEHIND_S", 0.2)
    monkeypatch.setattr(scenarios, "WARM_UP_S", 0.05)
    monkeypatch.setattr(scenarios, "_PROBE_S", 0.05)
    monkeypatch.setattr(scenarios, "_PROBE_IMAGES", 5)
    monkeypatch.setattr(scenarios, "SERVER_QUERIES", 5)


def measure(
    engine: Engine,
    scenario: Scenario,
    *,
    images: Sequence[npt.NDArray[np.uint8]] = (),
    on_progress: Callable[[int], None] | None = None,
    on_longer: Callable[[str], None] | None = None,
    **options: Any,  # noqa: ANN401 - fields of the options
) -> Measurement:
    return run_scenario(
        engine,
        ScenarioOptions(scenario, **options),
        images=images,
        on_progress=on_progress,
        on_longer=on_longer,
    )


@pytest.fixture(params=SCENARIOS)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    chosen: Scenario = request.param
    return chosen


def rate_of(scenario: Scenario) -> float | None:
    return 50.0 if scenario == "server" else None


def test_a_result_holds_its_comparison_and_is_digested_with_it(tiny_fp32: Artifact) -> None:
    seen: list[BenchmarkResult] = []

    def compare(result: BenchmarkResult) -> BaselineComparison:
        seen.append(result)
        return BaselineComparison(
            baseline="then.json",
            how="earlier run",
            max_loss=0.05,
            metrics=(),
            confidence=0.95,
            verdict="held",
        )

    engine = compile(tiny_fp32, hint="throughput")
    result = benchmark(engine, ScenarioOptions("offline", 0.1), compare=compare)
    (bare,) = seen
    assert "baseline" not in bare.document()
    assert result.baseline is not None
    assert result.baseline.verdict == "held"
    assert result.sha256 == document_digest(result.document())
    assert (result.energy_source, result.modelled) == ("none", None)


def test_the_window_is_wall_clock_and_holds_all_that_was_asked(
    scenario: Scenario, tiny_fp32: Artifact
) -> None:
    engine = compile(tiny_fp32, hint=HINTS[scenario])
    before = set(threading.enumerate())
    begin = time.perf_counter()
    made = measure(engine, scenario, duration_s=0.3, rate=rate_of(scenario))
    outside = time.perf_counter() - begin
    assert 0 < made.window_s <= outside
    assert begin < made.begin_s <= time.perf_counter() - made.window_s
    assert made.images >= 1
    assert made.images_per_s == made.images / made.window_s
    latency_ms = made.latency_ms
    assert latency_ms.p50
    assert latency_ms.p90
    assert latency_ms.p99
    assert latency_ms.p50 <= latency_ms.p90 <= latency_ms.p99 <= outside * 1e3
    assert made.scenario == scenario
    assert made.valid == (made.invalid_because == ())
    assert made.loadgen is not None
    assert made.loadgen["result_validity"] == ("VALID" if made.valid else "INVALID")
    assert (made.scheduled_images_per_s is not None) == (scenario == "server")
    assert set(threading.enumerate()) == before


def test_multi_stream_answers_whole_queries(tiny_fp32: Artifact) -> None:
    engine = compile(tiny_fp32, hint="throughput")
    made = measure(engine, "multi-stream", duration_s=0.1, samples_per_query=5)
    assert made.images % 5 == 0
    assert made.traffic is not None
    assert made.traffic.samples_per_query == 5


def test_a_run_of_few_queries_is_not_valid_and_says_how_many_it_takes(tiny_fp32: Artifact) -> None:
    engine = compile(tiny_fp32, hint="throughput")
    made = measure(engine, "multi-stream", duration_s=0.05, samples_per_query=8)
    assert not made.valid
    # 662 = 661 + 1: the least n of which at most one may be late at 99 % of confidence.
    assert "662 are needed; measure longer" in made.invalid_because[0]


def test_a_rate_too_high_is_not_valid_and_said_so(tiny_fp32: Artifact) -> None:
    engine = compile(tiny_fp32, hint="throughput", streams=1)
    made = measure(engine, "server", duration_s=30, rate=30_000.0, latency_limit_s=0.001)
    assert not made.valid
    assert "stopped early" in made.invalid_because[0]
    assert any("the limit is 1 ms" in reason for reason in made.invalid_because)
    assert made.scheduled_images_per_s is not None
    assert made.images_per_s < made.scheduled_images_per_s


def test_a_run_that_ended_too_soon_is_made_once_more_at_the_rate_measured(
    tiny_fp32: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine of 100 images per second that seemed to answer 50 in its warm-up."""
    asked: list[Traffic] = []

    def drive(engine: object, images: object, traffic: Traffic, **_: object) -> Run:
        asked.append(traffic)
        ready = round(traffic.images_per_s * traffic.duration_s)
        met = ready / 100.0 >= traffic.duration_s
        figures = {
            "result_min_duration_met": met,
            "result_validity": "VALID" if met else "INVALID",
            "early_stopping_met": True,
        }
        start, end = np.zeros(1), np.array([ready / 100.0])
        return Run(Trace(start, start, end, np.array([ready])), figures)

    monkeypatch.setattr(scenarios, "drive", drive)
    monkeypatch.setattr(scenarios, "_warm_up", lambda *_: scenarios._Pace(50.0, 0.001))
    told: list[str] = []
    engine = compile(tiny_fp32, hint="throughput")
    made = measure(engine, "offline", duration_s=2.0, on_longer=told.append)
    ready = scenarios._READY["offline"]
    assert [one.images_per_s for one in asked] == pytest.approx([50.0 * ready, 100.0 * ready])
    assert made.valid
    assert made.images == 230
    assert len(told) == 1
    # Only once: an engine that is faster each time is not measured for ever.
    monkeypatch.setattr(scenarios, "_READY", dict.fromkeys(SCENARIOS, 0.5))
    asked.clear()
    made = measure(engine, "offline", duration_s=2.0)
    assert (len(asked), made.valid) == (2, False)
    assert "measure longer" in made.invalid_because[0]


def test_a_server_run_is_as_long_as_its_verdict_takes(
    tiny_fp32: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenarios, "SERVER_QUERIES", 60)
    # However slow the machine is just now, more may wait than are asked: none ends the run early.
    monkeypatch.setattr(scenarios, "_warm_up", lambda *_: scenarios._Pace(1e6, 0.001))
    told: list[str] = []
    engine = compile(tiny_fp32, hint="throughput")
    made = measure(engine, "server", duration_s=0.05, rate=200.0, on_longer=told.append)
    assert made.traffic is not None
    assert made.traffic.most_waiting > made.images >= 60
    assert made.loadgen is not None
    assert made.loadgen["result_query_count"] >= 60
    assert "60 queries" in told[0]
    assert "0.3 s at 200 images per second" in told[0]


def test_459_queries_are_the_fewest_that_a_verdict_takes() -> None:
    assert 0.99**SERVER_QUERIES <= 0.01 < 0.99 ** (SERVER_QUERIES - 1)


def test_without_a_rate_the_highest_that_keeps_the_limit_is_found(
    tiny_fp32: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device whose answers are late above 40 images per second, in LoadGen's place."""
    asked: list[Traffic] = []

    def drive(engine: object, images: object, traffic: Traffic, **_: object) -> Run:
        asked.append(traffic)
        kept = traffic.images_per_s <= 40
        one = np.array([0.0])
        figures = {
            "result_perf_constraints_met": kept,
            "result_validity": "VALID" if kept else "INVALID",
            "result_min_duration_met": True,
            "early_stopping_met": kept,
            **{f"result_{p}.00_percentile_latency_ns": 1e6 for p in (50, 90, 99)},
        }
        return Run(Trace(one, one, one + 1.0, np.array([1])), figures)

    monkeypatch.setattr(scenarios, "drive", drive)
    monkeypatch.setattr(scenarios, "_warm_up", lambda *_: scenarios._Pace(100.0, 0.001))
    engine = compile(tiny_fp32, hint="throughput")
    made = measure(engine, "server", duration_s=3.0, latency_limit_s=0.02)
    assert made.traffic is not None
    assert 40 / (1 + 2 * scenarios._NEAR) <= made.traffic.images_per_s <= 40
    assert [one.kept for one in made.probes] == [one.rate <= 40 for one in made.probes]
    assert asked[-1] == made.traffic
    assert (made.valid, asked[-1].duration_s, asked[-1].latency_limit_s) == (True, 3.0, 0.02)


def test_a_limit_that_no_rate_keeps_is_refused(
    tiny_fp32: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = compile(tiny_fp32, hint="throughput")
    with pytest.raises(UsageError) as least:
        measure(engine, "server", duration_s=0.1, latency_limit_s=1e-6)
    assert least.value.code == "latency-limit"
    assert "at the least" in least.value.message
    monkeypatch.setattr(scenarios, "_require_reach", lambda *_: None)
    with pytest.raises(UsageError) as none:
        measure(engine, "server", duration_s=0.1, latency_limit_s=1e-6)
    assert none.value.code == "latency-limit"


def test_a_search_and_its_run_keep_the_limit(tiny_fp32: Artifact) -> None:
    engine = compile(tiny_fp32, hint="throughput", streams=1)
    made = measure(engine, "server", duration_s=0.2, latency_limit_s=30.0)
    assert made.probes
    assert made.latency_ms.p99
    assert made.latency_ms.p99 <= 30e3
    assert made.traffic is not None
    assert made.traffic.images_per_s >= max(p.rate for p in made.probes if p.kept) * 0.8


def test_real_images_are_what_is_fed(
    tiny_fp32: Artifact, tiny_store: Store, scenario: Scenario
) -> None:
    engine = compile(tiny_fp32, hint=HINTS[scenario])
    images = [tiny_store.images[place][None] for place in range(5)]
    made = measure(engine, scenario, duration_s=0.1, images=images, rate=rate_of(scenario))
    assert made.images >= 1


@pytest.mark.parametrize(
    ("option", "value"),
    [(name, value) for name in ("duration_s", "rate", "latency_limit_s")
     for value in (0, -1.0, float("nan"), float("inf"))] + [("samples_per_query", 0)],
)  # fmt: skip
def test_what_has_no_size_or_no_end_is_refused(
    tiny_fp32: Artifact, option: str, value: float
) -> None:
    with pytest.raises(UsageError) as refused:
        measure(compile(tiny_fp32), "server", **{option: value})  # type: ignore[arg-type]
    assert refused.value.code == option.removesuffix("_s").replace("_", "-")


def test_a_scenario_has_its_own_options() -> None:
    assert parse_scenario("server", rate=3, latency_limit_ms=10) == "server"
    assert [parse_scenario(one) for one in SCENARIOS] == list(SCENARIOS)
    with pytest.raises(UsageError) as unknown:
        parse_scenario("online")
    assert "offline, server, single-stream, multi-stream" in unknown.value.message
    for options in ({"rate": 3.0}, {"latency_limit_ms": 3.0}):
        with pytest.raises(UsageError) as unused:
            parse_scenario("offline", **options)
        assert unused.value.code == "option-unused"


def test_logs_are_kept_where_they_are_wanted(tiny_fp32: Artifact, tmp_path: Path) -> None:
    kept = tmp_path / "a" / "logs"
    engine = compile(tiny_fp32)
    measure(engine, "single-stream", duration_s=0.05, logs=kept)
    assert {"mlperf_log_summary.txt", "mlperf_log_detail.txt"} <= {
        one.name for one in kept.iterdir()
    }
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as refused:
        measure(engine, "single-stream", duration_s=0.05, logs=tmp_path / "file")
    assert refused.value.code == "output-unwritable"


def test_progress_is_told_in_images_that_came_new(tiny_fp32: Artifact, scenario: Scenario) -> None:
    told: list[int] = []
    engine = compile(tiny_fp32, hint=HINTS[scenario])
    found = measure(
        engine, scenario, duration_s=0.8, rate=rate_of(scenario), on_progress=told.append
    )
    assert told
    assert min(told) > 0
    # A run that an engine was through with too soon is told of too, and is not the one counted.
    assert sum(told) >= found.images


def test_figures_of_loadgen_survive_json(tiny_fp32: Artifact) -> None:
    made = measure(compile(tiny_fp32), "single-stream", duration_s=0.05)
    assert made.loadgen == json.loads(json.dumps(made.loadgen, allow_nan=False))


@pytest.mark.parametrize(
    ("rate", "duration_s", "code"),
    [(1e308, 1.0, "rate"), (1e-300, 1.0, "rate"), (1e6, 1e4, "rate"), (None, 1e308, "duration")],
)
def test_runs_without_bounds_are_refused_before_anything_is_compiled(
    rate: float | None, duration_s: float, code: str, tiny_fp32: Artifact
) -> None:
    engine = compile(tiny_fp32)
    with pytest.raises(UsageError) as refused:
        measure(engine, "server", duration_s=duration_s, rate=rate)
    assert refused.value.code == code
