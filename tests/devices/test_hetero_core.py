"""OpenVINO's own tools on simulated cards."""

import logging
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
import pytest
from tests.devices.networks import interrupted

from thorax.devices.graph import compile_graph
from thorax.devices.hetero_core import DropInCore
from thorax.errors import DeviceError
from thorax.fpga.card import erase

HETERO = "HETERO:FPGA,CPU"


def image() -> npt.NDArray[np.float32]:
    return np.random.default_rng(1).random((1, 3, 64, 64), np.float32)


@pytest.mark.parametrize("device", [HETERO, "HETERO:FPGA2,CPU", "HETERO:FPGA.2,CPU"])
def test_it_computes_the_same_bits_as_we_do(device: str, cards: Path, tmp_path: Path) -> None:
    model = interrupted()
    ours = compile_graph(model, device.replace("FPGA2", "FPGA.2"))(image())[0]
    theirs = DropInCore().compile_model(model, device, {"PERFORMANCE_HINT": "LATENCY"})
    assert np.array_equal(theirs(image())[0], ours)
    ov.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
    read = DropInCore().compile_model(tmp_path / "model.xml", device)
    assert np.array_equal(read(image())[0], ours)


def test_devices_are_listed_under_our_names_and_cards_say_what_they_are(cards: Path) -> None:
    core = DropInCore()
    assert core.available_devices[-4:] == ["FPGA.0", "FPGA.1", "FPGA.2", "FPGA.3"]
    for name in ("FPGA", "FPGA.0", "FPGA2"):
        assert "simulated" in str(core.get_property(name, "FULL_DEVICE_NAME"))
    assert core.get_property("CPU", "FULL_DEVICE_NAME") == ov.Core().get_property(
        "CPU", "FULL_DEVICE_NAME"
    )
    assert set(core.get_versions(HETERO)) >= {"HETERO", "CPU"}


def test_what_a_card_runs_is_asked_of_its_bitstream(cards: Path) -> None:
    answer = DropInCore().query_model(interrupted(), HETERO)
    assert answer["probability"] == "CPU"
    assert answer["unsupported-6"] == "CPU"
    assert {where for name, where in answer.items() if name.startswith("conv")} == {"FPGA.0"}


def test_mistakes_are_ours(cards: Path) -> None:
    with pytest.raises(DeviceError) as refused:
        DropInCore().compile_model(interrupted(), "FPGA")
    assert refused.value.code == "fpga-layer"
    erase("FPGA.1")
    with pytest.raises(DeviceError) as refused:
        DropInCore().compile_model(interrupted(), "HETERO:FPGA.1,CPU")
    assert refused.value.code == "fpga-unprogrammed"


def test_properties_of_each_device_reach_it(cards: Path) -> None:
    each = {"FPGA": {"NUM_STREAMS": "1"}, "CPU": {"INFERENCE_NUM_THREADS": 1}}
    compiled = DropInCore().compile_model(interrupted(), HETERO, {"DEVICE_PROPERTIES": each})
    parts = compiled.get_property("DEVICE_PROPERTIES")
    assert parts["FPGA"]["NUM_STREAMS"] == 1
    assert parts["CPU"]["INFERENCE_NUM_THREADS"] == 1
    assert {part["INFERENCE_PRECISION_HINT"] for part in parts.values()} == {ov.Type.f32}


def test_compiled_models_are_kept(cards: Path, tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        core = DropInCore()
        core.set_property({"CACHE_DIR": str(tmp_path)})
        compiled = core.compile_model(interrupted(), HETERO)
        found.append((compiled.get_property("LOADED_FROM_CACHE"), compiled(image())[0]))
    assert [cached for cached, _ in found] == [False, True]
    assert np.array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_the_stock_benchmark_runs_on_a_card(
    hint: str,
    cards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from openvino.tools.benchmark import benchmark, main

    ov.save_model(interrupted(), tmp_path / "model.xml")
    monkeypatch.setattr(benchmark, "Core", DropInCore)
    words = ["-m", tmp_path / "model.xml", "-d", HETERO, "-niter", "4", "-hint", hint, "-pc"]
    monkeypatch.setattr(sys, "argv", ["benchmark_app", *map(str, words)])
    with caplog.at_level(logging.INFO, logger=main.logger.name):
        main.main()
    assert "Throughput:" in caplog.text
    assert "Execution Devices:['FPGA', 'CPU']" in caplog.text
    assert "subgraph5: " in capsys.readouterr().out
