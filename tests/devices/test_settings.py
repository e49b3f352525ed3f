"""A stored setting holds on its device and hardware, and nowhere else."""

from pathlib import Path

import openvino as ov
import pytest

from thorax.artifact import Artifact, Tuning
from thorax.devices import describe
from thorax.devices.describe import find_setting, hardware
from thorax.errors import DeviceError
from thorax.processors import processors


def tuning(device: str = "CPU", **changes: object) -> Tuning:
    found = {
        "device": device, "hardware": hardware(device), "processors": processors(), "streams": 2,
        "batch": 4, "latency_limit_ms": 50.0, "images_per_s": 100.0, "p99_ms": 40.0,
        "simulated": False, "measured": "2026-01-02", "thorax": "0",
        "openvino": ov.get_version(),
    }  # fmt: skip
    return Tuning.model_validate({**found, **changes})


def with_tuned(artifact: Artifact, *tuned: Tuning) -> Artifact:
    return Artifact(artifact.path, artifact.card.model_copy(update={"tuned": tuned}))


def test_a_setting_holds_where_it_was_found(tiny_fp32: Artifact) -> None:
    one = tuning()
    found = find_setting(with_tuned(tiny_fp32, one).card, "CPU")
    assert (found.tuning, found.reason) == (one, "tuned on 2026-01-02")


def test_elsewhere_it_does_not_and_why_is_said(
    tiny_fp32: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_setting(tiny_fp32.card, "CPU").reason == "not tuned for CPU"
    card = with_tuned(tiny_fp32, tuning(hardware="Another CPU")).card
    assert find_setting(card, "CPU").tuning is None
    assert "tuned on Another CPU" in find_setting(card, "CPU").reason
    card = with_tuned(tiny_fp32, tuning()).card
    monkeypatch.setattr(describe, "processors", lambda: 1000)
    found = find_setting(card, "CPU")
    assert found.tuning is None
    assert "with 1000" in found.reason


def test_of_another_openvino_it_does_not_hold(tiny_fp32: Artifact) -> None:
    found = find_setting(with_tuned(tiny_fp32, tuning(openvino="1999.1")).card, "CPU")
    assert found.tuning is None
    assert found.reason == f"tuned with OpenVINO 1999.1; here is {ov.get_version()}"


def test_processors_of_one_name_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def told(text: str) -> str:
        (tmp_path / "cpuinfo").write_text(text, "utf-8")
        monkeypatch.setattr(describe, "CPUINFO", tmp_path / "cpuinfo")
        return hardware("CPU")

    zen = "cpu family\t: {}\nmodel\t\t: {}\nmodel name\t: AMD EPYC\nstepping\t: 1\n"
    third = told(zen.format(25, 1) * 2)
    assert third.endswith("(family 25, model 1, stepping 1)")
    assert third != told(zen.format(26, 2))
    assert "implementer 0x41, part 0xd40" in told("CPU implementer : 0x41\nCPU part : 0xd40\n")
    # Where nothing is told, the capabilities that OpenVINO has found.
    assert "FP32" in told("")


def test_hardware_names_every_device_once(cards: Path) -> None:
    assert hardware("CPU")
    several = hardware("MULTI:FPGA.0,CPU")
    assert several.endswith(hardware("CPU"))
    assert "(simulated)" in several
    assert " + " in several
    with pytest.raises(DeviceError):
        hardware("TPU")
