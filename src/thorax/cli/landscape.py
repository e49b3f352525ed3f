"""The command that measures how sharp a minimum is."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import Json

landscape_app = typer.Typer()


@landscape_app.command(epilog="Example:  thorax sharpness run --data s --out sharp.json --quick")
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
