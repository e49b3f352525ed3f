"""The commands below `thorax data`: radiographs into a store, and what is in it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, get_args

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import (
    Blank,
    Boxes,
    Findings,
    Json,
    Out,
    Samples,
    Size,
    StorePath,
    Uncertain,
    Views,
    Workers,
    one_by_one,
    one_of,
    read_options,
)
from thorax.errors import printable

if TYPE_CHECKING:
    from thorax.data.samples import ReadOptions, Source
    from thorax.phantoms.style import Style

data_app = typer.Typer(
    no_args_is_help=True, help="Import radiographs into a store, check it, say how easy it is."
)
import_app = typer.Typer(no_args_is_help=True, help="Decode a source of radiographs once.")
data_app.add_typer(import_app, name="import")
phantom_app = typer.Typer()

PatientFrom = Annotated[
    str | None,
    Option(
        help="Regular expression that finds the patient in the image's path; or `header`: Patient "
        "ID of DICOM files."
    ),
]
LabelTables = Annotated[list[Path], Option("--labels", help="May be given several times.")]

_SHOWN: Final = 10
"""Images that were left out and are named to a person."""


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Where a store is made, and how."""

    out: Out
    size: Size = 256
    workers: Workers = None


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """How labels and views of tables are read."""

    findings: Findings = None
    uncertain: Uncertain = "ignore"
    blank: Blank = None
    views: Views = "frontal"

    def read_options(self) -> "ReadOptions":
        """Return them as sources take them."""
        return read_options(
            findings=self.findings, uncertain=self.uncertain, blank=self.blank, views=self.views
        )


def _import(source: "Source", options: StoreOptions, *, as_json: bool) -> None:
    from thorax.data import store
    from thorax.data.headers import complete
    from thorax.images.preprocess import InputSpec
    from thorax.report.data import import_tables
    from thorax.results.shared import ReadWarning

    with console.steps("reading headers", len(source.rows)) as tell:
        source = complete(source, workers=options.workers, on_progress=tell)
    with console.steps("importing", len(source.rows)) as tell:
        result = store.write(
            source.rows,
            options.out,
            InputSpec(options.size),
            source.label_set,
            source=source.name,
            skipped=source.skipped,
            workers=options.workers,
            on_progress=tell,
        )
    notes = (ReadWarning(code=n.code, message=n.message) for n in source.warnings)
    told = {"conventions": source.conventions, "warnings": (*notes, *result.warnings)}
    result = result.model_copy(update=told)
    lines = [f"{result.images:,} images of {result.patients:,} patients in {options.out}"]
    lines += [f"  {sentence}" for sentence in result.conventions]
    lines += [printable(f"  doubtful: {note.code}: {note.message}") for note in result.warnings]
    lines += [
        printable(f"  left out {skip.image}: {skip.code}: {skip.message}")
        for skip in result.skipped[:_SHOWN]
    ]
    if len(result.skipped) > _SHOWN:
        lines.append(
            f"  ... {len(result.skipped) - _SHOWN:,} more in {options.out / 'skipped.csv'}"
        )
    lines.append(f"next: thorax data check {options.out}")
    console.answer(result, as_json, lambda: import_tables(result), *lines)


@import_app.command(
    "nih",
    epilog="Example:  thorax data import nih images --labels Data_Entry_2017.csv "
    "--split official_split.csv --out nih.store",
)
@one_by_one
def import_nih(
    images: Annotated[Path, Argument(help="Folder of the ChestX-ray14 images.")],
    labels: Annotated[Path, Option(help="Data_Entry_2017*.csv, plain or .gz.")],
    store: StoreOptions,
    split: Annotated[
        Path | None, Option(help="CSV of Image Index,split; or NIH's *_list.txt; or their folder.")
    ] = None,
    boxes: Boxes = None,
    findings: Findings = None,
    json: Json = False,
) -> None:
    """Import NIH ChestX-ray14."""
    from thorax.data import nih

    options = read_options(findings=findings)
    source = nih.read(images, labels=labels, split=split, boxes=boxes, options=options)
    _import(source, store, as_json=json)


@import_app.command(
    "chexpert",
    epilog="Example:  thorax data import chexpert . --labels CheXpert-v1.0-small/train.csv "
    "--labels CheXpert-v1.0-small/valid.csv --out chexpert.store",
)
@one_by_one
def import_chexpert(
    images: Annotated[Path, Argument(help="Folder of CheXpert-v1.0 or CheXpert-v1.0-small.")],
    labels: LabelTables,
    store: StoreOptions,
    options: LabelOptions,
    json: Json = False,
) -> None:
    """Import CheXpert: train.csv, and valid.csv and test_labels.csv as val and test."""
    from thorax.data import chexpert

    source = chexpert.read(images, labels=labels, options=options.read_options())
    _import(source, store, as_json=json)


@import_app.command(
    "mimic",
    epilog="Example:  thorax data import mimic mimic-cxr-jpg/files "
    "--labels mimic-cxr-jpg/mimic-cxr-2.0.0-chexpert.csv.gz --out mimic.store",
)
@one_by_one
def import_mimic(
    images: Annotated[Path, Argument(help="Folder of MIMIC-CXR-JPG, or `files` in it.")],
    labels: Annotated[Path, Option(help="mimic-cxr-2.0.0-chexpert.csv.gz, or a joined table.")],
    store: StoreOptions,
    options: LabelOptions,
    metadata: Annotated[
        Path | None, Option(help="mimic-cxr-2.0.0-metadata.csv.gz; default: beside the labels.")
    ] = None,
    split: Annotated[
        Path | None, Option(help="mimic-cxr-2.0.0-split.csv.gz; default: beside the labels.")
    ] = None,
    json: Json = False,
) -> None:
    """Import MIMIC-CXR-JPG."""
    from thorax.data import mimic

    source = mimic.read(
        images, labels=labels, metadata=metadata, split=split, options=options.read_options()
    )
    _import(source, store, as_json=json)


@import_app.command(
    "padchest",
    epilog="Example:  thorax data import padchest images "
    "--labels PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv --out padchest.store",
)
@one_by_one
def import_padchest(
    images: Annotated[Path, Argument(help="Folder of the PadChest images.")],
    labels: Annotated[Path, Option(help="PADCHEST_chest_x_ray_images_labels_160K_*.csv.")],
    store: StoreOptions,
    options: LabelOptions,
    json: Json = False,
) -> None:
    """Import PadChest."""
    from thorax.data import padchest

    source = padchest.read(images, labels=labels, options=options.read_options())
    _import(source, store, as_json=json)


@import_app.command(
    "rsna",
    epilog="Example:  thorax data import rsna stage_2_train_images "
    "--labels stage_2_train_labels.csv --out rsna.store",
)
@one_by_one
def import_rsna(
    images: Annotated[Path, Argument(help="stage_2_train_images.")],
    labels: Annotated[Path, Option(help="stage_2_train_labels.csv.")],
    store: StoreOptions,
    options: LabelOptions,
    classes: Annotated[
        Path | None, Option(help="stage_2_detailed_class_info.csv: adds the finding Abnormal.")
    ] = None,
    json: Json = False,
) -> None:
    """Import the RSNA pneumonia challenge, with its boxes."""
    from thorax.data import rsna

    source = rsna.read(images, labels=labels, classes=classes, options=options.read_options())
    _import(source, store, as_json=json)


@import_app.command(
    "vindr",
    epilog="Example:  thorax data import vindr train --labels image_labels_train.csv "
    "--boxes annotations_train.csv --out vindr.store",
)
@one_by_one
def import_vindr(
    images: Annotated[Path, Argument(help="Folder of the VinDr-CXR images.")],
    labels: LabelTables,
    store: StoreOptions,
    options: LabelOptions,
    boxes: Annotated[
        list[Path] | None, Option(help="annotations_*.csv, where the labels have no boxes.")
    ] = None,
    readers: Annotated[
        str, Option(help="How many readers of an image make a finding: any, majority, all.")
    ] = "any",
    json: Json = False,
) -> None:
    """Import VinDr-CXR of PhysioNet or Kaggle, with its boxes."""
    from thorax.data import vindr

    source = vindr.read(
        images,
        labels=labels,
        boxes=boxes or (),
        readers=one_of("--readers", readers, get_args(vindr.Readers)),
        options=options.read_options(),
    )
    _import(source, store, as_json=json)


@import_app.command(
    "siim",
    epilog="Example:  thorax data import siim dicom-images-train --labels train-rle.csv "
    "--out siim.store",
)
@one_by_one
def import_siim(
    images: Annotated[Path, Argument(help="dicom-images-train, or a folder of its files.")],
    labels: Annotated[Path, Option(help="train-rle.csv or stage_2_train.csv.")],
    store: StoreOptions,
    options: LabelOptions,
    patient_from: PatientFrom = "header",
    json: Json = False,
) -> None:
    """Import the SIIM-ACR pneumothorax challenge; its masks become boxes."""
    from thorax.data import siim
    from thorax.data.folder import HEADER

    source = siim.read(
        images,
        labels=labels,
        patient_from=patient_from or HEADER,
        options=options.read_options(),
    )
    _import(source, store, as_json=json)


@import_app.command(
    "folder",
    epilog="Example:  thorax data import folder scans --labels labels.csv --out scans.store",
)
@one_by_one
def import_folder(
    images: Annotated[Path, Argument(help="Folder of PNG, JPEG or DICOM files.")],
    labels: Annotated[Path, Option(help="CSV with an image, a patient and label columns.")],
    store: StoreOptions,
    options: LabelOptions,
    boxes: Boxes = None,
    patient_from: PatientFrom = None,
    json: Json = False,
) -> None:
    """Import any folder with a CSV; tables of data sets that are known are read as such."""
    from thorax.data import released

    source = released.read(
        images,
        labels=labels,
        boxes=boxes,
        patient_from=patient_from,
        options=options.read_options(),
    )
    _import(source, store, as_json=json)


@import_app.command(
    "phantom", epilog="Example:  thorax data import phantom phantoms --size 128 --out phantom.store"
)
@one_by_one
def import_phantom(
    images: Annotated[Path, Argument(help="Folder that `thorax phantom` wrote.")],
    store: StoreOptions,
    views: Views = "frontal",
    json: Json = False,
) -> None:
    """Import phantoms with their boxes."""
    from thorax.data import folder
    from thorax.labels import NIH14

    source = folder.read(
        images,
        labels=images / "labels.csv",
        boxes=images / "boxes.csv",
        options=read_options(findings=NIH14.name, views=views),
    )
    source = replace(source, name="phantom")
    _import(source, store, as_json=json)


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


@data_app.command(
    "baseline",
    epilog="Example:  thorax data baseline nih.store --against predictions.csv",
)
def data_baseline(
    store: StorePath,
    against: Annotated[
        Path | None,
        Option(help="A network: predictions of the test split as CSV, or JSON of validate."),
    ] = None,
    samples: Samples = 1000,
    json: Json = False,
) -> None:
    """How easy is this task? AUROC of regressions on simple features, beside a network's."""
    from thorax.data.store import open_store
    from thorax.evaluate.baselines import baselines
    from thorax.report.baselines import baseline_tables, unscored_lines, verdict

    result = baselines(
        open_store(store),
        against=against,
        samples=samples,
        say=console.say,
        bar=console.counting,
    )
    console.answer(
        result, json, lambda: baseline_tables(result), *verdict(result), *unscored_lines(result)
    )


@dataclass(frozen=True, slots=True)
class StyleOptions:
    """How phantoms are drawn."""

    view: Annotated[
        str, Option(help="frontal (PA and AP) or lateral; a collection has one kind.")
    ] = "frontal"
    subtlety: Annotated[
        str,
        Option(
            metavar="NUMBER|LOW-HIGH",
            help="How hard lesions are to see, 0 (plain) to 1; drawn evenly from a range.",
        ),
    ] = "0-0.5"

    def style(self) -> "Style":
        """Return it as phantoms take it."""
        from thorax.phantoms.style import Style, ViewName, subtlety_range

        view = one_of("--view", self.view, get_args(ViewName))
        return Style(view, subtlety_range(self.subtlety))


@phantom_app.command(epilog="Example:  thorax phantom phantoms --count 2000 --size 256 --seed 1")
@one_by_one
def phantom(
    out: Annotated[Path, Argument(help="Folder to write images, labels.csv and boxes.csv to.")],
    style: StyleOptions,
    count: Annotated[int, Option(min=1, help="How many radiographs.")] = 100,
    size: Size = 256,
    seed: Annotated[int, Option(min=0, help="Same seed, same images.")] = 0,
    dicom: Annotated[bool, Option("--dicom", help="DX DICOM in place of PNG.")] = False,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Draw labelled synthetic radiographs with lesion boxes."""
    from thorax.phantoms import dataset as source

    drawn = style.style()
    with console.steps("drawing", count) as tell:
        result = source.write(
            out,
            count=count,
            side=size,
            seed=seed,
            style=drawn,
            dicom=dicom,
            workers=workers,
            on_progress=tell,
        )
    lateral = " --views all" if drawn.view == "lateral" else ""
    console.answer(
        result,
        json,
        lambda: (),
        f"{result.images:,} radiographs in {out}",
        f"next: thorax data import phantom {out} --size {size}{lateral} --out {out}.store",
    )
