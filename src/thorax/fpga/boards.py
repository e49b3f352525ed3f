"""Boards that carry an FPGA, and every figure of their power with its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from thorax.errors import UsageError

PowerKind = Literal["stated", "measured", "limit"]
"""What a source says of a figure: its own estimate, a meter's reading, or what is not exceeded."""


@dataclass(frozen=True, slots=True)
class Power:
    """One published figure of a board's power.

    Attributes:
        power_w: watts of the board alone.
        kind: how the source came by it.
        source: where it is published.
    """

    power_w: float
    kind: PowerKind
    source: str


@dataclass(frozen=True, slots=True)
class Board:
    """A board as it was sold.

    Attributes:
        name: what `--board` takes.
        full_name: what its maker calls it.
        family: `arria10` or `agilex7`, in whose terms an overlay's area is counted.
        fpga: the device on it, None if unknown.
        power: published figures under load; the first is the default, empty if none is known.
        idle_w: of a programmed board that waits, None if no source gives it.
    """

    name: str
    full_name: str
    family: str
    fpga: str | None
    power: tuple[Power, ...]
    idle_w: float | None

    @property
    def power_w(self) -> float | None:
        """Watts under load by the default source; None where nothing is published."""
        return self.power[0].power_w if self.power else None

    @property
    def power_source(self) -> str | None:
        """Where `power_w` is published."""
        return self.power[0].source if self.power else None


_PAC: Final = (
    Power(
        43.0,
        "stated",
        "Dell EMC, Deep Neural Network Inference on Intel FPGAs using Intel OpenVINO, Nov 2018",
    ),
    Power(
        50.0,
        "measured",
        "Dell EMC, Deep Learning Inference with Intel PAC on Dell EMC Infrastructure, 2019",
    ),
    Power(
        60.0,
        "limit",
        "Dell EMC, Deep Learning Inference with Intel PAC on Dell EMC Infrastructure, 2019 (TDP)",
    ),
)

BOARDS: Final[Mapping[str, Board]] = {
    board.name: board
    for board in (
        Board("pac-a10", "Intel PAC with Arria 10 GX", "arria10", "10AX115", _PAC, None),
        Board("a10dk", "Arria 10 GX FPGA Development Kit", "arria10", "10AX115", (), None),
        Board("mustang-sg1", "IEI Mustang-F100-A10, speed grade 1", "arria10", "10AX115", (), None),
        Board("mustang-sg2", "IEI Mustang-F100-A10, speed grade 2", "arria10", "10AX115", (), None),
        Board("de10-agilex", "Terasic DE10-Agilex", "agilex7", None, (), None),
        Board("n6001", "Intel FPGA SmartNIC N6001-PL", "agilex7", None, (), None),
    )
}

DEFAULT_BOARD: Final = "pac-a10"


def find_board(name: str) -> Board:
    """Return a board by name.

    Raises:
        UsageError: `fpga-board` for a name that is none, listing those there are.
    """
    if name not in BOARDS:
        raise UsageError("fpga-board", f"board is {name!r}; allowed are {', '.join(BOARDS)}")
    return BOARDS[name]
