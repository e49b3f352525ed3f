"""Any folder with a CSV, however its columns are called."""

from pathlib import Path

import numpy as np
import pytest

from thorax.data import folder
from thorax.data.rows import Box, Row, Skipped
from thorax.errors import DataError, UsageError
from thorax.labels import NIH14, LabelSet

TWO = LabelSet("two", ("Effusion", "Edema"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "scans"
    for name in ("a.png", "deep/b.jpg", "deep/er/c.dcm"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def read(
    images: Path, text: str, *, patient_from: str | None = None, label_set: LabelSet = NIH14
) -> tuple[list[Row], list[Skipped]]:
    table = images.parent / "labels.csv"
    table.write_text(text)
    skipped: list[Skipped] = []
    rows = folder.rows(
        images,
        labels=table,
        patient_from=patient_from,
        label_set=label_set,
        on_skip=skipped.append,
    )
    return rows, skipped


@pytest.mark.parametrize("image", ["image", "path", "Image Index", "file_name"])
@pytest.mark.parametrize("patient", ["patient", "Patient ID", "PatientID", "subject_id"])
@pytest.mark.parametrize("findings", ["findings", "Finding Labels", "label"])
def test_columns_go_by_many_names(images: Path, image: str, patient: str, findings: str) -> None:
    text = f"age,{image},{patient},{findings}\n40,a.png,7,Oedema|Pleural Effusion\n"
    rows, _ = read(images, text, label_set=TWO)
    assert [(r.image, r.patient, r.labels.tolist()) for r in rows] == [("a.png", "7", [1, 1])]


def test_files_are_found_by_path_by_name_and_below_the_folders_own_name(images: Path) -> None:
    text = "image,patient,findings\nscans/a.png,1,\nb.jpg,2,No Finding\ndeep/er/c.dcm,3,Mass\n"
    rows, skipped = read(images, text)
    assert [row.path.relative_to(images).as_posix() for row in rows] == [
        "a.png",
        "deep/b.jpg",
        "deep/er/c.dcm",
    ]
    assert skipped == []


def test_one_column_a_finding_with_unknowns_as_chexpert_writes_them(images: Path) -> None:
    text = (
        "Path,Sex,Frontal/Lateral,AP/PA,Pleural Effusion,Edema,Support Devices\n"
        "scans/a.png,F,Frontal,AP,1.0,-1.0,1\n"
        "deep/b.jpg,F,Lateral,,0.0,,\n"
        "deep/er/c.dcm,M,Frontal,PA,0.0,,\n"
    )
    rows, skipped = read(images, text, patient_from=r"([a-c])\.\w+$")
    effusion, edema = NIH14.index("Effusion"), NIH14.index("Edema")
    assert [(r.patient, r.view, int(r.labels[effusion]), int(r.labels[edema])) for r in rows] == [
        ("a", "AP", 1, -1),
        ("c", "PA", 0, -1),
    ]
    # Findings that the table does not speak of are not there, and not absent either.
    assert (np.delete(rows[0].labels, [effusion, edema]) == -1).all()
    assert [(skip.image, skip.code) for skip in skipped] == [("deep/b.jpg", "view-not-frontal")]


def test_splits_are_read_and_left_open(images: Path) -> None:
    text = "image,patient,findings,split\na.png,1,,Training\nb.jpg,2,,valid\nc.dcm,3,,\n"
    assert [row.split for row in read(images, text)[0]] == ["train", "val", None]
    with pytest.raises(DataError, match=r"split-unknown.*'holdout'.*train, val, test"):
        read(images, text.replace("valid", "holdout"))


def test_what_is_on_one_side_only_is_reported(images: Path) -> None:
    rows, skipped = read(images, "image,patient,findings\na.png,1,\ngone.png,1,\n")
    assert [row.image for row in rows] == ["a.png"]
    assert [(skip.image, skip.code) for skip in skipped] == [
        ("gone.png", "image-missing"),
        ("deep/b.jpg", "label-missing"),
        ("deep/er/c.dcm", "label-missing"),
    ]


def test_boxes_are_in_the_images_own_pixels(images: Path) -> None:
    (images.parent / "labels.csv").write_text("image,patient,findings\na.png,1,Mass\n")
    boxes = images.parent / "boxes.csv"
    boxes.write_text("image,finding,x,y,width,height\na.png,Lung Mass,1.5,2,3,4\n")
    rows = folder.rows(
        images, labels=images.parent / "labels.csv", boxes=boxes, on_skip=lambda _: None
    )
    assert rows[0].boxes == (Box("Mass", 1.5, 2.0, 3.0, 4.0),)
    assert rows[0].box_frame is None
    boxes.write_text("image,finding,x,y,width,height\na.png,Mass,1,2,0,4\n")
    with pytest.raises(DataError, match="box-empty"):
        folder.rows(images, labels=images.parent / "labels.csv", boxes=boxes)


@pytest.mark.parametrize("name", ["../secret.png", "deep/../../secret.png", "/etc/hosts", ".", ""])
def test_a_path_outside_the_folder_is_refused(images: Path, name: str) -> None:
    (images.parent / "secret.png").touch()
    with pytest.raises(DataError, match="path-outside"):
        read(images, f"image,patient,findings\n{name},1,\n")


def test_a_table_without_patients_needs_to_be_told_where_they_are(images: Path) -> None:
    text = "image,findings\na.png,\ndeep/b.jpg,\n"
    with pytest.raises(DataError, match=r"'patient'.*'image', 'findings'.*--patient-from"):
        read(images, text)
    assert [row.patient for row in read(images, text, patient_from=".*")[0]] == [
        "a.png",
        "deep/b.jpg",
    ]
    with pytest.raises(DataError, match=r"patient-missing.*'a\.png'"):
        read(images, text, patient_from="^(deep)/")
    with pytest.raises(UsageError, match="patient-pattern"):
        read(images, text, patient_from="(")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("patient,findings\n1,\n", "table-column-missing"),
        ("image,patient,Fracture\na.png,1,1\n", "table-column-missing"),
        ("image,patient,findings\na.png,1,Fracture\n", "label-unknown"),
        ("image,patient,findings\na.png,,\n", "patient-missing"),
        ("image,patient,findings\na.png,1,\nscans/a.png,1,\n", "label-twice"),
        ("image,patient,Edema,Oedema\na.png,1,1,1\n", "table-column-twice"),
        ("image,patient,Edema\na.png,1,2\n", "label-value"),
        ("image,patient,Edema\na.png,1,yes\n", "table-number"),
        ("image,patient,findings\nz.png,1,\n", "source-empty"),
    ],
)
def test_a_table_that_cannot_be_followed_says_why(images: Path, text: str, code: str) -> None:
    with pytest.raises(DataError) as caught:
        read(images, text)
    assert caught.value.code == code


def test_a_bare_name_that_is_there_twice_is_refused(images: Path) -> None:
    (images / "deep" / "er" / "b.jpg").touch()
    with pytest.raises(DataError, match="image-ambiguous"):
        read(images, "image,patient,findings\nb.jpg,1,\n")


def test_an_absent_folder_is_named(images: Path) -> None:
    with pytest.raises(DataError, match="folder-missing"):
        folder.find_images(images / "absent")
