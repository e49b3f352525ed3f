"""Cells that say something of an image, however data sets write them."""

from pathlib import Path

import pytest

from thorax.data.columns import age_of, image_column, names_in, sex_of, split_of, view_of, views
from thorax.data.table import Table
from thorax.errors import DataError


@pytest.mark.parametrize("name", ["val", "valid", "validate", "Validation", " VAL ", "dev"])
def test_every_name_of_the_second_split_is_val(name: str) -> None:
    assert split_of(name, "a") == "val"


def test_a_split_of_no_known_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"split-unknown: row 3: .*'tset'.*did you mean test"):
        split_of("tset", "row 3")
    with pytest.raises(DataError, match=r"'4'.*fold of a cross-validation"):
        split_of("4", "row 3")


def test_views_of_all_data_sets_are_view_positions() -> None:
    written = ["PA", "ap_horizontal", "L", "LL", "Lateral", "XTABLE LATERAL", "nan", "Frontal"]
    assert [view_of(cell) for cell in ("Postero-Anterior", "antero_posterior", "Axial")] == [
        *("PA", "AP", "AXIAL"),
    ]
    side = "LATERAL"
    assert [view_of(cell) for cell in written] == ["PA", "AP", side, side, side, side, None, None]
    table = Table(Path("t"), ("Frontal/Lateral", "AP/PA"), (("Frontal", "AP"), ("Lateral", "")))
    assert views(table) == ["AP", "LATERAL"]


def test_findings_in_a_cell_are_joined_or_a_list_of_python() -> None:
    assert names_in("Mass|Edema") == ["Mass", "Edema"]
    assert names_in("['nodule ', 'nodule', 'COPD signs', '']") == ["nodule", "COPD signs"]
    assert names_in("[nodule, mass]") == ["nodule", "mass"]
    assert names_in("nan") == names_in("") == names_in("[]") == []
    assert names_in("Mass, Nodule;edema") == ["Mass", "Nodule", "edema"]
    assert names_in("Mass, left") == ["Mass, left"]
    assert names_in("[{[]}]") == ["{[]}"]
    assert names_in(r"['\ud800', 'a\d']") == [r"\ud800", r"a\d"]
    # Nothing of a cell is run.
    assert names_in("[__import__('os').abort()]")


def test_ages_and_sexes() -> None:
    assert [age_of(cell) for cell in ("058Y", "57,0", "018M", "3D", "", "x", "-1", "999")] == [
        *(58, 57, 1, 0, None, None, None, None),
    ]
    assert [sex_of(cell) for cell in ("Female", "m", "O", "Mujer", "Unknown", "")] == [
        *("F", "M", "O", "F", None, None),
    ]


def test_a_patient_names_the_image_only_as_rsna_writes_it() -> None:
    assert image_column(Table(Path("t"), ("Target", "patientId"), ())) == 1
    assert image_column(Table(Path("t"), ("patientId", "dicom_id"), ())) == 1
    with pytest.raises(DataError, match="table-column-missing"):
        image_column(Table(Path("t"), ("patient", "Target"), ()))
