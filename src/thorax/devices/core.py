"""Devices that are here: real ones and simulated cards, and what each takes."""

import functools
import re
from collections.abc import Sequence
from typing import Final

from thorax.artifact import Precision
from thorax.devices.process_core import open_core
from thorax.errors import DataError, DeviceError
from thorax.fpga.card import CARDS, list_cards
from thorax.fpga.plugin import FAMILY, alias, card_name, is_fpga
from thorax.results.findings import DeviceFacts

VIRTUAL: Final = ("AUTO", "HETERO")
"""Devices of OpenVINO that hand work to others."""

MULTI: Final = "MULTI"
"""Hands each image to one of several devices. OpenVINO's own takes no simulated card and hands out
nothing among them: the engine does it."""

_REQUESTS: Final = re.compile(r"\(\d*\)")
"""Behind a device, as in MULTI:CPU(4): how many requests it is given at once."""

_TAKEN_BY_CARDS: Final = (Precision.FP32, Precision.FP16, Precision.FP11)
"""A card computes in the format of its bitstream whatever floating point the artifact stores."""


@functools.cache
def has_real_fpga() -> bool:
    """Return whether OpenVINO itself has an FPGA; none is then simulated."""
    return any(name.partition(".")[0] == FAMILY for name in open_core().available_devices)


def require_simulated() -> None:
    """Refuse to look at or change simulated cards where there are none.

    Raises:
        DeviceError: `fpga-real` where OpenVINO itself has an FPGA.
    """
    if has_real_fpga():
        raise DeviceError(
            "fpga-real",
            "OpenVINO has an FPGA of its own here, so no card is simulated: `thorax devices` lists "
            "it, and its maker's tools program it; what -d FPGA runs is that one",
        )


def simulates(device: str) -> bool:
    """Return whether a device string names a simulated card, alone or among others."""
    return is_fpga(device) and not has_real_fpga()


def openvino_name(device: str) -> str:
    """Return what OpenVINO calls a device: a simulated card has another name there."""
    return alias(device) if simulates(device) else device


def thorax_name(device: str) -> str:
    """Return what `-d` calls a device that OpenVINO names, the other way round."""
    return device if has_real_fpga() else card_name(device)


def list_devices() -> list[DeviceFacts]:
    """Return every physical device that is here, in OpenVINO's order, and then simulated cards.

    Cards whose state is damaged say so in their full name: other devices run without it, and who
    names a card is refused.
    """
    return [*_list_real(), *([] if has_real_fpga() else _list_cards())]


def _list_cards() -> list[DeviceFacts]:
    try:
        cards = {
            card.name: (card.full_name, card.bitstream.precision if card.bitstream else None)
            for card in list_cards()
        }
    except DataError:
        damaged = "FPGA card (simulated), state damaged: see `thorax fpga list`"
        cards = dict.fromkeys(CARDS, (damaged, None))
    return [
        DeviceFacts(
            name=name,
            full_name=full_name,
            simulated=True,
            precisions=_TAKEN_BY_CARDS,
            arithmetic=arithmetic,
        )
        for name, (full_name, arithmetic) in cards.items()
    ]


def _list_real() -> list[DeviceFacts]:
    core = open_core()
    devices = []
    for name in core.available_devices:
        capabilities = core.get_property(name, "OPTIMIZATION_CAPABILITIES")
        precisions = [Precision.FP32, Precision.FP16]
        precisions += [one for one in (Precision.BF16, Precision.INT8) if one.name in capabilities]
        if name.partition(".")[0] == FAMILY:
            precisions.append(Precision.FP11)
        full_name = str(core.get_property(name, "FULL_DEVICE_NAME"))
        devices.append(
            DeviceFacts(
                name=name,
                full_name=full_name.strip(),
                simulated=False,
                precisions=tuple(precisions),
                arithmetic=None,
            )
        )
    return devices


def physical_devices(device: str) -> tuple[str, ...]:
    """Return the physical devices that a device string names, in its order.

    `AUTO` and `HETERO` alone name every device that is here, simulated cards not among them;
    `AUTO:-GPU` names those but GPU.

    Raises:
        DeviceError: `device-unknown` for a device that is not here, listing those that are, or
            where nothing is left; `device-auto` when AUTO is to choose among simulated cards;
            `device-twice` when a list names a simulated card by both its names, or one twice;
            `device-multi` for MULTI, which is no device for one graph but several engines;
            `device-batch` and `device-requests` for what is not left to OpenVINO.
    """
    if is_multi(device):
        raise DeviceError(
            "device-multi",
            f"device is {device!r}: MULTI hands out whole images, to classify, validate or "
            "benchmark an artifact with; name one device here, or HETERO over several",
        )
    _refuse_requests(device)
    head, _, rest = device.partition(":")
    parts = _split(rest)
    if head not in VIRTUAL or (not parts and head != device):
        parts = [device]
    elif not parts or (head == "AUTO" and any(part.startswith("-") for part in parts)):
        parts = _without_excluded(device, parts)
    if head == "AUTO" and any(simulates(part) for part in parts):
        raise DeviceError(
            "device-auto",
            f"device is {device!r}: AUTO chooses by speed, and a simulated card has none; name "
            "what is to run, as HETERO:FPGA,CPU",
        )
    available = [entry.name for entry in list_devices()]
    for part in parts:
        # OpenVINO takes GPU for the first of GPU.0, GPU.1, ...
        if part not in available and f"{part}.0" not in available:
            raise DeviceError(
                "device-unknown",
                f"device {part!r} is not here; available: {', '.join(available)} "
                f"(and {', '.join((*VIRTUAL, MULTI))} over them): see `thorax devices`",
            )
    cards = [card_name(alias(part)) for part in parts if simulates(part)]
    for card in cards:
        if cards.count(card) > 1:
            raise DeviceError(
                "device-twice",
                f"device is {device!r}: {card} is in it twice, and would run nothing the second "
                "time; name each card once",
            )
    return tuple(parts)


def _split(rest: str) -> list[str]:
    return [part.strip() for part in rest.split(",") if part.strip()]


def _without_excluded(device: str, parts: Sequence[str]) -> list[str]:
    """Return the devices that are named, every real one where none is, but those behind a minus."""
    excluded = {part[1:] for part in parts if part.startswith("-")}
    named = [part for part in parts if not part.startswith("-")]
    named = named or [entry.name for entry in list_devices() if not entry.simulated]
    # GPU stands for each of GPU.0, GPU.1, ...
    remaining = [part for part in named if not {part, part.partition(".")[0]} & excluded]
    if not remaining:
        raise DeviceError(
            "device-unknown",
            f"device is {device!r}, which leaves none of {', '.join(named)}; leave one in",
        )
    return remaining


def _refuse_requests(device: str) -> None:
    """Refuse parts of OpenVINO's grammar that set how it is asked, which is set here."""
    if device.partition(":")[0] == "BATCH":
        raise DeviceError(
            "device-batch",
            f"device is {device!r}: BATCH has OpenVINO gather images of several requests, which "
            "is done here before; name the device alone, and let `thorax tune` find its batch",
        )
    if match := _REQUESTS.search(device):
        raise DeviceError(
            "device-requests",
            f"device is {device!r}: {match[0]} is a number of requests, which is found here by "
            "itself; name the device without it",
        )


def is_multi(device: str) -> bool:
    """Return whether a device string asks for a pool of several devices."""
    return device.partition(":")[0] == MULTI


def list_members(device: str) -> tuple[str, ...]:
    """Return the device string of each member of `MULTI:`, in its order.

    An FPGA card that stands beside CPU is `HETERO:FPGA.0,CPU`: the CPU was named, so what the card
    has no layers for runs there. Without CPU in the list a card runs all of a network or none.
    `HETERO:` takes what follows, up to the next `HETERO:`.

    Raises:
        DeviceError: `device-unknown`; `device-multi` for an empty list or a card in it twice.
    """
    _refuse_requests(device)
    parts = _split(device.partition(":")[2])
    if any(part.startswith("-") for part in parts):
        parts = _without_excluded(device, parts)
    members: list[str] = []
    for part in parts:
        if members and members[-1].startswith("HETERO:") and not part.startswith("HETERO:"):
            members[-1] += f",{part}"
        else:
            members.append(part)
    if "CPU" in members:
        members = [
            f"HETERO:{name},CPU" if is_fpga(name) and ":" not in name else name for name in members
        ]
    if not members:
        raise DeviceError(
            "device-multi", f"device is {device!r}; name its members, as MULTI:FPGA.0,FPGA.1,CPU"
        )
    taken: set[str] = set()
    for member in members:
        physical = list_parts(member)
        exclusive = {member} if ":" not in member and not simulates(member) else set()
        exclusive |= {part for part in physical if is_fpga(part)}
        if twice := taken & exclusive:
            raise DeviceError(
                "device-multi",
                f"device is {device!r}: {min(twice)} is in it twice; name each member once",
            )
        taken |= exclusive
    return tuple(members)


def list_parts(device: str) -> tuple[str, ...]:
    """Return the physical devices of a string, each once, a simulated card by its full name.

    Raises:
        DeviceError: as `physical_devices`.
    """
    parts = physical_devices(device)
    return tuple(
        dict.fromkeys(card_name(alias(part)) if simulates(part) else part for part in parts)
    )


def supports(name: str, precision: Precision) -> bool:
    """Return whether a physical device computes a precision natively."""
    return any(
        precision in device.precisions
        for device in list_devices()
        if device.name in (name, f"{name}.0")
    )


def takes(device: str, precision: Precision) -> bool:
    """Return whether a device string runs artifacts of a precision as it is meant.

    Every device of a list must compute the precision; FP11 asks for one FPGA card among them, as
    what other devices do of a network is in FP32.

    Raises:
        DeviceError: `device-unknown`.
    """
    parts = [supports(part, precision) for part in physical_devices(device)]
    return any(parts) if precision is Precision.FP11 else all(parts)
