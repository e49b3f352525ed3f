"""What results say of an engine and the machine; whether tuned settings hold on its hardware."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import openvino as ov

from thorax import __version__
from thorax.artifact import Card, Tuning
from thorax.devices.core import is_multi, list_devices, list_members, physical_devices
from thorax.devices.engine import Engine
from thorax.devices.process_core import open_core
from thorax.processors import processors
from thorax.results.shared import Engine as EngineFacts
from thorax.results.shared import Environment

CPUINFO: Final = Path("/proc/cpuinfo")

_KIND: Final = {
    "cpu family": "family",
    "model": "model",
    "stepping": "stepping",
    "CPU implementer": "implementer",
    "CPU part": "part",
    "CPU variant": "variant",
}
"""Fields of /proc/cpuinfo that tell one kind of processor from another: of x86, then of Arm."""


def describe(engine: Engine) -> EngineFacts:
    """Return what every result says of the engine it was measured on."""
    card = engine.artifact.card
    return EngineFacts(
        model=card.name,
        topology=card.topology,
        digest=card.digest,
        device=engine.device,
        devices=engine.devices,
        precision=engine.precision.value,
        compute=engine.compute,
        arithmetic=engine.arithmetic,
        simulated=engine.simulated,
    )


def environment() -> Environment:
    """Return what a reader needs to know of the machine and the software."""
    return Environment(
        devices={
            device.name: device.full_name for device in list_devices() if not device.simulated
        },
        processors=processors(),
        openvino=ov.get_version(),
        thorax=__version__,
    )


def hardware(device: str) -> str:
    """Return the full names of the devices behind a device string, each once.

    That of a CPU with family, model and stepping: in virtual machines many generations have one
    name.

    Raises:
        DeviceError: as `thorax.devices.core.physical_devices`.
    """
    members = list_members(device) if is_multi(device) else (device,)
    names = {device.name: device.full_name for device in list_devices()}
    if "CPU" in names:
        names["CPU"] += f" ({_processor_kind()})"
    parts = [names.get(part, part) for member in members for part in physical_devices(member)]
    return " + ".join(dict.fromkeys(parts))


def _processor_kind() -> str:
    """Return what kind of processor this is; where Linux does not tell, what it computes in."""
    try:
        lines = CPUINFO.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    kind: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        if name := _KIND.get(key.strip()):
            kind.setdefault(name, value.strip())
    if kind:
        return ", ".join(f"{name} {value}" for name, value in kind.items())
    return ", ".join(sorted(open_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")))


@dataclass(frozen=True, slots=True)
class Setting:
    """Setting found in an artifact's card.

    `tuning` is what holds here, None where nothing does; `reason` says why, in a few words.
    """

    tuning: Tuning | None
    reason: str


def find_setting(card: Card, device: str) -> Setting:
    """Return the setting of a card for a device, if it was found on hardware as is here.

    With another version of OpenVINO it does not hold: that has other kernels, and may cut its
    streams in another way.

    Raises:
        DeviceError: as `hardware`.
    """
    tuned = [tuning for tuning in card.tuned if tuning.device == device]
    if not tuned:
        return Setting(None, f"not tuned for {device}")
    machine, count, version = hardware(device), processors(), ov.get_version()
    for tuning in tuned:
        if (tuning.hardware, tuning.processors) == (machine, count):
            if tuning.openvino != version:
                reason = f"tuned with OpenVINO {tuning.openvino}; here is {version}"
                return Setting(None, reason)
            return Setting(tuning, f"tuned on {tuning.measured}")
    other = tuned[-1]
    return Setting(
        None,
        f"tuned on {other.hardware} with {other.processors} processors; here is {machine} with "
        f"{count}",
    )
