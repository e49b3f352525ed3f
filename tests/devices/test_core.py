"""What is here, and what a device string means."""

from pathlib import Path
from types import SimpleNamespace

import openvino as ov
import pytest
from tests.devices.networks import Builder

from thorax.artifact import Precision
from thorax.devices import core as devices
from thorax.devices.core import (
    list_devices,
    list_members,
    list_parts,
    openvino_name,
    physical_devices,
    supports,
    takes,
    thorax_name,
)
from thorax.devices.engine import require_precision
from thorax.devices.graph import compile_graph
from thorax.devices.process_core import open_core
from thorax.errors import DataError, DeviceError
from thorax.fpga.card import erase


def test_devices_are_those_openvino_sees() -> None:
    core = ov.Core()
    found = [device for device in list_devices() if not device.simulated]
    assert [device.name for device in found] == core.available_devices
    for device in found:
        assert device.full_name == str(core.get_property(device.name, "FULL_DEVICE_NAME")).strip()
        capabilities = core.get_property(device.name, "OPTIMIZATION_CAPABILITIES")
        assert (Precision.BF16 in device.precisions) == ("BF16" in capabilities)
        assert (Precision.INT8 in device.precisions) == ("INT8" in capabilities)
        assert Precision.FP32 in device.precisions
        assert device.simulated is False
        assert device.arithmetic is None


@pytest.mark.parametrize(
    ("capabilities", "narrow"),
    [
        (["FP32", "INT8", "BIN"], {Precision.INT8}),
        (["FP32", "FP16", "BF16", "INT8", "BIN"], {Precision.INT8, Precision.BF16}),
        (["FP32", "FP16"], set()),
    ],
    ids=["AVX2", "AVX512 or AMX", "no INT8"],
)
def test_any_processor_has_what_openvino_says_it_computes_natively(
    monkeypatch: pytest.MonkeyPatch, capabilities: list[str], narrow: set[Precision]
) -> None:
    told = {"OPTIMIZATION_CAPABILITIES": capabilities, "FULL_DEVICE_NAME": "another processor"}
    core = SimpleNamespace(available_devices=["CPU"], get_property=lambda name, key: told[key])
    monkeypatch.setattr(devices, "open_core", lambda: core)
    for precision in (Precision.BF16, Precision.INT8):
        assert supports("CPU", precision) is (precision in narrow)
        if precision in narrow:
            require_precision(precision, "CPU", ("CPU",))
        else:
            with pytest.raises(DeviceError, match=r"^precision-unsupported: device CPU does not"):
                require_precision(precision, "CPU", ("CPU",))


def test_simulated_cards_are_listed_with_what_they_compute_in(cards: Path) -> None:
    erase("FPGA.3")
    found = {device.name: device for device in list_devices() if device.simulated}
    assert list(found) == ["FPGA.0", "FPGA.1", "FPGA.2", "FPGA.3"]
    assert [device.arithmetic for device in found.values()] == ["fp11", "fp11", "fp11", None]
    assert "not programmed" in found["FPGA.3"].full_name
    assert all("simulated" in device.full_name for device in found.values())
    assert supports("FPGA.1", Precision.FP32)
    assert supports("FPGA", Precision.FP16)
    assert not supports("FPGA", Precision.INT8)
    assert not supports("FPGA", Precision.BF16)


def test_a_damaged_state_of_the_cards_concerns_the_cards_alone(cards: Path) -> None:
    (cards / "thorax" / "fpga.json").write_text("x")
    assert physical_devices("CPU") == ("CPU",)
    assert supports("CPU", Precision.FP32)
    assert takes("CPU", Precision.FP32)
    graph = Builder(16)
    model = graph.model(graph.conv(graph.image, 8, 3))
    compile_graph(model, "CPU")
    found = {device.name: device for device in list_devices()}
    assert "state damaged" not in found["CPU"].full_name
    assert "state damaged" in found["FPGA.0"].full_name
    assert found["FPGA.3"].simulated
    for device in ("FPGA.0", "HETERO:FPGA,CPU"):
        with pytest.raises(DataError) as refused:
            compile_graph(model, device)
        assert refused.value.code == "fpga-state"


def test_there_is_one_core() -> None:
    assert open_core() is open_core()


@pytest.mark.parametrize(
    ("device", "parts"),
    [
        ("CPU", ("CPU",)),
        ("AUTO:CPU", ("CPU",)),
        ("HETERO:CPU", ("CPU",)),
        ("HETERO: CPU ,CPU", ("CPU", "CPU")),
        ("FPGA", ("FPGA",)),
        ("HETERO:FPGA,FPGA.1,CPU", ("FPGA", "FPGA.1", "CPU")),
    ],
)
def test_a_device_string_names_its_parts(device: str, parts: tuple[str, ...]) -> None:
    assert physical_devices(device) == parts


@pytest.mark.parametrize("device", ["AUTO", "HETERO"])
def test_a_virtual_device_alone_means_every_device_but_simulated_ones(device: str) -> None:
    assert list(physical_devices(device)) == open_core().available_devices


@pytest.mark.parametrize(
    "device",
    [
        "ABACUS",
        "AUTO:ABACUS",
        "HETERO:CPU,ABACUS",
        "cpu",
        "",
        "CPU:CPU",
        "HETERO:",
        "AUTO:,",
        "CPU.7",
        "FPGA.4",
        "HETERO:FPGA.0,FPGA.9",
    ],
)
def test_a_device_that_is_not_here_is_refused_with_those_that_are(device: str) -> None:
    with pytest.raises(DeviceError, match="available: CPU") as refused:
        physical_devices(device)
    assert refused.value.code == "device-unknown"
    assert refused.value.exit_code == 5


@pytest.mark.parametrize(
    "device", ["AUTO:-GPU", "AUTO:CPU,-GPU", "AUTO:-GPU,-NPU,CPU", "AUTO:-FPGA", "AUTO: CPU, -GPU"]
)
def test_auto_leaves_out_what_stands_behind_a_minus(device: str) -> None:
    assert physical_devices(device) == ("CPU",)


def test_a_pool_leaves_out_what_stands_behind_a_minus() -> None:
    assert list_members("MULTI:-GPU") == list_members("MULTI:CPU,-GPU") == ("CPU",)


@pytest.mark.parametrize(
    ("device", "code", "words"),
    [
        ("AUTO:-CPU", "device-unknown", "leaves none of CPU"),
        ("MULTI:CPU,-CPU", "device-unknown", "leaves none of CPU"),
        ("HETERO:-GPU", "device-unknown", "'-GPU' is not here"),
        ("BATCH:CPU(4)", "device-batch", "`thorax tune`"),
        ("BATCH:CPU", "device-batch", "`thorax tune`"),
        ("CPU(4)", "device-requests", r"(4) is a number of requests"),
        ("AUTO:CPU(1)", "device-requests", "without it"),
        ("MULTI:CPU(2),GPU(3)", "device-requests", "without it"),
    ],
)
def test_what_is_set_here_or_leaves_nothing_is_refused(device: str, code: str, words: str) -> None:
    with pytest.raises(DeviceError) as refused:
        list_members(device) if device.startswith("MULTI") else physical_devices(device)
    assert refused.value.code == code
    assert words in refused.value.message


@pytest.mark.parametrize("device", ["AUTO:FPGA", "AUTO:CPU,FPGA.1"])
def test_a_simulated_card_is_not_chosen_for_its_speed(device: str) -> None:
    with pytest.raises(DeviceError, match="HETERO:FPGA,CPU") as refused:
        physical_devices(device)
    assert refused.value.code == "device-auto"


def test_parts_are_named_in_full_and_once() -> None:
    assert list_parts("HETERO:FPGA,FPGA.2,CPU,CPU") == ("FPGA.0", "FPGA.2", "CPU")


@pytest.mark.parametrize("device", ["HETERO:FPGA,FPGA.0,CPU", "HETERO:FPGA.2,CPU,FPGA.2"])
def test_a_card_is_named_once(device: str) -> None:
    with pytest.raises(DeviceError, match="twice") as refused:
        physical_devices(device)
    assert refused.value.code == "device-twice"


@pytest.mark.parametrize(
    ("typed", "openvino"),
    [("FPGA", "FPGA"), ("FPGA.0", "FPGA"), ("FPGA.3", "FPGA3"), ("CPU", "CPU")],
)
def test_simulated_cards_have_another_name_in_openvino(typed: str, openvino: str) -> None:
    assert openvino_name(typed) == openvino
    assert thorax_name(openvino) == list_parts(typed)[0]


def test_supports_asks_the_device_that_is_named() -> None:
    assert supports("CPU", Precision.FP32)
    assert not supports("ABACUS", Precision.FP32)
