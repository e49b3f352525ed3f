"""Arithmetic of the devices of a string: read back from OpenVINO, of simulated cards as set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import openvino as ov

from thorax.devices.core import is_multi, list_members, list_parts, simulates, thorax_name
from thorax.devices.counters import list_kernels
from thorax.fpga.card import FpgaCard, find_card
from thorax.fpga.emulation import VERSION

_MULTIPLY: Final = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
"""Kernels of OpenVINO that multiply by weights."""
_INTEGERS: Final = {"i8": "int8", "u8": "int8"}

_KEY: Final = "INFERENCE_PRECISION_HINT"


def arithmetic_of(device: str, state: Path | None = None) -> dict[str, str]:
    """Return what the simulated cards that a device string names would compute with now.

    What `Engine.cards` says of a compiled artifact is among it, word for word, while no card is
    programmed anew and Thorax computes as it did: two runs of which that is the same answer alike.
    The device is as `thorax.devices.engine.compile` takes it, `state` the file of the cards' state.
    By the name of each card there are its bitstream, format, block and version of the emulation;
    nothing where no card is simulated.

    Raises:
        DeviceError: as `list_members` and `physical_devices`.
        DataError: `fpga-state`.
    """
    members = list_members(device) if is_multi(device) else (device,)
    parts = dict.fromkeys(part for member in members for part in list_parts(member))
    return {part: card_arithmetic(find_card(part, state)) for part in parts if simulates(part)}


def card_arithmetic(card: FpgaCard) -> str:
    """Return what a card computes with, in words: whatever may change a bit of its answers."""
    if card.bitstream is None:
        return "not programmed"
    overlay = card.bitstream.architecture
    return (
        f"{card.bitstream.name}, {overlay.precision} in blocks of {overlay.c_vector}, "
        f"emulation {VERSION}"
    )


def computes_in(
    compiled: ov.CompiledModel, devices: Sequence[str], cards: Mapping[str, str]
) -> list[str]:
    """Return the element type that each device computes floating-point layers in.

    `devices` are the physical ones that execute it, in the order of the answer; `cards` the format
    of each simulated card among them, which is put into a graph that float32 then computes exactly.
    """
    if _KEY in compiled.get_property("SUPPORTED_PROPERTIES"):
        values = {devices[0]: compiled.get_property(_KEY)}
    else:
        parts: dict[str, dict[str, Any]] = compiled.get_property("DEVICE_PROPERTIES")
        values = {thorax_name(name): properties[_KEY] for name, properties in parts.items()}
    # The type of NumPy that stands for bf16 is float16: only OpenVINO's own name is true.
    elements = {name: str(value.get_type_name()) for name, value in values.items()}
    return [
        cards[name] if name in cards and elements[name] == "f32" else elements[name]
        for name in sorted(elements, key=lambda name: (*devices, name).index(name))
    ]


def multiplies_in(compiled: ov.CompiledModel) -> list[str]:
    """Return the element types of the kernels that multiply, 8-bit integers as "int8" and first.

    Empty where a device does not tell.
    """
    kernels = [kernel for kernel in list_kernels(compiled) if kernel.type in _MULTIPLY]
    elements = {_INTEGERS.get(kernel.precision, kernel.precision) for kernel in kernels}
    return sorted(elements, key=lambda element: (element != "int8", element))
