"""The commands below `thorax data`: radiographs into a store, and what is in it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import Boxes, Json, Out, Size, StorePath, Workers
from thorax.errors import printable

if TYPE_CHECKING:
    from thorax.data.samples import Sample, Skipped

data_app = typer.Typer(no_args_is_help=True, help="Import radiographs into a store, and check it.")
import_app = typer.Typer(no_args_is_help=True, help="Decode a source of radiographs once.")
data_app.add_typer(import_app, name="import")
phantom_app = typer.Typer()

_SHOWN: Final = 10
"""Images that were left out and are named to a person."""


def _import(
    rows: "list[Sample]",
    skipped: "list[Skipped]",
    source: str,
    out: Path,
    *,
    size: int,
    workers: int | None,
    as_json: bool,
) -> None:
    from thorax.data import store
    from thorax.images.preprocess import InputSpec
    from thorax.labels import NIH14

    with console.steps("importing", len(rows)) as tell:
        result = store.write(
            rows,
            out,
            InputSpec(size),
            NIH14,
            source=source,
            skipped=skipped,
            workers=workers,
            on_progress=tell,
        )

    lines = [f"{result.images:,} images of {result.patients:,} patients in {out}"]
    lines += [
        printable(f"  left out {skip.image}: {skip.code}: {skip.message}")
        for skip in result.skipped[:_SHOWN]
    ]
    if len(result.skipped) > _SHOWN:
        lines.append(f"  ... {len(result.skipped) - _SHOWN:,} more in {out / 'skipped.csv'}")
    console.answer(result, as_json, lambda: (), *lines, f"next: thorax data check {out}")


@import_app.command(
    "nih",
    epilog="Example:  thorax data import nih images --labels Data_Entry_2017.csv "
    "--split official_split.csv --out nih.store",
)
def import_nih(
    images: Annotated[Path, Argument(help="Folder of the ChestX-ray14 images.")],
    labels: Annotated[Path, Option(help="Data_Entry_2017*.csv, plain or .gz.")],
    out: Out,
    split: Annotated[
        Path | None, Option(help="CSV of Image Index,split; or NIH's *_list.txt; or their folder.")
    ] = None,
    boxes: Boxes = None,
    size: Size = 256,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Import NIH ChestX-ray14."""
    from thorax.data import nih

    skipped: list[Skipped] = []
    rows = nih.rows(images, labels=labels, split=split, boxes=boxes, on_skip=skipped.append)
    _import(rows, skipped, "nih", out, size=size, workers=workers, as_json=json)


@import_app.command(
    "folder",
    epilog="Example:  thorax data import folder scans --labels labels.csv --out scans.store",
)
def import_folder(
    images: Annotated[Path, Argument(help="Folder of PNG, JPEG or DICOM files.")],
    labels: Annotated[Path, Option(help="CSV with an image, a patient and label columns.")],
    out: Out,
    boxes: Boxes = None,
    patient_from: Annotated[
        str | None, Option(help="Regular expression that finds the patient in the image's path.")
    ] = None,
    size: Size = 256,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Import any folder with a CSV."""
    from thorax.data import folder

    skipped: list[Skipped] = []
    rows = folder.rows(
        images, labels=labels, boxes=boxes, patient_from=patient_from, on_skip=skipped.append
    )
    _import(rows, skipped, "folder", out, size=size, workers=workers, as_json=json)


@import_app.command(
    "phantom", epilog="Example:  thorax data import phantom phantoms --size 128 --out phantom.store"
)
def import_phantom(
    images: Annotated[Path, Argument(help="Folder that `thorax phantom` wrote.")],
    out: Out,
    size: Size = 256,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Import phantoms with their boxes."""
    from thorax.data import folder

    skipped: list[Skipped] = []
    labels, boxes = images / "labels.csv", images / "boxes.csv"
    rows = folder.rows(images, labels=labels, boxes=boxes, on_skip=skipped.append)
    _import(rows, skipped, "phantom", out, size=size, workers=workers, as_json=json)


@data_app.command("check", epilog="Example:  thorax data check nih.store")
def data_check(store: StorePath, json: Json = False) -> None:
    """Look for patients in two splits and for duplicates; count labels. Exit status 3 on a leak."""
    from thorax.data.check import check
    from thorax.data.store import open_store, verify_images
    from thorax.report.data import check_tables

    opened = open_store(store)
    with console.steps("reading", len(opened)) as read:
        verify_images(opened, on_progress=read)
    with console.steps("comparing", len(opened)) as tell:
        result = check(opened, on_progress=tell)
    console.answer(result, json, lambda: check_tables(result))
    result.require_clean()


@phantom_app.command(epilog="Example:  thorax phantom phantoms --count 2000 --size 256 --seed 1")
def phantom(
    out: Annotated[Path, Argument(help="Folder to write images, labels.csv and boxes.csv to.")],
    count: Annotated[int, Option(min=1, help="How many radiographs.")] = 100,
    size: Size = 256,
    seed: Annotated[int, Option(min=0, help="Same seed, same images.")] = 0,
    dicom: Annotated[bool, Option("--dicom", help="DX DICOM in place of PNG.")] = False,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Draw labelled synthetic radiographs with lesion boxes."""
    from thorax.phantoms import dataset as source

    with console.steps("drawing", count) as tell:
        result = source.write(
            out, count=count, side=size, seed=seed, dicom=dicom, workers=workers, on_progress=tell
        )
    console.answer(
        result,
        json,
        lambda: (),
        f"{result.images:,} radiographs in {out}",
        f"next: thorax data import folder {out} --labels {result.labels} "
        f"--boxes {result.boxes} --size {size} --out {out}.store",
    )
