"""`thorax partition`, and the commands below `thorax fpga`.

They tell which device runs which layer of a network, and of simulated cards, their bitstreams, and
what an overlay would do.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.optimize import FileShape
from thorax.cli.options import Json, device_option, one_by_one, one_of
from thorax.errors import UsageError
from thorax.files.atomic import write_text

if TYPE_CHECKING:
    from thorax.fpga.boards import Board
    from thorax.results.fpga import BitstreamFeatures, CardStatus


partition_app = typer.Typer()
fpga_app = typer.Typer(
    no_args_is_help=True,
    help="Simulated FPGA cards: their arithmetic is real, their time and power are modelled.",
)

State = Annotated[
    Path | None, Option(help="File of the cards' state; default: thorax/fpga.json in XDG's state.")
]

AnyNetwork = Annotated[
    Path, Argument(metavar="MODEL", help="Artifact folder, OpenVINO IR, or any model file.")
]
Batch = Annotated[
    int, Option(min=1, max=65536, help="Images that share the weights of linear layers.")
]
Side = Annotated[
    int | None, Option(min=1, max=65536, help="Input side where a file leaves it open.")
]
BoardName = Annotated[
    str | None, Option(help="Whose power counts; default: pac-a10 for Arria 10, none for others.")
]
CardName = Annotated[str, Argument(metavar="CARD", help="FPGA.0 to FPGA.3, or all.")]


@fpga_app.command("list", epilog="Example:  thorax fpga list --bitstreams")
def list_(
    bitstreams: Annotated[
        bool, Option("--bitstreams", help="The bitstreams there are, not the cards.")
    ] = False,
    board: Annotated[
        str | None, Option(help="The bitstreams of this board, not the cards.")
    ] = None,
    state: State = None,
    json: Json = False,
) -> None:
    """The cards of this machine with what they are programmed with, or every bitstream."""
    from thorax.devices.core import require_simulated
    from thorax.fpga.bitstreams import BITSTREAMS, bitstreams_for
    from thorax.fpga.boards import find_board
    from thorax.fpga.card import list_cards
    from thorax.report.fpga import bitstreams_table, cards_table

    only = None if board is None else find_board(board)
    listed: Sequence[BitstreamFeatures | CardStatus]
    if bitstreams or only is not None:
        of_board = BITSTREAMS.values() if only is None else bitstreams_for(only.name)
        listed = features = [bitstream.features() for bitstream in of_board]
        table = bitstreams_table(features)
    else:
        require_simulated()
        listed = cards = [card.status() for card in list_cards(state)]
        table = cards_table(cards)

    def show() -> None:
        if listed or only is None:
            console.show(table)
        else:
            print(f"no bitstream of 2018 to 2020 is for {only.name}; an overlay can be designed")
            print(f"next: thorax fpga search MODEL --family {only.family}")

    document = [entry.model_dump(mode="json") for entry in listed]
    console.emit(document, as_json=json, show=show)


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
    from thorax.devices.core import require_simulated
    from thorax.fpga.card import program as put
    from thorax.results.fpga import ProgramResult

    require_simulated()
    cards = tuple(card.status() for card in put(card, bitstream, board=board, state=state))
    step = f"next: thorax classify MODEL IMAGE... -d HETERO:{cards[0].name},CPU"
    console.answer(ProgramResult(cards=cards), json, lambda: (), *_named(cards), step)


@fpga_app.command(epilog="Example:  thorax fpga erase all")
def erase(card: CardName, state: State = None, json: Json = False) -> None:
    """Take the bitstream off a simulated card."""
    from thorax.devices.core import require_simulated
    from thorax.fpga.card import erase as take
    from thorax.results.fpga import EraseResult

    require_simulated()
    cards = tuple(card.status() for card in take(card, state=state))
    console.answer(EraseResult(cards=cards), json, lambda: (), *_named(cards))


def _named(cards: "Sequence[CardStatus]") -> list[str]:
    return [f"{card.name}: {card.full_name}" for card in cards]


@fpga_app.command(epilog="Example:  thorax fpga analyze model --arch 8x48-fp11 --batch 8")
@one_by_one
def analyze(
    model: AnyNetwork,
    *,
    arch: Annotated[
        str, Option(help="A .toml file, a name, an old architecture string, or a bitstream.")
    ],
    batch: Batch = 1,
    board: BoardName = None,
    all_layers: Annotated[
        bool, Option("--all", help="Show every layer, not those that take longest.")
    ] = False,
    shape: FileShape,
    json: Json = False,
) -> None:
    """Modelled speed, memory traffic and area of a network on an overlay, layer by layer."""
    from thorax.devices.partition import set_apart
    from thorax.fpga.architecture import find_architecture
    from thorax.fpga.bitstreams import named_bitstream
    from thorax.fpga.estimate import analyze as estimate
    from thorax.fpga.support import out_of_range
    from thorax.fpga.workload import describe
    from thorax.ir.open import open_model
    from thorax.report.fpga import TOP, overlay_tables

    bitstream = named_bitstream(arch)
    architecture = find_architecture(arch) if bitstream is None else bitstream.architecture
    powered = _board_for(architecture.family, board, architecture.name)
    graph = open_model(model, shape.import_options())
    set_apart(graph.model)
    layers, beyond = describe(graph.model), out_of_range(graph.model, architecture)
    result = estimate(
        graph.name,
        layers,
        architecture,
        batch=batch,
        board=powered,
        bitstream=bitstream,
        out_of_range=beyond,
    )
    console.answer(result, json, lambda: overlay_tables(result, top=None if all_layers else TOP))


@dataclass(frozen=True)
class Searched:
    """Kind of overlay that is searched for."""

    family: Annotated[str, Option(help="arria10 (GX 1150) or agilex7 (F 014).")] = "arria10"
    precision: Annotated[
        str, Option(help="fp16, fp13agx, fp12agx, fp11, or the exploratory fp9, fp8.")
    ] = "fp11"
    weights: Annotated[str, Option(help="block, or the exploratory ternary, binary.")] = "block"


@fpga_app.command(epilog="Example:  thorax fpga search model --family arria10 --out fastest.toml")
@one_by_one
def search(
    model: AnyNetwork,
    searched: Searched,
    batch: Batch = 1,
    board: BoardName = None,
    out: Annotated[Path | None, Option(help="Write the architecture to a .toml file.")] = None,
    *,
    shape: FileShape,
    json: Json = False,
) -> None:
    """Find the architecture that is fastest for a network, as modelled, and fits its FPGA."""
    from typing import get_args

    from thorax.config import write_effective
    from thorax.files.atomic import require_place
    from thorax.fpga.architecture import OverlayPrecision, Weights
    from thorax.fpga.estimate import analyze as estimate
    from thorax.fpga.search import FAMILIES
    from thorax.fpga.search import search as find
    from thorax.fpga.workload import describe
    from thorax.ir.open import open_model
    from thorax.report.fpga import overlay_tables
    from thorax.results.fpga import OverlaySearch

    family = one_of("--family", searched.family, FAMILIES)
    precision = one_of("--precision", searched.precision, get_args(OverlayPrecision))
    weights = one_of("--weights", searched.weights, get_args(Weights))
    powered = _board_for(family, board, "the search")
    if out is not None:
        require_place(out)
    graph = open_model(model, shape.import_options())
    layers = describe(graph.model)
    fastest = find(layers, family, precision=precision, weights=weights, batch=batch)
    if out is not None:
        write_effective(fastest, out, signed=True)
    result = OverlaySearch.of(
        estimate(graph.name, layers, fastest, batch=batch, board=powered),
        family=family,
        out=None if out is None else str(out),
    )
    written = (f"architecture: {out}", f"next: thorax fpga analyze {model} --arch {out}")
    console.answer(result, json, lambda: overlay_tables(result), *(written if out else ()))


def _board_for(family: str, board: str | None, what: str) -> "Board | None":
    """Return the board whose power counts for a family, None where none is known."""
    from thorax.fpga.boards import find_board

    name = board or ("pac-a10" if family == "arria10" else None)
    powered = None if name is None else find_board(name)
    if powered is not None and powered.family != family:
        raise UsageError(
            "fpga-board-family",
            f"{powered.name} carries {powered.family} and {what} is for {family}; choose a board "
            "of that family, or leave out --board",
        )
    return powered


@dataclass(frozen=True)
class Explored:
    """Radiographs and image side of an exploration."""

    split: Annotated[str, Option(help="train, val or test.")] = "val"
    images: Annotated[
        int | None,
        Option(min=1, max=2**31, help="How many of the split, evenly spaced; default: all."),
    ] = None
    side: Annotated[
        int | None,
        Option(
            min=8,
            max=65536,
            help="Of the images that speed is modelled for; default: the network's.",
        ),
    ] = None
    samples: Annotated[
        int, Option(min=100, max=1_000_000, help="Bootstrap resamples of patients.")
    ] = 1000


@fpga_app.command(epilog="Example:  thorax fpga explore model-fp32 --data store --out explored")
@one_by_one
def explore(
    model: Annotated[Path, Argument(help="Artifact folder of fp32 or fp16.")],
    data: Annotated[Path, Option(help="Store: radiographs that judge what is left.")],
    out: Annotated[
        Path | None, Option(help="Folder for explore.json, explore.svg and explore.png.")
    ] = None,
    board: Annotated[str, Option(help="Whose FPGA is filled; see docs/fpga.md.")] = "pac-a10",
    *,
    explored: Explored,
    json: Json = False,
) -> None:
    """AUROC in falling precision, computed, against images/s and images/s/W, modelled."""
    from thorax.artifact import load
    from thorax.data.store import open_store
    from thorax.evaluate import low_precision
    from thorax.fpga.boards import find_board
    from thorax.report.fpga import explore_table

    filled = find_board(board)
    artifact, store = load(model), open_store(data)
    if out is not None:
        # Before what takes long: the folder and the library that draws are there.
        from thorax.report.fpga_plots import write_explore_plot

        out.mkdir(parents=True, exist_ok=True)
    options = low_precision.ExploreOptions(**asdict(explored))
    result = low_precision.explore(artifact, store, filled, options, bar=console.counting)
    if out is not None:
        write_text(out / "explore.json", result.to_json())
        write_explore_plot(result, out)
    written = [f"plot: {out / 'explore.svg'}, {out / 'explore.png'}"] if out else []
    console.answer(result, json, lambda: [explore_table(result)], *written)


@partition_app.command(
    epilog="Example:  thorax partition model-fp32 -d HETERO:FPGA,CPU --svg partition.svg"
)
@one_by_one
def partition(
    model: AnyNetwork,
    device: Annotated[
        str, device_option(help="FPGA, HETERO:FPGA,CPU, HETERO:FPGA.0,FPGA.1,CPU, CPU.")
    ] = "HETERO:FPGA,CPU",
    svg: Annotated[Path | None, Option(help="Draw the subgraphs.")] = None,
    all_layers: Annotated[
        bool, Option("--all", help="Show every layer, not those off the first device.")
    ] = False,
    merge: Annotated[
        bool, Option("--merge/--no-merge", help="Move tiny subgraphs to their neighbour.")
    ] = True,
    *,
    shape: FileShape,
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
    from thorax.ir.open import open_model
    from thorax.report.partition import TOP, partition_tables
    from thorax.report.partition_drawing import write_drawing
    from thorax.report.picture import require_svg

    if svg is not None:
        require_svg(svg)
        require_place(svg)
    graph = open_model(model, shape.import_options())
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
