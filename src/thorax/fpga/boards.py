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
        family: of its FPGA, as `thorax.fpga.architecture` names it.
        fpga: the device on it, None if unknown.
        power: published figures; the first is the default. Empty if none is known.
        idle_w: of a programmed board that waits, None if no source gives it.
    """

    name: str
    full_name: str
    family: Literal["arria10", "agilex7"]
    fpga: str | None
    power: tuple[Power, ...]
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
    def limit_w(self) -> float | None:
        """Watts that the board does not exceed (TDP), None if unknown."""
        return next((one.power_w for one in self.power if one.kind == "limit"), None)

    @property
    def _loaded(self) -> Power | None:
        return next((one for one in self.power if one.kind != "limit"), None)


_DELL_2018: Final = (
    "Dell EMC, Deep Neural Network Inference on Intel FPGAs using Intel OpenVINO, November 2018"
)
_DELL_2019: Final = (
    "Dell EMC, Deep Learning Inference with Intel PAC on Dell EMC Infrastructure, 2019"
)
_PAC: Final = (
    Power(43.0, "stated", _DELL_2018),
    Power(50.0, "measured", _DELL_2019),
    Power(60.0, "limit", f"{_DELL_2019}: TDP"),
)
_MUSTANG: Final = (Power(60.0, "limit", "OpenVINO documentation of 2020, benchmark results: TDP"),)
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
