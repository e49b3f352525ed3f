"""What is here, and what a device string means."""

import openvino as ov
import pytest

from thorax.artifact import Precision
from thorax.devices.core import list_devices, open_core, physical_devices, supports
from thorax.errors import DeviceError


def test_devices_are_those_openvino_sees() -> None:
    core = ov.Core()
    found = list_devices()
    assert [device.name for device in found] == core.available_devices
    for device in found:
        assert device.full_name == str(core.get_property(device.name, "FULL_DEVICE_NAME")).strip()
        capabilities = core.get_property(device.name, "OPTIMIZATION_CAPABILITIES")
        assert (Precision.BF16 in device.precisions) == ("BF16" in capabilities)
        assert (Precision.INT8 in device.precisions) == ("INT8" in capabilities)
        assert Precision.FP32 in device.precisions
        assert device.simulated is False


def test_there_is_one_core() -> None:
    assert open_core() is open_core()


@pytest.mark.parametrize(
    ("device", "parts"),
    [
        ("CPU", ("CPU",)),
        ("AUTO:CPU", ("CPU",)),
        ("HETERO:CPU", ("CPU",)),
        ("HETERO: CPU ,CPU", ("CPU", "CPU")),
    ],
)
def test_a_device_string_names_its_parts(device: str, parts: tuple[str, ...]) -> None:
    assert physical_devices(device) == parts


@pytest.mark.parametrize("device", ["AUTO", "HETERO"])
def test_a_virtual_device_alone_means_every_device(device: str) -> None:
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
        "MULTI:CPU",
        "BATCH:CPU(4)",
        "CPU.7",
    ],
)
def test_a_device_that_is_not_here_is_refused_with_those_that_are(device: str) -> None:
    with pytest.raises(DeviceError, match="available: CPU") as refused:
        physical_devices(device)
    assert refused.value.code == "device-unknown"
    assert refused.value.exit_code == 5


def test_supports_asks_the_device_that_is_named() -> None:
    assert supports("CPU", Precision.FP32)
    assert not supports("ABACUS", Precision.FP32)
