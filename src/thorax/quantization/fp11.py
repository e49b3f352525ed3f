"""FP11: weights rounded to the blocks that an FPGA card multiplies with, stored as 16 bits."""

from typing import Any, Final

import openvino as ov

from thorax.devices.core import list_parts, simulates
from thorax.fpga.card import find_card
from thorax.fpga.emulation import array_layers, fold_weights

FORMAT: Final = "fp11"
BLOCK: Final = 16
"""Channels that share an exponent: c_vector of the overlays that bitstreams of 2018 to 2020 name,
4x2x16x32 and 4x2x16x64 (OpenVINO 2020.4, FPGA plug-in)."""


def block_of(device: str) -> int:
    """Return the block of the programmed cards of a device string, the largest of several.

    What is rounded to large blocks is left alone by smaller ones. Without a programmed card it is
    `BLOCK`.

    Raises:
        DeviceError: `device-unknown`.
        DataError: `fpga-state`.
    """
    cards = [find_card(part) for part in list_parts(device) if simulates(part)]
    vectors = [card.bitstream.architecture.c_vector for card in cards if card.bitstream]
    return max(vectors, default=BLOCK)


def fold(model: ov.Model, block: int) -> ov.Model:
    """Return a copy whose weights are those of FP11, every one of them exact in 16 bits.

    Raises:
        ModelError: `fpga-weights`.
    """
    folded = model.clone()
    fold_weights(folded, array_layers(folded), precision=FORMAT, block=block)
    return folded


def provenance(block: int) -> dict[str, Any]:
    """Return what the card says of it."""
    return {"fp11": {"block": block, "rounding": "faithful"}}
