"""One `ov.Core` that knows every device."""

import functools
from dataclasses import dataclass
from typing import Final

import openvino as ov

from thorax.artifact import Precision
from thorax.errors import DeviceError

VIRTUAL: Final = ("AUTO", "HETERO")
"""Devices of OpenVINO that hand work to others."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that is here.

    Attributes:
        name: what `-d` takes.
        full_name: what the hardware calls itself.
        simulated: whether time and power are modelled rather than measured.
        precisions: what it computes natively.
    """

    name: str
    full_name: str
    simulated: bool
    precisions: tuple[Precision, ...]


@functools.cache
def open_core() -> ov.Core:
    """Return the process's one core."""
    return ov.Core()


def list_devices() -> list[Device]:
    """Return every physical device that is here, in OpenVINO's order."""
    core = open_core()
    devices = []
    for name in core.available_devices:
        capabilities = core.get_property(name, "OPTIMIZATION_CAPABILITIES")
        precisions = [Precision.FP32, Precision.FP16]
        if "BF16" in capabilities:
            precisions.append(Precision.BF16)
        if "INT8" in capabilities:
            precisions.append(Precision.INT8)
        full_name = str(core.get_property(name, "FULL_DEVICE_NAME"))
        devices.append(Device(name, full_name.strip(), False, tuple(precisions)))
    return devices


def physical_devices(device: str) -> tuple[str, ...]:
    """Return the physical devices that a device string names, in its order.

    `AUTO` and `HETERO` alone name every device that is here.

    Raises:
        DeviceError: `device-unknown` for a device that is not here, listing those that are.
    """
    available = [found.name for found in list_devices()]
    head, _, rest = device.partition(":")
    parts = [part.strip() for part in rest.split(",") if part.strip()] if rest else []
    if head not in VIRTUAL or (not parts and head != device):
        parts = [device]
    elif not parts:
        parts = list(available)
    for part in parts:
        # OpenVINO takes GPU for the first of GPU.0, GPU.1, ...
        if part not in available and f"{part}.0" not in available:
            raise DeviceError(
                "device-unknown",
                f"device {part!r} is not here; available: {', '.join(available)} "
                f"(and {', '.join(VIRTUAL)} over them): see `thorax devices`",
            )
    return tuple(parts)


def supports(name: str, precision: Precision) -> bool:
    """Return whether a physical device computes a precision natively."""
    return any(
        precision in device.precisions
        for device in list_devices()
        if device.name in (name, f"{name}.0")
    )
