"""Boards that carry an FPGA, and their power: as published, and modelled under other loads.

Two figures of one board are published, each with its rate of ResNet-50 images: 43 W at 104.9
images/s (Dell EMC, Deep Neural Network Inference on Intel FPGAs using Intel OpenVINO, November
2018: 2.44 images/s/W) and 50 W at 312.75 (Dell EMC, Deep Learning Inference with Intel PAC on Dell
EMC Infrastructure, 2019: 1,251 images/s of four). A straight line through both, power against
products made in a second, has an idle power and an energy of a product. Both are *calibrated*, and
nothing is left to test them by; the first figure is stated, the second measured, and they are of
different bitstreams. That the energy of a product follows the bits of its two factors is *assumed*.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from thorax.errors import UsageError
from thorax.fpga.architecture import Architecture
from thorax.fpga.formats import FORMATS
from thorax.results.fpga import BoardPower


@dataclass(frozen=True, slots=True)
class Board:
    """A board as it was sold.

    `name` is what `--board` takes, `full_name` what its maker calls it, `family` that of its FPGA,
    as `thorax.fpga.architecture` names it, and `fpga` the device on it, None if unknown. Of the
    published figures of power, if any, the first is the default; `idle_w` is that of a programmed
    board that waits, None if no source gives it.
    """

    name: str
    full_name: str
    family: Literal["arria10", "agilex7"]
    fpga: str | None
    power: tuple[BoardPower, ...]
    idle_w: float | None

    @property
    def power_w(self) -> float | None:
        """Watts under load by the default source, None where no load is published.

        A limit is no load: it is told beside the board, and never taken for what it draws.
        """
        return self._loaded.power_w if self._loaded else None

    @property
    def power_source(self) -> str | None:
        """Where `power_w` is published."""
        return self._loaded.source if self._loaded else None

    @property
    def _loaded(self) -> BoardPower | None:
        return next((figure for figure in self.power if figure.kind != "limit"), None)


_DELL_2018: Final = (
    "Dell EMC, Deep Neural Network Inference on Intel FPGAs using Intel OpenVINO, November 2018"
)
_DELL_2019: Final = (
    "Dell EMC, Deep Learning Inference with Intel PAC on Dell EMC Infrastructure, 2019"
)
_PAC: Final = (
    BoardPower(power_w=43.0, kind="stated", source=_DELL_2018),
    BoardPower(power_w=50.0, kind="measured", source=_DELL_2019),
    BoardPower(power_w=60.0, kind="limit", source=f"{_DELL_2019}: TDP"),
)
_TDP: Final = "OpenVINO documentation of 2020, benchmark results: TDP"
_MUSTANG: Final = (BoardPower(power_w=60.0, kind="limit", source=_TDP),)
_A10: Final = "Arria 10 GX 1150"
_AGILEX: Final = "Agilex 7 F-Series 014"

BOARDS: Final[Mapping[str, Board]] = {
    board.name: board
    for board in (
        Board("pac-a10", "Intel PAC with Arria 10 GX", "arria10", _A10, _PAC, None),
        Board("a10dk", "Arria 10 GX FPGA Development Kit", "arria10", _A10, (), None),
        Board("mustang-sg1", "IEI Mustang-F100-A10 (PL1)", "arria10", _A10, _MUSTANG, None),
        Board("mustang-sg2", "IEI Mustang-F100-A10E (PL2)", "arria10", _A10, _MUSTANG, None),
        Board("de10-agilex", "Terasic DE10-Agilex", "agilex7", _AGILEX, (), None),
        Board("n6001", "Intel FPGA SmartNIC N6001-PL", "agilex7", _AGILEX, (), None),
    )
}
"""PL1 and PL2 are speed grades 1 and 2 of the same card (OpenVINO 2019 R3, installation guide)."""

DEFAULT_BOARD: Final = "pac-a10"
"""The board of 2018."""


def find_board(name: str) -> Board:
    """Return a board by name.

    Raises:
        UsageError: `fpga-board` for a name that is none, listing those there are.
    """
    if name not in BOARDS:
        raise UsageError("fpga-board", f"board is {name!r}; allowed are {', '.join(BOARDS)}")
    return BOARDS[name]


_RESNET50_MACS: Final = 4.09e9
"""Products of a ResNet-50 image of 224 x 224 (He et al., arXiv 1512.03385, table 1, has 3.8e9, by
a stride that stands elsewhere)."""
_SLOWER: Final = (104.9, 43.0)
_FASTER: Final = (312.75, 50.0)

PRODUCT_J: Final = (_FASTER[1] - _SLOWER[1]) / ((_FASTER[0] - _SLOWER[0]) * _RESNET50_MACS)
"""Of one product of two FP11 numbers and all that goes with it, 8.2 pJ: *calibrated*."""

IDLE_W: Final = _SLOWER[1] - _SLOWER[0] * _RESNET50_MACS * PRODUCT_J
"""Of the board that makes no products, 39.5 W: *calibrated*."""

SOURCE: Final = (
    "power: 39.5 W and 8.2 pJ a product of FP11, calibrated on the two figures of the Intel PAC "
    "with Arria 10 GX (43 W at 105 ResNet-50 images/s, Dell EMC 2018; 50 W at 313, Dell EMC 2019), "
    "a product in proportion to the bits of its factors (assumed)"
)


@dataclass(frozen=True, slots=True)
class Draw:
    """Power of a board under load, with its source.

    `power_w` is watts of the board alone, None where nothing is known; `source` where they come
    from, which begins with "power: "; None without them.
    """

    power_w: float | None
    source: str | None


def draw(board: Board, architecture: Architecture, macs_per_s: float) -> Draw:
    """Return the watts of a board: as modelled under this load, or else as published.

    The architecture gives the bits of the factors; `macs_per_s` is as of `board_power`, and what is
    not finite is no load that can be modelled.
    """
    modelled_w = board_power(board, architecture, macs_per_s) if math.isfinite(macs_per_s) else None
    if modelled_w is not None:
        return Draw(modelled_w, SOURCE)
    if board.power_w is None:
        return Draw(None, None)
    return Draw(board.power_w, f"power: {board.power_w:g} W, {board.power_source}")


def board_power(board: Board, architecture: Architecture, macs_per_s: float) -> float | None:
    """Return the watts of a board at so many useful products a second; None if nothing is known.

    Only of the Intel PAC with Arria 10 GX are there figures at two loads. The architecture gives
    the bits of the factors; the products are those that images need, not those that the array could
    make.
    """
    if board.name != DEFAULT_BOARD:
        return None
    bits = architecture.value_bits * architecture.weight_bits
    return IDLE_W + PRODUCT_J * bits / FORMATS["fp11"].bits ** 2 * macs_per_s
