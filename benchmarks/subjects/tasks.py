"""What networks are trained on to be compared: drawn chests, and radiographs of two collections.

Each is imported once into a store of the folder, whole patients in one split.
"""

import csv
import hashlib
import io
from pathlib import Path
from typing import Final

from benchmarks.harness.command import thorax
from thorax.cli import demonstration
from thorax.data import folder, nih
from thorax.data.samples import Sample
from thorax.data.store import Store, open_store, write
from thorax.files.atomic import write_text
from thorax.images.preprocess import InputSpec
from thorax.labels import NIH14, set_of
from thorax.phantoms import dataset

DRAWN_SIDE: Final = 128
PHANTOM_SEED: Final = 11
DRAWN: Final = {"train": 6144, "val": 1020, "test": 3076}
"""The training split is three batches of 2,048, so every batch size sees every image of an epoch;
phantoms share patients in blocks of six, which none of the borders cuts."""
PAEDIATRIC: Final = set_of(("Pneumonia", "Bacterial"))
"""Bacterial is known of a pneumonia alone: bacterial against viral."""
PAEDIATRIC_TRAIN: Final = 3072
"""Three batches of 1,024."""


def drawings(work: Path) -> Path:
    """Return the store of the demo's drawings, made where it is absent."""
    store, images = work / "drawings.store", work / "drawings"
    if not store.exists():
        side = demonstration.SIDE
        thorax("phantom", images, "--count", demonstration.COUNT, "--size", side)
        thorax("data", "import", "phantom", images, "--size", side, "--out", store)
    _require(open_store(store), demonstration.SIDE, demonstration.COUNT)
    return store


def phantoms(work: Path, side: int) -> Store:
    """Draw chests, import them at a side, pixels, and open them."""
    out, drawn = work / f"phantoms-{side}.store", work / "drawn"
    if not out.exists():
        if not (drawn / "labels.csv").is_file():
            dataset.write(drawn, count=sum(DRAWN.values()), side=DRAWN_SIDE, seed=PHANTOM_SEED)
        table = work / "phantoms.csv"
        write_text(table, _with_splits((drawn / "labels.csv").read_text("utf-8")))
        rows = folder.rows(drawn, labels=table)
        write(rows, out, InputSpec(side), NIH14, source="phantom")
    store = open_store(out)
    _require(store, side, sum(DRAWN.values()))
    _refuse_shared_patients(store)
    return store


def _require(store: Store, side: int, images: int) -> None:
    """Refuse a store of a work folder that holds something else than was asked for."""
    if (store.images.shape[1], len(store)) != (side, images) or store.source != "phantom":
        raise SystemExit(
            f"{store.path} does not hold {images} phantoms of {side} pixels; use a new --work"
        )


def kermany(work: Path, data: Path | None, side: int) -> Store:
    """Import radiographs of children of 1 to 5 years: pneumonia, and bacterial against viral.

    They are of Kermany, Zhang, Goldbaum (Mendeley Data rscbjbr9sj, CC BY 4.0). Patients are put in
    order by the digest of their name; the first make up `PAEDIATRIC_TRAIN` images to train on, less
    whole patients that would not fit, and the rest is halved by patient.
    """
    out, table = work / f"kermany-{side}.store", work / "kermany.csv"
    if not out.exists():
        if data is None:
            raise SystemExit("--data FOLDER is needed: the Kermany radiographs with labels.csv")
        with (data / "labels.csv").open(newline="", encoding="utf-8") as file:
            write_text(table, _paediatric(list(csv.DictReader(file))))
        rows = folder.rows(data, labels=table, label_set=PAEDIATRIC)
        write(rows, out, InputSpec(side), PAEDIATRIC, source="folder")
    store = open_store(out)
    _refuse_shared_patients(store)
    return store


def radiographs(work: Path, data: Path) -> Store:
    """Import the 256 px and 64 px images of ChestX-ray14 at 64 px with the official split."""
    out = work / "nih-64.store"
    if not out.exists():
        large = _official(data, "images-256")
        named = {row.image for row in large}
        small = _official(data, "images-64")
        rows = [*large, *(row for row in small if row.image not in named)]
        write(rows, out, InputSpec(64), NIH14, source="nih")
    store = open_store(out)
    _refuse_shared_patients(store)
    return store


def boxed(work: Path, data: Path, side: int) -> Path:
    """Return the 256 px images of ChestX-ray14 at a side, with the boxes of their lesions."""
    out = work / f"nih-{side}-boxed.store"
    if not out.exists():
        rows = _official(data, "images-256", data / "BBox_List_2017.csv.gz")
        write(rows, out, InputSpec(side), NIH14, source="nih")
    return out


def _official(data: Path, images: str, boxes: Path | None = None) -> list[Sample]:
    """Return the rows of a folder of ChestX-ray14, with the official split."""
    return nih.rows(
        data / images,
        labels=data / "Data_Entry_2017_v2020.csv.gz",
        split=data / "official_split.csv.gz",
        boxes=boxes,
    )


def _paediatric(rows: list[dict[str, str]]) -> str:
    """Return a table of image, patient, split and the two labels."""
    by_patient: dict[str, list[dict[str, str]]] = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(row["patient"].encode()).hexdigest()):
        by_patient.setdefault(row["patient"], []).append(row)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("image", "patient", "split", *PAEDIATRIC.findings))
    room = PAEDIATRIC_TRAIN
    for number, (patient, images) in enumerate(by_patient.items()):
        split = ("val", "test")[number % 2]
        if len(images) <= room:
            split, room = "train", room - len(images)
        for row in images:
            bacterial = row["bacterial"] if row["pneumonia"] == "1" else ""
            writer.writerow((row["image"], patient, split, row["pneumonia"], bacterial))
    assert not room
    return text.getvalue()


def _with_splits(labels: str) -> str:
    """Return the table of phantoms with a column `split`, in the order they were drawn."""
    head, *rows = csv.reader(io.StringIO(labels))
    splits = [name for name, count in DRAWN.items() for _ in range(count)]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow((*head, "split"))
    writer.writerows((*row, split) for row, split in zip(rows, splits, strict=True))
    return text.getvalue()


def _refuse_shared_patients(store: Store) -> None:
    seen: dict[str, str] = {}
    for patient, split in zip(store.patients, store.splits, strict=True):
        if seen.setdefault(patient, split) != split:
            raise SystemExit(f"{store.path}: patient {patient} is in two splits")
