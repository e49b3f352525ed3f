"""Tuned settings of an artifact, and whether they hold on this device and machine."""

from dataclasses import dataclass

import openvino as ov

from thorax.artifact import Card, Tuning
from thorax.devices.describe import hardware
from thorax.processors import processors


@dataclass(frozen=True, slots=True)
class Setting:
    """Setting found in an artifact's card.

    Attributes:
        tuning: what holds here; None where nothing does.
        reason: why that is so, in a few words.
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
