"""VinDr-CXR's tables: three readers an image, of whom one, most or all must see a finding."""

from pathlib import Path

import pytest
from tests.data.tables import counts, save, touch

from thorax.data import vindr
from thorax.data.samples import Box
from thorax.errors import DataError

BOXES = (
    "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max",
    *(f"50a418190bc3fb1e,No finding,14,R{reader},,,," for reader in (1, 2, 3)),
    "9a5094b2563a1ef3,Cardiomegaly,3,R8,691.0,1375.0,1653.0,1831.0",
    "9a5094b2563a1ef3,Cardiomegaly,3,R9,700.0,1400.0,1600.0,1800.0",
    "9a5094b2563a1ef3,Aortic enlargement,0,R9,1264.0,743.0,1611.0,1019.0",
    "9a5094b2563a1ef3,No finding,14,R10,,,,",
    *(f"051132a778e61a86,Nodule/Mass,8,R{reader},1,2,4,6" for reader in (8, 9, 10)),
    "051132a778e61a86,Nodule/Mass,8,R10,5,5,7,9",
)
LABELS = (
    "image_id,rad_id,Aortic enlargement,Cardiomegaly,Nodule/Mass,Pneumonia,Other diseases,"
    "No finding",
    *(f"50a418190bc3fb1e,R{reader},0.0,0.0,0.0,0.0,0.0,1.0" for reader in (1, 2, 3)),
    "9a5094b2563a1ef3,R8,0,1,0,0,0,0",
    "9a5094b2563a1ef3,R9,1,1,0,0,0,0",
    "9a5094b2563a1ef3,R10,0,0,0,1,0,1",
    *(f"051132a778e61a86,R{reader},0,0,1,0,0,0" for reader in (8, 9, 10)),
)
TEST = (
    "image_id,Aortic enlargement,Cardiomegaly,Nodule/Mass,Pneumonia,Other disease,No finding",
    "d23be2fc84b61c8d,1,0,0,0,1,0",
)
BY_RULE = {
    "any": {"Aortic enlargement": 1, "Cardiomegaly": 1, "Nodule/Mass": 1},
    "majority": {"Aortic enlargement": 0, "Cardiomegaly": 1, "Nodule/Mass": 1},
    "all": {"Aortic enlargement": 0, "Cardiomegaly": 0, "Nodule/Mass": 1},
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    names = dict.fromkeys(line.partition(",")[0] for line in (*BOXES[1:], *TEST[1:]))
    touch(tmp_path / "images", *(f"{name}.dicom" for name in names))
    for name, lines in (
        ("train.csv", BOXES),
        ("labels_train.csv", LABELS),
        ("labels_test.csv", TEST),
    ):
        save(tmp_path / name, *lines)
    return tmp_path


@pytest.mark.parametrize("readers", ["any", "majority", "all"])
def test_readers_vote(source: Path, readers: vindr.Readers) -> None:
    read = vindr.read(source / "images", labels=[source / "train.csv"], readers=readers)
    assert {name: positive for name, (positive, _, _) in counts(read).items()} == BY_RULE[readers]
    assert [one.image for one in read.rows] == [
        *("50a418190bc3fb1e", "9a5094b2563a1ef3", "051132a778e61a86"),
    ]
    by_image = vindr.read(source / "images", labels=[source / "labels_train.csv"], readers=readers)
    found = counts(by_image)
    assert {name: found[name][0] for name in BY_RULE[readers]} == BY_RULE[readers]
    assert found["Pneumonia"][0] == (readers == "any")


def test_boxes_are_of_findings_that_are_positive(source: Path) -> None:
    read = vindr.read(source / "images", labels=[source / "train.csv"], readers="majority")
    assert read.rows[1].boxes == (
        Box("Cardiomegaly", 691.0, 1375.0, 962.0, 456.0),
        Box("Cardiomegaly", 700.0, 1400.0, 900.0, 400.0),
    )
    with_boxes = vindr.read(
        source / "images",
        labels=[source / "labels_train.csv"],
        boxes=[source / "train.csv"],
        readers="majority",
    )
    assert [one.boxes for one in with_boxes.rows] == [one.boxes for one in read.rows]


def test_boxes_of_resized_copies_are_in_the_frame_that_the_table_says(source: Path) -> None:
    table = save(
        source / "resized.csv",
        f"{BOXES[0]},width,height",
        "9a5094b2563a1ef3,Cardiomegaly,3,R8,691,1375,1653,1831,2080,2336",
    )
    (one,) = vindr.read(source / "images", labels=[table]).rows
    assert one.box_frame == (2336, 2080)


def test_the_table_of_test_is_test_under_its_own_names(source: Path) -> None:
    labels = [source / "labels_train.csv", source / "labels_test.csv"]
    read = vindr.read(source / "images", labels=labels)
    assert {one.split for one in read.rows[:3]} <= {"train", "val"}
    assert read.rows[3].split == "test"
    assert counts(read)["Other diseases"] == (1, 3, 0)


def test_a_reader_twice_and_an_empty_box_are_refused(source: Path) -> None:
    save(source / "labels_train.csv", *LABELS, LABELS[1])
    with pytest.raises(DataError, match=r"label-twice.*R1"):
        vindr.read(source / "images", labels=[source / "labels_train.csv"])
    save(source / "train.csv", *BOXES, "9a5094b2563a1ef3,Cardiomegaly,3,R8,5,5,5,6")
    with pytest.raises(DataError, match="box-empty"):
        vindr.read(source / "images", labels=[source / "train.csv"])
    save(source / "labels_train.csv", LABELS[0], "50a418190bc3fb1e,R1,,0,0,0,0,0")
    with pytest.raises(DataError, match=r"label-value.*'Aortic enlargement' is ''"):
        vindr.read(source / "images", labels=[source / "labels_train.csv"])
    flat = "9a5094b2563a1ef3,Cardiomegaly,3,R8,5,5,6,6,2080,0"
    save(source / "resized.csv", f"{BOXES[0]},width,height", flat)
    with pytest.raises(DataError, match=r"box-empty.*an image of 2080 x 0"):
        vindr.read(source / "images", labels=[source / "resized.csv"])


def test_a_split_column_of_the_users_own_counts(source: Path) -> None:
    lines = [f"{line},{'val' if line.startswith('9a') else 'train'}" for line in BOXES[1:]]
    save(source / "train.csv", f"{BOXES[0]},split", *lines)
    read = vindr.read(source / "images", labels=[source / "train.csv"])
    assert [one.split for one in read.rows] == ["train", "val", "train"]


def test_boxes_of_images_that_no_label_is_of_are_told(source: Path) -> None:
    save(source / "boxes.csv", *BOXES, "0000,Cardiomegaly,3,R8,5,5,6,6")
    read = vindr.read(
        source / "images", labels=[source / "labels_train.csv"], boxes=[source / "boxes.csv"]
    )
    (note,) = read.warnings
    assert (note.code, "'0000'" in note.message) == ("box-without-image", True)
