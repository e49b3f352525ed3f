"""`thorax power` and `thorax benchmark --power`, typed as a person types them."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest
from tests.power.bmc import RedfishBmc, redfish_tree
from tests.power.meters import program, write_log

from thorax.artifact import XML, Card, Precision, new_folder, seal
from thorax.cli import app
from thorax.images.preprocess import InputSpec
from thorax.power import energy, sampler
from thorax.power.log import Recording

MODEL = '[[devices]]\nname = "CPU"\nidle_w = 10.0\nbusy_w = 30.0\nsource = "assumed"\n'


@dataclass
class Done:
    """What came of a command."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def thorax(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command line in this process, which has imported everything already."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run(*words: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["thorax", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of random weights, as an artifact: no training stands before its speed."""
    image = ops.parameter([-1, 1, 32, 32], np.uint8, name="image")
    flat = ops.reshape(ops.convert(image, np.float32), ops.constant([0, -1]), True)
    weights = np.random.default_rng(1).normal(0.0, 1e-4, (1024, 1024)).astype(np.float32)
    for _ in range(8):
        flat = ops.matmul(flat, ops.constant(weights), False, False)
    last = ops.matmul(flat, ops.constant(weights[:, :2].copy()), False, False)
    answer = ops.sigmoid(last)
    answer.output(0).set_names({"probability"})
    image.output(0).set_names({"image"})
    out = tmp_path_factory.mktemp("network") / "fp32"
    with new_folder(out) as folder:
        ov.save_model(ov.Model([answer], [image], "network"), folder / XML, compress_to_fp16=False)
        seal(
            folder,
            Card(
                name="network-fp32", topology="matmul", label_set="pair",
                labels=("Mass", "Edema"), input=InputSpec(32, 0.5, 0.25), precision=Precision.FP32,
                parameters=1, macs=1, size_bytes=0, provenance={},
            ),
        )  # fmt: skip
    return out


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "server.toml"
    file.write_text(MODEL, "utf-8")
    return file


def test_list_says_of_every_meter_whether_it_answers(thorax: Command) -> None:
    done = thorax("power", "list", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [one["name"] for one in document["meters"]] == ["rapl", "nvml", "ipmi", "racadm"]
    for one in document["meters"]:
        assert one["available"] is (one["problem"] is None)
    assert "replay:FILE" in thorax("power", "list").stdout


def test_watch_writes_a_log_whose_energy_is_what_it_said(
    thorax: Command, model: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    words = ("power", "watch", f"modelled:{model}", "--interval", 0.05, "--duration", 0.4)
    done = thorax(*words, "--log", log, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["modelled"] is True
    assert document["energy_source"] == "model: server.toml"
    assert 10 <= document["power_w"] <= 31
    assert document["least_w"] - 1e-6 <= document["power_w"] <= document["most_w"] + 1e-6
    assert Recording.read(log).energy_j == pytest.approx(document["energy_j"], rel=1e-9)
    again = json.loads(thorax("power", "energy", log, "--json").stdout)
    assert again["energy_j"] == pytest.approx(document["energy_j"], rel=1e-9)
    shown = thorax("power", "energy", log).stdout
    assert "modelled, not measured" in shown


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "kill"])
def test_watch_ends_with_its_log_written_when_it_is_stopped(
    model: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    log = tmp_path / "log.jsonl"
    words = ["power", "watch", f"modelled:{model}", "--interval", "0.02", "--log", log]
    with subprocess.Popen(
        [sys.executable, "-m", "thorax", *map(str, words), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        # The first line says that it reads.
        assert " W " in running.stderr.readline()
        running.send_signal(sent)
        told, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert json.loads(told)["readings"] == len(Recording.read(log).readings)


def test_a_replay_is_watched_to_its_end(thorax: Command, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", [(0.0, 100.0), (0.1, 300.0), (0.3, 300.0)])
    done = thorax("power", "watch", f"replay:{log}", "--interval", 0.02, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["energy_j"] == pytest.approx(20 + 60, rel=1e-9)
    assert document["energy_source"] == "replay: log.jsonl (redfish: test)"
    assert document["replayed"] is True
    assert (document["least_w"], document["most_w"]) == (100, 300)


def test_a_meter_that_dies_while_watched_ends_the_command_as_a_peer_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = program(tmp_path, monkeypatch, "racadm")
    tell("#Realtime.Power=224 W\n", 0)
    words = ["power", "watch", "racadm", "--interval", "0.05", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "thorax", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        running.stderr.readline()
        tell("the iDRAC is gone", 1)
        told, said = running.communicate(timeout=60)
    assert running.returncode == 6
    assert "meter-unreachable" in said
    assert json.loads(told)["most_w"] == 224


def test_watching_nothing_and_an_unknown_meter_are_refused(thorax: Command) -> None:
    for meter in ("none", "abacus"):
        done = thorax("power", "watch", meter)
        assert done.returncode == 2
        assert "power-meter" in done.stderr


@pytest.fixture
def benchmark(thorax: Command, network: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Benchmark the network for a short while, with a meter that is asked often."""
    monkeypatch.setattr(sampler, "SETTLE_S", 0.0)
    # A machine that others use too may leave a meter alone for long.
    monkeypatch.setattr(energy, "_SMOOTH_S", 60.0)

    def run(*words: object) -> Done:
        metered = ("--idle-s", 0.3, "--power-interval", 0.02) if "--power" in words else ()
        return thorax("benchmark", network, "--duration", 0.6, *metered, *words)

    return run


def test_a_benchmark_without_a_meter_has_no_energy(benchmark: Command) -> None:
    document = json.loads(benchmark("--json").stdout)
    for key in ("power_w", "energy_j", "images_per_s_per_w", "power"):
        assert document[key] is None
    assert document["energy_source"] == "none"


def test_a_benchmark_over_a_recorded_log_says_that_it_is_replayed(
    benchmark: Command, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "log.jsonl", [(at / 50, 123.0) for at in range(3000)])
    done = benchmark("--power", f"replay:{log}", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["power_w"] == pytest.approx(123)
    assert (document["power"]["replayed"], document["power"]["modelled"]) == (True, False)


def test_a_machine_that_tells_0_w_has_no_energy(
    benchmark: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = program(tmp_path, monkeypatch, "ipmitool")
    tell("    Instantaneous power reading:   0 Watts\n", 0)
    done = benchmark("--power", "ipmi", "--json")
    assert (done.returncode, done.stdout) == (6, "")
    assert "meter-answer: the BMC tells 0 W" in done.stderr


def test_a_counter_that_stands_still_has_no_energy_and_the_speed_is_kept(
    benchmark: Command, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "log.jsonl", [(at / 50, 5.0) for at in range(3000)], "energy")
    done = benchmark("--power", f"replay:{log}", "--json")
    assert done.returncode == 6
    assert "energy-missing" in done.stderr
    document = json.loads(done.stdout)
    assert document["images_per_s"] > 0
    assert (document["energy_j"], document["power_w"]) == (None, None)
    assert "did not move" in document["energy_error"]


def test_a_benchmark_with_a_model_says_so_everywhere(benchmark: Command, model: Path) -> None:
    done = benchmark("--power", f"modelled:{model}", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["energy_source"] == "model: server.toml"
    power = document["power"]
    assert power["modelled"] is True
    assert document["energy_j"] == pytest.approx(document["power_w"] * document["window_s"])
    assert document["images_per_s_per_w"] == pytest.approx(
        document["images_per_s"] / document["power_w"]
    )
    assert power["marginal_w"] == pytest.approx(power["load_w"] - power["idle_w"])
    assert power["samples"] > 3
    shown = benchmark("--power", f"modelled:{model}").stdout
    assert "modelled, not measured" in shown


def test_a_benchmark_reads_a_bmc_with_its_password_from_a_file(
    benchmark: Command, tmp_path: Path
) -> None:
    word = tmp_path / "word"
    word.write_text("s3cret\n", "utf-8")
    tree = redfish_tree("environment", lambda: 150.0)
    with RedfishBmc(tree, users={"reader": "s3cret"}) as bmc:
        spec = f"redfish:http://reader@{bmc.host}"
        common = ("--power", spec, "--power-insecure", "--json")
        done = benchmark(*common, "--power-password-file", word)
        assert done.returncode == 0, done.stderr
        assert not bmc.tokens
        refused = benchmark(*common)
        assert (refused.returncode, "power-password" in refused.stderr) == (2, True)
        word.write_text("wrong\n", "utf-8")
        wrong = benchmark(*common, "--power-password-file", word)
        assert (wrong.returncode, "meter-refused" in wrong.stderr) == (6, True)
    document = json.loads(done.stdout)
    assert document["power_w"] == pytest.approx(150)
    assert document["power"]["marginal_w"] == pytest.approx(0, abs=1e-6)
    assert document["energy_source"] == "redfish: EnvironmentMetrics 1 of 127.0.0.1"
    for told in (done, refused, wrong):
        assert "s3cret" not in told.stdout + told.stderr


def test_a_meter_that_dies_on_the_way_loses_the_energy_and_not_the_speed(
    benchmark: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, monkeypatch, "racadm")
    asked = tmp_path / "bin" / "racadm"
    # It answers for a while, and never again.
    asked.write_text(
        f"#!/bin/sh\necho x >> '{tmp_path}/count'\n"
        f"[ $(wc -l < '{tmp_path}/count') -gt 12 ] && echo 'RAC0218: gone' >&2 && exit 1\n"
        "echo '#Realtime.Power=224 W'\n",
        "utf-8",
    )
    done = benchmark("--power", "racadm", "--json")
    assert done.returncode == 6
    assert "energy-missing" in done.stderr
    document = json.loads(done.stdout)
    assert document["images_per_s"] > 0
    assert document["energy_j"] is None
    assert document["power_w"] is None
    assert document["images_per_s_per_w"] is document["power"]["images_per_s_per_w"] is None
    assert "RAC0218: gone" in document["energy_error"]
    assert os.linesep not in document["energy_error"]


def test_a_log_that_ends_too_early_gives_no_energy_and_status_6(
    benchmark: Command, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "log.jsonl", [(0.0, 100.0), (0.1, 100.0)])
    done = benchmark("--power", f"replay:{log}", "--json")
    assert done.returncode == 6
    assert "ends after 0.10 s" in json.loads(done.stdout)["energy_error"]


def test_a_picture_on_a_terminal_shows_watts_and_their_course(model: Path) -> None:
    master, slave = os.openpty()
    words = ["power", "watch", f"modelled:{model}", "--interval", "0.05", "--duration", "0.6"]
    with subprocess.Popen(
        [sys.executable, "-m", "thorax", *words],
        stdout=subprocess.DEVNULL,
        stderr=slave,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "PYTHONUTF8": "1"},
    ) as running:
        os.close(slave)
        shown = b""
        try:
            while piece := os.read(master, 4096):
                shown += piece
        except OSError:
            # The other side of a terminal ends so.
            pass
    os.close(master)
    assert running.returncode == 0
    text = shown.decode()
    for word in ("model: server.toml, modelled", "least", "mean", " W", "CPU"):
        assert word in text
    assert any(bar in text for bar in "▁▂▃▄▅▆▇█")
