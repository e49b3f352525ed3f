"""The commands below `thorax fpga`: simulated cards, their bitstreams, what an overlay would do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import Json
from thorax.errors import UsageError

if TYPE_CHECKING:
    from thorax.fpga.bitstreams import Bitstream
    from thorax.fpga.boards import Board
    from thorax.fpga.card import Card


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    with console.progress(what, total) as ticker:
        yield ticker.advance


fpga_app = typer.Typer(
    no_args_is_help=True,
    help="Simulated FPGA cards: their arithmetic is real, their time and power are modelled.",
)

partition_app = typer.Typer()
"""What stands beside `thorax fpga`."""

State = Annotated[
    Path | None, Option(help="File of the cards' state; default: thorax/fpga.json in XDG's state.")
]
_Word = TypeVar("_Word", bound=str)

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
    str | None,
    Option(help="Whose power counts; default: pac-a10 for Arria 10, none for others."),
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

    there = None if board is None else find_board(board)
    if bitstreams or there is not None:
        known = BITSTREAMS.values() if there is None else bitstreams_for(there.name)
        document = [_bitstream(one) for one in known]
        table = bitstreams_table(document)
    else:
        require_simulated()
        document = [_card(card) for card in list_cards(state)]
        table = cards_table(document)

    def show() -> None:
        if document or there is None:
            console.show(table)
        else:
            print(f"no bitstream of 2018 to 2020 is for {there.name}; an overlay can be designed")
            print(f"next: thorax fpga search MODEL --family {there.family}")

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

    require_simulated()
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
    from thorax.devices.core import require_simulated
    from thorax.fpga.card import erase as take

    require_simulated()
    made = take(card, state=state)

    def show() -> None:
        for one in made:
            print(f"{one.name}: {one.full_name}")

    document = {"command": "fpga erase", "cards": [_card(one) for one in made]}
    console.emit(document, as_json=json, show=show)


@fpga_app.command(epilog="Example:  thorax fpga analyze model --arch 8x48-fp11 --batch 8")
def analyze(
    model: AnyNetwork,
    arch: Annotated[
        str, Option(help="A .toml file, a name, an old architecture string, or a bitstream.")
    ],
    batch: Batch = 1,
    board: BoardName = None,
    all_layers: Annotated[
        bool, Option("--all", help="Show every layer, not those that take longest.")
    ] = False,
    side: Side = None,
    json: Json = False,
) -> None:
    """Modelled speed, memory traffic and area of a network on an overlay, layer by layer."""
    from thorax.fpga.architecture import find_architecture
    from thorax.fpga.bitstreams import named_bitstream
    from thorax.fpga.workload import describe
    from thorax.importers.options import ImportOptions
    from thorax.ir.open import open_model
    from thorax.report.fpga_estimates import analyze as look

    known = named_bitstream(arch)
    architecture = find_architecture(arch) if known is None else known.architecture
    there = _board_for(architecture.family, board, architecture.name)
    graph = open_model(model, ImportOptions(side=side))
    document = look(graph.name, describe(graph.model), architecture, batch=batch, board=there)

    def show() -> None:
        from thorax.report.fpga_estimates import TOP, analyze_tables

        console.show(*analyze_tables(document, top=None if all_layers else TOP))

    console.emit(document, as_json=json, show=show)


@fpga_app.command(epilog="Example:  thorax fpga search model --family arria10 --out fastest.toml")
def search(
    model: AnyNetwork,
    family: Annotated[str, Option(help="arria10 (GX 1150) or agilex7 (F 014).")] = "arria10",
    precision: Annotated[
        str, Option(help="fp16, fp13agx, fp12agx, fp11, or the exploratory fp9, fp8.")
    ] = "fp11",
    weights: Annotated[str, Option(help="block, or the exploratory ternary, binary.")] = "block",
    batch: Batch = 1,
    board: BoardName = None,
    out: Annotated[Path | None, Option(help="Write the architecture to a .toml file.")] = None,
    side: Side = None,
    json: Json = False,
) -> None:
    """Find the architecture that is fastest for a network, as modelled, and fits its FPGA."""
    from typing import get_args

    from thorax.config import write_effective
    from thorax.files.atomic import require_place
    from thorax.fpga.architecture import OverlayPrecision, Weights
    from thorax.fpga.search import FAMILIES
    from thorax.fpga.search import search as find
    from thorax.fpga.workload import describe
    from thorax.importers.options import ImportOptions
    from thorax.ir.open import open_model
    from thorax.report.fpga_estimates import analyze as look

    kind = _choice(family, tuple(FAMILIES), "--family")
    number = _choice(precision, get_args(OverlayPrecision), "--precision")
    ways = _choice(weights, get_args(Weights), "--weights")
    there = _board_for(kind, board, "the search")
    if out is not None:
        require_place(out)
    graph = open_model(model, ImportOptions(side=side))
    layers = describe(graph.model)
    found = find(
        layers,
        kind,
        precision=number,
        weights=ways,
        batch=batch,
    )
    if out is not None:
        write_effective(found, out)
    document = {
        **look(graph.name, layers, found, batch=batch, board=there),
        "command": "fpga search",
        "family": kind,
        "out": None if out is None else str(out),
    }

    def show() -> None:
        from thorax.report.fpga_estimates import area_table, totals_table

        console.show(totals_table(document), area_table(document))
        if out is not None:
            print(f"architecture: {out}")
            print(f"next: thorax fpga analyze {model} --arch {out}")

    console.emit(document, as_json=json, show=show)


def _board_for(family: str, board: str | None, what: str) -> "Board | None":
    """Return the board whose power counts for a family, None where none is known."""
    from thorax.fpga.boards import find_board

    name = board or ("pac-a10" if family == "arria10" else None)
    found = None if name is None else find_board(name)
    if found is not None and found.family != family:
        raise UsageError(
            "fpga-board-family",
            f"{found.name} carries {found.family} and {what} is for {family}; choose a board of "
            "that family, or leave out --board",
        )
    return found


def _choice(text: str, allowed: tuple[_Word, ...], option: str) -> _Word:
    for word in allowed:
        if text.lower() == word:
            return word
    raise UsageError("option-choice", f"{option} is {text!r}; allowed are {', '.join(allowed)}")


@fpga_app.command(epilog="Example:  thorax fpga explore model-fp32 --data store --out explored")
def explore(
    model: Annotated[Path, Argument(help="Artifact folder of fp32 or fp16.")],
    data: Annotated[Path, Option(help="Store: radiographs that judge what is left.")],
    out: Annotated[
        Path | None, Option(help="Folder for explore.json, explore.svg and explore.png.")
    ] = None,
    board: Annotated[str, Option(help="Whose FPGA is filled; see docs/fpga.md.")] = "pac-a10",
    split: Annotated[str, Option(help="train, val or test.")] = "val",
    images: Annotated[
        int | None,
        Option(min=1, max=2**31, help="How many of the split, evenly spaced; default: all."),
    ] = None,
    side: Annotated[
        int | None,
        Option(
            min=8,
            max=65536,
            help="Of the images that speed is modelled for; default: the network's.",
        ),
    ] = None,
    samples: Annotated[
        int, Option(min=100, max=1_000_000, help="Bootstrap resamples of patients.")
    ] = 1000,
    json: Json = False,
) -> None:
    """AUROC in falling precision, computed, against images/s and images/s/W, modelled."""
    from thorax.artifact import load
    from thorax.data.store import open_store
    from thorax.evaluate import low_precision as run
    from thorax.fpga.boards import find_board
    from thorax.report.fpga import explore_table

    wanted = find_board(board)
    artifact, store = load(model), open_store(data)
    if out is not None:
        # Before what takes long: the folder and the library that draws are there.
        from thorax.report.fpga_plots import write_explore_plot

        out.mkdir(parents=True, exist_ok=True)
    found = run.explore(
        artifact,
        store,
        wanted,
        split=split,
        images=images,
        side=side,
        samples=samples,
        bar=_bar,
    )
    document = run.document(found)
    if out is not None:
        console.save(document, out / "explore.json")
        write_explore_plot(document, out)

    def show() -> None:
        console.show(explore_table(document))
        if out is not None:
            print(f"plot: {out / 'explore.svg'}, {out / 'explore.png'}")

    console.emit(document, as_json=json, show=show)


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
    from thorax.devices.card_model import find_offloads, forecast
    from thorax.devices.core import list_parts, simulates
    from thorax.devices.engine import require_precision
    from thorax.devices.partition import partition as split
    from thorax.devices.partition import set_apart
    from thorax.files.atomic import require_place
    from thorax.fpga.card import list_cards
    from thorax.importers.options import ImportOptions
    from thorax.ir.open import open_model
    from thorax.report.partition import TOP, document, partition_tables
    from thorax.report.partition_drawing import require_svg, write_drawing

    if svg is not None:
        require_svg(svg)
        require_place(svg)
    graph = open_model(model, ImportOptions(side=side))
    if graph.card is not None:
        require_precision(graph.card.precision, device, list_parts(device))
    set_apart(graph.model)
    made = split(graph.model, device, merge=merge, state=state)
    cards = {card.name: card for card in list_cards(state)} if simulates(device) else {}
    offloads = find_offloads(graph.model, made, cards)
    told = document(
        graph.name,
        list_parts(device),
        made,
        forecast(offloads) if offloads else None,
        answers={
            port.get_node().get_friendly_name(): port.any_name for port in graph.model.outputs
        },
    )
    if svg is not None:
        write_drawing(told, svg)

    def show() -> None:
        console.show(*partition_tables(told, top=None if all_layers else TOP))
        if svg is not None:
            print(f"drawing: {svg}")

    console.emit(told, as_json=json, show=show)
