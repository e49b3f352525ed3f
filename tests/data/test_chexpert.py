"""CheXpert's tables give the counts that its authors count (Irvin et al., AAAI 2019, Table 1)."""

from pathlib import Path

import pytest
from tests.data.tables import OBSERVATIONS, counts, observations, reasons, save, touch

from thorax.data import chexpert
from thorax.data.samples import ReadOptions
from thorax.errors import DataError
from thorax.labels import CHEXPERT, NIH14

HEAD = "Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(OBSERVATIONS)
ROOT = "CheXpert-v1.0-small"


def row(path: str, about: str, **values: str) -> str:
    return f"{ROOT}/{path},{about},{observations(OBSERVATIONS, **values)}"


TRAIN = (
    HEAD,
    row(
        "train/patient00001/study1/view1_frontal.jpg",
        "Female,68,Frontal,AP",
        No_Finding="1.0",
        Pneumothorax="0.0",
        Support_Devices="1.0",
    ),
    row("train/patient00002/study1/view1_frontal.jpg", "Male,87,Frontal,PA", Cardiomegaly="-1.0"),
    row("train/patient00002/study1/view2_lateral.jpg", "Male,87,Lateral,", Cardiomegaly="-1.0"),
    row(
        "train/patient00003/study1/view1_frontal.jpg",
        "Unknown,0,Frontal,AP",
        Cardiomegaly="1.0",
        Pleural_Effusion="1.0",
    ),
)
VALID = (
    HEAD,
    row(
        "valid/patient64541/study1/view1_frontal.jpg",
        "Male,73,Frontal,AP",
        **{name.replace(" ", "_"): "0.0" for name in OBSERVATIONS} | {"Cardiomegaly": "1.0"},
    ),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for lines in (TRAIN, VALID):
        touch(tmp_path, *(line.partition(",")[0] for line in lines[1:]))
    save(tmp_path / "train.csv", *TRAIN)
    save(tmp_path / "valid.csv", *VALID)
    return tmp_path


@pytest.mark.parametrize("root", [".", ROOT])
def test_what_is_not_mentioned_is_negative(source: Path, root: str) -> None:
    read = chexpert.read(source / root, labels=[source / "train.csv"])
    assert read.label_set == CHEXPERT
    found = counts(read)
    assert found["Cardiomegaly"] == (1, 1, 1)
    assert found["Pleural Effusion"] == found["Support Devices"] == (1, 2, 0)
    assert found["Fracture"] == found["Pneumothorax"] == (0, 3, 0)
    assert reasons(read)[TRAIN[3].partition(",")[0]] == "view-not-frontal"
    assert [(one.patient, one.view, one.age, one.sex) for one in read.rows] == [
        ("patient00001", "AP", 68, "F"),
        ("patient00002", "PA", 87, "M"),
        ("patient00003", "AP", 0, None),
    ]
    # Where there is train alone, val and test are drawn from it.
    assert {one.split for one in read.rows} == {None}
    assert any("drawn" in sentence for sentence in read.conventions)


def test_uncertain_labels_and_other_views_as_asked(source: Path) -> None:
    options = ReadOptions(uncertain="ones", views="all")
    read = chexpert.read(source, labels=[source / "train.csv"], options=options)
    assert counts(read)["Cardiomegaly"] == (3, 1, 0)
    assert [one.view for one in read.rows] == ["AP", "PA", "LATERAL", "AP"]


def test_the_folders_are_the_splits(source: Path) -> None:
    read = chexpert.read(source, labels=[source / "train.csv", source / "valid.csv"])
    assert [one.split for one in read.rows] == ["train", "train", "train", "val"]
    assert counts(read)["Cardiomegaly"] == (2, 1, 1)


def test_other_findings_are_mapped_and_what_is_lost_is_told(source: Path) -> None:
    read = chexpert.read(source, labels=[source / "train.csv"], options=ReadOptions(findings=NIH14))
    assert counts(read)["Effusion"] == (1, 2, 0)
    assert counts(read)["Hernia"] == (0, 0, 3)
    told = {note.code: note.message for note in read.warnings}
    assert "'Support Devices'" in told["finding-not-taken"]
    assert "Hernia" in told["finding-unlabelled"]


def test_a_path_without_a_patient_is_refused(source: Path) -> None:
    (source / "train.csv").write_text("\n".join(TRAIN).replace("patient00003", "p3"))
    with pytest.raises(DataError, match=r"patient-missing.*p3.*data import folder"):
        chexpert.read(source, labels=[source / "train.csv"])


def test_a_folder_above_the_data_set_is_no_split(source: Path) -> None:
    (source / "train.csv").write_text("\n".join(TRAIN).replace(ROOT, f"/test/{ROOT}"))
    read = chexpert.read(source, labels=[source / "train.csv", source / "valid.csv"])
    assert [one.split for one in read.rows] == ["train", "train", "train", "val"]


def test_a_split_column_of_the_users_own_counts(source: Path) -> None:
    head, *rows = TRAIN
    save(source / "train.csv", f"{head},split", *(f"{line},test" for line in rows))
    read = chexpert.read(source, labels=[source / "train.csv"])
    assert {one.split for one in read.rows} == {"test"}
