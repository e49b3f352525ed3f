"""A phantom as a DICOM object: Digital X-Ray Image Storage - For Presentation, PS3.3 A.26."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    generate_uid,
)

_FULL_SCALE: Final = 4095
_ROOT: Final = "1.2.826.0.1.3680043.8.498."
"""The UID root that pydicom lends to its users."""

_DATE, _TIME = "20000101", "120000"


_ALWAYS: Final[Mapping[str, str | int | list[str]]] = {
    "AccessionNumber": "",
    "StudyID": "1",
    "ReferringPhysicianName": "",
    "PatientName": "Phantom^Synthetic",
    "PatientBirthDate": "",
    "Modality": "DX",
    "PresentationIntentType": "FOR PRESENTATION",
    "SeriesNumber": 1,
    "InstanceNumber": 1,
    "Manufacturer": "Thorax",
    "ManufacturerModelName": "phantom",
    "ImageType": ["ORIGINAL", "PRIMARY", ""],
    "SeriesDescription": "Synthetic chest radiograph",
    "BodyPartExamined": "CHEST",
    "ImageLaterality": "U",
    "PositionerType": "NONE",
    "DetectorType": "DIRECT",
    "DetectorConditionsNominalFlag": "YES",
    "PixelIntensityRelationship": "LOG",
    "PixelIntensityRelationshipSign": -1,
    "RescaleIntercept": 0,
    "RescaleSlope": 1,
    "RescaleType": "US",
    "PresentationLUTShape": "IDENTITY",
    "LossyImageCompression": "00",
    "BurnedInAnnotation": "NO",
    "WindowCenter": 2048,
    "WindowWidth": 4096,
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
}
"""What every phantom says of itself."""


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def _uid(*what: str) -> UID:
    return generate_uid(prefix=_ROOT, entropy_srcs=["thorax phantom", *what])


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a radiograph is of: an identifier, the age in years, and F or M."""

    patient: str
    age: int
    sex: str


def encode_dicom(
    pixels: npt.NDArray[np.uint8],
    *,
    subject: Subject,
    view: str,
    spacing_mm: float,
    seed: int,
    index: int,
) -> bytes:
    """Return the file's bytes; the same arguments give the same bytes, UIDs included.

    Twelve bits of sixteen hold round(v * 4095 / 255), which the window (centre 2048, width 4096;
    PS3.3 C.11.2.1.2.1: y = x / 4095) and rounding to eight bits bring back to v exactly.

    Pixels are uint8 [S, S], white = dense, of `spacing_mm` at the detector, the view is "PA",
    "AP" or "LL"; phantoms of one patient share their study-independent identity. The collection's
    seed and the index in it are for the UIDs, and so is the view.
    """
    lateral = ["lateral"] if view == "LL" else []
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.SOPClassUID = DigitalXRayImageStorageForPresentation
    image.SOPInstanceUID = _uid(str(seed), str(index), *lateral, "image")
    image.StudyInstanceUID = _uid(str(seed), str(index), *lateral, "study")
    image.SeriesInstanceUID = _uid(str(seed), str(index), *lateral, "series")
    for name in ("Study", "Series", "Content", "Acquisition"):
        setattr(image, f"{name}Date", _DATE)
        setattr(image, f"{name}Time", _TIME)
    image.PatientID = subject.patient
    image.PatientAge = f"{subject.age:03d}Y"
    image.PatientSex = subject.sex
    image.PatientOrientation = ["P", "F"] if view == "LL" else ["L", "F"]
    for name, value in _ALWAYS.items():
        setattr(image, name, value)
    image.ViewPosition = view
    image.AnatomicRegionSequence = Sequence([_code("43799004", "SCT", "Chest")])
    projection = {
        "PA": _code("272479007", "SCT", "postero-anterior"),
        "AP": _code("399348003", "SCT", "antero-posterior"),
        "LL": _code("399173006", "SCT", "left lateral"),
    }[view]
    image.ViewCodeSequence = Sequence([projection])
    image.ImagerPixelSpacing = [f"{spacing_mm:.6f}"] * 2
    image.AcquisitionContextSequence = Sequence([])
    image.Rows, image.Columns = pixels.shape
    wide = (pixels.astype(np.uint32) * (2 * _FULL_SCALE) + 255) // 510
    image.PixelData = wide.astype("<u2").tobytes()
    image["PixelData"].VR = "OW"
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.file_meta.ImplementationClassUID = _uid("implementation")
    image.file_meta.ImplementationVersionName = "THORAX"
    file = io.BytesIO()
    dcmwrite(file, image, enforce_file_format=True)
    return file.getvalue()
