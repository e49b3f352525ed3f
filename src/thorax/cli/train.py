"""The command that trains a classifier."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import Json, Out
from thorax.errors import ThoraxError, UsageError

if TYPE_CHECKING:
    from thorax.results.training import TrainResult
    from thorax.training.parallel import Ranks
    from thorax.training.recipe import Recipe

_LONGEST_S: Final = 2_592_000
"""30 days."""
DEVICES: Final = ("cpu", "cuda")

train_app = typer.Typer()


@train_app.command(epilog="Example:  thorax train recipes/phantom_small.toml --data s --out run")
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
            help="Start from the weights of a state dict (.pth, .ckpt, .safetensors) or of a run."
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
    from thorax.training import parallel
    from thorax.training.recipe import Recipe

    with lead_speaks():
        settings = config.load(recipe, Recipe, set_ or [])
        with parallel.join(settings.training.device, settings.parallel.timeout_s) as ranks:
            result = _fit(settings, data, out, ranks, init=init, resume=resume)
    if not ranks.lead:
        return
    console.save(result.sealed(), out / "train.json")
    console.answer(
        result,
        json,
        lambda: (),
        f"mean AUROC {result.mean_auroc:.4f} on val, {result.images_per_s:,.0f} images/s",
        f"next: thorax optimize {out} --out model-int8 --precision int8 --data {data[0]}",
    )


def _fit(
    recipe: "Recipe",
    data: list[Path],
    out: Path,
    ranks: "Ranks",
    *,
    init: Path | None,
    resume: bool,
) -> "TrainResult":
    """Train on these ranks; exit with status 75 where somebody asked to stop."""
    from thorax.data.store_set import open_stores
    from thorax.training.fit import fit
    from thorax.training.loop import Callbacks
    from thorax.training.preemption import PREEMPTED, PreemptedError, SignalStop

    store = ranks.agree(lambda: open_stores(data))
    say = console.say if ranks.lead else lambda _: None
    try:
        with console.training(shown=ranks.lead) as tell:
            return fit(
                recipe,
                store,
                out,
                resume=resume,
                init=init,
                ranks=ranks,
                stop=SignalStop(say, launched=ranks.backend is not None),
                callbacks=Callbacks(on_progress=tell, on_message=console.say),
            )
    except PreemptedError as error:
        if ranks.lead:
            _fail(
                "preempted",
                f"stopped after update {error.step:,} of {error.steps:,} "
                f"({error.reason}); {error.checkpoint} is written: go on with --resume",
            )
        raise typer.Exit(PREEMPTED) from error


def require_seconds(name: str, value: float, least: float) -> None:
    """Refuse an option that is no number of seconds from `least` on, or too many of them."""
    if not least <= value <= _LONGEST_S:
        raise UsageError(
            "config-value", f"{name} is {value:g}; allowed are {least:g} to {_LONGEST_S:,} seconds"
        )


def _fail(code: str, message: str) -> None:
    console.say(f"thorax: {code}: {message}")


@contextmanager
def lead_speaks() -> Iterator[None]:
    """Say once a host what all its ranks meet, and once at all what one of them has said."""
    try:
        yield
    except ThoraxError as error:
        common = error.code.startswith("config-") or error.code == "rank-lost"
        if error.code == "rank-refused" or (common and os.environ.get("LOCAL_RANK", "0") != "0"):
            raise typer.Exit(error.exit_code) from error
        raise
