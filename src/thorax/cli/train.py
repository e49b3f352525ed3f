"""The commands about training: fit a classifier, look at what came of it, check the cluster."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.data import Json, Out
from thorax.errors import ThoraxError, UsageError, printable

_LONGEST_S: Final = 2_592_000
"""30 days."""
_DEVICES: Final = ("cpu", "cuda")

training_app = typer.Typer()
doctor_app = typer.Typer(no_args_is_help=True, help="Find out what is wrong before it costs time.")
training_app.add_typer(doctor_app, name="doctor")


@training_app.command(epilog="Example:  thorax train recipes/phantom_small.toml --data s --out run")
def train(
    recipe: Annotated[Path, Argument(help="TOML recipe; see recipes/.")],
    data: Annotated[
        list[Path], Option(help="Store to train on; several, each with --data, are read as one.")
    ],
    out: Out,
    set_: Annotated[
        list[str] | None, Option("--set", help="Change one value, e.g. schedule.peak=0.1.")
    ] = None,
    init: Annotated[
        Path | None,
        Option(
            help="Start from torchvision's ImageNet weights (.pth, .safetensors) or from a run."
        ),
    ] = None,
    resume: Annotated[bool, Option("--resume", help="Go on where the run stopped.")] = False,
    json: Json = False,
) -> None:
    """Train to a checkpoint, alone or by torchrun --nproc-per-node 2 -m thorax train ...

    SIGTERM or SIGUSR1 ends it after the update under way, with a checkpoint and exit status 75;
    the same with --resume goes on. A second signal ends it at once.
    """
    from thorax import config
    from thorax.data.store_set import open_stores
    from thorax.files.documents import document_digest
    from thorax.training import parallel
    from thorax.training.fit import fit
    from thorax.training.preemption import PREEMPTED, PreemptedError, SignalStop
    from thorax.training.recipe import Recipe

    with _lead_speaks():
        made = config.load(recipe, Recipe, set_ or [])
        with parallel.join(made.training.device, made.parallel.timeout_s) as ranks:
            store = ranks.agree(lambda: open_stores(data))
            say = console.say if ranks.lead else _say_nothing
            try:
                with console.training(shown=ranks.lead) as tell:
                    result = fit(
                        made,
                        store,
                        out,
                        resume=resume,
                        init=init,
                        ranks=ranks,
                        stop=SignalStop(say, launched=ranks.backend is not None),
                        on_progress=tell,
                        on_message=console.say,
                    )
            except PreemptedError as error:
                if ranks.lead:
                    _fail(
                        "preempted",
                        f"stopped after update {error.step:,} of {error.steps:,} "
                        f"({error.reason}); {error.checkpoint} is written: go on with --resume",
                    )
                raise typer.Exit(PREEMPTED) from error
    if not ranks.lead:
        return
    document = result.document()
    console.save({**document, "sha256": document_digest(document)}, out / "train.json")
    console.emit(
        result.document(),
        as_json=json,
        show=lambda: print(
            f"mean AUROC {result.mean_auroc:.4f} on val, {result.images_per_s:,.0f} images/s\n"
            f"next: thorax optimize {out} --out model-int8 --precision int8 --data {data[0]}"
        ),
    )


@training_app.command(epilog="Example:  thorax sharpness run --data s --out sharp.json --quick")
def sharpness(
    run: Annotated[Path, Argument(help="Run or checkpoint folder.")],
    data: Annotated[list[Path], Option(help="Store it was trained on, or several, as `train`.")],
    out: Annotated[Path, Option("--out", help="JSON file; pictures get its name, .png and .svg.")],
    against: Annotated[
        Path | None, Option(help="Second run: the same numbers, and the line between both.")
    ] = None,
    images: Annotated[
        int | None, Option(min=1, help="Training images; default 1024, quick 512.")
    ] = None,
    seed: Annotated[int, Option(min=0, help="Of the images and random directions.")] = 0,
    batch: Annotated[int, Option(min=1, help="Images a pass; bounds memory.")] = 128,
    batch_norm: Annotated[
        str, Option(help="Statistics: running, estimated (on the images) or batch (each pass).")
    ] = "running",
    landscape: Annotated[
        bool, Option("--landscape", help="Also the loss in a random plane, 21 x 21 points.")
    ] = False,
    quick: Annotated[
        bool, Option("--quick", help="One box, no manifold, few steps: an eighth of the work.")
    ] = False,
    json: Json = False,
) -> None:
    """How sharp the minimum is: Keskar's, adaptive and spectral sharpness."""
    from thorax import config
    from thorax.data.store_set import open_stores
    from thorax.landscape import runs
    from thorax.landscape.sharpness import QUICK, SharpnessSettings
    from thorax.report.sharpness import check_output, sharpness_table, write_pictures

    start = QUICK if quick else SharpnessSettings()
    given = {"images": images or start.images, "seed": seed, "batch": batch}
    table = {**start.model_dump(mode="json"), **given, "batch_norm": batch_norm}
    settings = config.check(table, SharpnessSettings, "the command line")
    check_output(out)
    task = runs.prepare(run, open_stores(data), settings, against=against, landscape=landscape)
    with console.progress("sharpness", task.images) as ticker:
        document = runs.execute(task, on_progress=ticker.advance)
    out.parent.mkdir(parents=True, exist_ok=True)
    console.save(document, out)
    pictures = write_pictures(document, out)

    def show() -> None:
        console.show(sharpness_table([document]))
        for written in (out, *pictures):
            print(f"written: {written}")

    console.emit(document, as_json=json, show=show)


def _require_seconds(name: str, value: float, least: float) -> None:
    if not least <= value <= _LONGEST_S:
        raise UsageError(
            "config-value", f"{name} is {value:g}; allowed are {least:g} to {_LONGEST_S:,} seconds"
        )


def _say_nothing(text: str) -> None:
    pass


def _fail(code: str, message: str) -> None:
    console.say(f"thorax: {code}: {printable(message)}")


@contextmanager
def _lead_speaks() -> Iterator[None]:
    """Say once a host what all its ranks meet, and once at all what one of them has said."""
    try:
        yield
    except ThoraxError as error:
        common = error.code.startswith("config-") or error.code == "rank-lost"
        if error.code == "rank-refused" or (common and os.environ.get("LOCAL_RANK", "0") != "0"):
            raise typer.Exit(error.exit_code) from error
        raise


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

    with _lead_speaks():
        _require_seconds("--duration", duration, 0.0)
        _require_seconds("--timeout", timeout, 1.0)
        if device not in _DEVICES:
            raise UsageError(
                "config-value", f"--device is {device!r}; allowed are {', '.join(_DEVICES)}"
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
    document = found.document()

    def show() -> None:
        console.show(*cluster_tables(document))
        for warning in found.warnings:
            print(f"warning: {warning}")
        if len(found.ranks) == 1:
            print("one rank: start several by torchrun to measure what is between them")
        elif not found.warnings:
            print("no rank and no link is slow")

    console.emit(document, as_json=json, show=show)
