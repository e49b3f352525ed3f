"""The commands that find out what is wrong before it costs time."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from thorax.cli import console
from thorax.cli.options import Json
from thorax.cli.train import DEVICES, lead_speaks, require_seconds
from thorax.errors import UsageError

doctor_app = typer.Typer(no_args_is_help=True, help="Find out what is wrong before it costs time.")


@doctor_app.command(
    epilog="Example:  thorax doctor cluster --recipe recipes/phantom_small.toml --side 128"
)
def cluster(
    recipe: Annotated[
        Path | None, Option(help="Recipe to measure; the same file on every rank.")
    ] = None,
    data: Annotated[
        list[Path] | None, Option(help="Store that must be the same on every rank, or several.")
    ] = None,
    topology: Annotated[
        str | None, Option(help="Without a recipe: what to measure, else resnet50.")
    ] = None,
    images: Annotated[
        int, Option(min=2, max=65_536, help="Images of one measured pass on a rank.")
    ] = 4,
    side: Annotated[
        int, Option(min=32, max=4096, help="Side of images, px; --data has its own.")
    ] = 224,
    device: Annotated[str, Option(help="Without a recipe: cpu or cuda.")] = "cpu",
    duration: Annotated[float, Option(help="Seconds to measure; three turns at least.")] = 10.0,
    timeout: Annotated[
        float, Option(help="Seconds after which a rank that is silent is given up, 1 or more.")
    ] = 60.0,
    json: Json = False,
) -> None:
    """Measure ranks and the network between them, under torchrun; find the slow one."""
    from dataclasses import replace

    from thorax import config
    from thorax.cluster.bench import Work, work_of
    from thorax.cluster.diagnosis import diagnose, meet
    from thorax.data.store_set import open_stores
    from thorax.report.cluster import cluster_tables
    from thorax.training import parallel
    from thorax.training.recipe import Recipe

    with lead_speaks():
        require_seconds("--duration", duration, 0.0)
        require_seconds("--timeout", timeout, 1.0)
        if device not in DEVICES:
            raise UsageError(
                "config-value", f"--device is {device!r}; allowed are {', '.join(DEVICES)}"
            )
        if recipe is None:
            work = Work(topology=topology or "resnet50", images=images, side=side, device=device)
        elif topology is None:
            work = work_of(config.load(recipe, Recipe), images=images, side=side)
        else:
            raise UsageError(
                "config-topology", f"--topology is {topology}, but --recipe names one too; give one"
            )
        with parallel.join(work.device, timeout) as ranks:
            meet(ranks, timeout)
            store = ranks.agree(lambda: open_stores(data) if data else None)
            found = diagnose(
                work if store is None else replace(work, side=store.side),
                ranks,
                recipe=recipe,
                store=store,
                duration_s=duration,
                timeout_s=timeout,
            )
    if not ranks.lead:
        return

    def show() -> None:
        console.show(*cluster_tables(found))
        for warning in found.warnings:
            print(f"warning: {warning}")
        if len(found.ranks) == 1:
            print("one rank: start several by torchrun to measure what is between them")
        elif not found.warnings:
            print("no rank and no link is slow")

    console.emit(found, as_json=json, show=show)
