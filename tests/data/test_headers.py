"""What DICOM headers say is taken where tables say nothing, and never against them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from thorax.data.headers import complete
from thorax.data.samples import Sample, Source
from thorax.errors import DataError
from thorax.labels import LabelSet
from thorax.phantoms.dicom import Subject, encode_dicom

SECRET = "DOE-4711"


def dicom(path: Path, **attributes: str) -> Sample:
    subject = Subject(SECRET, 50, "O")
    grey = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    file = encode_dicom(grey, subject=subject, view="PA", spacing_mm=1.0, seed=0, index=0)
    path.write_bytes(file)
    header = dcmread(path)
    for name, value in attributes.items():
        setattr(header, name, value)
    header.save_as(path)
    return Sample(path.name, path, "", np.zeros(1, np.int8))


def source(*rows: Sample) -> Source:
    return Source("folder", LabelSet("one", ("Mass",)), rows)


def test_patient_view_age_and_sex_are_the_headers_where_no_table_says_them(tmp_path: Path) -> None:
    rows = (
        dicom(tmp_path / "a.dcm", PatientAge="058Y", PatientSex="F"),
        replace(
            dicom(tmp_path / "b.dcm", ViewPosition="AP", PatientAge="018M"), patient="7", age=3
        ),
        Sample("c.png", tmp_path / "c.png", "8", np.zeros(1, np.int8)),
    )
    read = complete(source(*rows))
    first, second, third = read.rows
    assert (first.view, first.age, first.sex) == ("PA", 58, "F")
    # Whoever reads the store cannot read who it was.
    assert len(first.patient) == 16
    assert SECRET not in first.patient
    assert (second.patient, second.view, second.age) == ("7", "AP", 3)
    assert third is not None
    assert (third.patient, third.view, third.age) == ("8", None, None)
    same = complete(source(dicom(tmp_path / "d.dcm"))).rows[0]
    assert same.patient == first.patient


def test_other_views_and_parts_are_left_out_with_the_reason(tmp_path: Path) -> None:
    rows = [
        dicom(tmp_path / "pa.dcm"),
        dicom(tmp_path / "lateral.dcm", ViewPosition="LATERAL"),
        dicom(tmp_path / "ll.dcm", ViewPosition="LL"),
        replace(dicom(tmp_path / "told.dcm", ViewPosition="RL"), view="PA"),
        dicom(tmp_path / "hand.dcm", BodyPartExamined="HAND"),
    ]
    read = complete(source(*rows))
    assert [one.image for one in read.rows] == ["pa.dcm"]
    assert [skip.code for skip in read.skipped] == ["view-not-frontal"] * 3 + ["body-part"]
    assert "its table PA" in read.skipped[2].message
    every = complete(source(*(replace(row, frontal=False) for row in rows)))
    assert [one.view for one in every.rows] == ["PA", "LATERAL", "LATERAL", "PA"]
    with pytest.raises(DataError, match=r"source-empty.*hand\.dcm"):
        complete(source(rows[4]))


def test_a_patient_that_nothing_names_is_refused(tmp_path: Path) -> None:
    row = dicom(tmp_path / "a.dcm", PatientID="")
    with pytest.raises(DataError, match=r"patient-missing.*--patient-from"):
        complete(source(row))


def test_what_cannot_be_read_is_left_to_who_decodes_it(tmp_path: Path) -> None:
    (tmp_path / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 64)
    row = Sample("broken.dcm", tmp_path / "broken.dcm", "7", np.zeros(1, np.int8))
    assert complete(source(row)).rows == (row,)
