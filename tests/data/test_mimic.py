"""MIMIC-CXR-JPG's three tables, and one joined of them, say the same."""

import gzip
from pathlib import Path

import pytest
from tests.data.tables import OBSERVATIONS, counts, observations, reasons, save, touch

from thorax.data import mimic
from thorax.errors import DataError
from thorax.labels import MIMIC

COLUMNS = tuple(sorted(OBSERVATIONS))
STUDIES = {
    50414267: observations(COLUMNS, No_Finding="1.0"),
    50414268: observations(COLUMNS, Edema="-1.0", Pleural_Effusion="0.0"),
    50414270: observations(COLUMNS, Edema="1.0", Cardiomegaly="1.0"),
}
IMAGES = (
    # dicom_id, subject, study, ViewPosition, split
    ("02aa804e-bde0afdd-112c0b34-7bc16630-4e384014", 10000032, 50414267, "PA", "train"),
    ("174413ec-4ec4c1f7-34ea26b7-c5f994f8-79ef1962", 10000032, 50414267, "LATERAL", "train"),
    ("2a2277a9-b0ded155-c0de8eb9-c124d10e-82c5caab", 10000033, 50414268, "AP", "validate"),
    ("68b5c4b1-227d0485-9cc38c3f-7b84ab51-4b472714", 10000034, 50414270, "AP", "test"),
    ("f2b2b2b2-00000000-00000000-00000000-00000000", 10000034, 50414270, "", "test"),
    ("e084de3b-be89b11e-20fe3f9f-9c8d8dfe-4cfd202c", 10000035, 50414299, "PA", "train"),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for image, subject, study, _, _ in IMAGES:
        folder = tmp_path / "files" / f"p{subject // 10**6}" / f"p{subject}" / f"s{study}"
        touch(folder, f"{image}.jpg")
    subjects = {study: subject for _, subject, study, _, _ in IMAGES}
    save(
        tmp_path / "mimic-cxr-2.0.0-chexpert.csv.gz",
        "subject_id,study_id," + ",".join(COLUMNS),
        *(f"{subjects[study]},{study},{cells}" for study, cells in STUDIES.items()),
    )
    save(
        tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz",
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns",
        *(f"{one},{subject},{study},CHEST,{view},1,1" for one, subject, study, view, _ in IMAGES),
    )
    save(
        tmp_path / "mimic-cxr-2.0.0-split.csv.gz",
        "dicom_id,study_id,subject_id,split",
        *(f"{one},{study},{subject},{split}" for one, subject, study, _, split in IMAGES),
    )
    return tmp_path


def test_labels_by_study_are_joined_with_views_and_splits_by_image(source: Path) -> None:
    for images in (source, source / "files"):
        read = mimic.read(images, labels=source / "mimic-cxr-2.0.0-chexpert.csv.gz")
        assert read.label_set == MIMIC
        found = counts(read)
        assert found["Edema"] == (1, 1, 1)
        assert found["Cardiomegaly"] == (1, 2, 0)
        assert found["Fracture"] == (0, 3, 0)
        assert [(one.patient, one.view, one.split) for one in read.rows] == [
            ("10000032", "PA", "train"),
            ("10000033", "AP", "val"),
            ("10000034", "AP", "test"),
        ]
        assert {name: code for name, code in reasons(read).items() if "csv" not in name} == {
            IMAGES[1][0]: "view-not-frontal",
            IMAGES[4][0]: "view-unknown",
            IMAGES[5][0]: "label-missing",
        }


def test_a_joined_table_says_the_same(source: Path) -> None:
    whole = mimic.read(source / "files", labels=source / "mimic-cxr-2.0.0-chexpert.csv.gz")
    images = [one for one in IMAGES if one[2] in STUDIES]
    for name, key in (("dicom_id", "{}"), ("path", "p10/p{1}/s{2}/{0}.jpg")):
        joined = save(
            source / "joined.csv",
            f"{name},subject_id,study_id,ViewPosition,split," + ",".join(COLUMNS),
            *(
                f"{key.format(*one)},{one[1]},{one[2]},{one[3]},{one[4]},{STUDIES[one[2]]}"
                for one in images
            ),
        )
        read = mimic.read(source / "files", labels=joined)
        assert counts(read) == counts(whole)
        assert [one.path for one in read.rows] == [one.path for one in whole.rows]
        assert [one.split for one in read.rows] == ["train", "val", "test"]


def test_labels_by_study_alone_name_no_image(source: Path) -> None:
    (source / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    with pytest.raises(DataError, match=r"mimic-metadata.*--metadata"):
        mimic.read(source, labels=source / "mimic-cxr-2.0.0-chexpert.csv.gz")


def test_an_image_in_no_split_is_left_out(source: Path) -> None:
    split = save(source / "s.csv", "dicom_id,split", f"{IMAGES[0][0]},train")
    read = mimic.read(source, labels=source / "mimic-cxr-2.0.0-chexpert.csv.gz", split=split)
    assert [one.split for one in read.rows] == ["train"]
    assert list(reasons(read).values()).count("split-missing") == 3


@pytest.mark.parametrize("table", ["chexpert", "split"])
def test_a_study_or_an_image_of_two_rows_is_refused(source: Path, table: str) -> None:
    path = source / f"mimic-cxr-2.0.0-{table}.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    save(path, *lines, lines[1].replace("train", "test"))
    with pytest.raises(DataError, match=r"label-twice.*in rows 1 and \d"):
        mimic.read(source, labels=source / "mimic-cxr-2.0.0-chexpert.csv.gz")


def test_labels_of_no_study_leave_no_image(source: Path) -> None:
    labels = save(source / "labels.csv", "subject_id,study_id," + ",".join(COLUMNS))
    with pytest.raises(DataError, match="source-empty"):
        mimic.read(source, labels=labels, metadata=source / "mimic-cxr-2.0.0-metadata.csv.gz")
