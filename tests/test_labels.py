"""Label sets: order, synonyms, and the names of the data set they come from."""

import csv
import gzip
from pathlib import Path

import pytest

from thorax.errors import DataError, UsageError
from thorax.labels import (
    CHEXPERT,
    LABEL_SETS,
    MIMIC,
    NIH14,
    PADCHEST,
    XRV18,
    LabelSet,
    misspelt,
    named_set,
    set_of,
)


def test_every_finding_is_the_column_it_stands_in() -> None:
    for column, name in enumerate(NIH14.findings):
        assert NIH14.index(name) == column
        row = NIH14.row([name])
        assert row.dtype.name == "int8"
        assert row.tolist() == [int(place == column) for place in range(14)]


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("pleural thickening", "Pleural_Thickening"),
        (" Pleural  Thickening ", "Pleural_Thickening"),
        ("PT", "Pleural_Thickening"),
        ("EFFUSION", "Effusion"),
        ("Pleural Effusion", "Effusion"),
        ("Enlarged Heart", "Cardiomegaly"),
        ("Infiltrate", "Infiltration"),
        ("Lung_Nodule", "Nodule"),
        ("oedema", "Edema"),
        ("Hiatal Hernia", "Hernia"),
    ],
)
def test_a_synonym_is_the_finding_it_means(name: str, finding: str) -> None:
    assert NIH14.findings[NIH14.index(name)] == finding


def test_no_two_findings_are_synonyms_of_each_other() -> None:
    assert [NIH14.index(name) for name in NIH14.findings] == list(range(len(NIH14)))


@pytest.mark.parametrize("nothing", [[], ["No Finding"], ["no finding"], ["No_Finding"], ["", " "]])
def test_nothing_found_is_a_row_of_zeros(nothing: list[str]) -> None:
    assert NIH14.row(nothing).tolist() == [0] * 14


def test_a_name_of_no_finding_is_refused_with_what_there_is() -> None:
    with pytest.raises(DataError) as caught:
        NIH14.row(["Mass", "Scoliosis"])
    assert caught.value.code == "label-unknown"
    assert "Scoliosis" in caught.value.message
    assert all(name in caught.value.message for name in NIH14.findings)


def test_a_set_of_its_own_has_its_own_order() -> None:
    labels = LabelSet("pair", ("Edema", "Mass"))
    assert (len(labels), labels.row(["Mass"]).tolist()) == (2, [0, 1])


def test_every_built_in_set_knows_its_findings_by_the_names_of_the_others() -> None:
    for labels in LABEL_SETS.values():
        assert [labels.index(name) for name in labels.findings] == list(range(len(labels)))
        assert named_set(labels.name.upper()) is labels
        assert set_of(labels.findings) is labels
    assert CHEXPERT.index("Effusion") == CHEXPERT.index("Pleural Effusion")
    assert XRV18.index("lung_opacity") == 16
    assert PADCHEST.findings[PADCHEST.index("Mass")] == "Pulmonary Mass"
    assert set(MIMIC.findings) == set(CHEXPERT.findings)


def test_any_findings_make_a_set_of_their_own() -> None:
    assert named_set(" COVID-19, Nodule/Mass ").findings == ("COVID-19", "Nodule/Mass")
    for text in ("Mass,,Edema", "Mass,mass", ""):
        with pytest.raises(UsageError, match="label-set"):
            named_set(text)
    both = LabelSet("both", ("Effusion", "Pleural Effusion"))
    # Its own names go before what others take for the same.
    assert (both.index("Pleural Effusion"), both.index("pleural_effusion")) == (1, 1)
    assert LabelSet("own", ("No Finding", "Mass")).row(["no finding"]).tolist() == [1, 0]


def test_what_two_sets_share_and_what_not() -> None:
    overlap = XRV18.overlap(LabelSet("store", ("Fracture", "Pleural Effusion", "Zebra")))
    assert (overlap.columns, overlap.others, overlap.foreign) == ((7, 15), (1, 0), ("Zebra",))
    assert len(overlap.alone) == 16
    twins = LabelSet("twins", ("Effusion", "Pleural Effusion")).overlap(NIH14)
    assert (twins.columns, twins.alone) == ((0,), ("Pleural Effusion",))


def test_a_misspelt_finding_is_close_to_one_and_others_are_not() -> None:
    near = {
        "Cardiomegally": "Cardiomegaly",
        "Effusions": "Effusion",
        "Pnuemothorax": "Pneumothorax",
    }
    assert {name: misspelt(name) for name in near} == near
    for name in (
        "COVID-19",
        "Pneumonia",
        "pleural effusion",
        "No Finding",
        "Scoliosis",
        "Rib notch",
    ):
        assert misspelt(name) is None


@pytest.mark.realdata
def test_nih14_names_every_label_of_the_nih_table_and_no_other(realdata: Path) -> None:
    seen: set[str] = set()
    with gzip.open(realdata / "nih" / "Data_Entry_2017_v2020.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            seen.update(row["Finding Labels"].split("|"))
    assert seen - {"No Finding"} == set(NIH14.findings)
