"""ChestX-ray14 tables in all the forms that NIH gave them out."""

import gzip
import os
from functools import partial
from pathlib import Path

import pytest

from thorax.data import nih
from thorax.data.samples import Skipped
from thorax.errors import DataError
from thorax.labels import NIH14

HEAD = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
V2020 = f"""{HEAD}
00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.143,0.143
00000001_001.png,Cardiomegaly|Pleural_Thickening,1,1,58,M,AP,2894,2729,0.143,0.143
00000002_000.png,No Finding,0,2,80,M,PA,2500,2048,0.171,0.171
00000003_000.png,Hernia,0,3,74,F,PA,2500,2048,0.168,0.168
"""
V2017 = V2020.replace(HEAD, HEAD + ",").replace(",58,M", ",058Y,M")
STEMS = ("00000001_000", "00000001_001", "00000002_000", "00000003_000")
BOXES = """Image Index,Finding Label,Bbox [x,y,w,h],,,
00000003_000.png,Infiltrate,225.08,547.02,86.78,79.19,,,
00000003_000.png,Mass,1,2,3,4
00000009_000.png,Mass,1,2,3,4
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number, stem in enumerate(STEMS):
        folder = tmp_path / "images" / f"images_{number % 2:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stem}.png").touch()
    (tmp_path / "labels.csv").write_text(V2020)
    return tmp_path


@pytest.mark.parametrize("table", [V2020, V2017])
@pytest.mark.parametrize("packed", [False, True])
def test_both_releases_say_the_same(source: Path, table: str, packed: bool) -> None:
    data = table.encode()
    (source / "labels.csv").write_bytes(gzip.compress(data) if packed else data)
    rows = nih.rows(source / "images", labels=source / "labels.csv")
    assert [row.image for row in rows] == [f"{stem}.png" for stem in STEMS]
    assert [row.patient for row in rows] == ["1", "1", "2", "3"]
    assert [row.view for row in rows] == ["PA", "AP", "PA", "PA"]
    assert [
        [name for name, there in zip(NIH14.findings, row.labels, strict=True) if there]
        for row in rows
    ] == [["Cardiomegaly"], ["Cardiomegaly", "Pleural_Thickening"], [], ["Hernia"]]
    assert [row.split for row in rows] == [None] * 4


def test_labels_of_absent_images_are_ignored_and_images_without_labels_reported(
    source: Path,
) -> None:
    (source / "images" / "images_000" / "00000001_000.png").unlink()
    (source / "images" / "images_000" / "stranger.png").touch()
    (source / "images" / "images_000" / "._00000002_000.png").touch()
    (source / "images" / "images_000" / "notes.txt").touch()
    skipped: list[Skipped] = []
    rows = nih.rows(source / "images", labels=source / "labels.csv", on_skip=skipped.append)
    assert len(rows) == 3
    assert [(skip.image, skip.code) for skip in skipped] == [
        ("stranger.png", "label-missing"),
        ("images_000/._00000002_000.png", "name-hidden"),
        ("images_000/notes.txt", "file-unsupported"),
    ]


def test_a_copy_in_another_format_is_found_by_its_stem(source: Path) -> None:
    path = source / "images" / "images_000" / "00000001_000.png"
    path.rename(path.with_suffix(".jpg"))
    rows = nih.rows(source / "images", labels=source / "labels.csv")
    assert rows[0].image == "00000001_000.png"
    assert rows[0].path.suffix == ".jpg"


def test_the_same_image_twice_is_refused(source: Path) -> None:
    (source / "images" / "00000001_000.png").touch()
    with pytest.raises(DataError, match=r"image-ambiguous.*00000001_000 is there twice"):
        nih.rows(source / "images", labels=source / "labels.csv")


def test_a_split_table_is_followed_and_what_it_leaves_out_reported(source: Path) -> None:
    (source / "split.csv").write_text(
        "Image Index,split\n00000001_000.png,train\n00000001_001.png,train\n00000003_000.png,test\n"
    )
    skipped: list[Skipped] = []
    rows = nih.rows(
        source / "images",
        labels=source / "labels.csv",
        split=source / "split.csv",
        on_skip=skipped.append,
    )
    assert [row.split for row in rows] == ["train", "train", "test"]
    assert [(skip.image, skip.code) for skip in skipped] == [("00000002_000.png", "split-missing")]


def test_a_split_may_be_called_fold_and_val_valid(source: Path) -> None:
    (source / "split.csv").write_text(
        "Image Index,fold\nimages/00000001_000.png,train\n00000001_001,train\n"
        "00000002_000.PNG,valid\n00000003_000.png,Test\n"
    )
    images, labels = source / "images", source / "labels.csv"
    rows = nih.rows(images, labels=labels, split=source / "split.csv")
    assert [row.split for row in rows] == ["train", "train", "val", "test"]
    (source / "split.csv").write_text("Image Index,fold\n00000001_000.png,holdout\n")
    with pytest.raises(DataError, match=r"split-unknown: split\.csv, row 1, 00000001_000\.png"):
        nih.rows(images, labels=labels, split=source / "split.csv")


def test_a_column_a_finding_and_ages_are_read_too(source: Path) -> None:
    (source / "labels.csv").write_text(
        "Image Index,Patient ID,Patient Age,Patient Gender,fold,Mass,Pleural_Thickening\n"
        "00000001_000.png,1,058Y,M,valid,1,0\n"
    )
    read = nih.read(source / "images", labels=source / "labels.csv")
    (row,) = read.rows
    assert (row.split, row.age, row.sex) == ("val", 58, "M")
    assert (row.labels[NIH14.index("Mass")], row.labels[NIH14.index("Hernia")]) == (1, -1)
    assert [note.code for note in read.warnings] == ["finding-unlabelled"]


@pytest.mark.parametrize("given", [".", "train_val_list.txt", "test_list.txt"])
def test_the_lists_of_nih_divide_train_from_val_by_patient(source: Path, given: str) -> None:
    stems = [f"{patient:08d}_{visit:03d}" for patient in range(10, 210) for visit in range(2)]
    for stem in stems:
        (source / "images" / f"{stem}.png").touch()
    lines = [f"{stem}.png,No Finding,0,{int(stem[:8])},1,M,PA,1,1,1,1\n" for stem in stems]
    (source / "labels.csv").write_text(V2020 + "".join(lines))
    learn = [f"{stem}.png\n" for stem in stems] + ["00000001_000.png\n00000001_001.png\n"]
    (source / "train_val_list.txt").write_text("".join(learn))
    (source / "test_list.txt").write_text("00000002_000.png\n00000003_000.png")
    rows = nih.rows(source / "images", labels=source / "labels.csv", split=source / given)
    splits: dict[str, set[str | None]] = {}
    for row in rows:
        splits.setdefault(row.patient, set()).add(row.split)
    assert all(len(found) == 1 for found in splits.values())
    assert [row.split for row in rows if row.patient in ("2", "3")] == ["test", "test"]
    learned = [row.split for row in rows if row.patient not in ("2", "3")]
    assert set(learned) == {"train", "val"}
    assert 0.05 < learned.count("val") / len(learned) < 0.2


def test_half_of_the_two_lists_is_refused(source: Path) -> None:
    (source / "test_list.txt").write_text("00000002_000.png\n")
    with pytest.raises(DataError, match=r"split-list-missing.*train_val_list\.txt"):
        nih.rows(source / "images", labels=source / "labels.csv", split=source / "test_list.txt")


def test_boxes_are_read_under_their_odd_header_in_the_frame_they_were_drawn_in(
    source: Path,
) -> None:
    (source / "boxes.csv").write_text(BOXES)
    rows = nih.rows(source / "images", labels=source / "labels.csv", boxes=source / "boxes.csv")
    boxes = rows[3].boxes
    assert [(box.finding, box.x, box.y, box.width, box.height) for box in boxes] == [
        ("Infiltration", 225.08, 547.02, 86.78, 79.19),
        ("Mass", 1.0, 2.0, 3.0, 4.0),
    ]
    assert rows[3].box_frame == (1024, 1024)
    assert rows[0].boxes == ()


def test_a_folder_that_has_nothing_to_do_with_the_table_is_refused(source: Path) -> None:
    (source / "labels.csv").write_text(HEAD + "\n")
    with pytest.raises(DataError, match="source-empty"):
        nih.rows(source / "images", labels=source / "labels.csv", on_skip=lambda _: None)


@pytest.mark.realdata
def test_the_real_tables_agree_with_what_is_known_of_them(realdata: Path) -> None:
    nih_folder = realdata / "nih"
    rows = nih.rows(
        nih_folder / "images-256",
        labels=nih_folder / "Data_Entry_2017_v2020.csv.gz",
        split=nih_folder / "official_split.csv.gz",
        boxes=nih_folder / "BBox_List_2017.csv.gz",
    )
    assert len(rows) == 1285
    patients = {split: {r.patient for r in rows if r.split == split} for split in ("train", "test")}
    assert not patients["train"] & patients["test"]
    # NIH names files by patient and follow-up.
    assert all(int(row.image[:8]) == int(row.patient) for row in rows)
    for row in rows:
        for box in row.boxes:
            assert box.x >= 0
            assert box.y >= 0
            assert box.x + box.width <= 1024
            assert box.y + box.height <= 1024


def test_lists_and_tables_that_are_pipes_are_not_waited_for(source: Path) -> None:
    for name in ("train_val_list.txt", "test_list.txt"):
        (source / name).unlink(missing_ok=True)
        os.mkfifo(source / name)
    with pytest.raises(DataError, match="split-list-missing"):
        nih.rows(source / "images", labels=source / "labels.csv", split=source)
    os.mkfifo(source / "pipe.csv")
    images, labels, pipe = source / "images", source / "labels.csv", source / "pipe.csv"
    for read in (
        partial(nih.rows, images, labels=pipe),
        partial(nih.rows, images, labels=labels, split=pipe),
        partial(nih.rows, images, labels=labels, boxes=pipe),
    ):
        with pytest.raises(DataError, match=r"table-missing.*pipe\.csv"):
            read()


def test_an_image_in_two_splits_is_refused(source: Path) -> None:
    (source / "train_val_list.txt").write_text("".join(f"{stem}.png\n" for stem in STEMS))
    (source / "test_list.txt").write_text(f"{STEMS[3]}.png\n")
    (source / "s.csv").write_text(f"image,split\n{STEMS[0]}.png,train\n{STEMS[0]}.png,test\n")
    for split in (source, source / "s.csv"):
        with pytest.raises(DataError, match="split-twice"):
            nih.rows(source / "images", labels=source / "labels.csv", split=split)
