"""`thorax partition`: which device runs which layer of a network."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from thorax.cli import console
from thorax.cli.fpga import AnyNetwork, Side, State
from thorax.cli.options import Json

partition_app = typer.Typer()


@partition_app.command(
    epilog="Example:  thorax partition model-fp32 -d HETERO:FPGA,CPU --svg partition.svg"
)
def partition(
    model: AnyNetwork,
    device: Annotated[
        str, Option("-d", "--device", help="FPGA, HETERO:FPGA,CPU, HETERO:FPGA.0,FPGA.1,CPU, CPU.")
    ] = "HETERO:FPGA,CPU",
    svg: Annotated[Path | None, Option(help="Draw the subgraphs.")] = None,
    all_layers: Annotated[
        bool, Option("--all", help="Show every layer, not those off the first device.")
    ] = False,
    merge: Annotated[
        bool, Option("--merge/--no-merge", help="Move tiny subgraphs to their neighbour.")
    ] = True,
    side: Side = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Who runs what of a network, why, what crosses, and the cards' time, which is modelled."""
    from thorax.devices.card_model import find_offloads
    from thorax.devices.core import list_parts, simulates
    from thorax.devices.engine import require_precision
    from thorax.devices.partition import partition as split_network
    from thorax.devices.partition import set_apart
    from thorax.devices.partition_result import partition_result
    from thorax.files.atomic import require_place
    from thorax.fpga.card import list_cards
    from thorax.importers.options import ImportOptions
    from thorax.ir.open import open_model
    from thorax.report.partition import TOP, partition_tables
    from thorax.report.partition_drawing import require_svg, write_drawing

    if svg is not None:
        require_svg(svg)
        require_place(svg)
    graph = open_model(model, ImportOptions(side=side))
    if graph.card is not None:
        require_precision(graph.card.precision, device, list_parts(device))
    set_apart(graph.model)
    split = split_network(graph.model, device, merge=merge, state=state)
    cards = {card.name: card for card in list_cards(state)} if simulates(device) else {}
    result = partition_result(
        graph.name,
        list_parts(device),
        split,
        find_offloads(graph.model, split, cards),
        outputs={
            port.get_node().get_friendly_name(): port.any_name for port in graph.model.outputs
        },
    )
    if svg is not None:
        write_drawing(result, svg)
    tables = partition_tables(result, top=None if all_layers else TOP)
    console.answer(result, json, lambda: tables, *([f"drawing: {svg}"] if svg else []))
