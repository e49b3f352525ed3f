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
        float | None, Option(min=1, help="Images of a rank; the batch grows with the ranks.")
    ] = None,
    batch: Annotated[
        float | None, Option(min=1, help="Images of all ranks, which share them; may be both.")
    ] = None,
    images: Annotated[int | None, Option(min=1, help="Of an epoch.")] = None,
    evaluation_images: Annotated[
        int | None, Option(min=0, help="That are classified after each epoch.")
    ] = None,
    epochs: Annotated[
        float | None, Option(min=0.01, help="Of the run, whatever the batch.")
    ] = None,
    epochs_curve: Annotated[
        str | None,
        Option(help="How epochs follow the batch: constant, mlperf or mlperf-scaled."),
    ] = None,
    start_up: Annotated[
        float | None, Option(min=0, help="Seconds before the first update.")
    ] = None,
    input_images_per_s: Annotated[
        float | None, Option(min=0.001, help="That a node can read; default: no limit.")
    ] = None,
    node_power: Annotated[float | None, Option(min=0.001, help="Watts of a node.")] = None,
    price: Annotated[
        float | None, Option(min=0, help="Of a node for an hour, in any currency.")
    ] = None,
    worth: Annotated[
        float,
        Option(min=0, max=1, help="Share of the ideal that doubling must save, to pay."),
    ] = 0.5,
    figure: Figure = None,
    json: Json = False,
) -> None:
    """Time to train, energy and cost on a cluster, and where more workers stop paying."""
    from dataclasses import replace

    from thorax.measure.cluster_plan_tables import cluster_plan_tables
    from thorax.plan.predictions import predict, ready
    from thorax.plan.scaling import Request, plan_cluster, workers_in
    from thorax.plan.systems import change, find_system, read_doctor

    if system is not None and calibrate is not None:
        raise UsageError(
            "option-together", "--system and --calibrate both say how fast ranks are; give one"
        )
    found = find_system(system or "zenith") if calibrate is None else read_doctor(calibrate)
    solved = ready(found)
    predictions = predict(found, found.models[0]) if found.models else ()
    changed = change(
        solved,
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
    document = plan_cluster(changed, request, predictions)
    if figure is not None:
        from thorax.measure.cluster_plan_plots import FAMILY, cluster_plot
        from thorax.measure.plan_plots import write_picture

        family = FAMILY if request.topology in FAMILY else (request.topology,)
        documents = [
            plan_cluster(changed, replace(request, topology=one), predictions) for one in family
        ]
        write_picture(cluster_plot(documents), figure)

    def show() -> None:
        console.show(*cluster_plan_tables(document))
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
