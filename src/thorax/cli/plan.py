"""The commands that plan: what servers and clusters would do. Everything they say is modelled."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from typer import Option

from thorax.cli import console
from thorax.cli.options import Json, one_by_one, one_of
from thorax.errors import UsageError

if TYPE_CHECKING:
    from thorax.fpga.architecture import Architecture
    from thorax.fpga.bitstreams import Bitstream
    from thorax.plan.cluster_plan import ClusterQuestion
    from thorax.plan.server import Server
    from thorax.plan.server_plan import ServerQuestion
    from thorax.plan.systems import System
    from thorax.results.plan import PublishedRow

plan_app = typer.Typer(
    no_args_is_help=True,
    help="What servers and clusters would do and draw: modelled, not measured.",
)

Figure = Annotated[Path | None, Option(help="Draw it to this .svg file.")]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Which server is planned."""

    preset: Annotated[
        str | None, Option(help="r740, r640 or r740-2019, of published constants; default: r740.")
    ] = None
    file: Annotated[
        Path | None, Option(help="A server of your own, TOML; --write-file shows one.")
    ] = None
    settings: Annotated[
        list[str] | None,
        Option("--set", metavar="KEY=VALUE", help="Change a constant, as cpu.idle_w=120."),
    ] = None
    measured: Annotated[
        list[Path] | None,
        Option(help="JSON of an offline `thorax benchmark`: the CPU's rate, or a card's stages."),
    ] = None
    model: Annotated[
        Path | None, Option(help="Network whose card is modelled, with --bitstream or --arch.")
    ] = None
    bitstream: Annotated[str | None, Option(help="See `thorax fpga list --bitstreams`.")] = None
    arch: Annotated[
        str | None, Option(help="As of `thorax fpga analyze`: a .toml file, a name or a string.")
    ] = None
    others_ms: Annotated[
        float | None,
        Option(
            min=0, max=1e9, help="With --model: of an image in the layers that stay on the CPU."
        ),
    ] = None
    batch: Annotated[
        int | None, Option(min=1, max=65536, help="With --model: images of a batch; default: 1.")
    ] = None


@dataclass(frozen=True, slots=True)
class DemandOptions:
    """What it is asked to do."""

    cards: Annotated[
        str | None, Option(help="How many: 4, 0,2,4 or 0..4; default: all that it holds.")
    ] = None
    reading: Annotated[
        str, Option(help="What the CPU does meanwhile: additive (computes), offload (idles), both.")
    ] = "both"
    rate: Annotated[
        float | None,
        Option(min=1e-9, max=1e12, help="Images/s that arrive; default: all that it can do."),
    ] = None
    load: Annotated[
        float | None,
        Option(min=0.01, max=0.99, help="Share of that, at which latency is told; default: 0.8."),
    ] = None
    arrivals: Annotated[str, Option(help="poisson, constant or saturated.")] = "poisson"
    latency_limit_ms: Annotated[
        float | None,
        Option(min=1e-6, max=1e9, help="Find the most images/s whose p99 stays within it."),
    ] = None
    images: Annotated[int, Option(min=1000, max=10_000_000, help="Images simulated in a run.")] = (
        20000
    )
    runs: Annotated[
        int, Option(min=1, max=100, help="Of other arrivals each, whose spread is told.")
    ] = 5
    seed: Annotated[int, Option(min=0, max=2**63 - 1, help="Of the arrivals.")] = 0


@dataclass(frozen=True, slots=True)
class PriceOptions:
    """What things cost."""

    energy_price: Annotated[float | None, Option(min=0, max=1e12, help="Of a kWh.")] = None
    hardware_price: Annotated[
        float | None, Option(min=0, max=1e12, help="Of the server without cards.")
    ] = None
    card_price: Annotated[float | None, Option(min=0, max=1e12, help="Of one card.")] = None
    years: Annotated[
        float | None, Option(min=0.01, max=100, help="That the hardware is used for.")
    ] = None
    utilization: Annotated[
        float | None, Option(min=0.001, max=1, help="Share of that time that it works.")
    ] = None


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """What is written beside the answer."""

    figure: Figure = None
    curve: Annotated[
        Path | None, Option(help="Draw latency against load, of the most cards, to this .svg.")
    ] = None
    write_file: Annotated[
        Path | None, Option(help="Write the server that was planned as TOML for --file.")
    ] = None


@plan_app.command(
    epilog="Example:  thorax plan server --preset r740 --cards 0..4 --figure r740.svg"
)
@one_by_one
def server(
    options: ServerOptions,
    demand: DemandOptions,
    prices: PriceOptions,
    files: ServerFiles,
    json: Json = False,
) -> None:
    """Images/s, watts, images/s/W and latency of a server with cards: modelled."""
    from thorax.config import write_effective
    from thorax.plan.ranges import computing, require_finite
    from thorax.plan.server_plan import plan_server
    from thorax.report.plan_server import server_tables

    question = _server_question(demand, prices, curve=files.curve is not None)
    planned = _server(options)
    _require_files(
        (files.figure, files.curve), (files.write_file,), (*(options.measured or ()), options.model)
    )
    rows = len(question.counts(planned)) * len(question.roles)
    with console.progress("planning", rows, "rows") as ticker, computing(planned.name):
        plan = plan_server(planned, question, ticker.advance)
    require_finite(plan.document(), planned.name)
    if files.figure is not None or files.curve is not None:
        from thorax.report.picture import write_picture
        from thorax.report.plan_server_plots import latency_plot, server_plot

        if files.figure is not None:
            write_picture(server_plot(plan), files.figure)
        if files.curve is not None:
            write_picture(latency_plot(plan), files.curve)
    if files.write_file is not None:
        write_effective(planned, files.write_file, signed=True)
    written = {"figure": files.figure, "curve": files.curve, "server": files.write_file}
    console.answer(plan, json, lambda: server_tables(plan), *_named(written))


def _server_question(
    options: DemandOptions, prices: PriceOptions, *, curve: bool
) -> "ServerQuestion":
    from thorax.plan.server_plan import LOAD, ServerQuestion, cards_in
    from thorax.results.plan import Arrivals, CpuRole, Prices

    roles = one_of("--reading", options.reading, (*CpuRole, "both"))
    arrivals = one_of("--arrivals", options.arrivals, get_args(Arrivals))
    if options.rate is not None and options.load is not None:
        raise UsageError("option-together", "--rate and --load both say how many arrive; give one")
    if arrivals == "saturated":
        _require_no_rate(options, curve=curve)
    limit_ms = options.latency_limit_ms
    return ServerQuestion(
        cards=None if options.cards is None else cards_in(options.cards),
        roles=tuple(CpuRole) if roles == "both" else (CpuRole(roles),),
        images_per_s=options.rate,
        share=LOAD if options.load is None else options.load,
        arrivals=arrivals,
        limit_s=None if limit_ms is None else limit_ms / 1e3,
        images=options.images,
        seed=options.seed,
        runs=options.runs,
        prices=Prices(
            **{name.removesuffix("_price"): price for name, price in asdict(prices).items()}
        ),
        curve=curve,
    )


def _require_no_rate(options: DemandOptions, *, curve: bool) -> None:
    """Refuse what is of a rate of images that come whenever a request is free."""
    for name, given in (
        ("--rate", options.rate is not None),
        ("--load", options.load is not None),
        ("--latency-limit-ms", options.latency_limit_ms is not None),
        ("--curve", curve),
    ):
        if given:
            raise UsageError(
                "option-together",
                f"{name} is of images that arrive at a rate, and saturated ones come whenever a "
                "request is free; give --arrivals poisson or constant",
            )


def _server(options: ServerOptions) -> "Server":
    from thorax.plan.inputs import changed, read_server, with_benchmark
    from thorax.plan.ranges import key_of
    from thorax.plan.server import find_preset

    if options.model is None:
        _require_no_overlay(options)
    if options.preset is not None and options.file is not None:
        raise UsageError("plan-server", "--preset and --file are both given; give one")
    if options.file is not None:
        server = read_server(options.file)
    else:
        server = find_preset(options.preset or "r740")
    settings = options.settings or []
    # Before the card changes too: a rate that is given frees the CPU from a published ratio. What
    # the network is called is told after rates were measured, and a name before a card adds to it.
    server = changed(server, [one for one in settings if key_of(one) != "network"])
    for path in options.measured or ():
        server = with_benchmark(server, path)
    if options.model is not None:
        server = _with_model(server, options.model, options)
    return changed(server, [one for one in settings if key_of(one) != "full_name"])


def _require_no_overlay(options: ServerOptions) -> None:
    if options.batch is not None or options.others_ms is not None:
        raise UsageError(
            "plan-overlay", "--batch and --others-ms are of a card of --model; give it too"
        )
    if options.bitstream is not None or options.arch is not None:
        raise UsageError("plan-overlay", "--bitstream and --arch are of --model; give it too")


def _with_model(server: "Server", model: Path, options: ServerOptions) -> "Server":
    from thorax.devices.core import require_simulated
    from thorax.files.atomic import temporary_folder
    from thorax.fpga.architecture import find_architecture
    from thorax.fpga.bitstreams import find_bitstream
    from thorax.fpga.boards import find_board
    from thorax.ir.open import open_model
    from thorax.plan.inputs import with_overlay

    if (options.bitstream is None) == (options.arch is None):
        raise UsageError("plan-overlay", "--model needs --bitstream or --arch, one of them")
    overlay: Bitstream | Architecture
    if options.bitstream is not None:
        overlay = find_bitstream(options.bitstream)
        board = find_board(overlay.board)
        require_simulated()
    else:
        overlay = find_architecture(options.arch or "")
        board = find_board("pac-a10" if overlay.family == "arria10" else "de10-agilex")
    graph = open_model(model)
    with temporary_folder() as folder:
        return with_overlay(
            server,
            graph.name,
            graph.model,
            board,
            overlay,
            folder / "cards.json",
            batch=options.batch or 1,
            others_s=None if options.others_ms is None else options.others_ms / 1e3,
        )


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Which cluster is planned, and what is trained on it."""

    system: Annotated[
        str | None,
        Option(help="A cluster of published constants, default zenith, or a .toml file."),
    ] = None
    calibrate: Annotated[
        Path | None, Option(help="What `thorax doctor cluster --json` measured, instead.")
    ] = None
    topology: Annotated[
        str | None, Option(help="resnet50, densenet121, vgg16 ...; default: the system's.")
    ] = None
    workers: Annotated[
        str, Option(help="How many ranks: 64, 1,64,512 or 1..1024, which doubles.")
    ] = "1..1024"
    batch_per_worker: Annotated[
        float | None,
        Option(min=1, max=1e9, help="Images of a rank; the batch grows with the ranks."),
    ] = None
    batch: Annotated[
        float | None,
        Option(min=1, max=1e9, help="Images of all ranks, which share them; may be both."),
    ] = None
    images: Annotated[int | None, Option(min=1, help="Of an epoch.")] = None
    evaluation_images: Annotated[
        int | None, Option(min=0, help="That are classified after each epoch.")
    ] = None
    epochs: Annotated[
        float | None, Option(min=0.01, max=1e6, help="Of the run, whatever the batch.")
    ] = None
    epochs_curve: Annotated[
        str | None, Option(help="How epochs follow the batch: constant, mlperf or mlperf-scaled.")
    ] = None
    epochs_batch: Annotated[
        float | None, Option(min=1, max=1e9, help="For which the system's epochs hold.")
    ] = None
    all_reduce: Annotated[
        str | None, Option(help="ring, halving-doubling, hierarchical or tree.")
    ] = None
    settings: Annotated[
        list[str] | None,
        Option("--set", metavar="KEY=VALUE", help="Change a constant, as between.alpha_s=5e-6."),
    ] = None
    start_up: Annotated[
        float | None, Option(min=0, max=1e9, help="Seconds before the first update.")
    ] = None
    input_images_per_s: Annotated[
        float | None, Option(min=0.001, max=1e9, help="That a node can read; default: no limit.")
    ] = None
    node_power: Annotated[float | None, Option(min=0.001, max=1e9, help="Watts of a node.")] = None
    price: Annotated[
        float | None, Option(min=0, max=1e9, help="Of a node for an hour, in any currency.")
    ] = None
    worth: Annotated[
        float, Option(min=0, max=1, help="Share of the ideal that doubling must save, to pay.")
    ] = 0.5


@plan_app.command(epilog="Example:  thorax plan cluster --system zenith --workers 1,64,512,1024")
@one_by_one
def cluster(
    options: ClusterOptions,
    figure: Figure = None,
    write_file: Annotated[
        Path | None, Option(help="Write the system that was planned as TOML for --system.")
    ] = None,
    json: Json = False,
) -> None:
    """Time to train, energy and cost on a cluster, and where more workers stop paying."""
    from thorax.config import write_effective
    from thorax.plan.cluster_plan import ClusterQuestion, plan_cluster, workers_in
    from thorax.plan.published import compare
    from thorax.plan.ranges import computing, require_finite
    from thorax.report.plan_cluster import cluster_plan_tables

    _require_one_meaning(options)
    _require_files((figure,), (write_file,), (options.calibrate,))
    published, system = _systems(options)
    question = ClusterQuestion(
        topology=options.topology or published.reference,
        workers=workers_in(options.workers),
        batch=options.batch,
        batch_per_worker=options.batch_per_worker,
        epochs=options.epochs,
        price_per_node_hour=options.price,
        worth=options.worth,
    )
    with computing(published.name):
        compared, left_out = compare(published, system, options.epochs)
        plan = plan_cluster(system, question, compared, left_out=left_out)
    require_finite(plan.document(), published.name)
    if write_file is not None:
        alone = system.model_copy(update={"models": (), "published": ()})
        write_effective(alone, write_file, signed=True)
    if figure is not None:
        with computing(published.name):
            _draw_cluster(system, question, compared, figure)
    written = {"figure": figure, "system": write_file}
    console.answer(plan, json, lambda: cluster_plan_tables(plan), *_named(written))


def _require_one_meaning(options: ClusterOptions) -> None:
    if options.system is not None and options.calibrate is not None:
        raise UsageError(
            "option-together", "--system and --calibrate both say how fast ranks are; give one"
        )
    curve = options.epochs_curve is not None or options.epochs_batch is not None
    if options.epochs is not None and curve:
        raise UsageError(
            "option-together",
            "--epochs holds whatever the batch, so --epochs-curve and --epochs-batch would change "
            "nothing; give them without it, or --set epochs=...",
        )


def _systems(options: ClusterOptions) -> "tuple[System, System]":
    """Return the cluster as it was published or measured, and as it is planned with."""
    from thorax.plan.published import ready
    from thorax.plan.ranges import computing
    from thorax.plan.system_files import find_system, read_doctor
    from thorax.plan.systems import change

    if options.calibrate is None:
        published = find_system(options.system or "zenith")
    else:
        published = read_doctor(options.calibrate)
    with computing(published.name):
        solved = ready(published)
    return published, change(
        solved,
        options.settings or (),
        algorithm=options.all_reduce,
        epochs_batch=options.epochs_batch,
        images=options.images,
        evaluation_images=options.evaluation_images,
        epochs_curve=options.epochs_curve,
        start_up_s=options.start_up,
        input_images_per_s=options.input_images_per_s,
        node_power_w=options.node_power,
    )


def _draw_cluster(
    system: "System", question: "ClusterQuestion", compared: "Sequence[PublishedRow]", path: Path
) -> None:
    """Draw a plan, beside those of other networks where they are of one family."""
    from thorax.plan.cluster_plan import plan_cluster
    from thorax.report.picture import write_picture
    from thorax.report.plan_cluster_plots import FAMILY, cluster_plot

    family = FAMILY if question.topology in FAMILY else (question.topology,)
    plans = [
        plan_cluster(system, replace(question, topology=topology), compared) for topology in family
    ]
    write_picture(cluster_plot(plans), path)


def _named(written: dict[str, Path | None]) -> list[str]:
    return [f"{what}: {path}" for what, path in written.items() if path is not None]


def _require_files(
    pictures: Sequence[Path | None], others: Sequence[Path | None], inputs: Sequence[Path | None]
) -> None:
    """Refuse a file that cannot be written, or that is named twice, before anything is computed."""
    from thorax.files.atomic import require_place
    from thorax.files.outputs import require_apart, writing
    from thorax.report.picture import require_svg

    for path in filter(None, pictures):
        require_svg(path)
    outputs = [path for path in (*pictures, *others) if path is not None]
    for index, path in enumerate(outputs):
        require_apart(path, [source for source in inputs if source is not None], ())
        if os.path.realpath(path) in map(os.path.realpath, outputs[:index]):
            raise UsageError(
                "option-together", f"{str(path)!r} is named for two outputs; name two places"
            )
        with writing(path):
            require_place(path)
