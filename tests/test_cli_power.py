"""`thorax power` and `thorax benchmark --power`, typed as a person types them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.bmc import RedfishBmc, redfish_tree
from tests.meters import program, write_log

from thorax.artifact import Artifact
from thorax.measure.meters_replay import Recording

MODEL = '[[devices]]\nname = "CPU"\nidle_w = 10.0\nbusy_w = 30.0\nsource = "assumed"\n'


def thorax(*words: object) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "thorax", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "server.toml"
    file.write_text(MODEL, "utf-8")
    return file


def test_list_says_of_every_meter_whether_it_answers() -> None:
    done = thorax("power", "list", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [one["name"] for one in document["meters"]] == ["rapl", "nvml", "ipmi", "racadm"]
    for one in document["meters"]:
        assert one["available"] is (one["problem"] is None)
    assert "replay:FILE" in thorax("power", "list").stdout


def test_watch_writes_a_log_whose_energy_is_what_it_said(model: Path, tmp_path: Path) -> None:
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


def test_watch_ends_with_its_log_written_when_it_is_interrupted(
    model: Path, tmp_path: Path
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
        running.send_signal(signal.SIGINT)
        told, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert json.loads(told)["readings"] == len(Recording.read(log).readings)


def test_a_replay_is_watched_to_its_end(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", [(0.0, 100.0), (0.1, 300.0), (0.3, 300.0)])
    done = thorax("power", "watch", f"replay:{log}", "--interval", 0.02, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["energy_j"] == pytest.approx(20 + 60, rel=1e-9)
    assert document["energy_source"] == "replay: log.jsonl (redfish: test)"
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


def test_watching_nothing_and_an_unknown_meter_are_refused() -> None:
    for meter in ("none", "abacus"):
        done = thorax("power", "watch", meter)
        assert done.returncode == 2
        assert "power-meter" in done.stderr


def benchmark(artifact: Artifact, *words: object) -> "subprocess.CompletedProcess[str]":
    metered = ("--idle-s", 0.3, "--power-interval", 0.02) if "--power" in words else ()
    return thorax("benchmark", artifact.path, "--duration", 0.6, *metered, *words)


def test_a_benchmark_without_a_meter_has_no_energy(tiny_fp32: Artifact) -> None:
    document = json.loads(benchmark(tiny_fp32, "--json").stdout)
    for key in ("power_w", "energy_j", "images_per_s_per_w", "power"):
        assert document[key] is None
    assert document["energy_source"] == "none"


def test_a_benchmark_with_a_model_says_so_everywhere(tiny_fp32: Artifact, model: Path) -> None:
    done = benchmark(tiny_fp32, "--power", f"modelled:{model}", "--json")
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
    shown = benchmark(tiny_fp32, "--power", f"modelled:{model}").stdout
    assert "modelled, not measured" in shown


def test_a_benchmark_reads_a_bmc_with_its_password_from_a_file(
    tiny_fp32: Artifact, tmp_path: Path
) -> None:
    word = tmp_path / "word"
    word.write_text("s3cret\n", "utf-8")
    tree = redfish_tree("environment", lambda: 150.0)
    with RedfishBmc(tree, users={"reader": "s3cret"}) as bmc:
        spec = f"redfish:http://reader@{bmc.host}"
        common = ("--power", spec, "--power-insecure", "--json")
        done = benchmark(tiny_fp32, *common, "--power-password-file", word)
        assert done.returncode == 0, done.stderr
        assert not bmc.tokens
        refused = benchmark(tiny_fp32, *common)
        assert (refused.returncode, "power-password" in refused.stderr) == (2, True)
        word.write_text("wrong\n", "utf-8")
        wrong = benchmark(tiny_fp32, *common, "--power-password-file", word)
        assert (wrong.returncode, "meter-refused" in wrong.stderr) == (6, True)
    document = json.loads(done.stdout)
    assert document["power_w"] == pytest.approx(150)
    assert document["power"]["marginal_w"] == pytest.approx(0, abs=1e-6)
    assert document["energy_source"] == "redfish: EnvironmentMetrics 1 of 127.0.0.1"
    for told in (done, refused, wrong):
        assert "s3cret" not in told.stdout + told.stderr


def test_a_meter_that_dies_on_the_way_loses_the_energy_and_not_the_speed(
    tiny_fp32: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    done = benchmark(tiny_fp32, "--power", "racadm", "--json")
    assert done.returncode == 6
    assert "energy-missing" in done.stderr
    document = json.loads(done.stdout)
    assert document["images_per_s"] > 0
    assert document["energy_j"] is None
    assert document["power_w"] is None
    assert "RAC0218: gone" in document["energy_error"]
    assert os.linesep not in document["energy_error"]


def test_a_log_that_ends_too_early_gives_no_energy_and_status_6(
    tiny_fp32: Artifact, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "log.jsonl", [(0.0, 100.0), (0.1, 100.0)])
    done = benchmark(tiny_fp32, "--power", f"replay:{log}", "--json")
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
