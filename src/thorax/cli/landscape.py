"""The command that measures how sharp a minimum is."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import Json, one_by_one

if TYPE_CHECKING:
    from thorax.landscape.sharpness import SharpnessSettings

landscape_app = typer.Typer()


@dataclass(frozen=True, slots=True)
class SharpnessOptions:
    """What is measured, as it is typed."""

    against: Annotated[
        Path | None, Option(help="Second run: the same numbers, and the line between both.")
    ] = None
    images: Annotated[
        int | None, Option(min=1, help="Training images; default 1024, quick 512.")
    ] = None
    seed: Annotated[int, Option(min=0, help="Of the images and random directions.")] = 0
    batch: Annotated[int, Option(min=1, help="Images a pass; bounds memory.")] = 128
    batch_norm: Annotated[
        str, Option(help="Statistics: running, estimated (on the images) or batch (each pass).")
    ] = "running"
    landscape: Annotated[
        bool, Option("--landscape", help="Also the loss in a random plane, 21 x 21 points.")
    ] = False
    quick: Annotated[
        bool, Option("--quick", help="One box, no manifold, few steps: an eighth of the work.")
    ] = False

    def settings(self) -> "SharpnessSettings":
        """Return the settings that these options ask for."""
        from thorax import config
        from thorax.landscape.sharpness import QUICK, SharpnessSettings

        start = QUICK if self.quick else SharpnessSettings()
        table = start.model_dump(mode="json") | {
            "images": self.images or start.images,
            "seed": self.seed,
            "batch": self.batch,
            "batch_norm": self.batch_norm,
        }
        return config.check(table, SharpnessSettings, "the command line")


@landscape_app.command(epilog="Example:  thorax sharpness run --data s --out sharp.json --quick")
@one_by_one
def sharpness(
    run: Annotated[Path, Argument(help="Run or checkpoint folder.")],
    data: Annotated[list[Path], Option(help="Store it was trained on, or several, as `train`.")],
    out: Annotated[Path, Option("--out", help="JSON file; pictures get its name, .png and .svg.")],
    options: SharpnessOptions,
    json: Json = False,
) -> None:
    """How sharp the minimum is: Keskar's, adaptive and spectral sharpness."""
    from thorax.data.store_set import open_stores
    from thorax.landscape import runs
    from thorax.report.sharpness import check_output, sharpness_table, write_pictures

    settings = options.settings()
    check_output(out)
    task = runs.prepare(
        run, open_stores(data), settings, against=options.against, landscape=options.landscape
    )
    with console.progress("sharpness", task.images) as ticker:
        result = runs.execute(task, on_progress=ticker.advance)
    out.parent.mkdir(parents=True, exist_ok=True)
    console.save(result, out)
    pictures = write_pictures(result, out)
    written = (f"written: {path}" for path in (out, *pictures))
    console.answer(result, json, lambda: [sharpness_table([result])], *written)
