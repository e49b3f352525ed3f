"""The commands below `thorax fpga`: simulated cards, their bitstreams, what an overlay would do."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from thorax import console
from thorax.cli_data import Json

fpga_app = typer.Typer(
    no_args_is_help=True,
    help="Simulated FPGA cards: their arithmetic is real, their time and power are modelled.",
)

State = Annotated[
    Path | None, Option(help="File of the cards' state; default: thorax/fpga.json in XDG's state.")
]


@fpga_app.command("list", epilog="Example:  thorax fpga list --bitstreams")
def list_(
    bitstreams: Annotated[
        bool, Option("--bitstreams", help="The bitstreams there are, not the cards.")
    ] = False,
    state: State = None,
    json: Json = False,
) -> None:
    """The cards of this machine with what they are programmed with, or every bitstream."""
    from thorax.fpga.card import list_cards

    cards = list_cards(state)
    document = [
        {
            "name": card.name,
            "board": card.board.name,
            "bitstream": card.bitstream.name if card.bitstream else None,
            "precision": card.bitstream.precision if card.bitstream else None,
            "power_w": card.board.power_w,
            "simulated": card.simulated,
        }
        for card in cards
    ]
    console.emit(document, as_json=json, show=lambda: None)


@fpga_app.command(
    epilog="Example:  thorax fpga program FPGA.0 2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
)
def program(
    card: Annotated[str, Argument(help="FPGA.0 to FPGA.3, or all.")],
    bitstream: Annotated[str, Argument(help="Name; see `thorax fpga list --bitstreams`.")],
    board: Annotated[str | None, Option(help="What the card is from now on.")] = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Put a bitstream on a simulated card, as `aocl program` does on a real one."""
    from thorax.fpga.card import program as put

    made = put(card, bitstream, board=board, state=state)
    document = {"command": "fpga program", "cards": [one.name for one in made]}
    console.emit(document, as_json=json, show=lambda: print(made[0].full_name))
