"""What is said of a measurement, and artifacts beside each other."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from thorax.artifact import Artifact
from thorax.benchmark import measurement as measurements
from thorax.benchmark.measurement import (
    Measurement,
    Speed,
    Traffic,
    benchmark_result,
    side_by_side,
)
from thorax.devices import timing
from thorax.devices.engine import Engine, compile
from thorax.errors import DataError, ImageError
from thorax.images.preprocess import InputSpec, prepare
from thorax.images.radiograph import read
from thorax.power.sampler import Energy
from thorax.results.benchmark import Latency, Probe


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


def test_images_are_prepared_as_for_classifying(phantoms: Path) -> None:
    paths = sorted(phantoms.rglob("*.png"))[:2]
    spec = InputSpec(48)
    got = measurements.read_images(paths, spec)
    assert all(np.array_equal(a, prepare(read(p), spec)) for a, p in zip(got, paths, strict=True))


def test_a_benchmark_leaves_no_image_out(tmp_path: Path) -> None:
    with pytest.raises(DataError) as nothing:
        measurements.read_images([], InputSpec(48))
    assert nothing.value.code == "images-empty"
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ImageError):
        measurements.read_images([tmp_path / "bad.png"], InputSpec(48))


def test_the_document_has_the_keys_of_the_contract(tiny_int8: Artifact) -> None:
    engine = compile(tiny_int8, hint="throughput")
    latency = Latency(p50=1.0, p90=2.0, p99=3.0)
    measurement = Measurement("offline", 200, 0.0, 4.0, latency)
    made = json.loads(benchmark_result(engine, measurement).to_json())
    # docs/architecture.md, the command line.
    assert {
        "images_per_s", "latency_ms", "power_w", "energy_j", "images_per_s_per_w",
        "energy_source", "precision", "simulated", "streams",
    } <= set(made)  # fmt: skip
    assert made["images_per_s"] == 50
    assert (made["valid"], made["invalid_because"]) == (True, [])
    assert made["latency_ms"] == {"p50": 1, "p90": 2, "p99": 3}
    assert made["power_w"] is made["energy_j"] is made["images_per_s_per_w"] is None
    assert made["power"] is None
    energy = Energy("rapl", False, 4.0, 400.0, 60.0)
    powered = benchmark_result(engine, measurement, energy=energy)
    assert (powered.energy_j, powered.energy_source) == (400, "rapl")
    assert (powered.power_w, powered.images_per_s_per_w) == (100, 0.5)
    assert powered.power is not None
    assert powered.power.marginal_w == 40
    assert (made["precision"], made["compute"]) == ("int8", "f32")
    assert made["digest"] == tiny_int8.card.digest
    assert made["devices"] == ["CPU"]
    assert made["environment"]["processors"] >= 1


def test_the_document_says_what_was_asked_and_what_loadgen_says(tiny_fp32: Artifact) -> None:
    engine = compile(tiny_fp32, hint="throughput")
    latency = Latency(p50=1.0, p90=2.0, p99=3.0)
    asked = Traffic("server", 5.0, 40.0, latency_limit_s=0.05)
    one = Measurement(
        "server", 200, 0.0, 5.0, latency,
        valid=False, invalid_because=("too late",), traffic=asked, scheduled_images_per_s=39.5,
        probes=(Probe(rate=80.0, p99_ms=70.0, kept=False),), loadgen={"result_validity": "INVALID"},
    )  # fmt: skip
    made = json.loads(benchmark_result(engine, one).to_json())
    assert (made["images_per_s"], made["rate"], made["scheduled_images_per_s"]) == (40, 40, 39.5)
    assert (made["valid"], made["invalid_because"]) == (False, ["too late"])
    assert (made["latency_limit_ms"], made["samples_per_query"]) == (50, None)
    assert made["probes"] == [{"rate": 80, "p99_ms": 70, "kept": False}]
    assert made["loadgen"] == {"result_validity": "INVALID"}
