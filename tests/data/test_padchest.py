"""PadChest's table: lists as Python writes them, projections, ages of two dates."""

from pathlib import Path

import pytest
from tests.data.tables import counts, reasons, save, touch

from thorax.data import padchest
from thorax.data.samples import ReadOptions
from thorax.labels import XRV18

HEAD = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,"
    "ViewPosition_DICOM,Projection,MethodProjection,Pediatric,Modality_DICOM,ReportID,Report,"
    "MethodLabel,Labels,Localizations"
)
ROWS = (
    ("PA", "['normal']"),
    ("L", "['cardiomegaly']"),
    ("AP_horizontal", "['pneumonia', 'pleural effusion ', 'pneumonia']"),
    ("PA", "['COPD signs', 'Pneumonia']"),
    ("AP", "['unchanged']"),
    ("COSTAL", "['rib fracture']"),
    ("PA", "['exclude']"),
    ("PA", ""),
    ("PA", "['suboptimal study', 'cardiomegaly', 'unchanged']"),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    touch(tmp_path / "images", *(f"{number % 3}/2168{number}.png" for number in range(len(ROWS))))
    save(
        tmp_path / "labels.csv",
        HEAD,
        *(
            f"{number},2168{number}.png,{number % 3},20140915,{number},{845 + number},1930.0,M,"
            f"POSTEROANTERIOR,{projection},Manual review,No,CR,4,texto,Physician,"
            f'"{labels}",["loc right"]'
            for number, (projection, labels) in enumerate(ROWS)
        ),
    )
    return tmp_path


def test_findings_are_the_authors_own_and_counted_by_them(source: Path) -> None:
    read = padchest.read(source / "images", labels=source / "labels.csv")
    assert counts(read) == {
        "cardiomegaly": (1, 3, 1),
        "COPD signs": (1, 3, 1),
        "pleural effusion": (1, 3, 1),
        "pneumonia": (2, 2, 1),
        "rib fracture": (0, 4, 1),
    }
    assert reasons(read) == {
        "21681.png": "view-not-frontal",
        "21685.png": "view-not-frontal",
        "21686.png": "label-excluded",
        "21687.png": "label-missing",
    }
    assert [one.view for one in read.rows] == ["PA", "AP", "PA", "AP", "PA"]
    assert {(one.age, one.sex) for one in read.rows} == {(84, "M")}
    assert [one.patient for one in read.rows[:2]] == ["845", "847"]


def test_a_set_that_is_asked_for_knows_what_padchest_cannot_say(source: Path) -> None:
    read = padchest.read(
        source / "images", labels=source / "labels.csv", options=ReadOptions(findings=XRV18)
    )
    found = counts(read)
    assert (found["Effusion"], found["Hernia"]) == ((1, 3, 1), (0, 0, 5))
    assert {note.code for note in read.warnings} == {"finding-not-taken", "finding-unlabelled"}


def test_a_table_with_a_column_a_finding_is_read_too(source: Path) -> None:
    table = save(
        source / "columns.csv",
        "ImageID,ImageDir,PatientID,Projection,Cardiomegaly",
        *("21680.png,0,1,PA,1", "21681.png,1,2,L,1"),
    )
    read = padchest.read(source / "images", labels=table)
    assert counts(read) == {"Cardiomegaly": (1, 0, 0)}
