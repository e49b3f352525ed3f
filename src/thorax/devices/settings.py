"""Which stored setting of an artifact holds on the device and the machine at hand."""

from dataclasses import dataclass

import openvino as ov

from thorax.artifact import Card, Tuning
from thorax.devices.describe import hardware
from thorax.processors import processors


@dataclass(frozen=True, slots=True)
class Setting:
    """What was found in a card.

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
    tuned = [one for one in card.tuned if one.device == device]
    if not tuned:
        return Setting(None, f"not tuned for {device}")
    here, count, version = hardware(device), processors(), ov.get_version()
    for one in tuned:
        if (one.hardware, one.processors) == (here, count):
            if one.openvino != version:
                reason = f"tuned with OpenVINO {one.openvino}; here is {version}"
                return Setting(None, reason)
            return Setting(one, f"tuned on {one.measured}")
    other = tuned[-1]
    return Setting(
        None,
        f"tuned on {other.hardware} with {other.processors} processors; here is {here} with "
        f"{count}",
    )
