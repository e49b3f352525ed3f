"""The two scenarios: what is counted, over which window, on which images."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from thorax.artifact import Artifact
from thorax.data.store import Store
from thorax.devices import timing
from thorax.devices.engine import Engine, Hint, Outputs, compile
from thorax.errors import DataError, ImageError, UsageError
from thorax.measure import run
from thorax.measure.run import (
    SCENARIOS,
    Measurement,
    Quantiles,
    Scenario,
    Speed,
    document,
    measure,
    side_by_side,
)
from thorax.preprocess import InputSpec, prepare
from thorax.radiograph import read

HINT: dict[Scenario, Hint] = {"offline": "throughput", "single-stream": "latency"}


@pytest.fixture(autouse=True)
def _short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "WARM_UP_S", 0.05)


@pytest.fixture(params=SCENARIOS)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    chosen: Scenario = request.param
    return chosen


def test_artifacts_side_by_side_are_compiled_for_each_way_to_be_asked(
    tiny_fp32: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = [compile(tiny_fp32, hint="throughput") for _ in range(2)]
    asked: list[list[Engine]] = []

    def in_turns(these: list[Engine], rate: timing.Rate, **_: float) -> npt.NDArray[np.float64]:
        asked.append(these)
        alone = rate is timing.answers_per_s
        return np.array([[100.0, 50.0], [100.0, 25.0], [1.0, 50.0]]) * (1 if alone else 2)

    monkeypatch.setattr(timing, "in_turns", in_turns)
    assert side_by_side(engines) == [Speed(1 / 100, 200.0), Speed(1 / 50, 100.0)]
    quick, busy = asked
    assert busy == engines
    assert [engine.artifact for engine in quick] == [engine.artifact for engine in engines]
    assert not set(map(id, quick)) & set(map(id, engines))


def test_the_window_is_wall_clock_and_holds_all_that_was_asked(
    scenario: Scenario, tiny_fp32: Artifact
) -> None:
    engine = compile(tiny_fp32, hint=HINT[scenario])
    before = set(threading.enumerate())
    begin = time.perf_counter()
    made = measure(engine, scenario, duration_s=0.3)
    outside = time.perf_counter() - begin
    assert 0.3 <= made.window_s <= outside
    assert begin < made.begin_s <= time.perf_counter() - made.window_s
    assert made.images >= 1
    assert made.images_per_s == made.images / made.window_s
    assert 0 < made.latency_s.p50 <= made.latency_s.p90 <= made.latency_s.p99 <= outside
    assert (made.scenario, made.simulated) == (scenario, False)
    assert (made.energy_j, made.energy_source) == (None, "none")
    assert (made.valid, made.invalid_because) == (True, ())
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("count", [1, 7])
def test_offline_keeps_the_latency_of_every_inference(
    tiny_fp32: Artifact, tiny_store: Store, count: int
) -> None:
    engine = compile(tiny_fp32, hint="throughput", streams=2)
    batches = [tiny_store.images[number : number + 1, None] for number in range(count)]
    before_s = time.perf_counter()
    begin_s, window_s, latencies = run._offline(engine, batches, 0.1, None)
    assert before_s <= begin_s <= time.perf_counter() - window_s
    assert 0 < latencies.min() <= latencies.max() <= window_s
    # Never more under way at once than there are requests.
    assert latencies.sum() <= window_s * engine.streams


def test_single_stream_has_one_image_under_way(
    tiny_fp32: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = compile(tiny_fp32, streams=1)
    spent: list[float] = []
    real = Engine.infer

    def timed(self: Engine, images: npt.NDArray[np.uint8], *, profile: bool = False) -> Outputs:
        begin = time.perf_counter()
        outputs = real(self, images, profile=profile)
        spent.append(time.perf_counter() - begin)
        return outputs

    monkeypatch.setattr(Engine, "infer", timed)
    made = measure(engine, "single-stream", duration_s=0.2)
    counted = spent[-made.images :]
    assert sum(counted) <= made.window_s
    assert min(counted) <= made.latency_s.p50


def test_a_batch_counts_each_of_its_images(scenario: Scenario, tiny_fp32: Artifact) -> None:
    made = measure(compile(tiny_fp32, hint=HINT[scenario], batch=3), scenario, duration_s=0.1)
    assert made.images % 3 == 0


@pytest.mark.parametrize(("count", "batch"), [(1, 1), (5, 1), (1, 2), (3, 2), (4, 2), (2, 5)])
def test_every_image_has_its_turn(
    tiny_fp32: Artifact, monkeypatch: pytest.MonkeyPatch, count: int, batch: int
) -> None:
    side = tiny_fp32.card.input.side
    images = [np.full((1, side, side), 10 * number, np.uint8) for number in range(count)]
    engine = compile(tiny_fp32, batch=batch)
    fed: list[list[int]] = []

    def note(self: Engine, given: npt.NDArray[np.uint8], *, profile: bool = False) -> Outputs:
        fed.append([int(image[0, 0, 0]) // 10 for image in given])
        return Outputs(np.zeros((batch, 1), np.float32), None, None)

    monkeypatch.setattr(Engine, "infer", note)
    measure(engine, "single-stream", duration_s=0.05, images=images)
    assert {number for numbers in fed for number in numbers} == set(range(count))
    flat = [number for numbers in fed[: -(-count // batch)] for number in numbers]
    assert flat == [number % count for number in range(len(flat))]


def test_offline_runs_more_images_than_there_are_requests(
    tiny_fp32: Artifact, tiny_store: Store
) -> None:
    engine = compile(tiny_fp32, hint="throughput", streams=2)
    images = list(tiny_store.images[:5, None])
    assert measure(engine, "offline", duration_s=0.1, images=images).images >= 1


@pytest.mark.parametrize("duration", [0, -1.0, float("nan"), float("inf")])
def test_a_window_of_no_length_or_without_end_is_refused(
    scenario: Scenario, tiny_fp32: Artifact, duration: float
) -> None:
    with pytest.raises(UsageError) as refused:
        measure(compile(tiny_fp32), scenario, duration_s=duration)
    assert refused.value.code == "duration"


def test_images_are_prepared_as_for_classifying(phantoms: Path) -> None:
    paths = sorted(phantoms.rglob("*.png"))[:2]
    spec = InputSpec(48)
    got = run.read_images(paths, spec)
    assert all(np.array_equal(a, prepare(read(p), spec)) for a, p in zip(got, paths, strict=True))


def test_a_benchmark_leaves_no_image_out(tmp_path: Path) -> None:
    with pytest.raises(DataError) as nothing:
        run.read_images([], InputSpec(48))
    assert nothing.value.code == "images-empty"
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ImageError):
        run.read_images([tmp_path / "bad.png"], InputSpec(48))


def test_progress_is_told_in_images_that_came_new(tiny_fp32: Artifact, scenario: Scenario) -> None:
    told: list[int] = []
    found = measure(compile(tiny_fp32), scenario, duration_s=0.8, on_progress=told.append)
    assert told
    assert min(told) > 0
    assert sum(told) <= found.images


def test_the_document_has_the_keys_of_the_contract(tiny_int8: Artifact) -> None:
    engine = compile(tiny_int8, hint="throughput")
    latency = Quantiles(0.001, 0.002, 0.003)
    one = Measurement("offline", 200, 0.0, 4.0, latency, None, "none", False)
    made = json.loads(json.dumps(document(engine, one), allow_nan=False))
    # docs/architecture.md, the command line.
    assert {
        "images_per_s", "latency_ms", "power_w", "energy_j", "images_per_s_per_w",
        "energy_source", "precision", "simulated", "streams",
    } <= set(made)  # fmt: skip
    assert made["images_per_s"] == 50
    assert (made["valid"], made["invalid_because"]) == (True, [])
    assert made["latency_ms"] == {"p50": 1, "p90": 2, "p99": 3}
    assert made["power_w"] is made["energy_j"] is made["images_per_s_per_w"] is None
    assert (made["precision"], made["compute"]) == ("int8", "f32")
    assert made["digest"] == tiny_int8.card.digest
    assert made["devices"] == ["CPU"]
    assert made["environment"]["processors"] >= 1
