"""RSNA's table has a row a box, and a patient an image."""

from pathlib import Path

import pytest
from tests.data.tables import counts, save, touch

from thorax.data import rsna
from thorax.data.samples import Box
from thorax.errors import DataError

LABELS = (
    "patientId,x,y,width,height,Target",
    "0004cfab,,,,,0",
    "00313ee0,,,,,0",
    "00436515,264.0,152.0,213.0,379.0,1",
    "00436515,562.0,152.0,256.0,453.0,1",
    "00704310,323.0,577.0,160.0,104.0,1",
)
CLASSES = (
    "patientId,class",
    "0004cfab,No Lung Opacity / Not Normal",
    "00313ee0,Normal",
    "00436515,Lung Opacity",
    "00436515,Lung Opacity",
    "00704310,Lung Opacity",
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    touch(tmp_path / "images", *(f"{line.partition(',')[0]}.dcm" for line in LABELS[1:]))
    save(tmp_path / "labels.csv", *LABELS)
    save(tmp_path / "classes.csv", *CLASSES)
    return tmp_path


def test_images_are_counted_once_and_boxes_all(source: Path) -> None:
    read = rsna.read(source / "images", labels=source / "labels.csv")
    assert counts(read) == {"Pneumonia": (2, 2, 0)}
    assert [len(one.boxes) for one in read.rows] == [0, 0, 2, 1]
    assert read.rows[3].boxes == (Box("Pneumonia", 323.0, 577.0, 160.0, 104.0),)
    assert [one.patient for one in read.rows] == [one.image for one in read.rows]


def test_classes_tell_the_abnormal_from_the_normal(source: Path) -> None:
    read = rsna.read(
        source / "images", labels=source / "labels.csv", classes=source / "classes.csv"
    )
    assert counts(read) == {"Pneumonia": (2, 2, 0), "Abnormal": (3, 1, 0)}


@pytest.mark.parametrize(
    ("labels", "classes", "code"),
    [
        ((*LABELS, "00704310,,,,,0"), CLASSES, "label-conflict"),
        (LABELS, (*CLASSES[:5], "00704310,Normal"), "label-conflict"),
        (LABELS, (*CLASSES[:5], "00704310,Healthy"), "class-unknown"),
        (LABELS, CLASSES[:5], "class-missing"),
        (LABELS, (*CLASSES, "00313ee0,No Lung Opacity / Not Normal"), "label-conflict"),
        ((*LABELS[:5], "00704310,1,2,,4,1"), CLASSES, "table-number"),
        ((*LABELS[:5], "00704310,1,2,0,4,1"), CLASSES, "box-empty"),
        ((*LABELS[:5], "00704310,,,,,"), CLASSES, "label-value"),
        ((*LABELS[:5], "00704310,,,,,-1"), CLASSES, "label-value"),
    ],
)
def test_tables_that_contradict_each_other_are_refused(
    source: Path, labels: tuple[str, ...], classes: tuple[str, ...], code: str
) -> None:
    save(source / "labels.csv", *labels)
    save(source / "classes.csv", *classes)
    with pytest.raises(DataError) as caught:
        rsna.read(source / "images", labels=source / "labels.csv", classes=source / "classes.csv")
    assert caught.value.code == code


def test_a_split_column_of_the_users_own_counts(source: Path) -> None:
    lines = [f"{line},{'test' if '0043' in line else 'train'}" for line in LABELS[1:]]
    table = save(source / "labels.csv", f"{LABELS[0]},split", *lines)
    read = rsna.read(source / "images", labels=table)
    assert [one.split for one in read.rows] == ["train", "train", "test", "train"]
    save(table, f"{LABELS[0]},split", *lines, f"{LABELS[3]},train")
    with pytest.raises(DataError, match="split-twice"):
        rsna.read(source / "images", labels=table)
