"""LoadGen around an engine: both clocks agree, and nothing that goes wrong leaves it hanging."""

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import _GeneratorContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
import pytest

from thorax.artifact import Artifact
from thorax.benchmark.loadgen import DETAIL, drive
from thorax.benchmark.measurement import SCENARIOS, Traffic
from thorax.devices.engine import Engine, Outputs, compile
from thorax.devices.requests import Lane, Pool
from thorax.errors import DeviceError
from thorax.results.benchmark import Scenario

TRAFFIC: dict[Scenario, Traffic] = {
    "offline": Traffic("offline", 0.1, 300.0),
    "server": Traffic("server", 0.2, 60.0, latency_limit_s=10.0),
    "single-stream": Traffic("single-stream", 0.1, 5000.0),
    "multi-stream": Traffic("multi-stream", 0.1, 5000.0, samples_per_query=3),
}


@pytest.fixture(params=SCENARIOS)
def traffic(request: pytest.FixtureRequest) -> Traffic:
    return TRAFFIC[request.param]


@pytest.fixture(scope="module")
def engine(tiny_fp32: Artifact) -> Engine:
    return compile(tiny_fp32, hint="throughput", streams=2)


def noise(engine: Engine, count: int = 4) -> npt.NDArray[np.uint8]:
    side = engine.artifact.card.input.side
    return np.random.default_rng(0).integers(0, 256, (count, 1, side, side), np.uint8)


def test_our_clock_agrees_with_that_of_loadgen(
    engine: Engine, traffic: Traffic, tmp_path: Path
) -> None:
    before = set(threading.enumerate())
    run = drive(engine, noise(engine), traffic, logs=tmp_path)
    assert set(threading.enumerate()) == before
    queries = traffic.scenario == "multi-stream"
    latencies = run.trace.latencies_s(queries=queries)
    assert len(latencies) == run.figures["result_query_count"] * (
        1 if traffic.scenario != "offline" else 33
    )
    # Ours begins within LoadGen's and ends as it is told: never longer, and not by much.
    ordered = np.sort(latencies)
    for percent in (50, 90, 99):
        own = ordered[int(len(ordered) * percent / 100)]
        theirs = run.percentile_s(percent, queries=queries)
        assert own <= theirs + 1e-3
        assert theirs - own < 0.05
    if traffic.scenario == "offline":
        said = len(latencies) / run.figures["result_samples_per_second"]
        assert run.trace.window_s <= said + 1e-3
        assert said - run.trace.window_s < 0.05
    assert (run.trace.asked_s <= run.trace.begun_s).all()
    assert (run.trace.begun_s <= run.trace.done_s).all()
    assert run.trace.window_s >= latencies.max()


def test_loadgen_keeps_its_logs_and_nothing_is_printed(
    engine: Engine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    drive(engine, noise(engine), TRAFFIC["server"], logs=tmp_path)
    assert "Scenario : Server" in (tmp_path / "mlperf_log_summary.txt").read_text("utf-8")
    assert (tmp_path / DETAIL).stat().st_size
    assert capfd.readouterr() == ("", "")


def test_queries_of_the_server_share_a_batch_and_keep_their_own_times(
    tiny_fp32: Artifact, tmp_path: Path
) -> None:
    engine = compile(tiny_fp32, hint="throughput", streams=1, batch=4)
    asked = Traffic("server", 0.3, 400.0, latency_limit_s=10.0)
    run = drive(engine, noise(engine), asked, logs=tmp_path)
    assert len(run.trace.asked_s) == run.figures["result_query_count"]
    assert (run.trace.images == 1).all()
    together = np.unique(run.trace.begun_s, return_counts=True)[1]
    assert 1 <= together.max() <= 4


@pytest.mark.parametrize("scenario", ["offline", "multi-stream"])
def test_a_batch_that_is_part_empty_counts_what_was_asked(
    tiny_fp32: Artifact, tmp_path: Path, scenario: Scenario
) -> None:
    engine = compile(tiny_fp32, hint="throughput", streams=1, batch=4)
    asked = Traffic(scenario, 0.1, 90.0, samples_per_query=6)
    run = drive(engine, noise(engine), asked, logs=tmp_path)
    queries = run.figures["result_query_count"]
    assert run.trace.images.sum() == (9 if scenario == "offline" else 6 * queries)
    assert set(run.trace.images.tolist()) <= {4, 2, 1}


def test_each_image_is_answered_with_itself(
    tiny_fp32: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = compile(tiny_fp32, hint="throughput", streams=1, batch=3)
    images = noise(engine, 5)
    images[:, 0, 0, 0] = range(5)
    fed: list[list[int]] = []
    real = ov.Tensor

    def note(array: npt.NDArray[np.uint8], *, shared_memory: bool = False) -> ov.Tensor:
        fed.append([int(one[0, 0, 0]) for one in array])
        return real(array, shared_memory=shared_memory)

    monkeypatch.setattr("thorax.benchmark.loadgen.ov.Tensor", note)
    drive(engine, images, Traffic("offline", 0.1, 64.0), logs=tmp_path)
    flat = [one for batch in fed for one in batch]
    # LoadGen repeats the images in its own order; the last batch is filled with its first image.
    assert flat[:5] != flat[1:6]
    assert sorted(flat[:5]) == list(range(5))
    assert flat[:7] == [*flat[:5], *flat[:2]]
    assert len(flat) == 9


def test_a_server_that_falls_behind_is_stopped_early_and_is_not_valid(
    engine: Engine, tmp_path: Path
) -> None:
    asked = Traffic("server", 60.0, 20_000.0, latency_limit_s=0.001, most_waiting=50)
    run = drive(engine, noise(engine), asked, logs=tmp_path)
    assert run.trace.window_s < asked.duration_s
    assert not run.valid
    assert not run.figures["result_perf_constraints_met"]
    assert "Too many outstanding" in run.figures["error_runtime"]


class Breaking(Pool[Outputs]):
    """Lends so often, and then fails as a device does."""

    def __init__(self, members: Sequence[Sequence[ov.InferRequest]], after: int) -> None:
        super().__init__(members)
        self.left = after

    def lend(self) -> _GeneratorContextManager[Lane]:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("Exception from src/plugin.cpp:1\ndevice lost")
        return super().lend()


@pytest.mark.parametrize("after", [0, 3])
def test_a_request_that_fails_ends_the_run_with_what_the_device_said(
    tiny_fp32: Artifact, traffic: Traffic, tmp_path: Path, after: int
) -> None:
    broken = compile(tiny_fp32, hint="throughput", streams=2)
    broken._pool = Breaking([one.requests for one in broken.members], after)
    before = set(threading.enumerate())
    if traffic.scenario.endswith("-stream"):
        # Each query waits for the one before: a short run may end before the fourth.
        traffic = replace(traffic, duration_s=2.0)
    with pytest.raises(DeviceError) as failed:
        drive(broken, noise(broken), traffic, logs=tmp_path)
    assert (failed.value.code, failed.value.message) == ("request-failed", "device lost")
    assert set(threading.enumerate()) == before
    # LoadGen is as good as new.
    drive(compile(tiny_fp32), noise(broken), traffic, logs=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ctrl_c_stops_a_long_run_soon(tiny_fp32: Artifact, scenario: Scenario) -> None:
    command = [sys.executable, "-m", "thorax", "benchmark", str(tiny_fp32.path), "--json"]
    command += ["--duration", "300", "--scenario", scenario]
    command += ["--rate", "20"] if scenario == "server" else []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        assert started.stderr is not None
        # The first line of progress comes in the middle of the run.
        assert "images" in started.stderr.readline()
        started.send_signal(signal.SIGINT)
        printed, said = started.communicate(timeout=60)
    assert started.returncode == 130
    assert printed == ""
    assert said.splitlines()[-1].startswith("thorax: interrupted: ")
