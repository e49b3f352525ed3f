"""The commands about training: fit a classifier, look at what came of it, check the cluster."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from thorax import console
from thorax.cli_data import Json, Out

training_app = typer.Typer()


@training_app.command(epilog="Example:  thorax train recipes/phantom_small.toml --data s --out run")
def train(
    recipe: Annotated[Path, Argument(help="TOML recipe; see recipes/.")],
    data: Annotated[
        list[Path], Option(help="Store to train on; several, each with --data, are read as one.")
    ],
    out: Out,
    set_: Annotated[
        list[str] | None, Option("--set", help="Change one value, e.g. optimizer.lr=0.1.")
    ] = None,
    resume: Annotated[bool, Option("--resume", help="Go on where the run stopped.")] = False,
    json: Json = False,
) -> None:
    """Train a classifier to a checkpoint."""
    from thorax import config
    from thorax.data.shards import open_stores
    from thorax.training.fit import fit
    from thorax.training.recipe import Recipe

    made = config.load(recipe, Recipe, set_ or [])
    store = open_stores(data)
    with console.training() as tell:
        result = fit(made, store, out, resume=resume, on_progress=tell)
    console.save(result.document(), out / "train.json")
    console.emit(
        result.document(),
        as_json=json,
        show=lambda: print(
            f"mean AUROC {result.mean_auroc:.4f} on val, {result.images_per_s:,.0f} images/s\n"
            f"next: thorax optimize {out} --out model-int8 --precision int8 --data {data[0]}"
        ),
    )
