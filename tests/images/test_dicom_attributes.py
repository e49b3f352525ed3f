"""Views, modalities, identifiers, and which side is up."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.dicoms import SECRET, dicom, item, ramp, warned

from thorax.errors import ImageError
from thorax.images.radiograph import read

Turn = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


@pytest.mark.parametrize("modality", ["DR", "XR"])
def test_modalities_that_devices_invent_are_radiographs(modality: str) -> None:
    assert warned(read(dicom(ramp(8), Modality=modality))) == ["dicom-modality-unusual"]


@pytest.mark.parametrize(
    ("modality", "words"), [("PX", "panoramic"), ("MG", "mammography"), ("PR", "presentation")]
)
def test_other_modalities_are_named(modality: str, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        read(dicom(ramp(8), Modality=modality))


@pytest.mark.parametrize(
    ("view", "part", "codes"),
    [
        ("PA", "CHEST", []),
        ("AP SUPINE", "THORAX", []),
        ("LATERAL", "CHEST", ["dicom-view"]),
        ("LL", "", ["dicom-view"]),
        ("AP", "HAND", ["dicom-body-part"]),
        ("", "KNEE", ["dicom-body-part"]),
        ("RLD", "ABDOMEN", ["dicom-view", "dicom-body-part"]),
        ("FRONTAL", "TORAX", []),
        ("AP_LORDOTIC", "CHEST_PORTABLE", []),
    ],
)
def test_views_and_parts_that_are_no_frontal_chest_are_told(
    view: str, part: str, codes: list[str]
) -> None:
    assert warned(read(dicom(ramp(8), ViewPosition=view, BodyPartExamined=part))) == codes


@pytest.mark.parametrize(
    ("orientation", "lay"),
    [
        (["L", "F"], np.array),
        (["R", "F"], np.fliplr),
        (["L", "H"], np.flipud),
        (["R", "H"], lambda upright: np.rot90(upright, 2)),
        (["F", "L"], np.transpose),
        (["H", "L"], lambda upright: np.rot90(upright, -1)),
        (["F", "R"], lambda upright: np.rot90(upright, 1)),
        (["LF", "FR"], np.array),
        (["A", "F"], np.array),
        (["P", "H"], np.flipud),
        (["L", "P"], np.array),
        (["L"], np.array),
    ],
)
def test_the_image_is_upright(orientation: list[str], lay: Turn) -> None:
    pixels = np.ascontiguousarray(lay(ramp(8)))
    radiograph = read(dicom(pixels, PatientOrientation=orientation, PixelSpacing=[0.1, 0.1]))
    assert np.array_equal(radiograph.grey8, ramp(8))
    turned = not np.array_equal(pixels, ramp(8))
    assert warned(radiograph) == ["dicom-turned"] * turned


def test_identifiers_are_told_and_the_patient_only_when_asked() -> None:
    uids = {"StudyInstanceUID": "1.2.5", "SeriesInstanceUID": "1.2.6"}
    data = dicom(ramp(8), AccessionNumber="A-17", **uids)
    meaning = read(data).meaning
    assert (meaning.study_uid, meaning.series_uid) == ("1.2.5", "1.2.6")
    assert (meaning.sop_uid, meaning.accession) == ("1.2.3", "A-17")
    assert not meaning.patient
    assert read(data, patient=True).meaning.patient["patient_id"] == SECRET
    assert read(data.replace(b"1.2.5\0", b"1.2.SE")).meaning.study_uid is None


@pytest.mark.parametrize(
    ("code", "codes"),
    [("85562004", ["dicom-body-part"]), ("T-D9200", ["dicom-body-part"]), ("51185008", [])],
)
def test_an_anatomic_region_is_a_body_part(code: str, codes: list[str]) -> None:
    assert warned(read(dicom(ramp(8), AnatomicRegionSequence=item(CodeValue=code)))) == codes
