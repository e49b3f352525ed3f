"""The commands below `thorax fpga`: simulated cards, their bitstreams, what an overlay would do."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from thorax import console
from thorax.cli_data import Json

if TYPE_CHECKING:
    from thorax.fpga.bitstreams import Bitstream
    from thorax.fpga.card import Card

fpga_app = typer.Typer(
    no_args_is_help=True,
    help="Simulated FPGA cards: their arithmetic is real, their time and power are modelled.",
)

State = Annotated[
    Path | None, Option(help="File of the cards' state; default: thorax/fpga.json in XDG's state.")
]
CardName = Annotated[str, Argument(metavar="CARD", help="FPGA.0 to FPGA.3, or all.")]


def _card(card: "Card") -> dict[str, Any]:
    return {
        "name": card.name,
        "full_name": card.full_name,
        "board": card.board.name,
        "bitstream": card.bitstream.name if card.bitstream else None,
        "precision": card.bitstream.precision if card.bitstream else None,
        "programmed": card.programmed,
        "power_w": card.board.power_w,
        "power_source": card.board.power_source,
        "power": [asdict(figure) for figure in card.board.power],
        "simulated": card.simulated,
    }


def _bitstream(one: "Bitstream") -> dict[str, Any]:
    architecture = one.architecture
    ranges = architecture.ranges
    return {
        "name": one.name,
        "release": one.release,
        "board": one.board,
        "precision": one.precision,
        "topologies": list(one.topologies),
        "activations": list(one.activations),
        "normalisation": one.normalisation,
        "architecture": architecture.name,
        "vectors": [
            architecture.p_vector,
            architecture.q_vector,
            architecture.c_vector,
            architecture.k_vector,
        ],
        "max_kernel": ranges.max_kernel,
        "max_stride": ranges.max_stride,
        "max_dilation": ranges.max_dilation,
        "max_pool_window": ranges.max_pool_window,
        "max_channels": ranges.max_channels,
        "max_height": ranges.max_height,
        "max_width": ranges.max_width,
        "assumed": list(one.assumed),
    }


@fpga_app.command("list", epilog="Example:  thorax fpga list --bitstreams")
def list_(
    bitstreams: Annotated[
        bool, Option("--bitstreams", help="The bitstreams there are, not the cards.")
    ] = False,
    board: Annotated[str | None, Option(help="With --bitstreams: those of this board.")] = None,
    state: State = None,
    json: Json = False,
) -> None:
    """The cards of this machine with what they are programmed with, or every bitstream."""
    from thorax.fpga.bitstreams import BITSTREAMS, bitstreams_for
    from thorax.fpga.boards import find_board
    from thorax.fpga.card import list_cards
    from thorax.measure.fpga_tables import bitstreams_table, cards_table

    if bitstreams:
        known = BITSTREAMS.values() if board is None else bitstreams_for(find_board(board).name)
        document = [_bitstream(one) for one in known]
        table = bitstreams_table(document)
    else:
        document = [_card(card) for card in list_cards(state)]
        table = cards_table(document)
    console.emit(document, as_json=json, show=lambda: console.show(table))


@fpga_app.command(
    epilog="Example:  thorax fpga program FPGA.0 2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
)
def program(
    card: CardName,
    bitstream: Annotated[str, Argument(help="Name; see `thorax fpga list --bitstreams`.")],
    board: Annotated[
        str | None, Option(help="What the card is from now on; default: what it is.")
    ] = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Put a bitstream on a simulated card, as `aocl program` does on a real one."""
    from thorax.fpga.card import program as put

    made = put(card, bitstream, board=board, state=state)

    def show() -> None:
        for one in made:
            print(f"{one.name}: {one.full_name}")
        print(f"next: thorax classify MODEL IMAGE... -d HETERO:{made[0].name},CPU")

    document = {"command": "fpga program", "cards": [_card(one) for one in made]}
    console.emit(document, as_json=json, show=show)


@fpga_app.command(epilog="Example:  thorax fpga erase all")
def erase(card: CardName, state: State = None, json: Json = False) -> None:
    """Take the bitstream off a simulated card."""
    from thorax.fpga.card import erase as take

    made = take(card, state=state)

    def show() -> None:
        for one in made:
            print(f"{one.name}: {one.full_name}")

    document = {"command": "fpga erase", "cards": [_card(one) for one in made]}
    console.emit(document, as_json=json, show=show)
