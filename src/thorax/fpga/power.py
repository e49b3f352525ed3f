"""What a board would draw under another load than the published ones: modelled.

Two figures of one board are published, each with its rate of ResNet-50 images: 43 W at 104.9
images/s (Dell EMC, Deep Neural Network Inference on Intel FPGAs using Intel OpenVINO, November
2018: 2.44 images/s/W) and 50 W at 312.75 (Dell EMC, Deep Learning Inference with Intel PAC on Dell
EMC Infrastructure, 2019: 1,251 images/s of four). A straight line through both, power against
products made in a second, has an idle power and an energy of a product. Both are *calibrated*, and
nothing is left to test them by; the first figure is stated, the second measured, and they are of
different bitstreams. That the energy of a product follows the bits of its two factors is *assumed*.
"""

import math
from dataclasses import dataclass
from typing import Final

from thorax.fpga.architecture import Architecture
from thorax.fpga.boards import Board
from thorax.fpga.formats import FORMATS

_MACS: Final = 4.09e9
"""Products of a ResNet-50 image of 224 x 224 (He et al., arXiv 1512.03385, table 1, has 3.8e9, by
a stride that stands elsewhere)."""
_SLOW: Final = (104.9, 43.0)
_FAST: Final = (312.75, 50.0)
_BOARD: Final = "pac-a10"

PRODUCT_J: Final = (_FAST[1] - _SLOW[1]) / ((_FAST[0] - _SLOW[0]) * _MACS)
"""Of one product of two FP11 numbers and all that goes with it, 8.2 pJ: *calibrated*."""

IDLE_W: Final = _SLOW[1] - _SLOW[0] * _MACS * PRODUCT_J
"""Of the board that makes no products, 39.5 W: *calibrated*."""

SOURCE: Final = (
    "power: 39.5 W and 8.2 pJ a product of FP11, calibrated on the two figures of the Intel PAC "
    "with Arria 10 GX (43 W at 105 ResNet-50 images/s, Dell EMC 2018; 50 W at 313, Dell EMC 2019), "
    "a product in proportion to the bits of its factors (assumed)"
)


@dataclass(frozen=True, slots=True)
class Draw:
    """What a board is taken to draw.

    Attributes:
        power_w: watts of the board alone, None where nothing is known.
        source: where they come from, which begins with "power: "; None without them.
    """

    power_w: float | None
    source: str | None


def draw(board: Board, architecture: Architecture, macs_per_s: float) -> Draw:
    """Return the watts of a board: as modelled under this load, or else as published.

    Args:
        board: any.
        architecture: gives the bits of the factors.
        macs_per_s: as `board_power`; what is not finite is no load that can be modelled.
    """
    here = board_power(board, architecture, macs_per_s) if math.isfinite(macs_per_s) else None
    if here is not None:
        return Draw(here, SOURCE)
    if board.power_w is None:
        return Draw(None, None)
    return Draw(board.power_w, f"power: {board.power_w:g} W, {board.power_source}")


def board_power(board: Board, architecture: Architecture, macs_per_s: float) -> float | None:
    """Return the watts of a board at so many useful products a second; None if nothing is known.

    Args:
        board: only of the Intel PAC with Arria 10 GX are there figures at two loads.
        architecture: gives the bits of the factors.
        macs_per_s: products that images need, not those that the array could make.
    """
    if board.name != _BOARD:
        return None
    bits = architecture.value_bits * architecture.weight_bits
    return IDLE_W + PRODUCT_J * bits / FORMATS["fp11"].bits ** 2 * macs_per_s
