"""The two stores of the large-batch experiment: phantoms drawn here, and ChestX-ray14."""

import csv
import io
from pathlib import Path
from typing import Final

from thorax.data import folder, nih
from thorax.data.store import Store, open_store, write
from thorax.files.atomic import write_text
from thorax.images.preprocess import InputSpec
from thorax.labels import NIH14
from thorax.phantoms import dataset

SIDES: Final = {"phantoms": 32, "nih": 64}
"""Pixels. Phantoms of 32 pixels train fast enough for the updates that a large batch needs."""
DRAWN_SIDE: Final = 64
PHANTOM_SEED: Final = 11
PHANTOMS: Final = {"train": 6144, "val": 1020, "test": 3076}
"""The training split is three batches of 2,048, so every batch size sees every image of an epoch;
phantoms share patients in blocks of six, which none of the borders cuts."""


def phantoms(work: Path) -> Store:
    """Draw and import the phantoms once, and open them."""
    out, drawn = work / "phantoms.store", work / "drawn"
    if not out.exists():
        if not (drawn / "labels.csv").is_file():
            dataset.write(drawn, count=sum(PHANTOMS.values()), side=DRAWN_SIDE, seed=PHANTOM_SEED)
        table = work / "phantoms.csv"
        write_text(table, _with_splits((drawn / "labels.csv").read_text("utf-8")))
        rows = folder.rows(drawn, labels=table)
        write(rows, out, InputSpec(SIDES["phantoms"]), NIH14, source="phantom")
    store = open_store(out)
    _refuse_shared_patients(store)
    return store


def radiographs(work: Path, data: Path) -> Store:
    """Import the 256 px and 64 px images of ChestX-ray14 at 64 px with the official split."""
    out = work / "nih.store"
    if not out.exists():
        labels, split = data / "Data_Entry_2017_v2020.csv.gz", data / "official_split.csv.gz"
        large = nih.rows(data / "images-256", labels=labels, split=split)
        named = {row.image for row in large}
        small = nih.rows(data / "images-64", labels=labels, split=split)
        rows = [*large, *(row for row in small if row.image not in named)]
        write(rows, out, InputSpec(SIDES["nih"]), NIH14, source="nih")
    store = open_store(out)
    _refuse_shared_patients(store)
    return store


def _with_splits(labels: str) -> str:
    """Return the table of phantoms with a column `split`, in the order they were drawn."""
    head, *rows = csv.reader(io.StringIO(labels))
    splits = [name for name, count in PHANTOMS.items() for _ in range(count)]
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
