"""The simulated cards of this machine, and what each is programmed with.

State is one JSON file, as a real card's flash keeps what `aocl program` wrote to it.
"""

import difflib
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from thorax.errors import DataError, DeviceError, UsageError
from thorax.files import write_text
from thorax.fpga.bitstreams import Bitstream, bitstreams_for, find_bitstream
from thorax.fpga.boards import DEFAULT_BOARD, Board, find_board

CARDS: Final = ("FPGA.0", "FPGA.1", "FPGA.2", "FPGA.3")


@dataclass(frozen=True, slots=True)
class Card:
    """A simulated card.

    Attributes:
        name: what `-d` takes, `FPGA.0`.
        board: what carries it.
        bitstream: what it is programmed with, None as it comes.
        programmed: when that was, ISO 8601 in UTC, or None.
        simulated: always true: arithmetic is real, time and power are modelled.
    """

    name: str
    board: Board
    bitstream: Bitstream | None
    programmed: str | None
    simulated: bool = True

    @property
    def full_name(self) -> str:
        """Board and bitstream, for lists of devices."""
        loaded = self.bitstream.name if self.bitstream else "not programmed"
        return f"{self.board.full_name} (simulated), {loaded}"


class _Programmed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    board: str
    bitstream: str | None = None
    programmed: str | None = None


class _State(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    cards: dict[str, _Programmed] = {}


def state_path() -> Path:
    """Return where state is kept unless a caller names a file: XDG's state folder."""
    # The XDG base directory specification 0.8: relative paths are invalid and to be ignored.
    named = os.environ.get("XDG_STATE_HOME", "")
    home = Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "state"
    return home / "thorax" / "fpga.json"


def list_cards(state: Path | None = None) -> tuple[Card, ...]:
    """Return every card, in order.

    Raises:
        DataError: `fpga-state` when the state file is damaged.
    """
    found = _read(state or state_path())
    return tuple(_card(name, found) for name in CARDS)


def find_card(name: str, state: Path | None = None) -> Card:
    """Return a card by name; `FPGA` is the first.

    Raises:
        DeviceError: `fpga-card` for a card that is not here, listing those that are.
        DataError: `fpga-state`.
    """
    wanted = CARDS[0] if name == "FPGA" else name
    if wanted not in CARDS:
        raise DeviceError("fpga-card", f"card is {name!r}; the cards are {', '.join(CARDS)}")
    return _card(wanted, _read(state or state_path()))


def program(
    name: str, bitstream: str, *, board: str | None = None, state: Path | None = None
) -> tuple[Card, ...]:
    """Put a bitstream on a card, or on all, durably; return the cards as they are then.

    Args:
        name: of the card, or `all`.
        bitstream: its name.
        board: what the card is from now on; default: what it is.
        state: file of the cards' state; default: `state_path()`.

    Raises:
        UsageError: `fpga-bitstream`, `fpga-board`, or `fpga-board-bitstream` for a bitstream
            of another board, with the nearest of those that fit.
        DeviceError: `fpga-card`.
        DataError: `fpga-state`.
    """
    wanted = find_bitstream(bitstream)
    path = state or state_path()
    with _locked(path):
        cards = list_cards(path) if name == "all" else (find_card(name, path),)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        made = []
        for card in cards:
            own = card.board if board is None else find_board(board)
            if wanted.board != own.name:
                raise _misfit(wanted, card.name, own)
            made.append(Card(card.name, own, wanted, now))
        _write(path, made)
    return tuple(made)


def erase(name: str, *, state: Path | None = None) -> tuple[Card, ...]:
    """Take the bitstream off a card, or off all, durably; return the cards as they are then.

    Raises:
        DeviceError: `fpga-card`.
        DataError: `fpga-state`.
    """
    path = state or state_path()
    with _locked(path):
        cards = list_cards(path) if name == "all" else (find_card(name, path),)
        made = [Card(card.name, card.board, None, None) for card in cards]
        _write(path, made)
    return tuple(made)


def _misfit(bitstream: Bitstream, card: str, board: Board) -> UsageError:
    fitting = [one.name for one in bitstreams_for(board.name)]
    near = difflib.get_close_matches(bitstream.name, fitting, n=3, cutoff=0.0)
    those = f"the nearest of its {len(fitting)} are {', '.join(near)}" if near else "it has none"
    return UsageError(
        "fpga-board-bitstream",
        f"{bitstream.name} is for board {bitstream.board}, and {card} is a {board.name}: {those}; "
        f"`thorax fpga list --board {board.name}` has all; choose one of them, or "
        f"make the card another: --board {bitstream.board}",
    )


def _card(name: str, state: _State) -> Card:
    entry = state.cards.get(name, _Programmed(board=DEFAULT_BOARD))
    loaded = None if entry.bitstream is None else find_bitstream(entry.bitstream)
    return Card(name, find_board(entry.board), loaded, entry.programmed)


def _read(path: Path) -> _State:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return _State()
    except OSError as error:
        raise DataError("fpga-state", f"{path} cannot be read: {error.strerror}") from error
    try:
        state = _State.model_validate_json(text)
        found = [_card(name, state) for name in state.cards]
        sound = all(card.name in CARDS and _fits(card) for card in found)
    except (ValidationError, UsageError):
        sound = False
    if not sound:
        raise DataError(
            "fpga-state",
            f"{path} is damaged or was written by another version; remove it, and the cards are "
            "as they come: not programmed",
        )
    return state


def _fits(card: Card) -> bool:
    return card.bitstream is None or card.bitstream.board == card.board.name


def _write(path: Path, cards: list[Card]) -> None:
    entries = {card.name: card for card in (*list_cards(path), *cards)}
    document = {
        "cards": {
            card.name: {
                "board": card.board.name,
                "bitstream": card.bitstream.name if card.bitstream else None,
                "programmed": card.programmed,
            }
            for card in entries.values()
        }
    }
    write_text(path, json.dumps(document, indent=2) + "\n")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the state against other programs; the lock is a file of its own, as state is renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
