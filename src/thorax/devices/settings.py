"""Which stored setting of an artifact holds on the device and the machine at hand."""

import os
from dataclasses import dataclass

from thorax.artifact import Card, Tuning
from thorax.devices.core import is_multi, list_devices, list_members, physical_devices


@dataclass(frozen=True, slots=True)
class Setting:
    """What was found in a card.

    Attributes:
        tuning: what holds here; None where nothing does.
        reason: why that is so, in a few words.
    """

    tuning: Tuning | None
    reason: str


def hardware(device: str) -> str:
    """Return the full names of the devices behind a device string, each once.

    Raises:
        DeviceError: as `thorax.devices.core.physical_devices`.
    """
    members = list_members(device) if is_multi(device) else (device,)
    names = {one.name: one.full_name for one in list_devices()}
    found = [names.get(part, part) for member in members for part in physical_devices(member)]
    return " + ".join(dict.fromkeys(found))


def processors() -> int:
    """Return how many processors this program may use."""
    return len(os.sched_getaffinity(0))


def find_setting(card: Card, device: str) -> Setting:
    """Return the setting of a card for a device, if it was found on hardware as is here.

    Raises:
        DeviceError: as `hardware`.
    """
    tuned = [one for one in card.tuned if one.device == device]
    if not tuned:
        return Setting(None, f"not tuned for {device}")
    here, count = hardware(device), processors()
    for one in tuned:
        if (one.hardware, one.processors) == (here, count):
            return Setting(one, f"tuned on {one.measured}")
    other = tuned[-1]
    return Setting(
        None,
        f"tuned on {other.hardware} with {other.processors} processors; here is {here} with "
        f"{count}",
    )
