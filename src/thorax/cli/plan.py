"""The commands that plan: what servers and clusters would do. Everything they say is modelled."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from thorax.cli import console
from thorax.cli.options import Json
from thorax.errors import UsageError

if TYPE_CHECKING:
    from thorax.plan.latency import Arrivals
    from thorax.plan.server import Reading, Server
    from thorax.plan.server_plan import Demand

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
        str | None,
        Option(help="r740, r640 or r740-2019, of published constants; default: r740."),
    ] = None,
    file: Annotated[
        Path | None, Option(help="A server of your own, TOML; --write-file shows one.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        Option("--set", metavar="KEY=VALUE", help="Change a constant, as cpu.idle_w=120."),
    ] = None,
    measured: Annotated[
        list[Path] | None,
        Option(help="JSON of an offline `thorax benchmark`: the CPU's rate, or a card's stages."),
    ] = None,
    model: Annotated[
        Path | None, Option(help="Network whose card is modelled, with --bitstream or --arch.")
    ] = None,
    bitstream: Annotated[str | None, Option(help="See `thorax fpga list --bitstreams`.")] = None,
    arch: Annotated[
        str | None, Option(help="As of `thorax fpga analyze`: a .toml file, a name or a string.")
    ] = None,
    others_ms: Annotated[
        float | None,
        Option(
            min=0, max=1e9, help="With --model: of an image in the layers that stay on the CPU."
        ),
    ] = None,
    batch: Annotated[
        int | None, Option(min=1, max=65536, help="With --model: images of a batch; default: 1.")
    ] = None,
    cards: Annotated[
        str | None, Option(help="How many: 4, 0,2,4 or 0..4; default: all that it holds.")
    ] = None,
    reading: Annotated[
        str,
        Option(help="What the CPU does meanwhile: additive (computes), offload (idles), both."),
    ] = "both",
    rate: Annotated[
        float | None,
        Option(min=1e-9, max=1e12, help="Images/s that arrive; default: all that it can do."),
    ] = None,
    load: Annotated[
        float | None,
        Option(min=0.01, max=0.99, help="Share of that, at which latency is told; default: 0.8."),
    ] = None,
    arrivals: Annotated[str, Option(help="poisson, constant or saturated.")] = "poisson",
    latency_limit_ms: Annotated[
        float | None,
        Option(min=1e-6, max=1e9, help="Find the most images/s whose p99 stays within it."),
    ] = None,
    images: Annotated[
        int, Option(min=1000, max=10_000_000, help="Images simulated in a run.")
    ] = 20000,
    runs: Annotated[
        int, Option(min=1, max=100, help="Of other arrivals each, whose spread is told.")
    ] = 5,
    seed: Annotated[int, Option(min=0, max=2**63 - 1, help="Of the arrivals.")] = 0,
    energy_price: Annotated[float | None, Option(min=0, max=1e12, help="Of a kWh.")] = None,
    hardware_price: Annotated[
        float | None, Option(min=0, max=1e12, help="Of the server without cards.")
    ] = None,
    card_price: Annotated[float | None, Option(min=0, max=1e12, help="Of one card.")] = None,
    years: Annotated[
        float | None, Option(min=0.01, max=100, help="That the hardware is used for.")
    ] = None,
    utilization: Annotated[
        float | None, Option(min=0.001, max=1, help="Share of that time that it works.")
    ] = None,
    figure: Figure = None,
    curve: Annotated[
        Path | None, Option(help="Draw latency against load, of the most cards, to this .svg.")
    ] = None,
    write_file: Annotated[
        Path | None, Option(help="Write the server that was planned as TOML for --file.")
    ] = None,
    json: Json = False,
) -> None:
    """Images/s, watts, images/s/W and latency of a server with cards: modelled."""
    from thorax.config import write_effective
    from thorax.plan.costs import Prices
    from thorax.plan.ranges import computing, require_finite
    from thorax.plan.server_plan import cards_in, latency_curve, plan_server
    from thorax.report.plan_server import server_tables

    readings = _readings(reading)
    limit_s = None if latency_limit_ms is None else latency_limit_ms / 1e3
    demand = _demand(rate, load, _arrivals(arrivals), limit_s, (images, seed, runs))
    if arrivals == "saturated" and curve is not None:
        raise _saturated("--curve")
    prices = Prices(energy_price, hardware_price, card_price, years, utilization)
    if model is None and (batch is not None or others_ms is not None):
        raise UsageError(
            "plan-overlay", "--batch and --others-ms are of a card of --model; give it too"
        )
    found = _server(preset, file, settings or (), measured or (), model, (bitstream, arch),
                    batch or 1, None if others_ms is None else others_ms / 1e3)  # fmt: skip
    most = found.max_cards if found.max_cards is not None else int(found.card is not None)
    counts = cards_in(cards) if cards is not None else tuple(range(most + 1))
    if figure is not None or curve is not None:
        from thorax.report.partition_drawing import require_svg
        from thorax.report.plan_server_plots import latency_plot, server_plot, write_picture

        for path in filter(None, (figure, curve)):
            require_svg(path)
    _require_places((figure, curve, write_file), (*(measured or ()), model))
    with (
        console.progress("planning", len(counts) * len(readings), "rows") as ticker,
        computing(found.name),
    ):
        document = plan_server(
            found, counts, readings, demand=demand, prices=prices, on_row=ticker.advance
        )
        if curve is not None:
            document["curve"] = [
                row for one in readings for row in latency_curve(found, counts[-1], one, demand)
            ]
    require_finite(document, found.name)
    if figure is not None:
        write_picture(server_plot(document), figure)
    if curve is not None:
        write_picture(latency_plot(document), curve)
    if write_file is not None:
        write_effective(found, write_file)

    def show() -> None:
        console.show(*server_tables(document))
        for what, path in (("figure", figure), ("curve", curve), ("server", write_file)):
            if path is not None:
                print(f"{what}: {path}")

    console.emit(document, as_json=json, show=show)


@plan_app.command(epilog="Example:  thorax plan cluster --system zenith --workers 1,64,512,1024")
def cluster(
    system: Annotated[
        str | None,
        Option(help="A cluster of published constants, default zenith, or a .toml file."),
    ] = None,
    calibrate: Annotated[
        Path | None, Option(help="What `thorax doctor cluster --json` measured, instead.")
    ] = None,
    topology: Annotated[
        str | None, Option(help="resnet50, densenet121, vgg16 ...; default: the system's.")
    ] = None,
    workers: Annotated[
        str, Option(help="How many ranks: 64, 1,64,512 or 1..1024, which doubles.")
    ] = "1..1024",
    batch_per_worker: Annotated[
        float | None,
        Option(min=1, max=1e9, help="Images of a rank; the batch grows with the ranks."),
    ] = None,
    batch: Annotated[
        float | None,
        Option(min=1, max=1e9, help="Images of all ranks, which share them; may be both."),
    ] = None,
    images: Annotated[int | None, Option(min=1, help="Of an epoch.")] = None,
    evaluation_images: Annotated[
        int | None, Option(min=0, help="That are classified after each epoch.")
    ] = None,
    epochs: Annotated[
        float | None, Option(min=0.01, max=1e6, help="Of the run, whatever the batch.")
    ] = None,
    epochs_curve: Annotated[
        str | None,
        Option(help="How epochs follow the batch: constant, mlperf or mlperf-scaled."),
    ] = None,
    epochs_batch: Annotated[
        float | None, Option(min=1, max=1e9, help="For which the system's epochs hold.")
    ] = None,
    all_reduce: Annotated[
        str | None, Option(help="ring, halving-doubling, hierarchical or tree.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        Option("--set", metavar="KEY=VALUE", help="Change a constant, as between.alpha_s=5e-6."),
    ] = None,
    start_up: Annotated[
        float | None, Option(min=0, max=1e9, help="Seconds before the first update.")
    ] = None,
    input_images_per_s: Annotated[
        float | None,
        Option(min=0.001, max=1e9, help="That a node can read; default: no limit."),
    ] = None,
    node_power: Annotated[float | None, Option(min=0.001, max=1e9, help="Watts of a node.")] = None,
    price: Annotated[
        float | None, Option(min=0, max=1e9, help="Of a node for an hour, in any currency.")
    ] = None,
    worth: Annotated[
        float,
        Option(min=0, max=1, help="Share of the ideal that doubling must save, to pay."),
    ] = 0.5,
    figure: Figure = None,
    write_file: Annotated[
        Path | None, Option(help="Write the system that was planned as TOML for --system.")
    ] = None,
    json: Json = False,
) -> None:
    """Time to train, energy and cost on a cluster, and where more workers stop paying."""
    from dataclasses import replace

    from thorax.config import write_effective
    from thorax.plan.cluster_plan import Request, plan_cluster, workers_in
    from thorax.plan.published import compare, ready
    from thorax.plan.ranges import computing, require_finite
    from thorax.plan.systems import change, find_system, read_doctor
    from thorax.report.plan_cluster import cluster_plan_tables

    if system is not None and calibrate is not None:
        raise UsageError(
            "option-together", "--system and --calibrate both say how fast ranks are; give one"
        )
    if epochs is not None and (epochs_curve is not None or epochs_batch is not None):
        raise UsageError(
            "option-together",
            "--epochs holds whatever the batch, so --epochs-curve and --epochs-batch would change "
            "nothing; give them without it, or --set epochs=...",
        )
    if figure is not None:
        from thorax.report.partition_drawing import require_svg

        require_svg(figure)
    _require_places((figure, write_file), (calibrate,))
    found = find_system(system or "zenith") if calibrate is None else read_doctor(calibrate)
    with computing(found.name):
        planned = ready(found)
    changed = change(
        planned,
        settings or (),
        algorithm=all_reduce,
        epochs_batch=epochs_batch,
        images=images,
        evaluation_images=evaluation_images,
        epochs_curve=epochs_curve,
        start_up_s=start_up,
        input_images_per_s=input_images_per_s,
        node_power_w=node_power,
    )
    request = Request(
        topology=topology or found.reference,
        workers=workers_in(workers),
        batch=batch,
        batch_per_worker=batch_per_worker,
        epochs=epochs,
        price_per_node_hour=price,
        worth=worth,
    )
    with computing(found.name):
        predictions, left_out = compare(found, changed, epochs)
        document = plan_cluster(changed, request, predictions, left_out=left_out)
    require_finite(document, found.name)
    if write_file is not None:
        alone = changed.model_copy(update={"models": (), "published": ()})
        write_effective(alone, write_file)
    if figure is not None:
        from thorax.report.plan_cluster_plots import FAMILY, cluster_plot
        from thorax.report.plan_server_plots import write_picture

        family = FAMILY if request.topology in FAMILY else (request.topology,)
        with computing(found.name):
            documents = [
                plan_cluster(changed, replace(request, topology=one), predictions) for one in family
            ]
        write_picture(cluster_plot(documents), figure)

    def show() -> None:
        console.show(*cluster_plan_tables(document))
        for what, path in (("figure", figure), ("system", write_file)):
            if path is not None:
                print(f"{what}: {path}")

    console.emit(document, as_json=json, show=show)


def _server(
    preset: str | None,
    file: Path | None,
    settings: "list[str] | tuple[str, ...]",
    measured: "list[Path] | tuple[Path, ...]",
    model: Path | None,
    overlay: tuple[str | None, str | None],
    batch: int,
    others_s: float | None,
) -> "Server":
    """Return the server that the options describe."""
    from thorax.config import load
    from thorax.plan.inputs import changed, with_benchmark
    from thorax.plan.presets import find_preset
    from thorax.plan.server import Server

    if preset is not None and file is not None:
        raise UsageError("plan-server", "--preset and --file are both given; give one")
    found = load(file, Server) if file is not None else find_preset(preset or "r740")
    # Before the card changes too: a rate that is given frees the CPU from a published ratio.
    found = changed(found, settings)
    for path in measured:
        found = with_benchmark(found, path)
    if model is not None:
        found = _with_model(found, model, overlay, batch, others_s)
    elif overlay != (None, None):
        raise UsageError("plan-overlay", "--bitstream and --arch are of --model; give it too")
    return changed(found, settings)


def _with_model(
    server: "Server",
    model: Path,
    overlay: tuple[str | None, str | None],
    batch: int,
    others_s: float | None,
) -> "Server":
    from thorax.devices.core import require_simulated
    from thorax.files.atomic import temporary_folder
    from thorax.fpga.architecture import Architecture, find_architecture
    from thorax.fpga.bitstreams import Bitstream, find_bitstream
    from thorax.fpga.boards import find_board
    from thorax.ir.open import open_model
    from thorax.plan.inputs import with_overlay

    bitstream, arch = overlay
    if (bitstream is None) == (arch is None):
        raise UsageError("plan-overlay", "--model needs --bitstream or --arch, one of them")
    chosen: Bitstream | Architecture
    if bitstream is not None:
        chosen = find_bitstream(bitstream)
        board = find_board(chosen.board)
        require_simulated()
    else:
        chosen = find_architecture(arch or "")
        board = find_board("pac-a10" if chosen.family == "arria10" else "de10-agilex")
    graph = open_model(model)
    with temporary_folder() as folder:
        return with_overlay(
            server, graph.name, graph.model, board, chosen, folder / "cards.json",
            batch=batch, others_s=others_s,
        )  # fmt: skip


def _require_places(outputs: Sequence[Path | None], inputs: Sequence[Path | None]) -> None:
    """Refuse a file that cannot be written, or that is named twice, before anything is computed."""
    from thorax.files.atomic import require_place
    from thorax.inference.findings import require_apart

    places = [path for path in outputs if path is not None]
    for number, path in enumerate(places):
        require_apart(path, [one for one in inputs if one is not None], ())
        if os.path.realpath(path) in map(os.path.realpath, places[:number]):
            raise UsageError(
                "option-together", f"{str(path)!r} is named for two outputs; name two places"
            )
        try:
            require_place(path)
        except OSError as error:
            raise UsageError(
                "output-unwritable",
                f"{str(path)!r} cannot be written: {error.strerror or error}; name another place",
            ) from error


def _demand(
    rate: float | None,
    share: float | None,
    arrivals: "Arrivals",
    limit_s: float | None,
    simulated: tuple[int, int, int],
) -> "Demand":
    """Return what is asked of a server; options that contradict each other are refused."""
    from thorax.plan.server_plan import LOAD, Demand

    if rate is not None and share is not None:
        raise UsageError("option-together", "--rate and --load both say how many arrive; give one")
    if arrivals == "saturated":
        given = {"--rate": rate, "--load": share, "--latency-limit-ms": limit_s}
        for name, value in given.items():
            if value is not None:
                raise _saturated(name)
    return Demand(rate, LOAD if share is None else share, arrivals, limit_s, *simulated)


def _saturated(name: str) -> UsageError:
    return UsageError(
        "option-together",
        f"{name} is of images that arrive at a rate, and saturated ones come whenever a request"
        " is free; give --arrivals poisson or constant",
    )


def _arrivals(text: str) -> "Arrivals":
    from typing import get_args

    from thorax.plan.latency import Arrivals

    for word in get_args(Arrivals):
        if text == word:
            found: Arrivals = word
            return found
    allowed = ", ".join(get_args(Arrivals))
    raise UsageError("option-choice", f"--arrivals is {text!r}; allowed are {allowed}")


def _readings(text: str) -> "tuple[Reading, ...]":
    from thorax.plan.server import Reading

    if text == "both":
        return tuple(Reading)
    if text not in set(Reading):
        allowed = ", ".join((*Reading, "both"))
        raise UsageError("option-choice", f"--reading is {text!r}; allowed are {allowed}")
    return (Reading(text),)
