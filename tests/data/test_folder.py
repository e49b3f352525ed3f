"""Any folder with a CSV, however its columns are called."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from thorax.data import files, folder
from thorax.data.samples import Box, Sample, Skipped
from thorax.data.store import open_store, write
from thorax.errors import DataError, UsageError
from thorax.images.preprocess import InputSpec
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
) -> tuple[list[Sample], list[Skipped]]:
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
        files.search(images / "absent")


def too_deep(folder: Path) -> str:
    """Make folders in each other until their path is longer than the system takes; return it.

    So there is one that even the superuser cannot read by its path.
    """
    name, here = "d" * 250, Path.cwd()
    try:
        os.chdir(folder)
        for _ in range(17):
            Path(name).mkdir()
            os.chdir(name)
        Path("deep.png").touch()
    finally:
        os.chdir(here)
    return "/".join([name] * 17)


def test_a_folder_that_cannot_be_read_is_listed_and_what_is_in_it_said_to_be(images: Path) -> None:
    deep = too_deep(images)
    text = (
        f"image,patient,findings\na.png,1,\n{deep}/deep.png,2,\ndeep.png,3,\nb.jpg,4,\nc.dcm,5,\n"
    )
    rows, skipped = read(images, text)
    assert [row.image for row in rows] == ["a.png", "b.jpg", "c.dcm"]
    closed = [skip for skip in skipped if skip.code == "folder-unreadable"]
    # As far as the path could be followed; the row within and the folder itself.
    assert len(closed) == 2
    assert deep.startswith(closed[1].image)
    assert closed[0].image == f"{deep}/deep.png"
    assert "name too long" in closed[1].message
    (missing,) = (skip for skip in skipped if skip.code == "image-missing")
    assert missing.image == "deep.png"
    assert "of which 1 folders cannot be read" in missing.message


def test_links_to_folders_are_listed_and_not_followed(images: Path) -> None:
    (images / "deep" / "loop").symlink_to("..")
    (images / "itself").symlink_to("itself")
    (images.parent / "elsewhere").mkdir()
    (images.parent / "elsewhere" / "e.png").touch()
    (images / "other").symlink_to(images.parent / "elsewhere")
    text = "image,patient,findings\na.png,1,\nb.jpg,2,\nc.dcm,3,\ne.png,4,\n"
    rows, skipped = read(images, text)
    assert [row.image for row in rows] == ["a.png", "b.jpg", "c.dcm"]
    assert [(skip.image, skip.code) for skip in skipped] == [
        ("e.png", "image-missing"),
        ("deep/loop", "folder-linked"),
        ("other", "folder-linked"),
        ("itself", "file-unsupported"),
    ]
    # A table that names the way through a link means it.
    rows, _ = read(images, "image,patient,findings\nother/e.png,1,\n")
    assert [row.path for row in rows] == [images / "other" / "e.png"]


def test_files_of_other_kinds_are_listed_unless_a_row_or_a_table(images: Path) -> None:
    for name in ("notes.txt", "scan.nii", "deep/1.2.840.113619", "boxes.csv", "table.csv"):
        (images / name).write_text("image,finding,x,y,width,height\n")
    (images / "table.csv").write_text(
        "image,patient,findings\na.png,1,\nb.jpg,2,\nc.dcm,3,\ndeep/1.2.840.113619,4,\n"
    )
    skipped: list[Skipped] = []
    rows = folder.rows(
        images,
        labels=images / "deep" / ".." / "table.csv",
        boxes=images / "boxes.csv",
        on_skip=skipped.append,
    )
    assert [row.image for row in rows] == ["a.png", "b.jpg", "c.dcm", "deep/1.2.840.113619"]
    assert [(skip.image, skip.code) for skip in skipped] == [
        ("notes.txt", "file-unsupported"),
        ("scan.nii", "file-unsupported"),
    ]


def test_files_that_cannot_be_read_do_not_end_an_import(images: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(images / "a.png"), np.eye(64, dtype=np.uint8))
    (images / "gone.png").symlink_to("nowhere.png")
    (images / "loop.png").symlink_to("loop.png")
    os.mkfifo(images / "pipe.png")
    (images / "folder.png").mkdir()
    names = ["a.png", "gone.png", "loop.png", "pipe.png", "folder.png", "b.jpg", "n" * 300]
    text = "image,patient,findings\n" + "".join(f"{name},{name},\n" for name in names)
    rows, skipped = read(images, text)
    summary = write(rows, tmp_path / "store", InputSpec(64), NIH14, skipped=skipped)
    assert open_store(tmp_path / "store").names == ("a.png",)
    listed = {skip.image: skip.code for skip in summary.skipped}
    assert set(listed) == {*names[1:], "deep/er/c.dcm"}
    assert listed["folder.png"] == listed["n" * 300] == "image-missing"


def test_a_name_that_no_file_can_have_is_missing(images: Path) -> None:
    long = "x" * 5_000 + ".png"
    _, skipped = read(images, f"image,patient,findings\na.png,1,\n{long},2,\nscans/{long},3,\n")
    assert [skip.code for skip in skipped[:2]] == ["image-missing", "image-missing"]
