"""The commands that plan: what servers and clusters would do. Everything they say is modelled."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from thorax import console
from thorax.cli_data import Json
from thorax.errors import UsageError

if TYPE_CHECKING:
    from thorax.plan.server import Reading

plan_app = typer.Typer(
    no_args_is_help=True,
    help="What servers and clusters would do and draw: modelled, not measured.",
)

Figure = Annotated[Path | None, Option(help="Draw it to this .svg file.")]


@plan_app.command(
    epilog="Example:  thorax plan server --preset r740 --cards 0..4 --figure r740.svg"
)
def server(
    preset: Annotated[
        str, Option(help="r740, r640 or r740-2019: servers of published constants.")
    ] = "r740",
    cards: Annotated[
        str | None, Option(help="How many: 4, 0,2,4 or 0..4; default: all that it holds.")
    ] = None,
    reading: Annotated[
        str,
        Option(help="What the CPU does meanwhile: additive (computes), offload (idles), both."),
    ] = "both",
    figure: Figure = None,
    json: Json = False,
) -> None:
    """Images/s, watts and images/s/W of a server with cards, under both readings of the text."""
    from thorax.measure.plan_tables import server_table
    from thorax.plan.outlook import cards_in, plan_server
    from thorax.plan.presets import find_preset

    found = find_preset(preset)
    counts = cards_in(cards) if cards is not None else range((found.max_cards or 0) + 1)
    document = plan_server(found, tuple(counts), _readings(reading))
    if figure is not None:
        from thorax.measure.plan_plots import server_plot, write_picture

        write_picture(server_plot(document), figure)

    def show() -> None:
        console.show(server_table(document))
        if figure is not None:
            print(f"figure: {figure}")

    console.emit(document, as_json=json, show=show)


def _readings(text: str) -> "tuple[Reading, ...]":
    from thorax.plan.server import Reading

    if text == "both":
        return tuple(Reading)
    if text not in set(Reading):
        allowed = ", ".join((*Reading, "both"))
        raise UsageError("option-choice", f"--reading is {text!r}; allowed are {allowed}")
    return (Reading(text),)
