"""The simulated cards of this machine, and what each is programmed with.

State is one JSON file, as a real card's flash keeps what `aocl program` wrote to it. Its digest is
in it, so that damage is found. Who has no folder of their own to keep it in has cards as they come.
"""

import difflib
import json
import os
import pwd
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError

from thorax.errors import DataError, DeviceError, UsageError
from thorax.files.atomic import locked, require_place, write_text
from thorax.files.documents import document_digest, parse_json, read_limited
from thorax.fpga.bitstreams import Bitstream, bitstreams_for, find_bitstream
from thorax.fpga.boards import DEFAULT_BOARD, Board, find_board
from thorax.results.fpga import CardStatus

CARDS: Final = ("FPGA.0", "FPGA.1", "FPGA.2", "FPGA.3")

_FORMAT: Final = 2
_MOST_BYTES: Final = 1 << 16
"""Of a state file; four cards take less than a hundredth of it."""


@dataclass(frozen=True, slots=True)
class FpgaCard:
    """A simulated card; fields as of `thorax.results.fpga.CardStatus`."""

    name: str
    board: Board
    bitstream: Bitstream | None
    programmed: str | None

    @property
    def full_name(self) -> str:
        """Board and bitstream, for lists of devices."""
        loaded = self.bitstream.name if self.bitstream else "not programmed"
        return f"{self.board.full_name} (simulated), {loaded}"

    def status(self) -> CardStatus:
        """Return what `thorax fpga list` says of it."""
        return CardStatus(
            name=self.name,
            full_name=self.full_name,
            board=self.board.name,
            bitstream=self.bitstream.name if self.bitstream else None,
            precision=self.bitstream.precision if self.bitstream else None,
            programmed=self.programmed,
            power_w=self.board.power_w,
            power_source=self.board.power_source,
            power=self.board.power,
            simulated=True,
        )


class _Programmed(BaseModel, frozen=True, extra="forbid", strict=True):
    board: str
    bitstream: str | None = None
    programmed: str | None = None


class _State(BaseModel, frozen=True, extra="forbid", strict=True):
    format: int = _FORMAT
    cards: dict[str, _Programmed] = {}
    sha256: str = ""


def state_path() -> Path | None:
    """Return where state is kept unless a caller names a file: XDG's state folder.

    None where neither XDG_STATE_HOME nor the user's home is known.
    """
    # The XDG base directory specification 0.8: relative paths are invalid and to be ignored.
    named = Path(os.environ.get("XDG_STATE_HOME", ""))
    if named.is_absolute():
        return named / "thorax" / "fpga.json"
    home = Path(os.environ.get("HOME", ""))
    if not home.is_absolute():
        try:
            home = Path(pwd.getpwuid(os.getuid()).pw_dir)
        except KeyError:
            return None
    return home / ".local" / "state" / "thorax" / "fpga.json" if home.is_absolute() else None


def list_cards(state: Path | None = None) -> tuple[FpgaCard, ...]:
    """Return every card, in order.

    Raises:
        DataError: `fpga-state` when the state file is damaged.
    """
    saved = _read(state)
    return tuple(_card(name, saved) for name in CARDS)


def find_card(name: str, state: Path | None = None) -> FpgaCard:
    """Return a card by name; `FPGA` is the first.

    Raises:
        DeviceError: `fpga-card` for a card that is not here, listing those that are.
        DataError: `fpga-state`.
    """
    full_name = CARDS[0] if name == "FPGA" else name
    if full_name not in CARDS:
        raise DeviceError("fpga-card", f"card is {name!r}; the cards are {', '.join(CARDS)}")
    return _card(full_name, _read(state))


def program(
    name: str, bitstream: str, *, board: str | None = None, state: Path | None = None
) -> tuple[FpgaCard, ...]:
    """Put a bitstream on a card, or on all, durably; return the cards as they are then.

    The name is that of a card, or `all`; the board is what the card is from now on, None what it
    is; `state` is the file of the cards' state, None `state_path()`.

    Raises:
        UsageError: `fpga-bitstream`, `fpga-board`, `fpga-board-bitstream` for a bitstream of
            another board, with the nearest of those that fit, or `fpga-state-place`.
        DeviceError: `fpga-card`.
        DataError: `fpga-state`.
    """
    loaded = find_bitstream(bitstream)
    now = datetime.now(UTC).isoformat(timespec="seconds")

    def put(card: FpgaCard) -> FpgaCard:
        carrier = card.board if board is None else find_board(board)
        if loaded.board != carrier.name:
            raise _misfit(loaded, card.name, carrier)
        return FpgaCard(card.name, carrier, loaded, now)

    return _change(name, state, put)


def erase(name: str, *, state: Path | None = None) -> tuple[FpgaCard, ...]:
    """Take the bitstream off a card, or off all, durably; return the cards as they are then.

    Raises:
        UsageError: `fpga-state-place`.
        DeviceError: `fpga-card`.
        DataError: `fpga-state`.
    """
    return _change(name, state, lambda card: FpgaCard(card.name, card.board, None, None))


def _change(
    name: str, state: Path | None, change: Callable[[FpgaCard], FpgaCard]
) -> tuple[FpgaCard, ...]:
    with _held(state) as path:
        cards = list_cards(path) if name == "all" else (find_card(name, path),)
        changed = tuple(map(change, cards))
        _write(path, changed)
    return changed


def _misfit(bitstream: Bitstream, card: str, board: Board) -> UsageError:
    fitting = [candidate.name for candidate in bitstreams_for(board.name)]
    near = difflib.get_close_matches(bitstream.name, fitting, n=3, cutoff=0.0)
    those = f"the nearest of its {len(fitting)} are {', '.join(near)}" if near else "it has none"
    return UsageError(
        "fpga-board-bitstream",
        f"{bitstream.name} is for board {bitstream.board}, and {card} is a {board.name}: {those}; "
        f"`thorax fpga list --board {board.name}` has all; choose one of them, or "
        f"make the card another: --board {bitstream.board}",
    )


def _card(name: str, state: _State) -> FpgaCard:
    entry = state.cards.get(name, _Programmed(board=DEFAULT_BOARD))
    loaded = None if entry.bitstream is None else find_bitstream(entry.bitstream)
    return FpgaCard(name, find_board(entry.board), loaded, entry.programmed)


def verify(state: Path) -> int:
    """Check a state file from end to end; return how many cards are programmed by it.

    Raises:
        DataError: `fpga-state` when it is not there or is not what was written.
    """
    if not state.exists():
        raise DataError("fpga-state", f"{state} is not there; `thorax fpga program` makes it")
    return sum(entry.bitstream is not None for entry in _read(state).cards.values())


def _read(state: Path | None) -> _State:
    path = state or state_path()
    if path is None:
        return _State()
    try:
        text = read_limited(path, _MOST_BYTES)
    except FileNotFoundError:
        return _State()
    except OSError as error:
        raise DataError(
            "fpga-state",
            f"{path} cannot be read: {error.strerror}; name a file by --state or a folder by "
            "XDG_STATE_HOME",
        ) from error
    saved = _sound(text)
    if saved is None:
        raise DataError(
            "fpga-state",
            f"{path} is damaged or was written by another version; remove it, and the cards are "
            "as they come: not programmed",
        )
    return saved


def _sound(text: bytes) -> _State | None:
    """Return the state that a file holds, None if it is not one that was written here."""
    try:
        document = parse_json(text)
        saved = _State.model_validate(document)
        cards = [_card(name, saved) for name in saved.cards]
    except (ValueError, ValidationError, UsageError):
        return None
    whole = saved.format == _FORMAT and saved.sha256 == document_digest(document)
    fit = all(
        card.name in CARDS and (card.bitstream is None or card.bitstream.board == card.board.name)
        for card in cards
    )
    return saved if whole and fit else None


def _write(path: Path, cards: Iterable[FpgaCard]) -> None:
    entries = {
        card.name: _Programmed(
            board=card.board.name,
            bitstream=card.bitstream.name if card.bitstream else None,
            programmed=card.programmed,
        )
        for card in (*list_cards(path), *cards)
    }
    document = _State(cards=entries).model_dump(exclude={"sha256"})
    document["sha256"] = document_digest(document)
    with _refused(path):
        write_text(path, json.dumps(document, indent=2) + "\n")


@contextmanager
def _held(state: Path | None) -> Iterator[Path]:
    """Hold the file of the state, which a link may lead to, against other programs."""
    path = state or state_path()
    if path is None:
        raise UsageError(
            "fpga-state-place",
            f"what cards are programmed with has no place to be kept: user {os.getuid()} has no "
            "home here; set XDG_STATE_HOME to a folder, or name a file by --state",
        )
    # What cannot be read is refused as that, before anything is written beside it.
    _read(path)
    path = Path(os.path.realpath(path))
    with ExitStack() as stack:
        with _refused(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            require_place(path)
            stack.enter_context(locked(path, wait=True))
        yield path


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            "fpga-state-place",
            f"{path} cannot be written: {error.strerror or error}; name a file by --state or a "
            "folder by XDG_STATE_HOME",
        ) from error
