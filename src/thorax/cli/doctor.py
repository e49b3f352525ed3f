"""The commands that find out what is wrong before it costs time."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from thorax.cli import console
from thorax.cli.options import Json, one_by_one
from thorax.cli.train import DEVICES, lead_speaks, require_seconds
from thorax.errors import UsageError

if TYPE_CHECKING:
    from thorax.cluster.bench import Work

doctor_app = typer.Typer(no_args_is_help=True, help="Find out what is wrong before it costs time.")


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """What the ranks do while they are measured, as it is typed."""

    recipe: Annotated[
        Path | None, Option(help="Recipe to measure; the same file on every rank.")
    ] = None
    data: Annotated[
        list[Path] | None, Option(help="Store that must be the same on every rank, or several.")
    ] = None
    topology: Annotated[
        str | None, Option(help="Without a recipe: what to measure, else resnet50.")
    ] = None
    images: Annotated[
        int, Option(min=2, max=65_536, help="Images of one measured pass on a rank.")
    ] = 4
    side: Annotated[
        int, Option(min=32, max=4096, help="Side of images, px; --data has its own.")
    ] = 224
    device: Annotated[str, Option(help="Without a recipe: cpu or cuda.")] = "cpu"

    def work(self) -> "Work":
        """Return what is to be measured.

        Raises:
            UsageError: `config-value` or `config-topology`, or as `config.load`.
        """
        from thorax import config
        from thorax.cluster.bench import Work, work_of
        from thorax.training.recipe import Recipe

        if self.device not in DEVICES:
            raise UsageError(
                "config-value", f"--device is {self.device!r}; allowed are {', '.join(DEVICES)}"
            )
        if self.recipe is None:
            topology = self.topology or "resnet50"
            return Work(topology=topology, images=self.images, side=self.side, device=self.device)
        if self.topology is not None:
            raise UsageError(
                "config-topology",
                f"--topology is {self.topology}, but --recipe names one too; give one",
            )
        return work_of(config.load(self.recipe, Recipe), images=self.images, side=self.side)


@doctor_app.command(
    epilog="Example:  thorax doctor cluster --recipe recipes/phantom_small.toml --side 128"
)
@one_by_one
def cluster(
    options: WorkOptions,
    duration: Annotated[float, Option(help="Seconds to measure; three turns at least.")] = 10.0,
    timeout: Annotated[
        float, Option(help="Seconds after which a rank that is silent is given up, 1 or more.")
    ] = 60.0,
    json: Json = False,
) -> None:
    """Measure ranks and the network between them, under torchrun; find the slow one."""
    from thorax.cluster.diagnosis import diagnose, meet
    from thorax.data.store_set import open_stores
    from thorax.report.cluster import cluster_tables
    from thorax.training import parallel

    with lead_speaks():
        require_seconds("--duration", duration, 0.0)
        require_seconds("--timeout", timeout, 1.0)
        work = options.work()
        with parallel.join(work.device, timeout) as ranks:
            meet(ranks, timeout)
            store = ranks.agree(lambda: open_stores(options.data) if options.data else None)
            diagnosis = diagnose(
                work if store is None else replace(work, side=store.side),
                ranks,
                recipe=options.recipe,
                store=store,
                duration_s=duration,
                timeout_s=timeout,
            )
    if not ranks.lead:
        return
    lines = [f"warning: {warning}" for warning in diagnosis.warnings]
    if len(diagnosis.ranks) == 1:
        lines.append("one rank: start several by torchrun to measure what is between them")
    elif not lines:
        lines.append("no rank and no link is slow")
    console.answer(diagnosis.digested(), json, lambda: cluster_tables(diagnosis), *lines)
